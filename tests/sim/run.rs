//! One seed: its world is built, lived through, and looked at.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use ottla_runtime::sim::SimWorld;

use crate::findings::{Findings, Stats};
use crate::mutant::Mutant;

/// Virtual time after which a world that still runs is stuck.
const LIFETIME_MAX: Duration = Duration::from_mins(30);

/// What is simulated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Workload {
    /// A broker and its clients.
    Node,
    /// Three voters of the metadata log.
    Quorum,
    /// A broker and the members of its groups.
    Groups,
    /// The same, of groups whose members speak both protocols.
    Mixed,
    /// A broker and the transactions of its clients.
    Transactions,
}

impl Workload {
    /// All of them.
    pub const ALL: &'static [Workload] = &[
        Workload::Node,
        Workload::Quorum,
        Workload::Groups,
        Workload::Mixed,
        Workload::Transactions,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Workload::Node => "node",
            Workload::Quorum => "quorum",
            Workload::Groups => "groups",
            Workload::Mixed => "mixed",
            Workload::Transactions => "transactions",
        }
    }
}

/// How a seed is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is simulated.
    pub workload: Workload,
    /// What is wrong with the disks, or the logs.
    pub mutant: Option<Mutant>,
    /// Whether every event is printed.
    pub print: bool,
    /// Where the broker's disk is written to, as real files, after a clean stop at the end.
    pub export: Option<PathBuf>,
}

/// What came of a seed.
#[derive(Clone, Default, Debug)]
pub struct Outcome {
    /// Hash and number of the events: the same for the same seed and settings.
    pub fingerprint: (u64, u64),
    /// What must never be, and was. The first one is the one to look at.
    pub violations: Vec<String>,
    /// The last events.
    pub tail: Vec<String>,
    /// What the world went through.
    pub stats: Stats,
}

/// Runs a seed on the calling thread.
#[must_use]
pub fn run_seed(seed: u64, settings: &Settings) -> Outcome {
    watch_panics();
    PANICS.take();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads needs nothing");
    let live = AssertUnwindSafe(|| runtime.block_on(live(seed, settings)));
    let mut outcome = std::panic::catch_unwind(live).unwrap_or_default();
    drop(runtime);
    outcome.violations.extend(PANICS.take().into_iter().map(|panic| format!("panic: {panic}")));
    outcome
}

#[expect(clippy::disallowed_methods, reason = "virtual time of the harness")]
async fn live(seed: u64, settings: &Settings) -> Outcome {
    let world = SimWorld::new(seed);
    if settings.print {
        world.trace().print();
    }
    let findings = Findings::of(&world);
    let life = async {
        match settings.workload {
            Workload::Node => crate::node::run(&world, &findings, settings).await,
            Workload::Quorum => crate::quorum::run(&world, &findings, settings.mutant).await,
            Workload::Groups => crate::groups::run(&world, &findings, settings, false).await,
            Workload::Mixed => crate::groups::run(&world, &findings, settings, true).await,
            Workload::Transactions => crate::transactions::run(&world, &findings, settings).await,
        }
    };
    tokio::select! {
        biased;
        () = life => {}
        () = tokio::time::sleep(LIFETIME_MAX) => findings.violated("the world is stuck"),
    }
    let (violations, stats) = findings.take();
    let trace = world.trace();
    Outcome { fingerprint: trace.fingerprint(), violations, tail: trace.tail(), stats }
}

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Collects the panics of this thread's worlds: in a task nobody else would see them.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
            let text = info.to_string();
            PANICS.with_borrow_mut(|panics| panics.push(text));
        }));
    });
}
