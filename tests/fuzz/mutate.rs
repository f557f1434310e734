//! Damage to bytes, of the kinds that find mistakes in decoders.

use fastrand::Rng;

/// Lengths and counts that are wrong in every way.
const NUMBERS: &[i64] = &[0, 1, -1, -2, 0x7f, 0x80, 0x7fff, 0x7fff_ffff, -0x8000_0000, i64::MAX];

/// Damages `bytes` in one to four places.
pub fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.usize(1..=4) {
        let at = rng.usize(0..=bytes.len());
        match rng.u8(0..7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.u8(..)),
            2 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
            3 if at < bytes.len() => bytes[at] = rng.u8(..),
            4 => number(bytes, at, rng),
            5 => repeat(bytes, at, rng),
            _ => varint(bytes, at),
        }
    }
}

/// Puts the end of another input behind the front of this one.
pub fn join(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    bytes.truncate(rng.usize(0..=bytes.len()));
    bytes.extend_from_slice(&other[rng.usize(0..=other.len())..]);
}

/// Writes a wrong number of 2, 4 or 8 bytes over what is there.
fn number(bytes: &mut [u8], at: usize, rng: &mut Rng) {
    let width = 2 << rng.usize(0..3);
    let wrong = NUMBERS[rng.usize(..NUMBERS.len())].to_be_bytes();
    if let Some(target) = bytes.get_mut(at..at + width) {
        target.copy_from_slice(&wrong[8 - width..]);
    }
}

/// Says a piece twice.
fn repeat(bytes: &mut Vec<u8>, at: usize, rng: &mut Rng) {
    let end = (at + rng.usize(0..32)).min(bytes.len());
    let piece = bytes[at..end].to_vec();
    bytes.splice(at..at, piece);
}

/// Writes the largest variable-length number over what is there.
fn varint(bytes: &mut [u8], at: usize) {
    if let Some(target) = bytes.get_mut(at..at + 5) {
        target.copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    }
}
