//! Metadata that asks for a protection that is not built stops the start, with an override for
//! who looks at the data from the same machine.

use std::fs;
use std::path::Path;

use ottla_protocol::Writer;
use ottla_protocol::batch::{BatchBuilder, BatchHeader, BatchKind};
use ottla_protocol::metadata::{ClientQuotaRecord, EntityData, MetadataRecord};
use ottla_types::Timestamp;

use super::refusals::refuses;
use crate::node::Setup;
use crate::requests::{Topic, batch, create, fetch, produce, records};

const OVERRIDE: &str = "ottla.unprotected.loopback";
const CLEAN: &str = ".kafka_cleanshutdown";

/// Puts a client quota behind the end of a stopped node's metadata log.
fn add_quota(data: &Path) {
    let path = data.join("__cluster_metadata-0/00000000000000000000.log");
    let mut log = fs::read(&path).unwrap();
    let mut position = 0;
    let mut last = None;
    while position < log.len() {
        let header = BatchHeader::read(&log[position..]).unwrap();
        position += header.size();
        last = Some(header);
    }
    let last = last.expect("a metadata log is not empty");
    let user = EntityData { entity_type: "user".to_owned(), entity_name: Some("alice".to_owned()) };
    let record = MetadataRecord::ClientQuota(ClientQuotaRecord {
        entity: vec![user],
        key: "producer_byte_rate".to_owned(),
        value: 1000.0,
        remove: false,
    });
    let mut value = Writer::new();
    record.encode(0, &mut value);
    let (offset, epoch) = (last.next_offset(), last.leader_epoch);
    let mut builder = BatchBuilder::new(BatchKind::Data, offset, epoch, Timestamp(1));
    builder.push(None, Some(&value.into_bytes()));
    log.extend(builder.build());
    fs::write(&path, log).unwrap();
}

/// A stopped node with a record, and with a quota in its metadata.
fn with_quota() -> (Setup, Topic) {
    let mut node = Setup::new().start();
    let mut client = node.connect();
    let topic = create(&mut client, "kept", 1, &[]);
    produce(&mut client, &topic, batch(&["a"]));
    node.stop();
    add_quota(&node.setup.data());
    (node.into_setup(), topic)
}

#[test]
fn a_quota_stops_the_start_and_leaves_the_directory_clean() {
    let (setup, _) = with_quota();
    let starts = setup.data().join("log-start-offset-checkpoint");
    fs::write(&starts, "0\n1\nkept 0 0\n").unwrap();
    for _ in 0..2 {
        refuses(&setup, &["client quotas of 1 entities", "does not enforce", OVERRIDE]);
        assert!(setup.data().join(CLEAN).exists(), "the start has not touched the logs");
        assert_eq!(fs::read_to_string(&starts).unwrap(), "0\n1\nkept 0 0\n");
    }
}

#[test]
fn the_override_shows_the_data_on_loopback_only() {
    let (setup, topic) = with_quota();
    let broker = setup.ports[0];
    let controller = setup.ports[1];
    let everywhere = format!("PLAINTEXT://:{broker},CONTROLLER://127.0.0.1:{controller}");
    let setup = setup.with(OVERRIDE, true).with("authorizer.class.name", "my.Own");
    let open = Setup::new().with("listeners", everywhere).with(OVERRIDE, true);
    refuses(&open, &[&format!("PLAINTEXT://:{broker}"), "loopback addresses only"]);
    assert!(!open.data().exists(), "nothing is formatted by a node that cannot serve");
    let node = setup.start();
    let mut client = node.connect();
    assert_eq!(records(&fetch(&mut client, &topic, 0)).len(), 1);
}
