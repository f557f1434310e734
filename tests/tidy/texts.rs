//! What every file says about itself.

use crate::{assert_none, root, rust_files, without_tests};

#[test]
fn every_file_begins_with_what_it_is() {
    let files = ["src", "tests", "compat-tests"].into_iter().flat_map(rust_files);
    let silent = files.filter(|(_, text)| !text.starts_with("//! "));
    assert_none(&silent.map(|(name, _)| format!("{name} has no head")).collect::<Vec<_>>());
}

#[test]
fn handlers_say_their_versions_and_errors() {
    let mut silent = Vec::new();
    for (name, text) in rust_files("src/server/handlers") {
        if name.ends_with("/mod.rs") || name.contains("/tests") {
            continue;
        }
        for word in ["//! Versions:", "//! Errors:"] {
            if !text.contains(word) {
                silent.push(format!("{name} lacks {word:?}"));
            }
        }
    }
    assert_none(&silent);
}

#[test]
fn nothing_is_left_for_later() {
    let words = ["todo!", "unimplemented!", "FIXME", "XXX:", "for now", "dbg!", "#[ignore"];
    let mut found = Vec::new();
    for (name, text) in ["src", "tests", "compat-tests"].into_iter().flat_map(rust_files) {
        if name.starts_with("tests/tidy/") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn nothing_is_unwrapped() {
    let mut found = Vec::new();
    for (name, text) in rust_files("src") {
        if name.contains("/tests") || name.contains("conformance") {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            if line.contains(".unwrap()") {
                found.push(format!("{name}:{}: say why with expect", number + 1));
            }
        }
    }
    assert_none(&found);
}

/// docs/clients.md names the tests that hold us to Kafka's ways: a table of tests that are gone is
/// a promise that nobody keeps.
#[test]
fn tests_that_documents_name_are_there() {
    let tests: String = rust_files("tests/it").into_iter().map(|(_, text)| text).collect();
    let text = std::fs::read_to_string(root().join("docs/clients.md")).expect("readable");
    let named = text.split('`').skip(1).step_by(2).filter(|name| {
        name.contains('_')
            && name.chars().all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
    });
    let (kept, gone): (Vec<_>, Vec<_>) =
        named.partition(|name| tests.contains(&format!("\nfn {name}()")));
    assert!(kept.len() > 30, "only {} tests are named", kept.len());
    assert_none(&gone.into_iter().map(str::to_owned).collect::<Vec<_>>());
}
