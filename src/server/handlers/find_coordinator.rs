//! FindCoordinator (10): which broker coordinates a group or a transactional id.
//!
//! Versions: 0-6; from 4 on, many keys at once (KIP-699).
//! - A group is coordinated by the leader of its partition of `__consumer_offsets`. If the topic is
//!   not there, it is created in the background, and clients ask again.
//! - This version of Ottla coordinates neither transactions nor share groups: their keys are
//!   answered with `COORDINATOR_NOT_AVAILABLE` and a text that says so.
//!
//! Errors: `COORDINATOR_NOT_AVAILABLE`; `GROUP_AUTHORIZATION_FAILED`,
//! `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`, `CLUSTER_AUTHORIZATION_FAILED`; `INVALID_REQUEST` for a
//! type of key that does not exist.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_config::{GroupsConfig, TOPIC_REPLICAS_DEFAULT};
use ottla_coordinator::runtime::{GROUPS_TOPIC, partition_of};
use ottla_metadata::ControllerHandle;
use ottla_metadata::controller::{CreateTopics, NewTopic};
use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::messages::find_coordinator_response::Coordinator;
use ottla_protocol::messages::{
    BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, StrBytes, decode_request,
};
use ottla_protocol::metadata::Endpoint;
use ottla_runtime::{Plane, Runtime};
use ottla_security::{Action, Operation, Resource, ResourceKind};
use ottla_types::{ErrorCode, NodeId};

use super::Permissions;
use super::groups::group_partitions;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const BATCHED_FROM: i16 = 4;
const NOT_BUILT: &str = "this broker does not coordinate transactions or share groups yet";

const NOT_AVAILABLE: &str = "The coordinator is not available.";
const INVALID: &str = "This most likely occurs because of a request being malformed by the client \
                       library or the message was sent to an incompatible broker. See the broker \
                       logs for more details.";

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let (header, peer) = (&request.header, request.peer);
    let body: FindCoordinatorRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let image = services.images.load();
    let finder = Finder {
        image: &image,
        permissions: &permissions,
        listener: peer.listener.name(&services.config),
        key_type: body.key_type,
    };
    let mut answer = FindCoordinatorResponse::default();
    let mut creates = false;
    if header.api_version >= BATCHED_FROM {
        let mut coordinator = |key: &StrBytes| {
            let found = finder.find(key);
            creates |= finder.is_missing(&found);
            let text = finder.text(&found, "");
            let (node, host, port, error) = parts(found);
            Coordinator::default()
                .with_key(key.clone())
                .with_node_id(node)
                .with_host(host)
                .with_port(port)
                .with_error_code(error.code())
                .with_error_message(text)
        };
        answer.coordinators = body.coordinator_keys.iter().map(&mut coordinator).collect();
    } else {
        let found = finder.find(&body.key);
        creates = finder.is_missing(&found);
        let text = finder.text(&found, "NONE");
        let (node, host, port, error) = parts(found);
        answer = answer
            .with_error_code(error.code())
            .with_error_message(text)
            .with_node_id(node)
            .with_host(host)
            .with_port(port);
    }
    if creates {
        let alive = image.cluster().alive_brokers().count();
        services.groups_topic.create(&services.runtime, &services.controller, alive);
    }
    Ok(Reply::Now(Response::encode(header, &answer)))
}

/// A coordinator, or why none is told.
type Found<'a> = Result<(NodeId, &'a Endpoint), ErrorCode>;

fn parts(found: Found<'_>) -> (BrokerId, StrBytes, i32, ErrorCode) {
    match found {
        Ok((node, endpoint)) => {
            let host = StrBytes::from_string(endpoint.host.clone());
            (BrokerId(node.0), host, i32::from(endpoint.port), ErrorCode::None)
        }
        Err(error) => (BrokerId(-1), StrBytes::default(), -1, error),
    }
}

struct Finder<'a> {
    image: &'a Image,
    permissions: &'a Permissions<'a>,
    listener: &'a str,
    key_type: i8,
}

impl<'a> Finder<'a> {
    fn find(&self, key: &str) -> Found<'a> {
        let (operation, resource, denied) = match self.key_type {
            0 => (
                Operation::Describe,
                Resource { kind: ResourceKind::Group, name: key },
                ErrorCode::GroupAuthorizationFailed,
            ),
            1 => (
                Operation::Describe,
                Resource { kind: ResourceKind::TransactionalId, name: key },
                ErrorCode::TransactionalIdAuthorizationFailed,
            ),
            2 => {
                (Operation::ClusterAction, Resource::CLUSTER, ErrorCode::ClusterAuthorizationFailed)
            }
            _ => return Err(ErrorCode::InvalidRequest),
        };
        if !self.permissions.allows(Action { operation, resource }) {
            return Err(denied);
        }
        match self.key_type {
            0 => self.group(key).ok_or(ErrorCode::CoordinatorNotAvailable),
            _ => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }

    fn group(&self, key: &str) -> Option<(NodeId, &'a Endpoint)> {
        let partition = partition_of(key, group_partitions(self.image)?);
        let partition = self.image.partition(GROUPS_TOPIC, partition)?;
        let (broker, endpoint) = self.image.leader_on(partition, self.listener).ok()?;
        Some((broker.id, endpoint))
    }

    /// Whether the topic has to be created.
    fn is_missing(&self, found: &Found<'_>) -> bool {
        self.key_type == 0
            && *found == Err(ErrorCode::CoordinatorNotAvailable)
            && self.image.topic(GROUPS_TOPIC).is_none()
    }

    /// The text of an answer; Kafka's old versions have one for a success as well.
    fn text(&self, found: &Found<'_>, of_success: &'static str) -> Option<StrBytes> {
        let text = match found {
            Ok(_) => of_success,
            Err(ErrorCode::CoordinatorNotAvailable) if self.key_type != 0 => NOT_BUILT,
            Err(ErrorCode::CoordinatorNotAvailable) => NOT_AVAILABLE,
            Err(ErrorCode::InvalidRequest) => INVALID,
            Err(_) => return None,
        };
        Some(StrBytes::from_static_str(text))
    }
}

/// Creates the topic that groups are kept in, when the first of them is asked for.
pub struct GroupsTopic {
    config: GroupsConfig,
    /// Whether the controller has been asked and has not answered.
    creating: Arc<AtomicBool>,
}

impl GroupsTopic {
    /// A topic that is created like this.
    #[must_use]
    pub fn new(config: GroupsConfig) -> GroupsTopic {
        GroupsTopic { config, creating: Arc::default() }
    }

    fn create(&self, runtime: &Runtime, controller: &ControllerHandle, alive: usize) {
        if self.creating.swap(true, Ordering::Relaxed) {
            return;
        }
        let (controller, creating) = (controller.clone(), self.creating.clone());
        let request = CreateTopics { topics: vec![self.topic(alive)], validate_only: false };
        runtime.spawn(Plane::Control, "create the topic of groups", async move {
            match controller.create_topics(request).await {
                Ok(outcomes) => {
                    for error in outcomes.into_iter().filter_map(|outcome| outcome.result.err()) {
                        tracing::warn!(%error, "cannot create {GROUPS_TOPIC}");
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot create {GROUPS_TOPIC}"),
            }
            creating.store(false, Ordering::Relaxed);
        });
    }

    fn topic(&self, alive: usize) -> NewTopic {
        let alive = i16::try_from(alive.max(1)).unwrap_or(i16::MAX);
        let config = |name: &str, value: String| (name.to_owned(), Some(value));
        NewTopic {
            name: GROUPS_TOPIC.to_owned(),
            partitions: self.config.topic_partitions,
            replication_factor: self
                .config
                .topic_replicas
                .unwrap_or(TOPIC_REPLICAS_DEFAULT.min(alive)),
            assignments: Vec::new(),
            configs: vec![
                config("cleanup.policy", "compact".to_owned()),
                config("compression.type", "producer".to_owned()),
                config("segment.bytes", self.config.topic_segment_bytes.to_string()),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_config::NodeConfig;

    use super::*;

    #[test]
    fn the_topic_of_groups_has_kafkas_settings() {
        let topic = |keys: &[(String, String)], alive| {
            let config = NodeConfig::new(None, keys).expect("the keys are good");
            GroupsTopic::new(config.groups).topic(alive)
        };
        let made = topic(&[], 1);
        assert_eq!((made.partitions, made.replication_factor), (50, 1), "of one broker");
        assert_eq!(topic(&[], 5).replication_factor, 3, "of several");
        let configs = made.configs.into_iter().map(|(name, value)| format!("{name}={value:?}"));
        assert_eq!(
            configs.collect::<Vec<_>>(),
            [
                "cleanup.policy=Some(\"compact\")",
                "compression.type=Some(\"producer\")",
                "segment.bytes=Some(\"104857600\")",
            ]
        );
        let key = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let made = topic(&[key("offsets.topic.replication.factor", "2")], 1);
        assert_eq!(made.replication_factor, 2, "as it is given, though there is one broker");
    }
}
