//! Memory for requests: a limit over all connections, and buffers that are used again.
//!
//! Small requests live in their connection's read buffer, which is bounded. A larger one takes
//! from the common budget as its bytes arrive, at most twice of what it has sent, so that a client
//! cannot hold memory by claims. Freed buffers of the usual sizes are kept: the first touch of
//! fresh memory costs more than receiving into it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of the budget.
const UNIT: usize = 4096;
/// Smallest and largest size class that is kept.
const CLASS_MIN: usize = 64 << 10;
const CLASS_MAX: usize = 4 << 20;
/// Buffers kept at most: those of so many large requests at the same time.
const KEPT_BUFFERS_MAX: usize = 4;

/// The budget and the kept buffers. Copies share them.
#[derive(Clone)]
pub struct RequestMemory {
    budget: Arc<Semaphore>,
    units_max: usize,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A part of the budget; given back when dropped.
pub struct MemoryPermit {
    permit: OwnedSemaphorePermit,
}

/// A received request that gives its buffer and its part of the budget back when the last of its
/// slices goes.
struct Received {
    bytes: Vec<u8>,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
    _permit: Option<MemoryPermit>,
}

impl RequestMemory {
    /// A budget of `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> RequestMemory {
        let units = usize::try_from(bytes_max).unwrap_or(usize::MAX) / UNIT;
        let units_max = units.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        RequestMemory {
            budget: Arc::new(Semaphore::new(units_max)),
            units_max,
            kept: Arc::default(),
        }
    }

    /// Waits for `bytes` of the budget. A request larger than all of it gets all of it. Cancel
    /// safe.
    pub async fn acquire(&self, bytes: usize) -> MemoryPermit {
        let units = bytes.div_ceil(UNIT).min(self.units_max) as u32;
        let acquired = self.budget.clone().acquire_many_owned(units).await;
        MemoryPermit { permit: acquired.expect("the budget is never closed") }
    }

    /// The same, if nobody has to be waited for.
    #[must_use]
    pub fn try_acquire(&self, bytes: usize) -> Option<MemoryPermit> {
        let units = bytes.div_ceil(UNIT).min(self.units_max) as u32;
        let permit = self.budget.clone().try_acquire_many_owned(units).ok()?;
        Some(MemoryPermit { permit })
    }

    /// An empty buffer with room for a request of `len` bytes: one that is used again, or else a
    /// small one that is to [`grow`] as bytes arrive. A claim costs nothing new: the first byte in
    /// a large buffer may make 2 MiB of it resident (transparent huge pages).
    #[must_use]
    pub fn buffer(&self, len: usize) -> Vec<u8> {
        let class = class(len);
        let mut kept = self.kept.lock().expect("never poisoned");
        let fitting = kept.iter().position(|buffer| buffer.capacity() == class);
        match fitting {
            Some(index) => kept.swap_remove(index),
            None => Vec::with_capacity(class.min(CLASS_MIN)),
        }
    }

    /// Makes a filled buffer shareable.
    #[must_use]
    pub fn freeze(&self, bytes: Vec<u8>, permit: Option<MemoryPermit>) -> Bytes {
        let received = Received { bytes, kept: self.kept.clone(), _permit: permit };
        Bytes::from_owner(received)
    }
}

/// Makes room for `len` bytes in all.
pub fn grow(buffer: &mut Vec<u8>, len: usize) {
    buffer.reserve_exact(class(len) - buffer.len());
}

/// Capacity of a buffer for `len` bytes.
fn class(len: usize) -> usize {
    if len > CLASS_MAX { len } else { len.next_power_of_two().max(CLASS_MIN) }
}

impl MemoryPermit {
    /// Joins two parts.
    pub fn merge(&mut self, other: MemoryPermit) {
        self.permit.merge(other.permit);
    }
}

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let is_class = bytes.capacity().is_power_of_two()
            && (CLASS_MIN..=CLASS_MAX).contains(&bytes.capacity());
        let mut kept = self.kept.lock().expect("never poisoned");
        if is_class && kept.len() < KEPT_BUFFERS_MAX {
            kept.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again() {
        let memory = RequestMemory::new(1 << 20);
        let mut buffer = memory.buffer(100_000);
        assert_eq!(buffer.capacity(), 64 << 10, "nothing is known of the sender yet");
        grow(&mut buffer, 100_000);
        assert_eq!(buffer.capacity(), 128 << 10);
        buffer.extend_from_slice(b"request");
        let address = buffer.as_ptr();
        let bytes = memory.freeze(buffer, None);
        let slice = bytes.slice(2..4);
        drop(bytes);
        let other = memory.buffer(100_000);
        assert_ne!(other.as_ptr(), address, "a slice is still in use");
        assert_eq!(slice, "qu");
        drop(slice);
        let again = memory.buffer(70_000);
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
    }

    #[tokio::test]
    async fn the_budget_is_bounded_and_comes_back() {
        let memory = RequestMemory::new(64 << 10);
        let mut first = memory.acquire(40 << 10).await;
        first.merge(memory.acquire(20 << 10).await);
        assert!(
            tokio::time::timeout(std::time::Duration::from_millis(10), memory.acquire(8 << 10))
                .await
                .is_err()
        );
        let buffer = memory.freeze(memory.buffer(10), Some(first));
        drop(buffer);
        drop(memory.acquire(1 << 30).await);
    }
}
