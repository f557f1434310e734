//! Scripts that teach the controller's behaviour, the records of Kafka itself, and random runs.

mod alter;
mod errors;
mod harness;
mod kafka;
mod mistakes;
mod model;
mod placement;
mod render;
mod scale;
mod scripts;
