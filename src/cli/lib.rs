//! The command line: `ottla [--config FILE] [--override key=value]…`, `ottla storage` and
//! `ottla dump-log`.
//!
//! Exit codes: 0 after a clean stop, 1 when the node could not start or had to end, 2 for wrong
//! arguments. What went wrong is one line on standard error. The tools have Kafka's texts instead,
//! and end with 1 whatever is wrong.

mod dump_log;
mod log_line;
mod storage;

use std::io::Write;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use ottla_config::{NodeConfig, Properties};
use ottla_node::NodeParts;
use ottla_runtime::Runtime;
use tracing::level_filters::LevelFilter;

/// Apache Kafka's broker in one small binary.
///
/// Without --config it runs as broker and controller on PLAINTEXT://:9092 and CONTROLLER://:9093,
/// with its data in ./ottla-data, which is created and formatted.
#[derive(Parser)]
#[command(name = "ottla", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Kafka's server.properties.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets a config; wins over the file. May be repeated.
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = key_value)]
    overrides: Vec<(String, String)>,
    /// What is logged on standard output.
    #[arg(long, default_value = "info", value_name = "LEVEL",
        value_parser = PossibleValuesParser::new(["error", "warn", "info", "debug", "trace"]))]
    log_level: String,
}

#[derive(Subcommand)]
enum Command {
    /// Formats data directories and tells about them, as kafka-storage does.
    #[command(subcommand, arg_required_else_help = false)]
    Storage(storage::Command),
    /// Shows what is in log segments, indexes and snapshots, as kafka-dump-log does.
    DumpLog(dump_log::DumpLog),
}

/// What clap says in front of its advice.
fn one_line(message: &str) -> String {
    let told = message.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    let told = told.collect::<Vec<_>>().join(" ");
    format!("{} (see --help)", told.trim_start_matches("error: "))
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is not key=value")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

const WRONG_ARGUMENTS: u8 = 2;

/// Runs the process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.exit_code() == 0 => error.exit(),
        Err(error) => {
            // Nothing is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "ottla: {}", one_line(&error.to_string()));
            let first = std::env::args_os().nth(1);
            let is_tool = first.is_some_and(|word| word == "storage" || word == "dump-log");
            return ExitCode::from(if is_tool { storage::FAILED } else { WRONG_ARGUMENTS });
        }
    };
    match &arguments.command {
        Some(Command::Storage(command)) => return storage::run(command),
        Some(Command::DumpLog(command)) => return dump_log::run(command),
        None => {}
    }
    let level: LevelFilter = arguments.log_level.parse().expect("one of the possible values");
    tracing_subscriber::fmt().event_format(log_line::LogLine).with_max_level(level).init();
    match serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // Nothing is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "ottla: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments) -> Result<(), String> {
    let config = load(arguments.config.as_deref(), &arguments.overrides)?;
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let data_threads = config.data_threads.unwrap_or(processors);
    let ended =
        Runtime::run(data_threads, |runtime| ottla_node::run(runtime, NodeParts::new(config)));
    let ended = ended.map_err(|error| error.to_string())?;
    ended.map(|_| ()).map_err(|error| error.to_string())
}

/// The config of a file, or of none, with `overrides` on top.
fn load(file: Option<&Path>, overrides: &[(String, String)]) -> Result<NodeConfig, String> {
    let file = match file {
        None => None,
        Some(path) => {
            let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let bytes = std::fs::read(path).map_err(|error| named(&error))?;
            Some(Properties::parse(&bytes).map_err(|error| named(&error))?)
        }
    };
    NodeConfig::new(file, overrides).map_err(|error| error.to_string())
}
