//! System calls of a server, counted by the kernel for `perf stat`. Where `perf` is missing or may
//! not count, nothing is counted.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use crate::machine::now;

/// All system calls; then those that make files durable.
const EVENTS: &str = "raw_syscalls:sys_enter,syscalls:sys_enter_fsync,syscalls:sys_enter_fdatasync,\
     syscalls:sys_enter_sync_file_range,syscalls:sys_enter_msync,syscalls:sys_enter_syncfs";
const START_MAX: Duration = Duration::from_secs(5);

/// What a server asked the kernel for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Calls {
    pub(crate) all: f64,
    /// Those that make files durable.
    pub(crate) syncs: f64,
}

/// Counts that stand still but while [`Counters::count`] runs.
struct Counters {
    perf: Child,
    control: File,
    acknowledged: BufReader<File>,
    output: PathBuf,
}

/// Runs `work` while the system calls of a process are counted; `None` for them when they cannot
/// be.
pub(crate) fn count<T>(
    pid: u32,
    scratch: &Path,
    work: impl FnOnce() -> T,
) -> io::Result<(T, Option<Calls>)> {
    match Counters::start(pid, scratch) {
        Ok(counters) => {
            let (done, calls) = counters.count(work)?;
            Ok((done, Some(calls)))
        }
        Err(error) => {
            eprintln!("ottla-bench: no system calls are counted: {error}");
            Ok((work(), None))
        }
    }
}

impl Counters {
    fn start(pid: u32, scratch: &Path) -> io::Result<Counters> {
        let [control, acknowledged] = ["perf-control", "perf-ack"].map(|name| scratch.join(name));
        for path in [&control, &acknowledged] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?,
            }
        }
        // Open for both, so that neither open nor read waits for a perf that never comes.
        let open = |path: &Path| File::options().read(true).write(true).open(path);
        let (control_file, acknowledged_file) = (open(&control)?, open(&acknowledged)?);
        let output = scratch.join("perf-output");
        let fifos = format!("fifo:{},{}", control.display(), acknowledged.display());
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x", ",", "-D", "-1", "-e", EVENTS, "--control", &fifos]);
        perf.arg("-o").arg(&output).arg("-p").arg(pid.to_string());
        let perf = perf.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let acknowledged = BufReader::new(acknowledged_file);
        let mut counters = Counters { perf, control: control_file, acknowledged, output };
        counters.tell("ping")?;
        Ok(counters)
    }

    fn tell(&mut self, command: &str) -> io::Result<()> {
        writeln!(self.control, "{command}")?;
        let begin = now();
        let mut fds =
            [rustix::event::PollFd::new(self.acknowledged.get_ref(), rustix::event::PollFlags::IN)];
        let look = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        while rustix::event::poll(&mut fds, Some(&look))? == 0 {
            if self.perf.try_wait()?.is_some() || begin.elapsed() > START_MAX {
                return Err(io::Error::other("perf does not answer"));
            }
        }
        let mut line = String::new();
        self.acknowledged.read_line(&mut line)?;
        Ok(())
    }

    fn count<T>(mut self, work: impl FnOnce() -> T) -> io::Result<(T, Calls)> {
        self.tell("enable")?;
        let done = work();
        self.tell("disable")?;
        kill_process(Pid::from_child(&self.perf), Signal::INT)?;
        self.perf.wait()?;
        let mut calls = Calls::default();
        for line in fs::read_to_string(&self.output)?.lines() {
            let mut fields = line.split(',');
            let (count, name) = (fields.next(), fields.nth(1));
            let count = count.and_then(|count| count.parse::<f64>().ok()).unwrap_or(0.0);
            match name {
                Some("raw_syscalls:sys_enter") => calls.all += count,
                Some(name) if name.starts_with("syscalls:") => calls.syncs += count,
                _ => {}
            }
        }
        Ok((done, calls))
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // Gone already, mostly.
        let _ = self.perf.kill();
        let _ = self.perf.wait();
    }
}
