//! Effects, messages and states in a line each, as scripts show them.

use std::fmt::Write;

use ottla_protocol::control::ControlRecord;
use ottla_types::{LeaderEpoch, NodeId, Offset, ReplicaKey, Uuid};

use super::super::{
    Core, Effect, ElectionState, FetchOutcome, LeaderAndEpoch, Payload, Peer, Rejection, Reply,
    ReplyBody, Request, Response, Served,
};
use super::node::{Node, key};
use super::wire::{Body, Message};

pub(super) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::PersistQuorumState(election) => format!("persists {}", self::election(election)),
        Effect::TruncateTo(offset) => format!("truncates to {offset}"),
        Effect::Append { base_offset, epoch, payload } => {
            format!("appends at {base_offset} epoch={epoch} {}", self::payload(payload))
        }
        Effect::AppendFetched { base_offset, end_offset, .. } => {
            format!("appends fetched {base_offset}..{end_offset}")
        }
        Effect::Flush(mark) => format!("flushes to {}", mark.end_offset),
        Effect::SendRequest { to, request, .. } => {
            format!("→ {} {}", peer(*to), self::request(request))
        }
        Effect::Answer { reply, .. } => format!("answers {}", served(reply)),
        Effect::HighWatermark(offset) => format!("commits to {offset}"),
        Effect::LeaderChanged(current) => format!("sees {}", leader_and_epoch(current)),
        Effect::BecameLeader { epoch, start } => format!("leads epoch={epoch} from {start}"),
        Effect::LostLeadership { epoch } => format!("leads no more, epoch={epoch}"),
        Effect::ProposalAccepted { token, base_offset, last_offset } => {
            format!("accepts proposal {} at {base_offset}..={last_offset}", token.0)
        }
        Effect::ProposalRejected { token, reason } => {
            format!("rejects proposal {}: {}", token.0, rejection(reason))
        }
        Effect::WriteSnapshot(chunk) => {
            let end = chunk.position + chunk.bytes.len() as u64;
            format!("writes snapshot {:?} bytes {}..{end}", chunk.snapshot, chunk.position)
        }
        Effect::InstallSnapshot(id) => format!("installs snapshot {id:?}"),
        Effect::ShutdownComplete => "may go".to_owned(),
    }
}

fn peer(peer: Peer) -> String {
    match peer {
        Peer::Node(id) => format!("n{id}"),
        Peer::Bootstrap(index) => format!("bootstrap {index}"),
    }
}

fn leader(leader: Option<NodeId>) -> String {
    leader.map_or("-".to_owned(), |id| format!("n{id}"))
}

fn leader_and_epoch(current: &LeaderAndEpoch) -> String {
    format!("epoch={} leader={}", current.epoch, leader(current.leader))
}

/// A replica by its id; the directory is told only when it is not the usual one.
fn replica(replica: ReplicaKey) -> String {
    let usual = [Uuid::ZERO, key(replica.id).directory_id].contains(&replica.directory_id);
    format!("n{}{}", replica.id, if usual { "" } else { "(other directory)" })
}

pub(super) fn election(election: &ElectionState) -> String {
    let voted = election.voted.map_or("-".to_owned(), replica);
    format!("epoch={} leader={} voted={voted}", election.epoch, leader(election.leader))
}

fn payload(payload: &Payload) -> String {
    match payload {
        Payload::Proposal(token) => format!("proposal {}", token.0),
        Payload::Control(records) => records.iter().map(control).collect::<Vec<_>>().join(" + "),
    }
}

fn control(record: &ControlRecord) -> String {
    let ids = |ids: &mut dyn Iterator<Item = NodeId>| {
        ids.map(|id| format!("n{id}")).collect::<Vec<_>>().join(",")
    };
    match record {
        ControlRecord::LeaderChange(change) => format!(
            "LeaderChange(n{} of {} by {})",
            change.leader_id,
            ids(&mut change.voters.iter().map(|voter| voter.voter_id)),
            ids(&mut change.granting_voters.iter().map(|voter| voter.voter_id)),
        ),
        ControlRecord::KRaftVersion(version) => format!("KRaftVersion({})", version.k_raft_version),
        ControlRecord::Voters(voters) => {
            format!("Voters({})", ids(&mut voters.voters.iter().map(|voter| voter.voter_id)))
        }
        other => format!("{other:?}"),
    }
}

fn rejection(reason: &Rejection) -> String {
    match reason {
        Rejection::NotLeader(current) => format!("not leader, {}", leader_and_epoch(current)),
        Rejection::StaleEpoch(epoch) => format!("stale epoch, now {epoch}"),
    }
}

pub(super) fn request(request: &Request) -> String {
    match request {
        Request::Vote(vote) => {
            let kind = if vote.pre_vote { "PreVote" } else { "Vote" };
            format!("{kind} epoch={} log={:?}", vote.epoch, vote.log_end)
        }
        Request::BeginQuorumEpoch(begin) => format!("BeginQuorumEpoch epoch={}", begin.epoch),
        Request::EndQuorumEpoch(end) => {
            let successors: Vec<_> = end.successors.iter().map(|key| replica(*key)).collect();
            format!("EndQuorumEpoch epoch={} successors={}", end.epoch, successors.join(","))
        }
        Request::Fetch(fetch) => {
            let known = match fetch.high_watermark {
                Offset(-1) => "-".to_owned(),
                Offset(i64::MAX) => "any".to_owned(),
                offset => offset.to_string(),
            };
            format!("Fetch epoch={} log={:?} hw={known}", fetch.epoch, fetch.log_end)
        }
        Request::FetchSnapshot(fetch) => format!(
            "FetchSnapshot epoch={} {:?} from byte {}",
            fetch.epoch, fetch.snapshot, fetch.position
        ),
    }
}

/// Epoch in which a request was made.
pub(super) fn epoch_of(request: &Request) -> LeaderEpoch {
    match request {
        Request::Vote(vote) => vote.epoch,
        Request::BeginQuorumEpoch(begin) => begin.epoch,
        Request::EndQuorumEpoch(end) => end.epoch,
        Request::Fetch(fetch) => fetch.epoch,
        Request::FetchSnapshot(fetch) => fetch.epoch,
    }
}

fn served(reply: &Reply<Served>) -> String {
    self::reply(reply, |served| match served.to.since(served.from) {
        0 => "nothing".to_owned(),
        _ => format!("{}..{}", served.from, served.to),
    })
}

fn reply<R>(reply: &Reply<R>, records: impl Fn(&R) -> String) -> String {
    let mut line = match (&reply.body, reply.error.is_error()) {
        (_, true) => reply.error.name().to_owned(),
        (ReplyBody::Vote { granted: true }, _) => "yes".to_owned(),
        (ReplyBody::Vote { granted: false }, _) => "no".to_owned(),
        (ReplyBody::BeginQuorumEpoch | ReplyBody::EndQuorumEpoch, _) => "ok".to_owned(),
        (ReplyBody::Fetch(fetch), _) => match &fetch.outcome {
            FetchOutcome::Records(found) => records(found),
            FetchOutcome::Diverging(end) => format!("diverging {end:?}"),
            FetchOutcome::Snapshot(id) => format!("snapshot {id:?}"),
        },
        (ReplyBody::FetchSnapshot(chunk), _) => format!("bytes from {}", chunk.position),
    };
    if let (ReplyBody::Fetch(fetch), false) = (&reply.body, reply.error.is_error()) {
        let committed = fetch.high_watermark.map_or("-".to_owned(), |offset| offset.to_string());
        write!(line, " hw={committed}").expect("a string");
    }
    format!("{line} {}", leader_and_epoch(&reply.current))
}

/// A message as it is delivered.
pub(super) fn message(message: &Message) -> String {
    let what = match &message.body {
        Body::Request(request) => self::request(request),
        Body::Response(Response::Failed) => "no connection".to_owned(),
        Body::Response(Response::Unsupported) => "unsupported version".to_owned(),
        Body::Response(Response::Replied { reply, .. }) => {
            self::reply(reply, |fetched| match (fetched.batches.first(), fetched.batches.last()) {
                (Some(first), Some(last)) => format!("{}..{}", first.base_offset, last.end_offset),
                _ => "nothing".to_owned(),
            })
        }
    };
    format!("n{}→n{} {what}", message.from, message.to)
}

/// What a replica is.
pub(super) fn state(node: &Node) -> String {
    match &node.core {
        Some(core) => format!("n{} {}", node.id, core_state(core)),
        None => format!("n{} down", node.id),
    }
}

fn core_state(core: &Core) -> String {
    let role = format!("{:?}", core.role());
    let log = core.log();
    let committed = core.high_watermark().map_or("-".to_owned(), |offset| offset.to_string());
    let election = election(&core.election());
    let start = if log.start() == Offset::ZERO { String::new() } else { log.start().to_string() };
    let unflushed = match log.end().since(log.flushed()) {
        0 => String::new(),
        count => format!(" ({count} unflushed)"),
    };
    let end = log.end_and_epoch();
    format!("{role:<11} {election} log={start}..{end:?}{unflushed} hw={committed}")
}
