//! The order in which Java's hash tables are iterated over: by the slot of each key, and in a slot
//! in the order in which keys came, which here is that of what is sorted.

use ottla_types::{PartitionId, Uuid};

/// Slots of a table that `count` keys were put into one by one.
pub(super) fn grown(count: usize) -> usize {
    let mut size = 16;
    while count > size / 4 * 3 {
        size *= 2;
    }
    size
}

/// Slots of a set that was made of a collection of `count` keys.
pub(super) fn made_of(count: usize) -> usize {
    (count * 4 / 3 + 1).max(16).next_power_of_two()
}

/// Sorts keys as a table of `size` slots would tell them.
pub(super) fn sort<T>(keys: &mut [T], size: usize, hash: impl Fn(&T) -> i32) {
    keys.sort_by_key(|key| {
        let hash = hash(key).cast_unsigned();
        (hash ^ (hash >> 16)) as usize & (size - 1)
    });
}

/// Java's hash of Kafka's `Uuid`.
pub(super) fn uuid_hash(id: &Uuid) -> i32 {
    let bits = u128::from_be_bytes(id.0);
    let mixed = ((bits >> 64) ^ bits) as u64;
    ((mixed >> 32) ^ mixed) as u32 as i32
}

/// Java's hash of a partition's number.
pub(super) fn partition_hash(id: &PartitionId) -> i32 {
    id.0
}
