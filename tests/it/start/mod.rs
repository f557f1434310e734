//! Starting and stopping the process.

mod refusals;
mod restarts;
mod serving;
