//! `ottla storage`. The expected texts are what `kafka-storage` of Apache Kafka 4.3.1 printed for
//! the same arguments.

use std::fs;
use std::path::PathBuf;

use kafka_protocol::messages::ApiVersionsRequest;

use crate::apis::features_request;
use crate::node::{Node, Setup, binary, wait_until};
use crate::requests::{batch, create, produce, text};

const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";
const NEWEST: &str = "metadata.version=30 eligible.leader.replicas.version=1 group.version=1 \
                      share.version=1 streams.version=1 transaction.version=2";

/// A config file for the ports and the directory of `setup`.
fn config_file(setup: &Setup, quorum: &str) -> PathBuf {
    let mut text = "process.roles=broker,controller\nnode.id=1\n".to_owned();
    text += "controller.listener.names=CONTROLLER\n";
    for (key, value) in setup.overrides() {
        text += &format!("{key}={value}\n");
    }
    let controller = setup.ports[1];
    text += &match quorum {
        "static" => format!("controller.quorum.voters=1@127.0.0.1:{controller}\n"),
        _ => format!("controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n"),
    };
    let path = setup.dir().join("server.properties");
    fs::write(&path, text).unwrap();
    path
}

/// What `ottla storage` prints on both outputs, and its exit code.
fn run(arguments: &[&str]) -> (String, String, i32) {
    let output = binary().arg("storage").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

fn prints(arguments: &[&str], expected: &str) {
    let expected = (expected.to_owned(), String::new(), 0);
    assert_eq!(run(arguments), expected, "{arguments:?}");
}

fn fails(arguments: &[&str], expected: &str) {
    let expected = (String::new(), format!("{expected}\n"), 1);
    assert_eq!(run(arguments), expected, "{arguments:?}");
}

/// The two lines that tell of a format.
fn formatted(levels: &str, kind: &str, setup: &Setup, version: &str) -> String {
    let record = |level: &str| {
        let (name, level) = level.split_once('=').unwrap();
        format!(
            "ApiMessageAndVersion(FeatureLevelRecord(name='{name}', featureLevel={level}) at \
             version 0)"
        )
    };
    let records: Vec<_> = levels.split(' ').map(record).collect();
    let level = levels.split([' ', '=']).nth(1).unwrap();
    format!(
        "Bootstrap metadata: BootstrapMetadata(records=[{}], metadataVersionLevel={level}, \
         source=format command)\nFormatting {kind} directory {} with metadata.version {version}.\n",
        records.join(", "),
        setup.data().display()
    )
}

/// The names in the data directory and in that of the metadata log.
fn files(setup: &Setup) -> Vec<String> {
    let names = |path: PathBuf| {
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap())
    };
    let metadata = setup.data().join("__cluster_metadata-0");
    let mut all: Vec<_> = names(setup.data()).chain(names(metadata)).collect();
    all.sort();
    all
}

#[test]
fn levels_of_releases_and_what_they_depend_on() {
    let others = "transaction.version=2\ngroup.version=1\neligible.leader.replicas.version=1\n\
                  share.version=1\nstreams.version=1\n";
    let newest = format!("metadata.version=30 (4.3-IV0)\nkraft.version=1\n{others}");
    prints(&["version-mapping"], &newest);
    prints(&["version-mapping", "--release-version", "4.3"], &newest.replace("(4.3-IV0)", "(4.3)"));
    let none = others.replace("=1", "=0").replace("=2", "=0");
    let old = format!("metadata.version=21 (3.9)\nkraft.version=1\n{none}");
    prints(&["version-mapping", "-r", "3.9"], &old);
    let depends = |feature| run(&["feature-dependencies", "-f", feature]);
    let ok = |text: &str| (text.to_owned(), String::new(), 0);
    let err = |text: &str| (String::new(), text.to_owned(), 1);
    assert_eq!(
        depends("eligible.leader.replicas.version=1"),
        ok("eligible.leader.replicas.version=1 requires:\n    metadata.version=23 (4.0-IV1)\n")
    );
    assert_eq!(
        depends("metadata.version=17"),
        ok("metadata.version=17 (3.7-IV2) has no dependencies.\n")
    );
    assert_eq!(depends("kraft.version=1"), ok("kraft.version=1 has no dependencies.\n"));
    assert_eq!(depends("metadata.version=99"), err("Unknown metadata.version 99\n"));
    assert_eq!(depends("foo=1"), err("Unknown feature: foo\n"));
    let told = "Feature level 2 is not supported for feature share.version\n";
    assert_eq!(depends("share.version=2"), err(told));
    let told = "Invalid version format: x for feature share.version\n";
    assert_eq!(depends("share.version=x"), err(told));
    let told = "Invalid feature format: share.version. Expected format: 'feature=version' (e.g. \
                'group.version=1')\n";
    assert_eq!(depends("share.version"), err(told));
    // What comes before the first wrong one is printed.
    let both = run(&["feature-dependencies", "-f", "share.version=1", "-f", "foo=1"]);
    let (first, second) = ("share.version=1 has no dependencies.\n", "Unknown feature: foo\n");
    assert_eq!(both, (first.to_owned(), second.to_owned(), 1));
}

#[test]
fn a_random_uuid() {
    let ids: Vec<_> = [0; 2].map(|_| run(&["random-uuid"])).into();
    for (id, err, code) in &ids {
        assert_eq!((id.trim_end().len(), err.as_str(), *code), (22, "", 0), "{id}");
        assert!(id.trim_end().parse::<ottla_types::Uuid>().is_ok(), "{id}");
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_formatted_directory_is_kafkas_and_starts() {
    let setup = Setup::new();
    let config = config_file(&setup, "dynamic");
    let config = config.to_str().unwrap();
    let arguments = ["format", "-t", CLUSTER, "-c", config, "-s"];
    let data = setup.data().display().to_string();
    let (info, err, code) = run(&["info", "-c", config]);
    assert_eq!(
        (info, err.as_str(), code),
        (format!("Found problem:\n  {data} does not exist\n\n"), "", 1)
    );
    let kind = "dynamic metadata voter";
    prints(&arguments, &formatted(NEWEST, kind, &setup, "4.3-IV0"));
    let first = "00000000000000000000-0000000000.checkpoint";
    let expected = [first, "__cluster_metadata-0", "bootstrap.checkpoint", "meta.properties"];
    assert_eq!(files(&setup), expected);
    let meta = fs::read_to_string(setup.data().join("meta.properties")).unwrap();
    let directory = meta.lines().find_map(|line| line.strip_prefix("directory.id=")).unwrap();
    let told = format!(
        "Found log directory:\n  {data}\n\nFound metadata: {{cluster.id={CLUSTER}, \
         directory.id={directory}, node.id=1, version=1}}\n\n"
    );
    prints(&["info", "--config", config], &told);
    fails(
        &arguments,
        &format!(
            "Log directory {data} is already formatted. Use --ignore-formatted to ignore this \
             directory and format the others."
        ),
    );
    let again = [&arguments[..], &["-g"]].concat();
    prints(&again, "All of the log directories are already formatted.\n");
    let other = ["format", "-t", "other", "-c", config, "-s", "-g"];
    let told = format!(
        "Invalid cluster.id in: {data}/meta.properties. Expected other, but read {CLUSTER}"
    );
    fails(&other, &told);
    let mut node = start(setup);
    create(&mut node.connect(), "on-formatted", 1, &[]);
    assert!(node.setup.stdout().contains("Kafka Server started"));
    assert_eq!(fs::read_to_string(node.setup.data().join("meta.properties")).unwrap(), meta);
    node.stop();
}

/// Starts a node with the config file of `setup`.
fn start(setup: Setup) -> Node {
    let command = |setup: &Setup| {
        let mut command = binary();
        command.arg("--config").arg(setup.dir().join("server.properties"));
        command
    };
    Node::from_command(command, setup)
}

#[test]
fn older_releases_and_single_features() {
    let voter = "dynamic metadata voter";
    let check = |quorum, more: &[&str], kind: &str, levels: &str, version: &str| {
        let setup = Setup::new();
        let config = config_file(&setup, quorum);
        let arguments = ["format", "--cluster-id", CLUSTER, "-c", config.to_str().unwrap()];
        let expected = formatted(levels, kind, &setup, version);
        prints(&[&arguments[..], more].concat(), &expected);
        let has_log = setup.data().join("__cluster_metadata-0").exists();
        assert_eq!(has_log, quorum == "dynamic", "Kafka leaves it to the first start");
        let mut node = start(setup);
        create(&mut node.connect(), "on-older", 1, &[]);
        node.stop();
    };
    check("dynamic", &["-s", "-r", "3.3"], voter, "metadata.version=7", "3.3-IV3");
    check("static", &["-r", "3.9"], "metadata", "metadata.version=21", "3.9-IV0");
    check("static", &["-N"], "metadata", NEWEST, "4.3-IV0");
    let levels = "metadata.version=25 group.version=1 share.version=1 transaction.version=2";
    let asked = ["--standalone", "--release-version", "4.0", "--feature", "share.version=1"];
    check("dynamic", &asked, voter, levels, "4.0-IV3");
}

/// Records that a broker and a controller write of themselves say more at a higher level: both
/// register again while the node runs.
#[test]
fn an_old_cluster_goes_up_while_it_runs() {
    let setup = Setup::new();
    let config = config_file(&setup, "dynamic");
    let config = config.to_str().unwrap();
    let (_, error, code) =
        run(&["format", "-t", CLUSTER, "-c", config, "--standalone", "-r", "3.3"]);
    assert_eq!(code, 0, "{error}");
    let mut node = start(setup);
    let mut client = node.connect();
    create(&mut client, "at-3.3", 1, &[]);
    let answer = client.call(1, &features_request(1, "metadata.version", 30, 1));
    assert_eq!((answer.error_code, answer.error_message), (0, None));
    let log = node.setup().data().join("__cluster_metadata-0/00000000000000000000.log");
    let dumped = || {
        let files = ["dump-log", "--cluster-metadata-decoder", "--files"];
        let output = binary().args(files).arg(&log).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    wait_until("both register again", || {
        let records = dumped();
        let is_directory = |line: &str| {
            line.contains("REGISTER_BROKER_RECORD") && line.contains("\"logDirs\":[\"")
        };
        records.lines().any(is_directory) && records.contains("REGISTER_CONTROLLER_RECORD")
    });
    let topic = create(&mut client, "at-4.3", 1, &[]);
    assert_eq!(produce(&mut client, &topic, batch(&["v"])).error_code, 0);
    node.stop();
    assert!(dumped().contains("\"name\":\"metadata.version\",\"featureLevel\":30"));
    let node = start(node.into_setup());
    let software = ApiVersionsRequest::default()
        .with_client_software_name(text("it"))
        .with_client_software_version(text("1"));
    let answer = node.connect().call(4, &software);
    let finalized = answer.finalized_features.iter();
    let level = finalized.filter(|it| &*it.name == "metadata.version");
    assert_eq!(level.map(|it| it.max_version_level).collect::<Vec<_>>(), [30]);
}

#[test]
fn what_cannot_be_formatted() {
    let setup = Setup::new();
    let check = |quorum, more: &[&str], expected: &str| {
        let config = config_file(&setup, quorum);
        let arguments = ["format", "-t", CLUSTER, "-c", config.to_str().unwrap()];
        fails(&[&arguments[..], more].concat(), expected);
        assert!(!setup.data().exists(), "{more:?} wrote something");
    };
    let told = "Because controller.quorum.voters is not set on this controller, you must specify \
                one of the following: --standalone, --initial-controllers, or \
                --no-initial-controllers.";
    check("dynamic", &[], told);
    let told = "You cannot specify controller.quorum.voters and format the node with \
                --initial-controllers or --standalone. If you want to use dynamic quorum, please \
                remove controller.quorum.voters and specify controller.quorum.bootstrap.servers \
                instead.";
    check("static", &["-s"], told);
    let told = "Can't parse feature=level string group.version: equals sign not found.";
    check("dynamic", &["-s", "-f", "group.version"], told);
    let told = "Can't parse feature=level string group.version=x: unable to parse x as a short.";
    check("dynamic", &["-s", "-f", "group.version=x"], told);
    let told = "metadata.version 4.4-IV0 is not yet stable.";
    check("dynamic", &["-s", "-f", "metadata.version=31"], told);
    // Ottla's own: what a quorum of one cannot be, or is not built.
    let told = "--no-initial-controllers would leave this node without a voter: this version runs \
                a quorum of one; use --standalone";
    check("dynamic", &["-N"], told);
    let told = "--initial-controllers is refused: this version runs a quorum of one; use \
                --standalone";
    check("dynamic", &["-I", "1@localhost:9093:AAAAAAAAAAAAAAAAAAAAAQ"], told);
    check("dynamic", &["-s", "-S", "x"], "--add-scram is refused: SCRAM is not built yet");
    let told = "ottla: the argument '--standalone' cannot be used with '--no-initial-controllers' \
                (see --help)";
    check("dynamic", &["-s", "-N"], told);
}

#[test]
fn a_directory_that_holds_something_else_is_left_alone() {
    let setup = Setup::new();
    let config = config_file(&setup, "dynamic");
    let config = config.to_str().unwrap();
    fs::create_dir(setup.data()).unwrap();
    let data = setup.data().display().to_string();
    let info = |problem: &str| {
        let text = format!("Found log directory:\n  {data}\n\nFound problem:\n  {problem}\n\n");
        assert_eq!(run(&["info", "-c", config]), (text, String::new(), 1));
    };
    info(&format!("{data} is not formatted."));
    fs::write(setup.data().join("letters.txt"), "dear").unwrap();
    let (out, err, code) = run(&["format", "-t", CLUSTER, "-c", config, "-s"]);
    assert!(err.contains("holds files but no meta.properties"), "{err}");
    assert_eq!((out.as_str(), code), ("", 1));
    let left: Vec<_> = fs::read_dir(setup.data()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    fs::write(setup.data().join("meta.properties"), "version=2\n").unwrap();
    let reason = "meta.properties has version 2, not 1";
    info(&format!("Error loading {data}/meta.properties: {reason}"));
}
