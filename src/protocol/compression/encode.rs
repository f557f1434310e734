//! Compressing a batch's records, as Kafka's brokers write them.
//!
//! gzip at its level, snappy in xerial's frames with blocks of 32 KiB, lz4 as one frame of
//! independent blocks of 64 KiB, zstd at its level. lz4 has one level: the library has no other.

use std::io::{self, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use zstd::zstd_safe::CParameter;

use super::{Compression, XERIAL_MAGIC};

const XERIAL_BLOCK_LEN: usize = 32 << 10;
/// Largest window, as a power of two, that readers take without being told.
const ZSTD_WINDOW_LOG_MAX: u32 = 26;
/// The zstd level whose window would be larger.
const ZSTD_LEVEL_OF_LARGE_WINDOW: i32 = 22;

/// A codec and how hard it tries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    /// Records as they are.
    None,
    /// gzip, 1 to 9; `None` is the library's default.
    Gzip(Option<u32>),
    /// snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd, up to 22, negative ones included.
    Zstd(i32),
}

impl Codec {
    /// The codec without its level.
    #[must_use]
    pub fn compression(self) -> Compression {
        match self {
            Codec::None => Compression::None,
            Codec::Gzip(_) => Compression::Gzip,
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd(_) => Compression::Zstd,
        }
    }
}

impl From<Compression> for Codec {
    /// The codec at its default level.
    fn from(compression: Compression) -> Codec {
        match compression {
            Compression::None => Codec::None,
            Compression::Gzip => Codec::Gzip(None),
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => Codec::Zstd(zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }
}

/// Compresses what is written to it, into another writer.
pub struct Compressor<W: Write>(Stream<W>);

enum Stream<W: Write> {
    Plain(W),
    Gzip(flate2::write::GzEncoder<W>),
    Snappy(Snappy<W>),
    Lz4(FrameEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    /// A compressor that writes to `out`.
    ///
    /// # Errors
    /// Those of `out`; a level that the codec does not have.
    pub fn new(codec: Codec, out: W) -> io::Result<Compressor<W>> {
        Ok(Compressor(match codec {
            Codec::None => Stream::Plain(out),
            Codec::Gzip(level) => {
                let level = level.map_or(flate2::Compression::default(), flate2::Compression::new);
                Stream::Gzip(flate2::write::GzEncoder::new(out, level))
            }
            Codec::Snappy => Stream::Snappy(Snappy::new(out)?),
            Codec::Lz4 => {
                let frame = FrameInfo::new()
                    .block_size(BlockSize::Max64KB)
                    .block_mode(BlockMode::Independent);
                Stream::Lz4(FrameEncoder::with_frame_info(frame, out))
            }
            Codec::Zstd(level) => {
                let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
                if level >= ZSTD_LEVEL_OF_LARGE_WINDOW {
                    encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW_LOG_MAX))?;
                }
                Stream::Zstd(encoder)
            }
        }))
    }

    /// Writes what is left and the end of the stream; returns the writer.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Stream::Plain(out) => Ok(out),
            Stream::Gzip(encoder) => encoder.finish(),
            Stream::Snappy(encoder) => encoder.finish(),
            Stream::Lz4(encoder) => encoder.finish().map_err(io::Error::from),
            Stream::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Stream::Plain(out) => out.write(bytes),
            Stream::Gzip(encoder) => encoder.write(bytes),
            Stream::Snappy(encoder) => encoder.write(bytes),
            Stream::Lz4(encoder) => encoder.write(bytes),
            Stream::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing: the end is written by [`Compressor::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Snappy<W: Write> {
    out: W,
    block: Vec<u8>,
    packed: Vec<u8>,
}

impl<W: Write> Snappy<W> {
    fn new(mut out: W) -> io::Result<Snappy<W>> {
        out.write_all(XERIAL_MAGIC)?;
        // The version, and the oldest one that can read it.
        out.write_all(&[0, 0, 0, 1, 0, 0, 0, 1])?;
        let packed = vec![0; snap::raw::max_compress_len(XERIAL_BLOCK_LEN)];
        Ok(Snappy { out, block: Vec::with_capacity(XERIAL_BLOCK_LEN), packed })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() == XERIAL_BLOCK_LEN {
            self.write_block()?;
        }
        let count = bytes.len().min(XERIAL_BLOCK_LEN - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let mut encoder = snap::raw::Encoder::new();
        let len = encoder.compress(&self.block, &mut self.packed[..]).map_err(io::Error::other)?;
        let framed_len = i32::try_from(len).expect("a block is short");
        self.out.write_all(&framed_len.to_be_bytes())?;
        self.out.write_all(&self.packed[..len])?;
        self.block.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        self.write_block()?;
        Ok(self.out)
    }
}
