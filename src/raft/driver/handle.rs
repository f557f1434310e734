//! How others reach the driver.

use std::fmt;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use ottla_protocol::control::VoterEndpoint;
use ottla_storage::LogError;
use ottla_types::{LeaderEpoch, NodeId, Offset, Timestamp};
use tokio::sync::{mpsc, oneshot};

use super::snapshotting::Written;
use crate::core::{
    CallId, LeaderAndEpoch, LogMark, OffsetAndEpoch, Peer, ReplicaProgress, Reply, Request,
    Response, Served,
};

/// Requests from other replicas that wait for the driver.
pub(super) const REQUESTS_MAX: usize = 256;

/// What reaches the driver.
pub(super) enum Command {
    /// A request of another replica.
    Request {
        cluster_id: Option<String>,
        request: Request,
        bytes_max: u64,
        reply: oneshot::Sender<Answered>,
    },
    /// A batch to be appended, if this replica leads the epoch.
    Propose { epoch: LeaderEpoch, values: Vec<Vec<u8>> },
    /// What came of a request that was sent.
    Response { call: CallId, response: Response },
    /// A flush is done.
    Flushed { mark: LogMark, end: Offset },
    /// Write a snapshot, unless there is one already, or one is under way.
    Snapshot(SnapshotRequest),
    /// What came of writing one.
    SnapshotWritten(Result<Written, LogError>),
    /// Tell what the quorum looks like, if this replica leads it.
    Describe { reply: oneshot::Sender<Option<QuorumDescription>> },
    /// Leave in good order.
    Shutdown { done: oneshot::Sender<()> },
}

/// Gives a snapshot its records, in order. Called on a thread that may stall.
pub type SnapshotRecords = Box<dyn FnOnce(&mut dyn FnMut(&[u8])) + Send>;

/// A snapshot to be written.
pub struct SnapshotRequest {
    /// Its name: all below the offset is committed, and a batch of the epoch ends there.
    pub id: OffsetAndEpoch,
    /// Time of the last record that it stands for.
    pub timestamp: Timestamp,
    /// Its records.
    pub records: SnapshotRecords,
}

/// The driver has ended; the process ends with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuorumClosed;

impl fmt::Display for QuorumClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the metadata quorum has stopped on this node")
    }
}

impl std::error::Error for QuorumClosed {}

/// The answer to a request of another replica.
pub struct Answered {
    /// The answer.
    pub reply: Reply<Served>,
    /// The records that the answer gives.
    pub records: Bytes,
    /// Where the leader that the answer names listens.
    pub leader_endpoints: Vec<VoterEndpoint>,
}

/// The quorum, as its leader sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct QuorumDescription {
    /// The leader: this replica.
    pub leader: NodeId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// End of what is committed, once the leader knows it.
    pub high_watermark: Option<Offset>,
    /// How far each voter is.
    pub voters: Vec<ReplicaProgress>,
    /// How far each observer is that fetched of late.
    pub observers: Vec<ReplicaProgress>,
    /// Where the voters listen.
    pub endpoints: Vec<(NodeId, Vec<VoterEndpoint>)>,
}

/// What the quorum looks like from here.
#[derive(Clone, Copy, Default)]
pub(super) struct Status {
    pub(super) current: LeaderAndEpoch,
    pub(super) kraft_version: i16,
}

/// A handle on the driver. Copies reach the same one.
#[derive(Clone)]
pub struct QuorumHandle {
    pub(super) requests: mpsc::Sender<Command>,
    pub(super) own: mpsc::UnboundedSender<Command>,
    pub(super) status: Arc<RwLock<Status>>,
}

impl QuorumHandle {
    /// Asks the core on behalf of another replica. A Fetch reads at most `bytes_max` bytes, and
    /// at least one batch. Cancel safe: the answer is dropped then.
    ///
    /// # Errors
    /// When the driver has ended.
    pub async fn request(
        &self,
        cluster_id: Option<String>,
        request: Request,
        bytes_max: u64,
    ) -> Result<Answered, QuorumClosed> {
        let (reply, answered) = oneshot::channel();
        let command = Command::Request { cluster_id, request, bytes_max, reply };
        self.requests.send(command).await.map_err(|_| QuorumClosed)?;
        answered.await.map_err(|_| QuorumClosed)
    }

    /// What the quorum looks like; `None` when this replica does not lead it. Cancel safe.
    ///
    /// # Errors
    /// When the driver has ended.
    pub async fn describe(&self) -> Result<Option<QuorumDescription>, QuorumClosed> {
        let (reply, described) = oneshot::channel();
        let command = Command::Describe { reply };
        self.requests.send(command).await.map_err(|_| QuorumClosed)?;
        described.await.map_err(|_| QuorumClosed)
    }

    /// Appends records in one batch, if this replica still leads `epoch`; else
    /// [`super::QuorumEvent::LostLeadership`] has been or will be told. The proposer alone appends
    /// records, so it knows their offsets.
    pub fn propose(&self, epoch: LeaderEpoch, values: Vec<Vec<u8>>) {
        // When the driver has ended, the process is about to.
        let _ = self.own.send(Command::Propose { epoch, values });
    }

    /// Writes a snapshot beside. [`super::QuorumEvent::SnapshotDone`] tells when that is over,
    /// whatever came of it.
    pub fn snapshot(&self, request: SnapshotRequest) {
        // When the driver has ended, the process is about to.
        let _ = self.own.send(Command::Snapshot(request));
    }

    /// Leaves the quorum in good order and closes the log. Waits until that is done.
    pub async fn shut_down(&self) {
        let (done, is_done) = oneshot::channel();
        if self.own.send(Command::Shutdown { done }).is_ok() {
            // An error means that the driver ended in another way.
            let _ = is_done.await;
        }
    }

    /// The leader, if one is known.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.status().current.leader
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.status().current.epoch
    }

    /// The finalized `kraft.version`.
    #[must_use]
    pub fn kraft_version(&self) -> i16 {
        self.status().kraft_version
    }

    fn status(&self) -> Status {
        *self.status.read().expect("never poisoned")
    }
}

/// The port to other replicas.
pub trait Transport: Send {
    /// Sends a request and tells through `replies` what comes of it, whatever that is.
    fn send(&mut self, to: Peer, endpoints: &[VoterEndpoint], request: Request, replies: Replies);
}

/// Where what comes of a request goes.
pub struct Replies {
    pub(super) call: CallId,
    pub(super) own: mpsc::UnboundedSender<Command>,
}

impl Replies {
    /// Tells what came.
    pub fn tell(self, response: Response) {
        // When the driver has ended, nobody waits for it.
        let _ = self.own.send(Command::Response { call: self.call, response });
    }
}
