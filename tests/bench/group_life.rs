//! Groups in the life of a broker: what a thousand of them take while nothing happens, how soon
//! their offsets are known and they are served after a start, and how long they wait while others
//! produce as fast as they can.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::Failure;
use crate::client::{Client, produce_frame};
use crate::groups::{self, Member, SHARDS};
use crate::load::batch_of;
use crate::machine::{CLIENT_CPU, GIB, be_nicer, now, on_cpu, warm_memory};
use crate::many::millis;
use crate::open_loop::{OpenLoop, percentile};
use crate::process::Process;
use crate::program::{Place, Program};
use crate::report::{Report, Row};

const TOPIC: &str = "groups";
const GROUPS: usize = 1_000;
/// Starts of each kind.
const RUNS: usize = 3;
const SETTLE: Duration = Duration::from_secs(3);
/// Of silent groups, whose members may be silent for 45 s; of groups with heartbeats.
const IDLE: Duration = Duration::from_secs(20);
/// As often as the Java client says so by itself.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// Three times as often, so that there are enough of them.
const BUSY_INTERVAL: Duration = Duration::from_secs(1);
const BUSY_MAX: Duration = Duration::from_secs(20);
const PRODUCERS: usize = 4;
const BATCH_BYTES: usize = 1 << 20;
/// Partitions that each loaded group has committed offsets of.
const PARTITIONS: i32 = 100;

/// Processor of a broker with a thousand groups, silent and with heartbeats.
pub(crate) fn measure_idle(
    program: &Program,
    place: &Place,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut process = program.install(place, 0)?.spawn_pinned()?;
    let members = members(program, &mut process)?;
    let percent = |seconds: f64| seconds / IDLE.as_secs_f64() * 100.0;
    std::thread::sleep(SETTLE);
    let before = process.cpu_time()?;
    std::thread::sleep(IDLE);
    let spent = process.cpu_time()?.seconds_since(&before);
    report.add(Row::IdleGroups, program, percent(spent));

    let mut heartbeats = heartbeats(&mut process, &members)?;
    std::thread::sleep(SETTLE);
    let before = process.cpu_time()?;
    on_cpu(CLIENT_CPU, || heartbeats.run(HEARTBEAT_INTERVAL, IDLE, || false))??;
    let spent = process.cpu_time()?.seconds_since(&before);
    report.add(Row::HeartbeatGroups, program, percent(spent));
    drop(heartbeats);
    process.stop()?;
    Ok(())
}

/// A start that finds `offsets` committed offsets in its log.
pub(crate) fn measure_load(
    program: &Program,
    place: &Place,
    offsets: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    let installed = program.install(place, 0)?;
    let mut process = installed.spawn()?;
    let mut client = process.connect()?;
    client.create_topic(TOPIC, PARTITIONS)?;
    crate::many::wait_for_leaders(&mut client, TOPIC, PARTITIONS)?;
    groups::prepare(&mut client)?;
    for group in 0..offsets.div_ceil(PARTITIONS as usize) {
        groups::commit_simple(&mut client, &groups::group_name(group), TOPIC, PARTITIONS)?;
    }
    drop(client);
    process.stop()?;
    for _ in 0..RUNS {
        let begin = now();
        let mut process = installed.spawn()?;
        let mut client = process.connect()?;
        let open = now();
        groups::wait_until_loaded(&mut client)?;
        report.add(Row::LoadOffsets, program, millis(begin));
        report.add(Row::LoadOffsetsOpen, program, millis(open));
        report.add(Row::LoadOffsetsCpu, program, process.cpu_time()?.seconds() * 1e3);
        for shard in 0..SHARDS {
            let found = groups::fetch_offset(&mut client, &groups::group_in(shard), TOPIC)?;
            if found.is_none_or(|offset| offset < 0) {
                return Err("a committed offset is gone".into());
            }
        }
        drop(client);
        process.stop()?;
    }
    Ok(())
}

/// Starts of a broker with a thousand groups that have members, after kill -9 and after a clean
/// stop, until a group is known again and one of its members is heard.
pub(crate) fn measure_restarts(
    program: &Program,
    place: &Place,
    report: &mut Report,
) -> Result<(), Failure> {
    for _ in 0..RUNS {
        let installed = program.install(place, 0)?;
        let mut process = installed.spawn()?;
        let members = members(program, &mut process)?;
        process.kill()?;
        let begin = now();
        let mut process = installed.spawn()?;
        wait_until_heard(&mut process, &members[0])?;
        report.add(Row::HeartbeatCrash, program, millis(begin));
        wait_until_heard(&mut process, &members[GROUPS - 1])?;
        process.stop()?;
        let begin = now();
        let mut process = installed.spawn()?;
        wait_until_heard(&mut process, &members[0])?;
        report.add(Row::HeartbeatClean, program, millis(begin));
        report.add(Row::HeartbeatCpu, program, process.cpu_time()?.seconds() * 1e3);
        process.stop()?;
    }
    Ok(())
}

/// Heartbeats of a thousand groups, each over its own connection, while four other connections
/// produce `bytes` in batches of 1 MiB as fast as they can.
pub(crate) fn measure_under_produce(
    program: &Program,
    place: &Place,
    bytes: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut process = program.install(place, 0)?.spawn_pinned()?;
    let members = members(program, &mut process)?;
    let mut heartbeats = heartbeats(&mut process, &members)?;
    let mut producers = Vec::new();
    for number in 0..PRODUCERS {
        let topic = format!("produce-{number}");
        let frame = produce_frame(&topic, batch_of(BATCH_BYTES, 1024))?;
        let mut client = process.connect()?;
        if !program.is_floor() {
            client.create_topic(&topic, 1)?;
            client.produce_first(&frame)?;
        }
        producers.push((client, frame));
    }
    warm_memory(&place.scratch, bytes.min(2 << 30))?;
    let quiet = on_cpu(CLIENT_CPU, || heartbeats.run(BUSY_INTERVAL, BUSY_MAX / 4, || false))??;
    add_latencies(report, program, quiet, [Row::QuietP50, Row::QuietP99, Row::QuietMax]);

    let (over, produced, begin) = (AtomicBool::new(false), AtomicU64::new(0), now());
    let check = !program.is_floor();
    let (latencies, time) = std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            let work = || produce_until(&over, &produced, bytes, producers, check);
            let done =
                on_cpu(CLIENT_CPU, || be_nicer().map_err(Failure::from).and_then(|()| work()));
            over.store(true, Ordering::Relaxed);
            let done = done.map_err(Failure::from).flatten();
            (done.map_err(|error| error.to_string()), begin.elapsed())
        });
        let is_over = || over.load(Ordering::Relaxed);
        let run = || heartbeats.run(BUSY_INTERVAL, BUSY_MAX, is_over);
        let latencies = on_cpu(CLIENT_CPU, run).map_err(Failure::from).flatten();
        over.store(true, Ordering::Relaxed);
        let (done, time) = producer.join().expect("a producer does not panic");
        latencies.and_then(|latencies| Ok((latencies, done.map(|()| time)?)))
    })?;
    add_latencies(report, program, latencies, [Row::BusyP50, Row::BusyP99, Row::BusyMax]);
    let rate = produced.load(Ordering::Relaxed) as f64 / GIB / time.as_secs_f64();
    report.add(Row::BusyProduce, program, rate);
    drop(heartbeats);
    process.stop()?;
    Ok(())
}

/// One request under way on each connection, until it is over or `bytes` are produced.
fn produce_until(
    over: &AtomicBool,
    produced: &AtomicU64,
    bytes: usize,
    mut producers: Vec<(Client, Bytes)>,
    check: bool,
) -> Result<(), Failure> {
    let answered = |client: &mut Client| {
        if check { client.acknowledged() } else { client.receive().map(drop) }
    };
    for (client, frame) in &mut producers {
        client.send(frame)?;
    }
    while !over.load(Ordering::Relaxed) && produced.load(Ordering::Relaxed) < bytes as u64 {
        for (client, frame) in &mut producers {
            answered(client)?;
            produced.fetch_add(frame.len() as u64, Ordering::Relaxed);
            client.send(frame)?;
        }
    }
    for (client, _) in &mut producers {
        answered(client)?;
    }
    Ok(())
}

fn add_latencies(report: &mut Report, program: &Program, mut all: Vec<f64>, rows: [Row; 3]) {
    for (row, part) in rows.into_iter().zip([0.5, 0.99, 1.0]) {
        report.add(row, program, percentile(&mut all, part));
    }
}

fn members(program: &Program, process: &mut Process) -> Result<Vec<Member>, Failure> {
    if program.is_floor() {
        return Ok((0..GROUPS).map(Member::made_up).collect());
    }
    let client = &mut process.connect()?;
    client.create_topic(TOPIC, 1)?;
    groups::prepare(client)?;
    Ok(groups::join(client, TOPIC, GROUPS)?)
}

/// A connection for each member.
fn heartbeats(process: &mut Process, members: &[Member]) -> Result<OpenLoop, Failure> {
    let mut clients = Vec::new();
    for member in members {
        let (mut client, frame) = (process.connect()?, member.heartbeat()?);
        client.send(&frame)?;
        client.expect_repeated()?;
        clients.push((client, frame));
    }
    Ok(OpenLoop::new(clients)?)
}

fn wait_until_heard(process: &mut Process, member: &Member) -> Result<(), Failure> {
    let mut client = process.connect()?;
    while !member.is_known(&mut client)? {
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}
