//! Where real clients stumbled over brokers that were not Kafka, and that no other test asks about.
//! The table of all that is known of this kind: docs/clients.md.

use std::ops::RangeInclusive;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{InitProducerIdRequest, MetadataRequest};
use ottla_types::ErrorCode;

use crate::client::Client;
use crate::node::{Node, Setup, fresh, wait_until};
use crate::requests::{
    FETCH, batch, create, error, fetch, fetch_request, list_offset, produce, records, topic_name,
    values,
};

fn metadata(client: &mut Client, version: i16, name: &str, creates: bool) -> ErrorCode {
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let mut request = MetadataRequest::default().with_topics(Some(vec![asked]));
    if version >= 4 {
        request = request.with_allow_auto_topic_creation(creates);
    }
    error(client.call(version, &request).topics[0].error_code)
}

#[test]
fn versions_without_the_word_create_topics_and_the_broker_has_the_last_word() {
    let node = Node::start();
    let mut client = node.connect();
    for version in 0..=13 {
        let name = fresh("created");
        metadata(&mut client, version, &name, true);
        wait_until("the topic is there", || {
            metadata(&mut client, version.max(4), &name, false) == ErrorCode::None
        });
    }
    is_refused(&mut client, 4..=13, false);
    let node = Setup::new().with("auto.create.topics.enable", false).start();
    is_refused(&mut node.connect(), 0..=13, true);
}

/// No topic comes into being: not until one that was asked for later is there.
fn is_refused(client: &mut Client, versions: RangeInclusive<i16>, creates: bool) {
    let names: Vec<String> = versions
        .map(|version| {
            let name = fresh("refused");
            let told = metadata(client, version, &name, creates);
            assert_eq!(told, ErrorCode::UnknownTopicOrPartition, "version {version}");
            name
        })
        .collect();
    create(client, &fresh("later"), 1, &[]);
    for name in names {
        let told = metadata(client, 13, &name, false);
        assert_eq!(told, ErrorCode::UnknownTopicOrPartition, "{name}");
    }
}

#[test]
fn no_records_are_zero_bytes_and_not_null() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("empty"), 1, &[]);
    for version in 4..=FETCH {
        let request = fetch_request(version, &topic, &[(0, 0)]).with_max_wait_ms(0);
        let answer = client.call(version, &request);
        let data = &answer.responses[0].partitions[0];
        assert_eq!(error(data.error_code), ErrorCode::None);
        assert!(data.records.as_ref().is_some_and(bytes::Bytes::is_empty), "{version}");
        assert_eq!((data.high_watermark, data.last_stable_offset), (0, 0), "version {version}");
        assert!(data.aborted_transactions.as_ref().is_none_or(Vec::is_empty), "{version}");
        if version >= 5 {
            assert_eq!(data.log_start_offset, 0);
        }
        if version >= 11 {
            assert_eq!(data.preferred_read_replica.0, -1);
        }
    }
}

#[test]
fn an_offset_inside_a_batch_gets_the_whole_batch() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("inside"), 1, &[]);
    produce(&mut client, &topic, batch(&["0", "1", "2"]));
    produce(&mut client, &topic, batch(&["3", "4"]));
    for (offset, first) in [(0, "0"), (1, "0"), (2, "0"), (3, "3"), (4, "3")] {
        let read = values(&records(&fetch(&mut client, &topic, offset)));
        assert_eq!(read[0], first, "from {offset}");
        assert_eq!(read.last().map(String::as_str), Some("4"), "from {offset}");
    }
}

#[test]
fn what_was_acknowledged_lies_below_the_latest_offset() {
    let node = Node::start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("latest"), 1, &[]);
    let mut asker = node.connect();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for index in 0..300 {
                produce(&mut client, &topic, batch(&[&index.to_string()]));
            }
        });
        let mut last = 0;
        while !writer.is_finished() {
            let latest = list_offset(&mut asker, &topic, 0, -1).offset;
            assert!(latest >= last, "{latest} after {last}");
            let read = fetch(&mut asker, &topic, 0);
            assert!(records(&read).len() as i64 >= latest, "{latest} was told");
            last = latest;
        }
    });
    assert_eq!(list_offset(&mut asker, &topic, 0, -1).offset, 300);
}

#[test]
fn old_producers_get_ids_too() {
    let node = Node::start();
    let mut client = node.connect();
    let nobodys = InitProducerIdRequest::default().with_transactional_id(None);
    let ids: Vec<i64> = (0..=5)
        .map(|version| {
            let answer = client.call(version, &nobodys);
            assert_eq!(error(answer.error_code), ErrorCode::None, "version {version}");
            assert_eq!(answer.producer_epoch, 0);
            answer.producer_id.0
        })
        .collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
}
