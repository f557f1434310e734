//! Folders of golden scripts: each `*.txt` is a text of commands and of what they answer. A run
//! that answers otherwise fails, or, with `UPDATE=1`, rewrites the script: read the diff.
//!
//! A script is short enough to be read at once. A folder that is a book has a `README.md`, which
//! names each of its scripts once, in the order in which they are to be read; each begins with a
//! comment that says what it is about.

use std::path::Path;

use goldenscript::Runner;

/// Most lines of a script.
const LINES_MAX: usize = 80;

/// Runs all scripts of `folder`, which holds at least `least`, each with a new runner.
///
/// # Panics
/// When a script answers otherwise than it says, or is too long.
pub fn run<R: Runner>(folder: &Path, least: usize, runner: impl Fn() -> R) {
    let scripts = scripts(folder);
    let mut differ = Vec::new();
    for name in &scripts {
        let path = folder.join(name);
        let script = std::fs::read_to_string(&path).expect("readable");
        let output = goldenscript::generate(&mut runner(), &script)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &output).expect("writable");
        } else if output != script {
            differ.push((name, output.clone(), script));
        }
        assert!(output.lines().count() < LINES_MAX, "{name} is too long to be read at once");
    }
    if let Some((name, output, script)) = differ.first() {
        let names: Vec<&str> = differ.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(output, script, "{name} differs, of {names:?}; UPDATE=1 rewrites them");
    }
    assert!(scripts.len() >= least, "{} scripts", scripts.len());
}

/// Checks that `folder` is a book.
///
/// # Panics
/// When its `README.md` does not name each script once, or a script has no comment at its head.
pub fn check_book(folder: &Path) {
    let index = std::fs::read_to_string(folder.join("README.md")).expect("a book has an index");
    let links = index.split("](").skip(1).filter_map(|link| Some(link.split_once(')')?.0));
    let mut named: Vec<&str> = links.filter(|link| link.ends_with(".txt")).collect();
    named.sort_unstable();
    let scripts = scripts(folder);
    assert_eq!(named, scripts, "README.md names each script once, and nothing else");
    for name in scripts {
        let script = std::fs::read_to_string(folder.join(&name)).expect("readable");
        assert!(script.starts_with("# "), "{name} does not say what it is about");
    }
}

fn scripts(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("readable").file_name());
    let names = names.map(|name| name.into_string().expect("a text"));
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".txt")).collect();
    names.sort_unstable();
    names
}
