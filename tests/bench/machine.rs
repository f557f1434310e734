//! The machine: time, processors, and what must be said about them beside a figure.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ottla_types::Timestamp;
use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Processor of the servers and of the client, when there are two.
pub(crate) const SERVER_CPU: usize = 0;
pub(crate) const CLIENT_CPU: usize = 1;

/// Bytes of a GiB.
pub(crate) const GIB: f64 = (1_u64 << 30) as f64;
/// By how much load gives way to what is timed on the same processor.
const NICER: i32 = 10;

/// Lets other threads of this processor go before this one.
pub(crate) fn be_nicer() -> io::Result<()> {
    let before = getpriority_process(None)?;
    Ok(setpriority_process(None, before + NICER)?)
}

/// Now.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Runs `work` with this thread on one processor; what it spawns stays there.
pub(crate) fn on_cpu<T>(cpu: usize, work: impl FnOnce() -> T) -> io::Result<T> {
    let before = sched_getaffinity(None)?;
    if before.count() < 2 {
        return Ok(work());
    }
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only)?;
    let done = work();
    sched_setaffinity(None, &before)?;
    Ok(done)
}

/// Touches as much page cache as the next pass needs, and frees it again: on a virtual machine the
/// first touch of memory that the host has taken back costs more than the work to be measured.
pub(crate) fn warm_memory(scratch: &Path, bytes: usize) -> io::Result<()> {
    let path = scratch.join("warm");
    let mut file = std::fs::File::create(&path)?;
    let piece = vec![0; 1 << 20];
    for _ in 0..bytes.div_ceil(piece.len()) {
        file.write_all(&piece)?;
    }
    drop(file);
    std::fs::remove_file(&path)
}

/// One line about the machine.
pub(crate) fn description() -> String {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = text("/proc/cpuinfo");
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = text("/proc/meminfo");
    let kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    format!(
        "{processors} x {}, {} GiB, Linux {}, TCP {}",
        field("model name").unwrap_or_else(|| "processor".to_owned()),
        kib.unwrap_or(0) >> 20,
        text("/proc/sys/kernel/osrelease").trim(),
        text("/proc/sys/net/ipv4/tcp_congestion_control").trim(),
    )
}

/// The load average of the last minute.
pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// The time of records: old ones would not be kept while they are measured.
#[expect(clippy::disallowed_methods, reason = "the clock of real records")]
pub(crate) fn record_time() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
