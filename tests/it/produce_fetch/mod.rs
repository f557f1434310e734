//! Writing and reading records: Produce, Fetch and ListOffsets as clients use them.

mod fetching;
mod heavy;
mod idempotence;
mod leaders;
mod offsets;
mod order;
mod refusals;
mod sessions;
mod topics;
