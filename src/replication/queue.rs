//! Logs that several threads open, each taking the next ones that are left.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use ottla_runtime::Clock;
use ottla_storage::Progress;

use crate::opening::{Opening, Unopened};
use crate::partition::Partition;
use crate::replicas::Shared;

/// Logs to be opened, shared by those who open them.
pub(crate) struct Queue {
    work: Vec<Opening>,
    next: AtomicUsize,
    /// How many a thread takes at once.
    together: usize,
    progress: Progress,
}

impl Queue {
    pub(crate) fn new(work: Vec<Opening>, together: usize, clock: &Clock) -> Queue {
        let progress = Progress::of(clock, work.len());
        Queue { work, next: AtomicUsize::new(0), together, progress }
    }

    /// Opens what is left.
    pub(crate) fn open_all(&self, shared: &Shared) -> Vec<Result<Partition, Unopened>> {
        let mut opened = Vec::new();
        loop {
            let from = self.next.fetch_add(self.together, Relaxed);
            let some: Vec<_> = self.work.iter().skip(from).take(self.together).cloned().collect();
            if some.is_empty() {
                return opened;
            }
            opened.extend(shared.open_some(some, &self.progress));
        }
    }
}
