//! One suite for both twins: what the rooms above rely on.

use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};

use super::{Disk, OpenMode};
use crate::SyncPoint;
use crate::sim::SimWorld;

/// Runs a case on both twins, each in an empty directory.
fn on_both(case: impl Fn(&Disk, &Path)) {
    let base = std::env::temp_dir().join(format!("ottla-disk-{}", std::process::id()));
    let name = std::thread::current().name().unwrap_or("case").replace("::", "-");
    let dir = base.join(name);
    std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
    case(&Disk::real(), &dir);
    std::fs::remove_dir_all(&dir).expect("nobody else uses it");

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let world = SimWorld::new(1);
        let disk = Disk::simulated(world.node("a").disk());
        let dir = PathBuf::from("/case");
        disk.create_dir(&dir).expect("an empty disk");
        case(&disk, &dir);
    });
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn writes_are_read_back() {
    on_both(|disk, dir| {
        let path = dir.join("f");
        assert_eq!(kind(disk.open(&path, OpenMode::Read)), Some(ErrorKind::NotFound));
        let file = disk.open(&path, OpenMode::Create).unwrap();
        let (a, b) = (b"hello, ".as_slice(), b"world".as_slice());
        file.write_all_at(&mut [IoSlice::new(a), IoSlice::new(&[]), IoSlice::new(b)], 3).unwrap();
        assert_eq!(file.len().unwrap(), 15);
        let mut buf = [9; 20];
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), 15);
        assert_eq!(&buf[..15], b"\0\0\0hello, world");
        assert_eq!(file.read_at(&mut buf, 15).unwrap(), 0);
        assert_eq!(file.read_at(&mut buf, 99).unwrap(), 0);
        assert_eq!(kind(file.read_exact_at(&mut buf, 0)), Some(ErrorKind::UnexpectedEof));
        file.set_len(5).unwrap();
        file.sync(SyncPoint::SegmentData).unwrap();
        assert_eq!(disk.read(&path, 5).unwrap(), b"\0\0\0he");
        assert_eq!(kind(disk.read(&path, 4)), Some(ErrorKind::FileTooLarge));
        assert_eq!(disk.open(&path, OpenMode::Create).unwrap().len().unwrap(), 5);
        assert_eq!(disk.open(&path, OpenMode::Truncate).unwrap().len().unwrap(), 0);
    });
}

#[test]
fn names_are_listed_renamed_and_removed() {
    on_both(|disk, dir| {
        disk.create_dir_all(&dir.join("d/e")).unwrap();
        assert_eq!(kind(disk.create_dir(&dir.join("d"))), Some(ErrorKind::AlreadyExists));
        assert_eq!(kind(disk.create_dir(&dir.join("x/y"))), Some(ErrorKind::NotFound));
        disk.write_atomically(&dir.join("b"), b"1", None, None).unwrap();
        disk.write_atomically(&dir.join("a"), b"2", Some(SyncPoint::SegmentData), None).unwrap();
        let names: Vec<_> =
            disk.list(dir).unwrap().into_iter().map(|e| (e.name, e.is_dir)).collect();
        assert_eq!(names, [("a".into(), false), ("b".into(), false), ("d".into(), true)]);
        disk.rename(&dir.join("a"), &dir.join("b")).unwrap();
        assert_eq!(disk.read(&dir.join("b"), 9).unwrap(), b"2");
        assert!(!disk.exists(&dir.join("a")).unwrap() && disk.exists(&dir.join("d/e")).unwrap());
        assert!(!disk.exists(&dir.join("no/such")).unwrap());
        assert_eq!(kind(disk.rename(&dir.join("a"), &dir.join("c"))), Some(ErrorKind::NotFound));
        disk.sync_dir(dir, SyncPoint::PartitionDir).unwrap();
        disk.remove_file(&dir.join("b")).unwrap();
        assert_eq!(kind(disk.remove_file(&dir.join("b"))), Some(ErrorKind::NotFound));
        disk.remove_dir_all(&dir.join("d")).unwrap();
        assert!(disk.list(dir).unwrap().is_empty());
    });
}

#[test]
fn an_open_file_outlives_its_name() {
    on_both(|disk, dir| {
        let path = dir.join("f");
        let file = disk.open(&path, OpenMode::Create).unwrap();
        file.write_all_at(&mut [IoSlice::new(b"x")], 0).unwrap();
        disk.remove_file(&path).unwrap();
        let mut buf = [0; 1];
        file.read_exact_at(&mut buf, 0).unwrap();
        assert_eq!(&buf, b"x");
    });
}

#[test]
fn a_directory_is_locked_for_other_processes() {
    // POSIX locks do not exclude their own process, so the real twin is seen from a child.
    let dir = std::env::temp_dir().join(format!("ottla-lock-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let lock = Disk::real().lock_dir(&dir).unwrap();
    let child = || {
        let script =
            "import fcntl,sys\nf=open(sys.argv[1],'w')\nfcntl.lockf(f,fcntl.LOCK_EX|fcntl.LOCK_NB)";
        let status = std::process::Command::new("python3")
            .args(["-c", script])
            .arg(dir.join(".lock"))
            .stderr(std::process::Stdio::null())
            .status();
        status.expect("python3 is there").success()
    };
    assert!(!child());
    drop(lock);
    assert!(child());
    std::fs::remove_dir_all(&dir).unwrap();
}
