//! UpdateFeatures (57): raises and lowers the levels of the cluster's features (KIP-584,
//! `kafka-features`).
//!
//! Versions: 0-2. 0 may allow a downgrade, 1 says which and may only validate, 2 has one error for
//! all.
//! - All features are updated or none: `metadata/controller/update_features.rs`.
//! - The answer comes when this node goes by the new levels; the wait that a client names is not
//!   looked at, as by Kafka.
//!
//! Errors: `INVALID_UPDATE_VERSION`, `CLUSTER_AUTHORIZATION_FAILED`, `NOT_CONTROLLER`.

use ottla_metadata::controller::{Direction, FeatureUpdate, UpdateFeatures};
use ottla_protocol::Decoded;
use ottla_protocol::messages::update_features_request::FeatureUpdateKey;
use ottla_protocol::messages::update_features_response::UpdatableFeatureResult;
use ottla_protocol::messages::{
    StrBytes, UpdateFeaturesRequest, UpdateFeaturesResponse, decode_request,
};
use ottla_security::Operation;
use ottla_types::ErrorCode;

use super::Permissions;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const DIRECTIONS_FROM: i16 = 1;
const ONE_ERROR_FROM: i16 = 2;
/// What Kafka says of a feature that was updated.
const NO_ERROR: StrBytes = StrBytes::from_static_str("NONE");

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let version = header.api_version;
    let body: UpdateFeaturesRequest = decode_request(&body, header.api_key, version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    if !permissions.cluster(Operation::Alter) {
        let message = "Cluster authorization failed.".to_owned();
        let answer = refuse(ErrorCode::ClusterAuthorizationFailed, message);
        return Ok(Reply::Now(Response::encode(&header, &answer)));
    }
    let updates = body.feature_updates.iter().map(|update| wanted(update, version));
    let request = UpdateFeatures { updates: updates.collect(), validate_only: body.validate_only };
    let controller = services.controller.clone();
    let node = services.identity.node_id;
    Ok(Reply::Later(Box::pin(async move {
        let answer = match controller.update_features(node, request).await {
            Ok(()) if version >= ONE_ERROR_FROM => accept(Vec::new()),
            Ok(()) => accept(body.feature_updates.iter().map(updated).collect()),
            Err(error) => refuse(error.code(), error.to_string()),
        };
        Response::encode(&header, &answer)
    })))
}

fn wanted(update: &FeatureUpdateKey, version: i16) -> FeatureUpdate {
    let direction = match (version, update.upgrade_type) {
        (..DIRECTIONS_FROM, _) if update.allow_downgrade => Some(Direction::SafeDowngrade),
        (..DIRECTIONS_FROM, _) | (_, 1) => Some(Direction::Upgrade),
        (_, 2) => Some(Direction::SafeDowngrade),
        (_, 3) => Some(Direction::UnsafeDowngrade),
        _ => None,
    };
    FeatureUpdate { name: update.feature.to_string(), level: update.max_version_level, direction }
}

fn updated(update: &FeatureUpdateKey) -> UpdatableFeatureResult {
    UpdatableFeatureResult::default()
        .with_feature(update.feature.clone())
        .with_error_message(Some(NO_ERROR))
}

fn accept(results: Vec<UpdatableFeatureResult>) -> UpdateFeaturesResponse {
    UpdateFeaturesResponse::default().with_error_message(None).with_results(results)
}

fn refuse(error: ErrorCode, message: String) -> UpdateFeaturesResponse {
    UpdateFeaturesResponse::default()
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(message)))
}
