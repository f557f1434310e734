//! Measures a node beside Apache Kafka and beside a floor, scenario by scenario, and makes tables
//! and plots of the results.
//!
//! The floor is a bare server that reads a frame, writes it with one `pwrite` (or answers from the
//! page cache by `sendfile`, or with bytes that are always the same) and does nothing else: what no
//! broker can go below. Servers are pinned to one processor and the client to another; figures of
//! the same kind are taken in turn, server by server, so that a disturbance of the machine meets
//! all of them.

mod assignment;
mod cleaner;
mod client;
mod closed;
mod consumers;
mod counters;
mod durable;
mod end_to_end;
mod fetch;
mod fetching;
mod figure;
mod floor;
mod group_life;
mod groups;
mod idle;
mod latency;
mod machine;
mod many;
mod open_loop;
mod payload;
mod process;
mod produce;
mod program;
mod render;
mod requests;
mod restart;
mod results;
mod run;
mod scenarios;
mod servers;
mod start;
mod transactions;
mod validation;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What went wrong, for the operator.
type Failure = Box<dyn std::error::Error>;

/// Measures Ottla beside Apache Kafka and a floor.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Names the scenarios and what they take.
    List,
    /// Measures scenarios, and keeps the results.
    Run(run::RunArguments),
    /// Makes tables and plots of kept results.
    Report(render::ReportArguments),
    /// Measures what it costs to look at the records of a batch.
    Validation,
    /// Measures what it costs to share partitions out among consumers.
    Assignment,
    /// Measures one scenario in this process.
    #[command(hide = true)]
    One(run::OneArguments),
    /// Serves as the floor until it is ended.
    #[command(hide = true)]
    Floor(FloorArguments),
}

#[derive(clap::Args)]
struct FloorArguments {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    dir: PathBuf,
    /// Answers when what it wrote is on disk.
    #[arg(long)]
    durable: bool,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::List => {
            run::list();
            Ok(())
        }
        Command::Run(arguments) => run::run(&arguments),
        Command::Report(arguments) => render::report(&arguments),
        Command::Validation => validation::measure(),
        Command::Assignment => assignment::measure(),
        Command::One(arguments) => run::one(&arguments),
        Command::Floor(floor) => {
            floor::serve(floor.port, &floor.dir, floor.durable).map_err(Failure::from)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
