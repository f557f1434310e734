//! A server's process: started, looked at, and ended, whatever happens.

use std::collections::BTreeMap;
use std::fs::{File, read_to_string};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;
use crate::machine::now;

/// Ten thousand partitions, or gigabytes to be checked, may take a while.
const START_MAX: Duration = Duration::from_secs(300);
/// Lines of a log that are shown when its server has ended.
const LOG_LINES: usize = 20;
const STOP_MAX: Duration = Duration::from_secs(300);

/// A running server. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    port: u16,
    log: PathBuf,
}

/// Processor time of each thread, in nanoseconds.
#[derive(Clone, Default)]
pub(crate) struct CpuTime(BTreeMap<u32, u64>);

impl Process {
    /// Starts a server that will listen on `port`; what it prints goes to the file `log`.
    pub(crate) fn spawn(mut command: Command, port: u16, log: PathBuf) -> io::Result<Process> {
        let out = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        Ok(Process { child: command.spawn()?, port, log })
    }

    /// Connects as soon as the port is open.
    pub(crate) fn connect(&mut self) -> io::Result<Client> {
        let begin = now();
        loop {
            match Client::connect(self.port) {
                Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => {
                    return Err(error);
                }
                Ok(client) => return Ok(client),
                Err(_) => {}
            }
            if let Some(status) = self.child.try_wait()? {
                let log = read_to_string(&self.log).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
                let end = end.into_iter().rev().collect::<Vec<_>>().join("\n");
                return Err(io::Error::other(format!("the server ended: {status}\n{end}")));
            }
            if begin.elapsed() > START_MAX {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks the server to stop and waits until it has.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let begin = now();
        while self.child.try_wait()?.is_none() {
            if begin.elapsed() > STOP_MAX {
                return Err(io::Error::other("the server does not stop"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends the server without letting it do anything more.
    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Number of descriptors that it holds.
    pub(crate) fn open_files(&self) -> io::Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> io::Result<u64> {
        let status = read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Processor time used so far by the threads that live.
    pub(crate) fn cpu_time(&self) -> io::Result<CpuTime> {
        let mut times = BTreeMap::new();
        for entry in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let path = entry?.path();
            let id = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            // A thread may end while the list is read.
            let Ok(text) = read_to_string(path.join("schedstat")) else { continue };
            let time = text.split_whitespace().next().and_then(|ns| ns.parse().ok());
            if let (Some(id), Some(time)) = (id, time) {
                times.insert(id, time);
            }
        }
        Ok(CpuTime(times))
    }
}

impl CpuTime {
    /// Seconds since the process began. Threads that ended are not counted.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds_since(&CpuTime::default())
    }

    /// Seconds since `earlier`. Threads that ended in between are not counted.
    pub(crate) fn seconds_since(&self, earlier: &CpuTime) -> f64 {
        let spent = self.0.iter().map(|(id, time)| time - earlier.0.get(id).unwrap_or(&0));
        spent.sum::<u64>() as f64 / 1e9
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
