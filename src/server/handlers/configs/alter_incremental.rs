//! IncrementalAlterConfigs (44): changes single configs of topics, brokers, groups and
//! subscriptions to client metrics (KIP-339).
//!
//! Versions: 0-1; 1 is flexible.
//! - Each resource is changed whole or not at all. The answer comes when the change acts on this
//!   node.
//! - Operations: set, delete, and, for lists, append and subtract.
//! - The broker judges its own keys before the controller is asked, which judges the others:
//!   `metadata/controller/alter_configs.rs`.
//! - A broker takes changes for itself and for all brokers only.
//! - There are no loggers whose levels could be changed (KIP-412).
//!
//! Errors: `INVALID_REQUEST`, `INVALID_CONFIG`, `INVALID_TOPIC_EXCEPTION`,
//! `UNKNOWN_TOPIC_OR_PARTITION`, `TOPIC_AUTHORIZATION_FAILED`, `GROUP_AUTHORIZATION_FAILED`,
//! `CLUSTER_AUTHORIZATION_FAILED`, `POLICY_VIOLATION` (too much at once), `NOT_CONTROLLER`,
//! `REQUEST_TIMED_OUT`.

use ottla_protocol::Decoded;
use ottla_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use ottla_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use ottla_protocol::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, decode_request,
};

use crate::apis::Incoming;
use crate::configs::judged::{Asked, Form, Key};
use crate::dispatch::Reply;
use crate::handlers::configs::alter;
use crate::response::Response;
use crate::services::Services;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: IncrementalAlterConfigsRequest =
        decode_request(&body, header.api_key, header.api_version)?;
    let asked: Vec<Asked> = body.resources.iter().map(asked).collect();
    let altered = alter(services, peer, asked, Form::Incremental, body.validate_only);
    Ok(Reply::Later(Box::pin(async move {
        let responses = altered.await.into_iter().map(|altered| {
            AlterConfigsResourceResponse::default()
                .with_error_code(altered.error)
                .with_error_message(altered.message)
                .with_resource_type(altered.kind)
                .with_resource_name(altered.name)
        });
        let answer = IncrementalAlterConfigsResponse::default().with_responses(responses.collect());
        Response::encode(&header, &answer)
    })))
}

fn asked(resource: &AlterConfigsResource) -> Asked {
    let keys = resource.configs.iter().map(|config| Key {
        name: config.name.to_string(),
        operation: config.config_operation,
        value: config.value.as_ref().map(ToString::to_string),
    });
    Asked {
        kind: resource.resource_type,
        name: resource.resource_name.to_string(),
        keys: keys.collect(),
    }
}
