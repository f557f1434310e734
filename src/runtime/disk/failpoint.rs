//! Steps at which the process ends as by `kill -9`: before or after a certain write to a file.
//!
//! `OTTLA_FAILPOINT=WHEN:NAME:COUNT` names one: `WHEN` is `before` or `after`, `NAME` is a part of
//! the file's path, `COUNT` says which write to such files, the first being 1. What a node does
//! between two writes nobody can tell apart afterwards, so these are all steps that there are; each
//! is a name that a test can go through (`tests/it/transactions/steps.rs`).
//!
//! Built with debug assertions only: what is shipped has none of this. The one static of the rooms
//! is here, because it is the process that ends, whatever lives in it.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

const VARIABLE: &str = "OTTLA_FAILPOINT";

/// Whether a write is about to be made, or was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    Before,
    After,
}

/// A step, and how many writes are left until it.
#[derive(Debug)]
struct Failpoint {
    when: When,
    name: String,
    left: AtomicU64,
}

impl Failpoint {
    fn read(text: &str) -> Option<Failpoint> {
        let (when, rest) = text.split_once(':')?;
        let (name, count) = rest.rsplit_once(':')?;
        let when = match when {
            "before" => When::Before,
            "after" => When::After,
            _ => return None,
        };
        let left = count.parse().ok().filter(|count| *count > 0)?;
        Some(Failpoint { when, name: name.to_owned(), left: AtomicU64::new(left) })
    }

    /// Whether this write is the one.
    fn is_reached(&self, when: When, path: &str) -> bool {
        when == self.when
            && path.contains(&self.name)
            && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// Ends the process, if this is the step that it is to end at.
pub(super) fn pass(when: When, file: &File) {
    static ARMED: OnceLock<Option<Failpoint>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let read = Failpoint::read(&text);
        assert!(read.is_some(), "{VARIABLE}={text} names no step");
        read
    });
    let Some(failpoint) = armed else { return };
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let Ok(path) = std::fs::read_link(link) else { return };
    if failpoint.is_reached(when, &path.to_string_lossy()) {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal may take a moment; nothing is done meanwhile.
        loop {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_write_that_is_named_is_the_step() {
        let point = Failpoint::read("after:__transaction_state-:2").unwrap();
        let log = "/data/__transaction_state-7/00000000000000000000.log";
        let seen = [
            (When::After, log, false),
            (When::Before, log, false),
            (When::After, "/data/other-7/00000000000000000000.log", false),
            (When::After, log, true),
            (When::After, log, false),
        ];
        for (number, (when, path, is_reached)) in seen.into_iter().enumerate() {
            assert_eq!(point.is_reached(when, path), is_reached, "{number}");
        }
    }

    #[test]
    fn what_names_no_step_is_refused() {
        for text in ["", "after", "after:x", "during:x:1", "after:x:0", "after:x:-1", "after:x:"] {
            assert!(Failpoint::read(text).is_none(), "{text}");
        }
        assert_eq!(Failpoint::read("before:a:b:3").unwrap().name, "a:b");
    }
}
