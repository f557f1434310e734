//! DescribeConfigs (32): the configs of topics, of this broker, of all brokers, of groups and of
//! subscriptions to client metrics.
//!
//! Versions: 1-4. 3 types and documentation, 4 is flexible.
//! - Told are all keys that this version knows, or those that are asked for; no others of Kafka's,
//!   as they decide nothing here. The texts are Ottla's own.
//! - Each comes with its source and, if asked for, its synonyms: `entries.rs`.
//! - A key of the broker is read-only if a change would not act at once; Kafka takes more of them.
//! - A group, or a subscription, that nobody has configured has the defaults.
//! - There are no loggers, so that none is told.
//!
//! Errors: `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_TOPIC_EXCEPTION`, `INVALID_REQUEST` (another
//! broker, no name, a type that is not known: then for all resources), and of authorization
//! `TOPIC_AUTHORIZATION_FAILED`, `GROUP_AUTHORIZATION_FAILED`, `CLUSTER_AUTHORIZATION_FAILED`.

use std::collections::BTreeSet;

use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::messages::describe_configs_request::DescribeConfigsResource;
use ottla_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, StrBytes, decode_request,
};
use ottla_security::Operation;
use ottla_types::{ErrorCode, NodeId, TopicName};

use crate::apis::Incoming;
use crate::configs::entries::{Entry, Levels};
use crate::configs::{
    BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, Refusal, TOPIC, authorize, is_type,
};
use crate::dispatch::Reply;
use crate::handlers::Permissions;
use crate::response::Response;
use crate::services::Services;

/// What Kafka says of a request as a whole.
const MALFORMED: &str = "This most likely occurs because of a request being malformed by the \
                         client library or the message was sent to an incompatible broker. See the \
                         broker logs for more details.";

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let header = &request.header;
    let body: DescribeConfigsRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer: request.peer };
    let image = services.images.load();
    let node = services.identity.node_id;
    let levels = Levels::new(&image, node, &services.config.given);
    let all_known = body.resources.iter().all(|it| is_type(it.resource_type));
    let results = body.resources.iter().map(|resource| {
        let entries = if all_known {
            describe(&levels, &image, node, &permissions, resource)
        } else {
            Err(Refusal::request(MALFORMED))
        };
        result(&body, resource, entries)
    });
    let mut results: Vec<(bool, DescribeConfigsResult)> = results.collect();
    // Those that may not be seen come last, as with Kafka.
    results.sort_by_key(|(is_denied, _)| *is_denied);
    let results = results.into_iter().map(|(_, result)| result).collect();
    let answer = DescribeConfigsResponse::default().with_results(results);
    Ok(Reply::Now(Response::encode(header, &answer)))
}

fn describe(
    levels: &Levels<'_>,
    image: &Image,
    node: NodeId,
    permissions: &Permissions<'_>,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Entry>, Refusal> {
    let name: &str = &resource.resource_name;
    let kind = resource.resource_type;
    authorize(permissions, Operation::DescribeConfigs, kind, name).map_err(|error| {
        let text = match error {
            ErrorCode::TopicAuthorizationFailed => "Topic authorization failed.",
            ErrorCode::GroupAuthorizationFailed => "Group authorization failed.",
            _ => "Cluster authorization failed.",
        };
        Refusal::new(error, text)
    })?;
    match kind {
        TOPIC => {
            TopicName::validate(name).map_err(|error| {
                Refusal::new(ErrorCode::InvalidTopicException, error.to_string())
            })?;
            match image.topics().by_name(name) {
                Some(_) => Ok(levels.topic(name)),
                None => Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, "")),
            }
        }
        BROKER if name.is_empty() => Ok(levels.all_brokers()),
        BROKER => {
            let text = format!("expected {node} or empty string, but received");
            check_broker(node, name, &text).map(|()| levels.broker())
        }
        BROKER_LOGGER if name.is_empty() => Err(Refusal::request("Broker id must not be empty")),
        BROKER_LOGGER => {
            check_broker(node, name, &format!("expected {node} but received"))?;
            Ok(Vec::new())
        }
        CLIENT_METRICS if name.is_empty() => {
            Err(Refusal::request("Client metrics subscription name must not be empty"))
        }
        CLIENT_METRICS => Ok(levels.client_metrics(name)),
        GROUP if name.is_empty() => Err(Refusal::request("Group name must not be empty")),
        _ => Ok(levels.group(name)),
    }
}

fn check_broker(node: NodeId, name: &str, expected: &str) -> Result<(), Refusal> {
    match name.parse::<i32>() {
        Ok(id) if id == node.0 => Ok(()),
        Ok(_) => Err(Refusal::request(format!("Unexpected broker id, {expected} {name}"))),
        Err(_) => {
            let text = format!("Broker id must be an integer, but it is: {name}");
            Err(Refusal::request(text))
        }
    }
}

/// The answer for a resource, and whether it may not be seen.
fn result(
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
    entries: Result<Vec<Entry>, Refusal>,
) -> (bool, DescribeConfigsResult) {
    let answer = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone());
    let entries = match entries {
        Ok(entries) => entries,
        Err(Refusal { error, message }) => {
            let is_denied = matches!(
                error,
                ErrorCode::TopicAuthorizationFailed
                    | ErrorCode::GroupAuthorizationFailed
                    | ErrorCode::ClusterAuthorizationFailed
            );
            let message = message.map(StrBytes::from_string);
            let answer = answer.with_error_code(error.code()).with_error_message(message);
            return (is_denied, answer);
        }
    };
    let keys = resource.configuration_keys.iter().flatten().map(|key| &**key);
    let keys: BTreeSet<&str> = keys.collect();
    let asked = |entry: &Entry| keys.is_empty() || keys.contains(entry.name.as_str());
    let configs = entries.into_iter().filter(asked).map(|entry| wire(request, entry));
    (false, answer.with_configs(configs.collect()))
}

fn wire(request: &DescribeConfigsRequest, entry: Entry) -> DescribeConfigsResourceResult {
    let text = StrBytes::from_string;
    let synonyms = entry.synonyms.into_iter().filter(|_| request.include_synonyms);
    let synonyms = synonyms.map(|synonym| {
        DescribeConfigsSynonym::default()
            .with_name(text(synonym.name))
            .with_value(synonym.value.map(text))
            .with_source(synonym.source as i8)
    });
    let doc = entry.doc.filter(|_| request.include_documentation);
    DescribeConfigsResourceResult::default()
        .with_name(text(entry.name))
        .with_value(entry.value.map(text))
        .with_read_only(entry.is_read_only)
        .with_config_source(entry.source as i8)
        .with_is_sensitive(entry.value_type.is_none())
        .with_synonyms(synonyms.collect())
        .with_config_type(entry.value_type.map_or(0, |value_type| value_type as i8))
        .with_documentation(doc.map(StrBytes::from_static_str))
}
