//! The last offset of each key, in a table of fixed size (`SkimpyOffsetMap`).
//!
//! Keys are known by a digest of 128 bits under a secret of this process, so that nobody can write
//! two keys which compaction takes for one. A slot holds the digest and the offset, 24 bytes; a
//! table that is full takes no further key, and the rest of the log waits for the next cleaning.

use std::hash::Hasher;

use ottla_types::Offset;
use siphasher::sip128::{Hasher128, SipHasher13};

/// Bytes of a slot.
const SLOT_LEN: usize = 24;

/// A digest of a key.
pub(super) type KeyDigest = (u64, u64);

/// Digests keys that come in pieces.
pub(super) struct Digester {
    empty: SipHasher13,
    current: SipHasher13,
}

impl Digester {
    /// Under this secret.
    pub(super) fn new(secret: KeyDigest) -> Digester {
        let empty = SipHasher13::new_with_keys(secret.0, secret.1);
        Digester { empty, current: empty }
    }

    pub(super) fn piece(&mut self, bytes: &[u8]) {
        self.current.write(bytes);
    }

    /// The digest of all pieces since the last one.
    pub(super) fn take(&mut self) -> KeyDigest {
        let digest = std::mem::replace(&mut self.current, self.empty).finish128();
        (digest.h1, digest.h2)
    }
}

/// Key to last offset.
pub(super) struct OffsetMap {
    /// Both halves of the digest, and the offset plus one; 0 there is an empty slot. Memory is
    /// touched when a slot is used.
    slots: Vec<[u64; 3]>,
    len: usize,
    len_max: usize,
}

impl OffsetMap {
    /// A table for `keys_max` keys, or for as many as `bytes_max` allows when it is filled up to
    /// `load_factor`, but always for one.
    pub(super) fn new(keys_max: u64, bytes_max: u64, load_factor: f64) -> OffsetMap {
        let affordable = usize::try_from(bytes_max).unwrap_or(usize::MAX) / SLOT_LEN;
        // A load factor of 0 wants all that is affordable.
        let wanted = ((keys_max as f64 / load_factor).ceil() as usize).saturating_add(1);
        let slots = wanted.min(affordable).max(2);
        let len_max = ((slots as f64 * load_factor) as usize).clamp(1, slots - 1);
        OffsetMap { slots: vec![[0; 3]; slots], len: 0, len_max }
    }

    /// Notes that the key's last offset is this one. `false` when there is no room for the key.
    pub(super) fn put(&mut self, key: KeyDigest, offset: Offset) -> bool {
        let at = self.slot_of(key);
        if self.slots[at][2] == 0 {
            if self.len == self.len_max {
                return false;
            }
            self.len += 1;
        }
        self.slots[at] = [key.0, key.1, offset.0 as u64 + 1];
        true
    }

    /// The key's last offset.
    pub(super) fn get(&self, key: KeyDigest) -> Option<Offset> {
        let found = self.slots[self.slot_of(key)][2].checked_sub(1)?;
        Some(Offset(found as i64))
    }

    /// Part of the slots that are used, from 0 to 1.
    pub(super) fn utilization(&self) -> f64 {
        self.len as f64 / self.slots.len() as f64
    }

    /// The slot of a key, or the empty one where it would be; one always is.
    fn slot_of(&self, key: KeyDigest) -> usize {
        let count = self.slots.len();
        let mut at = ((u128::from(key.0) * count as u128) >> 64) as usize;
        loop {
            let slot = &self.slots[at];
            if slot[2] == 0 || (slot[0], slot[1]) == key {
                return at;
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(key: u64) -> KeyDigest {
        let mut digester = Digester::new((1, 2));
        digester.piece(&key.to_be_bytes());
        digester.take()
    }

    #[test]
    fn the_last_offset_of_each_key_is_found() {
        let mut map = OffsetMap::new(1000, 1 << 20, 0.9);
        for offset in 0..3000 {
            assert!(map.put(digest(offset % 1000), Offset(offset as i64)));
        }
        for key in 0..1000 {
            assert_eq!(map.get(digest(key)), Some(Offset(2000 + key as i64)), "{key}");
        }
        assert_eq!(map.get(digest(1000)), None);
        assert!(map.utilization() > 0.85);
    }

    #[test]
    fn a_full_table_takes_no_further_key() {
        let mut map = OffsetMap::new(1_000_000, 10 * SLOT_LEN as u64, 0.5);
        let taken = (0..20).filter(|key| map.put(digest(*key), Offset(*key as i64))).count();
        assert_eq!(taken, 5);
        assert!(map.put(digest(0), Offset(30)), "one that it has is noted");
        assert_eq!(map.get(digest(0)), Some(Offset(30)));
        assert!(!map.put(digest(7), Offset(31)));
    }

    #[test]
    fn a_table_without_room_still_takes_one_key() {
        let mut map = OffsetMap::new(5, 0, 0.9);
        assert!(map.put(digest(1), Offset(0)));
        assert!(!map.put(digest(2), Offset(1)));
        assert_eq!(map.get(digest(2)), None);
    }

    #[test]
    fn a_table_that_may_not_be_filled_takes_one_key() {
        let mut map = OffsetMap::new(1000, 1 << 12, 0.0);
        assert!(map.put(digest(1), Offset(0)));
        assert!(!map.put(digest(2), Offset(1)));
    }

    #[test]
    fn pieces_of_a_key_are_one_key() {
        let mut digester = Digester::new((3, 4));
        digester.piece(b"ab");
        digester.piece(b"c");
        let whole = digester.take();
        digester.piece(b"abc");
        assert_eq!(digester.take(), whole);
        digester.piece(b"abd");
        assert_ne!(digester.take(), whole);
        assert_ne!(Digester::new((5, 4)).take(), Digester::new((3, 4)).take());
    }
}
