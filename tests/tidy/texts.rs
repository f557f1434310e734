//! What every file says about itself.

use std::collections::BTreeSet;

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
    let scenes = root().join("src/coordinator/group/scripts");
    let (kept, gone): (Vec<_>, Vec<_>) = named.partition(|name| {
        tests.contains(&format!("\nfn {name}()")) || scenes.join(format!("{name}.txt")).exists()
    });
    assert!(kept.len() > 30, "only {} tests are named", kept.len());
    assert_none(&gone.into_iter().map(str::to_owned).collect::<Vec<_>>());
}

/// Each promise of docs/guarantees.md names tests and scenes that show it.
#[test]
fn what_is_promised_is_shown() {
    let (named, _) = names_of("docs/guarantees.md", "src/coordinator/txn/scripts");
    assert!(named > 25, "{named}");
}

/// docs/groups.md and docs/transactions.md say where each scenario of Kafka's tests, and each
/// request in each state, is looked at: scenes, tests and rows of the oracle that have to be there.
#[test]
fn what_the_pages_of_coordinators_name_is_there() {
    let (named, scenarios) = names_of("docs/groups.md", "src/coordinator/group/scripts");
    assert!(named > 850 && scenarios > 700, "{named} and {scenarios}");
    let (named, scenarios) = names_of("docs/transactions.md", "src/coordinator/txn/scripts");
    assert!(named > 250 && scenarios > 150, "{named} and {scenarios}");
}

/// How many scenes, tests and rows a page names, and how many scenarios; all of them are there.
fn names_of(page: &str, scripts: &str) -> (usize, usize) {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect("readable");
    let tests: String =
        ["src", "tests"].into_iter().flat_map(rust_files).map(|(_, text)| text).collect();
    let rows: String = ["groups", "members", "consumers", "migration"]
        .map(|name| read(&format!("tests/oracle/cases/{name}.txt")))
        .concat();
    let scenes = root().join(scripts);
    let is_row = |name: &str| {
        let Some((api, row)) = name.split_once(" / ") else { return false };
        let title = format!("\n{api}\n");
        let of_api = rows.split(&title).skip(1);
        let heads = of_api.flat_map(|text| text.lines().take_while(|line| line.starts_with(' ')));
        let mut heads = heads.filter_map(|line| line.strip_prefix("    "));
        heads.any(|head| head.split([':', '[', '~']).next().is_some_and(|it| it.trim() == row))
    };
    let is_there = |name: &str| {
        is_row(name)
            || scenes.join(format!("{name}.txt")).exists()
            || tests.contains(&format!("fn {name}()"))
    };
    let (mut named, mut scenarios, mut wrong) = (0, BTreeSet::new(), Vec::new());
    for line in read(page).lines().filter(|line| line.starts_with("| ")) {
        let [_, what, cells @ ..] = &line.split('|').collect::<Vec<_>>()[..] else { continue };
        for name in cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            named += 1;
            if !is_there(name) {
                wrong.push(format!("{name} is not there"));
            }
        }
        if what.contains("Test: ") {
            let says = cells.concat();
            if !says.contains('`') && !says.contains("not built: ") {
                wrong.push(format!("{what} is looked at nowhere"));
            }
            if !scenarios.insert(what.trim().to_owned()) {
                wrong.push(format!("{what} is there twice"));
            }
        }
    }
    assert_none(&wrong);
    (named, scenarios.len())
}
