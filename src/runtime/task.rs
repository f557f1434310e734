//! Handles on running tasks.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

/// A running task. Dropping the handle lets the task run on.
pub struct Task<T> {
    handle: JoinHandle<T>,
    name: &'static str,
}

impl<T> Task<T> {
    pub(crate) fn spawned(handle: JoinHandle<T>, name: &'static str) -> Task<T> {
        Task { handle, name }
    }

    /// Drops the task's future at its next pause.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Waits for the task; `None` when it was aborted or panicked. Cancel safe.
    pub async fn join(&mut self) -> Option<T> {
        match (&mut self.handle).await {
            Ok(output) => Some(output),
            Err(error) if error.is_panic() => {
                tracing::error!(task = self.name, "task panicked");
                None
            }
            Err(_) => None,
        }
    }
}

/// Calls back when the future inside panics while it is polled.
pub(crate) struct PanicWatch<F, D: FnMut()> {
    inner: Pin<Box<F>>,
    died: D,
}

impl<F: Future, D: FnMut() + Unpin> PanicWatch<F, D> {
    pub(crate) fn new(future: F, died: D) -> PanicWatch<F, D> {
        PanicWatch { inner: Box::pin(future), died }
    }
}

impl<F: Future, D: FnMut() + Unpin> Future for PanicWatch<F, D> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let mut guard = CallOnUnwind { died: &mut this.died, armed: true };
        let poll = this.inner.as_mut().poll(cx);
        guard.armed = false;
        poll
    }
}

struct CallOnUnwind<'a, D: FnMut()> {
    died: &'a mut D,
    armed: bool,
}

impl<D: FnMut()> Drop for CallOnUnwind<'_, D> {
    fn drop(&mut self) {
        if self.armed {
            (self.died)();
        }
    }
}
