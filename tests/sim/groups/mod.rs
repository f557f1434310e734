//! A broker and the members of its groups, who come and go while the broker is ended and started
//! again and again.
//!
//! ```text
//!   machine "broker": Process ── log port: late, refusing (log.rs) ── disk
//!   machine "clients": Member…, over lives and deaths of their own ── Promises
//!   life.rs: lives and ends of the process, mischief in between; this file: the rest at the end
//! ```
//! Beside the world of `node` and not in it: there a process lives for a second, and a session or a
//! rebalance takes longer than that. Sessions are short here, processes live long, and members are
//! all that makes events.

mod consumer;
mod forgetful;
pub mod log;
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
use ottla_runtime::sim::SimWorld;
use ottla_runtime::{Plane, Runtime};
use tokio::sync::watch;

use crate::broker::{Broker, Progress};
use crate::client::Phase;
use crate::dice::Dice;
use crate::findings::Findings;
use crate::life::{Lives, Troubles};
use crate::mutant::{Lie, Mutant};
use crate::process::Process;
use crate::run::Settings;
use consumer::{Consumer, Keeper};
use forgetful::Forgetful;
use log::{SimLogs, Weather};
use member::{Client, Member};
use plan::{Group, Kind, Plan};

/// Virtual time within which patterns are looked up for the last time: not more often than every
/// ten seconds, whatever becomes of topics.
const PATTERNS_WITHIN: Duration = Duration::from_secs(12);
/// Virtual time in which members commit again when the disk has room again.
const COMMITS_WITHIN: Duration = Duration::from_secs(60);

/// Lives a world through; with `mixes`, one of groups whose members speak both protocols.
pub async fn run(world: &SimWorld, findings: &Findings, settings: &Settings, mixes: bool) {
    let dice = Dice::of(world);
    let lie = settings.mutant.and_then(Mutant::lie);
    let mut plan = Plan::draw(&dice, mixes);
    plan.is_silent_of_owned = lie == Some(Lie::OwnedNotHeard);
    findings.note(|| format!("{plan:?}"));
    let machine = world.node("broker");
    let clients = world.node("clients");
    let broker = SocketAddr::new(machine.address(), 9092);
    let (phase_in, phase) = watch::channel(Phase::Load);
    let runtime = Runtime::simulated(&clients);
    let client = Client::new(runtime, broker, dice.clone(), findings.clone(), phase);
    start_members(&client, &plan);
    let weather = Weather::default();
    let config = plan.config(&dice, lie.is_none());
    let broker = Broker { machine, findings, dice };
    let story = Story { world, broker, plan, client, config, weather, lie };
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
                start_member(&client, &plan, group, index);
            }
        }
        let of_consumers = plan.groups.iter().filter(|group| group.kind != Kind::Classic);
        let of_consumers: Vec<_> = of_consumers.cloned().collect();
        if !of_consumers.is_empty() {
            let keeper = Keeper::new(client.clone(), &plan, of_consumers);
            client.runtime.spawn(Plane::Control, "keeper", keeper.run());
        }
        client.model().is_founded = true;
        if plan.forgets {
            client.runtime.spawn(Plane::Control, "forgetful", Forgetful::new(client.clone()).run());
        }
    });
}

fn start_member(client: &Client, plan: &Plan, group: &Group, index: u32) {
    match group.kind {
        Kind::Classic => {
            let member = Member::new(client.clone(), plan, group, index);
            member.tell_standing();
            client.runtime.spawn(Plane::Control, "member", member.run());
        }
        Kind::Consumer | Kind::Mixed => {
            let member = Consumer::new(client.clone(), plan, group, index);
            member.tell_standing();
            client.runtime.spawn(Plane::Control, "consumer", member.run());
        }
    }
}

struct Story<'w> {
    world: &'w SimWorld,
    broker: Broker<'w>,
    plan: Plan,
    client: Client,
    config: NodeConfig,
    weather: Weather,
    lie: Option<Lie>,
}

impl Lives for Story<'_> {
    const LIFE_MS_MAX: u64 = 12_000;
    const FULL_DISK: (u64, Progress) = (
        2_000,
        Progress {
            of: |stats| stats.commits,
            within: COMMITS_WITHIN,
            violation: "nothing is committed though there is room",
        },
    );

    fn world(&self) -> &SimWorld {
        self.world
    }

    fn runtime(&self) -> &Runtime {
        &self.client.runtime
    }

    fn broker(&self) -> &Broker<'_> {
        &self.broker
    }

    fn troubles(&self) -> Troubles {
        self.plan.troubles()
    }

    fn weather(&self) -> &Weather {
        &self.weather
    }

    fn start(&self) -> Process {
        self.client.model().next_life();
        let mut parts = NodeParts::new(self.config.clone());
        let runtime = Runtime::simulated(&self.broker.machine);
        let (dice, findings) = (self.broker.dice.clone(), self.broker.findings.clone());
        let (weather, lie) = (self.weather.clone(), self.lie);
        parts.group_logs = Box::new(move |logs| {
            let seen = Mutex::default();
            Box::new(SimLogs { logs, runtime, dice, findings, weather, lie, seen })
        });
        Process::of_parts(&self.broker.machine, parts, self.broker.findings)
    }

    fn jump_clock(&self) {
        // Far less than the retention of offsets, in sum.
        let minutes = self.broker.dice.between(0, 60) as i64 - 30;
        self.broker.findings.note(|| format!("the wall clock jumps by {minutes} minutes"));
        self.broker.machine.jump_wall_clock(minutes * 60_000);
    }

    async fn pause(&self) {
        self.client.pause(0, 1_000).await;
    }
}

impl Story<'_> {
    /// Nothing befalls the broker any more: groups settle, and are as they were after a restart.
    async fn come_to_rest(&self, phase: &watch::Sender<Phase>) {
        self.come_to_calm();
        let mut process = self.start();
        if !self.is_ready(&mut process).await {
            return;
        }
        phase.send_replace(Phase::Finish);
        if self.plan.patterns {
            self.client.runtime.clock().sleep(PATTERNS_WITHIN).await;
        }
        let settled = settle::settle(&self.client, &self.plan, None).await;
        if self.broker.findings.any() {
            return;
        }
        match self.broker.dice.chance(50) {
            true => self.stop(&mut process, false).await,
            false => self.bury(self.plan.power_cuts).await,
        }
        let mut process = self.start();
        if self.broker.findings.any() || !self.is_ready(&mut process).await {
            return;
        }
        settle::settle(&self.client, &self.plan, Some(&settled)).await;
        settle::audit(&self.client, &self.plan).await;
        if !self.broker.findings.any() {
            self.stop(&mut process, false).await;
        }
    }
}
