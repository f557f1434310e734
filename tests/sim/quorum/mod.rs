//! Three voters of the metadata log, or a single one: kills, power cuts, and a network that loses
//! and delays.
//!
//! Each voter is the product's driver on its own disk. What they tell goes into one ledger: one
//! leader in an epoch, one committed log, and every new leader has all of it.

mod ledger;
mod network;
mod voter;

use std::time::Duration;

use ottla_config::NodeConfig;
use ottla_raft::core::Timeouts;
use ottla_runtime::Runtime;
use ottla_runtime::sim::SimWorld;
use ottla_types::NodeId;

use crate::dice::Dice;
use crate::findings::Findings;
use crate::mutant::Mutant;
use voter::{Quorum, Voter};

/// Virtual time in which a healed quorum must agree.
const HEALS_WITHIN: Duration = Duration::from_secs(60);
/// Records that a healed quorum must still be able to commit.
const MORE_RECORDS: i64 = 20;

/// Lives a world through.
pub async fn run(world: &SimWorld, findings: &Findings, mutant: Option<Mutant>) {
    let dice = Dice::of(world);
    let ms = Duration::from_millis;
    let mut log = NodeConfig::new(None, &[]).expect("the embedded default").topic_defaults;
    log.segment_bytes = dice.pick(&[2_000, 10_000, 1 << 20]);
    log.index_interval_bytes = 100;
    let election = ms(dice.pick(&[30, 100, 300]));
    let timeouts = Timeouts {
        election,
        fetch: election * 2,
        election_backoff_max: election,
        request: election * 2,
        retry_backoff: ms(5),
        fetch_wait_max: election / 2,
    };
    let quorum = Quorum::new(dice.clone(), findings.clone(), log, timeouts);
    let voters: Vec<Voter> = (1..=quorum.voters)
        .map(|id| Voter::new(NodeId(id), world.node(&format!("voter {id}")), quorum.clone()))
        .collect();
    for voter in &voters {
        voter.machine.disk().set_faults(|faults| {
            mutant.into_iter().for_each(|mutant| mutant.plant(faults));
        });
        voter.start();
    }
    let harness = Runtime::simulated(&world.node("harness"));
    let power_cuts = dice.chance(75);
    for _ in 0..dice.between(3, 15) {
        if findings.any() {
            return;
        }
        if power_cuts && dice.chance(30) {
            election_trouble(&quorum, &voters, &harness).await;
        } else {
            trouble(&quorum, &voters, &harness, power_cuts).await;
        }
    }
    heal(&quorum, &voters, &harness).await;
}

/// Something befalls the quorum, and some time passes.
async fn trouble(quorum: &Quorum, voters: &[Voter], harness: &Runtime, power_cuts: bool) {
    let dice = &quorum.dice;
    let pairs = [(1, 2), (1, 3), (2, 3)].map(|(a, b)| (NodeId(a), NodeId(b)));
    let cut: Vec<_> = pairs.into_iter().filter(|_| dice.chance(15)).collect();
    quorum.network.set(dice.pick(&[0, 0, 5, 30]), dice.pick(&[1, 5, 20]), &cut);
    let any = || &voters[dice.below(voters.len() as u64) as usize];
    let victims: Vec<&Voter> = match dice.below(10) {
        0 => voters.iter().collect(),
        1..=2 => vec![any(), any()],
        3..=7 => vec![any()],
        _ => Vec::new(),
    };
    for voter in victims {
        let after = dice.below(30);
        let at_syncs = dice.chance(50);
        let power_cut = power_cuts && dice.chance(70);
        if dice.chance(60) {
            voter.machine.disk().set_faults(|faults| {
                faults.at_syncs = at_syncs;
                match power_cut {
                    true => faults.power_cut_after = Some(after),
                    false => faults.kill_after = Some(after),
                }
            });
            let wait = Duration::from_millis(dice.between(0, 300));
            let _ = harness.clock().timeout(wait, voter.machine.died()).await;
        }
        if let Some(task) = voter.machine.broken() {
            quorum.findings.violated(format!("the vital task {task} panicked"));
        }
        quorum.findings.count(|stats| match power_cut {
            true => stats.power_cuts += 1,
            false => stats.kills += 1,
        });
        voter.machine.crash(power_cut).await;
        if dice.chance(30) {
            harness.clock().sleep(Duration::from_millis(dice.below(300))).await;
        }
        voter.start();
    }
    harness.clock().sleep(Duration::from_millis(dice.between(0, 800))).await;
}

/// All voters begin anew, and while they vote, some lose power and come back at once: what they
/// have promised in this epoch is not to be forgotten.
async fn election_trouble(quorum: &Quorum, voters: &[Voter], harness: &Runtime) {
    let dice = &quorum.dice;
    let pairs = [(1, 2), (1, 3), (2, 3)].map(|(a, b)| (NodeId(a), NodeId(b)));
    let cut: Vec<_> = pairs.into_iter().filter(|_| dice.chance(25)).collect();
    quorum.network.set(dice.pick(&[0, 20, 50]), dice.pick(&[5, 20]), &cut);
    for voter in voters {
        voter.machine.crash(false).await;
        quorum.findings.count(|stats| stats.kills += 1);
        voter.start();
    }
    for voter in voters.iter().filter(|_| dice.chance(60)) {
        let after = Some(dice.below(8));
        voter.machine.disk().set_faults(|faults| faults.power_cut_after = after);
    }
    let until = harness.clock().now().after(Duration::from_millis(dice.between(50, 600)));
    while harness.clock().now() < until {
        for voter in voters {
            let died = harness.clock().timeout(Duration::from_millis(1), voter.machine.died());
            if died.await.is_some() {
                quorum.findings.count(|stats| stats.power_cuts += 1);
                voter.machine.crash(true).await;
                voter.start();
            }
        }
    }
    for voter in voters {
        voter.machine.disk().set_faults(|faults| faults.power_cut_after = None);
    }
}

/// Without trouble the voters must agree, and commit more.
async fn heal(quorum: &Quorum, voters: &[Voter], harness: &Runtime) {
    quorum.network.set(0, 2, &[]);
    for voter in voters {
        voter.machine.disk().set_faults(|faults| {
            faults.power_cut_after = None;
            faults.kill_after = None;
        });
        if let Some(task) = voter.machine.broken() {
            quorum.findings.violated(format!("the vital task {task} panicked"));
        }
    }
    let goal = quorum.ledger().end().plus(MORE_RECORDS);
    let all_there = async {
        while voters.iter().any(|voter| voter.told() < goal) && !quorum.findings.any() {
            harness.clock().sleep(Duration::from_millis(20)).await;
        }
    };
    if harness.clock().timeout(HEALS_WITHIN, all_there).await.is_none() {
        let told: Vec<i64> = voters.iter().map(|voter| voter.told().0).collect();
        quorum.findings.violated(format!("healed voters tell {told:?} of {goal}"));
    }
}
