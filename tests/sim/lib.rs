//! Simulated worlds around the product, and what must be true in them.
//!
//! ```text
//!   run_seed ── one paused, single-threaded tokio runtime ── SimWorld
//!                 ├── node:   a broker, its clients, and what befalls them
//!                 ├── quorum: three voters of the metadata log, and what befalls them
//!                 ├── groups: a broker, the members of its groups, and what befalls them
//!                 ├── mixed:  the same, of groups whose members speak both protocols
//!                 └── transactions: a broker, transactional producers and copy jobs, likewise
//! ```
//! A workload only sees what a client or an operator sees, and notes what it was promised in a
//! model; whatever contradicts the model is a violation. The product runs unchanged: its own
//! rooms on the simulated twins of `runtime`. See `docs/simulation.md`.

mod broker;
mod client;
mod dice;
mod findings;
mod groups;
mod life;
mod mutant;
mod node;
mod process;
mod quorum;
mod run;
mod transactions;

pub use findings::Stats;
pub use mutant::Mutant;
pub use run::{Outcome, Settings, Workload, run_seed};
