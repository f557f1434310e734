//! Tidiness is a test: each rule of the house is a sentence with a reason and a check.
//!
//! Exemptions are in the lists of this crate and only shrink.

#[cfg(test)]
mod rooms;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod texts;

#[cfg(test)]
use std::path::{Path, PathBuf};

/// The root of the repository.
#[cfg(test)]
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All Rust files below a directory of the repository, with their text, sorted.
#[cfg(test)]
fn rust_files(below: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut queue = vec![root().join(below)];
    while let Some(dir) = queue.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.map(|entry| entry.expect("readable").path()) {
            if entry.is_dir() {
                if entry.file_name().is_some_and(|name| name != "target") {
                    queue.push(entry);
                }
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let name = entry.strip_prefix(root()).expect("below the root");
                let text = std::fs::read_to_string(&entry).expect("readable");
                files.push((name.display().to_string(), text));
            }
        }
    }
    files.sort();
    files
}

/// The part of a file in front of its tests.
#[cfg(test)]
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

#[cfg(test)]
fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}
