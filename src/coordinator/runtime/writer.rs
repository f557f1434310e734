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
use super::shards::Shards;
use super::told_of_append;
use crate::shard_core::ShardCore;

/// What `work` returns; `None` when it panics, with a shard's or a partition's lock held. That one
/// is poisoned, and out of service; others' appends go on.
fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The shards that have something to be appended.
pub(super) struct Writer<C: ShardCore> {
    state: Mutex<WriterState<C>>,
    thread: Worker,
}

struct WriterState<C: ShardCore> {
    waiting: Vec<Arc<Shard<C>>>,
    /// Whether the task that takes from `waiting` is at work.
    runs: bool,
}

impl<C: ShardCore> Writer<C> {
    pub(super) fn new(thread: Worker) -> Writer<C> {
        Writer { state: Mutex::new(WriterState { waiting: Vec::new(), runs: false }), thread }
    }
}

/// A shard, and what is to be appended of it.
type Next<C> = (Arc<Shard<C>>, Batch<<C as ShardCore>::Then>);

/// A batch, and what became of it; `None` when the log's code panicked.
struct Done<C: ShardCore> {
    shard: Arc<Shard<C>>,
    batch: Batch<C::Then>,
    result: Option<Result<Appended, ErrorCode>>,
}

impl<C: ShardCore> Shards<C> {
    /// A shard has something to be appended.
    pub(super) fn wake_writer(&self, shard: Arc<Shard<C>>) {
        let mut writer = self.inner.writer.state.lock().expect("never poisoned");
        writer.waiting.push(shard);
        if !writer.runs {
            writer.runs = true;
            drop(writer);
            let task = self.clone().write_rounds();
            self.inner.runtime.spawn(Plane::Groups, self.inner.setup.tasks.append, task);
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
            let shards = self.clone();
            let work = move || batches.into_iter().map(|it| shards.append_one(it)).collect();
            let done: Vec<Done<C>> = self.inner.writer.thread.run(work).await;
            for done in done {
                contained(|| self.appended(done));
            }
        }
    }

    #[inline(never)]
    fn next_batches(&self, shards: Vec<Arc<Shard<C>>>) -> Vec<Next<C>> {
        let now = self.now();
        let next = |shard: Arc<Shard<C>>| {
            let bytes_max = self.inner.port.batch_bytes_max(shard.partition).unwrap_or(usize::MAX);
            let build = || {
                let mut state = shard.state.lock().ok()?;
                state.next_batch(bytes_max, self.inner.setup.codec, now)
            };
            let batch = contained(build).flatten()?;
            Some((shard, batch))
        };
        shards.into_iter().filter_map(next).collect()
    }

    #[inline(never)]
    fn append_one(&self, (shard, batch): Next<C>) -> Done<C> {
        let append = || self.inner.port.append(shard.partition, batch.bytes.clone(), batch.part);
        let result = contained(append);
        Done { shard, batch, result }
    }

    #[inline(never)]
    fn appended(&self, done: Done<C>) {
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
                self.end(&mut state, ErrorCode::NotCoordinator);
                drop(state);
                return self.load_anew(&shard);
            }
        }
        self.settle(&shard, state);
    }

    /// Waits until the records below `end` are committed.
    fn commit_later(&self, shard: Arc<Shard<C>>, end: Offset, committed: Committed) {
        let shards = self.clone();
        let clock = self.inner.runtime.clock().clone();
        let patience = self.inner.setup.patience;
        let task = async move {
            let mut committed = committed;
            let in_time = clock.timeout(patience, &mut committed).await;
            let result = match in_time {
                Some(result) => result,
                None => {
                    if let Ok(mut state) = shard.state.lock() {
                        state.overdue(end, shards.now());
                        // What they were told may have made another record: a group rebalances.
                        shards.settle(&shard, state);
                    }
                    committed.await
                }
            };
            let Ok(mut state) = shard.state.lock() else { return };
            match result {
                Ok(()) => state.committed(end, shards.now()),
                // What is in the log, and may never be committed, cannot be undone.
                Err(error) => shards.end(&mut state, told_of_append(error)),
            }
            shards.settle(&shard, state);
        };
        self.inner.runtime.spawn(Plane::Groups, self.inner.setup.tasks.commit, task);
    }
}
