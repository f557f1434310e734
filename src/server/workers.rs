//! Work of requests that would keep a data thread from the other connections that it serves.
//!
//! Each data thread has one helper: a turn on its pool for blocking work, which is never more than
//! one thread of that pool, so that fsyncs find the others free. Who comes when the helper is busy
//! waits, in the order in which they came. So all of this work together takes as many threads, and
//! as much memory at one time, as it would on the data threads themselves.

use std::sync::Arc;

use ottla_runtime::{Plane, Runtime};
use tokio::sync::Semaphore;

/// The helpers of all data threads. Copies share them.
#[derive(Clone)]
pub struct Workers {
    runtime: Runtime,
    /// By data thread. The others have none: nothing of this kind is asked of them.
    turns: Arc<[Arc<Semaphore>]>,
}

impl Workers {
    /// Helpers that are all free.
    #[must_use]
    pub fn new(runtime: Runtime) -> Workers {
        let turns = (0..runtime.data_threads()).map(|_| Arc::new(Semaphore::new(1))).collect();
        Workers { runtime, turns }
    }

    /// Runs `work` beside the thread of `plane` when it is its turn. Whoever no longer waits leaves
    /// work that has begun to its end, and the turn with it.
    ///
    /// # Panics
    /// Passes on a panic of `work`.
    pub async fn run<T, W>(&self, plane: Plane, work: W) -> T
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let turn = match plane {
            Plane::Data(index) => self.turns.get(index),
            Plane::Control | Plane::Groups => None,
        };
        let Some(turn) = turn else { return self.runtime.blocking(plane, work).await };
        let turn = turn.clone().acquire_owned().await.expect("it is never closed");
        let work = move || {
            let _turn = turn;
            work()
        };
        self.runtime.blocking(plane, work).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[test]
    fn one_at_a_time_beside_each_thread() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        Runtime::run(1, |runtime| async move {
            let workers = Workers::new(runtime.clone());
            let mut tasks = Vec::new();
            for number in 0..16 {
                let (workers, running, most) = (workers.clone(), running.clone(), most.clone());
                let work = move || {
                    most.fetch_max(running.fetch_add(1, Relaxed) + 1, Relaxed);
                    std::thread::sleep(std::time::Duration::from_millis(2));
                    running.fetch_sub(1, Relaxed);
                    number
                };
                let task = async move { workers.run(Plane::Data(0), work).await };
                tasks.push(runtime.spawn(Plane::Data(0), "test", task));
            }
            // Who is gone keeps nobody waiting.
            tasks.remove(3).abort();
            for task in &mut tasks {
                task.join().await.expect("it ends");
            }
            assert_eq!((most.load(Relaxed), running.load(Relaxed)), (1, 0));
        })
        .expect("threads");
    }
}
