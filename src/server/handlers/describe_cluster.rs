//! DescribeCluster (60): the cluster's id, its nodes and its controller.
//!
//! Versions: 0-2. 1 asks for brokers or for controllers (KIP-919), 2 for fenced brokers too.
//! - A client's listener describes brokers, a controller's listener describes controllers; asking
//!   the one for the other is refused (in version 0, which cannot ask, with `INVALID_REQUEST`).
//! - A client needs no permission but for the operations in the answer (DESCRIBE, else none are
//!   told); a controller answers those only who may ALTER the cluster.
//!
//! Errors: `CLUSTER_AUTHORIZATION_FAILED`, `MISMATCHED_ENDPOINT_TYPE`,
//! `UNSUPPORTED_ENDPOINT_TYPE`, `INVALID_REQUEST`.

use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use ottla_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, StrBytes, decode_request,
};
use ottla_protocol::metadata::Endpoint;
use ottla_security::{Operation, ResourceKind};
use ottla_types::ErrorCode;

use super::{Permissions, authorized_operations};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let (header, peer) = (&request.header, request.peer);
    let version = header.api_version;
    let body: DescribeClusterRequest = decode_request(&request.body, header.api_key, version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let on_controller = peer.listener.is_controller();
    // Version 0 cannot say what it wants: brokers.
    let wanted = if version == 0 { BROKERS } else { body.endpoint_type };
    let answer = match check(&permissions, wanted, version, on_controller) {
        Err((error, message)) => DescribeClusterResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_string(message))),
        Ok(()) => {
            let image = services.images.load();
            let listener = peer.listener.name(&services.config);
            let mut answer = if on_controller {
                controllers(&image, listener, services)
            } else {
                brokers(&image, listener, services, body.include_fenced_brokers)
            };
            answer.endpoint_type = endpoint_type(on_controller);
            let id = services.identity.cluster_id.clone();
            answer.cluster_id = StrBytes::from_string(id);
            if body.include_cluster_authorized_operations {
                let may_know = permissions.cluster(Operation::Describe);
                answer.cluster_authorized_operations = if may_know {
                    authorized_operations(&permissions, ResourceKind::Cluster, "kafka-cluster")
                } else {
                    0
                };
            }
            answer
        }
    };
    Ok(Reply::Now(Response::encode(header, &answer)))
}

fn endpoint_type(on_controller: bool) -> i8 {
    if on_controller { CONTROLLERS } else { BROKERS }
}

fn check(
    permissions: &Permissions<'_>,
    wanted: i8,
    version: i16,
    on_controller: bool,
) -> Result<(), (ErrorCode, String)> {
    if on_controller && !permissions.cluster(Operation::Alter) {
        let error = ErrorCode::ClusterAuthorizationFailed;
        return Err((error, "Cluster authorization failed.".to_owned()));
    }
    if !matches!(wanted, BROKERS | CONTROLLERS) {
        let message = format!("Unsupported endpoint type {wanted}");
        return Err((ErrorCode::UnsupportedEndpointType, message));
    }
    if wanted != endpoint_type(on_controller) {
        // Version 0 could not choose: Kafka blames the request then.
        let error = match version {
            0 => ErrorCode::InvalidRequest,
            _ => ErrorCode::MismatchedEndpointType,
        };
        let here = if on_controller { "CONTROLLER" } else { "BROKER" };
        let asked = if wanted == CONTROLLERS { "CONTROLLER" } else { "BROKER" };
        let message = format!(
            "The request was sent to an endpoint of type {here}, but we wanted an endpoint of \
             type {asked}"
        );
        return Err((error, message));
    }
    Ok(())
}

fn brokers(
    image: &Image,
    listener: &str,
    services: &Services,
    include_fenced: bool,
) -> DescribeClusterResponse {
    let alive: Vec<_> = image.alive_brokers_on(listener).collect();
    let controller = match alive.len() {
        0 => -1,
        count => {
            let index = services.runtime.entropy().below(count as u64) as usize;
            alive[index].0.id.0
        }
    };
    let all = image.cluster().brokers();
    let shown = all.filter(|broker| include_fenced || !broker.fenced).filter_map(|broker| {
        let endpoint = broker.endpoint(listener)?;
        let rack = broker.rack.clone().map(StrBytes::from_string);
        Some(node(broker.id.0, endpoint).with_rack(rack).with_is_fenced(broker.fenced))
    });
    DescribeClusterResponse::default()
        .with_brokers(shown.collect())
        .with_controller_id(BrokerId(controller))
}

fn controllers(image: &Image, listener: &str, services: &Services) -> DescribeClusterResponse {
    let leader = services.quorum.leader().map_or(-1, |leader| leader.0);
    let shown = image.cluster().controllers().filter_map(|controller| {
        let endpoint = controller.endpoints.iter().find(|endpoint| endpoint.name == listener)?;
        Some(node(controller.id.0, endpoint))
    });
    DescribeClusterResponse::default()
        .with_brokers(shown.collect())
        .with_controller_id(BrokerId(leader))
}

fn node(id: i32, endpoint: &Endpoint) -> DescribeClusterBroker {
    DescribeClusterBroker::default()
        .with_broker_id(BrokerId(id))
        .with_host(StrBytes::from_string(endpoint.host.clone()))
        .with_port(i32::from(endpoint.port))
}
