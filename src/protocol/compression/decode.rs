//! Decompressing piece by piece.
//!
//! What comes out is counted against a limit, what is needed for it lies in a [`Scratch`] that is
//! used again, and a stream must end where its bytes end: nothing cut, nothing behind it. Kafka's
//! readers are Java's, so what those cannot read is not read here either (lz4 blocks that lean on
//! each other); what only those overlook is refused (bytes behind the end of a stream).

use std::io::{self, Read};

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

use super::{Compression, DecompressError, XERIAL_HEADER_LEN, XERIAL_MAGIC};

/// zstd may ask for a window of up to 2 GiB; its highest level takes 2^27, as readers allow.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Memory of a [`Scratch`] that is kept for the next batch.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// The same of zstd: its usual level asks for a window of 2 MiB, and a new one is touched page by
/// page.
const ZSTD_KEPT_BYTES_MAX: usize = 4 << 20;

/// Memory that decompressors work in. One can serve any number of batches, one after the other.
#[derive(Default)]
pub struct Scratch {
    /// A block of snappy, decompressed.
    block: Vec<u8>,
    zstd: Option<DCtx<'static>>,
}

impl Scratch {
    /// Gives back what an unusual batch took.
    pub fn trim(&mut self) {
        if self.block.capacity() > KEPT_BYTES_MAX {
            self.block = Vec::new();
        }
        if self.zstd.as_ref().is_some_and(|context| context.sizeof() > ZSTD_KEPT_BYTES_MAX) {
            self.zstd = None;
        }
    }
}

/// Reads the records of a compressed batch.
pub struct Decompressor<'a> {
    stream: Stream<'a>,
    /// Bytes that may still come out.
    left: usize,
}

enum Stream<'a> {
    Plain(&'a [u8]),
    Gzip(flate2::bufread::MultiGzDecoder<&'a [u8]>),
    Snappy(Snappy<'a>),
    Lz4(lz4_flex::frame::FrameDecoder<&'a [u8]>),
    Zstd(Zstd<'a>),
}

impl<'a> Decompressor<'a> {
    /// A reader of `bytes` that gives at most `len_max` bytes.
    ///
    /// # Errors
    /// `Corrupt` when the front shows already that it is not the codec's.
    pub fn new(
        codec: Compression,
        bytes: &'a [u8],
        len_max: usize,
        scratch: &'a mut Scratch,
    ) -> Result<Decompressor<'a>, DecompressError> {
        let stream = match codec {
            Compression::None => Stream::Plain(bytes),
            Compression::Gzip => Stream::Gzip(flate2::bufread::MultiGzDecoder::new(bytes)),
            Compression::Snappy => Stream::Snappy(Snappy::new(bytes, &mut scratch.block)?),
            Compression::Lz4 => {
                check_lz4_frame(bytes)?;
                Stream::Lz4(lz4_flex::frame::FrameDecoder::new(bytes))
            }
            Compression::Zstd => Stream::Zstd(Zstd::new(bytes, &mut scratch.zstd)?),
        };
        Ok(Decompressor { stream, left: len_max })
    }

    /// Fills the front of `out`; 0 is the end.
    ///
    /// # Errors
    /// `TooLarge` as soon as more came out than allowed; `Corrupt`.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        let count = match &mut self.stream {
            Stream::Plain(bytes) => bytes.read(out).map_err(DecompressError::Corrupt)?,
            Stream::Gzip(decoder) => decoder.read(out).map_err(DecompressError::Corrupt)?,
            Stream::Snappy(blocks) => blocks.read(out, self.left)?,
            Stream::Lz4(decoder) => decoder.read(out).map_err(DecompressError::Corrupt)?,
            Stream::Zstd(decoder) => decoder.read(out)?,
        };
        self.left = self.left.checked_sub(count).ok_or(DecompressError::TooLarge)?;
        Ok(count)
    }
}

struct Snappy<'a> {
    rest: &'a [u8],
    /// Whether xerial's frames stand around the blocks.
    framed: bool,
    block: &'a mut Vec<u8>,
    /// What of the block has not been read yet.
    unread: std::ops::Range<usize>,
}

impl<'a> Snappy<'a> {
    fn new(bytes: &'a [u8], block: &'a mut Vec<u8>) -> Result<Snappy<'a>, DecompressError> {
        let framed = bytes.starts_with(XERIAL_MAGIC);
        let rest = if framed { bytes.get(XERIAL_HEADER_LEN..).ok_or_else(cut)? } else { bytes };
        Ok(Snappy { rest, framed, block, unread: 0..0 })
    }

    fn read(&mut self, out: &mut [u8], left: usize) -> Result<usize, DecompressError> {
        while self.unread.is_empty() {
            let Some(packed) = self.next_block()? else { return Ok(0) };
            // The claimed length is compared with the limit before memory is taken.
            let len = snap::raw::decompress_len(packed).map_err(snappy_error)?;
            if len > left {
                return Err(DecompressError::TooLarge);
            }
            if self.block.len() < len {
                self.block.resize(len, 0);
            }
            let mut decoder = snap::raw::Decoder::new();
            let len = decoder.decompress(packed, &mut self.block[..]).map_err(snappy_error)?;
            self.unread = 0..len;
        }
        let count = out.len().min(self.unread.len());
        out[..count].copy_from_slice(&self.block[self.unread.start..self.unread.start + count]);
        self.unread.start += count;
        Ok(count)
    }

    fn next_block(&mut self) -> Result<Option<&'a [u8]>, DecompressError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        if !self.framed {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        // Streams may follow each other.
        if self.rest.starts_with(XERIAL_MAGIC) {
            self.rest = self.rest.get(XERIAL_HEADER_LEN..).ok_or_else(cut)?;
            return self.next_block();
        }
        let (len, rest) = self.rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let len = usize::try_from(i32::from_be_bytes(*len)).map_err(|_| cut())?;
        let (block, rest) = rest.split_at_checked(len).ok_or_else(cut)?;
        self.rest = rest;
        Ok(Some(block))
    }
}

struct Zstd<'a> {
    input: InBuffer<'a>,
    context: &'a mut DCtx<'static>,
    inside_frame: bool,
}

impl<'a> Zstd<'a> {
    fn new(
        bytes: &'a [u8],
        kept: &'a mut Option<DCtx<'static>>,
    ) -> Result<Zstd<'a>, DecompressError> {
        if kept.is_none() {
            *kept = Some(DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory).map_err(io_error)?);
        }
        let context = kept.as_mut().expect("just put there");
        context.reset(ResetDirective::SessionOnly).map_err(zstd_error)?;
        let window = DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX);
        context.set_parameter(window).map_err(zstd_error)?;
        Ok(Zstd { input: InBuffer::around(bytes), context, inside_frame: false })
    }

    fn read(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        loop {
            let before = self.input.pos();
            if before == self.input.src.len() && !self.inside_frame {
                return Ok(0);
            }
            let mut output = OutBuffer::around(out);
            let hint = self.context.decompress_stream(&mut output, &mut self.input);
            // 0 is the end of a frame; another one may follow.
            self.inside_frame = hint.map_err(zstd_error)? != 0;
            let count = output.pos();
            if count > 0 {
                return Ok(count);
            }
            if self.inside_frame && self.input.pos() == before {
                return Err(cut());
            }
        }
    }
}

/// Checks that the bytes are one whole frame of blocks that stand alone: the decoder takes a cut
/// frame for a whole one, and Java's reads no other blocks.
fn check_lz4_frame(bytes: &[u8]) -> Result<(), DecompressError> {
    const MAGIC: &[u8] = &[0x04, 0x22, 0x4d, 0x18];
    const INDEPENDENT: u8 = 1 << 5;
    const BLOCK_CHECKSUM: u8 = 1 << 4;
    const CONTENT_SIZE: u8 = 1 << 3;
    const CONTENT_CHECKSUM: u8 = 1 << 2;
    const UNCOMPRESSED: u32 = 1 << 31;
    if !bytes.starts_with(MAGIC) {
        return Err(corrupt("no frame of lz4"));
    }
    let flags = *bytes.get(4).ok_or_else(cut)?;
    let has = |flag: u8, len: usize| if flags & flag == 0 { 0 } else { len };
    if flags & INDEPENDENT == 0 {
        return Err(corrupt("lz4 blocks that need each other"));
    }
    let mut rest = bytes.get(7 + has(CONTENT_SIZE, 8)..).ok_or_else(cut)?;
    loop {
        let (size, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let size = u32::from_le_bytes(*size);
        if size == 0 {
            rest = after.get(has(CONTENT_CHECKSUM, 4)..).ok_or_else(cut)?;
            break;
        }
        let len = (size & !UNCOMPRESSED) as usize + has(BLOCK_CHECKSUM, 4);
        rest = after.get(len..).ok_or_else(cut)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(corrupt("bytes behind the frame of lz4")) }
}

fn corrupt(reason: &'static str) -> DecompressError {
    DecompressError::Corrupt(io::Error::new(io::ErrorKind::InvalidData, reason))
}

fn cut() -> DecompressError {
    io_error(io::ErrorKind::UnexpectedEof)
}

fn io_error(kind: io::ErrorKind) -> DecompressError {
    DecompressError::Corrupt(kind.into())
}

fn snappy_error(error: snap::Error) -> DecompressError {
    DecompressError::Corrupt(io::Error::other(error))
}

fn zstd_error(code: usize) -> DecompressError {
    corrupt(get_error_name(code))
}
