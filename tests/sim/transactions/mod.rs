//! A broker and the transactions of its clients, ended and started again and again.
//!
//! ```text
//!   machine "broker": Process ── log ports of both coordinators, port of markers (log.rs) ── disk
//!   machine "clients": feeders ──> in, side      copy jobs: in ──> out, with their offsets
//!                      readers of what is committed        letters, late and twice (post.rs)
//!                      History: what was done and told ──> verdict.rs, with the logs at the end
//!   life.rs: lives and ends of the process, mischief in between; this file: the rest at the end
//! ```
//! A workload of its own for the same reason as `groups`: a transaction that takes too long takes
//! longer than a life in `node`.

mod copier;
mod feeder;
mod history;
mod log;
mod operator;
mod plan;
mod post;
mod producers;
mod reading;
mod requests;
mod rest;
mod session;
mod verdict;
mod writing;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_protocol::messages::CreateTopicsRequest;
use ottla_config::NodeConfig;
use ottla_node::NodeParts;
use ottla_runtime::sim::SimWorld;
use ottla_runtime::{Plane, Runtime, Task};
use tokio::sync::watch;

use crate::broker::{Broker, Progress};
use crate::client::Phase;
use crate::dice::Dice;
use crate::findings::Findings;
use crate::groups::log::{SimLogs, Weather};
use crate::life::{Lives, Troubles};
use crate::mutant::{Lie, Mutant, TxnBug};
use crate::node::loss;
use crate::process::Process;
use crate::run::Settings;
use copier::{Copier, id_of};
use feeder::Feeder;
use history::Rules;
use log::{CoordinatorLogs, SimMarkers};
use plan::{JUMP_MS_MAX, Plan};
use requests::code;
use session::{Client, Session};

/// Virtual time in which clients go on when the disk has room again.
const GOES_ON_WITHIN: Duration = Duration::from_secs(60);
/// Virtual time in which clients must be done once nothing befalls the broker any more.
const FINISH_WITHIN: Duration = Duration::from_secs(120);

/// Lives a world through.
pub async fn run(world: &SimWorld, findings: &Findings, settings: &Settings) {
    let dice = Dice::of(world);
    let bug = settings.mutant.and_then(Mutant::txn_bug);
    let plan = Plan::draw(&dice, bug);
    findings.note(|| format!("{plan:?}"));
    let machine = world.node("broker");
    let clients = world.node("clients");
    let broker = SocketAddr::new(machine.address(), 9092);
    let (phase_in, phase) = watch::channel(Phase::Load);
    let runtime = Runtime::simulated(&clients);
    let client = Client::new(runtime, broker, dice.clone(), findings.clone(), phase);
    client.model().rules = Rules { bug, loses: plan.loses, fences: plan.fences() };
    let config = plan.config(&dice);
    let weather = Weather::default();
    let broker = Broker { machine, findings, dice };
    let story = Story { world, broker, plan, client, config, weather };
    let tasks = start_clients(&story.client, &story.plan);
    for life in 0..story.plan.lives {
        if !findings.any() {
            story.live_once(life == 0).await;
        }
    }
    if !findings.any() {
        story.come_to_rest(&phase_in, tasks).await;
    }
    phase_in.send_replace(Phase::End);
}

/// Each client begins when the topics are there.
fn start_clients(client: &Client, plan: &Plan) -> Vec<Task<()>> {
    let mut tasks = Vec::new();
    let mut spawn = |name, task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let founded = wait_for_topics(client.clone());
        let task = async move {
            founded.await;
            task.await;
        };
        tasks.push(client.runtime.spawn(Plane::Control, name, task));
    };
    client.runtime.spawn(Plane::Control, "founder", found(client.clone(), plan.partitions));
    for _ in 0..plan.instances {
        for (index, speaks) in plan.feeders.iter().enumerate() {
            let id = format!("feeder-{index}");
            let session = Session::new(client.clone(), id, *speaks, plan.timeout_ms);
            let feeder = Feeder { session, partitions: plan.partitions };
            spawn("feeder", Box::pin(feeder.run()));
        }
        for (job, speaks) in plan.copiers.iter().enumerate() {
            let job = job as u32;
            let session = Session::new(client.clone(), id_of(job), *speaks, plan.timeout_ms);
            let copier = Copier::new(session, job, plan.partitions);
            spawn("copier", Box::pin(copier.run()));
        }
    }
    if plan.changes_level {
        client.runtime.spawn(Plane::Control, "operator", operator::run(client.clone()));
    }
    for _ in 0..plan.readers {
        let reader = reading::run(client.clone(), rest::places(plan));
        client.runtime.spawn(Plane::Control, "reader", reader);
    }
    tasks
}

async fn wait_for_topics(client: Client) {
    while !client.is_over() && !client.model().is_founded {
        client.pause(5, 50).await;
    }
}

/// Creates the topics.
async fn found(client: Client, partitions: i32) {
    while let Some(mut connection) = client.connect().await {
        let request = requests::create(partitions);
        let call = connection.call::<CreateTopicsRequest>(7, &request);
        let is_there = |error| matches!(error, code::NONE | code::TOPIC_ALREADY_EXISTS);
        if let Ok(answer) = client.answer(call).await
            && answer.topics.iter().all(|topic| is_there(topic.error_code))
        {
            client.model().is_founded = true;
            return;
        }
        client.pause(5, 40).await;
    }
}

struct Story<'w> {
    world: &'w SimWorld,
    broker: Broker<'w>,
    plan: Plan,
    client: Client,
    config: NodeConfig,
    weather: Weather,
}

impl Lives for Story<'_> {
    const LIFE_MS_MAX: u64 = 8_000;
    const FULL_DISK: (u64, Progress) = (
        3_000,
        Progress {
            of: |stats| stats.acknowledged + stats.joins + stats.txns_committed,
            within: GOES_ON_WITHIN,
            violation: "nothing goes on though there is room",
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
        let mut parts = NodeParts::new(self.config.clone());
        let runtime = Runtime::simulated(&self.broker.machine);
        let (dice, findings) = (self.broker.dice.clone(), self.broker.findings.clone());
        let (weather, bug, worn) = (self.weather.clone(), self.plan.bug, self.plan.worn);
        let forgets = bug == Some(TxnBug::EpochInMemoryOnly);
        let logs_of = {
            let (runtime, dice) = (runtime.clone(), dice.clone());
            let (weather, findings) = (weather.clone(), findings.clone());
            move |logs, lie| SimLogs {
                logs,
                runtime: runtime.clone(),
                dice: dice.clone(),
                findings: findings.clone(),
                weather: weather.clone(),
                lie,
                seen: Mutex::default(),
            }
        };
        let group_logs_of = logs_of.clone();
        parts.group_logs = Box::new(move |logs| {
            let (logs, offsets) = (group_logs_of(logs, None), Mutex::default());
            let bug = bug.filter(|bug| *bug == TxnBug::OffsetsRegress);
            Box::new(CoordinatorLogs { logs, bug, worn: false, offsets })
        });
        parts.transaction_logs = Box::new(move |logs| {
            let logs = logs_of(logs, forgets.then_some(Lie::AnswerBeforeCommitted));
            let bug = bug.filter(|bug| *bug == TxnBug::PreparedForgotten);
            Box::new(CoordinatorLogs { logs, bug, worn, offsets: Mutex::default() })
        });
        parts.markers = Box::new(move |markers| {
            Arc::new(SimMarkers { markers, runtime, dice, findings, weather, bug })
        });
        Process::of_parts(&self.broker.machine, parts, self.broker.findings)
    }

    fn jump_clock(&self) {
        let jump = self.broker.dice.below(2 * JUMP_MS_MAX) as i64 - JUMP_MS_MAX as i64;
        self.broker.findings.note(|| format!("the wall clock jumps by {jump} ms"));
        self.broker.machine.jump_wall_clock(jump);
    }

    fn while_down(&self) {
        let (machine, dice) = (&self.broker.machine, &self.broker.dice);
        if self.plan.bug == Some(TxnBug::ProducersOfBefore) {
            producers::make_older(machine);
        } else if self.plan.loses_files && dice.chance(50) {
            loss::lose_indexes(machine, dice, true, self.broker.findings);
        }
    }

    async fn pause(&self) {
        self.client.pause(0, 1_000).await;
    }
}

impl Story<'_> {
    /// Nothing befalls the broker any more: what is open ends, and all is as it should be, also
    /// after a restart.
    async fn come_to_rest(&self, phase: &watch::Sender<Phase>, tasks: Vec<Task<()>>) {
        self.come_to_calm();
        let mut process = self.start();
        if !self.is_ready(&mut process).await {
            return;
        }
        phase.send_replace(Phase::Finish);
        wait_for_topics(self.client.clone()).await;
        let all = async {
            for mut task in tasks {
                task.join().await;
            }
        };
        if self.client.runtime.clock().timeout(FINISH_WITHIN, all).await.is_none() {
            return self.broker.findings.violated("clients do not get done");
        }
        rest::settle(&self.client, &self.plan).await;
        let ends = rest::copy_rest(&self.client, &self.plan).await;
        rest::judge(&self.client, &self.plan, &ends).await;
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
        rest::judge(&self.client, &self.plan, &ends).await;
        if !self.broker.findings.any() {
            self.broker.findings.count(|stats| stats.settled += 1);
            self.stop(&mut process, false).await;
        }
    }
}
