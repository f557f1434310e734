//! Whether a data directory can still be trusted.
//!
//! After a failed write or fsync nobody knows what is on disk. The directory is fenced for good:
//! nothing is appended, read or acknowledged from it until the process starts again and looks.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// The state of a data directory, shared by all that use it.
pub struct DirHealth {
    fenced: AtomicBool,
    reason: watch::Sender<Option<String>>,
}

impl Default for DirHealth {
    fn default() -> DirHealth {
        DirHealth { fenced: AtomicBool::new(false), reason: watch::Sender::new(None) }
    }
}

impl DirHealth {
    /// Fences the directory. The first reason counts.
    pub fn fence(&self, reason: String) {
        if !self.fenced.swap(true, Ordering::AcqRel) {
            tracing::error!(%reason, "fencing the data directory");
            self.reason.send_replace(Some(reason));
        }
    }

    /// Whether the directory is fenced.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }

    /// Waits until the directory is fenced; tells why. Cancel safe.
    pub async fn fenced(&self) -> String {
        let mut reason = self.reason.subscribe();
        let reason = reason.wait_for(Option::is_some).await.map(|reason| reason.clone());
        match reason {
            Ok(reason) => reason.expect("waited for"),
            // The sender lives in self.
            Err(_) => std::future::pending().await,
        }
    }
}
