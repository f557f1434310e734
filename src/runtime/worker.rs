//! A thread that does one piece of work after the other, for those who hand it some all the time.
//!
//! A pool is dearer for that: it wakes a thread with its lock held, which then waits for the lock,
//! and both threads change places twice for nothing. Here the lock is given back first.
//!
//! The thread ends when its [`Worker`] is dropped, after what was handed to it. Work is never given
//! up half-way, but by the end of the process.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, Thread};

use tokio::sync::oneshot;

use crate::sim::SimNode;

type Work = Box<dyn FnOnce() + Send>;

/// Does one piece of work at a time.
pub struct Worker {
    twin: WorkerTwin,
}

enum WorkerTwin {
    Real(RealWorker),
    Sim(SimNode),
}

struct RealWorker {
    queue: Arc<Queue>,
    thread: Thread,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    works: VecDeque<Work>,
    closed: bool,
}

impl Worker {
    pub(crate) fn real(name: &'static str) -> io::Result<Worker> {
        let queue = Arc::<Queue>::default();
        let serving = queue.clone();
        let builder = thread::Builder::new().name(name.to_owned());
        let thread = builder.spawn(move || serving.serve())?.thread().clone();
        Ok(Worker { twin: WorkerTwin::Real(RealWorker { queue, thread }) })
    }

    pub(crate) fn simulated(node: SimNode) -> Worker {
        Worker { twin: WorkerTwin::Sim(node) }
    }

    /// Has the work done, and waits for it. It is done also if nobody waits any more.
    ///
    /// # Panics
    /// Passes on a panic of `work`.
    pub async fn run<T, W>(&self, work: W) -> T
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        match &self.twin {
            WorkerTwin::Real(real) => real.run(work).await,
            WorkerTwin::Sim(node) => {
                node.before_blocking_work().await;
                work()
            }
        }
    }
}

impl RealWorker {
    async fn run<T, W>(&self, work: W) -> T
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let (done, result) = oneshot::channel();
        let work = move || {
            // Who does not wait any more does not hear it.
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        };
        self.queue.lock().works.push_back(Box::new(work));
        self.thread.unpark();
        match result.await {
            Ok(Ok(output)) => output,
            Ok(Err(panic)) => resume_unwind(panic),
            // What was handed over is done, whatever happens, and then it sends.
            Err(_) => pending().await,
        }
    }
}

impl Drop for RealWorker {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.thread.unpark();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().expect("nothing panics under it")
    }

    fn serve(&self) {
        loop {
            let (work, closed) = {
                let mut state = self.lock();
                (state.works.pop_front(), state.closed)
            };
            match work {
                Some(work) => work(),
                None if closed => return,
                None => thread::park(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Plane, Runtime};

    #[test]
    fn work_is_done_in_its_order_on_one_thread() {
        let (ids, order) = Runtime::run(1, |runtime: Runtime| async move {
            let worker = runtime.worker("ottla-test").expect("a thread");
            let order = Arc::new(Mutex::new(Vec::new()));
            let work = |number| {
                let order = order.clone();
                move || {
                    order.lock().expect("no panic").push(number);
                    thread::current().id()
                }
            };
            let ids = tokio::join!(worker.run(work(1)), worker.run(work(2)), worker.run(work(3)));
            ([ids.0, ids.1, ids.2], order.lock().expect("no panic").clone())
        })
        .expect("threads can be had");
        assert_eq!(order, [1, 2, 3]);
        assert!(ids.iter().all(|id| *id == ids[0] && *id != thread::current().id()));
    }

    #[test]
    fn a_panic_reaches_who_waits_and_the_next_work_is_done() {
        Runtime::run(1, |runtime: Runtime| async move {
            let worker = Arc::new(runtime.worker("ottla-test").expect("a thread"));
            let failing = worker.clone();
            let task = async move { failing.run(|| panic!("planted")).await };
            assert!(runtime.spawn(Plane::Control, "panics", task).join().await.is_none());
            assert_eq!(worker.run(|| 7).await, 7);
        })
        .expect("threads can be had");
    }

    #[test]
    fn the_thread_ends_with_its_worker_after_what_was_handed_over() {
        Runtime::run(1, |runtime: Runtime| async move {
            let worker = runtime.worker("ottla-test").expect("a thread");
            worker.run(|| ()).await;
            let WorkerTwin::Real(real) = &worker.twin else { panic!("this is no simulation") };
            let queue = Arc::downgrade(&real.queue);
            let (done, heard) = oneshot::channel();
            let last = worker.run(move || done.send(()).expect("it is waited for"));
            // It is handed over, and perhaps not waited for.
            let _ = runtime.clock().timeout(Duration::ZERO, last).await;
            drop(worker);
            heard.await.expect("it was done");
            while queue.strong_count() > 0 {
                runtime.clock().sleep(Duration::from_millis(1)).await;
            }
        })
        .expect("threads can be had");
    }
}
