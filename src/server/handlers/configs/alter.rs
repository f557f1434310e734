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
use ottla_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, StrBytes, decode_request,
};
use ottla_types::ErrorCode;

use crate::apis::Incoming;
use crate::configs::Refusal;
use crate::configs::judged::{Asked, Form, Key, SET, carry_out, judge};
use crate::dispatch::Reply;
use crate::handlers::Permissions;
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
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let judged = judge(services, &permissions, &asked, Form::Replacing, body.validate_only);
    let controller = services.controller.clone();
    let clock = services.runtime.clock().clone();
    Ok(Reply::Later(Box::pin(async move {
        let outcomes = carry_out(controller, clock, judged).await;
        let responses = asked.into_iter().zip(outcomes).map(|(asked, outcome)| {
            let none = Refusal { error: ErrorCode::None, message: None };
            let Refusal { error, message } = outcome.unwrap_or(none);
            AlterConfigsResourceResponse::default()
                .with_error_code(error.code())
                .with_error_message(message.map(StrBytes::from_string))
                .with_resource_type(asked.kind)
                .with_resource_name(StrBytes::from_string(asked.name))
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
