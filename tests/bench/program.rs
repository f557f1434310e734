//! The servers that are measured, and how each is told where to listen and to write.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::{SERVER_CPU, on_cpu};
use crate::process::Process;

/// Any cluster id will do; this is 16 bytes in the form that Kafka wants.
const CLUSTER_ID: &str = "b3R0bGEtYmVuY2htYXJrMQ";
/// Where Ottla notes in which run of the machine it wrote.
const BOOT_ID: &str = ".ottla-boot";
/// What Kafka's own start script gives the JVM.
const JVM: &[&str] = &[
    "-Xms1g",
    "-Xmx1g",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];

/// Where data and ports are.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) scratch: PathBuf,
    pub(crate) port: u16,
}

/// A server that is measured.
#[derive(Clone)]
pub(crate) enum Program {
    /// The binary.
    Ottla(PathBuf),
    /// Directory of the jars.
    Kafka(PathBuf),
    /// This binary as the floor.
    Floor,
    /// This binary as a floor that syncs what it wrote before it answers.
    DurableFloor,
}

/// A program with a data directory of its own.
pub(crate) struct Installed<'a> {
    program: &'a Program,
    dir: PathBuf,
    port: u16,
    settings: &'static [(&'static str, &'static str)],
}

impl Program {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Program::Ottla(_) => "Ottla",
            Program::Kafka(_) => "Apache Kafka",
            Program::Floor | Program::DurableFloor => "floor",
        }
    }

    /// Whether its starts take seconds, and so are fewer.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self, Program::Kafka(_))
    }

    /// Whether it does nothing with what it is sent.
    pub(crate) fn is_floor(&self) -> bool {
        matches!(self, Program::Floor | Program::DurableFloor)
    }

    /// Makes a fresh data directory, which Ottla formats itself when it starts. Programs that run
    /// at the same time differ in `slot`.
    pub(crate) fn install(&self, place: &Place, slot: u16) -> io::Result<Installed<'_>> {
        let dir = place.scratch.join(format!("server-{slot}"));
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir(&dir)?;
        let installed =
            Installed { program: self, dir, port: place.port + 2 * slot, settings: &[] };
        match self {
            Program::Ottla(_) => {}
            Program::Floor | Program::DurableFloor => fs::create_dir(installed.data())?,
            Program::Kafka(libs) => installed.format(libs)?,
        }
        Ok(installed)
    }
}

impl Installed<'_> {
    /// With other configs than its own.
    pub(crate) fn with(self, settings: &'static [(&'static str, &'static str)]) -> Self {
        Installed { settings, ..self }
    }

    /// Starts it.
    pub(crate) fn spawn(&self) -> io::Result<Process> {
        let command = match self.program {
            Program::Ottla(binary) => self.ottla(binary),
            Program::Kafka(libs) => {
                let mut command = java(libs);
                command.arg("kafka.Kafka").arg(self.properties());
                for (key, value) in self.settings {
                    command.arg("--override").arg(format!("{key}={value}"));
                }
                command
            }
            Program::Floor => self.floor()?,
            Program::DurableFloor => {
                let mut command = self.floor()?;
                command.arg("--durable");
                command
            }
        };
        Process::spawn(command, self.port, self.dir.join("log"))
    }

    /// Starts it on the servers' processor.
    pub(crate) fn spawn_pinned(&self) -> io::Result<Process> {
        on_cpu(SERVER_CPU, || self.spawn())?
    }

    fn ottla(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        let mut set = |key: &str, value: OsString| {
            let mut pair = OsString::from(format!("{key}="));
            pair.push(value);
            command.arg("--override").arg(pair);
        };
        set("listeners", self.listeners().into());
        set("advertised.listeners", self.listeners().into());
        set("log.dirs", self.data().into());
        set("log.segment.delete.delay.ms", "0".into());
        set("group.initial.rebalance.delay.ms", "0".into());
        for (key, value) in self.settings {
            set(key, value.into());
        }
        command
    }

    fn floor(&self) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("floor").arg("--port").arg(self.port.to_string());
        command.arg("--dir").arg(self.data());
        Ok(command)
    }

    fn format(&self, libs: &Path) -> io::Result<()> {
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\nlisteners={}\n\
             controller.listener.names=CONTROLLER\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{}\nlog.dirs={}\n\
             log.segment.delete.delay.ms=0\noffsets.topic.replication.factor=1\n\
             group.initial.rebalance.delay.ms=0\n",
            self.listeners(),
            self.port + 1,
            self.data().display()
        );
        fs::write(self.properties(), text)?;
        let mut command = java(libs);
        command.args(["kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID]);
        let output = command.arg("-c").arg(self.properties()).output()?;
        if output.status.success() {
            Ok(())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
        }
    }

    fn listeners(&self) -> String {
        let (broker, controller) = (self.port, self.port + 1);
        format!("PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}")
    }

    /// Takes away what lets a start leave logs unread. Neither broker runs.
    pub(crate) fn forget_recovery(&self) -> io::Result<()> {
        let kept = [".kafka_cleanshutdown", "recovery-point-offset-checkpoint", BOOT_ID];
        for name in kept {
            match fs::remove_file(self.data().join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn properties(&self) -> PathBuf {
        self.dir.join("server.properties")
    }
}

fn java(libs: &Path) -> Command {
    let mut command = Command::new("java");
    command.args(JVM).arg("-cp").arg(libs.join("*"));
    command
}

/// The version of Apache Kafka that the jars of a directory are of.
pub(crate) fn version_of(libs: &Path) -> io::Result<String> {
    for entry in fs::read_dir(libs)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let version = name.strip_prefix("kafka_2.13-").and_then(|rest| rest.strip_suffix(".jar"));
        if let Some(version) = version {
            return Ok(version.to_owned());
        }
    }
    Err(io::Error::other(format!("{} holds no kafka_2.13 jar", libs.display())))
}
