//! Groups of the consumer protocol (KIP-848): the coordinator says who reads what, and members
//! follow at their own pace; nobody waits for anybody who has nothing to give.
//!
//! ```text
//!   heartbeat ──> member changed? ──> group epoch + 1 ──> target (assignor) ──> reconcile
//!                 metadata changed? ┘                      at most once a second   │
//!   answer <── epoch of the member, and its partitions when they changed <─────────┘
//! ```
//! Three epochs: the **group's** rises when another assignment is due; the **target's** is the
//! group epoch that it was made for; a **member's** follows when it has given back what it is not
//! to have any more ([`reconcile`]). A heartbeat that carries another epoch than the member's is
//! refused: its sender may read what is somebody else's now.
//!
//! All of it is in the log, record by record, in Kafka's form, and replaying records is the only
//! thing that changes it ([`state`]). So an answer waits for the records before it.
//!
//! Members may subscribe by patterns, which are looked up beside the shard ([`regexes`]).
//!
//! Members may speak the classic protocol ([`speaking_classic`]), and groups change from one to the
//! other while they have members ([`migration`]).
//!
//! Source: `GroupMetadataManager`, `ConsumerGroup`, `ConsumerGroupMember`,
//! `TargetAssignmentBuilder` of Kafka.

mod advance;
pub mod assignor;
mod cluster;
mod describe;
mod embedded;
mod hash;
mod heartbeat;
mod index;
mod leave;
mod member;
mod messages;
mod migration;
mod offsets;
pub mod pattern;
mod reconcile;
mod records;
mod regexes;
mod speaking_classic;
mod state;
mod target;

pub use cluster::{ChangedTopics, Cluster, NoCluster, SharedCluster, TopicView};
pub use member::{Assignment, ConsumerMember, MemberState, Owned, without_epochs};
pub use messages::{
    ConsumerBeat, ConsumerHeartbeat, DescribedConsumer, DescribedConsumerGroup, Refusal,
};
pub(super) use offsets::Committer;
pub use regexes::{Found, Resolve};
pub(super) use state::{ConsumerGroups, Meaning};
