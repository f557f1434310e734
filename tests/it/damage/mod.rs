//! Files that something other than Ottla has changed: what a start says of them, and what serves
//! on. `docs/damaged-files.md` has the table, and what Kafka does in each case.

mod metadata_log;
mod repair;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use crate::node::Setup;

/// How a node ends before its files are damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Clean,
    Kill,
}

pub(super) const BOTH: [End; 2] = [End::Clean, End::Kill];

pub(super) fn metadata_log(setup: &Setup) -> PathBuf {
    setup.data().join("__cluster_metadata-0/00000000000000000000.log")
}

/// Changes one byte, in place: the file stays the same file.
pub(super) fn flip(path: &Path, at: usize) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at as u64).unwrap();
}

/// Cuts a file, or adds bytes behind its end.
pub(super) fn resize(path: &Path, len: usize, tail: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(len as u64).unwrap();
    file.write_all_at(tail, len as u64).unwrap();
}

/// Where the batches of a segment begin, and where the last one ends.
pub(super) fn batches(path: &Path) -> Vec<usize> {
    let bytes = fs::read(path).unwrap();
    let mut found = vec![0];
    while let Some(length) = bytes.get(found[found.len() - 1] + 8..).and_then(|b| b.get(..4)) {
        let length = i32::from_be_bytes(length.try_into().unwrap());
        if length <= 0 {
            break;
        }
        found.push(found[found.len() - 1] + 12 + length as usize);
    }
    found
}

/// Where a text stands in a file.
pub(super) fn find(path: &Path, text: &str) -> usize {
    let bytes = fs::read(path).unwrap();
    bytes.windows(text.len()).position(|at| at == text.as_bytes()).unwrap()
}
