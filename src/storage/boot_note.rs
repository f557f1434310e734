//! `.ottla-boot`: the note that the page cache of this boot holds all that was written here.
//!
//! ```text
//!   start ── take it away ── open the logs ── leave a note ── serve ── clean stop: take it away
//!                                                               └ fenced: take it away
//! ```
//! A start that finds a note of its own boot follows a process that died while nothing was wrong.
//! It may go on where that process would have gone on (`docs/adr/0007`). The note is believed only
//! where it was written: it names itself and `quorum-state` as files, with the time of their
//! creation. A copy of the directory holds other files; and whoever else has run on this directory
//! has begun an epoch, which replaces `quorum-state`. Nothing here is synced: a power cut ends the
//! boot, and with it what the note says. Kafka ignores the file.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use ottla_runtime::{Disk, FileId, OpenMode};

const VERSION: &str = "1";
const LEN_MAX: u64 = 4096;

/// The note of one data directory.
#[derive(Clone)]
pub struct BootNote {
    disk: Disk,
    path: PathBuf,
    /// A file that every process replaces that uses the directory.
    witness: PathBuf,
    boot: String,
}

impl BootNote {
    pub(crate) const NAME: &str = ".ottla-boot";

    /// For the data directory `dir` in the boot of this id; `witness` is its node's `quorum-state`.
    #[must_use]
    pub fn new(disk: &Disk, dir: &Path, witness: PathBuf, boot: String) -> BootNote {
        BootNote { disk: disk.clone(), path: dir.join(BootNote::NAME), witness, boot }
    }

    /// Takes the note away; tells whether it is to be believed.
    ///
    /// # Errors
    /// When it cannot be removed: it would be believed although this process may change anything.
    pub fn take(&self) -> io::Result<bool> {
        // Whatever cannot be read is not believed.
        let believed = self.is_true().unwrap_or(false);
        self.remove()?;
        Ok(believed)
    }

    /// Leaves a note. Nothing is written where the system does not tell files apart.
    ///
    /// # Errors
    /// Those of writing.
    pub fn leave(&self) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let file = self.disk.open(&temporary, OpenMode::Truncate)?;
        let itself = self.disk.file_id(&temporary)?;
        let (Some(itself), Some(witness)) = (itself, self.disk.file_id(&self.witness)?) else {
            return self.disk.remove_file(&temporary);
        };
        let text = self.text(itself, witness);
        file.write_all_at(&mut [IoSlice::new(text.as_bytes())], 0)?;
        self.disk.rename(&temporary, &self.path)
    }

    /// Takes the note away.
    ///
    /// # Errors
    /// Those of `unlink(2)`, without `NotFound`.
    pub fn remove(&self) -> io::Result<()> {
        match self.disk.remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn is_true(&self) -> io::Result<bool> {
        let itself = self.disk.file_id(&self.path)?;
        let (Some(itself), Some(witness)) = (itself, self.disk.file_id(&self.witness)?) else {
            return Ok(false);
        };
        let found = self.disk.read(&self.path, LEN_MAX)?;
        Ok(found == self.text(itself, witness).as_bytes())
    }

    fn text(&self, itself: FileId, witness: FileId) -> String {
        let id = |file: FileId| format!("{}:{}:{}", file.device, file.inode, file.born);
        format!(
            "version={VERSION}\nboot.id={}\nnote={}\nquorum-state={}\n",
            self.boot,
            id(itself),
            id(witness)
        )
    }
}

#[cfg(test)]
mod tests {
    use ottla_runtime::Runtime;
    use ottla_runtime::sim::{SimNode, SimWorld};

    use super::*;

    fn note(node: &SimNode) -> BootNote {
        let runtime = Runtime::simulated(node);
        let boot = runtime.boot_id().expect("it is told");
        BootNote::new(runtime.disk(), Path::new("/d"), PathBuf::from("/d/quorum-state"), boot)
    }

    fn write(node: &SimNode, path: &str, bytes: &[u8]) {
        let disk = Runtime::simulated(node).disk().clone();
        disk.write_atomically(Path::new(path), bytes, None, None).expect("it is written");
    }

    /// Whether a note is believed after `between`.
    fn believed(between: impl AsyncFnOnce(&SimNode)) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let node = SimWorld::new(3).node("a");
            let disk = Runtime::simulated(&node).disk().clone();
            disk.create_dir(Path::new("/d")).expect("an empty disk");
            write(&node, "/d/quorum-state", b"epoch 1");
            note(&node).leave().expect("it is left");
            disk.sync_dir(Path::new("/"), ottla_runtime::SyncPoint::DataDir).expect("synced");
            disk.sync_dir(Path::new("/d"), ottla_runtime::SyncPoint::StartDir).expect("synced");
            between(&node).await;
            let believed = note(&node).take().expect("it is taken");
            assert!(!note(&node).take().expect("there is none"), "once only");
            believed
        })
    }

    #[test]
    fn a_note_is_believed_after_a_death_of_the_process_alone() {
        assert!(believed(async |node| node.crash(false).await));
        assert!(!believed(async |node| node.crash(true).await), "another boot");
    }

    #[test]
    fn a_note_is_believed_only_where_it_was_written() {
        let copied = async |node: &SimNode| {
            let disk = Runtime::simulated(node).disk().clone();
            let bytes = disk.read(Path::new("/d/.ottla-boot"), 4096).expect("it is there");
            write(node, "/d/.ottla-boot", &bytes);
        };
        assert!(!believed(copied), "a copy");
        let served = async |node: &SimNode| write(node, "/d/quorum-state", b"epoch 2");
        assert!(!believed(served), "somebody began an epoch");
        let torn = async |node: &SimNode| write(node, "/d/.ottla-boot", b"version=1\nboot.id=");
        assert!(!believed(torn), "half a note");
    }
}
