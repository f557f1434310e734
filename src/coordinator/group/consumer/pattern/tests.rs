//! What RE2/J says of some thousand random patterns (`tests/clients/java/PatternCases.java`), and
//! what we say: the same. `cases.txt` is a sample; `OTTLA_PATTERN_CASES=FILE` reads more.

use super::*;

/// The names that patterns are tried on.
const NAMES: [&str; 12] =
    ["a", "b", "ab", "aab", "A", "a-b", "a.b", "k1", "s_2", "foo", "Foo-7", "__bar"];

/// `PATTERN TAB WHAT IS WRONG`, or `PATTERN TAB =` and a digit for each name. Tabs and line ends
/// are none of the pattern.
fn differs(line: &str) -> Option<String> {
    let (text, expected) = line.split_once('\t').expect("a pattern and its answer");
    let told = match Pattern::new(text) {
        Err(what) => what.to_owned(),
        Ok(pattern) => {
            let bits = NAMES.iter().map(|name| if pattern.matches(name) { '1' } else { '0' });
            format!("={}", bits.collect::<String>())
        }
    };
    (told != expected).then(|| format!("{text:?}: {told}, but {expected} of RE2/J"))
}

#[test]
fn equal_those_of_re2j() {
    let more = std::env::var("OTTLA_PATTERN_CASES").ok();
    let more = more.map(|path| std::fs::read_to_string(path).expect("it can be read"));
    let cases = include_str!("cases.txt").lines().chain(more.iter().flat_map(|it| it.lines()));
    let differences: Vec<String> = cases.filter_map(differs).collect();
    assert_eq!(differences, Vec::<String>::new());
}

#[test]
fn limits_hold() {
    let refused = |text: &str| Pattern::new(text).err();
    assert_eq!(refused(&"a".repeat(TEXT_MAX)), None);
    assert_eq!(refused(&"a".repeat(TEXT_MAX + 1)), Some("too long"));
    assert_eq!(refused(&format!("{}a{}", "(".repeat(100), ")".repeat(100))), None);
    let deep = format!("{}a{}", "(".repeat(101), ")".repeat(101));
    assert_eq!(refused(&deep), Some("nested too deeply"));
    assert_eq!(refused("(?:(?:a{1000}){1000}){1000}"), Some("too large"));
    assert_eq!(refused("(?:a?){1000}(?:b?){1000}"), None);
}
