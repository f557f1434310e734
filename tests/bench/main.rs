//! Measures a node beside Apache Kafka and beside a floor, in one run, and prints a table.
//!
//! The floor is a bare server that reads a frame, writes it with one `pwrite` (or answers from the
//! page cache by `sendfile`) and does nothing else: what no broker can go below. Servers are pinned
//! to one processor and the client to another; figures of the same kind are taken in turn, server
//! by server, so that a disturbance of the machine meets all of them.
//!
//! Deliberately absent: latencies, but for those of heartbeats beside produce. On a machine with
//! two processors they measure the machine.

mod cleaner;
mod client;
mod floor;
mod floor_many;
mod group_life;
mod group_load;
mod groups;
mod load;
mod machine;
mod many;
mod open_loop;
mod process;
mod program;
mod report;
mod restart;
mod start;
mod validation;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use load::{LoadSettings, Loaded};
use program::Program;
use report::{Report, Row};

/// Lives of a broker in which heartbeats are measured beside produce.
const PRODUCE_RUNS: usize = 3;

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
    /// Measures, and prints a Markdown table.
    Run(RunArguments),
    /// Measures what it costs to look at the records of a batch.
    Validation,
    /// Serves as the floor until it is ended.
    #[command(hide = true)]
    Floor(FloorArguments),
    /// Serves as the floor of many connections until it is ended.
    #[command(hide = true)]
    FloorOfMany(FloorArguments),
}

#[derive(clap::Args)]
struct FloorArguments {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    dir: PathBuf,
}

#[derive(clap::Args)]
struct RunArguments {
    /// The binary.
    #[arg(long, value_name = "FILE")]
    ottla: PathBuf,
    /// Directory of the jars of Apache Kafka.
    #[arg(long, value_name = "DIR", required_unless_present = "without_kafka")]
    kafka: Option<PathBuf>,
    /// Leaves Apache Kafka out.
    #[arg(long, conflicts_with = "kafka")]
    without_kafka: bool,
    /// Directory for data; it must not exist.
    #[arg(long, value_name = "DIR")]
    scratch: PathBuf,
    /// First of the three ports that are used.
    #[arg(long, default_value_t = 24_000)]
    port: u16,
    /// Starts of Ottla; of Apache Kafka a third of them.
    #[arg(long, default_value_t = 15)]
    starts: usize,
    /// Passes of each load.
    #[arg(long, default_value_t = 7)]
    passes: usize,
    /// MiB of a pass.
    #[arg(long, default_value_t = 1024)]
    mib: usize,
    /// Partitions of a broker with many.
    #[arg(long, default_value_t = 10_000)]
    partitions: i32,
    /// GiB that a restart finds.
    #[arg(long, default_value_t = 4)]
    gib: usize,
    /// Committed offsets that a restart finds.
    #[arg(long, default_value_t = 1_000_000)]
    offsets: usize,
    /// What is measured.
    #[arg(long, value_delimiter = ',', default_values = ["start",
        "memory", "bulk", "small", "restart", "many", "heartbeat", "offset-commit",
        "idle-groups", "load-offsets", "restart-heartbeat", "heartbeat-under-produce", "cleaner"])]
    only: Vec<Figure>,
}

/// A kind of figures.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// From exec to an open port, and to the first acknowledged produce.
    Start,
    /// Memory and processor time of an idle node.
    Memory,
    /// Processor time for 1 MiB batches, produced and fetched.
    Bulk,
    /// Processor time for requests of one record.
    Small,
    /// Restarts with 1,000 partitions, and the speed of recovery.
    Restart,
    /// A broker with 10,000 partitions.
    Many,
    /// Processor time for heartbeats.
    Heartbeat,
    /// Processor time for commits of offsets.
    OffsetCommit,
    /// Processor time of a broker with 1,000 groups at rest.
    IdleGroups,
    /// A start that finds a million committed offsets.
    LoadOffsets,
    /// Starts until a member of a group is heard.
    RestartHeartbeat,
    /// Latency of heartbeats while others produce.
    HeartbeatUnderProduce,
    /// Compaction, and what it does to producers.
    Cleaner,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Validation => validation::measure(),
        Command::Floor(floor) => floor::serve(floor.port, &floor.dir).map_err(Failure::from),
        Command::FloorOfMany(floor) => {
            floor_many::serve(floor.port, &floor.dir).map_err(Failure::from)
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

fn run(arguments: &RunArguments) -> Result<(), Failure> {
    std::fs::create_dir(&arguments.scratch)?;
    let measured = measure(arguments);
    std::fs::remove_dir_all(&arguments.scratch)?;
    println!("{}", measured?);
    Ok(())
}

/// A figure that cannot be taken is missing in the table; the others are worth having.
fn go_on_after(measured: Result<(), Failure>) {
    if let Err(error) = measured {
        eprintln!("ottla-bench: left out: {error}");
    }
}

fn measure(arguments: &RunArguments) -> Result<Report, Failure> {
    let place = program::Place { scratch: arguments.scratch.clone(), port: arguments.port };
    let mut brokers = vec![Program::Ottla(arguments.ottla.clone())];
    brokers.extend(arguments.kafka.clone().map(Program::Kafka));
    let mut report = Report::new(arguments.kafka.as_deref())?;
    let wanted = |figure| arguments.only.contains(&figure);
    if wanted(Figure::Start) {
        for broker in &brokers {
            start::measure_starts(broker, &place, arguments.starts, &mut report)?;
        }
    }
    if wanted(Figure::Memory) {
        for broker in &brokers {
            start::measure_idle(broker, &place, &mut report)?;
        }
    }
    let settings = LoadSettings { passes: arguments.passes, bytes: arguments.mib << 20 };
    if wanted(Figure::Bulk) || wanted(Figure::Small) {
        let with_floor = [vec![Program::Floor], brokers.clone()].concat();
        let mut loaded = Loaded::start(&with_floor, &place, settings)?;
        if wanted(Figure::Small) {
            loaded.measure_small(&mut report)?;
        }
        if wanted(Figure::Bulk) {
            loaded.measure_bulk(&mut report)?;
        }
        loaded.stop()?;
    }
    for broker in &brokers {
        if wanted(Figure::Restart) {
            let (half, whole) = (arguments.gib << 29, arguments.gib << 30);
            go_on_after(restart::measure_scan(broker, &place, half, &mut report));
            go_on_after(restart::measure_restarts(broker, &place, whole, &mut report));
        }
        if wanted(Figure::Many) {
            let (topics, partitions) = (arguments.partitions / 10, arguments.partitions);
            go_on_after(many::measure_topics(broker, &place, topics, &mut report));
            go_on_after(many::measure_many(broker, &place, partitions, &mut report));
        }
        if wanted(Figure::Cleaner) {
            let bytes = arguments.gib << 28;
            go_on_after(cleaner::measure_rate(broker, &place, bytes, &mut report));
            go_on_after(cleaner::measure_many_keys(broker, &place, &mut report));
        }
    }
    measure_groups(arguments, &brokers, &place, &mut report)?;
    report.finish()?;
    Ok(report)
}

fn measure_groups(
    arguments: &RunArguments,
    brokers: &[Program],
    place: &program::Place,
    report: &mut Report,
) -> Result<(), Failure> {
    let wanted = |figure| arguments.only.contains(&figure);
    let with_floor = [vec![Program::FloorOfMany], brokers.to_vec()].concat();
    let rows = [(Figure::Heartbeat, Row::Heartbeat), (Figure::OffsetCommit, Row::OffsetCommit)];
    let rows = rows.into_iter().filter(|(figure, _)| wanted(*figure)).map(|(_, row)| row);
    let rows: Vec<Row> = rows.collect();
    if !rows.is_empty() {
        let mut load = group_load::GroupLoad::start(&with_floor, place, rows)?;
        load.measure(arguments.passes, report)?;
        load.stop()?;
    }
    if wanted(Figure::IdleGroups) {
        for program in &with_floor {
            go_on_after(group_life::measure_idle(program, place, report));
        }
    }
    for broker in brokers {
        if wanted(Figure::LoadOffsets) {
            go_on_after(group_life::measure_load(broker, place, arguments.offsets, report));
        }
        if wanted(Figure::RestartHeartbeat) {
            go_on_after(group_life::measure_restarts(broker, place, report));
        }
    }
    if wanted(Figure::HeartbeatUnderProduce) {
        let bytes = arguments.gib << 31;
        for program in &with_floor {
            for _ in 0..PRODUCE_RUNS {
                go_on_after(group_life::measure_under_produce(program, place, bytes, report));
            }
        }
    }
    Ok(())
}
