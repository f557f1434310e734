//! Single steps that no ordinary cluster takes: strangers, nonsense, and voters that change.

use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::control::{
    ControlRecord, KRaftVersion, KRaftVersionRange, Voter, VoterEndpoint,
};
use ottla_types::{ErrorCode, LeaderEpoch, MonoTime, NodeId, Offset, ReplicaKey, Uuid};

use super::super::voters::BEFORE_LOG;
use super::super::{
    BeginQuorumEpoch, CallId, Core, CoreConfig, Effect, ElectionState, EndQuorumEpoch,
    FetchOutcome, FetchReply, FetchRequest, FetchSnapshot, Fetched, FetchedBatch, Input,
    LeaderAndEpoch, LogShape, OffsetAndEpoch, Payload, Peer, Reply, ReplyBody, Request, RequestId,
    Response, Restored, RoleName, SnapshotChunk, Timeouts, VoteRequest, VoterHistory, VoterSet,
};
use super::node::key;

const EPOCH: LeaderEpoch = LeaderEpoch(3);

fn endpoint(host: &str) -> VoterEndpoint {
    VoterEndpoint { name: "CONTROLLER".into(), host: host.into(), port: 9093 }
}

fn voter(id: i32) -> Voter {
    let key = key(NodeId(id));
    Voter {
        voter_id: key.id,
        voter_directory_id: key.directory_id,
        endpoints: vec![endpoint(&format!("n{id}"))],
        k_raft_version_feature: KRaftVersionRange {
            min_supported_version: 0,
            max_supported_version: 1,
        },
    }
}

fn voters(ids: &[i32]) -> VoterSet {
    ids.iter().copied().map(voter).collect()
}

fn voters_record(ids: &[i32]) -> ControlRecord {
    ControlRecord::Voters(voters(ids).to_record())
}

/// A core and what it did last.
struct Bench {
    core: Core,
    now: MonoTime,
    effects: Vec<Effect>,
}

impl Bench {
    /// Replica `me`, with a log of four records of epoch 2; it knows `election` from its disk.
    fn new(me: i32, election: ElectionState, voters: VoterHistory) -> Bench {
        let config = CoreConfig {
            me: key(NodeId(me)),
            cluster_id: "ours".into(),
            listeners: vec![endpoint(&format!("n{me}"))],
            kraft_versions: voter(me).k_raft_version_feature,
            can_become_voter: true,
            bootstrap: vec![Peer::Bootstrap(0)],
            timeouts: Timeouts::default(),
            seed: 1,
            mutant: None,
        };
        let log = LogShape::new(Offset(0), Offset(4), vec![(LeaderEpoch(2), Offset(0))]);
        let restored = Restored { election: Some(election), log, voters };
        let now = MonoTime::START;
        let mut bench = Bench { core: Core::new(config, restored, now), now, effects: vec![] };
        bench.step(Input::Tick);
        bench
    }

    /// Voter 1 of three, following 2 in epoch 3; its first Fetch is under way.
    fn follower() -> Bench {
        let election = ElectionState { epoch: EPOCH, leader: Some(NodeId(2)), voted: None };
        Bench::new(1, election, VoterHistory::new(voters(&[1, 2, 3])))
    }

    fn step(&mut self, input: Input) {
        self.effects.clear();
        self.core.step(self.now, input, &mut self.effects);
        self.core.check();
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now.after(Duration::from_millis(millis));
        self.step(Input::Tick);
    }

    fn ask(&mut self, request: Request) -> ErrorCode {
        self.ask_as(Some("ours"), request)
    }

    fn ask_as(&mut self, cluster: Option<&str>, request: Request) -> ErrorCode {
        let cluster_id = cluster.map(ToOwned::to_owned);
        self.step(Input::Request { id: RequestId(1), cluster_id, request });
        let error = |effect: &Effect| match effect {
            Effect::Answer { reply, .. } => Some(reply.error),
            _ => None,
        };
        self.effects.iter().find_map(error).expect("answered at once")
    }

    /// The request that was just sent.
    fn sent(&self) -> (Peer, CallId, Request) {
        let sent = |effect: &Effect| match effect {
            Effect::SendRequest { to, call, request } => Some((*to, *call, request.clone())),
            _ => None,
        };
        self.effects.iter().find_map(sent).expect("a request was sent")
    }

    /// The reply of the leader to the request that was just sent.
    fn reply(&mut self, body: ReplyBody<Fetched>) {
        let (_, call, _) = self.sent();
        let current = self.core.leader_and_epoch();
        let reply = Reply { error: ErrorCode::None, current, body };
        let response = Response::Replied { reply, leader_endpoints: Vec::new() };
        self.step(Input::Response { call, response });
    }

    fn reply_fetch(&mut self, outcome: FetchOutcome<Fetched>) {
        let reply = FetchReply { high_watermark: None, log_start: Offset(0), outcome };
        self.reply(ReplyBody::Fetch(reply));
    }

    fn reply_batches(&mut self, batches: Vec<FetchedBatch>) {
        let bytes = Bytes::from_static(b"batches");
        self.reply_fetch(FetchOutcome::Records(Fetched { batches, bytes }));
    }

    fn flush(&mut self) {
        let mark = self.core.log().mark();
        self.step(Input::Flushed(mark));
    }

    fn appended(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::AppendFetched { .. }))
    }
}

fn batch(base: i64, end: i64, epoch: i32) -> FetchedBatch {
    FetchedBatch {
        base_offset: Offset(base),
        end_offset: Offset(end),
        epoch: LeaderEpoch(epoch),
        control: Vec::new(),
    }
}

fn at(offset: i64, epoch: i32) -> OffsetAndEpoch {
    OffsetAndEpoch { offset: Offset(offset), epoch: LeaderEpoch(epoch) }
}

fn vote(epoch: LeaderEpoch) -> VoteRequest {
    VoteRequest { voter: None, replica: key(NodeId(3)), epoch, log_end: at(4, 2), pre_vote: false }
}

fn fetch(log_end: OffsetAndEpoch) -> FetchRequest {
    FetchRequest {
        replica: key(NodeId(3)),
        epoch: EPOCH,
        log_end,
        high_watermark: Offset(-1),
        wait_max: Duration::ZERO,
    }
}

fn begin(leader: i32) -> BeginQuorumEpoch {
    BeginQuorumEpoch { voter: None, leader: NodeId(leader), epoch: EPOCH, endpoints: vec![] }
}

fn end(successors: &[i32]) -> EndQuorumEpoch {
    EndQuorumEpoch {
        leader: NodeId(2),
        epoch: EPOCH,
        successors: successors.iter().map(|id| key(NodeId(*id))).collect(),
        endpoints: vec![],
    }
}

#[test]
fn other_clusters_are_refused_whatever_they_ask() {
    let mut bench = Bench::follower();
    let snapshot =
        FetchSnapshot { replica: key(NodeId(3)), epoch: EPOCH, snapshot: at(4, 2), position: 0 };
    let requests = [
        Request::Vote(vote(LeaderEpoch(9))),
        Request::BeginQuorumEpoch(begin(2)),
        Request::EndQuorumEpoch(end(&[])),
        Request::Fetch(fetch(at(4, 2))),
        Request::FetchSnapshot(snapshot),
    ];
    for request in requests {
        let error = bench.ask_as(Some("theirs"), request.clone());
        assert_eq!(error, ErrorCode::InconsistentClusterId, "{request:?}");
    }
    assert_eq!(bench.core.epoch(), EPOCH);
    // One that does not say which cluster it means is believed, as Kafka does.
    assert_eq!(bench.ask_as(None, Request::BeginQuorumEpoch(begin(2))), ErrorCode::None);
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let mut bench = Bench::follower();
    let nobody = ReplicaKey { id: NodeId(-1), directory_id: Uuid::ZERO };
    let check = |bench: &mut Bench, request: Request| {
        assert_eq!(bench.ask(request.clone()), ErrorCode::InvalidRequest, "{request:?}");
    };
    check(&mut bench, Request::Vote(VoteRequest { replica: nobody, ..vote(EPOCH) }));
    check(&mut bench, Request::Vote(VoteRequest { log_end: at(-1, 2), ..vote(EPOCH) }));
    check(&mut bench, Request::Vote(VoteRequest { log_end: at(4, -1), ..vote(EPOCH) }));
    let twin = ReplicaKey { directory_id: Uuid([9; 16]), ..key(NodeId(1)) };
    check(&mut bench, Request::Vote(VoteRequest { replica: twin, ..vote(LeaderEpoch(9)) }));
    check(&mut bench, Request::BeginQuorumEpoch(begin(-1)));
    check(&mut bench, Request::BeginQuorumEpoch(begin(1)));
    check(&mut bench, Request::Fetch(fetch(at(-1, 2))));
    check(&mut bench, Request::Fetch(fetch(at(4, -1))));
    check(&mut bench, Request::Fetch(fetch(at(4, 9))));
    let own = FetchRequest { replica: key(NodeId(1)), ..fetch(at(4, 2)) };
    check(&mut bench, Request::Fetch(own));
}

#[test]
fn a_follower_appends_only_what_continues_its_log() {
    let nonsense = [
        vec![batch(5, 6, 3)],
        vec![batch(3, 5, 3)],
        vec![batch(4, 4, 3)],
        vec![batch(4, 2, 3)],
        vec![batch(4, 5, 1)],
        vec![batch(4, 5, 4)],
        vec![batch(4, 5, 3), batch(6, 7, 3)],
        vec![batch(4, 5, 3), batch(5, 6, 2)],
    ];
    for batches in nonsense {
        let mut bench = Bench::follower();
        bench.reply_batches(batches.clone());
        assert!(!bench.appended(), "{batches:?}");
        assert_eq!(bench.core.log().end(), Offset(4));
        // The leader is left alone for a moment, and somebody else asked.
        assert_eq!(bench.sent().0, Peer::Bootstrap(0));
        // It does not count as an answer: a pre-vote may still be given to another.
        let pre_vote = VoteRequest { pre_vote: true, ..vote(EPOCH) };
        bench.ask(Request::Vote(pre_vote));
        let granted = |effect: &Effect| match effect {
            Effect::Answer { reply, .. } => reply.body == ReplyBody::Vote { granted: true },
            _ => false,
        };
        assert!(bench.effects.iter().any(granted));
    }
    let mut bench = Bench::follower();
    bench.reply_batches(vec![batch(4, 6, 2), batch(6, 7, 3)]);
    assert!(bench.appended());
    assert_eq!(bench.core.log().end_and_epoch(), at(7, 3));
}

#[test]
fn divergence_that_cuts_nothing_is_ignored() {
    let mut bench = Bench::follower();
    bench.reply_fetch(FetchOutcome::Diverging(at(9, 3)));
    assert_eq!(bench.core.log().end(), Offset(4));
    assert_eq!(bench.sent().0, Peer::Bootstrap(0));
}

#[test]
fn a_leader_cannot_take_the_high_watermark_back() {
    let mut bench = Bench::follower();
    for (told, known) in [(3, 3), (-7, 3), (2, 3), (9, 4)] {
        let outcome = FetchOutcome::Records(Fetched::default());
        let high_watermark = Some(Offset(told));
        bench.reply(ReplyBody::Fetch(FetchReply { high_watermark, log_start: Offset(0), outcome }));
        assert_eq!(bench.core.high_watermark(), Some(Offset(known)), "told {told}");
    }
    bench.reply_fetch(FetchOutcome::Snapshot(at(3, 2)));
    assert_eq!(bench.sent().0, Peer::Bootstrap(0), "nor by a snapshot");
}

#[test]
#[should_panic(expected = "what is committed is never cut off")]
fn what_is_committed_is_never_cut_off() {
    let mut bench = Bench::follower();
    let outcome = FetchOutcome::Records(Fetched::default());
    let high_watermark = Some(Offset(3));
    bench.reply(ReplyBody::Fetch(FetchReply { high_watermark, log_start: Offset(0), outcome }));
    bench.reply_fetch(FetchOutcome::Diverging(at(2, 2)));
}

#[test]
fn a_snapshot_is_put_together_from_the_pieces_asked_for() {
    let id = at(9, 3);
    let piece = |position: u64, bytes: &'static [u8], size: u64| SnapshotChunk {
        snapshot: id,
        position,
        size,
        bytes: Bytes::from_static(bytes),
    };
    let strange = [
        piece(1, b"abc", 6),
        piece(0, b"", 6),
        piece(0, b"abcdefg", 6),
        SnapshotChunk { snapshot: at(8, 3), ..piece(0, b"abc", 6) },
    ];
    for chunk in strange {
        let mut bench = Bench::follower();
        bench.reply_fetch(FetchOutcome::Snapshot(id));
        bench.reply(ReplyBody::FetchSnapshot(chunk.clone()));
        let written = |effect: &Effect| matches!(effect, Effect::WriteSnapshot(_));
        assert!(!bench.effects.iter().any(written), "{chunk:?}");
    }
    let mut bench = Bench::follower();
    bench.reply_fetch(FetchOutcome::Snapshot(id));
    bench.reply(ReplyBody::FetchSnapshot(piece(0, b"abc", 6)));
    let (_, _, request) = bench.sent();
    let Request::FetchSnapshot(next) = request else { panic!("the next piece") };
    assert_eq!(next.position, 3);
    bench.reply(ReplyBody::FetchSnapshot(piece(3, b"def", 6)));
    assert!(bench.effects.contains(&Effect::InstallSnapshot(id)));
    let control = vec![voters_record(&[1, 2])];
    bench.step(Input::SnapshotInstalled { snapshot: id, control });
    assert_eq!(bench.core.log().end_and_epoch(), id);
    assert_eq!(bench.core.high_watermark(), Some(Offset(9)));
    assert_eq!(*bench.core.voters(), voters(&[1, 2]));
}

#[test]
fn a_snapshot_that_is_gone_is_given_up() {
    let mut bench = Bench::follower();
    bench.reply_fetch(FetchOutcome::Snapshot(at(9, 3)));
    let (_, call, _) = bench.sent();
    let current = bench.core.leader_and_epoch();
    let body = ReplyBody::FetchSnapshot(SnapshotChunk::default());
    let reply = Reply { error: ErrorCode::SnapshotNotFound, current, body };
    let response = Response::Replied { reply, leader_endpoints: Vec::new() };
    bench.step(Input::Response { call, response });
    let (_, call, _) = bench.sent();
    bench.step(Input::Response { call, response: Response::Failed });
    bench.wait(20);
    assert!(matches!(bench.sent().2, Request::Fetch(_)), "it asks what to do instead");
}

#[test]
fn a_snapshot_that_cannot_be_installed_is_asked_for_again_after_a_while() {
    let id = at(9, 3);
    let bytes = Bytes::from_static(b"abc");
    let chunk = SnapshotChunk { snapshot: id, position: 0, size: 3, bytes };
    let mut bench = Bench::follower();
    bench.reply_fetch(FetchOutcome::Snapshot(id));
    bench.reply(ReplyBody::FetchSnapshot(chunk));
    assert!(bench.effects.contains(&Effect::InstallSnapshot(id)));
    bench.step(Input::SnapshotUnsound(id));
    assert_eq!(bench.core.log().end_and_epoch(), at(4, 2), "nothing changed");
    assert_eq!(bench.sent().0, Peer::Bootstrap(0), "the leader is left alone");
}

#[test]
fn the_voters_of_a_snapshot_are_those_of_its_end() {
    let election = ElectionState { epoch: EPOCH, leader: Some(NodeId(2)), voted: None };
    let mut history = VoterHistory::default();
    let version = KRaftVersion { version: 0, k_raft_version: 1 };
    history.record(BEFORE_LOG, &ControlRecord::KRaftVersion(version));
    history.record(BEFORE_LOG, &voters_record(&[2, 3]));
    history.record(Offset(3), &voters_record(&[1, 2, 3]));
    let bench = Bench::new(1, election, history);
    let before = |end| bench.core.voters_before(Offset(end)).map(|(_, it)| it.voters.len());
    assert_eq!((before(3), before(4)), (Some(2), Some(3)));
    let election = ElectionState { epoch: EPOCH, leader: Some(NodeId(2)), voted: None };
    let bench = Bench::new(1, election, VoterHistory::new(voters(&[1, 2, 3])));
    assert_eq!(bench.core.voters_before(Offset(4)), None, "the configuration names them");
}

#[test]
fn epochs_that_leave_none_behind_them_are_refused() {
    let last = LeaderEpoch(i32::MAX);
    let mut bench = Bench::follower();
    assert_eq!(bench.ask(Request::Vote(vote(last))), ErrorCode::InvalidRequest);
    let begin = BeginQuorumEpoch { epoch: last, ..begin(3) };
    assert_eq!(bench.ask(Request::BeginQuorumEpoch(begin)), ErrorCode::InvalidRequest);
    let mut bench = Bench::follower();
    let (_, call, _) = bench.sent();
    let current = LeaderAndEpoch { leader: Some(NodeId(3)), epoch: last };
    let body = ReplyBody::Fetch(FetchReply::default());
    let reply = Reply { error: ErrorCode::FencedLeaderEpoch, current, body };
    bench.step(Input::Response {
        call,
        response: Response::Replied { reply, leader_endpoints: Vec::new() },
    });
    assert_eq!(bench.core.epoch(), EPOCH);
}

#[test]
fn voters_change_when_their_record_is_appended_and_back_when_it_is_cut_off() {
    let election = ElectionState { epoch: EPOCH, leader: Some(NodeId(2)), voted: None };
    let mut history = VoterHistory::default();
    history.record(BEFORE_LOG, &voters_record(&[2, 3]));
    let mut bench = Bench::new(1, election, history);
    assert_eq!(*bench.core.voters(), voters(&[2, 3]));
    let record = (Offset(5), voters_record(&[1, 2, 3]));
    bench.reply_batches(vec![FetchedBatch { control: vec![record], ..batch(4, 6, 3) }]);
    assert_eq!(*bench.core.voters(), voters(&[1, 2, 3]));
    bench.flush();
    bench.reply_fetch(FetchOutcome::Diverging(at(4, 2)));
    assert_eq!(*bench.core.voters(), voters(&[2, 3]));
    // As a voter it would stand for election when its leader is silent for so long.
    bench.wait(2_000);
    assert_eq!(bench.core.role(), RoleName::Follower);
}

#[test]
fn a_leader_that_has_moved_writes_down_where_it_listens_now() {
    let election = ElectionState { epoch: EPOCH, leader: None, voted: None };
    let mut history = VoterHistory::default();
    let version = ottla_protocol::control::KRaftVersion { version: 0, k_raft_version: 1 };
    history.record(Offset(1), &ControlRecord::KRaftVersion(version));
    let moved = Voter { endpoints: vec![endpoint("old")], ..voter(1) };
    let old: VoterSet = [moved].into_iter().collect();
    history.record(Offset(2), &ControlRecord::Voters(old.to_record()));
    let bench = Bench::new(1, election, history);
    let control = bench.effects.iter().find_map(|effect| match effect {
        Effect::Append { payload: Payload::Control(records), .. } => Some(records.clone()),
        _ => None,
    });
    let control = control.expect("the only voter leads at once");
    assert_eq!(control.len(), 3);
    assert_eq!(control[2], voters_record(&[1]));
    assert_eq!(*bench.core.voters(), voters(&[1]));
}

#[test]
fn a_leader_that_is_no_known_voter_is_followed_when_it_says_where_it_listens() {
    // A broker with an empty voter set: all it has is a bootstrap server.
    let mut bench = Bench::new(9, ElectionState::default(), VoterHistory::default());
    assert_eq!(bench.core.role(), RoleName::Unattached);
    let answer = |bench: &mut Bench, leader_endpoints: Vec<VoterEndpoint>| {
        let (to, call, _) = bench.sent();
        assert_eq!(to, Peer::Bootstrap(0));
        let current = LeaderAndEpoch { leader: Some(NodeId(5)), epoch: EPOCH };
        let body = ReplyBody::Fetch(FetchReply::default());
        let reply = Reply { error: ErrorCode::FencedLeaderEpoch, current, body };
        let response = Response::Replied { reply, leader_endpoints };
        bench.step(Input::Response { call, response });
    };
    // Without an address it can only note the epoch.
    answer(&mut bench, Vec::new());
    assert_eq!((bench.core.role(), bench.core.epoch()), (RoleName::Unattached, EPOCH));
    answer(&mut bench, vec![endpoint("n5")]);
    assert_eq!(bench.core.role(), RoleName::Follower);
    assert_eq!(bench.core.endpoints(NodeId(5)), [endpoint("n5")]);
    assert_eq!(bench.sent().0, Peer::Node(NodeId(5)));
}

#[test]
fn successors_wait_the_longer_the_later_they_are_named() {
    let check = |successors: &[i32], millis: u64| {
        let mut bench = Bench::follower();
        bench.ask(Request::EndQuorumEpoch(end(successors)));
        if millis > 0 {
            assert_eq!(bench.core.role(), RoleName::Follower, "{successors:?}");
            bench.wait(millis - 1);
            assert_eq!(bench.core.role(), RoleName::Follower, "{successors:?}");
            bench.wait(1);
        }
        assert_eq!(bench.core.role(), RoleName::Prospective, "{successors:?}");
    };
    check(&[], 0);
    check(&[1, 3], 0);
    check(&[3, 1], 500);
    check(&[3, 1, 4], 250);
    check(&[3, 4, 1], 500);
    check(&[3, 4, 5, 1], 500);
    check(&[3, 1, 4, 5], 125);
    check(&[3, 4], 1_000);
}
