//! The simulated world: what it keeps, what it loses, and that a seed decides all of it.

use std::io::IoSlice;
use std::path::Path;
use std::time::Duration;

use super::{SimNode, SimWorld};
use crate::{OpenMode, Plane, Runtime, SyncPoint};

fn in_world<F: Future>(seed: u64, main: impl FnOnce(SimWorld) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async { main(SimWorld::new(seed)).await })
}

fn write(node: &SimNode, path: &str, bytes: &[u8], sync: bool) {
    let disk = Runtime::simulated(node).disk().clone();
    let file = disk.open(Path::new(path), OpenMode::Create).unwrap();
    file.write_all_at(&mut [IoSlice::new(bytes)], 0).unwrap();
    if sync {
        file.sync(SyncPoint::SegmentData).unwrap();
    }
}

fn read(node: &SimNode, path: &str) -> Option<Vec<u8>> {
    Runtime::simulated(node).disk().read(Path::new(path), 1 << 20).ok()
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_may_lose_the_rest() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..200 {
        in_world(seed, async |world| {
            let node = world.node("a");
            write(&node, "/kept", &[1; 2000], true);
            Runtime::simulated(&node)
                .disk()
                .sync_dir(Path::new("/"), SyncPoint::SegmentDir)
                .unwrap();
            write(&node, "/kept", &[2; 2000], false);
            write(&node, "/nameless", &[3; 10], true);
            node.crash(true).await;
            let kept = read(&node, "/kept").expect("its name was synced");
            assert_eq!(kept.len(), 2000);
            let new = kept.iter().filter(|byte| **byte == 2).count();
            assert!(kept.chunks(512).all(|sector| sector.iter().all(|b| *b == sector[0])));
            outcomes.insert((new, read(&node, "/nameless").is_some()));
        });
    }
    assert!(outcomes.iter().any(|(new, _)| *new == 0), "nothing unsynced kept");
    assert!(outcomes.iter().any(|(new, _)| *new == 2000), "everything unsynced kept");
    assert!(outcomes.iter().any(|(new, _)| *new > 0 && *new < 2000), "a torn write");
    assert!(outcomes.iter().any(|(_, named)| *named) && outcomes.iter().any(|(_, named)| !named));
}

#[test]
fn a_file_that_is_replaced_never_comes_back_as_an_older_one() {
    for seed in 0..200 {
        in_world(seed, async |world| {
            let node = world.node("a");
            // What an earlier power cut left of a replacement, whole.
            write(&node, "/f.tmp", b"older", true);
            let disk = Runtime::simulated(&node).disk().clone();
            disk.sync_dir(Path::new("/"), SyncPoint::SegmentDir).unwrap();
            disk.write_atomically(Path::new("/f"), b"newer", None, None).unwrap();
            disk.sync_dir(Path::new("/"), SyncPoint::SegmentDir).unwrap();
            node.crash(true).await;
            let found = read(&node, "/f").expect("its name was synced");
            assert_ne!(found, b"older", "seed {seed}");
        });
    }
}

#[test]
fn kill_keeps_the_page_cache_and_frees_the_lock() {
    in_world(1, async |world| {
        let node = world.node("a");
        let disk = Runtime::simulated(&node).disk().clone();
        let lock = disk.lock_dir(Path::new("/")).unwrap();
        assert!(disk.lock_dir(Path::new("/")).is_err());
        std::mem::forget(lock);
        write(&node, "/f", &[7; 10], false);
        node.crash(false).await;
        assert_eq!(read(&node, "/f"), Some(vec![7; 10]));
        assert!(disk.lock_dir(Path::new("/")).is_ok());
    });
}

#[test]
fn a_planned_death_falls_between_two_operations() {
    in_world(1, async |world| {
        let node = world.node("a");
        node.disk().set_faults(|faults| faults.kill_after = Some(3));
        let runtime = Runtime::simulated(&node);
        let writer = runtime.clone();
        let _task = runtime.spawn(Plane::Control, "writer", async move {
            let file = writer.disk().open(Path::new("/f"), OpenMode::Create).unwrap();
            for offset in 0..10 {
                let _ = file.write_all_at(&mut [IoSlice::new(b"x")], offset);
                writer.clock().sleep(Duration::from_millis(1)).await;
            }
        });
        node.died().await;
        node.crash(false).await;
        assert_eq!(read(&node, "/f"), Some(b"xx".to_vec()));
    });
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed| {
        in_world(seed, async |world| {
            let server = world.node("server");
            let client = world.node("client");
            let at = std::net::SocketAddr::new(server.address(), 1000);
            let runtime = Runtime::simulated(&server);
            let listener = runtime.net().bind(at).unwrap().listen().await.unwrap();
            let _echo = runtime.spawn(Plane::Control, "echo", async move {
                let stream = listener.accept().await.unwrap().attach().unwrap();
                let mut buf = Vec::with_capacity(64);
                while buf.len() < 50 {
                    stream.readable().await.unwrap();
                    let _ = stream.try_read(&mut buf);
                }
                let mut sent = 0;
                while sent < buf.len() {
                    stream.writable().await.unwrap();
                    sent += stream.try_write(&[IoSlice::new(&buf[sent..])]).unwrap_or(0);
                }
            });
            let stream = Runtime::simulated(&client).net().connect(at).await.unwrap();
            let mut sent = 0;
            while sent < 50 {
                stream.writable().await.unwrap();
                sent += stream.try_write(&[IoSlice::new(&[5; 50][sent..])]).unwrap_or(0);
            }
            let mut echo = Vec::with_capacity(64);
            while echo.len() < 50 {
                stream.readable().await.unwrap();
                let _ = stream.try_read(&mut echo);
            }
            assert_eq!(echo, [5; 50]);
            world.trace().fingerprint()
        })
    };
    assert_eq!(story(3), story(3));
    assert_ne!(story(3).0, story(4).0);
}

#[test]
fn a_vital_task_that_panics_breaks_the_node() {
    in_world(1, async |world| {
        let node = world.node("a");
        let task = Runtime::simulated(&node).spawn_vital(Plane::Control, "core", async {
            panic!("planned");
        });
        node.died().await;
        assert_eq!(node.broken(), Some("core"));
        drop(task);
    });
}
