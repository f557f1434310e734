//! The floor: a server that does what cannot be left out, and nothing else.
//!
//! A frame of key 0 (Produce) is written whole to the end of a file with one `pwrite`; one of key 1
//! (Fetch) is answered with the next piece of that file by `sendfile`; one of key 20 (DeleteTopics)
//! empties the file. Nothing is decoded, checked or remembered. One connection at a time;
//! `floor_many.rs` serves many.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::net::SendFlags;

/// Bytes of a file in an answer.
pub(crate) const PIECE: usize = 1 << 20;
const BUFFER: usize = 2 << 20;
pub(crate) const LEN: usize = 4;
/// About as long as the answer to a Produce of one partition.
const ANSWER_LEN: usize = 56;
pub(crate) const PRODUCE: [u8; 2] = [0, 0];
const FETCH: [u8; 2] = [0, 1];
const DELETE: [u8; 2] = [0, 20];

/// Serves until the process is ended.
pub(crate) fn serve(port: u16, dir: &Path) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(true);
    let file = options.open(dir.join("floor.log"))?;
    let mut store = Store { file, end: 0, read: 0 };
    let mut buffer = vec![0; BUFFER];
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // The other end may go whenever it likes.
        let _ = serve_one(stream, &mut store, &mut buffer);
    }
}

struct Store {
    file: File,
    end: u64,
    read: u64,
}

fn serve_one(mut stream: TcpStream, store: &mut Store, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    let mut answers = Vec::new();
    loop {
        let count = stream.read(&mut buffer[filled..])?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        let mut begin = 0;
        while let Some(frame) = next_frame(&buffer[begin..filled]) {
            match [frame[0], frame[1]] {
                PRODUCE => store.append(frame)?,
                FETCH => store.send_piece(&stream, frame)?,
                DELETE => store.empty()?,
                _ => {}
            }
            if [frame[0], frame[1]] != FETCH {
                answers.extend_from_slice(&answer(frame, 0));
            }
            begin += LEN + frame.len();
        }
        stream.write_all(&answers)?;
        answers.clear();
        buffer.copy_within(begin..filled, 0);
        filled -= begin;
    }
}

pub(crate) fn next_frame(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk::<LEN>()?;
    rest.get(..u32::from_be_bytes(*len) as usize)
}

/// An answer that goes on for `later` bytes.
pub(crate) fn answer(frame: &[u8], later: usize) -> [u8; ANSWER_LEN] {
    let mut answer = [0; ANSWER_LEN];
    let len = u32::try_from(ANSWER_LEN - LEN + later).expect("a piece is small");
    answer[..LEN].copy_from_slice(&len.to_be_bytes());
    answer[LEN..2 * LEN].copy_from_slice(&frame[4..8]);
    answer
}

impl Store {
    fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        self.file.write_all_at(frame, self.end)?;
        self.end += frame.len() as u64;
        Ok(())
    }

    fn empty(&mut self) -> io::Result<()> {
        (self.end, self.read) = (0, 0);
        self.file.set_len(0)
    }

    fn send_piece(&mut self, stream: &TcpStream, frame: &[u8]) -> io::Result<()> {
        if self.read + PIECE as u64 > self.end {
            self.read = 0;
        }
        rustix::net::send(stream, &answer(frame, PIECE), SendFlags::MORE)?;
        let end = self.read + PIECE as u64;
        while self.read < end {
            let len = usize::try_from(end - self.read).expect("a piece is small");
            let mut position = self.read;
            let sent = rustix::fs::sendfile(stream, &self.file, Some(&mut position), len)?;
            if sent == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.read += sent as u64;
        }
        Ok(())
    }
}
