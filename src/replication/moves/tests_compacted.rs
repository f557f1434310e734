//! Compacted logs in two directories, such that move between them, and how many are compacted at
//! once and how fast, on a simulated node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_config::CleanerConfig;
use ottla_protocol::batch::{BatchBuilder, BatchHeader, BatchKind};
use ottla_runtime::Plane;
use ottla_runtime::sim::FaultsBelow;
use ottla_storage::{CleanJob, CleanLimits, CleanShutdown, CleanStep, CleanedGroup, IncomingBatch};
use ottla_types::{BrokerEpoch, LeaderEpoch, Offset, Timestamp, Uuid};

use super::tests::{controller, kinds, led, move_to};
use crate::tests::FROM_START;
use crate::tests_dirs::{Jbod, in_jbod, jbod_at, unassigned};
use crate::{Acks, FetchSpec, Partition, Placement};

fn compacted() -> Placement {
    let mut placement = unassigned(1);
    placement.config.compacts = true;
    placement.config.deletes = false;
    placement.config.min_cleanable_ratio = 0.0;
    placement
}

/// Writes a record of each key, one batch each.
async fn write(jbod: &Jbod, partition: &Arc<Partition>, keys: impl Iterator<Item = u8>) {
    let now = jbod.bench.runtime.clock().wall();
    for key in keys {
        let mut builder =
            BatchBuilder::new(BatchKind::Data, Offset(0), LeaderEpoch(-1), Timestamp(1));
        builder.push(Some(&[key]), Some(&[7; 50]));
        let bytes = Bytes::from(builder.build());
        let header = BatchHeader::read(&bytes).expect("just built");
        let batch = IncomingBatch { header, bytes };
        let appended = partition.append(&batch, Acks::All, now).expect("accepted");
        if appended.start_flush {
            jbod.bench.replicas.flush(partition.clone(), Plane::Data(0));
        }
        let mut wait = appended.wait.expect("flushed first");
        wait.acknowledged().await.expect("flushed");
    }
}

/// The offsets of the batches that there are.
fn offsets(partition: &Partition) -> Vec<i64> {
    let end = partition.offsets(None).expect("led").high_watermark;
    let (mut at, mut found) = (Offset(0), Vec::new());
    while at < end {
        let spec = FetchSpec { offset: at, bytes_max: 1, ..FROM_START };
        let extent = partition.fetch(spec).expect("readable").extent.expect("below the end");
        let mut bytes = vec![0; usize::try_from(extent.len).unwrap()];
        assert_eq!(extent.file.read_at(&mut bytes, extent.position).unwrap(), bytes.len());
        let header = BatchHeader::read(&bytes).expect("sound");
        found.push(header.base_offset.0);
        at = header.next_offset();
    }
    found
}

#[test]
fn a_log_that_moves_is_compacted_before_and_behind_and_not_meanwhile() {
    in_jbod(async |mut jbod| {
        let mut placement = compacted();
        let partition = led(&mut jbod, &mut placement).await;
        write(&jbod, &partition, [1, 2, 3, 1, 2].into_iter().cycle().take(40)).await;
        let replicas = jbod.bench.replicas.clone();
        assert!(replicas.clean_dirtiest(0).await);
        let before = offsets(&partition);
        assert!(before.len() < 20, "{before:?}");
        let from = partition.dir();
        let cleaned = from.cleaned_to(&placement.name).expect("it is clean up to here");
        replicas.set_move_rate(Some(500));
        move_to(&replicas, &placement, "/d2").unwrap();
        controller(&mut jbod, &mut placement, Duration::from_millis(300)).await;
        assert_eq!(kinds(&jbod, "/d2"), ["copy of t1-0"]);
        write(&jbod, &partition, [4, 1, 2].into_iter().cycle().take(20)).await;
        assert!(!replicas.clean_dirtiest(0).await, "it moves");
        replicas.set_move_rate(None);
        controller(&mut jbod, &mut placement, Duration::from_secs(1)).await;
        assert_eq!(
            (partition.dir().id(), kinds(&jbod, "/d2")),
            (Uuid([2; 16]), vec!["t1-0".into()])
        );
        let moved = offsets(&partition);
        let expected: Vec<i64> = before.iter().copied().chain(40..60).collect();
        assert_eq!(moved, expected);
        assert_eq!(partition.dir().cleaned_to(&placement.name), Some(cleaned));
        let on_disk = partition.dir().data().cleaner_offsets().unwrap();
        assert_eq!(on_disk.offsets.get(&placement.name), Some(&cleaned));
        assert!(replicas.clean_dirtiest(0).await, "and is compacted where it is now");
        let after = offsets(&partition);
        assert!(after.len() < moved.len(), "{after:?}");
        assert!(partition.dir().cleaned_to(&placement.name) > Some(cleaned));
        assert_eq!(partition.inconsistencies().unwrap(), Vec::<String>::new());
        // And the next start finds it so.
        let (node, id) = (jbod.bench.node.clone(), placement.id);
        drop((partition, replicas, from, jbod));
        node.crash(true).await;
        let jbod = jbod_at(&node, 2, Vec::new());
        jbod.bench.replicas.load(vec![placement.clone()]).await.expect("loaded");
        let partition = jbod.bench.replicas.get(&id).expect("held");
        assert_eq!(offsets(&partition), after);
    });
}

#[test]
fn a_copy_that_a_power_cut_may_have_holed_begins_anew() {
    for stops_cleanly in [true, false] {
        in_jbod(async |mut jbod| {
            let mut placement = compacted();
            let partition = led(&mut jbod, &mut placement).await;
            write(&jbod, &partition, [1, 2].into_iter().cycle().take(40)).await;
            jbod.bench.replicas.set_move_rate(Some(1_000));
            move_to(&jbod.bench.replicas, &placement, "/d2").unwrap();
            controller(&mut jbod, &mut placement, Duration::from_millis(1_500)).await;
            assert_eq!(kinds(&jbod, "/d2"), ["copy of t1-0"]);
            let copied = partition.moving().expect("under way").end();
            assert!(copied > Offset(10), "{copied:?}");
            if stops_cleanly {
                assert_eq!(jbod.bench.replicas.close().await.len(), 2);
                let clean = CleanShutdown { broker_epoch: BrokerEpoch(1) };
                for dir in jbod.bench.dirs.dirs() {
                    dir.data().write_clean_shutdown(clean).unwrap();
                }
            }
            let (node, id) = (jbod.bench.node.clone(), placement.id);
            drop((partition, jbod));
            // Of the power nobody knows.
            node.crash(false).await;
            let mut jbod = jbod_at(&node, 2, Vec::new());
            jbod.bench.replicas.load(vec![placement.clone()]).await.expect("loaded");
            let partition = jbod.bench.replicas.get(&id).expect("held");
            jbod.bench.replicas.set_move_rate(Some(1));
            jbod.bench.replicas.start_moving();
            controller(&mut jbod, &mut placement, Duration::from_millis(50)).await;
            let found = partition.moving().expect("under way").end();
            assert_eq!(found >= copied, stops_cleanly, "{found:?} {copied:?}");
            jbod.bench.replicas.set_move_rate(None);
            controller(&mut jbod, &mut placement, Duration::from_secs(1)).await;
            assert_eq!(partition.dir().id(), Uuid([2; 16]));
            assert_eq!(offsets(&partition), (0..40).collect::<Vec<i64>>());
        });
    }
}

#[test]
fn that_a_log_is_compacted_is_durable_before_it_is() {
    in_jbod(async |mut jbod| {
        let node = jbod.bench.node.clone();
        let mut placements = Vec::new();
        // Each time a power cut keeps what it likes of what was not synced.
        for number in 1..=12 {
            let mut placement = compacted();
            placement.id.topic_id = Uuid([number; 16]);
            placement.name.topic = format!("t{number}").as_str().into();
            let partition = led(&mut jbod, &mut placement).await;
            placements.push(placement);
            write(&jbod, &partition, [1, 2].into_iter().cycle().take(20)).await;
            assert!(jbod.bench.replicas.clean_dirtiest(0).await);
            assert!(offsets(&partition).len() < 20);
            drop((partition, jbod));
            node.crash(true).await;
            jbod = jbod_at(&node, 2, Vec::new());
            jbod.bench.replicas.load(placements.clone()).await.expect("loaded");
            for Placement { id, name, .. } in &placements {
                let dir = jbod.bench.replicas.get(id).expect("held").dir();
                assert!(dir.cleaned_to(name).is_some(), "{name} after power cut {number}");
            }
        }
    });
}

#[test]
fn a_log_without_room_does_not_keep_others_from_being_compacted() {
    in_jbod(async |mut jbod| {
        let mut partitions = Vec::new();
        for number in 1..=2 {
            let mut placement = compacted();
            placement.id.topic_id = Uuid([number; 16]);
            placement.name.topic = format!("t{number}").as_str().into();
            placement.directory = Uuid([number; 16]);
            let partition = led(&mut jbod, &mut placement).await;
            assert_eq!(partition.dir().id(), Uuid([number; 16]));
            write(&jbod, &partition, [1, 2].into_iter().cycle().take(20)).await;
            partitions.push(partition);
        }
        let node = jbod.bench.node.clone();
        let room = |capacity: Option<u64>| {
            let full = FaultsBelow { capacity, ..FaultsBelow::default() };
            node.disk().set_faults(|faults| faults.below.extend([("/d1".into(), full)]));
        };
        room(Some(0));
        let replicas = jbod.bench.replicas.clone();
        let mut was_there = Vec::new();
        for _ in 0..3 {
            was_there.push(replicas.clean_dirtiest(0).await);
        }
        assert_eq!(was_there, [true, true, false]);
        assert_eq!(offsets(&partitions[0]).len(), 20);
        assert!(offsets(&partitions[1]).len() < 20);
        room(None);
        assert!(replicas.clean_dirtiest(0).await);
        assert!(offsets(&partitions[0]).len() < 20);
    });
}

/// A segment of a cleaning, staged, with the job that made it.
fn staged(jbod: &Jbod, partition: &Partition) -> (CleanJob, CleanedGroup) {
    let now = jbod.bench.runtime.clock().wall();
    let plan = partition.plan_cleaning(None, now).unwrap().expect("it is worth it");
    let limits =
        CleanLimits { map_bytes: 1 << 20, load_factor: 0.9, write_bytes: 4096, secret: (1, 2) };
    let mut job = partition.start_cleaning(plan, limits, now).unwrap();
    loop {
        match job.step().unwrap() {
            CleanStep::Working(_) => {}
            CleanStep::Cleaned(group) => {
                let staged = partition.stage_swap(*group).unwrap();
                return (job, staged.expect("nothing has changed"));
            }
            CleanStep::Done(..) => panic!("a segment was to be cleaned"),
        }
    }
}

#[test]
fn a_move_that_begins_between_stage_and_swap_waits_for_the_swap() {
    for is_swapped in [true, false] {
        in_jbod(async |mut jbod| {
            let mut placement = compacted();
            let partition = led(&mut jbod, &mut placement).await;
            write(&jbod, &partition, [1, 2].into_iter().cycle().take(40)).await;
            let before = offsets(&partition);
            let (job, group) = staged(&jbod, &partition);
            let base = group.base();
            let replicas = jbod.bench.replicas.clone();
            move_to(&replicas, &placement, "/d2").unwrap();
            controller(&mut jbod, &mut placement, Duration::from_secs(1)).await;
            // What is copied now might have a value of before and miss the tombstone behind.
            let copied = partition.moving().map(|moving| moving.end());
            assert!(copied.is_none_or(|end| end == Offset::ZERO), "{copied:?}");
            assert_eq!(partition.dir().id(), Uuid([1; 16]));
            if is_swapped {
                job.sync_staged().unwrap();
                let files = partition.begin_swap(group).unwrap();
                assert!(files.is_some(), "the log is as the job knew it");
                job.sync_replaced().unwrap();
                partition.end_swap(base).unwrap();
            } else {
                partition.unstage_swap(group).unwrap();
            }
            job.abandon();
            let now = offsets(&partition);
            assert_eq!(now.len() < before.len(), is_swapped, "{now:?}");
            controller(&mut jbod, &mut placement, Duration::from_secs(1)).await;
            assert_eq!(partition.dir().id(), Uuid([2; 16]), "it moves when nothing is staged");
            assert_eq!(offsets(&partition), now);
            let (node, id) = (jbod.bench.node.clone(), placement.id);
            drop((partition, replicas, jbod));
            node.crash(true).await;
            let jbod = jbod_at(&node, 2, Vec::new());
            jbod.bench.replicas.load(vec![placement.clone()]).await.expect("loaded");
            assert_eq!(offsets(&jbod.bench.replicas.get(&id).expect("held")), now);
        });
    }
}

/// Some logs that can be compacted.
async fn dirty_logs(jbod: &mut Jbod, count: u8) -> Vec<Arc<Partition>> {
    let mut partitions = Vec::new();
    for number in 1..=count {
        let mut placement = compacted();
        placement.id.topic_id = Uuid([number; 16]);
        placement.name.topic = format!("t{number}").as_str().into();
        let partition = led(jbod, &mut placement).await;
        write(jbod, &partition, [1, 2].into_iter().cycle().take(40)).await;
        partitions.push(partition);
    }
    partitions
}

#[test]
fn all_cleaners_together_read_and_write_no_faster_than_they_may() {
    let mut times = Vec::new();
    for cleaners in [1, 2] {
        in_jbod(async |mut jbod| {
            let logs = dirty_logs(&mut jbod, 2).await;
            let (replicas, clock) =
                (jbod.bench.replicas.clone(), jbod.bench.runtime.clock().clone());
            let begun_with = replicas.cleaner_begun_with();
            replicas.set_cleaner(CleanerConfig { bytes_per_second: 1_000.0, ..begun_with });
            let began = clock.now();
            match cleaners {
                1 => {
                    assert!(replicas.clean_dirtiest(0).await && replicas.clean_dirtiest(0).await);
                }
                _ => {
                    let both = tokio::join!(replicas.clean_dirtiest(0), replicas.clean_dirtiest(1));
                    assert_eq!(both, (true, true));
                }
            }
            assert!(logs.iter().all(|log| offsets(log).len() < 20));
            times.push(clock.now().since(began).as_millis());
        });
    }
    let [one, two] = times[..] else { panic!("{times:?}") };
    assert!(one > 5_000, "some thousand bytes, a thousand in a second: {one} ms");
    assert!(two * 10 > one * 9, "two take as long for the same: {two} of {one} ms");
}

#[test]
fn cleaners_come_and_go_as_they_are_wanted() {
    in_jbod(async |mut jbod| {
        let logs = dirty_logs(&mut jbod, 3).await;
        let (replicas, clock) = (jbod.bench.replicas.clone(), jbod.bench.runtime.clock().clone());
        let begun_with = replicas.cleaner_begun_with();
        let config = |threads, bytes_per_second| CleanerConfig {
            threads,
            bytes_per_second,
            map_bytes_all: (threads as u64) << 20,
            backoff: Duration::from_hours(1),
            ..begun_with
        };
        // So slow that what is begun does not end by itself.
        replicas.set_cleaner(config(1, 1.0));
        replicas.start_cleaners();
        clock.sleep(Duration::from_secs(5)).await;
        let is_clean = || logs.iter().filter(|log| offsets(log).len() < 20).count();
        assert_eq!((is_clean(), replicas.under_way()), (0, 1));
        replicas.set_cleaner(config(3, 1.0));
        clock.sleep(Duration::from_secs(5)).await;
        assert_eq!((is_clean(), replicas.under_way()), (0, 3));
        // A pause ends when the rate changes, and so does a cleaner that is one too many.
        replicas.set_cleaner(config(1, 1e9));
        clock.sleep(Duration::from_secs(5)).await;
        assert_eq!((is_clean(), replicas.under_way()), (3, 0));
        assert_eq!(replicas.cleaners(), 1);
        // It waits for an hour, unless it is told otherwise.
        for log in &logs {
            write(&jbod, log, [1, 2].into_iter().cycle().take(40)).await;
        }
        clock.sleep(Duration::from_mins(30)).await;
        assert_eq!(is_clean(), 0);
        replicas.set_cleaner(CleanerConfig { backoff: Duration::from_secs(1), ..config(1, 1e9) });
        clock.sleep(Duration::from_secs(5)).await;
        assert_eq!(is_clean(), 3);
    });
}
