//! Scenarios one after the other, each in a process of its own with a limit of time: one that
//! fails or hangs leaves the others as they are. What was measured before is kept when it is of the
//! same build, machine and size.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use ottla_protocol::batch::crc32c;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::Failure;
use crate::machine::{self, now};
use crate::program::{Place, Program, version_of};
use crate::results::{Report, Results};
use crate::scenarios::{SCENARIOS, Scenario};

const LOOK: Duration = Duration::from_millis(20);
/// What `scripts/bench all` may take.
const MINUTES: u64 = 45;

/// Where, with what, and how much.
#[derive(Clone, clap::Args)]
pub(crate) struct Settings {
    /// The binary.
    #[arg(long, value_name = "FILE")]
    pub(crate) ottla: PathBuf,
    /// What the binary was built from.
    #[arg(long, value_name = "NAME", default_value = "unknown")]
    pub(crate) commit: String,
    /// Directory of the jars of Apache Kafka.
    #[arg(long, value_name = "DIR", required_unless_present = "without_kafka")]
    pub(crate) kafka: Option<PathBuf>,
    /// Leaves Apache Kafka out.
    #[arg(long, conflicts_with = "kafka")]
    pub(crate) without_kafka: bool,
    /// Directory for data; what is there is removed.
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: PathBuf,
    /// Directory of results.
    #[arg(long, value_name = "DIR")]
    pub(crate) results: PathBuf,
    /// First of the ports that are used, of which there are a dozen.
    #[arg(long, default_value_t = 24_000)]
    pub(crate) port: u16,
    /// Rounds that are counted, of everything that is measured in rounds.
    #[arg(long, default_value_t = 5)]
    pub(crate) passes: usize,
    /// Partitions of a broker with many.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) partitions: i32,
    /// GiB that a restart finds.
    #[arg(long, default_value_t = 4)]
    pub(crate) gib: usize,
    /// Committed offsets that a restart finds.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) offsets: usize,
}

/// What is run.
#[derive(clap::Args)]
pub(crate) struct RunArguments {
    /// Names of scenarios, or `all`, which goes on with what is missing.
    #[arg(required = true)]
    names: Vec<String>,
    /// Measures again what was measured.
    #[arg(long)]
    fresh: bool,
    /// Begins no scenario that would end later.
    #[arg(long, default_value_t = MINUTES)]
    minutes: u64,
    #[command(flatten)]
    settings: Settings,
}

/// A scenario, in the process that was started for it.
#[derive(clap::Args)]
pub(crate) struct OneArguments {
    name: String,
    #[command(flatten)]
    settings: Settings,
}

/// What a scenario needs to know.
pub(crate) struct Context {
    pub(crate) place: Place,
    /// Ottla, and Apache Kafka unless it is left out.
    pub(crate) brokers: Vec<Program>,
    pub(crate) settings: Settings,
}

impl Context {
    /// The floor, and then the brokers.
    pub(crate) fn with_floor(&self) -> Vec<Program> {
        [vec![Program::Floor], self.brokers.clone()].concat()
    }
}

impl Settings {
    /// What results must agree in.
    fn identity(&self) -> Result<BTreeMap<String, String>, Failure> {
        let binary = fs::read(&self.ottla)?;
        let build = format!("{}, {:08x}", self.commit, crc32c(&binary));
        let kafka = self.kafka.as_deref().map(version_of).transpose()?;
        let size = format!(
            "{} passes, {} partitions, {} GiB, {} offsets",
            self.passes, self.partitions, self.gib, self.offsets
        );
        Ok([
            ("build", build),
            ("kafka", kafka.unwrap_or_else(|| "left out".to_owned())),
            ("machine", machine::description()),
            ("size", size),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect())
    }

    fn path_of(&self, scenario: &Scenario) -> PathBuf {
        self.results.join(format!("{}.json", scenario.name))
    }
}

fn find(name: &str) -> Result<&'static Scenario, Failure> {
    let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
    found.ok_or_else(|| format!("{name} is no scenario; `list` names them").into())
}

/// Prints the scenarios and what they take.
pub(crate) fn list() {
    for scenario in SCENARIOS {
        let (name, about) = (scenario.name, scenario.about);
        println!("{name:24} {:4} s, at most {:4} s  {about}", scenario.seconds, scenario.limit);
    }
    let sum: u64 = SCENARIOS.iter().map(|scenario| scenario.seconds).sum();
    println!("{:24} {sum:4} s with Apache Kafka on two quiet processors", "all");
}

/// Runs what was asked for.
pub(crate) fn run(arguments: &RunArguments) -> Result<(), Failure> {
    let settings = &arguments.settings;
    let all = arguments.names.iter().any(|name| name == "all");
    let names = arguments.names.iter().filter(|name| *name != "all");
    let mut wanted = names.map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    if all {
        wanted = SCENARIOS.iter().collect();
    }
    fs::create_dir_all(&settings.results)?;
    let identity = settings.identity()?;
    let (begin, mut wrong) = (now(), Vec::new());
    for scenario in wanted {
        let name = scenario.name;
        let known = Results::load(&settings.path_of(scenario));
        let kept = known.filter(|it| it.error.is_none() && it.identity == identity);
        if all && !arguments.fresh && kept.is_some() {
            eprintln!("== {name}: kept");
            continue;
        }
        let later = begin.elapsed() + Duration::from_secs(scenario.seconds);
        if all && later > Duration::from_secs(60 * arguments.minutes) {
            wrong.push(format!("{name}: left out, {} minutes are over", arguments.minutes));
            continue;
        }
        eprintln!("== {name}: {}", scenario.about);
        let since = now();
        match run_one(scenario, settings) {
            Ok(()) => eprintln!("== {name}: {:.0} s", since.elapsed().as_secs_f64()),
            Err(error) => {
                eprintln!("== {name}: FAILED after {:?}: {error}", since.elapsed());
                let error = error.to_string();
                wrong.push(format!("{name}: {}", error.lines().next().unwrap_or_default()));
            }
        }
    }
    eprintln!("== {:.0} s in all", begin.elapsed().as_secs_f64());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Runs one in its process, and ends it and all that it started when its time is over.
fn run_one(scenario: &Scenario, settings: &Settings) -> Result<(), Failure> {
    let path = settings.path_of(scenario);
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("one").arg(scenario.name);
    settings.tell(&mut command);
    let mut child = command.process_group(0).spawn()?;
    let status = wait_within(&mut child, Duration::from_secs(scenario.limit))?;
    remove_dir(&settings.scratch)?;
    if status.is_some_and(|status| status.success()) {
        return Ok(());
    }
    let mut results = Results::load(&path).unwrap_or_default();
    if results.error.is_none() {
        let error = match status {
            None => format!("it took more than {} s", scenario.limit),
            Some(status) => format!("it ended with {status}"),
        };
        results.scenario = scenario.name.to_owned();
        results.error = Some(error);
    }
    let report = Report::new(path, results)?;
    Err(report.results.error.unwrap_or_default().into())
}

/// `None` when it had to be ended.
fn wait_within(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let begin = now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if begin.elapsed() > limit {
            break None;
        }
        std::thread::sleep(LOOK);
    };
    // Nobody is left there, mostly.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    child.wait()?;
    Ok(status)
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Settings {
    fn tell(&self, command: &mut Command) {
        command.arg("--ottla").arg(&self.ottla).arg("--commit").arg(&self.commit);
        match &self.kafka {
            Some(kafka) => command.arg("--kafka").arg(kafka),
            None => command.arg("--without-kafka"),
        };
        command.arg("--scratch").arg(&self.scratch).arg("--results").arg(&self.results);
        command.arg("--port").arg(self.port.to_string());
        command.arg("--passes").arg(self.passes.to_string());
        command.arg("--partitions").arg(self.partitions.to_string());
        command.arg("--gib").arg(self.gib.to_string());
        command.arg("--offsets").arg(self.offsets.to_string());
    }
}

/// Measures one scenario in this process.
pub(crate) fn one(arguments: &OneArguments) -> Result<(), Failure> {
    let settings = arguments.settings.clone();
    let scenario = find(&arguments.name)?;
    remove_dir(&settings.scratch)?;
    fs::create_dir_all(&settings.scratch)?;
    let results = Results {
        scenario: scenario.name.to_owned(),
        identity: settings.identity()?,
        load: [machine::load(), String::new()],
        error: Some("it has not ended".to_owned()),
        ..Results::default()
    };
    let mut report = Report::new(settings.path_of(scenario), results)?;
    let mut brokers = vec![Program::Ottla(settings.ottla.clone())];
    brokers.extend(settings.kafka.clone().map(Program::Kafka));
    let place = Place { scratch: settings.scratch.clone(), port: settings.port };
    let begin = now();
    let measured = (scenario.measure)(&Context { place, brokers, settings }, &mut report);
    report.results.seconds = begin.elapsed().as_secs_f64();
    report.results.load[1] = machine::load();
    report.results.error = measured.as_ref().err().map(ToString::to_string);
    report.save()?;
    measured
}
