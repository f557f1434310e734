//! Waiting for records: a fetch watches its partitions, and a wake-up tells which of them changed.
//!
//! ```text
//!   Partition ─ watchers: slab of (FetchWait, slot) ──mark──> FetchWait: changed slots, notify
//!   Watch (guard) removes its entry when the fetch is answered or its connection goes.
//! ```
//! So an append wakes exactly the fetches of its partition, and a woken fetch looks at what
//! changed only.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::partition::Partition;

/// A fetch that waits. Shared with the partitions it watches.
#[derive(Default)]
pub struct FetchWait {
    /// Slots that changed since they were last taken; each at most once.
    changed: Mutex<Vec<usize>>,
    notify: Notify,
}

/// Keeps a partition watched.
pub struct Watch {
    partition: Arc<Partition>,
    key: Option<usize>,
}

impl FetchWait {
    /// Watches `partition` from now on; changes are reported as `slot`.
    #[must_use]
    pub fn watch(self: &Arc<FetchWait>, partition: &Arc<Partition>, slot: usize) -> Watch {
        Watch { partition: partition.clone(), key: partition.add_watcher(self.clone(), slot) }
    }

    /// Waits for a change and takes the slots that changed. Cancel safe.
    pub async fn changed(&self) -> Vec<usize> {
        loop {
            let slots = std::mem::take(&mut *self.changed.lock().expect("never poisoned"));
            if !slots.is_empty() {
                return slots;
            }
            self.notify.notified().await;
        }
    }

    pub(crate) fn mark(&self, slot: usize) {
        let mut changed = self.changed.lock().expect("never poisoned");
        if !changed.contains(&slot) {
            changed.push(slot);
        }
        drop(changed);
        self.notify.notify_one();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.partition.remove_watcher(key);
        }
    }
}
