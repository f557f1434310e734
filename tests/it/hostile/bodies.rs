//! Well-framed requests whose bodies lie: counts, lengths, nulls, and absurd values.

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, ListOffsetsRequest,
    MetadataRequest, MetadataResponse, ProduceRequest, VoteRequest,
};
use ottla_types::ErrorCode;
use uuid::Uuid;

use super::case::{Case, Outcome, coded, encoded, request};
use crate::apis::vote_request;
use crate::node::fresh;
use crate::requests::{
    Topic, batch, creatable, create_request, delete_request, fetch_request, list_offsets_request,
    produce_request, topic_name,
};

pub fn cases(topic: &Topic) -> Vec<Case> {
    let mut cases = counts();
    cases.extend(texts());
    cases.extend(metadata());
    cases.extend(fetches(topic));
    cases.extend(produces(topic));
    cases.extend(topics(topic));
    cases.extend(votes());
    cases
}

/// Counts of elements that are not there.
fn counts() -> Vec<Case> {
    let old = [
        ("Metadata", 3, 1, vec![]),
        ("Fetch", 1, 4, [[0xff; 4], [0; 4], [0; 4], [0, 0, 0, 1]].concat()),
        ("ListOffsets", 2, 1, vec![0xff; 4]),
        ("Produce", 0, 8, vec![0xff, 0xff, 0, 1, 0, 0, 0, 1]),
        ("CreateTopics", 19, 2, vec![]),
        ("DeleteTopics", 20, 1, vec![]),
        ("DeleteRecords", 21, 0, vec![]),
    ];
    let mut cases = Vec::new();
    for (name, key, version, front) in old {
        for count in [i32::MAX, 1_000_000, -2, i32::MIN] {
            // A fetch has one more byte in front of its topics.
            let mut body = front.clone();
            if key == 1 {
                body.push(0);
            }
            body.extend(count.to_be_bytes());
            let name = format!("{name} of {count} elements");
            let case = Case::new(name, request(key, version, false, &body), Outcome::Closes);
            // A negative count of topics asks Kafka for all of them.
            cases.push(if key == 3 && count < 0 { case.unlike_kafka() } else { case });
        }
    }
    let new = [
        ("Metadata", 3, 12, vec![]),
        ("FindCoordinator", 10, 4, vec![0]),
        ("CreateTopics", 19, 7, vec![]),
        ("DeleteTopics", 20, 6, vec![]),
        ("Produce", 0, 13, vec![0, 0, 1, 0, 0, 0, 1]),
    ];
    for (name, key, version, front) in new {
        for (count, bytes) in [
            ("2^31-2", vec![0xff, 0xff, 0xff, 0xff, 0x07]),
            ("2^32-2", vec![0xff, 0xff, 0xff, 0xff, 0x0f]),
            ("a million", vec![0xc1, 0x84, 0x3d]),
        ] {
            let body = [front.clone(), bytes].concat();
            let name = format!("compact {name} of {count} elements");
            cases.push(Case::new(name, request(key, version, true, &body), Outcome::Closes));
        }
    }
    // Null where there is no null.
    for (name, key, version, body) in [
        ("topics to create", 19, 7, vec![0; 12]),
        ("topics to delete", 20, 6, vec![0; 12]),
        ("records' topics", 0, 13, vec![0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]),
    ] {
        let name = format!("null {name}");
        cases.push(Case::new(name, request(key, version, true, &body), Outcome::Closes));
    }
    cases
}

/// Texts that are no texts.
fn texts() -> Vec<Case> {
    let metadata = |len: i16, name: &[u8]| {
        let mut body = vec![0, 0, 0, 1];
        body.extend(len.to_be_bytes());
        body.extend(name);
        request(3, 1, false, &body)
    };
    let compact = |name: &[u8]| {
        let body = [&[2][..], &[0; 16], name].concat();
        request(3, 12, true, &body)
    };
    vec![
        Case::new("a name longer than the request", metadata(500, b"abc"), Outcome::Closes),
        Case::new("a name of -2 bytes", metadata(-2, b"abc"), Outcome::Closes),
        Case::new("a null name", metadata(-1, b""), Outcome::Closes),
        // Java puts replacement characters there, which make an illegal name.
        Case::new("a name that is no text", metadata(2, &[0xc3, 0x28]), Outcome::Closes)
            .unlike_kafka(),
        Case::new("a compact name beyond the end", compact(&[0xff, 0x7f, b'x']), Outcome::Closes),
        Case::new(
            "a compact name of 2^32 bytes",
            compact(&[0xff, 0xff, 0xff, 0xff, 0xf]),
            Outcome::Closes,
        ),
    ]
}

/// Names and ids in versions of Metadata that do not know them.
fn metadata() -> Vec<Case> {
    let pick = |answer: &MetadataResponse| answer.topics[0].error_code;
    let topic = MetadataRequestTopic::default();
    let mut cases = Vec::new();
    for version in [10, 11] {
        for (name, topic) in [
            ("a null name", topic.clone().with_name(None)),
            (
                "an id before its time",
                topic.clone().with_name(None).with_topic_id(Uuid::from_u128(4)),
            ),
        ] {
            let request = MetadataRequest::default().with_topics(Some(vec![topic]));
            let name = format!("{name} in version {version}");
            cases.push(coded(name, version, &request, ErrorCode::InvalidRequest, pick));
        }
    }
    cases
}

fn fetch_code(answer: &<FetchRequest as kafka_protocol::protocol::Request>::Response) -> i16 {
    let partition = answer.responses.first().and_then(|topic| topic.partitions.last());
    partition.map_or(answer.error_code, |partition| partition.error_code)
}

fn fetches(topic: &Topic) -> Vec<Case> {
    use ErrorCode::{FetchSessionIdNotFound, UnknownServerError, UnknownTopicOrPartition};
    use ErrorCode::{None, NotLeaderOrFollower, OffsetOutOfRange, UnknownTopicId};
    let ask = |partition, offset| fetch_request(17, topic, &[(partition, offset)]);
    let many: Vec<(i32, i64)> = (0..20_000).map(|index| (index + 5, 0)).collect();
    let zero = Topic { id: Uuid::nil(), ..topic.clone() };
    let same: Vec<(i32, i64)> = vec![(0, 0); 1000];
    let mut follower = ask(0, 0);
    follower.replica_state.replica_id = BrokerId(5);
    let fetch =
        |name: &str, request: FetchRequest, code| coded(name, 17, &request, code, fetch_code);
    vec![
        fetch("partition -1", ask(-1, 0), UnknownTopicOrPartition),
        fetch("partition 2^31-1", ask(i32::MAX, 0), UnknownTopicOrPartition),
        fetch("an offset of -5", ask(0, -5), OffsetOutOfRange),
        fetch("the last offset there is", ask(0, i64::MAX), OffsetOutOfRange),
        fetch("no topic id", fetch_request(17, &zero, &[(0, 0)]), UnknownTopicId),
        fetch("20,000 partitions", fetch_request(17, topic, &many), UnknownTopicOrPartition),
        fetch("a thousand times the same", fetch_request(17, topic, &same), None),
        // Kafka answers UNKNOWN_SERVER_ERROR.
        fetch("negative limits", ask(0, 0).with_max_bytes(-1).with_min_bytes(-1), None)
            .unlike_kafka(),
        fetch("a negative wait", ask(0, 0).with_max_wait_ms(-1), None),
        fetch(
            "a strange session",
            ask(0, 0).with_session_id(9).with_session_epoch(3),
            FetchSessionIdNotFound,
        ),
        // CVE-2018-1288: a client that calls itself a replica.
        fetch("a client as a replica", follower, NotLeaderOrFollower),
        fetch("an isolation level of 2", ask(0, 0).with_isolation_level(2), UnknownServerError),
    ]
}

fn produce_code(answer: &<ProduceRequest as kafka_protocol::protocol::Request>::Response) -> i16 {
    answer.responses[0].partition_responses[0].error_code
}

fn produces(topic: &Topic) -> Vec<Case> {
    use ErrorCode::{InvalidRecord, InvalidRequiredAcks, None, UnknownTopicOrPartition};
    let records = |partition| [(partition, Some(batch(&["hostile"])))];
    let ask = |acks, partition| produce_request(13, topic, acks, &records(partition));
    let nothing = produce_request(13, topic, -1, &[(0, Option::None)]);
    let by_name = |name: &str| {
        let topic = Topic { name: name.to_owned(), id: Uuid::nil() };
        produce_request(12, &topic, -1, &records(0))
    };
    let produce = |name: &str, version, request: ProduceRequest, code| {
        coded(name, version, &request, code, produce_code)
    };
    vec![
        produce("acks 2", 13, ask(2, 0), InvalidRequiredAcks),
        produce("acks -32768", 13, ask(i16::MIN, 0), InvalidRequiredAcks),
        produce("to partition -1", 13, ask(-1, -1), UnknownTopicOrPartition),
        produce("a timeout of -1", 13, ask(1, 0).with_timeout_ms(-1), None),
        produce("the longest timeout", 13, ask(-1, 0).with_timeout_ms(i32::MAX), None),
        // Kafka never answers this one.
        produce("null records", 13, nothing, InvalidRecord).unlike_kafka(),
        produce("to ../x", 12, by_name("../x"), UnknownTopicOrPartition),
        produce("to a name with NUL", 12, by_name("a\0b"), UnknownTopicOrPartition),
        produce("to the metadata log", 12, by_name("__cluster_metadata"), UnknownTopicOrPartition),
    ]
}

fn topics(topic: &Topic) -> Vec<Case> {
    use ErrorCode::{InvalidRequest, InvalidTopicException, PolicyViolation, UnknownTopicId};
    type Created = <CreateTopicsRequest as kafka_protocol::protocol::Request>::Response;
    type Deleted = <DeleteTopicsRequest as kafka_protocol::protocol::Request>::Response;
    let created = |answer: &Created| answer.topics[0].error_code;
    let deleted = |answer: &Deleted| answer.responses[0].error_code;
    let create = |name: &str, topics, code| coded(name, 7, &create_request(topics), code, created);
    let delete =
        |name: &str, topic: Topic, code| coded(name, 6, &delete_request(&topic, 6), code, deleted);
    let million = creatable(&fresh("million"), 1_000_000, &[]);
    let most = creatable(&fresh("most"), i32::MAX, &[]);
    let mut both = delete_request(topic, 6);
    both.topics[0].name = Some(topic_name(&topic.name));
    let offsets = list_offsets_request(topic, i32::MIN, -1);
    type Offsets = <ListOffsetsRequest as kafka_protocol::protocol::Request>::Response;
    let offset_code = |answer: &Offsets| answer.topics[0].partitions[0].error_code;
    let unknown = ErrorCode::UnknownTopicOrPartition;
    vec![
        create("a million partitions", vec![million], PolicyViolation),
        create("2^31-1 partitions", vec![most], PolicyViolation),
        create("the metadata log", vec![creatable("__cluster_metadata", 1, &[])], InvalidRequest),
        create("a path", vec![creatable("../../etc/x", 1, &[])], InvalidTopicException),
        coded("by name and id", 6, &both, InvalidRequest, deleted),
        delete("a stranger", Topic { id: Uuid::from_u128(3), ..topic.clone() }, UnknownTopicId),
        coded("partition -2^31", 10, &offsets, unknown, offset_code),
        Case::new("nothing to create", encoded(7, &create_request(vec![])), Outcome::Answers(1)),
    ]
}

fn votes() -> Vec<Case> {
    type Vote = <VoteRequest as kafka_protocol::protocol::Request>::Response;
    let top = |answer: &Vote| answer.error_code;
    let within = |answer: &Vote| answer.topics[0].partitions[0].error_code;
    let vote = |name: &str, request: VoteRequest, code, pick: fn(&Vote) -> i16| {
        coded(name, 2, &request, code, pick).on_controller()
    };
    let mut two = vote_request();
    two.topics.push(two.topics[0].clone());
    let mut other = vote_request();
    other.topics[0].topic_name = topic_name("other");
    let mut minus = vote_request();
    minus.topics[0].partitions[0].replica_epoch = -1;
    let mut absurd = vote_request();
    absurd.topics[0].partitions[0].last_offset = -7;
    let strange = vote_request().with_cluster_id(Some(crate::requests::text("x")));
    use ErrorCode::{InconsistentClusterId, InvalidRequest};
    vec![
        vote("a vote without topics", vote_request().with_topics(vec![]), InvalidRequest, top),
        vote("a vote of two topics", two, InvalidRequest, top),
        vote("a vote for another topic", other, InvalidRequest, top),
        vote("a vote in epoch -1", minus, InvalidRequest, within),
        vote("a vote at offset -7", absurd, InvalidRequest, within),
        vote("a vote of another cluster", strange, InconsistentClusterId, top),
    ]
}
