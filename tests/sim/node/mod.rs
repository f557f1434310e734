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
mod configs;
mod loss;
mod model;
mod plan;
mod producer;
mod reader;
mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_config::NodeConfig;
use ottla_runtime::sim::{FaultsBelow, SimNode, SimWorld};
use ottla_runtime::{Plane, Runtime, Task};
use tokio::sync::watch;

use crate::dice::Dice;
use crate::findings::Findings;
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
    let tasks = start_clients(&client, &plan);
    let config = plan.config(&dice);
    let export = settings.export.as_deref();
    let story = Story { world, findings, dice, plan, machine, client, config, export };
    for life in 0..plan.lives {
        if !findings.any() {
            story.live_once(life == 0).await;
        }
    }
    story.finish(&phase_in, tasks).await;
    phase_in.send_replace(Phase::End);
}

fn start_clients(client: &Client, plan: &Plan) -> Vec<Task<()>> {
    let spawn = |name, task: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        client.runtime.spawn(Plane::Control, name, task)
    };
    let admin = Admin::new(client.clone(), plan);
    let mut tasks = vec![spawn("admin", Box::pin(admin.run()))];
    for index in 0..plan.producers {
        let acks = client.dice.pick(&[-1, -1, 1]);
        let producer = Producer::new(client.clone(), index, acks);
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
    findings: &'w Findings,
    dice: Dice,
    plan: Plan,
    machine: SimNode,
    client: Client,
    config: NodeConfig,
    /// Where the disk goes at the end.
    export: Option<&'w Path>,
}

impl Story<'_> {
    /// One process from its start to its end.
    async fn live_once(&self, is_first: bool) {
        // It may die before it is ready: in its first start, while it formats.
        if self.dice.chance(if is_first { 60 } else { 30 }) {
            let power_cut = self.plan.power_cuts && self.dice.chance(70);
            self.plan_death(power_cut, if is_first && self.dice.chance(50) { 20 } else { 60 });
        }
        let mut process = Process::start(&self.machine, self.config.clone(), self.findings);
        if !self.is_ready(&mut process).await {
            return;
        }
        if !self.let_live(&mut process).await {
            return self.bury(false).await;
        }
        let end = self.plan.end(&self.dice);
        self.findings.note(|| format!("end: {end:?}"));
        self.end(&mut process, end).await;
    }

    /// Waits until the process is open; cleans up when it died on the way, as planned.
    async fn is_ready(&self, process: &mut Process) -> bool {
        match process.settled().await {
            Some(State::Open) => {
                self.findings.count(|stats| stats.starts += 1);
                true
            }
            Some(State::Died | State::Starting) => {
                self.bury(false).await;
                false
            }
            Some(State::Ended(end)) => {
                self.findings.violated(format!("the broker did not start: {end:?}"));
                false
            }
            None => {
                self.findings.violated("the broker was not ready in time");
                false
            }
        }
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
        let until = clock.now().after(ms(self.dice.between(50, 800)));
        while end.is_none() && clock.now() < until && !self.findings.any() {
            self.mischief();
            end = process.ended_within(ms(self.dice.between(10, 200))).await;
        }
        if let Some(State::Ended(end)) = &end {
            self.findings.violated(format!("the broker ended by itself: {end:?}"));
        }
        end.is_none()
    }

    fn mischief(&self) {
        let dice = &self.dice;
        if self.plan.resets && dice.chance(20) {
            self.world.reset_connections(dice.pick(&[20, 50, 100]));
        }
        if self.plan.slow_disk && dice.chance(30) {
            self.machine.slow_down_blocking_work(ms(dice.pick(&[0, 2, 10, 50])));
        }
        if self.plan.clock_jumps && dice.chance(20) {
            // Far less than `producer.id.expiration.ms` in sum.
            let minutes = dice.between(0, 60) as i64 - 30;
            self.findings.note(|| format!("the wall clock jumps by {minutes} minutes"));
            self.machine.jump_wall_clock(minutes * 60_000);
        }
    }

    async fn end(&self, process: &mut Process, end: End) {
        match end {
            End::Kill => self.bury(false).await,
            End::PowerCut => self.bury(true).await,
            End::AtDiskOperation { power_cut } => {
                self.plan_death(power_cut, 200);
                // Without load there may be no further operation.
                let _ = process.ended_within(FAULT_WITHIN).await;
                self.bury(false).await;
            }
            End::CleanStop { power_cut } => {
                if self.dice.chance(20) {
                    self.plan_death(power_cut, 30);
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
        match process.stop().await {
            Some(State::Ended(Ok(()))) => {
                self.findings.count(|stats| stats.clean_stops += 1);
                if !process.has_stopped_cleanly() {
                    self.findings.violated("a clean stop leaves no .kafka_cleanshutdown");
                }
                if power_cut {
                    self.bury(true).await;
                } else {
                    self.machine.after_exit().await;
                    self.lose_indexes();
                }
            }
            Some(State::Died) => self.bury(power_cut).await,
            other => self.findings.violated(format!("a clean stop ends in {other:?}")),
        }
    }

    /// After a failed sync nobody knows what the page cache is worth: the broker must end, and the
    /// machine is started anew, as `docs/simulation.md` tells operators.
    async fn fail_disk(&self, process: &mut Process) {
        let after = self.dice.below(100);
        self.machine.disk().set_faults(|faults| faults.eio_after = Some(after));
        match process.ended_within(ms(self.dice.between(50, 2_000))).await {
            Some(State::Ended(Err(_))) => self.findings.count(|stats| stats.fences += 1),
            Some(State::Ended(Ok(()))) => self.findings.violated("the broker stopped unasked"),
            Some(_) | None => {}
        }
        self.bury(self.plan.power_cuts).await;
    }

    /// The disk is full for a while, in front of the kept room or behind it. The broker lives on,
    /// and takes records again when there is room.
    async fn fill_disk(&self, process: &mut Process) {
        let full = self.machine.disk().used() + self.dice.below(3_000);
        self.machine.disk().set_faults(|faults| faults.capacity = Some(full));
        let mut ended = process.ended_within(ms(self.dice.between(50, 3_000))).await;
        self.machine.disk().set_faults(|faults| faults.capacity = None);
        let before = self.findings.stats().acknowledged;
        let until = self.client.runtime.clock().now().after(ms(10_000));
        while ended.is_none() && self.findings.stats().acknowledged == before {
            if self.client.runtime.clock().now() > until {
                return self.findings.violated("no records are taken though there is room");
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

    /// One directory fails, and the broker lives on; it may start without it, too. Then the
    /// directory is there again, and with it everything that was acknowledged in it.
    async fn fail_dir(&self, process: &mut Process) {
        let dir = PathBuf::from(format!("/var/data{}", self.dice.between(2, self.plan.dirs)));
        let eio_after = Some(self.dice.below(30));
        let fails = FaultsBelow { eio_after, ..FaultsBelow::default() };
        self.machine.disk().set_faults(|faults| faults.below.extend([(dir.clone(), fails)]));
        let ended = process.ended_within(ms(self.dice.between(50, 2_000))).await;
        self.went_on(ended.as_ref());
        if self.dice.chance(50) && ended.is_none() && !self.findings.any() {
            self.bury(self.plan.power_cuts).await;
            let missed = loss::partitions_in(&self.machine, &dir);
            let missing = FaultsBelow { unreadable: true, ..FaultsBelow::default() };
            self.machine.disk().set_faults(|faults| faults.below.extend([(dir.clone(), missing)]));
            let mut process = Process::start(&self.machine, self.config.clone(), self.findings);
            if !self.is_ready(&mut process).await {
                return;
            }
            for held in process.held().iter().filter(|held| missed.contains(*held)) {
                self.findings.violated(format!("{held:?} is in {}, and served", dir.display()));
            }
            self.audit().await;
            let ended = process.ended_within(ms(self.dice.between(50, 1_000))).await;
            self.went_on(ended.as_ref());
        }
        self.machine.disk().set_faults(|faults| faults.below.clear());
        self.bury(self.plan.power_cuts).await;
    }

    fn went_on(&self, ended: Option<&State>) {
        match ended {
            Some(State::Ended(end)) => {
                self.findings.violated(format!("one of several directories ended it: {end:?}"));
            }
            Some(_) => {}
            None => self.findings.count(|stats| stats.failed_dirs += 1),
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
        if power_cut {
            as_kafka::look(&self.machine, self.findings);
        }
        self.lose_indexes();
        self.client.pause(0, 100).await;
    }

    fn lose_indexes(&self) {
        if self.plan.loses_indexes && self.dice.chance(50) {
            loss::lose_indexes(&self.machine, &self.dice, &self.plan, self.findings);
        }
    }

    async fn audit(&self) {
        let client = &self.client;
        while !client.is_over() && self.machine.broken().is_none() {
            let Some(mut connection) = client.connect().await else { return };
            match audit::look_at_everything(client, &mut connection).await {
                Ok(()) => return,
                Err(error) => self.findings.note(|| format!("the audit begins again: {error}")),
            }
        }
    }

    /// Lets the clients finish, looks at everything, stops, and looks again after another start.
    async fn finish(&self, phase: &watch::Sender<Phase>, tasks: Vec<Task<()>>) {
        let mut process = Process::start(&self.machine, self.config.clone(), self.findings);
        if self.findings.any() || !self.is_ready(&mut process).await {
            return;
        }
        phase.send_replace(Phase::Finish);
        let all = async {
            for mut task in tasks {
                task.join().await;
            }
        };
        if self.client.runtime.clock().timeout(FINISH_WITHIN, all).await.is_none() {
            self.findings.violated("clients do not get done");
        }
        for _ in 0..2 {
            if self.findings.any() {
                return;
            }
            self.audit().await;
            self.stop(&mut process, self.plan.power_cuts).await;
            process = Process::start(&self.machine, self.config.clone(), self.findings);
            if !self.is_ready(&mut process).await {
                return;
            }
        }
        self.audit().await;
        if let Some(to) = self.export
            && !self.findings.any()
        {
            // Not `stop`, which may lose files behind it.
            let ended = process.stop().await;
            if !matches!(ended, Some(State::Ended(Ok(())))) {
                return self.findings.violated(format!("a clean stop ends in {ended:?}"));
            }
            self.machine.after_exit().await;
            self.write_disk(to);
        }
    }

    /// Writes the disk out as real files, for tools that look into files.
    fn write_disk(&self, to: &Path) {
        for (path, content) in self.machine.disk().files() {
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
