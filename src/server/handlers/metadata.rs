//! Metadata (3): brokers, topics, partitions and where their leaders are.
//!
//! Versions: 0-13. 1 null asks for all topics, 4 says whether missing topics may be created, 5
//! offline replicas, 7 leader epochs, 8 authorized operations (KIP-430), 10 topic ids (KIP-516), 12
//! topics by id, 13 an error for the whole answer.
//! - A missing topic is created in the background when the broker and the request allow it, and the
//!   answer says `UNKNOWN_TOPIC_OR_PARTITION`, as Kafka does; clients ask again.
//! - The answer names endpoints of the listener that the request came through.
//! - The controller is a random live broker: admin clients send there, and brokers forward.
//! - Where no broker is alive, the one that answers names itself, and no controller.
//! - Where one topic is asked for by its id, those that are asked for by name alone are not
//!   answered.
//! - Topics are encoded once for each version, as long as the cluster does not change: `kept.rs`.
//! - Topics that the sender may not describe are left out of "all topics", and are
//!   `TOPIC_AUTHORIZATION_FAILED` by name and by id, which does not tell the name.
//!
//! Errors: `UNKNOWN_TOPIC_OR_PARTITION`, `UNKNOWN_TOPIC_ID`, `INVALID_TOPIC_EXCEPTION`,
//! `TOPIC_AUTHORIZATION_FAILED`, `INVALID_REQUEST` for an id or a null name in versions 10 and 11,
//! `UNKNOWN_SERVER_ERROR` of the whole for neither;
//! in partitions `LEADER_NOT_AVAILABLE`, `LISTENER_NOT_FOUND` (from version 6 on).

mod kept;

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_metadata::ControllerHandle;
use ottla_metadata::controller::{CreateTopics, NewTopic};
use ottla_metadata::image::{Image, LeaderUnavailable, Partition, Topic};
use ottla_protocol::messages::metadata_request::MetadataRequestTopic;
use ottla_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::messages::{
    BrokerId, MetadataRequest, MetadataResponse, StrBytes, TopicName as WireName, decode_request,
    from_wire_uuid, to_wire_uuid,
};
use ottla_protocol::{DecodeError, Decoded};
use ottla_runtime::{Plane, Runtime};
use ottla_security::{Operation, ResourceKind};
use ottla_types::{ErrorCode, NodeId, PartitionId, TopicName, Uuid};

pub use self::kept::KeptTopics;
use self::kept::{Encoded, For, Opened};
use super::{Permissions, authorized_operations, is_internal, offline_replicas};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const NULL_IS_ALL_FROM: i16 = 1;
const LISTENER_ERRORS_FROM: i16 = 6;
/// Names may be null on the wire from here on, and in fact from [`TOPIC_IDS_FROM`] on.
const NULL_NAMES_FROM: i16 = 10;
const TOPIC_IDS_FROM: i16 = 12;
const CLUSTER_OPERATIONS: std::ops::RangeInclusive<i16> = 8..=10;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let (header, peer) = (&request.header, request.peer);
    let version = header.api_version;
    let body: MetadataRequest = decode_request(&request.body, header.api_key, version)?;
    if version < TOPIC_IDS_FROM && names_no_topic(&body) {
        if version < NULL_NAMES_FROM {
            return Err(DecodeError::BadLength);
        }
        return Ok(Reply::Now(Response::encode(
            header,
            &refuse_all(&body, ErrorCode::InvalidRequest),
        )));
    }
    if version >= TOPIC_IDS_FROM && names_nothing(&body) {
        let error = ErrorCode::UnknownServerError;
        let answer = refuse_all(&body, error).with_error_code(error.code());
        return Ok(Reply::Now(Response::encode(header, &answer)));
    }
    let image = services.images.load();
    let handler = Handler {
        image: &image,
        permissions: Permissions { authorizer: &*services.authorizer, peer },
        listener: peer.listener.name(&services.config),
        version,
        topic_operations: body.include_topic_authorized_operations,
        kept: &services.metadata_topics,
    };
    let asked = Asked::of(&body, version);
    let mut topics = handler.topics(&asked);
    if topics.some_missing {
        let may_create =
            services.config.auto_create_topics && (body.allow_auto_topic_creation || version < 4);
        let missing = handler.missing(&asked, may_create, &mut topics.encoded);
        create_in_background(&services.runtime, &services.controller, missing);
    }
    let mut rest = handler.brokers(services);
    rest.cluster_id = Some(StrBytes::from_string(services.identity.cluster_id.clone()));
    if body.include_cluster_authorized_operations && CLUSTER_OPERATIONS.contains(&version) {
        rest.cluster_authorized_operations =
            authorized_operations(&handler.permissions, ResourceKind::Cluster, "kafka-cluster");
    }
    Ok(Reply::Now(kept::answer(header, &rest, topics.encoded)))
}

/// Whether a topic is asked for by its id, or not even by that.
fn names_no_topic(body: &MetadataRequest) -> bool {
    let mut topics = body.topics.iter().flatten();
    topics.any(|topic| topic.name.is_none() || !topic.topic_id.is_nil())
}

/// Whether no topic is asked for by its id, and one not by its name either.
fn names_nothing(body: &MetadataRequest) -> bool {
    let mut topics = body.topics.iter().flatten();
    let by_name = topics.clone().all(|topic| topic.topic_id.is_nil());
    by_name && topics.any(|topic| topic.name.is_none())
}

fn refuse_all(body: &MetadataRequest, error: ErrorCode) -> MetadataResponse {
    let topics = body.topics.iter().flatten().map(|topic| {
        let name = topic.name.as_deref().map_or("", |name| &**name);
        refuse(Some(name), from_wire_uuid(topic.topic_id), error)
    });
    MetadataResponse::default().with_topics(topics.collect())
}

/// What a request asks for.
enum Asked<'a> {
    All,
    Named(Vec<&'a MetadataRequestTopic>),
}

impl<'a> Asked<'a> {
    fn of(body: &'a MetadataRequest, version: i16) -> Asked<'a> {
        match &body.topics {
            None => Asked::All,
            Some(topics) if topics.is_empty() && version < NULL_IS_ALL_FROM => Asked::All,
            Some(topics) => {
                // Ids count alone, where there are any.
                let by_id = topics.iter().any(|topic| !topic.topic_id.is_nil());
                let asked = topics.iter().filter(|topic| !by_id || !topic.topic_id.is_nil());
                Asked::Named(asked.collect())
            }
        }
    }
}

struct Handler<'a> {
    image: &'a Image,
    permissions: Permissions<'a>,
    listener: &'a str,
    version: i16,
    topic_operations: bool,
    kept: &'a KeptTopics,
}

/// The topics of an answer.
#[derive(Default)]
struct Topics {
    encoded: Encoded,
    /// Whether some that were asked for by name do not exist, or may not be seen.
    some_missing: bool,
}

impl Handler<'_> {
    /// The answers for topics that exist or are refused; those that are missing by name come
    /// from [`Handler::missing`].
    fn topics(&self, asked: &Asked<'_>) -> Topics {
        let mut topics = Topics::default();
        match asked {
            Asked::All if self.permissions.every_topic(Operation::Describe) => {
                topics.encoded = self.every_topic();
            }
            Asked::All => {
                let mut kept = self.open_kept();
                let seen = self.image.topics().iter().filter(|topic| self.may_describe(topic));
                seen.for_each(|topic| topics.encoded.push(self.encoded(topic, &mut kept)));
            }
            Asked::Named(asked) => {
                let (mut kept, mut done) = (self.open_kept(), BTreeSet::new());
                for asked in asked {
                    let found = self.named(asked, &mut topics);
                    if let Some(topic) = found.filter(|topic| done.insert(topic.id)) {
                        topics.encoded.push(self.encoded(topic, &mut kept));
                    }
                }
            }
        }
        topics
    }

    fn named(&self, asked: &MetadataRequestTopic, topics: &mut Topics) -> Option<&Topic> {
        let may_describe = |topic: &&Topic| self.may_describe(topic);
        if let Some(name) = &asked.name {
            let found = self.image.topics().by_name(name).filter(may_describe);
            topics.some_missing |= found.is_none();
            return found;
        }
        let id = from_wire_uuid(asked.topic_id);
        let found = self.image.topics().by_id(id).ok_or(ErrorCode::UnknownTopicId);
        let allowed = found.and_then(|topic| {
            let allowed = Some(topic).filter(may_describe);
            allowed.ok_or(ErrorCode::TopicAuthorizationFailed)
        });
        if let Err(error) = allowed {
            topics.encoded.push(self.refused(None, id, error));
        }
        allowed.ok()
    }

    /// What is kept for answers of this kind; none where the answer depends on who asks.
    fn open_kept(&self) -> Option<Opened<'_>> {
        (!self.topic_operations).then(|| self.kept.open(&self.wanted()))
    }

    fn wanted(&self) -> For<'_> {
        let as_of = self.image.provenance();
        For { version: self.version, listener: self.listener, as_of }
    }

    fn every_topic(&self) -> Encoded {
        let described = self.image.topics().iter().map(|topic| self.describe(topic));
        let all = match self.open_kept() {
            None => kept::encoded(described, self.version),
            Some(mut kept) => kept.all(described),
        };
        Encoded { count: self.image.topics().count(), pieces: vec![all] }
    }

    fn encoded(&self, topic: &Topic, kept: &mut Option<Opened<'_>>) -> Bytes {
        match kept {
            None => kept::encoded([self.describe(topic)], self.version),
            Some(kept) => kept.topic(topic.id, || self.describe(topic)),
        }
    }

    fn refused(&self, name: Option<&str>, id: Uuid, error: ErrorCode) -> Bytes {
        kept::encoded([refuse(name, id, error)], self.version)
    }

    /// Adds the answers for topics that are missing by name; returns those to be created.
    fn missing(
        &self,
        asked: &Asked<'_>,
        may_create: bool,
        answers: &mut Encoded,
    ) -> Vec<TopicName> {
        let Asked::Named(topics) = asked else { return Vec::new() };
        let names: BTreeSet<&str> =
            topics.iter().filter_map(|topic| topic.name.as_ref()).map(|name| &***name).collect();
        let mut create = Vec::new();
        for name in names {
            let error = if !self.permissions.topic(Operation::Describe, name) {
                ErrorCode::TopicAuthorizationFailed
            } else if self.image.topics().by_name(name).is_some() {
                continue;
            } else if TopicName::validate(name).is_err() {
                ErrorCode::InvalidTopicException
            } else {
                let allowed = self.permissions.cluster(Operation::Create)
                    || self.permissions.topic(Operation::Create, name);
                match (may_create, allowed) {
                    (true, true) => create.push(TopicName::from(name)),
                    (true, false) => {
                        let error = ErrorCode::TopicAuthorizationFailed;
                        answers.push(self.refused(Some(name), Uuid::ZERO, error));
                        continue;
                    }
                    (false, _) => {}
                }
                ErrorCode::UnknownTopicOrPartition
            };
            answers.push(self.refused(Some(name), Uuid::ZERO, error));
        }
        create
    }

    fn may_describe(&self, topic: &Topic) -> bool {
        self.permissions.topic(Operation::Describe, &topic.name)
    }

    fn describe(&self, topic: &Topic) -> MetadataResponseTopic {
        let partitions = topic.partitions().map(|(id, partition)| self.partition(id, partition));
        let mut answer = MetadataResponseTopic::default()
            .with_name(Some(WireName(StrBytes::from_string(topic.name.to_string()))))
            .with_topic_id(to_wire_uuid(topic.id))
            .with_is_internal(is_internal(&topic.name))
            .with_partitions(partitions.collect());
        if self.topic_operations {
            answer.topic_authorized_operations =
                authorized_operations(&self.permissions, ResourceKind::Topic, &topic.name);
        }
        answer
    }

    fn partition(&self, id: PartitionId, partition: &Partition) -> MetadataResponsePartition {
        let leader = self.image.leader_on(partition, self.listener);
        let error = match leader {
            Ok(_) => ErrorCode::None,
            Err(LeaderUnavailable::NoListener) if self.version >= LISTENER_ERRORS_FROM => {
                ErrorCode::ListenerNotFound
            }
            Err(_) => ErrorCode::LeaderNotAvailable,
        };
        let offline = offline_replicas(self.image, partition, self.listener);
        MetadataResponsePartition::default()
            .with_error_code(error.code())
            .with_partition_index(id.0)
            .with_leader_id(leader.map_or(BrokerId(-1), |(broker, _)| BrokerId(broker.id.0)))
            .with_leader_epoch(partition.leader_epoch.0)
            .with_replica_nodes(partition.replicas.iter().map(wire_id).collect())
            .with_isr_nodes(partition.isr.iter().map(wire_id).collect())
            .with_offline_replicas(offline.iter().map(wire_id).collect())
    }

    fn brokers(&self, services: &Services) -> MetadataResponse {
        let mut shown: Vec<_> = self.image.alive_brokers_on(self.listener).collect();
        let controller = match shown.len() {
            0 => -1,
            count => shown[services.runtime.entropy().below(count as u64) as usize].0.id.0,
        };
        if shown.is_empty() {
            // The last one, on its way out: who is told of no broker has nobody to come back to.
            let itself = self.image.cluster().broker(services.identity.node_id);
            shown.extend(itself.and_then(|broker| Some((broker, broker.endpoint(self.listener)?))));
        }
        let brokers = shown.iter().map(|(broker, endpoint)| {
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(broker.id.0))
                .with_host(StrBytes::from_string(endpoint.host.clone()))
                .with_port(i32::from(endpoint.port))
                .with_rack(broker.rack.clone().map(StrBytes::from_string))
        });
        MetadataResponse::default()
            .with_brokers(brokers.collect())
            .with_controller_id(BrokerId(controller))
    }
}

fn wire_id(id: &NodeId) -> BrokerId {
    BrokerId(id.0)
}

fn refuse(name: Option<&str>, id: Uuid, error: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(error.code())
        .with_name(name.map(|name| WireName(StrBytes::from_string(name.to_owned()))))
        .with_topic_id(to_wire_uuid(id))
        .with_is_internal(name.is_some_and(is_internal))
}

/// Asks the controller for topics; clients see them when they ask again.
fn create_in_background(runtime: &Runtime, controller: &ControllerHandle, names: Vec<TopicName>) {
    if names.is_empty() {
        return;
    }
    let controller = controller.clone();
    runtime.spawn(Plane::Control, "auto-create topics", async move {
        let topics = names.iter().map(|name| NewTopic {
            name: name.to_string(),
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        });
        let request = CreateTopics { topics: topics.collect(), validate_only: false };
        match controller.create_topics(request).await {
            Ok(outcomes) => {
                for outcome in outcomes {
                    if let Err(error) = outcome.result {
                        tracing::debug!(topic = outcome.name, %error, "auto-creation refused");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "cannot create topics"),
        }
    });
}
