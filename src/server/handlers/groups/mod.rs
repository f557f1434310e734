//! Groups and their offsets. Each handler asks the authorizer, then the shard of the group.

pub mod consumer_describe;
pub mod consumer_heartbeat;
pub mod delete;
pub mod describe;
pub mod heartbeat;
pub mod join;
pub mod leave;
pub mod list;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod sync;
pub mod txn_offset_commit;

use std::net::IpAddr;
use std::sync::Arc;

use ottla_coordinator::runtime::{GROUPS_TOPIC, MaySee};
use ottla_metadata::GROUP_VERSION;
use ottla_metadata::image::Image;
use ottla_protocol::messages::StrBytes;
use ottla_security::{Action, Operation, Resource, ResourceKind};
use ottla_types::{ErrorCode, PartitionId, TopicName, Uuid};

use super::Permissions;
use crate::connection::Peer;
use crate::services::Services;

impl Permissions<'_> {
    /// Whether the sender may do `operation` to a group.
    #[must_use]
    pub fn group(&self, operation: Operation, name: &str) -> bool {
        let resource = Resource { kind: ResourceKind::Group, name };
        self.allows(Action { operation, resource })
    }

    /// Why a request about a group is refused before anybody looks for the group.
    fn refusal(&self, operation: Operation, group: &str) -> Option<ErrorCode> {
        if !self.group(operation, group) {
            Some(ErrorCode::GroupAuthorizationFailed)
        } else if group.is_empty() {
            Some(ErrorCode::InvalidGroupId)
        } else {
            None
        }
    }
}

/// Whether the sender may describe a topic, asked later.
fn may_describe(services: &Services, peer: &Peer) -> MaySee {
    let (authorizer, principal) = (services.authorizer.clone(), peer.principal.clone());
    let host = peer.address.ip();
    Arc::new(move |name| {
        let resource = Resource::topic(name);
        let action = Action { operation: Operation::Describe, resource };
        authorizer.allows(&principal, host, action)
    })
}

/// Where a client connected from, as Java prints it: records of members hold it so.
fn client_host(peer: &Peer) -> String {
    match peer.address.ip() {
        IpAddr::V4(ip) => format!("/{ip}"),
        IpAddr::V6(ip) => {
            let parts = ip.segments().map(|part| format!("{part:x}"));
            format!("/{}", parts.join(":"))
        }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Whether the cluster's level of `group.version` lets consumer groups be (KIP-848).
fn knows_consumer_groups(image: &Image) -> bool {
    image.features().level(GROUP_VERSION) > 0
}

/// How many partitions groups are spread over; none while their topic is not there.
#[must_use]
pub fn group_partitions(image: &Image) -> Option<i32> {
    let topic = image.topic(GROUPS_TOPIC)?;
    i32::try_from(topic.partition_count()).ok()
}

/// A topic of a request that names topics, or, from some version on, their ids.
struct Named {
    name: TopicName,
    id: Uuid,
}

/// What a request names; none when there is no such id. A name that is not known has no id.
fn resolve(image: &Image, by_id: bool, name: &TopicName, id: Uuid) -> Option<Named> {
    if by_id {
        let topic = image.topics().by_id(id)?;
        return Some(Named { name: topic.name.clone(), id });
    }
    let known = image.topics().by_name(name).map(|topic| topic.id);
    Some(Named { name: name.clone(), id: known.unwrap_or(Uuid::ZERO) })
}

/// Whether a partition of a topic is there.
fn exists(image: &Image, topic: &Named, partition: PartitionId) -> bool {
    let topic = image.topics().by_id(topic.id);
    topic.is_some_and(|topic| topic.partition(partition).is_some())
}
