//! What goes into a core and what comes out.

use bytes::Bytes;
use ottla_protocol::control::{ControlRecord, VoterEndpoint};
use ottla_types::{LeaderEpoch, Offset};

use super::log_shape::LogMark;
use super::messages::{
    CallId, ElectionState, Fetched, LeaderAndEpoch, OffsetAndEpoch, Peer, Reply, Request,
    RequestId, Served, SnapshotChunk,
};

/// Something that happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// The deadline has come.
    Tick,
    /// A request arrived. It is answered by an [`Effect::Answer`], perhaps later.
    Request {
        /// Names it in the answer.
        id: RequestId,
        /// The cluster it is meant for, if it says so.
        cluster_id: Option<String>,
        /// What is asked.
        request: Request,
    },
    /// Something came of a request that was sent.
    Response {
        /// The request.
        call: CallId,
        /// What came.
        response: Response,
    },
    /// Append a batch, if this replica leads `epoch`.
    Propose(Proposal),
    /// The log is durable up to the mark of an [`Effect::Flush`].
    Flushed(LogMark),
    /// The driver made or deleted snapshots, or trimmed the log.
    Snapshots(SnapshotRange),
    /// An [`Effect::InstallSnapshot`] is done, and durable.
    SnapshotInstalled {
        /// Name of the snapshot.
        snapshot: OffsetAndEpoch,
        /// Its control records: `kraft.version` and voters, if it has them.
        control: Vec<ControlRecord>,
    },
    /// The snapshot of an [`Effect::InstallSnapshot`] is not sound, or there was no room for it;
    /// nothing was changed.
    SnapshotUnsound(OffsetAndEpoch),
    /// Give up the leadership of this epoch; nothing happens in another one.
    Resign(LeaderEpoch),
    /// Leave in good order: [`Effect::ShutdownComplete`] tells when.
    Shutdown,
}

/// What came of a request that was sent.
#[derive(Clone, PartialEq, Debug)]
pub enum Response {
    /// No reply, and none will come: no connection, or it broke.
    Failed,
    /// The peer does not know the API in a version that can say what was asked.
    Unsupported,
    /// A reply.
    Replied {
        /// The reply.
        reply: Reply<Fetched>,
        /// Where the leader that it names listens; empty in old versions.
        leader_endpoints: Vec<VoterEndpoint>,
    },
}

/// A batch to be appended. The driver keeps the records and encodes them when it is told to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// Names it in what follows.
    pub token: Token,
    /// The epoch it was made for.
    pub epoch: LeaderEpoch,
    /// Number of its records, at least one.
    pub records: u32,
}

/// Names a proposal; the driver's choice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Token(pub u64);

/// Which snapshots there are, and where the log begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotRange {
    /// First offset of the log.
    pub log_start: Offset,
    /// The oldest snapshot.
    pub earliest: OffsetAndEpoch,
    /// The newest snapshot.
    pub latest: OffsetAndEpoch,
}

/// Something to be done. They are performed in the order given; each may rest on those before it.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Write `quorum-state`. Nothing behind it may happen before it is on disk.
    PersistQuorumState(ElectionState),
    /// Remove all records from this offset on.
    TruncateTo(Offset),
    /// Append a batch of one's own. Need not be on disk before what follows.
    Append {
        /// Offset of its first record.
        base_offset: Offset,
        /// Epoch to stamp it with.
        epoch: LeaderEpoch,
        /// What it holds.
        payload: Payload,
    },
    /// Append batches of the leader as they are.
    AppendFetched {
        /// Offset of the first record.
        base_offset: Offset,
        /// Offset behind the last record.
        end_offset: Offset,
        /// The batches.
        bytes: Bytes,
    },
    /// Make the log durable and say so with [`Input::Flushed`]. Of several, the last will do.
    Flush(LogMark),
    /// Send a request; what comes of it is an [`Input::Response`].
    SendRequest {
        /// Whom to.
        to: Peer,
        /// Names it in the response.
        call: CallId,
        /// What is asked.
        request: Request,
    },
    /// Answer a request.
    Answer {
        /// The request.
        id: RequestId,
        /// The answer.
        reply: Reply<Served>,
    },
    /// All below this offset is committed. Only ever grows.
    HighWatermark(Offset),
    /// Epoch or leader changed, or are known from the start. A leader that has resigned still is
    /// the leader of its epoch here: that this replica leads is said by `BecameLeader` only.
    LeaderChanged(LeaderAndEpoch),
    /// This replica leads. Records of earlier epochs end at `start`; the leader has caught up
    /// with them when the high watermark has passed it.
    BecameLeader {
        /// Its epoch.
        epoch: LeaderEpoch,
        /// Offset of the first record of the epoch.
        start: Offset,
    },
    /// This replica leads no longer. Proposals above the high watermark may or may not survive.
    LostLeadership {
        /// The epoch it led.
        epoch: LeaderEpoch,
    },
    /// The proposal has these offsets. It is committed when the high watermark has passed them.
    ProposalAccepted {
        /// The proposal.
        token: Token,
        /// Offset of its first record.
        base_offset: Offset,
        /// Offset of its last record.
        last_offset: Offset,
    },
    /// The proposal was not appended.
    ProposalRejected {
        /// The proposal.
        token: Token,
        /// Why.
        reason: Rejection,
    },
    /// Write a piece of a snapshot to its temporary file; at position 0, begin that file.
    WriteSnapshot(SnapshotChunk),
    /// The snapshot's temporary file is complete: check it, give it its name, and let the log
    /// begin, empty, at its end. Nothing else may happen before; the next input is
    /// [`Input::SnapshotInstalled`] or [`Input::SnapshotUnsound`].
    InstallSnapshot(OffsetAndEpoch),
    /// Nothing holds this replica any longer: another leads, or none is needed.
    ShutdownComplete,
}

/// What a batch of one's own holds.
#[derive(Clone, PartialEq, Debug)]
pub enum Payload {
    /// Control records, in one control batch.
    Control(Vec<ControlRecord>),
    /// The records of a proposal.
    Proposal(Token),
}

/// Why a proposal was not appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// Another replica leads, or none that is known.
    NotLeader(LeaderAndEpoch),
    /// This replica leads, but not the epoch the proposal was made for.
    StaleEpoch(LeaderEpoch),
}
