//! Starting and stopping the process.

mod protections;
mod refusals;
mod restarts;
mod serving;
