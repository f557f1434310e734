//! Sending answers: bytes gathered into few writes, pieces of files by `sendfile`.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Buf;
use ottla_runtime::Stream;

use crate::response::{Chunk, Response};

/// Slices gathered into one write.
const SLICES_MAX: usize = 32;
/// Bytes of a file sent before other connections of the thread get a turn.
const FILE_TURN_MAX: u64 = 1 << 20;

/// The sending half of a connection.
#[derive(Default)]
pub struct Outbox {
    chunks: VecDeque<Chunk>,
    /// Those of the chunks that lie in memory.
    bytes: usize,
    /// Chunks that are pieces of files.
    files: usize,
    corked: bool,
}

impl Outbox {
    /// Adds an answer behind the others.
    pub fn push(&mut self, response: Response) {
        let is_something = |chunk: &Chunk| match chunk {
            Chunk::Bytes(bytes) => !bytes.is_empty(),
            Chunk::Extent(extent) => extent.len > 0,
        };
        self.bytes += response.bytes_len();
        let before = self.chunks.len();
        self.chunks.extend(response.chunks.into_iter().filter(is_something));
        let new = self.chunks.iter().skip(before);
        self.files += new.filter(|chunk| matches!(chunk, Chunk::Extent(_))).count();
    }

    /// Bytes in memory that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of chunks that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Number of those that are pieces of files, which are held open.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files
    }

    /// Whether everything was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Sends what the socket takes now. Stops after a turn's worth of a file, too. Tells whether it
    /// took anything.
    ///
    /// # Errors
    /// When the connection broke, or a file is shorter than promised.
    pub fn send(&mut self, stream: &Stream) -> io::Result<bool> {
        let mut any = false;
        let result = self.send_until_full(stream, &mut any);
        if self.corked && self.chunks.is_empty() {
            stream.cork(false);
            self.corked = false;
        }
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(any),
            result => result.map(|()| any),
        }
    }

    fn send_until_full(&mut self, stream: &Stream, any: &mut bool) -> io::Result<()> {
        let mut file_turn = FILE_TURN_MAX;
        while let Some(first) = self.chunks.front_mut() {
            match first {
                Chunk::Bytes(_) => {
                    // The head of an answer with a file waits for the file's first bytes.
                    if !self.corked && self.chunks.len() > 1 && self.has_extent() {
                        stream.cork(true);
                        self.corked = true;
                    }
                    self.send_bytes(stream)?;
                    *any = true;
                }
                Chunk::Extent(extent) => {
                    let len = extent.len.min(file_turn);
                    if len == 0 {
                        return Ok(());
                    }
                    let len = usize::try_from(len).expect("a turn is small");
                    let sent = stream.try_send_file(&extent.file, extent.position, len)? as u64;
                    if sent == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    *any = true;
                    extent.position += sent;
                    extent.len -= sent;
                    file_turn -= sent;
                    if extent.len == 0 {
                        self.files -= 1;
                        self.chunks.pop_front();
                    }
                }
            }
        }
        Ok(())
    }

    fn has_extent(&self) -> bool {
        self.chunks.iter().take(SLICES_MAX).any(|chunk| matches!(chunk, Chunk::Extent(_)))
    }

    fn send_bytes(&mut self, stream: &Stream) -> io::Result<()> {
        let leading = self.chunks.iter().map_while(|chunk| match chunk {
            Chunk::Bytes(bytes) => Some(IoSlice::new(bytes)),
            Chunk::Extent(_) => None,
        });
        let slices: Vec<IoSlice<'_>> = leading.take(SLICES_MAX).collect();
        let mut sent = stream.try_write(&slices)?;
        self.bytes -= sent;
        while let Some(Chunk::Bytes(bytes)) = self.chunks.front_mut() {
            let here = sent.min(bytes.len());
            bytes.advance(here);
            sent -= here;
            if !bytes.is_empty() {
                break;
            }
            self.chunks.pop_front();
        }
        Ok(())
    }
}
