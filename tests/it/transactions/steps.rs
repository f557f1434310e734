//! `kill -9` at every step of a transaction, and at random moments: nothing is lost, nothing comes
//! twice, no transaction is torn.
//!
//! The steps are the writes of the node (`runtime/disk/failpoint.rs`): before and after each of the
//! coordinator's records, of the group's, and of what is written into the partitions, until the job
//! is through without being killed. `OTTLA_CRASH_ROUNDS` says how often the node is killed at
//! random; without it some of the steps are passed over.

use std::process::Command;
use std::thread::{scope, sleep};
use std::time::Duration;

use super::copying::Job;
use crate::client::Client;
use crate::node::{Node, Setup, binary, fresh};
use crate::requests::create;

/// A transaction that is committed, one that is aborted, and one that is committed.
const GOAL: i64 = 4;
/// The beginnings of the names of their segments.
const LOGS: [&str; 4] =
    ["/__transaction_state-0/0", "/__consumer_offsets-0/0", "/copied-0/0", "/copied-1/0"];
/// More than a job has time for.
const NO_END: i64 = i64::MAX;

fn rounds() -> Option<u32> {
    std::env::var("OTTLA_CRASH_ROUNDS").ok().map(|rounds| rounds.parse().unwrap())
}

fn setup() -> Setup {
    Setup::new()
        .with("transaction.state.log.num.partitions", 1)
        .with("offsets.topic.num.partitions", 1)
}

fn job(client: &mut Client, topic: &str, is_classic: bool) -> Job {
    let topic = create(client, topic, 2, &[]);
    Job { name: fresh("job"), topic, is_classic, begun: 0 }
}

/// Kills a node at a step, if its job comes to it, and goes on; whether it did.
fn killed_at(step: &str, is_classic: bool) -> bool {
    let armed = |setup: &Setup| {
        let mut command: Command = binary();
        command.args(setup.arguments()).env("OTTLA_FAILPOINT", step);
        command
    };
    let mut node = Node::from_command(armed, setup());
    let mut client = node.connect();
    let mut job = job(&mut client, "copied", is_classic);
    // Who begins again waits until the markers of before are written.
    let ended = job.run(&mut client, GOAL).and_then(|()| job.begin(&mut client));
    let is_killed = ended.is_err();
    if is_killed {
        let status = node.process().wait();
        assert_eq!(status.code(), None, "{step}: {}", node.setup.stderr());
        node.start_again();
    } else {
        node.crash();
    }
    let mut client = node.connect();
    let position = job.check(&mut client);
    assert!(position % 2 == 0 && position <= GOAL, "{step}: it is at {position}");
    assert!(is_killed || position == GOAL, "{step}: it is at {position}");
    job.run(&mut client, GOAL).expect("nothing ends the node");
    assert_eq!(job.check(&mut client), GOAL, "{step}");
    is_killed
}

/// Goes through the steps; how many there are of each log.
fn every_step(is_classic: bool) {
    let stride = if rounds().is_some() { 1 } else { 4 };
    let mut killed = 0;
    for log in LOGS {
        let mut of_log = 0;
        for count in (1..).step_by(stride) {
            let steps = ["before", "after"].map(|when| format!("{when}:{log}:{count}"));
            let reached = steps.map(|step| killed_at(&step, is_classic));
            of_log += reached.iter().filter(|it| **it).count();
            if reached == [false, false] {
                break;
            }
        }
        assert!(of_log > 0, "{log} is written to");
        killed += of_log;
    }
    println!("killed at {killed} steps");
}

#[test]
fn a_crash_at_every_step_loses_nothing() {
    every_step(false);
}

#[test]
fn a_crash_at_every_step_of_the_classic_protocol_loses_nothing() {
    every_step(true);
}

#[test]
fn a_crash_at_any_time_loses_nothing_of_a_copy_job() {
    let mut node = setup().start();
    let mut jobs =
        [false, true].map(|is_classic| job(&mut node.connect(), &fresh("copied"), is_classic));
    let mut random = u64::from(std::process::id()) * 0x9E37_79B9 + 1;
    for round in 0..rounds().unwrap_or(5) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let until_death = Duration::from_millis(20 + (random >> 33) % 250);
        let address = node.address();
        scope(|scope| {
            for job in &mut jobs {
                scope.spawn(move || {
                    // A busy machine may kill it before anybody is connected.
                    let client = Client::try_connect(address);
                    let ended = client.and_then(|mut client| job.run(&mut client, NO_END));
                    assert!(ended.is_err(), "it ends with the node");
                });
            }
            sleep(until_death);
            node.process().kill();
        });
        node.start_again();
        let positions = jobs.each_ref().map(|job| job.check(&mut node.connect()));
        println!("round {round}: copied up to {positions:?}");
    }
    // A slow machine may have had no time for a transaction between its deaths.
    for job in &mut jobs {
        let mut client = node.connect();
        let goal = job.check(&mut client) + GOAL;
        job.run(&mut client, goal).expect("nothing ends the node");
        assert_eq!(job.check(&mut client), goal);
    }
    assert_eq!(node.setup.stderr(), "");
    node.stop();
}
