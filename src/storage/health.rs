//! Whether a data directory can still be trusted, and whether there is room in it.
//!
//! After a failed write or fsync nobody knows what is on disk. The directory is fenced for good:
//! nothing is appended, read or acknowledged from it until the process starts again and looks.
//!
//! A disk that is full is no fault: a write that found no room has changed nothing. While the
//! directory is full (its [`Reserve`] is used, or could not be made), nothing of clients is
//! appended.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::boot_note::BootNote;
use crate::reserve::Reserve;

/// The state of a data directory, shared by all that use it.
pub struct DirHealth {
    fenced: AtomicBool,
    reason: watch::Sender<Option<String>>,
    full: AtomicBool,
    reserve: Mutex<Option<Reserve>>,
    /// Whether a log in it is offline because it is damaged.
    damaged: AtomicBool,
    /// What must not be believed any more once the directory is fenced.
    note: Mutex<Option<BootNote>>,
}

impl Default for DirHealth {
    fn default() -> DirHealth {
        DirHealth {
            fenced: AtomicBool::new(false),
            reason: watch::Sender::new(None),
            full: AtomicBool::new(false),
            reserve: Mutex::default(),
            damaged: AtomicBool::new(false),
            note: Mutex::default(),
        }
    }
}

impl DirHealth {
    /// Fences the directory. The first reason counts.
    pub fn fence(&self, reason: String) {
        if !self.fenced.swap(true, Ordering::AcqRel) {
            tracing::error!(%reason, "fencing the data directory");
            self.forget_note();
            self.reason.send_replace(Some(reason));
        }
    }

    /// Notes that a log in it is damaged: the next start must look into it again, so that this
    /// process leaves neither the mark of a clean stop nor a note.
    pub fn note_damage(&self) {
        self.damaged.store(true, Ordering::Release);
    }

    /// Whether a log in it is damaged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// Leaves the note of this boot, which goes when the directory is fenced. Nothing is lost when
    /// it cannot be written: the next start looks into the logs.
    pub fn leave_note(&self, note: BootNote) {
        if self.is_damaged() {
            return;
        }
        *self.note.lock().expect("never poisoned") = Some(note.clone());
        if let Err(error) = note.leave() {
            tracing::warn!(%error, "a start after kill -9 will have to look into all logs");
        }
        if self.is_fenced() {
            self.forget_note();
        }
    }

    /// Takes the note away: the directory was closed, or it failed.
    pub fn forget_note(&self) {
        let Some(note) = self.note.lock().expect("never poisoned").take() else { return };
        if let Err(error) = note.remove() {
            tracing::error!(%error, "the note of this boot cannot be removed: restart the machine");
        }
    }

    /// Whether the directory is fenced.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }

    /// Keeps room in the directory from now on. Without room for that it is full.
    ///
    /// # Errors
    /// Those of writing, but for `StorageFull`.
    pub fn keep_room(&self, reserve: Reserve) -> io::Result<()> {
        *self.reserve.lock().expect("never poisoned") = Some(reserve);
        self.full.store(true, Ordering::Release);
        self.look_for_room()
    }

    /// Whether nothing of clients may be appended.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// A write found no room: frees what is kept for it. False when nothing was kept any more.
    pub fn make_room(&self) -> bool {
        let reserve = self.reserve.lock().expect("never poisoned");
        let Some(reserve) = reserve.as_ref() else { return false };
        if !self.full.swap(true, Ordering::AcqRel) {
            tracing::error!("the disk is full: nothing is appended in this log directory");
        }
        match reserve.release() {
            Ok(was_there) => was_there,
            Err(error) => {
                tracing::warn!(%error, "the reserve cannot be used");
                false
            }
        }
    }

    /// Ends the time without room when there is room again for the reserve.
    ///
    /// # Errors
    /// Those of writing, but for `StorageFull`.
    pub fn look_for_room(&self) -> io::Result<()> {
        let reserve = self.reserve.lock().expect("never poisoned");
        let (Some(reserve), true) = (reserve.as_ref(), self.is_full()) else { return Ok(()) };
        match reserve.fill() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            filled => {
                filled?;
                self.full.store(false, Ordering::Release);
                tracing::info!("there is room in the log directory");
                Ok(())
            }
        }
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
