//! DescribeLogDirs (35): the log directories of this node, and the logs in them (KIP-113).
//!
//! Versions: 1-5. 2 flexible, 3 an error of the whole, 4 room on the file system (KIP-827), 5
//! whether new replicas are kept out of a directory (KIP-1066).
//! - All directories of `log.dirs` are told of, in that order (Kafka's is that of a hash); logs are
//!   left out that nobody asked for. The metadata log is none of them.
//! - A log is behind nothing here: the high watermark is not above its end. One that moves is told
//!   of twice, where it is and where its copy is, which is behind it.
//! - Sizes are asked for off the data thread: a file system may stall.
//!
//! Errors: `CLUSTER_AUTHORIZATION_FAILED` for the whole, from version 3 on; of a directory,
//! `KAFKA_STORAGE_ERROR` when it is offline, `UNKNOWN_SERVER_ERROR` when its file system cannot be
//! asked.

use std::collections::BTreeSet;
use std::path::Path;

use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ottla_protocol::messages::{DescribeLogDirsRequest, decode_request};
use ottla_replication::{DescribedDir, DescribedLog, Replicas};
use ottla_runtime::Disk;
use ottla_security::Operation;
use ottla_types::{ErrorCode, NodeId, PartitionId, TopicPartition};

use super::Permissions;
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

/// Partitions that are asked for; `None` is all.
type Asked = Option<BTreeSet<TopicPartition>>;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let body: DescribeLogDirsRequest = decode_request(&body, header.api_key, header.api_version)?;
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    if !permissions.cluster(Operation::Describe) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        let answer = DescribeLogDirsResponse { error_code, ..Default::default() };
        return Ok(Reply::Now(Response::message(&header, &answer)));
    }
    let asked = asked(&body);
    let image = services.images.load();
    let node = services.identity.node_id;
    let (runtime, replicas) = (services.runtime.clone(), services.replicas.clone());
    let (config, plane) = (services.config.clone(), peer.plane);
    Ok(Reply::Later(Box::pin(async move {
        let disk = runtime.disk().clone();
        let describe = move || {
            let dirs = config.log_dirs.iter();
            dirs.map(|path| describe(&replicas, &disk, path, &asked, (&image, node))).collect()
        };
        let results = runtime.blocking(plane, describe).await;
        let answer = DescribeLogDirsResponse { results, ..Default::default() };
        Response::message(&header, &answer)
    })))
}

fn asked(body: &DescribeLogDirsRequest) -> Asked {
    let topics = body.topics.as_ref()?;
    let partitions = topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|index| TopicPartition {
            topic: (&**topic.topic).into(),
            partition: PartitionId(*index),
        })
    });
    Some(partitions.collect())
}

fn describe(
    replicas: &Replicas,
    disk: &Disk,
    path: &Path,
    asked: &Asked,
    (image, node): (&Image, NodeId),
) -> DescribeLogDirsResult {
    let log_dir = disk.absolute(path).display().to_string();
    let described = replicas.describe_dir(path).ok_or(ErrorCode::KafkaStorageError);
    let described = described.and_then(|DescribedDir { id, space, logs }| {
        let space = space.map_err(|_| ErrorCode::UnknownServerError)?;
        Ok((id, space, logs))
    });
    match described {
        Err(error) => {
            DescribeLogDirsResult { error_code: error.code(), log_dir, ..Default::default() }
        }
        Ok((id, space, logs)) => {
            let broker = image.cluster().broker(node);
            let cordoned = broker.and_then(|broker| broker.cordoned_directories.as_deref());
            DescribeLogDirsResult {
                error_code: ErrorCode::None.code(),
                log_dir,
                topics: by_topic(logs, asked),
                total_bytes: i64::try_from(space.total).unwrap_or(i64::MAX),
                usable_bytes: i64::try_from(space.usable).unwrap_or(i64::MAX),
                is_cordoned: cordoned.is_some_and(|cordoned| cordoned.contains(&id)),
            }
        }
    }
}

/// Those logs that are asked for. They come by name.
fn by_topic(logs: Vec<DescribedLog>, asked: &Asked) -> Vec<DescribeLogDirsTopic> {
    let mut topics: Vec<DescribeLogDirsTopic> = Vec::new();
    for log in logs {
        if asked.as_ref().is_some_and(|asked| !asked.contains(&log.name)) {
            continue;
        }
        let partition = DescribeLogDirsPartition {
            partition_index: log.name.partition,
            partition_size: i64::try_from(log.size).unwrap_or(i64::MAX),
            offset_lag: log.behind.unwrap_or(0),
            is_future_key: log.behind.is_some(),
        };
        match topics.last_mut() {
            Some(topic) if topic.name == log.name.topic => topic.partitions.push(partition),
            _ => topics
                .push(DescribeLogDirsTopic { name: log.name.topic, partitions: vec![partition] }),
        }
    }
    topics
}
