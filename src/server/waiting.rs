//! Memory of requests whose answers have to wait: for acknowledgements, for records, for the
//! controller (`ottla.waiting.max.bytes`).
//!
//! Nobody is refused for it. Who asks whether it is full goes another way: a fetch is answered at
//! once, a connection begins its next request when its answers are there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The count and its limit. Copies share them.
#[derive(Clone)]
pub struct Waiting {
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// Bytes of one request; uncounted when dropped.
pub struct WaitingShare {
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

impl Waiting {
    /// Nothing waits yet.
    #[must_use]
    pub fn new(bytes_max: usize) -> Waiting {
        Waiting { bytes: Arc::default(), bytes_max }
    }

    /// Counts a request.
    #[must_use]
    pub fn count(&self, bytes: usize) -> WaitingShare {
        self.bytes.fetch_add(bytes, Relaxed);
        WaitingShare { waiting: self.bytes.clone(), bytes }
    }

    /// Whether the limit is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.load(Relaxed) >= self.bytes_max
    }
}

impl WaitingShare {
    /// Bytes of the request.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for WaitingShare {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Relaxed);
    }
}
