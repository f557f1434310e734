//! Partitions and their registry on a simulated node.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_config::{CleanerConfig, Properties, TopicConfig, Values};
use ottla_protocol::batch::{BatchBuilder, BatchHeader, BatchKind};
use ottla_runtime::sim::{SimNode, SimWorld};
use ottla_runtime::{Plane, Runtime};
use ottla_storage::{CleanShutdown, DataDir, IncomingBatch, LogDir, LogDirs};
use ottla_types::{
    BrokerEpoch, ErrorCode, LeaderEpoch, Offset, PartitionId, Timestamp, TopicIdPartition,
    TopicPartition, Uuid,
};
use tokio::sync::mpsc;

use crate::{
    Acks, FetchSpec, FetchWait, Isolation, Leadership, Partition, Placement, Replicas,
    ReplicasConfig,
};

pub(crate) struct Bench {
    pub(crate) node: SimNode,
    pub(crate) runtime: Runtime,
    pub(crate) dirs: LogDirs,
    pub(crate) replicas: Replicas,
}

impl Bench {
    fn new(node: &SimNode) -> Bench {
        let runtime = Runtime::simulated(node);
        let data = DataDir::open(runtime.disk(), Path::new("/data")).expect("free");
        let clean = data.take_clean_shutdown().expect("readable");
        let dirs = LogDirs::single(LogDir::new(data, Uuid([1; 16]), clean));
        let replicas = Replicas::new(&runtime, &dirs, config(), mpsc::unbounded_channel().0);
        Bench { node: node.clone(), runtime, dirs, replicas }
    }

    pub(crate) fn append(&self, partition: &Arc<Partition>) -> Result<crate::Appended, ErrorCode> {
        self.append_with(partition, Acks::All)
    }

    fn append_with(
        &self,
        partition: &Arc<Partition>,
        acks: Acks,
    ) -> Result<crate::Appended, ErrorCode> {
        let now = self.runtime.clock().wall();
        let appended = partition.append(&batch(), acks, now).map_err(|error| error.code())?;
        if appended.start_flush {
            self.replicas.flush(partition.clone(), Plane::Data(0));
        }
        Ok(appended)
    }
}

pub(crate) fn config() -> ReplicasConfig {
    ReplicasConfig {
        recovery_point_interval: Duration::from_mins(1),
        high_watermark_interval: Duration::from_secs(5),
        retention_check_interval: Duration::from_mins(5),
        producer_check_interval: Duration::from_mins(10),
        producer_id_expiration: Duration::from_hours(24),
        recovery_threads: 2,
        move_bytes_per_second: u64::MAX,
        cleaner: CleanerConfig {
            is_enabled: true,
            threads: 1,
            map_bytes_all: 2 << 20,
            load_factor: 0.9,
            io_bytes_all: 8192,
            bytes_per_second: f64::MAX,
            backoff: Duration::from_secs(15),
        },
    }
}

pub(crate) fn in_world(case: impl AsyncFnOnce(Bench)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async { case(Bench::new(&SimWorld::new(3).node("a"))).await });
}

fn batch() -> IncomingBatch {
    let (kind, epoch) = (BatchKind::Data, LeaderEpoch(-1));
    let mut builder = BatchBuilder::new(kind, Offset(0), epoch, Timestamp(1));
    builder.push(None, Some(&[7; 50]));
    let bytes = Bytes::from(builder.build());
    IncomingBatch { header: BatchHeader::read(&bytes).expect("just built"), bytes }
}

pub(crate) fn placement(topic_id: u8, flush_messages: i64) -> Placement {
    let partition = PartitionId(0);
    let values = Values::new(Properties::default()).expect("defaults are valid");
    let mut config = TopicConfig::defaults(&values);
    config.flush_messages = flush_messages;
    config.segment_bytes = 500;
    Placement {
        id: TopicIdPartition { topic_id: Uuid([topic_id; 16]), partition },
        name: TopicPartition { topic: "t".into(), partition },
        directory: Uuid([1; 16]),
        leadership: Leadership { epoch: LeaderEpoch(2), leads: true, in_sync: 1, replicas: 1 },
        config,
    }
}

async fn lead(bench: &Bench, placement: Placement) -> Arc<Partition> {
    let id = placement.id;
    bench.replicas.place(vec![placement]).await.expect("created");
    bench.replicas.get(&id).expect("just created")
}

pub(crate) const FROM_START: FetchSpec = FetchSpec {
    offset: Offset(0),
    bytes_max: 10_000,
    at_least_one: true,
    isolation: Isolation::ReadUncommitted,
    leader_epoch: None,
    last_fetched_epoch: None,
};

#[test]
fn without_flush_an_append_is_acknowledged_at_once() {
    in_world(async |bench| {
        let partition = lead(&bench, placement(1, i64::MAX)).await;
        let appended = bench.append(&partition).expect("accepted");
        assert!(appended.wait.is_none() && !appended.start_flush);
        assert_eq!(partition.offsets(None).unwrap().high_watermark, Offset(1));
        assert!(partition.fetch(FROM_START).unwrap().extent.is_some());
    });
}

#[test]
fn with_flush_an_append_is_acknowledged_and_read_when_it_is_durable() {
    in_world(async |bench| {
        let mut placement = placement(1, 1);
        placement.config.segment_bytes = 1 << 20;
        let partition = lead(&bench, placement).await;
        // The first record of an epoch takes the epoch's file with it.
        let mut first = bench.append(&partition).expect("accepted").wait.expect("not durable yet");
        first.acknowledged().await.expect("flushed");
        let before = bench.node.disk().operations();
        let mut waits: Vec<_> = (0..20)
            .map(|_| bench.append(&partition).expect("accepted").wait.expect("not durable yet"))
            .collect();
        assert_eq!(partition.offsets(None).unwrap().high_watermark, Offset(1));
        let unseen = FetchSpec { offset: Offset(1), ..FROM_START };
        assert!(partition.fetch(unseen).unwrap().extent.is_none());
        for wait in &mut waits {
            wait.acknowledged().await.expect("flushed");
        }
        assert_eq!(partition.offsets(None).unwrap().high_watermark, Offset(21));
        let operations = bench.node.disk().operations() - before;
        // Twenty writes, a file of epochs, two or three flushes.
        assert!(operations < 29, "{operations} operations: appends share fsyncs");
        assert_eq!(partition.inconsistencies().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn with_flush_the_leader_s_acknowledgement_is_durable_too() {
    in_world(async |bench| {
        let partition = lead(&bench, placement(1, 1)).await;
        let mut appended = bench.append_with(&partition, Acks::Leader).expect("accepted");
        let wait = appended.wait.as_mut().expect("not durable yet");
        wait.acknowledged().await.expect("flushed");
        bench.node.crash(true).await;
        let bench = Bench::new(&bench.node);
        let placement = placement(1, 1);
        bench.replicas.load(vec![placement.clone()]).await.expect("loaded");
        let again = bench.replicas.get(&placement.id).expect("loaded");
        assert_eq!(again.offsets(None).unwrap().end, Offset(1));
    });
}

#[test]
fn an_append_wakes_the_fetches_of_its_partition() {
    in_world(async |bench| {
        let partition = lead(&bench, placement(1, i64::MAX)).await;
        let wait = Arc::new(FetchWait::default());
        let watch = wait.watch(&partition, 3);
        let clock = bench.runtime.clock().clone();
        let second = Duration::from_secs(1);
        assert_eq!(clock.timeout(second, wait.changed()).await, None);
        bench.append(&partition).expect("accepted");
        bench.append(&partition).expect("accepted");
        assert_eq!(clock.timeout(second, wait.changed()).await, Some(vec![3]));
        drop(watch);
        bench.append(&partition).expect("accepted");
        assert_eq!(clock.timeout(second, wait.changed()).await, None);
    });
}

#[test]
fn epochs_of_clients_are_compared() {
    in_world(async |bench| {
        let partition = lead(&bench, placement(1, i64::MAX)).await;
        let known = |epoch| {
            let spec = FetchSpec { leader_epoch: Some(LeaderEpoch(epoch)), ..FROM_START };
            partition.fetch(spec).map(|_| ()).map_err(|error| error.code())
        };
        assert_eq!(known(1), Err(ErrorCode::FencedLeaderEpoch));
        assert_eq!(known(2), Ok(()));
        assert_eq!(known(3), Err(ErrorCode::UnknownLeaderEpoch));
        let spec = FetchSpec { last_fetched_epoch: Some(LeaderEpoch(1)), ..FROM_START };
        assert_eq!(partition.fetch(spec).unwrap().diverging, None, "epoch 2 begins at 0");
        let spec = FetchSpec { last_fetched_epoch: Some(LeaderEpoch(9)), ..FROM_START };
        let refused = partition.fetch(spec).map(|_| ()).map_err(|error| error.code());
        assert_eq!(refused, Err(ErrorCode::OffsetOutOfRange), "as Kafka does");
    });
}

#[test]
fn a_partition_without_a_leader_is_held_and_not_served() {
    in_world(async |bench| {
        let held = placement(1, 1);
        let partition = lead(&bench, held.clone()).await;
        let mut wait = bench.append(&partition).expect("accepted").wait.expect("not durable yet");
        let epoch = LeaderEpoch(3);
        let leadership = Leadership { leads: false, epoch, ..held.leadership };
        partition.change_leadership(leadership).expect("no write");
        assert_eq!(bench.append(&partition).err(), Some(ErrorCode::NotLeaderOrFollower));
        assert!(partition.fetch(FROM_START).is_err() && partition.offsets(None).is_err());
        wait.acknowledged().await.expect("what was appended before still becomes durable");
        let leadership = Leadership { leads: true, epoch: LeaderEpoch(4), ..leadership };
        partition.change_leadership(leadership).expect("written");
        bench
            .append(&partition)
            .expect("accepted")
            .wait
            .expect("waits")
            .acknowledged()
            .await
            .unwrap();
        assert_eq!(partition.epoch_at(Offset(1)).unwrap(), LeaderEpoch(4));
    });
}

#[test]
fn a_failed_fsync_fences_the_directory_for_good() {
    in_world(async |bench| {
        let partition = lead(&bench, placement(1, 1)).await;
        bench
            .append(&partition)
            .expect("accepted")
            .wait
            .expect("waits")
            .acknowledged()
            .await
            .unwrap();
        // The write succeeds, the fsync behind it does not.
        bench.node.disk().set_faults(|faults| faults.eio_after = Some(1));
        let mut wait = bench.append(&partition).expect("accepted").wait.expect("waits");
        let reason = bench.dirs.metadata().health().fenced().await;
        assert!(reason.starts_with("t-0: "), "{reason}");
        bench.node.disk().set_faults(|faults| faults.eio_after = None);
        assert_eq!(bench.append(&partition).err(), Some(ErrorCode::KafkaStorageError));
        let waited =
            bench.runtime.clock().timeout(Duration::from_secs(9), wait.acknowledged()).await;
        assert!(waited.is_none(), "never acknowledged");
    });
}

#[test]
fn a_recreated_topic_begins_anew() {
    in_world(async |bench| {
        let old = lead(&bench, placement(1, 1)).await;
        for _ in 0..9 {
            bench
                .append(&old)
                .expect("accepted")
                .wait
                .expect("waits")
                .acknowledged()
                .await
                .unwrap();
        }
        bench.replicas.start_housekeeping();
        bench.runtime.clock().sleep(Duration::from_secs(61)).await;
        bench.replicas.delete(vec![old.id()]);
        let new = lead(&bench, placement(2, 1)).await;
        assert_eq!(new.offsets(None).unwrap().end, Offset(0));
        let points = |bench: &Bench| {
            let dir = Path::new("/data/recovery-point-offset-checkpoint");
            String::from_utf8(bench.runtime.disk().read(dir, 1000).unwrap()).unwrap()
        };
        assert_eq!(points(&bench), "0\n0\n", "the old topic's offset is gone");
        bench.append(&new).expect("accepted").wait.expect("waits").acknowledged().await.unwrap();
        bench.runtime.clock().sleep(Duration::from_secs(61)).await;
        assert_eq!(points(&bench), "0\n1\nt 0 1\n");
        let dirs = bench.runtime.disk().list(Path::new("/data")).unwrap();
        let names: Vec<_> = dirs.iter().filter(|e| e.is_dir).map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["t-0"], "the deleted directory went after a minute");
    });
}

#[test]
fn partitions_come_back_after_a_clean_stop_and_after_a_crash() {
    for clean in [true, false] {
        in_world(async |bench| {
            let partition = lead(&bench, placement(1, i64::MAX)).await;
            (0..25).for_each(|_| drop(bench.append(&partition).expect("accepted")));
            if clean {
                bench.replicas.close().await;
                let clean = CleanShutdown { broker_epoch: BrokerEpoch(7) };
                bench.dirs.metadata().data().write_clean_shutdown(clean).expect("written");
            }
            drop(partition);
            let node = bench.node.clone();
            drop(bench);
            node.crash(false).await;
            let bench = Bench::new(&node);
            bench.replicas.load(vec![placement(1, i64::MAX)]).await.expect("loaded");
            let partition = bench.replicas.get(&placement(1, 1).id).expect("found");
            assert_eq!(partition.offsets(None).unwrap().high_watermark, Offset(25));
            assert_eq!(partition.inconsistencies().unwrap(), Vec::<String>::new());
        });
    }
}

#[test]
fn a_log_s_start_is_kept_and_not_inherited() {
    in_world(async |bench| {
        let mut old = placement(1, i64::MAX);
        (old.config.retention_age, old.config.retention_bytes) = (None, Some(600));
        let partition = lead(&bench, old.clone()).await;
        (0..25).for_each(|_| drop(bench.append(&partition).expect("accepted")));
        bench.replicas.delete_all_old_segments();
        let start = partition.offsets(None).unwrap().log_start;
        assert!(start > Offset(10) && start < Offset(25), "{start}");
        let answer = partition.fetch(FROM_START).map(|_| ()).map_err(|error| error.code());
        assert_eq!(answer, Err(ErrorCode::OffsetOutOfRange));
        let node = bench.node.clone();
        drop((partition, bench));
        // Nothing of the log was ever synced, but its start was.
        node.crash(true).await;
        let bench = Bench::new(&node);
        bench.replicas.load(vec![old.clone()]).await.expect("loaded");
        let partition = bench.replicas.get(&old.id).expect("found");
        assert_eq!(partition.offsets(None).unwrap().log_start, start);
        bench.replicas.delete(vec![old.id]);
        let mut new = placement(2, i64::MAX);
        new.config.file_delete_delay = Duration::ZERO;
        let partition = lead(&bench, new.clone()).await;
        assert_eq!(partition.offsets(None).unwrap().end, Offset(0));
        drop((partition, bench));
        node.crash(false).await;
        let bench = Bench::new(&node);
        bench.replicas.load(vec![new.clone()]).await.expect("loaded");
        let offsets = bench.replicas.get(&new.id).expect("found").offsets(None).unwrap();
        assert_eq!((offsets.log_start, offsets.end), (Offset(0), Offset(0)));
    });
}

#[test]
fn a_damaged_log_is_offline_and_stays_as_it_is() {
    in_world(async |bench| {
        let partition = lead(&bench, placement(1, 1)).await;
        let mut wait = bench.append(&partition).expect("accepted").wait.expect("not durable yet");
        wait.acknowledged().await.expect("flushed");
        bench.replicas.close().await;
        let (id, node) = (partition.id(), bench.node.clone());
        drop((partition, bench));
        node.crash(false).await;
        let disk = Runtime::simulated(&node).disk().clone();
        let path = Path::new("/data/t-0/00000000000000000000.log");
        disk.write_atomically(path, b"no batch", None, None).expect("written");
        // Also a second start finds it damaged: the recovery point stays.
        for _ in 0..2 {
            let bench = Bench::new(&node);
            bench.replicas.load(vec![placement(1, 1)]).await.expect("others are served");
            assert!(bench.replicas.get(&id).is_none());
            assert_eq!(bench.replicas.why_missing(&id), ErrorCode::KafkaStorageError);
            assert!(!bench.dirs.metadata().health().is_fenced());
            assert!(bench.dirs.metadata().health().is_damaged());
            bench.replicas.close().await;
            assert_eq!(disk.read(path, 100).expect("there"), b"no batch");
            drop(bench);
            node.crash(false).await;
        }
        let bench = Bench::new(&node);
        bench.replicas.load(vec![placement(1, 1)]).await.expect("others are served");
        bench.replicas.delete(vec![id]);
        assert!(!disk.exists(Path::new("/data/t-0")).expect("told"));
    });
}
