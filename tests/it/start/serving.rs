//! What a node that starts tells its operator and its clients.

use std::fs;

use crate::node::{Node, Setup, binary, fresh, wait_until};
use crate::requests::{error, metadata_of};
use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_types::ErrorCode;

use crate::requests::{METADATA, topic_name};

#[test]
fn the_operator_reads_where_clients_connect() {
    let advertised = "PLAINTEXT://broker.example:1234";
    let node = Setup::new().with("advertised.listeners", advertised).start();
    wait_until("the node says that it has started", || {
        node.setup.stdout().contains("Kafka Server started")
    });
    let told = node.setup.stdout();
    let [broker, controller] = node.setup.ports;
    for words in [
        format!("listening on PLAINTEXT://127.0.0.1:{broker}"),
        "broker.example:1234".to_owned(),
        format!("listening on CONTROLLER://127.0.0.1:{controller}"),
    ] {
        assert!(told.contains(&words), "{told} lacks {words:?}");
    }
    assert_eq!(node.setup.stderr(), "");
    let answer = metadata_of(&mut node.connect(), "any");
    let broker = &answer.brokers[0];
    assert_eq!((&*broker.host, broker.port), ("broker.example", 1234));
}

#[test]
fn clients_are_told_the_listener_by_default() {
    let node = Setup::new().start();
    let answer = metadata_of(&mut node.connect(), "any");
    let broker = &answer.brokers[0];
    assert_eq!((&*broker.host, broker.port), ("127.0.0.1", i32::from(node.setup.ports[0])));
}

#[test]
fn a_file_configures_and_overrides_win() {
    let setup = Setup::new();
    let [broker, controller] = setup.ports;
    let text = format!(
        "# As Kafka's own config/server.properties.\n\
         process.roles=broker,controller\n\
         node.id=42\n\
         controller.quorum.bootstrap.servers=localhost:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}\n\
         inter.broker.listener.name=PLAINTEXT\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         num.network.threads=3\n\
         num.io.threads=8\n\
         socket.send.buffer.bytes=102400\n\
         log.dirs={}\n\
         num.partitions=2\n\
         no.such.key=1\n",
        setup.data().display()
    );
    let path = setup.dir().join("server.properties");
    fs::write(&path, text).unwrap();
    let node = Node::from_command(
        |_| {
            let mut command = binary();
            command.arg("--config").arg(&path).args(["--override", "num.partitions=5"]);
            command
        },
        setup,
    );
    let mut client = node.connect();
    let name = fresh("made");
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(&name)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![asked]))
        .with_allow_auto_topic_creation(true);
    client.call(METADATA, &request);
    wait_until("the topic is created", || {
        let answer = metadata_of(&mut client, &name);
        let topic = &answer.topics[0];
        assert_eq!(answer.brokers[0].node_id.0, 42);
        error(topic.error_code) == ErrorCode::None && topic.partitions.len() == 5
    });
    let told = node.setup.stdout();
    assert!(told.contains("no.such.key"), "an unknown key is warned about: {told}");
}
