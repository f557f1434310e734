//! Bugs are planted, one at a time, to see that the model test finds them.
//!
//! The core's own `check` is switched off meanwhile: what finds a bug is what it does to the
//! cluster, or an assertion that stands in the core for good.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::mutant::Mutant;
use super::chaos::Chaos;
use super::cluster::DriverBug;

/// Seeds within which a bug must be found. The rarest two (`CommitsOldEpochs`,
/// `VoteClaimsUnflushed`) show in one of about 330 worlds, most in every third.
const SEEDS_MAX: u64 = 5_000;

/// The first seed whose world shows the bug, and what it broke.
fn hunt(mutant: Option<Mutant>, driver_bug: Option<DriverBug>) -> (u64, String) {
    for seed in 0..SEEDS_MAX {
        let mut chaos = Chaos::new(seed, mutant, driver_bug);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| chaos.run())) {
            let text = panic.downcast_ref::<String>().cloned();
            let what = text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            return (seed, what.expect("a panic says why"));
        }
    }
    panic!("{mutant:?} {driver_bug:?} is not found in {SEEDS_MAX} seeds");
}

#[test]
fn bugs_of_the_core_are_found() {
    for mutant in Mutant::ALL {
        let (seed, what) = hunt(Some(mutant), None);
        println!("{mutant:?}: {} seeds: {}", seed + 1, what.lines().next().unwrap_or_default());
    }
}

#[test]
fn bugs_of_the_driver_are_found() {
    for bug in [DriverBug::ForgetsVote, DriverBug::ReportsFlushEarly] {
        let (seed, what) = hunt(None, Some(bug));
        println!("{bug:?}: {} seeds: {}", seed + 1, what.lines().next().unwrap_or_default());
    }
}
