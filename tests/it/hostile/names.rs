//! Names that are none, and things that are named twice.

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse,
};
use kafka_protocol::protocol::Request;
use ottla_types::ErrorCode;

use super::case::{Case, coded};
use crate::requests::{
    Topic, creatable, create_request, delete_request, list_offsets_request, topic_name,
};

/// Names of topics that cannot be, with what they are.
fn illegal() -> Vec<(&'static str, String)> {
    let name = |name: &str| name.to_owned();
    vec![
        ("nothing", name("")),
        ("a dot", name(".")),
        ("two dots", name("..")),
        ("250 letters", "x".repeat(250)),
        ("32,000 letters", "x".repeat(32_000)),
        ("a slash", name("a/b")),
        ("a way up", name("../x")),
        ("NUL", name("a\0b")),
        ("a new line", name("a\nb")),
        ("a control character", name("a\u{7f}")),
        ("a Cyrillic a", name("\u{430}")),
        ("an invisible space", name("a\u{200b}")),
        ("a backslash", name("a\\b")),
        ("a wildcard", name("*")),
        ("a space", name(" a")),
    ]
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, name) in illegal() {
        cases.push(created(&format!("creating {what}"), vec![creatable(&name, 1, &[])]));
        cases.push(described(&format!("metadata of {what}"), &name));
    }
    cases.extend(twice());
    cases
}

type Created = <CreateTopicsRequest as Request>::Response;

fn created(
    name: &str,
    topics: Vec<kafka_protocol::messages::create_topics_request::CreatableTopic>,
) -> Case {
    let code = |answer: &Created| answer.topics[0].error_code;
    let expected = ErrorCode::InvalidTopicException;
    coded(name, 7, &create_request(topics), expected, code)
}

fn described(name: &str, topic: &str) -> Case {
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![asked]))
        .with_allow_auto_topic_creation(true);
    let code = |answer: &MetadataResponse| answer.topics[0].error_code;
    coded(name, 9, &request, ErrorCode::InvalidTopicException, code)
}

/// The same topic or partition twice in one request.
fn twice() -> Vec<Case> {
    let stranger = Topic { name: "stranger".to_owned(), id: uuid::Uuid::from_u128(5) };
    let twin = || creatable("twin", 1, &[]);
    let create = create_request(vec![twin(), twin()]);
    let mut delete = delete_request(&stranger, 6);
    delete.topics.push(delete.topics[0].clone());
    let mut delete_names = delete_request(&stranger, 5);
    delete_names.topic_names.push(topic_name("stranger"));
    let mut offsets = list_offsets_request(&stranger, 0, -1);
    let again = offsets.topics[0].partitions[0].clone();
    offsets.topics[0].partitions.push(again);
    type Deleted = <DeleteTopicsRequest as Request>::Response;
    type Offsets = <ListOffsetsRequest as Request>::Response;
    let deleted = |answer: &Deleted| answer.responses[0].error_code;
    let offset = |answer: &Offsets| answer.topics[0].partitions[0].error_code;
    let made = |answer: &Created| answer.topics[0].error_code;
    vec![
        coded("creating one topic twice", 7, &create, ErrorCode::InvalidRequest, made),
        coded("deleting one id twice", 6, &delete, ErrorCode::InvalidRequest, deleted),
        coded("deleting one name twice", 5, &delete_names, ErrorCode::InvalidRequest, deleted),
        coded("offsets of one partition twice", 10, &offsets, ErrorCode::InvalidRequest, offset),
    ]
}
