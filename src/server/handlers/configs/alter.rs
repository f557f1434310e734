//! AlterConfigs (33): replaces all configs of topics, brokers, groups and subscriptions to client
//! metrics. What a request does not name is not set any more; IncrementalAlterConfigs is the better
//! way.
//!
//! Versions: 0-2; 2 is flexible.
//! - Otherwise as IncrementalAlterConfigs, but for loggers, which it does not know.
//! - A resource that comes twice is refused; Kafka closes the connection.
//!
//! Errors: those of IncrementalAlterConfigs.

use ottla_protocol::Decoded;
use ottla_protocol::messages::alter_configs_request::AlterConfigsResource;
use ottla_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use ottla_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse, decode_request};

use crate::apis::Incoming;
use crate::configs::judged::{Asked, Form, Key, SET};
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
    let body: AlterConfigsRequest = decode_request(&body, header.api_key, header.api_version)?;
    let asked: Vec<Asked> = body.resources.iter().map(asked).collect();
    let altered = alter(services, peer, asked, Form::Replacing, body.validate_only);
    Ok(Reply::Later(Box::pin(async move {
        let responses = altered.await.into_iter().map(|altered| {
            AlterConfigsResourceResponse::default()
                .with_error_code(altered.error)
                .with_error_message(altered.message)
                .with_resource_type(altered.kind)
                .with_resource_name(altered.name)
        });
        let answer = AlterConfigsResponse::default().with_responses(responses.collect());
        Response::encode(&header, &answer)
    })))
}

fn asked(resource: &AlterConfigsResource) -> Asked {
    let keys = resource.configs.iter().map(|config| Key {
        name: config.name.to_string(),
        operation: SET,
        value: config.value.as_ref().map(ToString::to_string),
    });
    Asked {
        kind: resource.resource_type,
        name: resource.resource_name.to_string(),
        keys: keys.collect(),
    }
}
