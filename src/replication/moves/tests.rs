//! Moves on a simulated node.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla_storage::{PartitionDirName, PartitionMetadata};
use ottla_types::{ErrorCode, LeaderEpoch, Offset, TopicIdPartition, Uuid};

use crate::tests::FROM_START;
use crate::tests_dirs::{Jbod, in_jbod, jbod_at, names, unassigned};
use crate::{FetchSpec, Partition, Placement, Replicas};

/// Gives what the controller is told back as its metadata, for some time.
pub(super) async fn controller(jbod: &mut Jbod, placement: &mut Placement, time: Duration) {
    let clock = jbod.bench.runtime.clock().clone();
    let end = clock.now().after(time);
    while clock.now() < end {
        clock.sleep(Duration::from_millis(1)).await;
        while let Ok((id, directory)) = jbod.moved.try_recv() {
            assert_eq!(id, placement.id);
            placement.directory = directory;
            jbod.bench.replicas.place(vec![placement.clone()]).await.expect("placed");
        }
    }
}

pub(super) async fn led(jbod: &mut Jbod, placement: &mut Placement) -> Arc<Partition> {
    jbod.bench.replicas.start_moving();
    jbod.bench.replicas.place(vec![placement.clone()]).await.expect("created");
    controller(jbod, placement, Duration::from_millis(2)).await;
    jbod.bench.replicas.get(&placement.id).expect("held")
}

async fn append(jbod: &Jbod, partition: &Arc<Partition>, count: usize) {
    let mut waits = Vec::new();
    for _ in 0..count {
        waits.extend(jbod.bench.append(partition).expect("accepted").wait);
    }
    for mut wait in waits {
        wait.acknowledged().await.expect("flushed");
    }
}

/// Number of records below the high watermark that can be read, and where they begin.
fn records(partition: &Partition) -> (Offset, Offset) {
    let offsets = partition.offsets(None).expect("led");
    let mut at = offsets.log_start;
    while at < offsets.high_watermark {
        let spec = FetchSpec { offset: at, bytes_max: 1, ..FROM_START };
        assert!(partition.fetch(spec).expect("readable").extent.is_some(), "{at}");
        at = at.plus(1);
    }
    (offsets.log_start, at)
}

pub(super) fn kinds(jbod: &Jbod, dir: &str) -> Vec<String> {
    let kind = |name: &String| match PartitionDirName::parse(name).expect("Kafka's") {
        PartitionDirName::Log(name) => name.to_string(),
        PartitionDirName::Deleted => "deleted".to_owned(),
        PartitionDirName::Stray => "stray".to_owned(),
        PartitionDirName::Future(name) => format!("copy of {name}"),
    };
    names(jbod, dir).iter().map(kind).collect()
}

pub(super) fn move_to(
    replicas: &Replicas,
    placement: &Placement,
    dir: &str,
) -> Result<(), ErrorCode> {
    replicas.move_to(&placement.name, Some(placement.id), Path::new(dir))
}

#[test]
fn a_replica_moves_while_records_come_and_go() {
    in_jbod(async |mut jbod| {
        let mut placement = unassigned(1);
        let partition = led(&mut jbod, &mut placement).await;
        append(&jbod, &partition, 40).await;
        let deleted = jbod.bench.replicas.delete_records(&[(partition.clone(), Some(Offset(17)))]);
        assert_eq!(deleted.len(), 1);
        jbod.bench.replicas.set_move_rate(Some(2_000));
        move_to(&jbod.bench.replicas, &placement, "/d2").unwrap();
        controller(&mut jbod, &mut placement, Duration::from_millis(300)).await;
        assert_eq!(kinds(&jbod, "/d2"), ["copy of t1-0"]);
        let described = |path: &str| {
            let dir = jbod.bench.replicas.describe_dir(Path::new(path)).expect("online");
            dir.logs.into_iter().map(|log| (log.size, log.behind)).collect::<Vec<_>>()
        };
        let (log, copy) = (described("/d1"), described("/d2"));
        assert!(copy[0].1.is_some_and(|behind| (1..40).contains(&behind)), "{copy:?}");
        assert!(copy[0].0 > 0 && copy[0].0 < log[0].0 && log[0].1.is_none(), "{copy:?} {log:?}");
        append(&jbod, &partition, 10).await;
        let deleted = jbod.bench.replicas.delete_records(&[(partition.clone(), Some(Offset(23)))]);
        assert!(deleted[0].is_ok());
        jbod.bench.replicas.set_move_rate(Some(1_000_000));
        let bench = &jbod.bench;
        let appended = bench.append(&partition).expect("accepted");
        controller(&mut jbod, &mut placement, Duration::from_secs(1)).await;
        appended.wait.expect("waits").acknowledged().await.expect("flushed");
        assert_eq!(placement.directory, Uuid([2; 16]));
        assert_eq!(kinds(&jbod, "/d2"), ["t1-0"]);
        assert_eq!(kinds(&jbod, "/d1"), ["deleted"]);
        append(&jbod, &partition, 5).await;
        assert_eq!(records(&partition), (Offset(23), Offset(56)));
        assert_eq!(partition.inconsistencies().unwrap(), Vec::<String>::new());
        assert_eq!(partition.epoch_at(Offset(30)).unwrap(), LeaderEpoch(2));
        // And back, to where its old directory waits for its removal.
        move_to(&jbod.bench.replicas, &placement, "/d1").unwrap();
        controller(&mut jbod, &mut placement, Duration::from_secs(1)).await;
        assert_eq!(kinds(&jbod, "/d1"), ["t1-0", "deleted"]);
        assert_eq!(records(&partition), (Offset(23), Offset(56)));
        // The next start finds what was acknowledged where the metadata says.
        let (node, id) = (jbod.bench.node.clone(), placement.id);
        drop((partition, jbod));
        node.crash(false).await;
        let jbod = jbod_at(&node, 2, Vec::new());
        jbod.bench.replicas.load(vec![placement.clone()]).await.expect("loaded");
        let partition = jbod.bench.replicas.get(&id).expect("held");
        assert_eq!(records(&partition), (Offset(23), Offset(56)));
        assert_eq!(partition.inconsistencies().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_move_is_called_off_and_a_deleted_topic_takes_its_copy_along() {
    in_jbod(async |mut jbod| {
        let mut placement = unassigned(1);
        let partition = led(&mut jbod, &mut placement).await;
        append(&jbod, &partition, 30).await;
        let replicas = jbod.bench.replicas.clone();
        replicas.set_move_rate(Some(1));
        move_to(&replicas, &placement, "/d2").unwrap();
        controller(&mut jbod, &mut placement, Duration::from_millis(200)).await;
        assert_eq!(kinds(&jbod, "/d2"), ["copy of t1-0"]);
        move_to(&replicas, &placement, "/d1").unwrap();
        controller(&mut jbod, &mut placement, Duration::from_millis(500)).await;
        assert_eq!(kinds(&jbod, "/d2"), Vec::<String>::new());
        assert_eq!(
            (partition.moving().is_none(), kinds(&jbod, "/d1")),
            (true, vec!["t1-0".into()])
        );
        move_to(&replicas, &placement, "/d2").unwrap();
        controller(&mut jbod, &mut placement, Duration::from_millis(200)).await;
        replicas.delete(vec![placement.id]);
        controller(&mut jbod, &mut placement, Duration::from_millis(500)).await;
        assert_eq!(kinds(&jbod, "/d2"), Vec::<String>::new());
        assert_eq!(kinds(&jbod, "/d1"), ["deleted"]);
    });
}

#[test]
fn a_move_that_the_controller_knows_of_is_taken_back_when_it_is_called_off() {
    in_jbod(async |mut jbod| {
        let mut placement = unassigned(1);
        let partition = led(&mut jbod, &mut placement).await;
        append(&jbod, &partition, 3).await;
        let replicas = jbod.bench.replicas.clone();
        move_to(&replicas, &placement, "/d2").unwrap();
        jbod.bench.runtime.clock().sleep(Duration::from_millis(100)).await;
        assert_eq!(jbod.moved.try_recv().unwrap(), (placement.id, Uuid([2; 16])));
        // The controller has not answered: nothing more happens.
        assert_eq!(kinds(&jbod, "/d2"), ["copy of t1-0"]);
        move_to(&replicas, &placement, "/d1").unwrap();
        assert_eq!(jbod.moved.try_recv().unwrap(), (placement.id, Uuid([1; 16])));
        append(&jbod, &partition, 3).await;
        assert_eq!(records(&partition), (Offset(0), Offset(6)));
    });
}

#[test]
fn a_move_that_was_interrupted_goes_on_after_a_start() {
    for is_power_cut in [false, true] {
        in_jbod(async |mut jbod| {
            let mut placement = unassigned(1);
            let partition = led(&mut jbod, &mut placement).await;
            append(&jbod, &partition, 40).await;
            jbod.bench.replicas.set_move_rate(Some(1_000));
            move_to(&jbod.bench.replicas, &placement, "/d2").unwrap();
            controller(&mut jbod, &mut placement, Duration::from_millis(300)).await;
            assert_eq!(kinds(&jbod, "/d2"), ["copy of t1-0"]);
            let (node, id) = (jbod.bench.node.clone(), placement.id);
            drop((partition, jbod));
            node.crash(is_power_cut).await;
            let mut jbod = jbod_at(&node, 2, Vec::new());
            jbod.bench.replicas.load(vec![placement.clone()]).await.expect("loaded");
            let partition = jbod.bench.replicas.get(&id).expect("held");
            append(&jbod, &partition, 1).await;
            jbod.bench.replicas.start_moving();
            controller(&mut jbod, &mut placement, Duration::from_secs(1)).await;
            assert_eq!(kinds(&jbod, "/d2"), ["t1-0"]);
            assert_eq!(records(&partition), (Offset(0), Offset(41)));
            assert_eq!(partition.inconsistencies().unwrap(), Vec::<String>::new());
        });
    }
}

/// The directories of a log that was moved from 1 to 2, with other names for them, and what the
/// next start makes of it: where the log is, its end, and whose those directories are then.
fn after_a_start(
    placed: u8,
    names_of: [&'static str; 2],
) -> Option<(u8, Offset, [Vec<String>; 2])> {
    let mut found = None;
    in_jbod(async |mut jbod| {
        let mut placement = unassigned(1);
        let partition = led(&mut jbod, &mut placement).await;
        append(&jbod, &partition, 10).await;
        let disk = jbod.bench.runtime.disk().clone();
        move_to(&jbod.bench.replicas, &placement, "/d2").unwrap();
        controller(&mut jbod, &mut placement, Duration::from_secs(1)).await;
        append(&jbod, &partition, 1).await;
        let old = names(&jbod, "/d1").remove(0);
        let (node, id) = (jbod.bench.node.clone(), placement.id);
        drop((partition, jbod));
        node.crash(false).await;
        let rename = |dir: &str, from: &str, to: &str| {
            disk.rename(&Path::new(dir).join(from), &Path::new(dir).join(to)).unwrap();
        };
        rename("/d1", &old, names_of[0]);
        rename("/d2", "t1-0", names_of[1]);
        let jbod = jbod_at(&node, 2, Vec::new());
        placement.directory = Uuid([placed; 16]);
        jbod.bench.replicas.load(vec![placement.clone()]).await.expect("loaded");
        let Some(partition) = jbod.bench.replicas.get(&id) else { return };
        let (_, end) = records(&partition);
        found = Some((partition.dir().id().0[0], end, ["/d1", "/d2"].map(|d| kinds(&jbod, d))));
    });
    found
}

#[test]
fn whatever_a_power_cut_leaves_of_the_names_there_is_one_log() {
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let unique = "0123456789abcdef0123456789abcdef";
    let deleted = format!("t1-0.{unique}-delete").leak();
    let copy = format!("t1-0.{unique}-future").leak();
    let both = after_a_start(2, ["t1-0", "t1-0"]);
    assert_eq!(both, Some((2, Offset(11), [of(&["stray"]), of(&["t1-0"])])));
    let alone = after_a_start(2, [deleted, copy]);
    assert_eq!(alone, Some((2, Offset(11), [of(&[]), of(&["t1-0"])])));
    let before = after_a_start(2, ["t1-0", copy]);
    assert_eq!(before, Some((1, Offset(10), [of(&["t1-0"]), of(&["copy of t1-0"])])));
    // Nobody knows what this is.
    let other = after_a_start(1, [deleted, copy]);
    assert_eq!(other.map(|(dir, end, _)| (dir, end)), Some((1, Offset(0))));
}

#[test]
fn a_copy_does_not_count_while_the_directory_of_its_log_is_missing() {
    in_jbod(async |mut jbod| {
        let mut placement = unassigned(1);
        placement.directory = Uuid([2; 16]);
        let partition = led(&mut jbod, &mut placement).await;
        append(&jbod, &partition, 10).await;
        // Told of, and not answered: the log is still in /d2, and the metadata may say /d1.
        move_to(&jbod.bench.replicas, &placement, "/d1").unwrap();
        jbod.bench.runtime.clock().sleep(Duration::from_secs(1)).await;
        assert_eq!(kinds(&jbod, "/d1"), ["copy of t1-0"]);
        placement.directory = Uuid([1; 16]);
        let (node, id) = (jbod.bench.node.clone(), placement.id);
        drop((partition, jbod));
        node.crash(false).await;
        let jbod = jbod_at(&node, 1, vec!["/d2".into()]);
        jbod.bench.replicas.load(vec![placement.clone()]).await.expect("loaded");
        assert!(jbod.bench.replicas.get(&id).is_none());
        assert_eq!(jbod.bench.replicas.why_missing(&id), ErrorCode::KafkaStorageError);
        assert_eq!(kinds(&jbod, "/d1"), ["copy of t1-0"]);
        drop(jbod);
        node.crash(false).await;
        let mut jbod = jbod_at(&node, 2, Vec::new());
        jbod.bench.replicas.load(vec![placement.clone()]).await.expect("loaded");
        assert!(jbod.moved.try_recv().is_err(), "the controller knows where it will be");
        let partition = jbod.bench.replicas.get(&id).expect("held");
        assert_eq!((partition.dir().id(), records(&partition).1), (Uuid([2; 16]), Offset(10)));
    });
}

#[test]
fn wishes_that_cannot_be_fulfilled() {
    in_jbod(async |mut jbod| {
        let mut placement = unassigned(1);
        let replicas = jbod.bench.replicas.clone();
        let ask = |id: Option<TopicIdPartition>, dir: &str| {
            replicas.move_to(&placement.name, id, Path::new(dir))
        };
        assert_eq!(ask(None, "/d3"), Err(ErrorCode::LogDirNotFound));
        assert_eq!(ask(None, "/d2"), Err(ErrorCode::UnknownTopicOrPartition));
        assert_eq!(ask(Some(placement.id), "/d2"), Err(ErrorCode::ReplicaNotAvailable));
        // It is remembered.
        led(&mut jbod, &mut placement).await;
        assert_eq!(kinds(&jbod, "/d2"), ["t1-0"]);
        jbod.bench.dirs.dirs()[0].health().fence("test".to_owned());
        assert_eq!(move_to(&replicas, &placement, "/d1"), Err(ErrorCode::KafkaStorageError));
        assert_eq!(move_to(&replicas, &placement, "/d2"), Ok(()), "where it is");
        jbod.bench.dirs.dirs()[1].health().fence("test".to_owned());
        assert_eq!(move_to(&replicas, &placement, "/d2"), Err(ErrorCode::KafkaStorageError));
    });
}

#[test]
fn a_clean_stop_closes_copies_and_they_go_on() {
    in_jbod(async |mut jbod| {
        let mut placement = unassigned(1);
        let partition = led(&mut jbod, &mut placement).await;
        append(&jbod, &partition, 40).await;
        jbod.bench.replicas.set_move_rate(Some(1_000));
        move_to(&jbod.bench.replicas, &placement, "/d2").unwrap();
        controller(&mut jbod, &mut placement, Duration::from_millis(300)).await;
        assert_eq!(jbod.bench.replicas.close().await.len(), 2);
        let (node, id) = (jbod.bench.node.clone(), placement.id);
        let points = jbod.bench.dirs.dirs()[1].data().recovery_points().unwrap();
        assert!(points.offsets[&placement.name] > Offset(0), "as Kafka notes it");
        drop((partition, jbod));
        node.crash(false).await;
        let mut jbod = jbod_at(&node, 2, Vec::new());
        jbod.bench.replicas.load(vec![placement.clone()]).await.expect("loaded");
        jbod.bench.replicas.start_moving();
        controller(&mut jbod, &mut placement, Duration::from_secs(1)).await;
        assert_eq!(kinds(&jbod, "/d2"), ["t1-0"]);
        let partition = jbod.bench.replicas.get(&id).expect("held");
        assert_eq!(records(&partition), (Offset(0), Offset(40)));
    });
}

#[test]
fn a_copy_whose_directory_says_nothing_is_no_copy() {
    in_jbod(async |jbod| {
        let disk = jbod.bench.runtime.disk().clone();
        let name = format!("/d1/t1-0.{}-future", Uuid([7; 16]).to_hex());
        disk.create_dir(Path::new(&name)).unwrap();
        let other = format!("/d1/t1-0.{}-future", Uuid([8; 16]).to_hex());
        disk.create_dir(Path::new(&other)).unwrap();
        let metadata = PartitionMetadata { topic_id: Uuid([5; 16]) };
        metadata.write(&disk, Path::new(&other), None).unwrap();
        jbod.bench.replicas.load(vec![unassigned(1)]).await.expect("loaded");
        assert_eq!(kinds(&jbod, "/d1"), ["t1-0", "stray"]);
    });
}
