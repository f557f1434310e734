//! A disk that is full, and has room again: a small tmpfs in a mount namespace of its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ottla_types::ErrorCode;

use crate::client::Client;
use crate::node::{Node, Setup, TempDir, wait_until};
use crate::requests::{
    CREATE_TOPICS, DELETE_TOPICS, PRODUCE, Topic, batch, creatable, create, create_request,
    delete_request, error, fetch, metadata_of, produce, produce_request, read_all, records,
};

/// A small disk, which outlives the nodes on it.
struct Disk {
    dir: TempDir,
    /// Holds the mount namespace.
    holder: Child,
}

impl Disk {
    fn new(mib: u32) -> Disk {
        let dir = TempDir::new();
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        let mount = format!("mount -t tmpfs -o size={mib}m tmpfs {}", dir.path().display());
        command.args(["--mount", "sh", "-c", &format!("set -e; {mount}; echo mounted; exec cat")]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut told).unwrap();
        assert_eq!(told, "mounted\n");
        Disk { dir, holder }
    }

    /// The data directory, as everybody sees it.
    fn data(&self) -> PathBuf {
        let inside = self.dir.path().join("data");
        let inside = inside.strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(inside)
    }

    fn setup(&self) -> Setup {
        Setup::new()
            .with("log.dirs", self.dir.path().join("data").display())
            .with("log.flush.offset.checkpoint.interval.ms", 50)
            .with("replica.high.watermark.checkpoint.interval.ms", 50)
            .with("log.segment.delete.delay.ms", 0)
    }

    fn start(&self, setup: Setup) -> Node {
        let command = |setup: &Setup| {
            let mut command = Command::new("nsenter");
            command.args(["--mount", "--target", &self.holder.id().to_string()]);
            if !rustix::process::geteuid().is_root() {
                command.args(["--user", "--preserve-credentials"]);
            }
            command.arg(env!("CARGO_BIN_EXE_ottla")).args(setup.arguments());
            command
        };
        Node::from_command(command, setup)
    }

    /// Waits until the high watermark of the topic is checkpointed.
    fn wait_checkpointed(&self, topic: &Topic, high_watermark: i64) {
        let line = format!("{} 0 {high_watermark}", topic.name);
        let file = self.data().join("replication-offset-checkpoint");
        wait_until("the checkpoint is written", || {
            fs::read_to_string(&file).is_ok_and(|text| text.lines().any(|it| it == line))
        });
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // To a place that does not go with the namespace: see `TempDir`.
        let _ = Command::new("cp").arg("-r").arg(self.data()).arg(self.dir.path()).status();
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn code(client: &mut Client, topic: &Topic, len: usize) -> ErrorCode {
    error(produce(client, topic, batch(&[&"x".repeat(len)])).error_code)
}

/// Produces until not even one byte finds room; tells how many batches were taken.
fn fill(client: &mut Client, topic: &Topic) -> i64 {
    let mut taken = 0;
    for len in [200_000, 20_000, 2_000, 1] {
        loop {
            match code(client, topic, len) {
                ErrorCode::None => taken += 1,
                ErrorCode::KafkaStorageError => break,
                other => panic!("{other}"),
            }
            assert!(taken < 10_000, "more than the disk holds");
        }
    }
    taken
}

/// A topic with one small record, and one that fills the disk, with the number of its records.
fn filled(client: &mut Client) -> (Topic, Topic, i64) {
    let small = create(client, "small", 1, &[]);
    assert_eq!(code(client, &small, 10), ErrorCode::None);
    let large = create(client, "large", 1, &[]);
    let taken = fill(client, &large);
    (small, large, taken)
}

/// Appends to a file of somebody else's until the disk is full, reserves included.
fn take_all_room(file: &Path) {
    let file = fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
    let full = std::io::copy(&mut std::io::repeat(1), &mut &file).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
}

/// What works while not even one byte finds room.
fn is_full_and_reads_go_on(client: &mut Client, small: &Topic, large: &Topic) {
    assert_eq!(code(client, small, 10), ErrorCode::KafkaStorageError);
    assert_eq!(records(&fetch(client, large, 0))[0].value.len(), 200_000, "reads go on");
    assert_eq!(read_all(client, small, 0).len(), 1);
}

/// Deletes `large`; all others take records then.
fn make_room(client: &mut Client, large: &Topic, others: &[&Topic]) {
    let answer = client.call(DELETE_TOPICS, &delete_request(large, DELETE_TOPICS));
    assert_eq!(error(answer.responses[0].error_code), ErrorCode::None);
    for topic in others {
        wait_until("records are taken again", || code(client, topic, 10) == ErrorCode::None);
    }
}

#[test]
fn topics_can_be_deleted_on_a_full_disk_and_then_it_takes_records_again() {
    let disk = Disk::new(4);
    let mut node = disk.start(disk.setup());
    let client = &mut node.connect();
    let (small, large, taken) = filled(client);
    assert!(taken > 20, "{taken}");
    disk.wait_checkpointed(&large, taken);
    is_full_and_reads_go_on(client, &small, &large);
    // So do changes of metadata: a topic is created, and waits for room.
    let request = create_request(vec![creatable("waits", 1, &[])]);
    let answer = client.call(CREATE_TOPICS, &request);
    assert_eq!(error(answer.topics[0].error_code), ErrorCode::None);
    let waits = Topic { name: "waits".to_owned(), id: answer.topics[0].topic_id };
    assert_eq!(code(client, &waits, 10), ErrorCode::KafkaStorageError);
    assert_eq!(metadata_of(client, "waits").topics[0].partitions[0].leader_id.0, 1);
    make_room(client, &large, &[&small, &waits]);
    assert!(read_all(client, &small, 0).len() > 1);
    let again = create(client, "again", 1, &[]);
    assert_eq!(code(client, &again, 100_000), ErrorCode::None);
    assert!(!node.process().has_ended(), "{}", node.setup.stderr());
    node.stop();
    assert!(!node.setup.stderr().contains("fencing"), "{}", node.setup.stderr());
}

#[test]
fn a_node_starts_again_on_a_full_disk() {
    let disk = Disk::new(4);
    let mut node = disk.start(disk.setup());
    let client = &mut node.connect();
    let (small, large, taken) = filled(client);
    for end in ["stop", "kill"] {
        match end {
            "stop" => node.stop(),
            _ => node.process().kill(),
        }
        node = disk.start(node.into_setup());
        is_full_and_reads_go_on(&mut node.connect(), &small, &large);
        assert_eq!(read_all(&mut node.connect(), &large, 0).len() as i64, taken, "after {end}");
    }
    // Somebody else takes what was kept: the metadata log may find no room, and the stop ends.
    let other = disk.data().with_file_name("other");
    take_all_room(&other);
    node.process().terminate();
    let status = node.process().wait();
    let told = node.setup.stderr();
    assert!(status.success() || told.contains("cannot be closed: the disk is full"), "{told}");
    let setup = node.into_setup();
    let outputs = ["stdout", "stderr"].map(|name| setup.dir().join(name));
    let says = |what: &str| outputs.iter().any(|it| fs::read_to_string(it).unwrap().contains(what));
    let frees = || {
        wait_until("it starts or waits for room", || {
            says("waits for room") || says("Kafka Server started")
        });
        fs::remove_file(&other).unwrap();
    };
    node = std::thread::scope(|threads| {
        outputs.iter().for_each(|it| fs::write(it, "").unwrap());
        threads.spawn(frees);
        disk.start(setup)
    });
    is_full_and_reads_go_on(&mut node.connect(), &small, &large);
    make_room(&mut node.connect(), &large, &[&small]);
    node.stop();
    assert!(!node.setup.stderr().contains("fencing"), "{}", node.setup.stderr());
}

#[test]
fn a_node_stops_cleanly_on_a_full_disk() {
    let disk = Disk::new(4);
    let mut node = disk.start(disk.setup());
    let client = &mut node.connect();
    let topic = create(client, "full", 1, &[]);
    fill(client, &topic);
    node.stop();
}

#[test]
fn a_node_ends_that_cannot_tell_of_a_directory_that_failed() {
    let disk = Disk::new(4);
    let setup = disk.setup();
    let other = setup.dir().join("other");
    let dirs = format!("{},{}", disk.dir.path().join("data").display(), other.display());
    let setup = setup.with("log.dirs", dirs).with("log.dir.failure.timeout.ms", 500);
    let mut node = disk.start(setup);
    let client = &mut node.connect();
    let topic = create(client, "there", 2, &[]);
    // What is kept for the metadata log goes as well; then it waits for room.
    let ballast = disk.data().with_file_name("ballast");
    let mut count = 0;
    loop {
        take_all_room(&ballast);
        let request = create_request(vec![creatable(&format!("t{count}"), 1, &[])]);
        let answer = client.call(CREATE_TOPICS, &request.with_timeout_ms(300));
        match error(answer.topics[0].error_code) {
            ErrorCode::None => count += 1,
            code => break assert_eq!(code, ErrorCode::RequestTimedOut),
        }
        assert!(count < 1000, "more than the disk holds");
    }
    assert!(!node.process().has_ended(), "{}", node.setup.stderr());
    fs::rename(&other, node.setup.dir().join("away")).unwrap();
    // Whichever is in that directory: the next checkpoint of high watermarks fails.
    for partition in 0..2 {
        let request = produce_request(PRODUCE, &topic, 1, &[(partition, Some(batch(&["v"])))]);
        client.send(PRODUCE, &request);
    }
    assert_eq!(node.process().wait().code(), Some(1));
    let told = node.setup.stderr();
    let expected = format!(
        "{}: the controller could not be told of its failure within log.dir.failure.timeout.ms",
        other.display()
    );
    assert!(told.contains(&expected), "{told}");
}
