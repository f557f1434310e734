//! The codecs of record batches, each with a limit on what comes out.
//!
//! gzip: members (RFC 1952). snappy: xerial's framing (magic `82 53 4e 41 50 50 59 00`, two
//! versions, then blocks with a four-byte length), as Java writes it, or one bare block, as
//! librdkafka does. lz4: frames. zstd: frames.

mod decode;
mod encode;

use std::fmt;
use std::io;

pub use decode::{Decompressor, Scratch};
pub use encode::{Codec, Compressor};

const XERIAL_MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_LEN: usize = 16;
const PIECE_LEN_MIN: usize = 4 << 10;
const PIECE_LEN_MAX: usize = 1 << 20;
/// A codec, by its number in a batch's attributes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Compression {
    /// Records as they are.
    None,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd (KIP-110).
    Zstd,
}

/// Why bytes could not be decompressed.
#[derive(Debug)]
pub enum DecompressError {
    /// More than the limit came out.
    TooLarge,
    /// The bytes are not what the codec writes.
    Corrupt(io::Error),
}

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecompressError::TooLarge => f.write_str("decompressed bytes exceed the limit"),
            DecompressError::Corrupt(_) => f.write_str("compressed bytes are corrupt"),
        }
    }
}

impl std::error::Error for DecompressError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DecompressError::TooLarge => None,
            DecompressError::Corrupt(error) => Some(error),
        }
    }
}

impl Compression {
    /// The codec with this number.
    #[must_use]
    pub fn from_code(code: i16) -> Option<Compression> {
        match code {
            0 => Some(Compression::None),
            1 => Some(Compression::Gzip),
            2 => Some(Compression::Snappy),
            3 => Some(Compression::Lz4),
            4 => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// Bytes that may come out at a time, whatever is asked for: lz4 is decompressed block by
    /// block, and its frame says how long they are. 0 where a limit is looked at before.
    #[must_use]
    pub fn step_max(self, bytes: &[u8]) -> usize {
        const DESCRIPTOR_AT: usize = 5;
        match self {
            Compression::Lz4 => {
                let code = bytes.get(DESCRIPTOR_AT).map_or(0, |byte| (byte >> 4) & 7);
                1 << (8 + 2 * code)
            }
            _ => 0,
        }
    }

    /// Decompresses at most `len_max` bytes.
    ///
    /// # Errors
    /// `TooLarge` as soon as more would come out; `Corrupt`.
    pub fn decompress(self, bytes: &[u8], len_max: usize) -> Result<Vec<u8>, DecompressError> {
        let mut scratch = Scratch::default();
        let mut decompressor = Decompressor::new(self, bytes, len_max, &mut scratch)?;
        let mut out = Vec::new();
        loop {
            let len = out.len();
            // Grown by what came out, never by what is claimed.
            out.resize(len + (len / 2).clamp(PIECE_LEN_MIN, PIECE_LEN_MAX), 0);
            let count = decompressor.read(&mut out[len..])?;
            out.truncate(len + count);
            if count == 0 {
                return Ok(out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn compress(codec: impl Into<Codec>, bytes: &[u8]) -> Vec<u8> {
        let mut compressor = Compressor::new(codec.into(), Vec::new()).unwrap();
        compressor.write_all(bytes).unwrap();
        compressor.finish().unwrap()
    }

    #[test]
    fn lz4_says_how_long_its_blocks_are() {
        let frame = compress(Compression::Lz4, &vec![7; 300 << 10]);
        let len = Compression::Lz4.step_max(&frame);
        assert!(matches!(len, 0x1_0000 | 0x4_0000 | 0x10_0000 | 0x40_0000), "{len}");
        let mut longest = frame;
        longest[5] = 0x70;
        assert_eq!(Compression::Lz4.step_max(&longest), 4 << 20);
        assert_eq!(Compression::Lz4.step_max(&[]), 256);
        assert_eq!(Compression::Zstd.step_max(&longest), 0);
    }

    #[test]
    fn each_codec_is_read_up_to_the_limit() {
        let bytes: Vec<u8> = (0..10_000u32).flat_map(|i| (i / 7).to_be_bytes()).collect();
        for code in 0..=4 {
            let codec = Compression::from_code(code).unwrap();
            let packed = compress(codec, &bytes);
            assert_eq!(codec.decompress(&packed, bytes.len()).unwrap(), bytes, "{codec:?}");
            let error = codec.decompress(&packed, bytes.len() - 1).unwrap_err();
            assert!(matches!(error, DecompressError::TooLarge), "{codec:?}");
            if codec != Compression::None {
                let cut = codec.decompress(&packed[..packed.len() / 2], bytes.len());
                assert!(matches!(cut, Err(DecompressError::Corrupt(_))), "{codec:?}");
                let junk = codec.decompress(&[0x55; 40], 1000);
                assert!(junk.is_err(), "{codec:?}");
            }
        }
        assert_eq!(Compression::from_code(5), None);
    }

    #[test]
    fn xerial_blocks_follow_each_other() {
        let block = |bytes: &[u8]| {
            let packed = snap::raw::Encoder::new().compress_vec(bytes).unwrap();
            [(packed.len() as i32).to_be_bytes().to_vec(), packed].concat()
        };
        let head = [XERIAL_MAGIC, &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        let framed = [head.clone(), block(b"hello, "), block(b"world")].concat();
        assert_eq!(Compression::Snappy.decompress(&framed, 12).unwrap(), b"hello, world");
        assert!(matches!(
            Compression::Snappy.decompress(&framed, 11),
            Err(DecompressError::TooLarge)
        ));
        for cut in [10, 18, 25, framed.len() - 1] {
            assert!(Compression::Snappy.decompress(&framed[..cut], 100).is_err(), "{cut}");
        }
        let negative = [head, vec![0xff; 4]].concat();
        assert!(Compression::Snappy.decompress(&negative, 100).is_err());
    }

    #[test]
    fn a_bomb_costs_its_limit_only() {
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let bomb = compress(codec, &vec![0; 64 << 20]);
            let error = codec.decompress(&bomb, 1 << 20).unwrap_err();
            assert!(matches!(error, DecompressError::TooLarge), "{codec:?}");
        }
    }
}
