//! What the APIs about configs have in common: the types of resources, and who may see and change
//! them.

pub(crate) mod entries;
pub(crate) mod judged;

use ottla_metadata::image::ResourceKind as Kept;
use ottla_security::{Action, Operation, Resource, ResourceKind};
use ottla_types::ErrorCode;

use crate::handlers::Permissions;

/// Types of resources by Kafka's numbers (`ConfigResource.Type`).
pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;
pub(crate) const BROKER_LOGGER: i8 = 8;
pub(crate) const CLIENT_METRICS: i8 = 16;
pub(crate) const GROUP: i8 = 32;

/// Whether there are such resources.
pub(crate) fn is_type(kind: i8) -> bool {
    kind == BROKER_LOGGER || kept(kind).is_some()
}

/// A refusal: what the client is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) error: ErrorCode,
    pub(crate) message: Option<String>,
}

impl Refusal {
    pub(crate) fn new(error: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { error, message: Some(message.into()) }
    }

    pub(crate) fn request(message: impl Into<String>) -> Refusal {
        Refusal::new(ErrorCode::InvalidRequest, message)
    }
}

/// Asks whether the sender may do this to configs of a resource.
///
/// # Errors
/// That it may not.
pub(crate) fn authorize(
    permissions: &Permissions<'_>,
    operation: Operation,
    kind: i8,
    name: &str,
) -> Result<(), ErrorCode> {
    let (resource, error) = match kind {
        TOPIC => (Resource::topic(name), ErrorCode::TopicAuthorizationFailed),
        GROUP => {
            let group = Resource { kind: ResourceKind::Group, name };
            (group, ErrorCode::GroupAuthorizationFailed)
        }
        _ => (Resource::CLUSTER, ErrorCode::ClusterAuthorizationFailed),
    };
    if permissions.allows(Action { operation, resource }) { Ok(()) } else { Err(error) }
}

/// A type of resources whose configs are kept.
pub(crate) fn kept(kind: i8) -> Option<Kept> {
    matches!(kind, TOPIC | BROKER | CLIENT_METRICS | GROUP).then_some(Kept(kind))
}
