//! AlterReplicaLogDirs (34): in which log directories this broker's replicas are to be (KIP-113).
//!
//! Versions: 1-2; 2 is flexible.
//! - A replica that is elsewhere moves there in the background; the answer comes when it begins to.
//!   DescribeLogDirs tells how far it is. One that is there stays, and a move of it is called off;
//!   so is one to a third directory.
//! - Where one is wished that is not here yet is remembered until it is.
//! - Of a partition that is named twice the last directory counts.
//!
//! Errors: of each partition `LOG_DIR_NOT_FOUND` (no directory of the node, or no absolute path),
//! `KAFKA_STORAGE_ERROR` (the directory or the replica is offline, or, for a move, any directory),
//! `INVALID_TOPIC_EXCEPTION` (a name too long for the directory of a move),
//! `UNKNOWN_TOPIC_OR_PARTITION`, `REPLICA_NOT_AVAILABLE`, `CLUSTER_AUTHORIZATION_FAILED`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use ottla_protocol::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, TopicName as WireName, decode_request,
};
use ottla_replication::Replicas;
use ottla_security::Operation;
use ottla_types::{ErrorCode, PartitionId, TopicIdPartition, TopicPartition};

use super::Permissions;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

/// Longest name of a directory.
const DIR_NAME_MAX: usize = 255;
/// What stands behind topic and partition in the name of a directory that is moved: a point, an id
/// and `-future`.
const FUTURE_SUFFIX: usize = 1 + 32 + 7;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let header = &request.header;
    let body: AlterReplicaLogDirsRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer: request.peer };
    let may_alter = permissions.cluster(Operation::Alter);
    let image = services.images.load();
    let (runtime, dirs) = (&services.runtime, &services.config.log_dirs);
    let absolute = |path: &PathBuf| runtime.disk().absolute(path).display().to_string();
    let dirs: BTreeMap<String, &PathBuf> = dirs.iter().map(|path| (absolute(path), path)).collect();
    let place = |topic: &WireName, index: i32, dir: &str| {
        if !may_alter {
            return ErrorCode::ClusterAuthorizationFailed;
        }
        let dir = dirs.get(dir).map(|path| path.as_path());
        let placed = judge(&image, &services.replicas, (topic, index), dir);
        placed.err().unwrap_or(ErrorCode::None)
    };
    let results = by_topic(&body).into_iter().map(|(topic, asked)| {
        let partitions = asked.into_iter().map(|(index, dir)| {
            AlterReplicaLogDirPartitionResult::default()
                .with_partition_index(index)
                .with_error_code(place(topic, index, dir).code())
        });
        AlterReplicaLogDirTopicResult::default()
            .with_topic_name(topic.clone())
            .with_partitions(partitions.collect())
    });
    let answer = AlterReplicaLogDirsResponse::default().with_results(results.collect());
    Ok(Reply::Now(Response::encode(header, &answer)))
}

/// The directory of each partition, by topic.
fn by_topic(body: &AlterReplicaLogDirsRequest) -> BTreeMap<&WireName, BTreeMap<i32, &str>> {
    let mut all: BTreeMap<&WireName, BTreeMap<i32, &str>> = BTreeMap::new();
    for dir in &body.dirs {
        for topic in dir.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
            let partitions = all.entry(&topic.name).or_default();
            partitions.extend(topic.partitions.iter().map(|index| (*index, &*dir.path)));
        }
    }
    all
}

/// Lets a replica be in a directory of the node.
fn judge(
    image: &Image,
    replicas: &Replicas,
    (topic, index): (&str, i32),
    dir: Option<&Path>,
) -> Result<(), ErrorCode> {
    let name = topic.len() + 1 + index.to_string().len();
    if name + FUTURE_SUFFIX > DIR_NAME_MAX {
        return Err(ErrorCode::InvalidTopicException);
    }
    let dir = dir.ok_or(ErrorCode::LogDirNotFound)?;
    let partition = PartitionId(index);
    let id = image.topics().by_name(topic).map(|topic| topic.id);
    let id = id.map(|topic_id| TopicIdPartition { topic_id, partition });
    let id = id.filter(|id| image.partition_by_id(*id).is_some());
    replicas.move_to(&TopicPartition { topic: topic.into(), partition }, id, dir)
}
