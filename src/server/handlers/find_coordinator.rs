//! FindCoordinator (10): which broker coordinates a group or a transactional id.
//!
//! Versions: 0-6; from 4 on, many keys at once (KIP-699).
//! - A group is coordinated by the leader of its partition of `__consumer_offsets`. If the topic is
//!   not there, it is created in the background, and clients ask again.
//! - A transactional id is coordinated by the leader of its partition of `__transaction_state`,
//!   likewise.
//! - This version of Ottla does not coordinate share groups: their keys are answered with
//!   `COORDINATOR_NOT_AVAILABLE` and a text that says so.
//!
//! Errors: `COORDINATOR_NOT_AVAILABLE`; `GROUP_AUTHORIZATION_FAILED`,
//! `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`, `CLUSTER_AUTHORIZATION_FAILED`; `INVALID_REQUEST` for a
//! type of key that does not exist.

use ottla_coordinator::runtime::{GROUPS_TOPIC, TRANSACTIONS_TOPIC, partition_of};
use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::messages::find_coordinator_response::Coordinator;
use ottla_protocol::messages::{
    BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, StrBytes, decode_request,
};
use ottla_protocol::metadata::Endpoint;
use ottla_security::{Action, Operation, Resource, ResourceKind};
use ottla_types::{ErrorCode, NodeId};

use super::Permissions;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const BATCHED_FROM: i16 = 4;
const NOT_BUILT: &str = "this broker does not coordinate share groups yet";
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

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
        let topic = match body.key_type {
            TRANSACTION => &services.transactions_topic,
            _ => &services.groups_topic,
        };
        topic.create(&services.runtime, &services.controller, alive);
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
            GROUP => (
                Operation::Describe,
                Resource { kind: ResourceKind::Group, name: key },
                ErrorCode::GroupAuthorizationFailed,
            ),
            TRANSACTION => (
                Operation::Describe,
                Resource { kind: ResourceKind::TransactionalId, name: key },
                ErrorCode::TransactionalIdAuthorizationFailed,
            ),
            SHARE => {
                (Operation::ClusterAction, Resource::CLUSTER, ErrorCode::ClusterAuthorizationFailed)
            }
            _ => return Err(ErrorCode::InvalidRequest),
        };
        if !self.permissions.allows(Action { operation, resource }) {
            return Err(denied);
        }
        self.coordinator(key).ok_or(ErrorCode::CoordinatorNotAvailable)
    }

    /// The topic that keeps what a key stands for.
    fn topic(&self) -> Option<&'static str> {
        match self.key_type {
            GROUP => Some(GROUPS_TOPIC),
            TRANSACTION => Some(TRANSACTIONS_TOPIC),
            _ => None,
        }
    }

    fn coordinator(&self, key: &str) -> Option<(NodeId, &'a Endpoint)> {
        let topic = self.topic()?;
        let count = i32::try_from(self.image.topic(topic)?.partition_count()).ok()?;
        let partition = self.image.partition(topic, partition_of(key, count))?;
        let (broker, endpoint) = self.image.leader_on(partition, self.listener).ok()?;
        Some((broker.id, endpoint))
    }

    /// Whether the topic has to be created.
    fn is_missing(&self, found: &Found<'_>) -> bool {
        *found == Err(ErrorCode::CoordinatorNotAvailable)
            && self.topic().is_some_and(|topic| self.image.topic(topic).is_none())
    }

    /// The text of an answer; Kafka's old versions have one for a success as well.
    fn text(&self, found: &Found<'_>, of_success: &'static str) -> Option<StrBytes> {
        let text = match found {
            Ok(_) => of_success,
            Err(ErrorCode::CoordinatorNotAvailable) if self.topic().is_none() => NOT_BUILT,
            Err(ErrorCode::CoordinatorNotAvailable) => NOT_AVAILABLE,
            Err(ErrorCode::InvalidRequest) => INVALID,
            Err(_) => return None,
        };
        Some(StrBytes::from_static_str(text))
    }
}
