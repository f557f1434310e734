//! DescribeTopicPartitions (75): topics with their partitions, page by page (KIP-966).
//!
//! Versions: 0.
//! - Topics come by name; an empty list asks for all that the sender may describe. An answer holds
//!   at most as many partitions as the client and `max.request.partition.size.limit` allow, one at
//!   least, and names the partition with which the next page begins.
//! - With a cursor, topics in front of it are left out, and the topic that it names must be among
//!   those that are asked for.
//! - A partition without a leader has leader -1 and no error, as with Kafka.
//!
//! Errors: `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_TOPIC_EXCEPTION`, `TOPIC_AUTHORIZATION_FAILED`
//! (these topics come last), `INVALID_REQUEST` with each topic for a cursor that cannot be.

use std::collections::BTreeSet;

use ottla_metadata::image::{Image, Partition, Topic};
use ottla_protocol::Decoded;
use ottla_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use ottla_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, StrBytes,
    TopicName as WireName, decode_request, to_wire_uuid,
};
use ottla_security::{Operation, ResourceKind};
use ottla_types::{ErrorCode, NodeId, PartitionId, TopicName};

use super::{Permissions, authorized_operations, is_internal, offline_replicas};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: DescribeTopicPartitionsRequest =
        decode_request(&body, header.api_key, header.api_version)?;
    if !is_cursor_possible(&body) {
        return Ok(Reply::Now(Response::encode(&header, &refuse_all(&body))));
    }
    let image = services.images.load();
    let limit = body.response_partition_limit.min(services.config.described_partitions_max).max(1);
    let page = Page {
        image: &image,
        permissions: Permissions { authorizer: &*services.authorizer, peer },
        listener: peer.listener.name(&services.config),
        cursor: body.cursor.as_ref().map(|cursor| (&**cursor.topic_name, cursor.partition_index)),
        left: limit.unsigned_abs() as usize,
        topics: Vec::new(),
        denied: Vec::new(),
        next: None,
    };
    Ok(Reply::Now(Response::encode(&header, &page.fill(&body))))
}

/// Whether the cursor names a topic that is asked for, and a partition that could be.
fn is_cursor_possible(body: &DescribeTopicPartitionsRequest) -> bool {
    body.cursor.as_ref().is_none_or(|cursor| {
        let asked = body.topics.iter().any(|topic| topic.name == cursor.topic_name);
        (asked || body.topics.is_empty()) && cursor.partition_index >= 0
    })
}

fn refuse_all(body: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let refused = body.topics.iter().map(|topic| refuse(&topic.name, ErrorCode::InvalidRequest));
    DescribeTopicPartitionsResponse::default().with_topics(refused.collect())
}

/// An answer that is being filled.
struct Page<'a> {
    image: &'a Image,
    permissions: Permissions<'a>,
    listener: &'a str,
    /// Where it begins.
    cursor: Option<(&'a str, i32)>,
    /// Partitions that there is room for.
    left: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    /// Topics that the sender may not describe.
    denied: Vec<DescribeTopicPartitionsResponseTopic>,
    /// Where the next page begins.
    next: Option<(String, i32)>,
}

impl Page<'_> {
    fn fill(mut self, body: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
        let first = self.cursor.map_or("", |(name, _)| name);
        if body.topics.is_empty() {
            let image = self.image;
            for topic in image.topics().from_name(first) {
                if self.permissions.topic(Operation::Describe, &topic.name)
                    && !self.add(&topic.name)
                {
                    break;
                }
            }
        } else {
            let names: BTreeSet<&str> = body.topics.iter().map(|topic| &**topic.name).collect();
            for name in names.into_iter().filter(|name| *name >= first) {
                if !self.permissions.topic(Operation::Describe, name) {
                    self.denied.push(refuse(name, ErrorCode::TopicAuthorizationFailed));
                } else if !self.add(name) {
                    break;
                }
            }
        }
        self.topics.append(&mut self.denied);
        let cursor = self.next.map(|(name, index)| {
            Cursor::default().with_topic_name(wire_name(&name)).with_partition_index(index)
        });
        DescribeTopicPartitionsResponse::default().with_topics(self.topics).with_next_cursor(cursor)
    }

    /// Adds a topic; false when the page is full.
    fn add(&mut self, name: &str) -> bool {
        if self.left == 0 {
            self.next = Some((name.to_owned(), 0));
            return false;
        }
        let (described, next) = match self.image.topics().by_name(name) {
            Some(topic) => self.describe(topic),
            None => {
                let is_legal = TopicName::validate(name).is_ok();
                let error = match is_legal {
                    true => ErrorCode::UnknownTopicOrPartition,
                    false => ErrorCode::InvalidTopicException,
                };
                (refuse(name, error), None)
            }
        };
        let operations = authorized_operations(&self.permissions, ResourceKind::Topic, name);
        self.left -= described.partitions.len();
        self.topics.push(described.with_topic_authorized_operations(operations));
        self.next = next.map(|index| (name.to_owned(), index));
        self.next.is_none()
    }

    /// As many of the topic's partitions as there is room for, and the next one.
    fn describe(&self, topic: &Topic) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
        let first = match self.cursor {
            Some((name, index)) if name == &*topic.name => index,
            _ => 0,
        };
        let mut partitions = topic.partitions().filter(|(id, _)| id.0 >= first);
        let described: Vec<_> = partitions
            .by_ref()
            .take(self.left)
            .map(|(id, partition)| self.partition(id, partition))
            .collect();
        let next = partitions.next().map(|(id, _)| id.0);
        let described = DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(wire_name(&topic.name)))
            .with_topic_id(to_wire_uuid(topic.id))
            .with_is_internal(is_internal(&topic.name))
            .with_partitions(described);
        (described, next)
    }

    fn partition(
        &self,
        id: PartitionId,
        partition: &Partition,
    ) -> DescribeTopicPartitionsResponsePartition {
        let leader = self.image.leader_on(partition, self.listener);
        let offline = offline_replicas(self.image, partition, self.listener);
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(id.0)
            .with_leader_id(leader.map_or(BrokerId(-1), |(broker, _)| BrokerId(broker.id.0)))
            .with_leader_epoch(partition.leader_epoch.0)
            .with_replica_nodes(wire_ids(&partition.replicas))
            .with_isr_nodes(wire_ids(&partition.isr))
            .with_eligible_leader_replicas(Some(wire_ids(&partition.elr)))
            .with_last_known_elr(Some(wire_ids(&partition.last_known_elr)))
            .with_offline_replicas(wire_ids(&offline))
    }
}

fn wire_ids(ids: &[NodeId]) -> Vec<BrokerId> {
    ids.iter().map(|id| BrokerId(id.0)).collect()
}

fn wire_name(name: &str) -> WireName {
    WireName(StrBytes::from_string(name.to_owned()))
}

fn refuse(name: &str, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(error.code())
        .with_name(Some(wire_name(name)))
        .with_is_internal(is_internal(name))
}
