//! The lives of a broker whose coordinators are looked at: what befalls it meanwhile, and how each
//! of them ends.
//!
//! What the worlds of `groups` and `transactions` have in common; what their clients do, and what
//! has to be true, is their own.

use std::time::Duration;

use ottla_runtime::Runtime;
use ottla_runtime::sim::SimWorld;

use crate::broker::{Broker, Outcome, Progress};
use crate::dice::Dice;
use crate::groups::log::Weather;
use crate::process::{Process, State};

/// Virtual time in which a planned fault of the disk should have struck.
const FAULT_WITHIN: Duration = Duration::from_secs(2);

/// How a process of the broker ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// kill -9, or a power cut, now.
    Now {
        /// A power cut rather than a kill.
        power_cut: bool,
    },
    /// Either, just before some operation of its disk.
    AtDiskOperation {
        /// A power cut rather than a kill.
        power_cut: bool,
    },
    /// SIGTERM.
    CleanStop {
        /// Followed by a power cut.
        power_cut: bool,
    },
    /// The disk answers EIO from some operation on.
    Eio,
    /// The disk is full for a while.
    DiskFull,
}

/// What may befall a broker in a world.
#[derive(Clone, Copy)]
pub struct Troubles {
    /// Whether the machine can lose power.
    pub power_cuts: bool,
    /// Whether connections are reset.
    pub resets: bool,
    /// Whether the disk is slow now and then.
    pub slow_disk: bool,
    /// Whether the wall clock jumps.
    pub clock_jumps: bool,
    /// Whether the disk fails, or is full.
    pub disk_failures: bool,
    /// How long records of coordinators may take to be committed, at worst.
    pub log_delay_ms_max: u64,
    /// How many of a hundred records the logs of coordinators refuse, at worst.
    pub refused_percent_max: u64,
}

impl Troubles {
    /// How the next process ends.
    fn end(self, dice: &Dice) -> End {
        let power_cut = self.power_cuts && dice.chance(70);
        match dice.below(10) {
            0..=2 => End::Now { power_cut },
            3 | 4 => End::CleanStop { power_cut },
            5 | 6 if self.disk_failures => dice.pick(&[End::Eio, End::DiskFull]),
            _ => End::AtDiskOperation { power_cut },
        }
    }
}

/// A world with one broker, as its lives need it.
pub trait Lives {
    /// The longest life that nothing ends, ms.
    const LIFE_MS_MAX: u64;
    /// Bytes that there is room for at most before a disk is full, and what goes on behind that.
    const FULL_DISK: (u64, Progress);

    fn world(&self) -> &SimWorld;
    /// Where clients run.
    fn runtime(&self) -> &Runtime;
    fn broker(&self) -> &Broker<'_>;
    fn troubles(&self) -> Troubles;
    fn weather(&self) -> &Weather;
    /// Begins a process.
    fn start(&self) -> Process;
    /// The wall clock jumps.
    fn jump_clock(&self);
    /// The broker is down.
    fn while_down(&self) {}
    /// Clients do something between two lives.
    async fn pause(&self);

    /// One process from its start to its end.
    async fn live_once(&self, is_first: bool) {
        let (broker, troubles) = (self.broker(), self.troubles());
        if !is_first && broker.dice.chance(20) {
            broker.plan_death(troubles.power_cuts && broker.dice.chance(70), 60);
        }
        let mut process = self.start();
        if !self.is_ready(&mut process).await || !self.let_live(&mut process).await {
            return;
        }
        let end = troubles.end(&broker.dice);
        broker.findings.note(|| format!("end: {end:?}"));
        match end {
            End::Now { power_cut } => self.bury(power_cut).await,
            End::AtDiskOperation { power_cut } => {
                broker.plan_death(power_cut, 60);
                let _ = process.ended_within(FAULT_WITHIN).await;
                self.bury(false).await;
            }
            End::CleanStop { power_cut } => self.stop(&mut process, power_cut).await,
            End::Eio => {
                broker.fail_disk(&mut process, 60, FAULT_WITHIN).await;
                self.bury(troubles.power_cuts).await;
            }
            End::DiskFull => {
                // A log that is later than the coordinators' patience keeps clients from
                // their rest.
                let (room, progress) = Self::FULL_DISK;
                broker.fill_disk(&mut process, room, || self.come_to_calm(), progress).await;
                self.bury(troubles.power_cuts).await;
            }
        }
    }

    /// Waits until the process is open; cleans up when it died on the way, as planned.
    async fn is_ready(&self, process: &mut Process) -> bool {
        let outcome = self.broker().opened(process).await;
        if outcome == Outcome::Died {
            self.bury(false).await;
        }
        outcome == Outcome::Done
    }

    /// Lets clients work while small things befall the broker; false when it has died.
    async fn let_live(&self, process: &mut Process) -> bool {
        let broker = self.broker();
        let clock = self.runtime().clock();
        let until = clock.now().after(ms(broker.dice.between(100, Self::LIFE_MS_MAX)));
        let mut end = None;
        while end.is_none() && clock.now() < until && !broker.findings.any() {
            self.mischief();
            end = process.ended_within(ms(broker.dice.between(50, 1_500))).await;
        }
        match end {
            None => return true,
            Some(State::Ended(end)) => {
                broker.findings.violated(format!("the broker ended by itself: {end:?}"));
            }
            Some(_) => {}
        }
        self.bury(false).await;
        false
    }

    fn mischief(&self) {
        let (dice, troubles) = (&self.broker().dice, self.troubles());
        if troubles.resets && dice.chance(20) {
            self.world().reset_connections(dice.pick(&[20, 50, 100]));
        }
        if troubles.slow_disk && dice.chance(30) {
            self.broker().machine.slow_down_blocking_work(ms(dice.pick(&[0, 2, 50, 500])));
        }
        if troubles.clock_jumps && dice.chance(20) {
            self.jump_clock();
        }
        if dice.chance(40) {
            let delay = dice.below(troubles.log_delay_ms_max + 1);
            let refused = dice.below(troubles.refused_percent_max + 1);
            self.weather().set(delay, if dice.chance(50) { refused } else { 0 });
        }
    }

    /// Stops the process as SIGTERM does; then the machine may lose power.
    async fn stop(&self, process: &mut Process, power_cut: bool) {
        match self.broker().stopped(process).await {
            Outcome::Done if power_cut => self.bury(true).await,
            Outcome::Done => {
                self.broker().machine.after_exit().await;
                self.while_down();
            }
            Outcome::Died => self.bury(power_cut).await,
            Outcome::Violated => {}
        }
    }

    async fn bury(&self, power_cut: bool) {
        self.broker().bury(power_cut).await;
        self.while_down();
        self.pause().await;
    }

    /// The logs and the disk are as quick as they can be.
    fn come_to_calm(&self) {
        self.weather().set(0, 0);
        self.broker().machine.slow_down_blocking_work(ms(2));
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
