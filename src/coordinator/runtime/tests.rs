//! Shards over a log in memory that commits when it is told to, under simulated time.

mod transactions;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ottla_config::{GroupsConfig, NodeConfig};
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchHeader};
use ottla_protocol::compression::Compression;
use ottla_runtime::Runtime;
use ottla_runtime::sim::SimWorld;
use ottla_types::{
    ErrorCode, LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, TopicIdPartition,
    TopicName, Uuid,
};
use tokio::sync::oneshot;

use super::{Appended, Groups, LogPort, partition_of, told_of_append};
use crate::group::classic::{Join, Protocols};
use crate::group::{
    FetchedOffset, GroupId, MemberId, OffsetCommit, OffsetKey, OffsetToCommit, Part, Transaction,
    TransactionEnd,
};

const TOPIC: Uuid = Uuid([7; 16]);

/// The one partition.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    batches: Vec<Bytes>,
    end: Offset,
    /// Whether batches wait to be committed.
    holds: bool,
    held: Vec<oneshot::Sender<()>>,
    /// Why the next batch is refused.
    refuses: Option<ErrorCode>,
}

impl Log {
    fn commit(&self) {
        let held = std::mem::take(&mut self.0.lock().unwrap().held);
        held.into_iter().for_each(|waiting| waiting.send(()).unwrap());
    }
}

impl LogPort for Log {
    fn append(&self, _: TopicIdPartition, batch: Bytes, _: Part) -> Result<Appended, ErrorCode> {
        let mut log = self.0.lock().unwrap();
        if let Some(error) = log.refuses.take() {
            return Err(error);
        }
        let base = log.end;
        let mut bytes = batch.to_vec();
        bytes[..8].copy_from_slice(&base.0.to_be_bytes());
        log.end = BatchHeader::read_checked(&bytes).expect("a batch").next_offset();
        log.batches.push(bytes.into());
        let committed = log.holds.then(|| -> super::Committed {
            let (committed, waiting) = oneshot::channel();
            log.held.push(committed);
            Box::pin(async move { waiting.await.map_err(|_| ErrorCode::NotCoordinator) })
        });
        Ok(Appended { base, committed })
    }

    fn batch_bytes_max(&self, _: TopicIdPartition) -> Result<usize, ErrorCode> {
        Ok(1 << 20)
    }

    fn read(&self, _: TopicIdPartition, from: Offset, _: u64) -> Result<Bytes, ErrorCode> {
        let log = self.0.lock().unwrap();
        let is_behind = |batch: &&Bytes| BatchHeader::read(batch).unwrap().next_offset() > from;
        Ok(log.batches.iter().find(is_behind).cloned().unwrap_or_default())
    }

    fn bounds(&self, _: TopicIdPartition) -> Result<(Offset, Offset), ErrorCode> {
        Ok((Offset::ZERO, self.0.lock().unwrap().end))
    }
}

fn config(keys: &[(&str, &str)]) -> GroupsConfig {
    let keys: Vec<_> =
        keys.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    NodeConfig::new(None, &keys).expect("the keys are good").groups
}

fn start(runtime: &Runtime, config: GroupsConfig, log: Box<Log>) -> Groups {
    Groups::start(runtime, config, log).expect("a simulation has threads")
}

fn in_world<F: Future>(main: impl FnOnce(Runtime) -> F) -> F::Output {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    tokio.block_on(async {
        let world = SimWorld::new(1);
        main(Runtime::simulated(&world.node("n"))).await
    })
}

/// Lets time pass until something is so.
async fn until(runtime: &Runtime, what: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if what() {
            return;
        }
        runtime.clock().sleep(Duration::from_millis(1)).await;
    }
    panic!("it is never so");
}

fn commit(topic: &str, offset: i64) -> OffsetCommit {
    let offset = OffsetToCommit {
        topic: TopicName::from(topic),
        topic_id: Uuid::ZERO,
        partition: PartitionId(0),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch::NONE,
        metadata: "x".repeat(200),
    };
    OffsetCommit {
        group: GroupId::from("g"),
        member: MemberId::from(""),
        instance: None,
        generation: -1,
        knows_epochs: true,
        retention_ms: None,
        offsets: vec![offset],
    }
}

fn join() -> Join {
    Join {
        group: GroupId::from("g"),
        member: MemberId::from(""),
        instance: None,
        must_know_id: true,
        can_skip_assignment: false,
        client_id: "c".into(),
        client_host: "/h".into(),
        unique: "1".to_owned(),
        consumer_id: "1".to_owned(),
        rebalance_timeout: Duration::from_secs(60),
        session_timeout: Duration::from_secs(10),
        protocol_type: "consumer".into(),
        protocols: Protocols(vec![("range".to_owned(), Bytes::new())]),
    }
}

fn committed(groups: &Groups, topic: &str) -> Option<Offset> {
    let group = GroupId::from("g");
    let key = OffsetKey { group: group.clone(), topic: topic.into(), partition: PartitionId(0) };
    match groups.read(&group, |shard| shard.fetch_offset(&key, Uuid::ZERO, false)) {
        Ok(FetchedOffset::Offset(found)) => Some(found.offset),
        _ => None,
    }
}

#[test]
fn who_waits_longer_than_the_commit_timeout_is_told_and_the_record_stays() {
    in_world(|runtime| async move {
        let log = Log::default();
        let keys = config(&[("offsets.commit.timeout.ms", "700")]);
        let groups = start(&runtime, keys, Box::new(log.clone()));
        groups.lead(TOPIC, 1, &[(PartitionId(0), LeaderEpoch(0))]);
        log.0.lock().unwrap().holds = true;

        let since = runtime.clock().now();
        let told = groups.commit_offsets(commit("t", 5)).await;
        let waited = runtime.clock().now().since(since);
        assert_eq!(told, Err(ErrorCode::CoordinatorNotAvailable));
        assert!(waited >= Duration::from_millis(700), "{waited:?}");
        assert!(waited < Duration::from_millis(900), "{waited:?}");
        assert_eq!(committed(&groups, "t"), None, "it is not committed");

        log.commit();
        until(&runtime, || committed(&groups, "t") == Some(Offset(5))).await;
    });
}

#[test]
fn who_founds_a_group_is_answered_when_readers_see_it() {
    in_world(|runtime| async move {
        let log = Log::default();
        let groups = start(&runtime, config(&[]), Box::new(log.clone()));
        groups.lead(TOPIC, 1, &[(PartitionId(0), LeaderEpoch(0))]);
        log.0.lock().unwrap().holds = true;

        let mut joining = Box::pin(groups.join(join(), Arc::new(|_| true)));
        let early = runtime.clock().timeout(Duration::from_secs(1), &mut joining).await;
        assert_eq!(early, None, "the group's record is not committed");
        assert_eq!(groups.list(), Ok(Vec::new()), "and so it is not told");
        log.commit();
        let joined = joining.await.expect("an answer of the group");
        assert_eq!(joined.error, ErrorCode::MemberIdRequired);
        assert_eq!(groups.list().map(|all| all.len()), Ok(1));
    });
}

#[test]
fn what_is_of_a_transaction_goes_alone_and_is_refused_alone() {
    in_world(|runtime| async move {
        let log = Log::default();
        let groups = start(&runtime, config(&[]), Box::new(log.clone()));
        groups.lead(TOPIC, 1, &[(PartitionId(0), LeaderEpoch(0))]);
        let (transaction, end) = in_transaction();
        log.0.lock().unwrap().refuses = Some(ErrorCode::InvalidProducerEpoch);
        let first = groups.commit_transactional(commit("t", 5), transaction);
        let behind = groups.commit_offsets(commit("t", 6));
        assert_eq!(first.await, Err(ErrorCode::InvalidProducerEpoch));
        assert_eq!(behind.await, Err(ErrorCode::CoordinatorNotAvailable), "it may try again");

        let pending = groups.commit_transactional(commit("t", 7), transaction);
        let plain = groups.commit_offsets(commit("u", 8));
        let ended = groups.end_transaction(PartitionId(0), end);
        assert_eq!(
            (pending.await, plain.await),
            (Ok(vec![ErrorCode::None]), Ok(vec![ErrorCode::None]))
        );
        assert_eq!(ended.await, Ok(()));
        assert_eq!(committed(&groups, "t"), Some(Offset(7)));
        let kinds: Vec<_> = log.0.lock().unwrap().batches.iter().map(kind_of).collect();
        assert_eq!(kinds, [(true, false, 7, 1), (false, false, -1, -1), (true, true, 7, 2)]);

        let again = start(&runtime, config(&[]), Box::new(log));
        again.lead(TOPIC, 1, &[(PartitionId(0), LeaderEpoch(0))]);
        until(&runtime, || again.list().is_ok()).await;
        assert_eq!(committed(&again, "t"), Some(Offset(7)), "it is read again");
    });
}

/// Whether a batch is transactional, and control; its producer's id and epoch.
fn kind_of(batch: &Bytes) -> (bool, bool, i64, i16) {
    let header = BatchHeader::read_checked(batch).expect("a batch");
    let is = header.attributes;
    (is.is_transactional(), is.is_control(), header.producer_id.0, header.producer_epoch.0)
}

#[test]
fn batches_have_the_codec_of_the_config() {
    for code in 0..=4 {
        in_world(|runtime| async move {
            let log = Log::default();
            let text = code.to_string();
            let keys = config(&[("offsets.topic.compression.codec", &text)]);
            let groups = start(&runtime, keys.clone(), Box::new(log.clone()));
            groups.lead(TOPIC, 1, &[(PartitionId(0), LeaderEpoch(0))]);
            groups.commit_offsets(commit("t", 5)).await.expect("it is committed");
            let batch = log.0.lock().unwrap().batches[0].clone();
            let header = BatchHeader::read_checked(&batch).expect("a batch");
            assert_eq!(header.attributes.compression(), Compression::from_code(code));
            assert_eq!(batch.len() > BATCH_OVERHEAD + 200, code == 0, "{code}: {}", batch.len());

            let again = start(&runtime, keys, Box::new(log));
            again.lead(TOPIC, 1, &[(PartitionId(0), LeaderEpoch(0))]);
            until(&runtime, || again.list().is_ok()).await;
            assert_eq!(committed(&again, "t"), Some(Offset(5)), "it is read again");
        });
    }
}

#[test]
fn offsets_of_topics_that_are_deleted_during_a_load_are_forgotten() {
    in_world(|runtime| async move {
        let log = Log::default();
        let groups = start(&runtime, config(&[]), Box::new(log.clone()));
        groups.lead(TOPIC, 1, &[(PartitionId(0), LeaderEpoch(0))]);
        for topic in ["goes", "stays"] {
            groups.commit_offsets(commit(topic, 5)).await.expect("it is committed");
        }

        let again = start(&runtime, config(&[]), Box::new(log));
        again.lead(TOPIC, 1, &[(PartitionId(0), LeaderEpoch(0))]);
        again.topics_deleted(vec![(TopicName::from("goes"), Uuid([1; 16]))]);
        let group = GroupId::from("g");
        let loads = again.read(&group, |_| ());
        assert_eq!(loads, Err(ErrorCode::CoordinatorLoadInProgress), "it is still loaded");
        until(&runtime, || again.list().is_ok()).await;
        until(&runtime, || committed(&again, "goes").is_none()).await;
        assert_eq!(committed(&again, "stays"), Some(Offset(5)));
    });
}

#[test]
fn groups_are_where_kafka_puts_them() {
    assert_eq!(partition_of("polygenelubricants", 50), PartitionId(0), "of the smallest hash");
    assert_eq!(partition_of("hello", 50), PartitionId(99_162_322 % 50));
}

/// A transaction, and its end.
fn in_transaction() -> (Transaction, TransactionEnd) {
    let transaction = Transaction {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(1),
        verified: true,
        guard: None,
    };
    let end = TransactionEnd {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(2),
        commit: true,
        coordinator_epoch: 3,
        transaction_version: 2,
    };
    (transaction, end)
}

#[test]
fn a_shard_that_is_not_here_says_so() {
    in_world(|runtime| async move {
        let groups = start(&runtime, config(&[]), Box::default());
        let (group, member) = (GroupId::from("g"), MemberId::from("m"));
        let beat = |groups: &Groups| groups.heartbeat(&group, (&member, None), 1);
        assert_eq!(beat(&groups), Err(ErrorCode::NotCoordinator), "there is no topic yet");
        groups.lead(TOPIC, 1, &[(PartitionId(0), LeaderEpoch(0))]);
        assert_eq!(beat(&groups), Err(ErrorCode::UnknownMemberId), "it is here");
        groups.lead(TOPIC, 1, &[]);
        let refused = Err(ErrorCode::NotCoordinator);
        assert_eq!(beat(&groups), refused);
        assert_eq!(groups.commit_offsets(commit("t", 5)).await, refused.map(|()| Vec::new()));
        let (pending, end) = in_transaction();
        let in_transaction = groups.commit_transactional(commit("t", 5), pending).await;
        assert_eq!(in_transaction, refused.map(|()| Vec::new()));
        assert_eq!(groups.end_transaction(PartitionId(0), end).await, refused);
        assert_eq!(groups.delete(&group).await, refused);
        assert_eq!(groups.delete_offsets(&group, &[]).await, refused.map(|()| Vec::new()));
        assert_eq!(groups.read(&group, |_| ()), refused);
        assert_eq!(groups.list(), Ok(Vec::new()), "of those that are here");
    });
}

#[test]
fn a_shard_that_is_loaded_says_so() {
    in_world(|runtime| async move {
        let log = Log::default();
        let groups = start(&runtime, config(&[]), Box::new(log.clone()));
        groups.lead(TOPIC, 1, &[(PartitionId(0), LeaderEpoch(0))]);
        groups.commit_offsets(commit("t", 5)).await.expect("it is committed");
        let again = start(&runtime, config(&[]), Box::new(log));
        again.lead(TOPIC, 1, &[(PartitionId(0), LeaderEpoch(0))]);
        let (group, member) = (GroupId::from("g"), MemberId::from("m"));
        let refused = Err(ErrorCode::CoordinatorLoadInProgress);
        assert_eq!(again.heartbeat(&group, (&member, None), 1), refused);
        assert_eq!(again.delete(&group).await, refused);
        assert_eq!(again.list(), refused.map(|()| Vec::new()), "not all are known");
        until(&runtime, || again.list().is_ok()).await;
        assert_eq!(again.list().map(|all| all.len()), Ok(1));
    });
}

#[test]
fn errors_of_the_log_are_told_as_by_kafka() {
    for (of_log, told) in [
        (ErrorCode::UnknownTopicOrPartition, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::RequestTimedOut, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::NotLeaderOrFollower, ErrorCode::NotCoordinator),
        (ErrorCode::KafkaStorageError, ErrorCode::NotCoordinator),
        (ErrorCode::MessageTooLarge, ErrorCode::UnknownServerError),
        (ErrorCode::RecordListTooLarge, ErrorCode::UnknownServerError),
        (ErrorCode::InvalidRequest, ErrorCode::InvalidRequest),
    ] {
        assert_eq!(told_of_append(of_log), told, "{of_log}");
    }
}
