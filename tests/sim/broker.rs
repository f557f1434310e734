//! The machine of a broker: how its processes begin, what befalls its disk, and how they end.
//!
//! What the worlds of `node` and `groups` have in common. What they look at in between, and which
//! end comes when, is their own. Each fault counts in the findings, so that a kind that never
//! happens shows.

use std::time::Duration;

use ottla_runtime::Runtime;
use ottla_runtime::sim::SimNode;

use crate::dice::Dice;
use crate::findings::{Findings, Stats};
use crate::process::{Process, State};

/// What becomes of a process that was started, or of one that was asked to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is open, or has stopped cleanly.
    Done,
    /// A planned fault ended it: there is something to bury.
    Died,
    /// A violation, which has been noted.
    Violated,
}

/// What has to go on after a disk was full.
pub struct Progress {
    /// What goes on, as a number that rises.
    pub of: fn(&Stats) -> u64,
    /// Virtual time within which it must.
    pub within: Duration,
    /// What to say when it does not.
    pub violation: &'static str,
}

/// A machine that brokers live and die on.
pub struct Broker<'w> {
    /// The machine.
    pub machine: SimNode,
    /// Where violations and counts go.
    pub findings: &'w Findings,
    /// What decides.
    pub dice: Dice,
}

impl Broker<'_> {
    /// Waits until the process is open.
    pub async fn opened(&self, process: &mut Process) -> Outcome {
        match process.settled().await {
            Some(State::Open) => {
                self.findings.count(|stats| stats.starts += 1);
                return Outcome::Done;
            }
            Some(State::Died | State::Starting) => return Outcome::Died,
            Some(State::Ended(end)) => {
                self.findings.violated(format!("the broker did not start: {end:?}"));
            }
            None => self.findings.violated("the broker was not ready in time"),
        }
        Outcome::Violated
    }

    /// Stops the process as SIGTERM does.
    pub async fn stopped(&self, process: &mut Process) -> Outcome {
        match process.stop().await {
            Some(State::Ended(Ok(()))) => {
                self.findings.count(|stats| stats.clean_stops += 1);
                Outcome::Done
            }
            Some(State::Died) => Outcome::Died,
            other => {
                self.findings.violated(format!("a clean stop ends in {other:?}"));
                Outcome::Violated
            }
        }
    }

    /// Plans the death of the process at one of its next operations on disk.
    pub fn plan_death(&self, power_cut: bool, operations_max: u64) {
        let at_syncs = self.dice.chance(50);
        let after =
            Some(self.dice.below(if at_syncs { operations_max / 4 } else { operations_max }));
        self.machine.disk().set_faults(|faults| {
            faults.at_syncs = at_syncs;
            match power_cut {
                true => faults.power_cut_after = after,
                false => faults.kill_after = after,
            }
        });
    }

    /// After a failed sync nobody knows what the page cache is worth: the broker must end, and the
    /// machine is started anew, as `docs/simulation.md` tells operators.
    pub async fn fail_disk(&self, process: &mut Process, operations_max: u64, within: Duration) {
        let after = self.dice.below(operations_max);
        self.machine.disk().set_faults(|faults| faults.eio_after = Some(after));
        match process.ended_within(within).await {
            Some(State::Ended(Err(_))) => self.findings.count(|stats| stats.fences += 1),
            Some(State::Ended(Ok(()))) => self.findings.violated("the broker stopped unasked"),
            Some(_) | None => {}
        }
    }

    /// The disk is full for a while, when `room` bytes more are written. The broker lives on, and
    /// what it is there for goes on when there is room; `has_room` is told that moment.
    pub async fn fill_disk(
        &self,
        process: &mut Process,
        room: u64,
        has_room: impl FnOnce(),
        progress: Progress,
    ) {
        let full = self.machine.disk().used() + self.dice.below(room);
        self.machine.disk().set_faults(|faults| faults.capacity = Some(full));
        let while_full = Duration::from_millis(self.dice.between(50, 3_000));
        let mut ended = process.ended_within(while_full).await;
        self.machine.disk().set_faults(|faults| faults.capacity = None);
        has_room();
        let before = (progress.of)(&self.findings.stats());
        let runtime = Runtime::simulated(&self.machine);
        let clock = runtime.clock();
        let until = clock.now().after(progress.within);
        while ended.is_none() && (progress.of)(&self.findings.stats()) == before {
            if clock.now() > until {
                return self.findings.violated(progress.violation);
            }
            ended = process.ended_within(Duration::from_millis(100)).await;
        }
        match ended {
            Some(State::Ended(end)) => {
                self.findings.violated(format!("the broker ended on a full disk: {end:?}"));
            }
            Some(_) => {}
            None => self.findings.count(|stats| stats.full_disks += 1),
        }
    }

    /// Ends what is left of the process, with or without a power cut.
    pub async fn bury(&self, power_cut: bool) {
        if let Some(task) = self.machine.broken() {
            self.findings.violated(format!("the vital task {task} panicked"));
        }
        self.findings.count(|stats| match power_cut {
            true => stats.power_cuts += 1,
            false => stats.kills += 1,
        });
        self.machine.crash(power_cut).await;
    }
}
