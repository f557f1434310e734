//! The model test: hundreds of worlds, each from a seed.
//!
//! `RAFT_SEEDS=20000 cargo test -p ottla-raft --profile ci model` runs more of them;
//! `RAFT_SEED=7` runs that one and prints the end of what happened.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::chaos::Chaos;

/// Seeds of an ordinary run: as many as the rarest planted bug takes (`mutants`).
const SEEDS: u64 = 600;

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs a world; prints the end of its story when it breaks a rule.
fn run(seed: u64) -> Chaos {
    let mut chaos = Chaos::new(seed, None, None);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| chaos.run())) {
        let mut again = Chaos::new(seed, None, None);
        again.cluster.tracing = true;
        let _same = catch_unwind(AssertUnwindSafe(|| again.run()));
        let tail = again.cluster.trace.len().saturating_sub(80);
        eprintln!("{}", again.cluster.trace[tail..].join("\n"));
        eprintln!("seed {seed}, {:?}", again.world);
        resume_unwind(panic);
    }
    chaos
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    let story = |seed| {
        let mut chaos = Chaos::new(seed, None, None);
        chaos.cluster.tracing = true;
        chaos.run();
        chaos.cluster.trace
    };
    for seed in 0..3 {
        assert_eq!(story(seed), story(seed), "seed {seed}");
    }
}

#[test]
fn no_world_breaks_a_rule() {
    let first = env("RAFT_SEED");
    let count = if first.is_some() { 1 } else { env("RAFT_SEEDS").unwrap_or(SEEDS) };
    let first = first.unwrap_or(0);
    let mut steps = 0;
    let mut committed = 0;
    let mut counts = BTreeMap::new();
    for seed in first..first + count {
        let chaos = run(seed);
        steps += chaos.steps;
        committed += chaos.cluster.ledger.committed();
        for (what, count) in &chaos.cluster.counts {
            *counts.entry(*what).or_insert(0) += count;
        }
    }
    println!("{count} seeds: {steps} steps, {committed} batches committed, {counts:?}");
    // A run in which nothing of this happens shows nothing.
    for what in ["crash", "leader", "truncate", "install", "resign", "restore a leader"] {
        let seen = counts.get(what).copied().unwrap_or(0);
        assert!(
            count < SEEDS || seen >= count / 10,
            "{what} happens: {seen} times in {count} seeds"
        );
    }
}
