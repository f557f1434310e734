//! A broker that is started and ended again and again while its clients use it.
//!
//! ```text
//!   machine "broker": Process (the whole product) ── disk, sockets
//!   machine "clients": Producer…, reader…, Admin  ── Model: what they were promised
//!   this file: lives and ends of the process, mischief in between, a look at everything after
//!   each start
//! ```

mod admin;
mod as_kafka;
mod audit;
mod client;
mod committer;
mod compacted;
mod configs;
pub mod loss;
mod model;
mod moves;
mod plan;
mod producer;
mod reader;
mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_config::NodeConfig;
use ottla_runtime::sim::{FaultsBelow, SimWorld};
use ottla_runtime::{Plane, Runtime, Task};
use tokio::sync::watch;

use crate::broker::{Broker, Outcome, Progress};
use crate::dice::Dice;
use crate::findings::Findings;
use crate::mutant::CleanerBug;
use crate::process::{Process, State};
use crate::run::Settings;
use admin::Admin;
use client::{Client, Phase};
use committer::Committer;
use plan::{End, OPEN_FILES_MAX, Plan};
use producer::Producer;

/// Virtual time in which clients must be done once nothing befalls the broker any more.
const FINISH_WITHIN: Duration = Duration::from_secs(120);
/// Virtual time in which a planned fault of the disk should have struck.
const FAULT_WITHIN: Duration = Duration::from_secs(2);
/// Virtual time that no life reaches.
const LIFE_MAX: Duration = Duration::from_mins(10);

/// Lives a world through.
pub async fn run(world: &SimWorld, findings: &Findings, settings: &Settings) {
    let dice = Dice::of(world);
    let plan = Plan::draw(&dice);
    findings.note(|| format!("{plan:?}"));
    let machine = world.node("broker");
    machine.disk().set_faults(|faults| {
        settings.mutant.into_iter().for_each(|mutant| mutant.plant(faults));
        faults.open_files_max = Some(OPEN_FILES_MAX);
    });
    let clients = world.node("clients");
    let broker = SocketAddr::new(machine.address(), 9092);
    let (phase_in, phase) = watch::channel(Phase::Load);
    let runtime = Runtime::simulated(&clients);
    let client = Client::new(runtime, broker, dice.clone(), findings.clone(), phase);
    // A power cut, or a failed sync, takes records that counted when others were deleted.
    let exact = !plan.power_cuts && !plan.disk_failures;
    client.model().set_retention(plan.retention, exact);
    let bug = settings.mutant.and_then(crate::mutant::Mutant::cleaner_bug);
    let tasks = start_clients(&client, &plan, bug);
    let config = plan.config(&dice, bug);
    client.model().set_tombstones(plan.keeps_tombstones);
    let export = settings.export.as_deref();
    let broker = Broker { machine, findings, dice };
    let story = Story { world, broker, plan, client, config, export };
    for life in 0..plan.lives {
        if !findings.any() {
            story.live_once(life == 0).await;
        }
    }
    story.finish(&phase_in, tasks).await;
    phase_in.send_replace(Phase::End);
}

fn start_clients(client: &Client, plan: &Plan, bug: Option<CleanerBug>) -> Vec<Task<()>> {
    let spawn = |name, task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        client.runtime.spawn(Plane::Control, name, task)
    };
    let admin = Admin::new(client.clone(), plan);
    let mut tasks = vec![spawn("admin", Box::pin(admin.run()))];
    for index in 0..plan.producers {
        let acks = client.dice.pick(&[-1, -1, 1]);
        let producer = Producer::new(client.clone(), index, acks, bug);
        tasks.push(spawn("producer", Box::pin(producer.run())));
    }
    for index in 0..plan.committers {
        let committer = Committer::new(client.clone(), index);
        tasks.push(spawn("committer", Box::pin(committer.run())));
    }
    for _ in 0..plan.readers {
        tasks.push(spawn("reader", Box::pin(reader::run(client.clone()))));
    }
    tasks
}

struct Story<'w> {
    world: &'w SimWorld,
    broker: Broker<'w>,
    plan: Plan,
    client: Client,
    config: NodeConfig,
    /// Where the disk goes at the end.
    export: Option<&'w Path>,
}

impl Story<'_> {
    /// One process from its start to its end.
    async fn live_once(&self, is_first: bool) {
        // It may die before it is ready: in its first start, while it formats.
        if self.broker.dice.chance(if is_first { 60 } else { 30 }) {
            let power_cut = self.plan.power_cuts && self.broker.dice.chance(70);
            self.broker.plan_death(
                power_cut,
                if is_first && self.broker.dice.chance(50) { 20 } else { 60 },
            );
        }
        let mut process =
            Process::start(&self.broker.machine, self.config.clone(), self.broker.findings);
        if !self.is_ready(&mut process).await {
            return;
        }
        if !self.let_live(&mut process).await {
            return self.bury(false).await;
        }
        let end = self.plan.end(&self.broker.dice);
        self.broker.findings.note(|| format!("end: {end:?}"));
        self.end(&mut process, end).await;
    }

    /// Waits until the process is open; cleans up when it died on the way, as planned.
    async fn is_ready(&self, process: &mut Process) -> bool {
        let outcome = self.broker.opened(process).await;
        if outcome == Outcome::Died {
            self.bury(false).await;
        }
        outcome == Outcome::Done
    }

    /// Lets clients work while small things befall the broker; false when it has died.
    async fn let_live(&self, process: &mut Process) -> bool {
        // What was promised before must be there now.
        let audited = async {
            self.audit().await;
            None
        };
        let mut end = tokio::select! {
            biased;
            end = process.ended_within(LIFE_MAX) => end,
            none = audited => none,
        };
        let clock = self.client.runtime.clock();
        let until = clock.now().after(ms(self.broker.dice.between(50, 800)));
        while end.is_none() && clock.now() < until && !self.broker.findings.any() {
            self.mischief();
            end = process.ended_within(ms(self.broker.dice.between(10, 200))).await;
        }
        if let Some(State::Ended(end)) = &end {
            self.broker.findings.violated(format!("the broker ended by itself: {end:?}"));
        }
        end.is_none()
    }

    fn mischief(&self) {
        let dice = &self.broker.dice;
        if self.plan.resets && dice.chance(20) {
            self.world.reset_connections(dice.pick(&[20, 50, 100]));
        }
        if self.plan.slow_disk && dice.chance(30) {
            self.broker.machine.slow_down_blocking_work(ms(dice.pick(&[0, 2, 10, 50])));
        }
        if self.plan.clock_jumps && dice.chance(20) {
            // Far less than `producer.id.expiration.ms` in sum.
            let minutes = dice.between(0, 60) as i64 - 30;
            self.broker.findings.note(|| format!("the wall clock jumps by {minutes} minutes"));
            self.broker.machine.jump_wall_clock(minutes * 60_000);
        }
    }

    async fn end(&self, process: &mut Process, end: End) {
        match end {
            End::Kill => self.bury(false).await,
            End::PowerCut => self.bury(true).await,
            End::AtDiskOperation { power_cut } => {
                self.broker.plan_death(power_cut, 200);
                // Without load there may be no further operation.
                let _ = process.ended_within(FAULT_WITHIN).await;
                self.bury(false).await;
            }
            End::CleanStop { power_cut } => {
                if self.broker.dice.chance(20) {
                    self.broker.plan_death(power_cut, 30);
                }
                self.stop(process, power_cut).await;
            }
            End::Eio => self.fail_disk(process).await,
            End::DiskFull => self.fill_disk(process).await,
            End::DirFails => self.fail_dir(process).await,
        }
    }

    /// Stops the process as SIGTERM does; then the machine may lose power.
    async fn stop(&self, process: &mut Process, power_cut: bool) {
        match self.broker.stopped(process).await {
            Outcome::Done => {
                if !process.has_stopped_cleanly() {
                    self.broker.findings.violated("a clean stop leaves no .kafka_cleanshutdown");
                }
                if power_cut {
                    self.bury(true).await;
                } else {
                    self.broker.machine.after_exit().await;
                    self.lose_indexes();
                }
            }
            Outcome::Died => self.bury(power_cut).await,
            Outcome::Violated => {}
        }
    }

    async fn fail_disk(&self, process: &mut Process) {
        let within = ms(self.broker.dice.between(50, 2_000));
        self.broker.fail_disk(process, 100, within).await;
        self.bury(self.plan.power_cuts).await;
    }

    /// In front of the kept room or behind it.
    async fn fill_disk(&self, process: &mut Process) {
        let progress = Progress {
            of: |stats| stats.acknowledged,
            within: ms(10_000),
            violation: "no records are taken though there is room",
        };
        self.broker.fill_disk(process, 3_000, || {}, progress).await;
        self.bury(self.plan.power_cuts).await;
    }

    /// One directory fails, and the broker lives on; it may start without it, too. Then the
    /// directory is there again, and with it everything that was acknowledged in it.
    async fn fail_dir(&self, process: &mut Process) {
        let dir =
            PathBuf::from(format!("/var/data{}", self.broker.dice.between(2, self.plan.dirs)));
        let eio_after = Some(self.broker.dice.below(30));
        let fails = FaultsBelow { eio_after, ..FaultsBelow::default() };
        self.broker.machine.disk().set_faults(|faults| faults.below.extend([(dir.clone(), fails)]));
        let ended = process.ended_within(ms(self.broker.dice.between(50, 2_000))).await;
        self.went_on(ended.as_ref());
        if self.broker.dice.chance(50) && ended.is_none() && !self.broker.findings.any() {
            self.bury(self.plan.power_cuts).await;
            let mut missed = loss::partitions_in(&self.broker.machine, &dir);
            // A power cut may have taken the names of a move back: what it left there is whole.
            let elsewhere = loss::partitions_beside(&self.broker.machine, &dir);
            missed.retain(|partition| !elsewhere.contains(partition));
            let missing = FaultsBelow { unreadable: true, ..FaultsBelow::default() };
            self.broker
                .machine
                .disk()
                .set_faults(|faults| faults.below.extend([(dir.clone(), missing)]));
            let mut process =
                Process::start(&self.broker.machine, self.config.clone(), self.broker.findings);
            if !self.is_ready(&mut process).await {
                return;
            }
            for held in process.held().iter().filter(|held| missed.contains(*held)) {
                self.broker
                    .findings
                    .violated(format!("{held:?} is in {}, and served", dir.display()));
            }
            self.audit().await;
            let ended = process.ended_within(ms(self.broker.dice.between(50, 1_000))).await;
            self.went_on(ended.as_ref());
        }
        self.broker.machine.disk().set_faults(|faults| faults.below.clear());
        self.bury(self.plan.power_cuts).await;
    }

    fn went_on(&self, ended: Option<&State>) {
        match ended {
            Some(State::Ended(end)) => {
                self.broker
                    .findings
                    .violated(format!("one of several directories ended it: {end:?}"));
            }
            Some(_) => {}
            None => self.broker.findings.count(|stats| stats.failed_dirs += 1),
        }
    }

    async fn bury(&self, power_cut: bool) {
        self.broker.bury(power_cut).await;
        if power_cut {
            as_kafka::look(&self.broker.machine, self.broker.findings);
        }
        self.lose_indexes();
        self.client.pause(0, 100).await;
    }

    fn lose_indexes(&self) {
        if self.plan.loses_indexes && self.broker.dice.chance(50) {
            let keeps_all = self.plan.keeps_all();
            let (machine, dice) = (&self.broker.machine, &self.broker.dice);
            loss::lose_indexes(machine, dice, keeps_all, self.broker.findings);
        }
    }

    async fn audit(&self) {
        let client = &self.client;
        while !client.is_over() && self.broker.machine.broken().is_none() {
            let Some(mut connection) = client.connect().await else { return };
            match audit::look_at_everything(client, &mut connection).await {
                Ok(()) => return,
                Err(error) => {
                    self.broker.findings.note(|| format!("the audit begins again: {error}"));
                }
            }
        }
    }

    /// Lets the clients finish, looks at everything, stops, and looks again after another start.
    async fn finish(&self, phase: &watch::Sender<Phase>, tasks: Vec<Task<()>>) {
        let mut process =
            Process::start(&self.broker.machine, self.config.clone(), self.broker.findings);
        if self.broker.findings.any() || !self.is_ready(&mut process).await {
            return;
        }
        phase.send_replace(Phase::Finish);
        let all = async {
            for mut task in tasks {
                task.join().await;
            }
        };
        if self.client.runtime.clock().timeout(FINISH_WITHIN, all).await.is_none() {
            self.broker.findings.violated("clients do not get done");
        }
        for _ in 0..2 {
            if self.broker.findings.any() {
                return;
            }
            self.audit().await;
            self.stop(&mut process, self.plan.power_cuts).await;
            process =
                Process::start(&self.broker.machine, self.config.clone(), self.broker.findings);
            if !self.is_ready(&mut process).await {
                return;
            }
        }
        self.audit().await;
        if let Some(to) = self.export
            && !self.broker.findings.any()
        {
            // Not `stop`, which may lose files behind it.
            let ended = process.stop().await;
            if !matches!(ended, Some(State::Ended(Ok(())))) {
                return self.broker.findings.violated(format!("a clean stop ends in {ended:?}"));
            }
            self.broker.machine.after_exit().await;
            self.write_disk(to);
        }
    }

    /// Writes the disk out as real files, for tools that look into files.
    fn write_disk(&self, to: &Path) {
        for (path, content) in self.broker.machine.disk().files() {
            let path = to.join(path);
            let dir = path.parent().expect("it is below the folder");
            std::fs::create_dir_all(dir).expect("the folder can be written to");
            std::fs::write(&path, content).expect("the folder can be written to");
        }
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
