//! The table of figures.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use crate::machine;
use crate::program::Program;

/// A figure; in the order of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    StartFresh,
    StartAgain,
    FirstAck,
    IdleMemory,
    IdleCpu,
    Produce,
    Fetch,
    SmallAlone,
    SmallPipelined,
    Scan,
    RestartCrash,
    RestartClean,
    ManyRestart,
    ManyStop,
    ManyCreate,
    ManyTopics,
    ManyMemory,
    ManyMemoryServed,
    ManyFiles,
    ManyIdleCpu,
    ManyMetadata,
    ManyFetch,
    Heartbeat,
    OffsetCommit,
    IdleGroups,
    HeartbeatGroups,
    LoadOffsets,
    LoadOffsetsOpen,
    LoadOffsetsCpu,
    HeartbeatCrash,
    HeartbeatClean,
    HeartbeatCpu,
    QuietP50,
    QuietP99,
    QuietMax,
    BusyP50,
    BusyP99,
    BusyMax,
    BusyProduce,
    Clean,
    CleanCpu,
    CleanQuietP50,
    CleanQuietP99,
    CleanBusyP50,
    CleanBusyP99,
    ManyKeys,
    ManyKeysMemory,
}

/// What a figure is to be.
enum Target {
    None,
    AtMost(f64),
    AtLeast(f64),
    /// In multiples of the floor.
    OfFloor(f64),
}

impl Row {
    fn title(self) -> &'static str {
        match self {
            Row::StartFresh => "start, fresh directory: exec to open port, ms",
            Row::StartAgain => "start, existing directory: exec to open port, ms",
            Row::FirstAck => "exec to first acknowledged produce, ms",
            Row::IdleMemory => "VmRSS after 10 s idle, MiB",
            Row::IdleCpu => "processor while idle, %",
            Row::Produce => "produce, 1 MiB batches: CPU s/GiB",
            Row::Fetch => "fetch, 1 MiB: CPU s/GiB",
            Row::SmallAlone => "produce, one record of 100 B, one request at a time: CPU us",
            Row::SmallPipelined => "the same, five requests under way: CPU us",
            Row::Scan => "recovery: GiB of page-cached log checked in a second, one processor",
            Row::RestartCrash => {
                "1,000 partitions, 4 GiB unflushed: restart after kill -9 to produce and fetch, ms"
            }
            Row::RestartClean => {
                "1,000 partitions, 4 GiB: restart after a clean stop to produce and fetch, ms"
            }
            Row::ManyRestart => "10,000 partitions: clean restart to produce and fetch, ms",
            Row::ManyStop => "10,000 partitions: stop, ms",
            Row::ManyCreate => "10,000 partitions: create them in one topic, s",
            Row::ManyTopics => "10,000 partitions: create 1,000 topics one by one, s",
            Row::ManyMemory => "10,000 partitions: memory of each, new, KiB",
            Row::ManyMemoryServed => "10,000 partitions: memory of each after a record, KiB",
            Row::ManyFiles => "10,000 partitions, a record to each: open files",
            Row::ManyIdleCpu => "10,000 partitions, idle: CPU s in a minute",
            Row::ManyMetadata => "10,000 partitions: Metadata of all, ms",
            Row::ManyFetch => "10,000 partitions: a record of each by Fetch, ms",
            Row::Heartbeat => "Heartbeat, 8 connections: CPU us",
            Row::OffsetCommit => "OffsetCommit of one partition, 8 connections: CPU us",
            Row::IdleGroups => "1,000 groups of one silent member: processor, %",
            Row::HeartbeatGroups => "the same, each with a heartbeat every 3 s: processor, %",
            Row::LoadOffsets => "1 M committed offsets: clean restart to all of them known, ms",
            Row::LoadOffsetsOpen => "of that, behind the open port, ms",
            Row::LoadOffsetsCpu => "processor until then, ms",
            Row::HeartbeatCrash => "1,000 groups: restart after kill -9 to a heard heartbeat, ms",
            Row::HeartbeatClean => "1,000 groups: clean restart to a heard heartbeat, ms",
            Row::HeartbeatCpu => "processor until then, ms",
            Row::QuietP50 => "1,000 heartbeats a second: p50, ms",
            Row::QuietP99 => "the same: p99, ms",
            Row::QuietMax => "the same: most, ms",
            Row::BusyP50 => "the same beside produce at full speed: p50, ms",
            Row::BusyP99 => "the same beside produce at full speed: p99, ms",
            Row::BusyMax => "the same beside produce at full speed: most, ms",
            Row::BusyProduce => "produce at full speed beside heartbeats: GiB/s",
            Row::Clean => "compaction of records of 1 KiB, one thread: MB/s",
            Row::CleanCpu => "processor for that, s/GiB",
            Row::CleanQuietP50 => "400 records of 1 KiB a second, quiet: p50, ms",
            Row::CleanQuietP99 => "the same: p99, ms",
            Row::CleanBusyP50 => "the same beside a compaction: p50, ms",
            Row::CleanBusyP99 => "the same beside a compaction: p99, ms",
            Row::ManyKeys => "compaction of 10 M distinct keys in a table of 256 MiB: s",
            Row::ManyKeysMemory => "VmRSS behind it, MiB",
        }
    }

    fn target(self) -> Target {
        match self {
            Row::StartFresh | Row::StartAgain => Target::AtMost(30.0),
            Row::IdleMemory => Target::AtMost(16.0),
            Row::Produce => Target::OfFloor(1.5),
            Row::Scan => Target::AtLeast(1.0),
            Row::RestartCrash => Target::AtMost(1000.0),
            Row::RestartClean => Target::AtMost(200.0),
            Row::ManyRestart => Target::AtMost(2000.0),
            Row::ManyMemory | Row::ManyMemoryServed => Target::AtMost(4.0),
            Row::ManyFiles => Target::AtMost(2000.0),
            Row::Heartbeat => Target::OfFloor(2.5),
            Row::OffsetCommit => Target::OfFloor(3.0),
            Row::IdleGroups => Target::AtMost(1.0),
            Row::LoadOffsets => Target::AtMost(1000.0),
            Row::HeartbeatCrash | Row::HeartbeatClean => Target::AtMost(100.0),
            Row::BusyP99 => Target::AtMost(10.0),
            Row::Clean => Target::AtLeast(150.0),
            _ => Target::None,
        }
    }
}

/// All figures of a run.
pub(crate) struct Report {
    kafka: Option<String>,
    load_before: String,
    load_after: String,
    samples: BTreeMap<Row, BTreeMap<&'static str, Vec<f64>>>,
}

impl Report {
    /// No figures yet. The version of Apache Kafka is that of its jar.
    pub(crate) fn new(kafka: Option<&Path>) -> io::Result<Report> {
        let kafka = kafka.map(version_of).transpose()?;
        let load_before = machine::load();
        let load_after = String::new();
        Ok(Report { kafka, load_before, load_after, samples: BTreeMap::new() })
    }

    /// Adds one measurement.
    pub(crate) fn add(&mut self, row: Row, program: &Program, value: f64) {
        eprintln!("{}: {}: {value:.3}", program.name(), row.title());
        self.samples.entry(row).or_default().entry(program.name()).or_default().push(value);
    }

    /// Notes how busy the machine was at the end.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.load_after = machine::load();
        Ok(())
    }
}

fn version_of(libs: &Path) -> io::Result<String> {
    for entry in std::fs::read_dir(libs)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let version = name.strip_prefix("kafka_2.13-").and_then(|rest| rest.strip_suffix(".jar"));
        if let Some(version) = version {
            return Ok(version.to_owned());
        }
    }
    Err(io::Error::other(format!("{} holds no kafka_2.13 jar", libs.display())))
}

/// The one in the middle; of an even number, the lower one.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

fn short(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The median, and the range behind it.
fn cell(values: Option<&Vec<f64>>) -> String {
    let Some(values) = values else { return "-".to_owned() };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("**{}** ({}-{})", short(median(values)), short(least), short(most))
}

fn ratio(values: Option<&Vec<f64>>, to: Option<&Vec<f64>>) -> Option<f64> {
    Some(median(values?) / median(to?))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kafka = match &self.kafka {
            Some(version) => format!("Apache Kafka {version}"),
            None => "Apache Kafka (left out)".to_owned(),
        };
        writeln!(
            f,
            "{}; load {} before, {} after. Median (least-most).",
            machine::description(),
            self.load_before,
            self.load_after
        )?;
        writeln!(f)?;
        writeln!(f, "| figure | Ottla | {kafka} | floor | to Kafka | to floor | target |")?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for (row, samples) in &self.samples {
            let of = |name| samples.get(name);
            let (ottla, kafka, floor) = (of("Ottla"), of("Apache Kafka"), of("floor"));
            let to_floor = ratio(ottla, floor);
            let times = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |it| format!("{it:.3}"));
            let reached = |reached: bool| if reached { "reached" } else { "**missed**" };
            let target = match (row.target(), ottla, to_floor) {
                (Target::AtMost(most), Some(ottla), _) => {
                    format!("at most {most}: {}", reached(median(ottla) <= most))
                }
                (Target::AtLeast(least), Some(ottla), _) => {
                    format!("at least {least}: {}", reached(median(ottla) >= least))
                }
                (Target::OfFloor(most), _, Some(to_floor)) => {
                    format!("at most {most} of the floor: {}", reached(to_floor <= most))
                }
                _ => "-".to_owned(),
            };
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {target} |",
                row.title(),
                cell(ottla),
                cell(kafka),
                cell(floor),
                times(ratio(ottla, kafka)),
                times(to_floor)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_a_table() {
        let mut report = Report::new(None).expect("nothing to look for");
        let ottla = Program::Ottla("ottla".into());
        [0.3, 0.9, 0.4].into_iter().for_each(|value| report.add(Row::Produce, &ottla, value));
        report.add(Row::Produce, &Program::Floor, 0.25);
        report.add(Row::StartFresh, &ottla, 12.34);
        let text = report.to_string();
        let produce = "| **0.40** (0.30-0.90) | - | **0.25** (0.25-0.25) | - | 1.600 |";
        assert!(text.contains(produce), "{text}");
        assert!(text.contains("at most 1.5 of the floor: **missed** |"), "{text}");
        assert!(text.contains("**12.3** (12.3-12.3) | - | - | - | - | at most 30: reached |"));
    }
}
