//! Appending of what shards have decided, off the thread that decides.
//!
//! One round at a time: the next batch of every shard that has something, appended one after the
//! other by a thread of its own; what is decided meanwhile goes with the next round. So the thread
//! of groups never waits for a disk, one wake-up serves all commits that came together, and
//! answers come back together, too.
//!
//! What is never inlined here is counted by its name (tests/gates).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use ottla_runtime::{Plane, Worker};
use ottla_types::{ErrorCode, Offset};

use super::port::{Appended, Committed};
use super::shard::{Batch, Shard};
use super::{Groups, told_of_append};

/// What `work` returns; `None` when it panics, with a shard's or a partition's lock held. That one
/// is poisoned, and out of service; others' appends go on.
fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The shards that have something to be appended.
pub(super) struct Writer {
    state: Mutex<WriterState>,
    thread: Worker,
}

#[derive(Default)]
struct WriterState {
    waiting: Vec<Arc<Shard>>,
    /// Whether the task that takes from `waiting` is at work.
    runs: bool,
}

impl Writer {
    pub(super) fn new(thread: Worker) -> Writer {
        Writer { state: Mutex::default(), thread }
    }
}

/// A batch, and what became of it; `None` when the log's code panicked.
struct Done {
    shard: Arc<Shard>,
    batch: Batch,
    result: Option<Result<Appended, ErrorCode>>,
}

impl Groups {
    /// Has appended what is to be appended of a shard; returns at once.
    pub(super) fn append(&self, shard: &Arc<Shard>) {
        if shard.state.lock().is_ok_and(|mut state| state.wants_writer()) {
            self.wake_writer(shard.clone());
        }
    }

    /// A shard has something to be appended.
    pub(super) fn wake_writer(&self, shard: Arc<Shard>) {
        let mut writer = self.inner.writer.state.lock().expect("never poisoned");
        writer.waiting.push(shard);
        if !writer.runs {
            writer.runs = true;
            drop(writer);
            let task = self.clone().write_rounds();
            self.inner.runtime.spawn(Plane::Groups, "append group records", task);
        }
    }

    async fn write_rounds(self) {
        loop {
            // What has already arrived is decided first, and goes with this round: a round costs
            // two changes of threads, however much it appends.
            tokio::task::yield_now().await;
            let shards = {
                let mut writer = self.inner.writer.state.lock().expect("never poisoned");
                if writer.waiting.is_empty() {
                    writer.runs = false;
                    return;
                }
                std::mem::take(&mut writer.waiting)
            };
            let batches = self.next_batches(shards);
            if batches.is_empty() {
                continue;
            }
            let groups = self.clone();
            let work = move || batches.into_iter().map(|it| groups.append_one(it)).collect();
            let done: Vec<Done> = self.inner.writer.thread.run(work).await;
            for done in done {
                let shard = done.shard.clone();
                contained(|| self.appended(done));
                self.append(&shard);
            }
        }
    }

    #[inline(never)]
    fn next_batches(&self, shards: Vec<Arc<Shard>>) -> Vec<(Arc<Shard>, Batch)> {
        let now = self.now();
        let next = |shard: Arc<Shard>| {
            let bytes_max = self.inner.port.batch_bytes_max(shard.partition).unwrap_or(usize::MAX);
            let build = || {
                let mut state = shard.state.lock().ok()?;
                state.next_batch(bytes_max, self.inner.codec, now)
            };
            let batch = contained(build).flatten()?;
            Some((shard, batch))
        };
        shards.into_iter().filter_map(next).collect()
    }

    #[inline(never)]
    fn append_one(&self, (shard, batch): (Arc<Shard>, Batch)) -> Done {
        let append = || self.inner.port.append(shard.partition, batch.bytes.clone(), batch.part);
        let result = contained(append);
        Done { shard, batch, result }
    }

    #[inline(never)]
    fn appended(&self, done: Done) {
        let Done { shard, batch, result } = done;
        let now = self.now();
        let Ok(mut state) = shard.state.lock() else { return };
        match result {
            Some(Ok(appended)) if appended.base == batch.base => {
                let end = state.appended(batch);
                match appended.committed {
                    None => state.committed(end, now),
                    Some(committed) => self.commit_later(shard.clone(), end, committed),
                }
            }
            Some(Err(error)) => state.append_failed(batch, told_of_append(error), now),
            unexpected => {
                let found = unexpected.and_then(Result::ok).map(|appended| appended.base);
                tracing::warn!(
                    partition = %shard.partition.partition, expected = %batch.base, ?found,
                    "the log is not as it was left; it is loaded anew"
                );
                state.end(ErrorCode::NotCoordinator);
                drop(state);
                return self.load_anew(&shard);
            }
        }
        self.watch_deadline(&mut state);
    }

    /// Waits until the records below `end` are committed.
    fn commit_later(&self, shard: Arc<Shard>, end: Offset, committed: Committed) {
        let groups = self.clone();
        let clock = self.inner.runtime.clock().clone();
        let patience = self.inner.config.commit_timeout;
        let task = async move {
            let mut committed = committed;
            let in_time = clock.timeout(patience, &mut committed).await;
            let result = match in_time {
                Some(result) => result,
                None => {
                    if let Ok(mut state) = shard.state.lock() {
                        state.overdue(end, groups.now());
                        groups.watch_deadline(&mut state);
                    }
                    // What they were told may have made another record: a group rebalances.
                    groups.append(&shard);
                    committed.await
                }
            };
            {
                let Ok(mut state) = shard.state.lock() else { return };
                match result {
                    Ok(()) => state.committed(end, groups.now()),
                    // What is in the log, and may never be committed, cannot be undone.
                    Err(error) => state.end(told_of_append(error)),
                }
                groups.watch_deadline(&mut state);
            }
            groups.append(&shard);
        };
        self.inner.runtime.spawn(Plane::Groups, "commit group records", task);
    }
}
