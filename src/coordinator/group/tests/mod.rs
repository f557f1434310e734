//! Scripts that teach the protocol, and random runs.

mod harness;
mod random;
mod render;
mod scripts;
