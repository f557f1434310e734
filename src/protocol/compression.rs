//! The codecs of record batches, each with a limit on what comes out.
//!
//! gzip: members (RFC 1952). snappy: xerial's framing (magic `82 53 4e 41 50 50 59 00`, two
//! versions, then blocks with a four-byte length), as Java writes it, or one bare block, as
//! librdkafka does. lz4: frames. zstd: frames.

use std::fmt;
use std::io::{self, Read};

const XERIAL_MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_LEN: usize = 16;
/// zstd may ask for a window of up to 2 GiB; no producer's level needs more than 2^26.
const ZSTD_WINDOW_LOG_MAX: u32 = 26;

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

    /// Decompresses at most `len_max` bytes.
    ///
    /// # Errors
    /// `TooLarge` as soon as more would come out; `Corrupt`.
    pub fn decompress(self, bytes: &[u8], len_max: usize) -> Result<Vec<u8>, DecompressError> {
        match self {
            Compression::None if bytes.len() > len_max => Err(DecompressError::TooLarge),
            Compression::None => Ok(bytes.to_vec()),
            Compression::Gzip => read_limited(flate2::read::MultiGzDecoder::new(bytes), len_max),
            Compression::Snappy => snappy(bytes, len_max),
            Compression::Lz4 => read_limited(lz4_flex::frame::FrameDecoder::new(bytes), len_max),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)
                    .map_err(DecompressError::Corrupt)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(DecompressError::Corrupt)?;
                read_limited(decoder, len_max)
            }
        }
    }
}

fn read_limited(decoder: impl Read, len_max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    let mut limited = decoder.take(len_max as u64 + 1);
    limited.read_to_end(&mut out).map_err(DecompressError::Corrupt)?;
    if out.len() > len_max { Err(DecompressError::TooLarge) } else { Ok(out) }
}

fn snappy(bytes: &[u8], len_max: usize) -> Result<Vec<u8>, DecompressError> {
    if !bytes.starts_with(XERIAL_MAGIC) {
        return snappy_block(bytes, len_max);
    }
    let mut blocks = bytes.get(XERIAL_HEADER_LEN..).ok_or_else(cut)?;
    let mut out = Vec::new();
    while !blocks.is_empty() {
        let (len, rest) = blocks.split_first_chunk::<4>().ok_or_else(cut)?;
        let len = usize::try_from(i32::from_be_bytes(*len)).map_err(|_| cut())?;
        let block = rest.get(..len).ok_or_else(cut)?;
        out.extend(snappy_block(block, len_max - out.len())?);
        blocks = &rest[len..];
    }
    Ok(out)
}

/// One bare block. Its claimed length is compared with the limit before memory is taken.
fn snappy_block(block: &[u8], len_max: usize) -> Result<Vec<u8>, DecompressError> {
    let corrupt = |error: snap::Error| DecompressError::Corrupt(io::Error::other(error));
    if snap::raw::decompress_len(block).map_err(corrupt)? > len_max {
        return Err(DecompressError::TooLarge);
    }
    snap::raw::Decoder::new().decompress_vec(block).map_err(corrupt)
}

fn cut() -> DecompressError {
    DecompressError::Corrupt(io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn compress(codec: Compression, bytes: &[u8]) -> Vec<u8> {
        match codec {
            Compression::None => bytes.to_vec(),
            Compression::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Snappy => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
            Compression::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(vec![]);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::encode_all(bytes, 3).unwrap(),
        }
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
            let packed = compress(Compression::Snappy, bytes);
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
