//! How much is remembered of what clients fetch.

use crate::values::Values;

/// Limits on fetch sessions (KIP-227).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchSessionLimits {
    /// `max.incremental.fetch.session.cache.slots`.
    pub sessions_max: usize,
    /// `ottla.fetch.session.partitions.max`.
    pub partitions_max: usize,
}

impl FetchSessionLimits {
    pub(crate) fn read(values: &Values) -> FetchSessionLimits {
        let number = |name| values.int(name).unsigned_abs() as usize;
        FetchSessionLimits {
            sessions_max: number("max.incremental.fetch.session.cache.slots"),
            partitions_max: number("ottla.fetch.session.partitions.max"),
        }
    }
}
