//! Groups in the life of a broker: what a thousand of them take while nothing happens, how soon
//! their offsets are known and they are served after a start, and how long they wait while others
//! produce as fast as they can.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::Failure;
use crate::client::{Client, produce_frame};
use crate::figure::{Condition, Figure};
use crate::groups::{self, Member, SHARDS};
use crate::machine::{CLIENT_CPU, GIB, be_nicer, now, on_cpu, warm_memory};
use crate::many::millis;
use crate::open_loop::{OpenLoop, percentile};
use crate::payload::batch_of;
use crate::process::Process;
use crate::program::{Place, Program};
use crate::results::Report;
use crate::run::Context;

const IDLE_GROUPS: Figure =
    Figure::new("idle-groups", "1,000 groups of one silent member: processor, %")
        .to_be(&[Condition::AtMost(1.0)]);
const HEARTBEAT_GROUPS: Figure =
    Figure::new("heartbeat-groups", "the same, each with a heartbeat every 3 s: processor, %");
const LOAD_OFFSETS: Figure =
    Figure::new("load-offsets", "1 M committed offsets: clean restart to all of them known, ms")
        .to_be(&[Condition::AtMost(1000.0)]);
const LOAD_OFFSETS_OPEN: Figure =
    Figure::new("load-offsets-open", "of that, behind the open port, ms");
const LOAD_OFFSETS_CPU: Figure = Figure::new("load-offsets-cpu", "processor until then, ms");
const HEARTBEAT_CRASH: Figure =
    Figure::new("heartbeat-crash", "1,000 groups: restart after kill -9 to a heard heartbeat, ms")
        .to_be(&[Condition::AtMost(100.0)]);
const HEARTBEAT_CLEAN: Figure =
    Figure::new("heartbeat-clean", "1,000 groups: clean restart to a heard heartbeat, ms")
        .to_be(&[Condition::AtMost(100.0)]);
const HEARTBEAT_CPU: Figure = Figure::new("heartbeat-cpu", "processor until then, ms");
const QUIET_P50: Figure = Figure::new("quiet-p50", "1,000 heartbeats a second: p50, ms");
const QUIET_P99: Figure = Figure::new("quiet-p99", "the same: p99, ms");
const QUIET_MOST: Figure = Figure::new("quiet-max", "the same: most, ms");
const BUSY_P50: Figure = Figure::new("busy-p50", "the same beside produce at full speed: p50, ms");
const BUSY_P99: Figure = Figure::new("busy-p99", "the same beside produce at full speed: p99, ms")
    .to_be(&[Condition::AtMost(10.0)]);
const BUSY_MOST: Figure =
    Figure::new("busy-max", "the same beside produce at full speed: most, ms");
const BUSY_PRODUCE: Figure =
    Figure::new("busy-produce", "produce at full speed beside heartbeats: GiB/s");

const TOPIC: &str = "groups";
const GROUPS: usize = 1_000;
/// Starts of each kind.
const RUNS: usize = 3;
/// Of a broker that takes seconds for each.
const SLOW_RUNS: usize = 2;
/// Lives in which heartbeats are measured beside produce.
const PRODUCE_RUNS: usize = 2;
const SETTLE: Duration = Duration::from_secs(3);
/// Of silent groups, whose members may be silent for 45 s; of groups with heartbeats.
const IDLE: Duration = Duration::from_secs(8);
/// As often as the Java client says so by itself.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// Three times as often, so that there are enough of them.
const BUSY_INTERVAL: Duration = Duration::from_secs(1);
const BUSY_MAX: Duration = Duration::from_secs(8);
const PRODUCERS: usize = 4;
const BATCH_BYTES: usize = 1 << 20;
/// Partitions that each loaded group has committed offsets of.
const PARTITIONS: i32 = 100;

/// Measures groups at rest, in restarts, and beside produce.
pub(crate) fn measure(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let (place, settings) = (&context.place, &context.settings);
    for program in context.with_floor() {
        measure_idle(&program, place, report)?;
    }
    for broker in &context.brokers {
        measure_load(broker, place, settings.offsets, report)?;
        measure_restarts(broker, place, report)?;
    }
    for _ in 0..PRODUCE_RUNS {
        for program in context.with_floor() {
            measure_under_produce(&program, place, settings.gib << 31, report)?;
        }
    }
    Ok(())
}

fn runs(program: &Program) -> usize {
    if program.is_slow() { SLOW_RUNS } else { RUNS }
}

/// Processor of a broker with a thousand groups, silent and with heartbeats.
fn measure_idle(program: &Program, place: &Place, report: &mut Report) -> Result<(), Failure> {
    let mut process = program.install(place, 0)?.spawn_pinned()?;
    let members = members(program, &mut process)?;
    let percent = |seconds: f64| seconds / IDLE.as_secs_f64() * 100.0;
    std::thread::sleep(SETTLE);
    let before = process.cpu_time()?;
    std::thread::sleep(IDLE);
    let spent = process.cpu_time()?.seconds_since(&before);
    report.add(&IDLE_GROUPS, program, percent(spent));

    let mut heartbeats = heartbeats(&mut process, &members)?;
    std::thread::sleep(SETTLE);
    let before = process.cpu_time()?;
    on_cpu(CLIENT_CPU, || heartbeats.run(HEARTBEAT_INTERVAL, IDLE, || false))??;
    let spent = process.cpu_time()?.seconds_since(&before);
    report.add(&HEARTBEAT_GROUPS, program, percent(spent));
    drop(heartbeats);
    process.stop()?;
    Ok(())
}

/// A start that finds `offsets` committed offsets in its log.
fn measure_load(
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
    for _ in 0..runs(program) {
        let begin = now();
        let mut process = installed.spawn()?;
        let mut client = process.connect()?;
        let open = now();
        groups::wait_until_loaded(&mut client)?;
        report.add(&LOAD_OFFSETS, program, millis(begin));
        report.add(&LOAD_OFFSETS_OPEN, program, millis(open));
        report.add(&LOAD_OFFSETS_CPU, program, process.cpu_time()?.seconds() * 1e3);
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
fn measure_restarts(program: &Program, place: &Place, report: &mut Report) -> Result<(), Failure> {
    for _ in 0..runs(program) {
        let installed = program.install(place, 0)?;
        let mut process = installed.spawn()?;
        let members = members(program, &mut process)?;
        process.kill()?;
        let begin = now();
        let mut process = installed.spawn()?;
        wait_until_heard(&mut process, &members[0])?;
        report.add(&HEARTBEAT_CRASH, program, millis(begin));
        wait_until_heard(&mut process, &members[GROUPS - 1])?;
        process.stop()?;
        let begin = now();
        let mut process = installed.spawn()?;
        wait_until_heard(&mut process, &members[0])?;
        report.add(&HEARTBEAT_CLEAN, program, millis(begin));
        report.add(&HEARTBEAT_CPU, program, process.cpu_time()?.seconds() * 1e3);
        process.stop()?;
    }
    Ok(())
}

/// Heartbeats of a thousand groups, each over its own connection, while four other connections
/// produce `bytes` in batches of 1 MiB as fast as they can.
fn measure_under_produce(
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
    add_latencies(report, program, quiet, [&QUIET_P50, &QUIET_P99, &QUIET_MOST]);

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
    add_latencies(report, program, latencies, [&BUSY_P50, &BUSY_P99, &BUSY_MOST]);
    let rate = produced.load(Ordering::Relaxed) as f64 / GIB / time.as_secs_f64();
    report.add(&BUSY_PRODUCE, program, rate);
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

fn add_latencies(report: &mut Report, program: &Program, mut all: Vec<f64>, figures: [&Figure; 3]) {
    for (figure, part) in figures.into_iter().zip([0.5, 0.99, 1.0]) {
        report.add(figure, program, percentile(&mut all, part));
    }
}

fn members(program: &Program, process: &mut Process) -> Result<Vec<Member>, Failure> {
    if program.is_floor() {
        return Ok((0..GROUPS).map(Member::made_up).collect());
    }
    let client = &mut process.connect()?;
    client.create_topic(TOPIC, 1)?;
    groups::prepare(client)?;
    Ok(groups::join(client, TOPIC, 0..GROUPS)?)
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
