//! Kafka's UUIDs and their text form: URL-safe base64 without padding, 22 characters
//! (`org.apache.kafka.common.Uuid`).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A topic, directory, incarnation or cluster id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

/// Byte by byte, as numbers: maps of partitions compare little else.
impl Ord for Uuid {
    fn cmp(&self, other: &Uuid) -> Ordering {
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl PartialOrd for Uuid {
    fn partial_cmp(&self, other: &Uuid) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The text is not 22 characters of URL-safe base64 that stand for 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidUuid;

impl fmt::Display for InvalidUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a UUID in Kafka's form (22 characters of URL-safe base64)")
    }
}

impl std::error::Error for InvalidUuid {}

impl Uuid {
    /// "No id".
    pub const ZERO: Uuid = Uuid::reserved(0);
    /// The id of `__cluster_metadata` (`Uuid.ONE_UUID`).
    pub const METADATA_TOPIC: Uuid = Uuid::reserved(1);
    /// A replica's directory while a cluster moves to KIP-858 (`DirectoryId.MIGRATING`).
    pub const DIR_MIGRATING: Uuid = Uuid::reserved(0);
    /// A replica whose directory the broker has not named yet (`DirectoryId.UNASSIGNED`).
    pub const DIR_UNASSIGNED: Uuid = Uuid::reserved(1);
    /// A replica whose directory is gone (`DirectoryId.LOST`).
    pub const DIR_LOST: Uuid = Uuid::reserved(2);

    /// One of the first 100 ids, which Kafka never generates.
    const fn reserved(low: u8) -> Uuid {
        let mut bytes = [0; 16];
        bytes[15] = low;
        Uuid(bytes)
    }

    /// Whether the id is one of the first 100 (`DirectoryId.reserved`).
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        u128::from_be_bytes(self.0) < 100
    }

    /// Makes 16 random bytes into an id as Kafka would generate it: a version 4 UUID.
    ///
    /// Returns `None` for the bytes that `Uuid.randomUuid` would throw again: reserved ids, and
    /// ids whose text begins with '-', which tools would take for an option.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 16]) -> Option<Uuid> {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let id = Uuid(bytes);
        let leading_dash = bytes[0] >> 2 == 62;
        (!id.is_reserved() && !leading_dash).then_some(id)
    }

    /// 32 lowercase hexadecimal digits, as in the names of directories to be deleted.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 22];
        for (index, slot) in text.iter_mut().enumerate() {
            *slot = ALPHABET[usize::from(sextet(&self.0, index))];
        }
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The `index`th group of six bits; the last group is filled up with zeros.
fn sextet(bytes: &[u8; 16], index: usize) -> u8 {
    let bit = index * 6;
    let high = u16::from(bytes[bit / 8]) << 8;
    let low = bytes.get(bit / 8 + 1).map_or(0, |byte| u16::from(*byte));
    (((high | low) >> (10 - bit % 8)) & 0x3f) as u8
}

impl FromStr for Uuid {
    type Err = InvalidUuid;

    fn from_str(text: &str) -> Result<Uuid, InvalidUuid> {
        let text = text.as_bytes();
        if text.len() != 22 {
            return Err(InvalidUuid);
        }
        let mut bits: u128 = 0;
        for (index, character) in text.iter().enumerate() {
            let value = ALPHABET.iter().position(|c| c == character).ok_or(InvalidUuid)? as u128;
            if index < 21 {
                bits = (bits << 6) | value;
            } else if value & 0x0f == 0 {
                bits = (bits << 2) | (value >> 4);
            } else {
                return Err(InvalidUuid);
            }
        }
        Ok(Uuid(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: [u8; 16], text: &str) {
        assert_eq!(Uuid(bytes).to_string(), text);
        assert_eq!(text.parse(), Ok(Uuid(bytes)));
    }

    #[test]
    fn text_form_is_kafkas() {
        check([0; 16], "AAAAAAAAAAAAAAAAAAAAAA");
        check(Uuid::METADATA_TOPIC.0, "AAAAAAAAAAAAAAAAAAAAAQ");
        check([0xff; 16], "_____________________w");
        check(*b"0123456789abcdef", "MDEyMzQ1Njc4OWFiY2RlZg");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAB"]
        {
            assert_eq!(text.parse::<Uuid>(), Err(InvalidUuid), "{text:?}");
        }
        assert_eq!("AAAAAAAAAA+AAAAAAAAAAA".parse::<Uuid>(), Err(InvalidUuid));
    }

    #[test]
    fn random_ids_are_version_4_and_never_begin_with_a_dash() {
        let id = Uuid::from_random([0; 16]).expect("the version bits lift it above 100");
        assert_eq!((id.0[6] >> 4, id.0[8] >> 6), (4, 2));
        assert_eq!(Uuid::from_random([0xf8; 16]), None);
        assert!(Uuid::DIR_LOST.is_reserved());
    }
}
