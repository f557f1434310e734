//! Messages between the replicas of a test.

use bytes::Bytes;
use ottla_types::NodeId;

use super::super::{
    CallId, FetchOutcome, FetchReply, Fetched, FetchedBatch, Reply, ReplyBody, Request, Response,
    Served, SnapshotChunk,
};
use super::disk::{Batch, Log};

/// Bytes of a snapshot in the tests, and how many go into a reply.
const SNAPSHOT_SIZE: u64 = 5;
const CHUNK: u64 = 3;

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Message {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    /// Life of the replica that made the call; a response for an earlier one finds nobody.
    pub(super) life: u32,
    pub(super) call: CallId,
    pub(super) body: Body,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Body {
    Request(Request),
    Response(Response),
}

/// What a driver makes of an answer: it reads the records, or the piece of the snapshot.
pub(super) fn on_the_wire(reply: Reply<Served>, log: &Log, batches: usize) -> Response {
    let Reply { error, current, body } = reply;
    let body = match body {
        ReplyBody::Vote { granted } => ReplyBody::Vote { granted },
        ReplyBody::BeginQuorumEpoch => ReplyBody::BeginQuorumEpoch,
        ReplyBody::EndQuorumEpoch => ReplyBody::EndQuorumEpoch,
        ReplyBody::Fetch(fetch) => ReplyBody::Fetch(read(&fetch, log, batches)),
        ReplyBody::FetchSnapshot(chunk) => ReplyBody::FetchSnapshot(fill(&chunk)),
    };
    Response::Replied { reply: Reply { error, current, body }, leader_endpoints: Vec::new() }
}

fn read(fetch: &FetchReply<Served>, log: &Log, batches: usize) -> FetchReply<Fetched> {
    let outcome = match fetch.outcome {
        FetchOutcome::Records(served) => {
            let found = log.from(served.from).filter(|batch| batch.end <= served.to);
            FetchOutcome::Records(encode(found.take(batches)))
        }
        FetchOutcome::Diverging(end) => FetchOutcome::Diverging(end),
        FetchOutcome::Snapshot(id) => FetchOutcome::Snapshot(id),
    };
    FetchReply { high_watermark: fetch.high_watermark, log_start: fetch.log_start, outcome }
}

/// Batches on the wire: their numbers stand for their bytes.
fn encode<'a>(batches: impl Iterator<Item = &'a Batch>) -> Fetched {
    let mut fetched = Fetched::default();
    let mut bytes = Vec::new();
    for batch in batches {
        bytes.extend(batch.number.to_be_bytes());
        fetched.batches.push(FetchedBatch {
            base_offset: batch.base,
            end_offset: batch.end,
            epoch: batch.epoch,
            control: batch.control.clone(),
        });
    }
    fetched.bytes = Bytes::from(bytes);
    fetched
}

/// The numbers of the batches that stand in these bytes.
pub(super) fn decode(bytes: &Bytes) -> impl Iterator<Item = u64> + use<> {
    let bytes = bytes.clone();
    (0..bytes.len()).step_by(8).map(move |at| {
        u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes a number"))
    })
}

fn fill(chunk: &SnapshotChunk) -> SnapshotChunk {
    let len = CHUNK.min(SNAPSHOT_SIZE.saturating_sub(chunk.position));
    let bytes = Bytes::from(vec![0; usize::try_from(len).expect("small")]);
    SnapshotChunk { size: SNAPSHOT_SIZE, bytes, ..*chunk }
}
