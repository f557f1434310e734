//! ListOffsets (2): the offset of a time, or of an end of a partition.
//!
//! Versions: 1-11. 2 isolation level, 4 leader epochs, 7 the largest timestamp (-3, KIP-734), 8
//! earliest local (-4), 9 latest tiered (-5), 11 earliest pending upload (-6).
//! - -1 is the end that the reader may see, -2 the start of the log. Without tiered storage the
//!   earliest local offset is the start, and what is tiered is not found.
//! - A time is answered with the first record at or after it, found in its batch by decompressing
//!   a bounded piece; not found is offset -1 and timestamp -1.
//! - The same partition twice in a request is refused, once; a topic that is named twice is
//!   answered once.
//!
//! Errors: `UNKNOWN_TOPIC_OR_PARTITION`, `TOPIC_AUTHORIZATION_FAILED`, `NOT_LEADER_OR_FOLLOWER`,
//! `FENCED_LEADER_EPOCH`, `UNKNOWN_LEADER_EPOCH`, `INVALID_REQUEST` for a partition asked for
//! twice, `UNSUPPORTED_VERSION` for a special timestamp of a later version or of none,
//! `KAFKA_STORAGE_ERROR`, `CORRUPT_MESSAGE`; `UNKNOWN_SERVER_ERROR` for all with an isolation level
//! that there is not.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::batch::{BATCH_OVERHEAD, Records};
use ottla_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use ottla_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, TopicName as WireName, decode_request,
};
use ottla_replication::{Partition, PartitionOffsets, Replicas};
use ottla_security::Operation;
use ottla_storage::BatchLocation;
use ottla_types::{ErrorCode, LeaderEpoch, Offset, PartitionId, Timestamp, TopicIdPartition};

use super::{Permissions, is_isolation};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::response::Response;
use crate::services::Services;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;
const EPOCHS_FROM: i16 = 4;
/// Special timestamps and the versions that brought them.
const SPECIAL_FROM: [(i64, i16); 4] =
    [(MAX_TIMESTAMP, 7), (EARLIEST_LOCAL, 8), (LATEST_TIERED, 9), (EARLIEST_PENDING_UPLOAD, 11)];
/// Decompressed bytes of a batch that are searched: the largest request.
const SEARCHED_BYTES_MAX: usize = 100 << 20;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let (header, peer) = (&request.header, request.peer);
    let body: ListOffsetsRequest =
        decode_request(&request.body, header.api_key, header.api_version)?;
    let image = services.images.load();
    let finder = Finder {
        image: &image,
        replicas: &services.replicas,
        permissions: Permissions { authorizer: &*services.authorizer, peer },
        committed: body.isolation_level == 1,
        version: header.api_version,
    };
    let may_see =
        |topic: &ListOffsetsTopic| finder.permissions.topic(Operation::Describe, &topic.name);
    let topics = if !is_isolation(body.isolation_level) && body.topics.iter().any(may_see) {
        body.topics.iter().map(|topic| refuse(topic, header.api_version)).collect()
    } else {
        by_name(&body.topics).map(|(name, asked)| finder.topic(name, &asked)).collect()
    };
    let answer = ListOffsetsResponse::default().with_topics(topics);
    Ok(Reply::Now(Response::encode(header, &answer)))
}

/// The partitions that are asked for of each topic, in the order of the request.
fn by_name(
    topics: &[ListOffsetsTopic],
) -> impl Iterator<Item = (&WireName, Vec<&ListOffsetsPartition>)> {
    let mut places = BTreeMap::new();
    let mut asked: Vec<(&WireName, Vec<&ListOffsetsPartition>)> = Vec::new();
    for topic in topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let place = *places.entry(&topic.name).or_insert(asked.len());
        if place == asked.len() {
            asked.push((&topic.name, Vec::new()));
        }
        asked[place].1.extend(&topic.partitions);
    }
    asked.into_iter()
}

fn refuse(topic: &ListOffsetsTopic, version: i16) -> ListOffsetsTopicResponse {
    let refused = topic
        .partitions
        .iter()
        .map(|asked| answer(asked.partition_index, Err(ErrorCode::UnknownServerError), version));
    ListOffsetsTopicResponse::default()
        .with_name(topic.name.clone())
        .with_partitions(refused.collect())
}

struct Finder<'a> {
    image: &'a Image,
    replicas: &'a Replicas,
    permissions: Permissions<'a>,
    committed: bool,
    version: i16,
}

/// An offset with its time and the epoch of its leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Found {
    timestamp: Timestamp,
    offset: Offset,
    epoch: LeaderEpoch,
}

const NOT_FOUND: Found =
    Found { timestamp: Timestamp::NONE, offset: Offset(-1), epoch: LeaderEpoch::NONE };

impl Finder<'_> {
    fn topic(&self, name: &WireName, asked: &[&ListOffsetsPartition]) -> ListOffsetsTopicResponse {
        let mut counts = BTreeMap::new();
        for asked in asked {
            *counts.entry(asked.partition_index).or_insert(0) += 1;
        }
        let mut told = BTreeSet::new();
        let once = asked.iter().filter(|asked| told.insert(asked.partition_index));
        let partitions = once.map(|asked| {
            let found = if counts[&asked.partition_index] > 1 {
                Err(ErrorCode::InvalidRequest)
            } else {
                self.find(name, asked)
            };
            answer(asked.partition_index, found, self.version)
        });
        ListOffsetsTopicResponse::default()
            .with_name(name.clone())
            .with_partitions(partitions.collect())
    }

    fn find(&self, topic: &str, asked: &ListOffsetsPartition) -> Result<Found, ErrorCode> {
        if !self.permissions.topic(Operation::Describe, topic) {
            return Err(ErrorCode::TopicAuthorizationFailed);
        }
        let topic = self.image.topics().by_name(topic);
        let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let partition = PartitionId(asked.partition_index);
        let id = TopicIdPartition { topic_id: topic.id, partition };
        topic.partition(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let partition = self.replicas.get(&id).ok_or_else(|| self.replicas.why_missing(&id))?;
        let known = LeaderEpoch(asked.current_leader_epoch);
        let known = (known >= LeaderEpoch(0)).then_some(known);
        let offsets = partition.offsets(known).map_err(|error| error.code())?;
        self.find_in(&partition, offsets, asked.timestamp)
    }

    fn find_in(
        &self,
        partition: &Partition,
        offsets: PartitionOffsets,
        timestamp: i64,
    ) -> Result<Found, ErrorCode> {
        let too_new = |(special, from): &(i64, i16)| *special == timestamp && self.version < *from;
        if SPECIAL_FROM.iter().any(too_new) || timestamp < EARLIEST_PENDING_UPLOAD {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let end = if self.committed { offsets.last_stable } else { offsets.high_watermark };
        match timestamp {
            LATEST => Ok(Found { offset: end, epoch: offsets.leader_epoch, ..NOT_FOUND }),
            EARLIEST | EARLIEST_LOCAL => {
                let epoch = partition.epoch_at(offsets.log_start).map_err(|e| e.code())?;
                Ok(Found { offset: offsets.log_start, epoch, ..NOT_FOUND })
            }
            LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(NOT_FOUND),
            MAX_TIMESTAMP => {
                let located = partition.locate_max_time().map_err(|error| error.code())?;
                let max = located.as_ref().map(|batch| batch.header.max_timestamp);
                search(located, max.unwrap_or(Timestamp::NONE), offsets.log_start..end)
            }
            target => at_time(partition, Timestamp(target), offsets.log_start..end),
        }
    }
}

/// Finds the first record at or after `target` that a reader may see.
fn at_time(
    partition: &Partition,
    target: Timestamp,
    seen: Range<Offset>,
) -> Result<Found, ErrorCode> {
    let mut from = seen.start;
    loop {
        let located = partition.locate_time(target, from).map_err(|error| error.code())?;
        let header = located.as_ref().map(|batch| batch.header);
        let found = search(located, target, seen.clone())?;
        match header {
            // Whatever is late enough in the first batch was deleted.
            Some(header) if found == NOT_FOUND && header.base_offset < seen.start => {
                from = header.next_offset();
            }
            _ => return Ok(found),
        }
    }
}

/// Finds the first record at or after `target` in the batch, among those that a reader may see.
fn search(
    located: Option<BatchLocation>,
    target: Timestamp,
    seen: Range<Offset>,
) -> Result<Found, ErrorCode> {
    let Some(BatchLocation { header, extent }) = located else { return Ok(NOT_FOUND) };
    let len = usize::try_from(extent.len).map_err(|_| ErrorCode::CorruptMessage)?;
    let mut batch = vec![0; len];
    let read = extent.file.read_exact_at(&mut batch, extent.position);
    read.map_err(|_| ErrorCode::KafkaStorageError)?;
    let compression = header.attributes.compression().ok_or(ErrorCode::CorruptMessage)?;
    let records = compression
        .decompress(&batch[BATCH_OVERHEAD..], SEARCHED_BYTES_MAX)
        .map_err(|_| ErrorCode::CorruptMessage)?;
    for record in Records::new(&header, &records) {
        let record = record.map_err(|_| ErrorCode::CorruptMessage)?;
        if record.timestamp >= target && record.offset >= seen.start {
            let found = Found {
                timestamp: record.timestamp,
                offset: record.offset,
                epoch: header.leader_epoch,
            };
            return Ok(if record.offset < seen.end { found } else { NOT_FOUND });
        }
    }
    Ok(NOT_FOUND)
}

fn answer(
    index: i32,
    found: Result<Found, ErrorCode>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let error = found.err().unwrap_or(ErrorCode::None);
    let found = found.unwrap_or(NOT_FOUND);
    let epoch = if version >= EPOCHS_FROM { found.epoch } else { LeaderEpoch::NONE };
    ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(error.code())
        .with_timestamp(found.timestamp.0)
        .with_offset(found.offset.0)
        .with_leader_epoch(epoch.0)
}
