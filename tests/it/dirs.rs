//! Several log directories. The texts of `ottla storage` are what `kafka-storage` of Apache Kafka
//! 4.3.1 printed; it formats in the order of a hash, and Ottla in that of `log.dirs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use ottla_types::ErrorCode;

use crate::client::Client;
use crate::node::{Setup, binary, wait_until};
use crate::requests::{
    PRODUCE, Topic, batch, create, error, metadata_of, produce_to, read_all, values,
};

const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";

/// A node with directories of these names; the metadata log is in the last one.
fn setup(names: &[&str]) -> Setup {
    let setup = Setup::new();
    let dirs: Vec<_> =
        names.iter().map(|name| setup.dir().join(name).display().to_string()).collect();
    let metadata = dirs.last().unwrap().clone();
    setup.with("log.dirs", dirs.join(",")).with("metadata.log.dir", metadata)
}

fn storage(setup: &Setup, arguments: &[&str]) -> (String, String, i32) {
    let mut text = "process.roles=broker,controller\nnode.id=1\n\
                    controller.listener.names=CONTROLLER\n"
        .to_owned();
    for (key, value) in setup.overrides() {
        text += &format!("{key}={value}\n");
    }
    let config = setup.dir().join("server.properties");
    fs::write(&config, text).unwrap();
    let output = binary().arg("storage").args(arguments).arg("-c").arg(config).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

fn id_in(dir: PathBuf) -> String {
    let meta = fs::read_to_string(dir.join("meta.properties")).unwrap();
    meta.lines().find_map(|line| line.strip_prefix("directory.id=")).unwrap().to_owned()
}

#[test]
fn all_directories_are_formatted_and_told_of() {
    let setup = setup(&["b", "a", "c"]);
    let path = |name: &str| setup.dir().join(name).display().to_string();
    let format = ["format", "-t", CLUSTER, "-s"];
    let (out, _, code) = storage(&setup, &format);
    let lines: Vec<_> = out.lines().skip(1).map(str::to_owned).collect();
    let told = |kind: &str, name: &str| {
        format!("Formatting {kind} directory {} with metadata.version 4.3-IV0.", path(name))
    };
    let expected = [told("data", "b"), told("data", "a"), told("dynamic metadata voter", "c")];
    assert_eq!((lines.as_slice(), code), (&expected[..], 0));
    for (name, metadata) in [("a", false), ("b", false), ("c", true)] {
        let dir = setup.dir().join(name);
        assert!(dir.join("bootstrap.checkpoint").exists());
        assert_eq!(dir.join("__cluster_metadata-0").exists(), metadata);
    }
    let found = |ids: &str, dir: &str| {
        let id = id_in(setup.dir().join(dir));
        format!(
            "Found log directories:\n{ids}\nFound metadata: {{cluster.id={CLUSTER}, \
             directory.id={id}, node.id=1, version=1}}\n\n"
        )
    };
    let list = |names: &[&str]| -> String {
        names.iter().map(|name| format!("  {}\n", path(name))).collect()
    };
    let info = found(&list(&["a", "b", "c"]), "a");
    assert_eq!(storage(&setup, &["info"]), (info, String::new(), 0));
    let (_, err, code) = storage(&setup, &format);
    let refused = format!(
        "Log directory {} is already formatted. Use --ignore-formatted to ignore this directory \
         and format the others.\n",
        path("b")
    );
    assert_eq!((err, code), (refused, 1));
    fs::remove_dir_all(setup.dir().join("a")).unwrap();
    let info = found(&list(&["b", "c"]), "b");
    let problem = format!("Found problem:\n  {} does not exist\n\n", path("a"));
    assert_eq!(storage(&setup, &["info"]), (info + &problem, String::new(), 1));
    let again = [&format[..], &["-g"]].concat();
    let (out, _, code) = storage(&setup, &again);
    assert_eq!(
        (out.lines().skip(1).collect::<Vec<_>>(), code),
        (vec![told("data", "a").as_str()], 0)
    );
    let all = "All of the log directories are already formatted.\n".to_owned();
    assert_eq!(storage(&setup, &again), (all, String::new(), 0));
    let meta = setup.dir().join("b/meta.properties");
    fs::write(&meta, fs::read_to_string(&meta).unwrap().replace("4L6", "5L6")).unwrap();
    fs::remove_file(setup.dir().join("c/meta.properties")).unwrap();
    let (out, _, _) = storage(&setup, &["info"]);
    let problems = format!(
        "Found problems:\n  Mismatched cluster IDs between storage directories.\n  {} is not \
         formatted.\n\n",
        path("c")
    );
    assert!(out.ends_with(&problems), "{out}");
}

/// The partitions in each directory.
fn placed(setup: &Setup, topic: &str, names: &[&str]) -> BTreeMap<i32, String> {
    let mut found = BTreeMap::new();
    for name in names {
        for entry in fs::read_dir(setup.dir().join(name)).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let index = file.strip_prefix(topic).and_then(|rest| rest.strip_prefix('-'));
            if let Some(index) = index.and_then(|index| index.parse().ok()) {
                assert_eq!(found.insert(index, (*name).to_owned()), None);
            }
        }
    }
    found
}

fn produce_all(client: &mut Client, topic: &Topic, value: &str) -> Vec<ErrorCode> {
    let code = |partition| {
        error(produce_to(client, PRODUCE, topic, partition, batch(&[value])).error_code)
    };
    (0..4).map(code).collect()
}

/// Leader and offline replicas of each partition.
fn told(client: &mut Client, topic: &Topic) -> Vec<(i32, usize)> {
    let answer = metadata_of(client, &topic.name);
    let mut partitions = answer.topics[0].partitions.clone();
    partitions.sort_by_key(|partition| partition.partition_index);
    partitions.iter().map(|it| (it.leader_id.0, it.offline_replicas.len())).collect()
}

#[test]
fn a_directory_that_cannot_be_read_is_offline_until_it_can() {
    let names = ["b", "a"];
    let mut node = setup(&names).start();
    let topic = create(&mut node.connect(), "spread", 4, &[]);
    let client = &mut node.connect();
    assert_eq!(produce_all(client, &topic, "one"), [ErrorCode::None; 4]);
    let dirs = placed(&node.setup, "spread", &names);
    let count = |name: &str| dirs.values().filter(|dir| *dir == name).count();
    assert_eq!((count("a"), count("b")), (2, 2), "{dirs:?}");
    node.stop();
    for name in names {
        assert!(node.setup.dir().join(name).join(".kafka_cleanshutdown").exists());
        assert!(!node.setup.dir().join(name).join(".lock").exists());
    }
    // Its disk is not mounted, say.
    let (there, away) = (node.setup.dir().join("b"), node.setup.dir().join("away"));
    fs::rename(&there, &away).unwrap();
    fs::write(&there, "no directory").unwrap();
    node.start_again();
    let client = &mut node.connect();
    let is_away = |partition: &i32| dirs[partition] == "b";
    let expected: Vec<_> = (0..4).map(|it| if is_away(&it) { (-1, 1) } else { (1, 0) }).collect();
    assert_eq!(told(client, &topic), expected);
    let code = |it| if is_away(&it) { ErrorCode::KafkaStorageError } else { ErrorCode::None };
    assert_eq!(produce_all(client, &topic, "two"), (0..4).map(code).collect::<Vec<_>>());
    create(client, "meanwhile", 3, &[]);
    assert_eq!(placed(&node.setup, "meanwhile", &["a"]).len(), 3);
    node.process().kill();
    fs::remove_file(&there).unwrap();
    fs::rename(&away, &there).unwrap();
    node.start_again();
    let client = &mut node.connect();
    assert_eq!(told(client, &topic), [(1, 0); 4]);
    for partition in 0..4 {
        let expected: &[&str] = if is_away(&partition) { &["one"] } else { &["one", "two"] };
        assert_eq!(values(&read_all(client, &topic, partition)), expected);
    }
    node.stop();
}

#[test]
fn a_directory_that_fails_is_fenced_while_the_others_serve() {
    let names = ["b", "a"];
    let setup = setup(&names).with("replica.high.watermark.checkpoint.interval.ms", 50);
    let mut node = setup.start();
    let client = &mut node.connect();
    let topic = create(client, "spread", 4, &[]);
    assert_eq!(produce_all(client, &topic, "one"), [ErrorCode::None; 4]);
    let dirs = placed(&node.setup, "spread", &names);
    // The next checkpoint finds no directory.
    fs::rename(node.setup.dir().join("b"), node.setup.dir().join("away")).unwrap();
    let is_away = |partition: &i32| dirs[partition] == "b";
    let expected: Vec<_> = (0..4).map(|it| if is_away(&it) { (-1, 1) } else { (1, 0) }).collect();
    wait_until("the controller knows", || {
        produce_all(client, &topic, "two");
        told(client, &topic) == expected
    });
    let code = |it| if is_away(&it) { ErrorCode::KafkaStorageError } else { ErrorCode::None };
    assert_eq!(produce_all(client, &topic, "last"), (0..4).map(code).collect::<Vec<_>>());
    node.stop();
    fs::rename(node.setup.dir().join("away"), node.setup.dir().join("b")).unwrap();
    node.start_again();
    let client = &mut node.connect();
    assert_eq!(told(client, &topic), [(1, 0); 4]);
    for partition in 0..4 {
        let read = values(&read_all(client, &topic, partition));
        assert_eq!(read[0], "one");
        assert_eq!(read.last().unwrap() == "last", !is_away(&partition), "{read:?}");
    }
    node.stop();
}

#[test]
fn a_new_directory_is_taken_in_and_a_copy_is_not() {
    let mut node = setup(&["a"]).start();
    create(&mut node.connect(), "old", 2, &[]);
    node.stop();
    let dirs = ["a", "new"].map(|name| node.setup.dir().join(name).display().to_string());
    let setup = node.into_setup().with("log.dirs", dirs.join(","));
    let mut node = setup.start();
    create(&mut node.connect(), "young", 2, &[]);
    assert_eq!(placed(&node.setup, "young", &["new"]).len(), 2, "where the fewest are");
    node.stop();
    let setup = node.into_setup();
    let (first, second) = (setup.dir().join("a"), setup.dir().join("new"));
    assert_ne!(id_in(first.clone()), id_in(second.clone()));
    fs::copy(first.join("meta.properties"), second.join("meta.properties")).unwrap();
    let told = setup.fails_with(1, binary().args(setup.arguments()));
    assert!(told.contains("Duplicate directory ID"), "{told}");
}

#[test]
fn a_metadata_directory_of_its_own_holds_no_partition() {
    let setup = setup(&["a", "m"]);
    let only = setup.dir().join("a").display().to_string();
    let mut node = setup.with("log.dirs", only).start();
    create(&mut node.connect(), "apart", 2, &[]);
    assert_eq!(placed(&node.setup, "apart", &["a", "m"]).len(), 2);
    assert_eq!(placed(&node.setup, "apart", &["a"]).len(), 2);
    node.stop();
    node.start_again();
    node.stop();
    // Without it, the metadata log is not begun again where partitions are.
    let setup = node.into_setup();
    fs::remove_dir_all(setup.dir().join("m")).unwrap();
    let told = setup.fails_with(1, binary().args(setup.arguments()));
    assert!(told.contains("holds files but no meta.properties"), "{told}");
}
