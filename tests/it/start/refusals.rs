//! A node that cannot start says why in one line and ends.

use std::fs;
use std::net::TcpListener;

use rustix::fs::FlockOperation;

use crate::client::Client;
use crate::node::{Node, Setup, TempDir, binary, in_own_mounts};
use crate::requests::{
    PRODUCE, Topic, batch, create, error, fetch, produce, produce_request, records,
};
use ottla_types::ErrorCode;

/// Starts a node that must refuse with one line that holds all of `words`.
pub(super) fn refuses(setup: &Setup, words: &[&str]) {
    let mut command = binary();
    command.args(setup.arguments());
    assert_refused(&setup.fails_with(1, &mut command), words);
}

fn assert_refused(told: &str, words: &[&str]) {
    assert_eq!(told.lines().count(), 1, "{told:?}");
    assert!(told.starts_with("ottla: "), "{told:?}");
    let missing: Vec<_> = words.iter().filter(|word| !told.contains(**word)).collect();
    assert!(missing.is_empty(), "{told:?} lacks {missing:?}");
}

#[test]
fn a_port_in_use() {
    let setup = Setup::new();
    for port in setup.ports {
        let other = TcpListener::bind(("127.0.0.1", port)).unwrap();
        refuses(&setup, &[&format!("port {port} is in use")]);
        drop(other);
    }
    assert!(!setup.data().exists(), "nothing is formatted by a node that cannot serve");
}

#[test]
fn a_directory_in_use() {
    let node = Setup::new().start();
    let data = node.setup.data();
    let second = Setup::new().with("log.dirs", data.display());
    refuses(&second, &[&data.display().to_string(), "in use by another process", ".lock"]);
    let mut client = node.connect();
    create(&mut client, "unharmed", 1, &[]);
}

#[test]
fn a_directory_that_kafka_uses() {
    let setup = Setup::new();
    fs::create_dir(setup.data()).unwrap();
    let lock = fs::File::create(setup.data().join(".lock")).unwrap();
    // Java's FileChannel.tryLock.
    rustix::fs::fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    refuses(&setup, &["in use by another process"]);
    drop(lock);

    let node = setup.start();
    let lock = fs::File::options().write(true).open(node.setup.data().join(".lock")).unwrap();
    let tried = rustix::fs::fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive);
    assert!(tried.is_err(), "Kafka sees that the directory is in use");
}

/// A directory that a node has used, with a line of meta.properties replaced.
fn changed_meta(from: &str, to: &str) -> Setup {
    let mut node = Setup::new().start();
    node.stop();
    let path = node.setup.data().join("meta.properties");
    let text = fs::read_to_string(&path).unwrap();
    let line = text.lines().find(|line| line.starts_with(from)).unwrap();
    fs::write(&path, text.replace(line, to)).unwrap();
    node.into_setup()
}

#[test]
fn a_directory_of_another_node() {
    let setup = changed_meta("node.id=", "node.id=7");
    refuses(&setup, &["belongs to node.id 7", "configured as 1"]);
}

#[test]
fn a_directory_that_is_none() {
    refuses(&changed_meta("version=", "version=2"), &["meta.properties", "version"]);
    refuses(&changed_meta("node.id=", "# gone"), &["meta.properties", "node.id"]);
    let foreign = Setup::new();
    fs::create_dir(foreign.data()).unwrap();
    fs::write(foreign.data().join("letters.txt"), "dear").unwrap();
    refuses(&foreign, &["holds files but no meta.properties"]);
    let file = Setup::new();
    fs::write(file.data(), "not a directory").unwrap();
    refuses(&file, &[&file.data().display().to_string()]);
    let mut node = Setup::new().start();
    node.stop();
    fs::create_dir(node.setup.data().join("holiday")).unwrap();
    refuses(&node.into_setup(), &["holiday is not the directory of a partition"]);
}

#[test]
fn bad_values_and_options() {
    for (key, value, words) in [
        ("node.id", "x", ["node.id=x", "must be a 32-bit number"]),
        ("node.id", "-1", ["node.id=-1", "from 0 on"]),
        ("num.partitions", "0", ["num.partitions=0", "from 1 on"]),
        ("auto.create.topics.enable", "maybe", ["auto.create.topics.enable=maybe", "true"]),
        ("listeners", "nonsense", ["listeners", "nonsense"]),
        ("process.roles", "broker", ["process.roles=broker", "broker,controller only"]),
        ("authorizer.class.name", "my.Own", ["authorizer.class.name", "not built"]),
        (
            "listener.security.protocol.map",
            "PLAINTEXT:SSL,CONTROLLER:PLAINTEXT",
            ["PLAINTEXT needs SASL or TLS", "not built"],
        ),
    ] {
        refuses(&Setup::new().with(key, value), &words);
    }
    let setup = Setup::new();
    for (arguments, word) in [
        (vec!["--nonsense"], "--nonsense"),
        (vec!["--override", "nonsense"], "key=value"),
        (vec!["--log-level", "loud"], "loud"),
        (vec!["nonsense"], "nonsense"),
    ] {
        let mut command = binary();
        assert_refused(&setup.fails_with(2, command.args(arguments)), &[word, "--help"]);
    }
    let missing = setup.dir().join("missing.properties");
    let mut command = binary();
    let told = setup.fails_with(1, command.arg("--config").arg(&missing));
    assert_refused(&told, &[&missing.display().to_string(), "No such file"]);
    fs::write(&missing, "node.id=\\u12\n").unwrap();
    let mut command = binary();
    let told = setup.fails_with(1, command.arg("--config").arg(&missing));
    assert_refused(&told, &[&missing.display().to_string(), "line 1"]);
}

#[test]
fn a_read_only_directory() {
    let setup = Setup::new();
    let data = setup.data().display().to_string();
    fs::create_dir(&data).unwrap();
    let prepare = format!("mount --bind {data} {data}; mount -o remount,ro,bind {data}");
    let told = setup.fails_with(1, &mut in_own_mounts(&setup, &prepare));
    assert_refused(&told, &[&data, "Read-only file system"]);

    let mut used = Setup::new().start();
    used.stop();
    let setup = used.into_setup();
    let data = setup.data().display().to_string();
    let prepare = format!("mount --bind {data} {data}; mount -o remount,ro,bind {data}");
    let told = setup.fails_with(1, &mut in_own_mounts(&setup, &prepare));
    assert_refused(&told, &[&data, "Read-only file system"]);
}

#[test]
fn a_full_disk() {
    // Where the space ends: in the format, in the metadata log, behind it.
    for kib in [4, 8, 16, 24] {
        let setup = Setup::new();
        let disk = TempDir::new();
        let path = disk.path().display().to_string();
        let setup = setup.with("log.dirs", format!("{path}/data"));
        let prepare = format!("mount -t tmpfs -o size={kib}k tmpfs {path}");
        let told = setup.fails_with(1, &mut in_own_mounts(&setup, &prepare));
        assert_refused(&told, &["No space left on device"]);
    }
}

#[test]
fn a_disk_that_fills_up_keeps_what_it_has() {
    let disk = TempDir::new();
    let path = disk.path().display().to_string();
    let setup = Setup::new().with("log.dirs", format!("{path}/data"));
    let prepare = format!("mount -t tmpfs -o size=3m tmpfs {path}");
    let mut node = Node::from_command(|setup| in_own_mounts(setup, &prepare), setup);
    let mut client = node.connect();
    let topic = create(&mut client, "fills", 1, &[]);
    let value = "x".repeat(100_000);
    let mut taken = 0;
    let refused = loop {
        let answer = produce(&mut client, &topic, batch(&[&value]));
        match error(answer.error_code) {
            ErrorCode::None => taken += 1,
            other => break other,
        }
        assert!(taken < 40, "more than the disk holds");
    };
    assert_eq!(refused, ErrorCode::KafkaStorageError);
    assert!(taken > 10, "{taken}");
    for offset in 0..taken {
        assert_eq!(records(&fetch(&mut client, &topic, offset))[0].value.len(), value.len());
    }
    assert_eq!(code_of_small(&mut client, &topic), ErrorCode::None, "a small one still fits");
    assert!(!node.process().has_ended(), "{}", node.setup.stderr());
}

fn code_of_small(client: &mut Client, topic: &Topic) -> ErrorCode {
    let request = produce_request(PRODUCE, topic, -1, &[(0, Some(batch(&["small"])))]);
    let answer = client.call(PRODUCE, &request);
    error(answer.responses[0].partition_responses[0].error_code)
}
