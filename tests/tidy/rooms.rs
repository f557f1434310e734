//! Which room may use which (docs/ARCHITECTURE.md). The compiler refuses a cycle; this refuses
//! what would become one, and keeps cores free of the world.

use crate::{assert_none, root, rust_files, without_tests};

/// A room and the rooms it may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("protocol", &["types"]),
    ("config", &["types"]),
    ("runtime", &["types"]),
    ("security", &["types", "protocol", "config", "runtime"]),
    ("storage", &["types", "protocol", "config", "runtime"]),
    ("raft", &["types", "protocol", "config", "runtime", "security", "storage"]),
    ("metadata", &["types", "protocol", "config", "runtime", "security", "storage", "raft"]),
    ("replication", &["types", "protocol", "config", "runtime", "security", "storage", "metadata"]),
    ("coordinator", &["types", "protocol", "config", "runtime", "security", "metadata"]),
    (
        "server",
        &[
            "types",
            "protocol",
            "config",
            "runtime",
            "security",
            "storage",
            "raft",
            "metadata",
            "replication",
            "coordinator",
        ],
    ),
    (
        "node",
        &[
            "types",
            "protocol",
            "config",
            "runtime",
            "security",
            "storage",
            "raft",
            "metadata",
            "replication",
            "coordinator",
            "server",
        ],
    ),
    ("cli", &["types", "config", "runtime", "node"]),
];

/// Files and directories that decide and do nothing else.
const CORES: &[&str] = &[
    "src/types",
    "src/protocol",
    "src/config",
    "src/raft/core",
    "src/metadata/image",
    "src/metadata/controller",
    "src/replication/core.rs",
    "src/replication/moves/core.rs",
    "src/replication/placement.rs",
    "src/replication/sessions",
    "src/replication/validation",
    "src/coordinator/group",
    "src/coordinator/shard_core.rs",
    "src/coordinator/timeline.rs",
    "src/coordinator/timers.rs",
    "src/coordinator/txn",
    "src/storage/producer_state",
];

/// What a core must not name, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    (".await", "a decision does not wait"),
    ("async fn", "a decision does not wait"),
    ("tokio", "a core runs without a runtime"),
    ("Instant::now", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("std::fs", "files are the shell's"),
    ("std::net::Tcp", "sockets are the shell's"),
    ("tracing::", "a core reports by its effects"),
    ("println!", "a core reports by its effects"),
    ("HashMap", "iteration order must not depend on a hash"),
    ("HashSet", "iteration order must not depend on a hash"),
    ("Mutex", "a core has one owner"),
    ("fastrand", "randomness is an argument"),
    ("getrandom", "randomness is an argument"),
];

#[test]
fn rooms_use_only_the_rooms_below_them() {
    let mut wrong = Vec::new();
    for (room, allowed) in ROOMS {
        let path = root().join(format!("src/{room}/Cargo.toml"));
        let Ok(manifest) = std::fs::read_to_string(&path) else { continue };
        let dependencies = manifest.split("[dev-dependencies]").next().expect("a first part");
        for line in dependencies.lines() {
            let Some(rest) = line.strip_prefix("ottla-") else { continue };
            let used = rest.split(['.', ' ', '=']).next().expect("a first part");
            if !allowed.contains(&used) {
                wrong.push(format!("{room} may not use {used}"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_room_is_listed() {
    let entries = std::fs::read_dir(root().join("src")).expect("src/ is there");
    let mut wrong = Vec::new();
    for entry in entries.map(|entry| entry.expect("readable").path()).filter(|p| p.is_dir()) {
        let name = entry.file_name().expect("a name").to_string_lossy().into_owned();
        if !ROOMS.iter().any(|(room, _)| *room == name) {
            wrong.push(format!("src/{name} is no room"));
        }
    }
    assert_none(&wrong);
}

/// Whether the code names a word; a field `awaiting` is not `.await`.
fn is_named(code: &str, word: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|it: char| it.is_alphanumeric() || it == '_');
    code.match_indices(word).any(|(at, _)| word != ".await" || !goes_on(&code[at + word.len()..]))
}

#[test]
fn cores_are_free_of_the_world() {
    let mut wrong = Vec::new();
    for (name, text) in rust_files("src") {
        let is_core = CORES.iter().any(|core| name.starts_with(core));
        let is_test = name.contains("/tests");
        if !is_core || is_test {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (word, reason) in FORBIDDEN {
                if is_named(code, word) {
                    wrong.push(format!("{name}:{}: {word}: {reason}", number + 1));
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn only_runtime_opens_the_door_to_the_world() {
    let words = ["tokio::time", "tokio::net", "tokio::fs", "tokio::spawn", "tokio::task::spawn"];
    let mut wrong = Vec::new();
    for (name, text) in rust_files("src") {
        if name.starts_with("src/runtime/") {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                wrong.push(format!("{name}:{}: goes past runtime", number + 1));
            }
        }
        let selects = text.matches("select! {").count();
        if selects != text.matches("biased;").count() {
            wrong.push(format!("{name}: a select! is not biased"));
        }
    }
    assert_none(&wrong);
}
