//! Files and functions that can be read at one sitting.

use crate::{assert_none, rust_files};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_LEN_MAX: usize = 100;

/// Tables: one line for each entry, read as a list.
const TABLES: &[&str] = &["src/protocol/metadata/schema.rs"];

fn all_files() -> Vec<(String, String)> {
    ["src", "tests", "benches", "fuzz"].into_iter().flat_map(rust_files).collect()
}

#[test]
fn files_stay_short() {
    let long = all_files().into_iter().filter(|(name, _)| !TABLES.contains(&name.as_str()));
    let long = long.map(|(name, text)| (name, text.lines().count()));
    let long = long.filter(|(_, lines)| *lines > FILE_LINES_MAX);
    assert_none(&long.map(|(name, lines)| format!("{name}: {lines} lines")).collect::<Vec<_>>());
}

#[test]
fn functions_stay_short() {
    let mut long = Vec::new();
    for (name, text) in all_files() {
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let Some(len) = function_len(line, &lines[start..]) else { continue };
            if len > FUNCTION_LINES_MAX {
                long.push(format!("{name}:{}: {len} lines", start + 1));
            }
        }
    }
    assert_none(&long);
}

/// Lines of the function that begins with `line`: rustfmt closes it at the same indentation.
fn function_len(line: &str, from_here: &[&str]) -> Option<usize> {
    let code = line.trim_start();
    let words: Vec<&str> = code.split_whitespace().take_while(|word| *word != "fn").collect();
    let is_function = code.contains("fn ")
        && words.len() < 5
        && words.iter().all(|word| {
            matches!(*word, "pub" | "async" | "const" | "unsafe") || word.starts_with("pub(")
        });
    if !is_function {
        return None;
    }
    let end = format!("{}}}", " ".repeat(line.len() - code.len()));
    from_here.iter().position(|line| *line == end).map(|index| index + 1)
}

#[test]
fn lines_fit_the_screen() {
    let mut long = Vec::new();
    for (name, text) in all_files() {
        for (number, line) in text.lines().enumerate() {
            let is_text = line.contains('"');
            if line.chars().count() > LINE_LEN_MAX && !is_text {
                long.push(format!("{name}:{}", number + 1));
            }
        }
    }
    assert_none(&long);
}
