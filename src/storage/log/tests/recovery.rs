//! Logs that are opened after other ends than a clean stop, and damaged ones.

use std::io::IoSlice;

use ottla_runtime::{OpenMode, SyncPoint};

use super::super::Left;
use super::*;

/// The log's file of this base offset.
fn file(base: i64, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{DIR}/{base:020}.{suffix}"))
}

fn disk(node: &SimNode) -> ottla_runtime::Disk {
    Runtime::simulated(node).disk().clone()
}

/// Changes a byte of a file.
fn flip(node: &SimNode, path: &Path, at: u64) {
    let file = disk(node).open(path, OpenMode::ReadWrite).expect("it is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is that long");
    file.write_all_at(&mut [IoSlice::new(&[byte[0] ^ 1])], at).expect("written");
}

fn len(node: &SimNode, path: &Path) -> u64 {
    disk(node).open(path, OpenMode::Read).expect("it is there").len().expect("told")
}

fn killed(recovery_point: i64) -> Shutdown {
    Shutdown::Killed { recovery_point: Offset(recovery_point) }
}

fn try_open(node: &SimNode, shutdown: Shutdown) -> Result<(Log, Recovered), LogError> {
    let left = Left { shutdown, start: Offset::ZERO };
    let progress = super::super::Progress::default();
    let options = big_segments();
    Log::open_watched(&disk(node), Path::new(DIR), options, left, Timestamp(0), &progress)
}

fn big_segments() -> LogOptions {
    let mut options = options();
    options.config.segment_bytes = 1_000_000;
    options.config.index_interval_bytes = 1_000;
    options
}

/// A log of 600 KiB in batches of about 6,000 bytes, in one segment; the process died.
async fn die_with_one_segment(node: &SimNode) -> Offset {
    let (mut log, _) = open_with(node, big_segments(), Shutdown::Clean);
    append_many(&mut log, 0..100, 320);
    let end = log.end();
    node.crash(false).await;
    end
}

#[test]
fn after_a_kill_only_what_lies_behind_the_last_index_entry_is_checked() {
    on_disk(async |node| {
        let end = die_with_one_segment(&node).await;
        let size = len(&node, &file(0, "log"));
        let (mut log, recovered) = try_open(&node, killed(0)).expect("sound");
        assert_eq!((log.end(), recovered.cut_bytes), (end, 0));
        assert!(recovered.checked_bytes < 300_000, "{recovered:?} of {size}");
        assert!(recovered.checked_bytes > 0);
        assert_eq!(log.inconsistencies().unwrap(), Vec::<String>::new());
        append_many(&mut log, 0..10, 320);
        assert_eq!(log.inconsistencies().unwrap(), Vec::<String>::new());
        drop(log);
        let (_, recovered) = try_open(&node, UNCLEAN).expect("sound");
        assert!(recovered.checked_bytes > size, "a power cut asks for everything");
    });
}

#[test]
fn a_kill_tears_the_last_write_of_each_file() {
    on_disk(async |node| {
        let end = die_with_one_segment(&node).await;
        for (suffix, cut) in [("log", 70), ("index", 3), ("timeindex", 5)] {
            let path = file(0, suffix);
            let torn = len(&node, &path) - cut;
            let torn_file = disk(&node).open(&path, OpenMode::ReadWrite).expect("there");
            torn_file.set_len(torn).expect("cut");
        }
        let (mut log, recovered) = try_open(&node, killed(0)).expect("sound");
        assert_eq!(log.end(), Offset(end.0 - 320), "the last batch is gone");
        assert!(recovered.cut_bytes > 0 && recovered.checked_bytes < 300_000, "{recovered:?}");
        assert_eq!(log.inconsistencies().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn after_a_kill_the_indexes_of_full_segments_are_still_to_be_synced() {
    on_disk(async |node| {
        let (mut log, _) = open(&node, Shutdown::Clean);
        append_many(&mut log, 0..30, 10);
        let end = log.end();
        node.crash(false).await;
        let (mut log, recovered) = open(&node, killed(0));
        assert_eq!(log.end(), end);
        assert!(recovered.checked_bytes < 2_000, "{recovered:?}");
        assert_eq!(log.checkpoint_offset(), Offset(0));
        let job = log.start_flush().expect("files open").expect("something to do");
        job.run().expect("synced");
        log.finish_flush(job.end);
        assert_eq!(log.checkpoint_offset(), end);
        disk(&node).sync_dir(Path::new("/"), SyncPoint::DataDir).expect("synced");
        node.crash(true).await;
        let (mut log, _) = open(&node, Shutdown::Unclean { recovery_point: end });
        assert_eq!(log.end(), end);
        assert_eq!(log.inconsistencies().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn below_the_recovery_point_a_broken_batch_is_damage_and_above_it_is_cut() {
    let check = |point: i64, shutdown: fn(Offset) -> Shutdown, at: u64, sound: bool| {
        on_disk(async |node| {
            let end = die_with_one_segment(&node).await;
            flip(&node, &file(0, "log"), at);
            match try_open(&node, shutdown(Offset(point))) {
                Ok((log, recovered)) => {
                    assert!(sound && log.end() < end && recovered.cut_bytes > 0, "at {at}");
                }
                Err(LogError::Damaged(damage)) => {
                    assert!(!sound, "{damage}");
                    assert_eq!(damage.path, file(0, "log"));
                    assert!(damage.position <= at && damage.offset < Offset(point), "{damage}");
                    let size = len(&node, &file(0, "log"));
                    assert!(size > 500_000, "nothing was cut");
                }
                Err(error) => panic!("{error}"),
            }
        });
    };
    let unclean = |recovery_point| Shutdown::Unclean { recovery_point };
    // A flipped magic byte of the first batch, then a flipped byte in a record of a late one.
    check(3200, unclean, 16, false);
    check(0, unclean, 16, true);
    check(3200, unclean, 540_000, true);
    check(0, |recovery_point| Shutdown::Killed { recovery_point }, 540_000, true);
}

#[test]
fn a_log_that_ends_below_its_recovery_point_is_damaged() {
    for cut in [0, 100_000] {
        on_disk(async |node| {
            let end = die_with_one_segment(&node).await;
            disk(&node).open(&file(0, "log"), OpenMode::ReadWrite).unwrap().set_len(cut).unwrap();
            for shutdown in [killed(end.0), Shutdown::Unclean { recovery_point: end }] {
                let error = try_open(&node, shutdown).err().expect("refused");
                assert!(matches!(error, LogError::Damaged(_)), "{error}");
                assert!(error.is_damage());
            }
            assert!(try_open(&node, UNCLEAN).is_ok());
        });
    }
}

#[test]
fn indexes_that_are_missing_short_or_of_another_segment_are_rebuilt_after_any_end() {
    let after = |shutdown: Shutdown, change: &dyn Fn(&SimNode)| {
        on_disk(async |node| {
            let (mut log, _) = open(&node, Shutdown::Clean);
            append_many(&mut log, 0..30, 10);
            let end = log.end();
            log.close().expect("closed");
            log.start_final_flush().expect("a job").run().expect("synced");
            node.crash(false).await;
            change(&node);
            let (mut log, _) = open(&node, shutdown);
            assert_eq!(log.end(), end);
            assert_eq!(log.inconsistencies().unwrap(), Vec::<String>::new());
        });
    };
    let first = |node: &SimNode, suffix: &str| {
        let entries = disk(node).list(Path::new(DIR)).expect("listed");
        let second = entries.iter().filter(|entry| entry.name.ends_with(suffix)).nth(1);
        let second = Path::new(DIR).join(&second.expect("several segments").name);
        (file(0, &suffix[1..]), second)
    };
    for shutdown in [Shutdown::Clean, killed(0), Shutdown::Unclean { recovery_point: Offset(300) }]
    {
        for suffix in [".index", ".timeindex"] {
            after(shutdown, &|node| disk(node).remove_file(&first(node, suffix).0).unwrap());
            after(shutdown, &|node| {
                let file = disk(node).open(&first(node, suffix).0, OpenMode::ReadWrite).unwrap();
                file.set_len(5).unwrap();
            });
        }
        after(shutdown, &|node| {
            let (first, second) = first(node, ".index");
            let bytes = disk(node).read(&second, 1 << 20).unwrap();
            disk(node).write_atomically(&first, &bytes[8..], None, None).unwrap();
        });
        after(shutdown, &|node| {
            // Positions behind the end of the first segment.
            let path = first(node, ".index").0;
            let file = disk(node).open(&path, OpenMode::ReadWrite).unwrap();
            file.write_all_at(&mut [IoSlice::new(&[0, 0, 0, 9, 0, 9, 9, 9])], 0).unwrap();
            file.set_len(8).unwrap();
        });
    }
}

#[test]
fn indexes_without_a_segment_go() {
    on_disk(async |node| {
        let (mut log, _) = open(&node, Shutdown::Clean);
        append_many(&mut log, 0..3, 10);
        log.close().expect("closed");
        drop(log);
        disk(&node).open(&file(77, "index"), OpenMode::Create).expect("created");
        let (log, _) = open(&node, Shutdown::Clean);
        assert_eq!(log.end(), Offset(30));
        assert!(!disk(&node).exists(&file(77, "index")).expect("told"));
    });
}

/// A power cut tears what was not synced anywhere, also between a batch's offset and the rest of
/// it, which its checksum is of.
#[test]
fn a_batch_behind_the_durable_ones_says_nothing_of_them_when_its_offset_is_torn() {
    on_disk(async |node| {
        let (mut log, _) = open_with(&node, big_segments(), Shutdown::Clean);
        append(&mut log, &Batch::of(3));
        append_from_leader(&mut log, 6);
        let (durable, position) = (log.end(), log.size());
        append(&mut log, &Batch::of(2));
        drop(log);
        let torn = disk(&node).open(&file(0, "log"), OpenMode::ReadWrite).expect("it is there");
        torn.write_all_at(&mut [IoSlice::new(&[0; 8])], position).expect("written");
        let unclean = Shutdown::Unclean { recovery_point: durable };
        let (log, recovered) = try_open(&node, unclean).expect("nothing durable is damaged");
        assert_eq!(log.end(), durable);
        assert!(recovered.cut_bytes > 0, "{recovered:?}");
    });
}

#[test]
fn a_file_of_epochs_that_a_power_cut_emptied_is_told_again_by_the_batches() {
    on_disk(async |node| {
        let (mut log, _) = open(&node, Shutdown::Clean);
        append_many(&mut log, 0..40, 3);
        let (end, epochs) = (log.end(), log.epochs().clone());
        log.close().expect("closed");
        drop(log);
        let path = Path::new(DIR).join("leader-epoch-checkpoint");
        disk(&node).open(&path, OpenMode::Truncate).expect("emptied");
        // Segments below the recovery point are taken up without a look at their batches.
        let (log, _) = open(&node, Shutdown::Unclean { recovery_point: end });
        assert_eq!((log.epochs(), log.end()), (&epochs, end));
    });
}
