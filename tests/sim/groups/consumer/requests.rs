//! The requests of members of consumer groups, and of whoever changes what they read.

use std::collections::BTreeSet;

use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::consumer_group_heartbeat_response::Assignment;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteTopicsRequest, GroupId, IncrementalAlterConfigsRequest,
    MetadataRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::readers::{Described, Partitions};

/// Topics that come and go.
pub const OTHERS: [&str; 2] = ["u0", "u1"];
/// Patterns that members subscribe by.
pub const PATTERNS: [&str; 4] = ["u.*", "t|u1", ".*0", "nothing"];
/// The key of a group's own interval between two assignments.
pub const INTERVAL: &str = "consumer.assignment.interval.ms";
/// The type of a group's configs.
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;

/// Errors that only members of consumer groups meet.
pub mod code {
    pub const GROUP_ID_NOT_FOUND: i16 = 69;
    pub const FENCED_MEMBER_EPOCH: i16 = 110;
    pub const UNRELEASED_INSTANCE_ID: i16 = 111;
    pub const STALE_MEMBER_EPOCH: i16 = 113;
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A heartbeat that says nothing but who sends it.
pub fn bare(
    group: &str,
    id: &str,
    epoch: i32,
    instance: Option<&str>,
) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_member_id(text(id))
        .with_member_epoch(epoch)
        .with_instance_id(instance.map(text))
}

/// Whether a pattern stands for a topic.
pub fn stands_for(pattern: &str, topic: &str) -> bool {
    match pattern {
        "u.*" => topic.starts_with('u'),
        "t|u1" => ["t", "u1"].contains(&topic),
        ".*0" => topic.ends_with('0'),
        _ => false,
    }
}

pub fn names(topics: &BTreeSet<&'static str>) -> Vec<TopicName> {
    topics.iter().map(|name| topic_name(name)).collect()
}

pub fn owned(partitions: &Partitions) -> Vec<TopicPartitions> {
    let topics: BTreeSet<_> = partitions.iter().map(|(topic, _)| *topic).collect();
    let topic = |id| {
        let of = partitions.iter().filter(|(topic, _)| *topic == id);
        TopicPartitions::default()
            .with_topic_id(id)
            .with_partitions(of.map(|(_, partition)| *partition).collect())
    };
    topics.into_iter().map(topic).collect()
}

pub fn told(assignment: &Assignment) -> Partitions {
    let topics = assignment.topic_partitions.iter();
    topics.flat_map(|it| it.partitions.iter().map(|partition| (it.topic_id, *partition))).collect()
}

pub fn describe(group: &str) -> ConsumerGroupDescribeRequest {
    ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId(text(group))])
}

pub fn described(group: &DescribedGroup) -> Described {
    let members = group.members.iter().map(|member| {
        let topics = member.assignment.topic_partitions.iter();
        let owned = topics.flat_map(|it| it.partitions.iter().map(|at| (it.topic_id, *at)));
        (member.member_id.to_string(), (member.member_epoch, owned.collect()))
    });
    Described {
        group_epoch: group.group_epoch,
        target_epoch: group.assignment_epoch,
        members: members.collect(),
    }
}

pub fn metadata(topics: &[&str]) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    MetadataRequest::default()
        .with_topics(Some(topics.iter().map(topic).collect()))
        .with_allow_auto_topic_creation(false)
}

pub fn create(name: &str, partitions: i32) -> CreateTopicsRequest {
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000)
}

pub fn delete(name: &str) -> DeleteTopicsRequest {
    DeleteTopicsRequest::default().with_topic_names(vec![topic_name(name)]).with_timeout_ms(30_000)
}

pub fn grow(name: &str, partitions: i32) -> CreatePartitionsRequest {
    let topic = CreatePartitionsTopic::default().with_name(topic_name(name)).with_count(partitions);
    CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000)
}

/// Sets a group's own interval, ms, or takes it away.
pub fn set_interval(group: &str, interval: Option<u64>) -> IncrementalAlterConfigsRequest {
    let config = AlterableConfig::default()
        .with_name(StrBytes::from_static_str(INTERVAL))
        .with_config_operation(if interval.is_some() { SET } else { DELETE })
        .with_value(interval.map(|ms| StrBytes::from_string(ms.to_string())));
    let resource = AlterConfigsResource::default()
        .with_resource_type(GROUP)
        .with_resource_name(text(group))
        .with_configs(vec![config]);
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}
