//! Groups of the consumer protocol (KIP-848): their members follow what they are told, each at its
//! own pace, and do some of what they should not.
//!
//! ```text
//!   Consumer (member.rs) ── heartbeats ──> broker     says what it has, hears what it may have
//!      │ reading.rs: revokes, then acknowledges, then owns; fetches and commits offsets
//!      │ restless.rs: silent, late, gone, twice, or somebody else
//!      └──> Readers (readers.rs): nobody reads what somebody else reads
//!   in groups of both protocols, and now and then the other one:
//!      spoken.rs: a member that speaks the classic one; restless_spoken.rs: what it should not do
//!   Keeper (keeper.rs): topics come, grow and go; configs of groups; what operators are told
//! ```
//! Deliberately absent: a copy of a heartbeat that comes after its sender has sent another one in
//! the same epoch, or one that joins as a member of today. Such a copy says what is not true any
//! more, and nothing in the protocol tells it from one that does.

mod forged;
mod keeper;
mod member;
mod readers;
mod reading;
mod requests;
mod rest;
mod restless;
mod restless_spoken;
mod spoken;
mod spoken_requests;

pub use forged::told_of;
pub use keeper::Keeper;
pub use member::Consumer;
pub use readers::Readers;
pub use rest::{id_of, look_at, look_at_mixed};
