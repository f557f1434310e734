//! Runs the operations under callgrind, and reads what it wrote.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Failure;

/// What is counted: what a request costs where it is begun, the thread that appends what groups
/// decided, and what [`crate::mark::counted`] is given.
const COUNTED: &[&str] = &[
    "ottla_server::dispatch::dispatch*",
    "*ottla_coordinator::runtime::writer::*next_batches",
    "*ottla_coordinator::runtime::writer::*append_one",
    "*ottla_coordinator::runtime::writer::*appended",
    "gates::mark::counted*",
];
const DUMP_BEFORE: &str = "gates::mark::mark*";
/// What asks the allocator for memory; with what it asks, it is left out. Each of these is a single
/// jump, so that its own cost is the number of calls (callgrind's has those that do not count,
/// too).
const TAKES: &[&str] = &["__rust_alloc", "__rust_alloc_zeroed", "__rust_realloc"];
const GIVES_BACK: &str = "__rust_dealloc";

/// What an operation took, all its repetitions together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Count {
    /// Its name.
    pub name: String,
    /// How often it was done.
    pub repeats: u64,
    /// Instructions, without the allocator's.
    pub instructions: u64,
    /// How often the allocator was asked for memory.
    pub allocations: u64,
}

/// Counts all operations; everything that is written is below `scratch`.
///
/// # Errors
/// When valgrind is missing, or an operation failed.
pub fn count(scratch: &Path) -> Result<Vec<Count>, Failure> {
    let data = scratch.join("run");
    std::fs::create_dir(&data)?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--quiet", "--collect-atstart=no"]);
    valgrind.args(["--compress-strings=no", "--compress-pos=no"]);
    valgrind.args(["--callgrind-out-file=../out", &format!("--dump-before={DUMP_BEFORE}")]);
    valgrind.args(COUNTED.iter().map(|name| format!("--toggle-collect={name}")));
    valgrind.arg(std::env::current_exe()?).arg("run");
    // Nothing of the environment is to move the stack.
    valgrind.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = valgrind.current_dir(&data).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("valgrind: {error} (apt-get install valgrind)"))?;
    if !output.status.success() {
        return Err(format!("the operations failed: {}", output.status).into());
    }
    let mut counts: Vec<Count> = Vec::new();
    for (index, line) in String::from_utf8(output.stdout)?.lines().enumerate() {
        let dump = std::fs::read_to_string(scratch.join(format!("out.{}", index + 1)))?;
        // What lies between two operations is not theirs.
        let Some((name, repeats)) = line.split_once('\t') else { continue };
        let repeats: u64 = repeats.parse()?;
        let (instructions, allocations) = read_dump(&dump);
        if instructions == 0 {
            return Err(format!("{name}: nothing was counted: were functions renamed?").into());
        }
        match counts.last_mut().filter(|last| last.name == name) {
            Some(last) => {
                last.repeats += repeats;
                last.instructions += instructions;
                last.allocations += allocations;
            }
            None => {
                let name = name.to_owned();
                counts.push(Count { name, repeats, instructions, allocations });
            }
        }
    }
    Ok(counts)
}

/// Instructions without the allocator's, and calls that took memory.
fn read_dump(dump: &str) -> (u64, u64) {
    let takes = |name: &str| TAKES.iter().any(|function| name.ends_with(function));
    let is_allocator = |name: &str| takes(name) || name.ends_with(GIVES_BACK);
    let (mut instructions, mut of_allocator, mut allocations) = (0, 0, 0);
    let (mut caller, mut callee, mut is_call) = ("", "", false);
    for line in dump.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            caller = name;
        } else if let Some(name) = line.strip_prefix("cfn=") {
            callee = name;
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = line.rsplit(' ').next().and_then(|cost| cost.parse::<u64>().ok());
            let cost = cost.unwrap_or(0);
            // The line behind a call says what all of it took.
            if !std::mem::take(&mut is_call) {
                instructions += cost;
                allocations += if takes(caller) { cost } else { 0 };
            } else if is_allocator(callee) && !is_allocator(caller) {
                of_allocator += cost;
            }
        }
    }
    (instructions - of_allocator, allocations)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_dump_is_read_without_the_allocator() {
        let dump = "\
fn=ottla::work
0 100
cfn=__rustc::__rust_alloc
calls=9 0
0 50
cfn=ottla::more
calls=1 0
0 7
fn=__rustc::__rust_alloc
0 2
cfn=malloc
calls=9 0
0 48
fn=malloc
0 48
fn=ottla::more
0 7
totals: 157
";
        assert_eq!(super::read_dump(dump), (107, 2));
    }
}
