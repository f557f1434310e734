//! Requests and replies of the quorum, without what only the wire needs.
//!
//! The same [`Request`] goes out in an effect and comes in as an input. Cluster id, topic and the
//! versions of the APIs are the driver's: older versions lack fields, which it fills in as said at
//! each one.

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::control::{ControlRecord, VoterEndpoint};
use ottla_types::{ErrorCode, LeaderEpoch, NodeId, Offset, ReplicaKey};

/// Epochs above this are refused, wherever they come from: an epoch counts elections, of which no
/// quorum has had so many, and the last one could have no successor.
pub(crate) const EPOCH_MAX: LeaderEpoch = LeaderEpoch(i32::MAX - (1 << 20));

/// Names a request that came in; the driver's choice. Each is answered once; the answer of one
/// whose connection is gone is dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestId(pub u64);

/// Names a request that went out; the core's choice, never used twice by one core. A response
/// reaches the core whose request it answers, not one that was started later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CallId(pub u64);

/// Whom a request goes to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Peer {
    /// A replica by its id; [`super::Core::endpoints`] tells where it listens.
    Node(NodeId),
    /// The n-th of `controller.quorum.bootstrap.servers`, whoever answers there.
    Bootstrap(usize),
}

/// An end offset, and the epoch of the record before it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct OffsetAndEpoch {
    /// Exclusive end.
    pub offset: Offset,
    /// Epoch of the last record below it; 0 where there is none.
    pub epoch: LeaderEpoch,
}

impl Ord for OffsetAndEpoch {
    /// The epoch counts first: of two logs, the one that heard of a later leader is the better.
    fn cmp(&self, other: &OffsetAndEpoch) -> Ordering {
        (self.epoch, self.offset).cmp(&(other.epoch, other.offset))
    }
}

impl PartialOrd for OffsetAndEpoch {
    fn partial_cmp(&self, other: &OffsetAndEpoch) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for OffsetAndEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.offset, self.epoch)
    }
}

/// An epoch, and its leader as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LeaderAndEpoch {
    /// Leader of the epoch.
    pub leader: Option<NodeId>,
    /// The epoch.
    pub epoch: LeaderEpoch,
}

/// What `quorum-state` keeps: a replica that forgot it could vote twice.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ElectionState {
    /// Highest epoch this replica took part in.
    pub epoch: LeaderEpoch,
    /// Leader of the epoch, once known.
    pub leader: Option<NodeId>,
    /// Whom this replica voted for in the epoch.
    pub voted: Option<ReplicaKey>,
}

impl ElectionState {
    /// The epoch and its leader.
    #[must_use]
    pub fn leader_and_epoch(&self) -> LeaderAndEpoch {
        LeaderAndEpoch { leader: self.leader, epoch: self.epoch }
    }
}

/// A request between replicas.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// A nominee asks for a vote.
    Vote(VoteRequest),
    /// The leader of a new epoch makes itself known.
    BeginQuorumEpoch(BeginQuorumEpoch),
    /// A leader resigns.
    EndQuorumEpoch(EndQuorumEpoch),
    /// A replica asks the leader for records; its offset acknowledges all below it.
    Fetch(FetchRequest),
    /// A replica asks the leader for a piece of a snapshot.
    FetchSnapshot(FetchSnapshot),
}

/// A nominee asks for a vote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoteRequest {
    /// Whom the nominee takes the receiver for; `None` from versions that do not say.
    pub voter: Option<ReplicaKey>,
    /// The nominee.
    pub replica: ReplicaKey,
    /// The epoch it stands in; for a pre-vote, the one it would leave.
    pub epoch: LeaderEpoch,
    /// End of its log.
    pub log_end: OffsetAndEpoch,
    /// KIP-996: asks whether a vote would be given. False in versions below 2.
    pub pre_vote: bool,
}

/// The leader of a new epoch makes itself known.
#[derive(Clone, PartialEq, Debug)]
pub struct BeginQuorumEpoch {
    /// Whom the leader takes the receiver for; `None` from versions that do not say.
    pub voter: Option<ReplicaKey>,
    /// The leader.
    pub leader: NodeId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// Where it listens; empty in version 0.
    pub endpoints: Vec<VoterEndpoint>,
}

/// A leader resigns.
#[derive(Clone, PartialEq, Debug)]
pub struct EndQuorumEpoch {
    /// The leader.
    pub leader: NodeId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// The other voters, the one with the longest log first.
    pub successors: Vec<ReplicaKey>,
    /// Where it listens; empty in version 0.
    pub endpoints: Vec<VoterEndpoint>,
}

/// A replica asks the leader for records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchRequest {
    /// Who asks; `NO_NODE` for one that is no replica. Without directory id before version 17.
    pub replica: ReplicaKey,
    /// The epoch it takes for the leader's.
    pub epoch: LeaderEpoch,
    /// End of its log: what lies below is on its disk. The epoch is that of the last record.
    pub log_end: OffsetAndEpoch,
    /// High watermark it knows: -1 for none; `i64::MAX` for one that does not want to be told of
    /// a move (before version 18).
    pub high_watermark: Offset,
    /// How long the leader may wait for something to answer with.
    pub wait_max: Duration,
}

/// A replica asks the leader for a piece of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchSnapshot {
    /// Who asks.
    pub replica: ReplicaKey,
    /// The epoch it takes for the leader's.
    pub epoch: LeaderEpoch,
    /// Name of the snapshot.
    pub snapshot: OffsetAndEpoch,
    /// First byte that is wanted.
    pub position: u64,
}

/// A reply. `R` is what a Fetch brings: on the leader which records to read ([`Served`]), on the
/// follower the records themselves ([`Fetched`]).
#[derive(Clone, PartialEq, Debug)]
pub struct Reply<R> {
    /// What went wrong. `InconsistentClusterId` stands at the top of the wire's reply, every
    /// other error with the partition.
    pub error: ErrorCode,
    /// Epoch and leader as the one who replies knows them.
    pub current: LeaderAndEpoch,
    /// The rest; without meaning beside an error.
    pub body: ReplyBody<R>,
}

/// What a reply says beyond leader and epoch.
#[derive(Clone, PartialEq, Debug)]
pub enum ReplyBody<R> {
    /// Whether the vote was given.
    Vote {
        /// Given.
        granted: bool,
    },
    /// The leader was noticed.
    BeginQuorumEpoch,
    /// The resignation was noticed.
    EndQuorumEpoch,
    /// What a Fetch brings.
    Fetch(FetchReply<R>),
    /// A piece of a snapshot.
    FetchSnapshot(SnapshotChunk),
}

/// What a Fetch brings.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FetchReply<R> {
    /// What is committed, once the leader knows it in its own epoch.
    pub high_watermark: Option<Offset>,
    /// First offset that the leader still has.
    pub log_start: Offset,
    /// Records, or what the follower must do first.
    pub outcome: FetchOutcome<R>,
}

/// A piece of a snapshot. On the leader, `size` and `bytes` are the driver's to fill in, and it
/// answers `SnapshotNotFound` or `PositionOutOfRange` instead where it must.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SnapshotChunk {
    /// Name of the snapshot.
    pub snapshot: OffsetAndEpoch,
    /// Place of the first byte.
    pub position: u64,
    /// Size of the whole snapshot.
    pub size: u64,
    /// The bytes, cut anywhere.
    pub bytes: Bytes,
}

/// Records, or what the follower must do first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FetchOutcome<R> {
    /// Records from the offset that was asked for, perhaps none.
    Records(R),
    /// The logs part: the leader's last epoch not above the asked one ends here.
    Diverging(OffsetAndEpoch),
    /// The log does not reach back so far: fetch this snapshot instead.
    Snapshot(OffsetAndEpoch),
}

impl<R: Default> Default for FetchOutcome<R> {
    fn default() -> FetchOutcome<R> {
        FetchOutcome::Records(R::default())
    }
}

/// Which records a leader gives: the driver reads whole batches, as many as fit the request.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Served {
    /// First offset.
    pub from: Offset,
    /// End of the log when the reply was made; equal to `from` when there is nothing.
    pub to: Offset,
}

/// Records as they arrived: whole batches, their checksums good.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Fetched {
    /// What the core must know of each batch, in order.
    pub batches: Vec<FetchedBatch>,
    /// The batches.
    pub bytes: Bytes,
}

/// What the core must know of a batch.
#[derive(Clone, PartialEq, Debug)]
pub struct FetchedBatch {
    /// Its first offset.
    pub base_offset: Offset,
    /// The offset behind its last record.
    pub end_offset: Offset,
    /// Epoch of the leader that appended it.
    pub epoch: LeaderEpoch,
    /// Its control records with their offsets; empty for a batch of data.
    pub control: Vec<(Offset, ControlRecord)>,
}

impl Request {
    /// The epoch it speaks of.
    pub(super) fn epoch(&self) -> LeaderEpoch {
        match self {
            Request::Vote(vote) => vote.epoch,
            Request::BeginQuorumEpoch(begin) => begin.epoch,
            Request::EndQuorumEpoch(end) => end.epoch,
            Request::Fetch(fetch) => fetch.epoch,
            Request::FetchSnapshot(fetch) => fetch.epoch,
        }
    }
}

/// What a refused request is answered with.
pub(super) fn empty_body(request: &Request) -> ReplyBody<Served> {
    match request {
        Request::Vote(_) => ReplyBody::Vote { granted: false },
        Request::BeginQuorumEpoch(_) => ReplyBody::BeginQuorumEpoch,
        Request::EndQuorumEpoch(_) => ReplyBody::EndQuorumEpoch,
        Request::Fetch(_) => ReplyBody::Fetch(FetchReply::default()),
        Request::FetchSnapshot(_) => ReplyBody::FetchSnapshot(SnapshotChunk::default()),
    }
}
