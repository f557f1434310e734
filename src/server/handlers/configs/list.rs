//! ListConfigResources (74): which resources there are that have configs (KIP-1142).
//!
//! Versions: 0-1. 0 is for subscriptions to client metrics only, 1 asks for types; none are all.
//! - Told are all topics, all brokers, once more as those of loggers, and the groups and
//!   subscriptions that are configured.
//!
//! Errors: `CLUSTER_AUTHORIZATION_FAILED`, `UNSUPPORTED_VERSION` for a type that is not known.

use std::collections::BTreeSet;

use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::messages::list_config_resources_response::ConfigResource;
use ottla_protocol::messages::{
    ListConfigResourcesRequest, ListConfigResourcesResponse, StrBytes, decode_request,
};
use ottla_security::Operation;
use ottla_types::ErrorCode;

use crate::apis::Incoming;
use crate::configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC, kept};
use crate::dispatch::Reply;
use crate::handlers::Permissions;
use crate::response::Response;
use crate::services::Services;

const TYPES: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let header = &request.header;
    let body: ListConfigResourcesRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer: request.peer };
    let asked: BTreeSet<i8> = match header.api_version {
        0 => BTreeSet::from([CLIENT_METRICS]),
        _ if body.resource_types.is_empty() => TYPES.into(),
        _ => body.resource_types.iter().copied().collect(),
    };
    let mut answer = ListConfigResourcesResponse::default();
    if !permissions.cluster(Operation::DescribeConfigs) {
        answer.error_code = ErrorCode::ClusterAuthorizationFailed.code();
    } else if !asked.iter().all(|kind| TYPES.contains(kind)) {
        answer.error_code = ErrorCode::UnsupportedVersion.code();
    } else {
        let image = services.images.load();
        let listed = asked.into_iter().flat_map(|kind| names(&image, kind));
        answer.config_resources = listed.collect();
    }
    Ok(Reply::Now(Response::encode(header, &answer)))
}

fn names(image: &Image, kind: i8) -> Vec<ConfigResource> {
    let names: Vec<String> = match kind {
        TOPIC => image.topics().iter().map(|topic| topic.name.to_string()).collect(),
        BROKER | BROKER_LOGGER => {
            image.cluster().brokers().map(|broker| broker.id.to_string()).collect()
        }
        _ => {
            let set = image.configs().iter().map(|(resource, _)| resource);
            let of_kind = set.filter(|resource| Some(resource.kind) == kept(kind));
            of_kind.map(|resource| resource.name.clone()).collect()
        }
    };
    let resource = |name| {
        ConfigResource::default()
            .with_resource_name(StrBytes::from_string(name))
            .with_resource_type(kind)
    };
    names.into_iter().map(resource).collect()
}
