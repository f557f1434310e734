//! How many instructions the broker's hot operations take, exactly, against what they took before.
//!
//! ```text
//!   gates check ── valgrind --tool=callgrind ── gates run ── a simulated world, real files
//!        └── dumps, one for each operation ──> instructions and allocations ──> counts.txt
//! ```
//! Time and randomness come from a seed and everything runs on one thread, so that a count is the
//! same in each run. Files are real ones, of which the kernel's part is not counted: what is, is
//! the product's. The allocator's own instructions are left out, as they depend on what happened
//! before; how often it is asked is a count of its own. Valgrind's processor is the same on every
//! x86-64 machine with AVX2, whatever else the machine can do.
//!
//! Deliberately absent: system calls, wake-ups, sockets. What those cost is measured by
//! `scripts/bench`.

mod callgrind;
mod mark;
mod node;
mod operations;
mod report;
mod requests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What went wrong, for the operator.
type Failure = Box<dyn std::error::Error>;

/// Counts instructions of hot operations.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Counts, and compares with the kept file; `UPDATE=1` in the environment writes it anew.
    Check {
        /// The kept file.
        #[arg(long)]
        counts: PathBuf,
        /// A directory for data and dumps; it must not exist.
        #[arg(long)]
        scratch: PathBuf,
        /// Compiler, libc and Valgrind, of which all counts depend.
        #[arg(long)]
        tools: String,
    },
    /// Does all operations in the current directory and prints their names.
    #[command(hide = true)]
    Run,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run => operations::run().map(|()| true),
        Command::Check { counts, scratch, tools } => check(&counts, &scratch, &tools),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gates: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(counts: &Path, scratch: &Path, tools: &str) -> Result<bool, Failure> {
    std::fs::create_dir(scratch)?;
    let counted = callgrind::count(scratch);
    std::fs::remove_dir_all(scratch)?;
    report::judge(counts, &counted?, tools)
}
