//! A broker and the members of its groups, who come and go while the broker is ended and started
//! again and again.
//!
//! ```text
//!   machine "broker": Process ── log port: late, refusing (log.rs) ── disk
//!   machine "clients": Member…, over lives and deaths of their own ── Promises
//!   this file: lives and ends of the process, mischief in between, and the rest at the end
//! ```
//! Beside the world of `node` and not in it: there a process lives for a second, and a session or a
//! rebalance takes longer than that. Sessions are short here, processes live long, and members are
//! all that makes events.

mod log;
mod member;
mod plan;
mod promises;
mod requests;
mod restless;
mod settle;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use ottla_config::NodeConfig;
use ottla_node::NodeParts;
use ottla_runtime::sim::{SimNode, SimWorld};
use ottla_runtime::{Plane, Runtime};
use tokio::sync::watch;

use crate::client::Phase;
use crate::dice::Dice;
use crate::findings::Findings;
use crate::mutant::{Lie, Mutant};
use crate::process::{Process, State};
use log::{SimLogs, Weather};
use member::{Client, Member};
use plan::{End, Plan};

/// Virtual time in which a planned fault of the disk should have struck.
const FAULT_WITHIN: Duration = Duration::from_secs(2);
/// Virtual time in which members commit again when the disk has room again.
const COMMITS_WITHIN: Duration = Duration::from_secs(60);

/// Lives a world through.
pub async fn run(world: &SimWorld, findings: &Findings, mutant: Option<Mutant>) {
    let dice = Dice::of(world);
    let plan = Plan::draw(&dice);
    findings.note(|| format!("{plan:?}"));
    let machine = world.node("broker");
    let clients = world.node("clients");
    let broker = SocketAddr::new(machine.address(), 9092);
    let (phase_in, phase) = watch::channel(Phase::Load);
    let runtime = Runtime::simulated(&clients);
    let client = Client::new(runtime, broker, dice.clone(), findings.clone(), phase);
    start_members(&client, &plan);
    let config = plan.config(&dice);
    let (weather, lie) = (Weather::default(), mutant.and_then(Mutant::lie));
    let story = Story { world, findings, dice, plan, machine, client, config, weather, lie };
    for life in 0..story.plan.lives {
        if !findings.any() {
            story.live_once(life == 0).await;
        }
    }
    if !findings.any() {
        story.come_to_rest(&phase_in).await;
    }
    phase_in.send_replace(Phase::End);
}

fn start_members(client: &Client, plan: &Plan) {
    let (founding, plan) = (settle::found(client.clone(), plan.clone()), plan.clone());
    let client = client.clone();
    client.clone().runtime.spawn(Plane::Control, "founder", async move {
        founding.await;
        for group in &plan.groups {
            for index in 0..group.dynamic + group.static_ {
                let member = Member::new(client.clone(), &plan, group, index);
                member.tell_standing();
                client.runtime.spawn(Plane::Control, "member", member.run());
            }
        }
        client.model().is_founded = true;
    });
}

struct Story<'w> {
    world: &'w SimWorld,
    findings: &'w Findings,
    dice: Dice,
    plan: Plan,
    machine: SimNode,
    client: Client,
    config: NodeConfig,
    weather: Weather,
    lie: Option<Lie>,
}

impl Story<'_> {
    fn start(&self) -> Process {
        self.client.model().next_life();
        let mut parts = NodeParts::new(self.config.clone());
        let runtime = Runtime::simulated(&self.machine);
        let (dice, findings) = (self.dice.clone(), self.findings.clone());
        let (weather, lie) = (self.weather.clone(), self.lie);
        parts.group_logs = Box::new(move |logs| {
            let seen = Mutex::default();
            Box::new(SimLogs { logs, runtime, dice, findings, weather, lie, seen })
        });
        Process::of_parts(&self.machine, parts, self.findings)
    }

    /// One process from its start to its end.
    async fn live_once(&self, is_first: bool) {
        if !is_first && self.dice.chance(20) {
            self.plan_death(self.plan.power_cuts && self.dice.chance(70), 60);
        }
        let mut process = self.start();
        if !self.is_ready(&mut process).await || !self.let_live(&mut process).await {
            return;
        }
        let end = self.plan.end(&self.dice);
        self.findings.note(|| format!("end: {end:?}"));
        match end {
            End::Now { power_cut } => self.bury(power_cut).await,
            End::AtDiskOperation { power_cut } => {
                self.plan_death(power_cut, 60);
                let _ = process.ended_within(FAULT_WITHIN).await;
                self.bury(false).await;
            }
            End::CleanStop { power_cut } => self.stop(&mut process, power_cut).await,
            End::Eio => {
                let after = self.dice.below(60);
                self.machine.disk().set_faults(|faults| faults.eio_after = Some(after));
                match process.ended_within(FAULT_WITHIN).await {
                    Some(State::Ended(Err(_))) => self.findings.count(|stats| stats.fences += 1),
                    Some(State::Ended(Ok(()))) => {
                        self.findings.violated("the broker stopped unasked");
                    }
                    Some(_) | None => {}
                }
                self.bury(self.plan.power_cuts).await;
            }
            End::DiskFull => self.fill_disk(&mut process).await,
        }
    }

    /// Waits until the process is open; cleans up when it died on the way, as planned.
    async fn is_ready(&self, process: &mut Process) -> bool {
        match process.settled().await {
            Some(State::Open) => {
                self.findings.count(|stats| stats.starts += 1);
                return true;
            }
            Some(State::Died | State::Starting) => self.bury(false).await,
            Some(State::Ended(end)) => {
                self.findings.violated(format!("the broker did not start: {end:?}"));
            }
            None => self.findings.violated("the broker was not ready in time"),
        }
        false
    }

    /// Lets members do while small things befall the broker; false when it has died.
    async fn let_live(&self, process: &mut Process) -> bool {
        let clock = self.client.runtime.clock();
        let until = clock.now().after(ms(self.dice.between(100, 12_000)));
        let mut end = None;
        while end.is_none() && clock.now() < until && !self.findings.any() {
            self.mischief();
            end = process.ended_within(ms(self.dice.between(50, 1_500))).await;
        }
        match end {
            None => return true,
            Some(State::Ended(end)) => {
                self.findings.violated(format!("the broker ended by itself: {end:?}"));
            }
            Some(_) => {}
        }
        self.bury(false).await;
        false
    }

    fn mischief(&self) {
        let (dice, plan) = (&self.dice, &self.plan);
        if plan.resets && dice.chance(20) {
            self.world.reset_connections(dice.pick(&[20, 50, 100]));
        }
        if plan.slow_disk && dice.chance(30) {
            self.machine.slow_down_blocking_work(ms(dice.pick(&[0, 2, 50, 500])));
        }
        if plan.clock_jumps && dice.chance(20) {
            // Far less than the retention of offsets, in sum.
            let minutes = dice.between(0, 60) as i64 - 30;
            self.findings.note(|| format!("the wall clock jumps by {minutes} minutes"));
            self.machine.jump_wall_clock(minutes * 60_000);
        }
        if dice.chance(40) {
            let delay = dice.below(plan.log_delay_ms_max + 1);
            let refused = dice.below(plan.refused_percent_max + 1);
            self.weather.set(delay, if dice.chance(50) { refused } else { 0 });
        }
    }

    /// The disk is full for a while. The broker lives on, and members go on when there is room.
    async fn fill_disk(&self, process: &mut Process) {
        let full = self.machine.disk().used() + self.dice.below(2_000);
        self.machine.disk().set_faults(|faults| faults.capacity = Some(full));
        let mut ended = process.ended_within(ms(self.dice.between(50, 3_000))).await;
        self.machine.disk().set_faults(|faults| faults.capacity = None);
        // A log that is later than the coordinator's patience keeps groups from their rest.
        self.come_to_calm();
        let before = self.findings.stats().commits;
        let until = self.client.runtime.clock().now().after(COMMITS_WITHIN);
        while ended.is_none() && self.findings.stats().commits == before {
            if self.client.runtime.clock().now() > until {
                return self.findings.violated("nothing is committed though there is room");
            }
            ended = process.ended_within(ms(100)).await;
        }
        match ended {
            Some(State::Ended(end)) => {
                self.findings.violated(format!("the broker ended on a full disk: {end:?}"));
            }
            Some(_) => {}
            None => self.findings.count(|stats| stats.full_disks += 1),
        }
        self.bury(self.plan.power_cuts).await;
    }

    /// Stops the process as SIGTERM does; then the machine may lose power.
    async fn stop(&self, process: &mut Process, power_cut: bool) {
        match process.stop().await {
            Some(State::Ended(Ok(()))) => {
                self.findings.count(|stats| stats.clean_stops += 1);
                match power_cut {
                    true => self.bury(true).await,
                    false => self.machine.after_exit().await,
                }
            }
            Some(State::Died) => self.bury(power_cut).await,
            other => self.findings.violated(format!("a clean stop ends in {other:?}")),
        }
    }

    /// Plans the death of the process at one of its next operations on disk.
    fn plan_death(&self, power_cut: bool, operations_max: u64) {
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

    /// Ends what is left of the process, with or without a power cut.
    async fn bury(&self, power_cut: bool) {
        if let Some(task) = self.machine.broken() {
            self.findings.violated(format!("the vital task {task} panicked"));
        }
        self.findings.count(|stats| match power_cut {
            true => stats.power_cuts += 1,
            false => stats.kills += 1,
        });
        self.machine.crash(power_cut).await;
        self.client.pause(0, 1_000).await;
    }

    /// The log and the disk are as quick as they can be.
    fn come_to_calm(&self) {
        self.weather.set(0, 0);
        self.machine.slow_down_blocking_work(ms(2));
    }

    /// Nothing befalls the broker any more: groups settle, and are as they were after a restart.
    async fn come_to_rest(&self, phase: &watch::Sender<Phase>) {
        self.come_to_calm();
        let mut process = self.start();
        if !self.is_ready(&mut process).await {
            return;
        }
        phase.send_replace(Phase::Finish);
        let settled = settle::settle(&self.client, &self.plan, None).await;
        if self.findings.any() {
            return;
        }
        match self.dice.chance(50) {
            true => self.stop(&mut process, false).await,
            false => self.bury(self.plan.power_cuts).await,
        }
        let mut process = self.start();
        if self.findings.any() || !self.is_ready(&mut process).await {
            return;
        }
        settle::settle(&self.client, &self.plan, Some(&settled)).await;
        settle::audit(&self.client, &self.plan).await;
        if !self.findings.any() {
            self.stop(&mut process, false).await;
        }
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
