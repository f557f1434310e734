//! DeleteTopics (20): deletes topics through the controller.
//!
//! Versions: 1-6. 4 flexible, 5 a message with each error, 6 topics by id (KIP-516).
//! - Without time to wait (a timeout of 0 or less) nothing is deleted.
//! - Partitions stop being served when the deletion is committed and replayed; their files are
//!   renamed at once and removed after `file.delete.delay.ms`.
//! - Topics that the sender may not delete are refused by name and by id; an id does not tell the
//!   name to those who may not describe it.
//!
//! Errors: `UNKNOWN_TOPIC_OR_PARTITION`, `UNKNOWN_TOPIC_ID`, `TOPIC_AUTHORIZATION_FAILED`,
//! `TOPIC_DELETION_DISABLED`, `INVALID_REQUEST` (named twice, or both by name and id),
//! `POLICY_VIOLATION` (too many at once), `NOT_CONTROLLER`, `REQUEST_TIMED_OUT`.

use std::collections::BTreeMap;

use ottla_metadata::ControllerError;
use ottla_metadata::controller::{DeletedTopic, TopicSelector};
use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::messages::delete_topics_response::DeletableTopicResult;
use ottla_protocol::messages::{
    DeleteTopicsRequest, DeleteTopicsResponse, StrBytes, TopicName as WireName, decode_request,
    from_wire_uuid, to_wire_uuid,
};
use ottla_security::Operation;
use ottla_types::{ErrorCode, Uuid};

use super::{Permissions, told, wait_if_work};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const BY_ID_FROM: i16 = 6;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: DeleteTopicsRequest = decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let image = services.images.load();
    let mut results = Vec::new();
    let mut allowed = Vec::new();
    for selector in selectors(&body, header.api_version) {
        match refusal(&image, &permissions, &selector) {
            Some(refused) => results.push(refused),
            None => allowed.push(selector),
        }
    }
    let controller = services.controller.clone();
    let clock = services.runtime.clock().clone();
    let wait = wait_if_work(body.timeout_ms, may_delete(&allowed));
    Ok(Reply::Later(Box::pin(async move {
        let deleted = match wait {
            Some(wait) => clock.timeout(wait, controller.delete_topics(allowed.clone())).await,
            None => None,
        };
        match deleted.unwrap_or(Err(ControllerError::TimedOut)) {
            Ok(outcomes) => results.extend(outcomes.into_iter().map(result)),
            Err(error) => {
                let (code, message) = (error.code(), told(&error));
                let refused = allowed.iter().map(|s| refuse(s, code, message.clone()));
                results.extend(refused);
            }
        }
        let answer = DeleteTopicsResponse::default().with_responses(results);
        Response::encode(&header, &answer)
    })))
}

/// Whether there may be something to do: a topic that is asked for once, in one way.
fn may_delete(selectors: &[TopicSelector]) -> bool {
    let good = selectors.iter().filter(|selector| selector.fault().is_none());
    let mut counts = BTreeMap::new();
    good.for_each(|selector| *counts.entry(selector).or_insert(0) += 1);
    counts.values().any(|count| *count == 1)
}

fn selectors(body: &DeleteTopicsRequest, version: i16) -> Vec<TopicSelector> {
    if version < BY_ID_FROM {
        let by_name =
            |name: &WireName| TopicSelector { name: Some(name.to_string()), topic_id: Uuid::ZERO };
        return body.topic_names.iter().map(by_name).collect();
    }
    let by_either = body.topics.iter().map(|topic| TopicSelector {
        name: topic.name.as_ref().map(|name| name.to_string()),
        topic_id: from_wire_uuid(topic.topic_id),
    });
    by_either.collect()
}

/// The answer when the sender may not delete the topic. An id tells its name to those only who may
/// describe it.
fn refusal(
    image: &Image,
    permissions: &Permissions<'_>,
    selector: &TopicSelector,
) -> Option<DeletableTopicResult> {
    let name = match &selector.name {
        Some(name) => name.clone(),
        None => image.topics().by_id(selector.topic_id)?.name.to_string(),
    };
    if permissions.topic(Operation::Delete, &name) {
        return None;
    }
    let may_know = selector.name.is_some() || permissions.topic(Operation::Describe, &name);
    let told = TopicSelector { name: may_know.then_some(name), topic_id: selector.topic_id };
    Some(refuse(&told, ErrorCode::TopicAuthorizationFailed, None))
}

fn result(deleted: DeletedTopic) -> DeletableTopicResult {
    let selector = TopicSelector { name: deleted.name, topic_id: deleted.topic_id };
    match deleted.result {
        Ok(()) => named(&selector),
        Err(error) => refuse(&selector, error.code(), error.message()),
    }
}

fn refuse(
    selector: &TopicSelector,
    error: ErrorCode,
    message: Option<String>,
) -> DeletableTopicResult {
    named(selector)
        .with_error_code(error.code())
        .with_error_message(message.map(StrBytes::from_string))
}

fn named(selector: &TopicSelector) -> DeletableTopicResult {
    let name = selector.name.clone().map(|name| WireName(StrBytes::from_string(name)));
    DeletableTopicResult::default().with_name(name).with_topic_id(to_wire_uuid(selector.topic_id))
}
