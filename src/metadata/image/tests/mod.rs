//! Properties of images over random logs of all record types, and replays of Kafka's own files.

mod kafka;
mod properties;
mod queries;
mod random;
mod refusals;
mod scale;
