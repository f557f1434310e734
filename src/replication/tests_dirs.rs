//! Several log directories.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_runtime::Runtime;
use ottla_runtime::sim::{FaultsBelow, SimNode};
use ottla_storage::{DataDir, LogDir, LogDirs};
use ottla_types::{ErrorCode, TopicIdPartition, Uuid};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::tests::{Bench, FROM_START, config, in_world, placement};
use crate::{Partition, Placement, Replicas};

pub(crate) struct Jbod {
    pub(crate) bench: Bench,
    pub(crate) moved: UnboundedReceiver<(TopicIdPartition, Uuid)>,
}

/// Directories /d1 and on, whose ids are so many 1s and on.
pub(crate) fn jbod_at(node: &SimNode, count: u8, unreadable: Vec<PathBuf>) -> Jbod {
    let runtime = Runtime::simulated(node);
    let dir = |number: u8| {
        let path = PathBuf::from(format!("/d{number}"));
        let data = DataDir::open(runtime.disk(), &path).expect("free");
        let clean = data.take_clean_shutdown().expect("readable");
        Arc::new(LogDir::new(data, Uuid([number; 16]), clean))
    };
    let all: Vec<_> = (1..=count).map(dir).collect();
    let dirs = LogDirs::new(all.clone(), all[0].clone(), unreadable);
    let (moved_in, moved) = mpsc::unbounded_channel();
    let replicas = Replicas::new(&runtime, &dirs, config(), moved_in);
    Jbod { bench: Bench { node: node.clone(), runtime, dirs, replicas }, moved }
}

pub(crate) fn unassigned(topic_id: u8) -> Placement {
    let mut placement = placement(topic_id, 1);
    placement.name.topic = format!("t{topic_id}").as_str().into();
    placement.directory = Uuid::DIR_UNASSIGNED;
    placement
}

pub(crate) fn in_jbod(case: impl AsyncFnOnce(Jbod)) {
    in_world(async |bench| case(jbod_at(&bench.node, 2, Vec::new())).await);
}

pub(crate) fn names(jbod: &Jbod, dir: &str) -> Vec<String> {
    let entries = jbod.bench.runtime.disk().list(Path::new(dir)).expect("readable");
    entries.into_iter().filter(|entry| entry.is_dir).map(|entry| entry.name).collect()
}

#[test]
fn new_partitions_go_where_the_fewest_are_unless_the_metadata_names_a_directory() {
    in_jbod(async |mut jbod| {
        let mut named = unassigned(9);
        named.directory = Uuid([2; 16]);
        jbod.bench.replicas.place(vec![named, unassigned(1), unassigned(2)]).await.unwrap();
        jbod.bench.replicas.place(vec![unassigned(3)]).await.unwrap();
        assert_eq!(names(&jbod, "/d1"), ["t1-0", "t2-0"]);
        assert_eq!(names(&jbod, "/d2"), ["t3-0", "t9-0"]);
        let mut told = Vec::new();
        while let Ok((id, dir)) = jbod.moved.try_recv() {
            told.push((id.topic_id.0[0], dir.0[0]));
        }
        told.sort_unstable();
        assert_eq!(told, [(1, 1), (2, 1), (3, 2)], "the controller knows of 9");
    });
}

#[test]
fn a_directory_that_fails_takes_its_partitions_with_it_and_no_others() {
    in_jbod(async |jbod| {
        let bench = &jbod.bench;
        bench.replicas.place(vec![unassigned(1), unassigned(2)]).await.unwrap();
        let get = |id| bench.replicas.get(&unassigned(id).id).expect("held");
        let (good, bad) = (get(1), get(2));
        bench.append(&bad).expect("accepted").wait.unwrap().acknowledged().await.unwrap();
        let fails = FaultsBelow { eio_after: Some(1), ..FaultsBelow::default() };
        let node = bench.node.clone();
        node.disk().set_faults(|faults| faults.below.extend([("/d2".into(), fails)]));
        let mut wait = bench.append(&bad).expect("written").wait.expect("waits for its sync");
        let dir = bench.dirs.dirs()[1].clone();
        dir.health().fenced().await;
        bench.replicas.end_waits_of_fenced();
        let ended = wait.acknowledged().await.map_err(|error| error.code());
        assert_eq!(ended, Err(ErrorCode::KafkaStorageError));
        let code = |partition: &Partition| {
            partition.fetch(FROM_START).map(|_| ()).map_err(|error| error.code())
        };
        assert_eq!(code(&bad), Err(ErrorCode::KafkaStorageError), "nothing is served of it");
        bench.append(&good).expect("accepted").wait.unwrap().acknowledged().await.unwrap();
        assert_eq!(code(&good), Ok(()));
        // Whoever is new goes elsewhere; who was told to be there waits.
        let mut there = unassigned(3);
        there.directory = Uuid([2; 16]);
        bench.replicas.place(vec![there.clone(), unassigned(4)]).await.unwrap();
        assert!(bench.replicas.get(&there.id).is_none());
        assert_eq!(bench.replicas.why_missing(&there.id), ErrorCode::KafkaStorageError);
        assert_eq!(names(&jbod, "/d1"), ["t1-0", "t4-0"]);
        bench.replicas.delete(vec![unassigned(2).id]);
        assert_eq!(names(&jbod, "/d2"), ["t2-0"], "a failed directory is left as it is");
        bench.replicas.close().await;
        assert!(!bench.dirs.metadata().health().is_fenced());
    });
}

#[test]
fn without_a_directory_nothing_that_may_be_in_it_begins_anew() {
    in_jbod(async |jbod| {
        jbod.bench.replicas.place(vec![unassigned(1), unassigned(2)]).await.unwrap();
        let node = jbod.bench.node.clone();
        drop(jbod);
        node.crash(false).await;
        let jbod = jbod_at(&node, 1, vec!["/d2".into()]);
        let bench = &jbod.bench;
        let mut there = unassigned(5);
        there.directory = Uuid([2; 16]);
        let all = vec![unassigned(1), unassigned(2), there.clone()];
        bench.replicas.load(all).await.expect("the rest is served");
        assert!(bench.replicas.get(&unassigned(1).id).is_some());
        for id in [2, 5] {
            let code = bench.replicas.why_missing(&unassigned(id).id);
            assert_eq!(code, ErrorCode::KafkaStorageError, "{id}");
        }
        assert_eq!(names(&jbod, "/d1"), ["t1-0"]);
        bench.replicas.place(vec![unassigned(6)]).await.unwrap();
        assert_eq!(names(&jbod, "/d1"), ["t1-0", "t6-0"], "what is new is not there");
    });
}

#[test]
fn a_partition_in_two_directories_stops_the_start() {
    in_jbod(async |jbod| {
        let bench = &jbod.bench;
        bench.replicas.place(vec![unassigned(1)]).await.unwrap();
        let node = bench.node.clone();
        let disk = bench.runtime.disk().clone();
        drop(jbod);
        node.crash(false).await;
        disk.create_dir(Path::new("/d2/t1-0")).unwrap();
        let metadata = ottla_storage::PartitionMetadata { topic_id: Uuid([1; 16]) };
        metadata.write(&disk, Path::new("/d2/t1-0"), None).unwrap();
        let again = jbod_at(&node, 2, Vec::new());
        let error = again.bench.replicas.load(vec![unassigned(1)]).await.unwrap_err().to_string();
        assert!(
            error.starts_with("Duplicate log directories for t1-0 are found in both"),
            "{error}"
        );
        assert!(error.contains("/d1/t1-0") && error.contains("/d2/t1-0"), "{error}");
    });
}
