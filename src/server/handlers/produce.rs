//! Produce (0): appends record batches.
//!
//! Versions: 3-13 (0-2 are shown and refused, KAFKA-18659). 5 log start offset, 7 zstd (KIP-110), 8
//! errors of single records (KIP-467), 9 flexible, 10 the leader's address on errors (KIP-951), 13
//! topics by id (KIP-516).
//! - One batch of magic 2 for each partition; its checksum, size, header and records are checked
//!   before the partition's lock is taken, and it is compressed again for `compression.type`.
//! - Single records at fault are named (KIP-467), the first 1,000 of a request.
//! - acks 0 is not answered, and an error closes the connection, so that the client looks again.
//!   acks 1 is answered after the append (with `flush.messages=1` when it is durable), acks -1 when
//!   the high watermark has passed it.
//! - Appends happen when the request is read, so a client's requests keep their order.
//! - Internal topics take batches from the client id `__admin_client` only.
//! - A partition that is named twice is appended to once, with the last records.
//! - A first batch that cannot be one, by its length or magic, has the whole request refused.
//! - Null records are refused at once (Kafka never answers them).
//!
//! Errors: `INVALID_REQUIRED_ACKS`, `UNKNOWN_TOPIC_OR_PARTITION`, `UNKNOWN_TOPIC_ID`,
//! `TOPIC_AUTHORIZATION_FAILED`, `INVALID_TOPIC_EXCEPTION`, `NOT_LEADER_OR_FOLLOWER`,
//! `CORRUPT_MESSAGE`, `INVALID_RECORD`, `MESSAGE_TOO_LARGE`, `RECORD_LIST_TOO_LARGE`,
//! `INVALID_TIMESTAMP`, `UNSUPPORTED_COMPRESSION_TYPE`, `OUT_OF_ORDER_SEQUENCE_NUMBER`,
//! `INVALID_PRODUCER_EPOCH`, `NOT_ENOUGH_REPLICAS`, `REQUEST_TIMED_OUT`, `KAFKA_STORAGE_ERROR`;
//! `INVALID_TXN_STATE` for transactional batches, as no transaction can be open.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::image::Image;
use ottla_protocol::batch::BatchHeader;
use ottla_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use ottla_protocol::messages::{
    BrokerId, ProduceResponse, StrBytes, TopicName as WireName, to_wire_uuid,
};
use ottla_protocol::produce::{PartitionRecords, ProduceRequest, TopicRecords, TopicRef};
use ottla_protocol::{Decoded, RequestHeader, fetch};
use ottla_replication::validation::{RECORD_ERRORS_MAX, RecordError, Refusal};
use ottla_replication::{AckWait, Acks, Appended, Partition, Replicas, Validator};
use ottla_runtime::{Clock, Plane};
use ottla_security::Operation;
use ottla_types::{ErrorCode, MonoTime, Offset, PartitionId, Timestamp, TopicIdPartition};

use super::leaders::{self, Leaders};
use super::produced::{check_batch, one_batch, unreadable_front};
use super::{FoundTopic, Permissions, find_topic, is_internal};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::repeated;
use crate::response::Response;
use crate::services::Services;

const ADMIN_CLIENT: &str = "__admin_client";

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let decompressed_max = services.validator.decompressed_max(body.len());
    let mut body = ProduceRequest::decode(&body, header.api_version)?;
    let unreadable = unreadable_front(&body);
    merge_repeated(&mut body);
    if let Some(refusal) = unreadable {
        return Ok(refuse_all(&header, &body, &refusal, &Leaders::new(services, peer)));
    }
    let image = services.images.load();
    let appender = Appender {
        image: &image,
        replicas: &services.replicas,
        validator: &services.validator,
        permissions: Permissions { authorizer: &*services.authorizer, peer },
        header: &header,
        acks: body.acks,
        now: services.runtime.clock().wall(),
        plane: peer.plane,
        decompressed_left: Cell::new(decompressed_max),
    };
    let mut outcomes = appender.append_all(&body);
    limit_record_errors(&mut outcomes);
    if body.acks == 0 {
        let failed = outcomes.iter().flat_map(|t| &t.partitions).any(|p| p.result.is_err());
        return Ok(if failed { Reply::Close } else { Reply::None });
    }
    let waits = outcomes.iter().flat_map(|topic| &topic.partitions).any(PartitionOutcome::waits);
    let leaders = Leaders::new(services, peer);
    if !waits {
        return Ok(Reply::Now(answer(&header, outcomes, &leaders)));
    }
    let clock = services.runtime.clock().clone();
    let timeout = Duration::from_millis(u64::from(body.timeout_ms.max(0).unsigned_abs()));
    drop(body);
    outcomes.iter_mut().for_each(|outcome| outcome.topic.let_go());
    let header = header.without_client_id();
    let share = services.waiting.count(outcomes.iter().map(TopicOutcome::size).sum());
    Ok(Reply::Later(Box::pin(async move {
        let _share = share;
        let outcomes = wait_for_acks(outcomes, &clock, clock.now().after(timeout)).await;
        answer(&header, outcomes, &leaders)
    })))
}

fn refuse_all(
    header: &RequestHeader,
    body: &ProduceRequest,
    refusal: &Refusal,
    leaders: &Leaders,
) -> Reply {
    if body.acks == 0 {
        return Reply::Close;
    }
    let topics = body.topics.iter().map(|topic| {
        let refused = |partition: &PartitionRecords| PartitionOutcome {
            index: partition.index,
            result: Err(refusal.clone().into()),
        };
        let partitions = topic.partitions.iter().map(refused).collect();
        TopicOutcome { topic: topic.topic.clone(), partitions }
    });
    Reply::Now(answer(header, topics.collect(), leaders))
}

/// Keeps one of each partition, the first's place and the last's records, and no topic without
/// partitions, as Kafka's map does.
fn merge_repeated(body: &mut ProduceRequest) {
    if matches!(body.topics.as_slice(), [topic] if topic.partitions.len() == 1) {
        return;
    }
    let named = body.topics.iter().enumerate().flat_map(|(at, topic)| {
        let places = topic.partitions.iter().enumerate();
        places.map(move |(index, records)| ((at, index), (&topic.topic, records.index)))
    });
    let repeated = repeated::find(named);
    for (place, again) in &repeated {
        let records = body.topics[again.0].partitions[again.1].records.take();
        body.topics[place.0].partitions[place.1].records = records;
    }
    repeated::remove(&mut body.topics, &repeated, |topic| &mut topic.partitions);
}

struct TopicOutcome {
    topic: TopicRef,
    partitions: Vec<PartitionOutcome>,
}

impl TopicOutcome {
    /// Bytes that it takes while it waits.
    fn size(&self) -> usize {
        let name = match &self.topic {
            TopicRef::Name(name) => name.len(),
            TopicRef::Id(_) => 0,
        };
        size_of::<TopicOutcome>() + name + self.partitions.len() * PARTITION_SIZE
    }
}

/// With what the partition keeps of the one that waits.
const PARTITION_SIZE: usize = size_of::<PartitionOutcome>() + 128;

struct PartitionOutcome {
    index: i32,
    result: Result<Appended, Refused>,
}

impl PartitionOutcome {
    fn error(&self) -> ErrorCode {
        self.result.as_ref().err().map_or(ErrorCode::None, |refused| refused.code)
    }

    fn waits(&self) -> bool {
        self.result.as_ref().is_ok_and(|appended| appended.wait.is_some())
    }
}

/// Why nothing was appended to a partition.
#[derive(Debug)]
struct Refused {
    code: ErrorCode,
    message: Option<String>,
    records: Vec<RecordError>,
    log_start: Option<Offset>,
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Refused {
        Refused { code, message: None, records: Vec::new(), log_start: None }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        tracing::debug!(code = ?refusal.code, reason = %refusal.reason, "batch refused");
        let Refusal { code, message, records, .. } = refusal;
        Refused { code, message, records, log_start: None }
    }
}

struct Appender<'a> {
    image: &'a Image,
    replicas: &'a Replicas,
    validator: &'a Validator,
    permissions: Permissions<'a>,
    header: &'a RequestHeader,
    acks: i16,
    now: Timestamp,
    plane: Plane,
    /// Bytes that the rest of the request may take when it is decompressed.
    decompressed_left: Cell<usize>,
}

impl Appender<'_> {
    fn append_all(&self, request: &ProduceRequest) -> Vec<TopicOutcome> {
        request.topics.iter().map(|topic| self.append_topic(topic)).collect()
    }

    fn append_topic(&self, records: &TopicRecords) -> TopicOutcome {
        let topic = self.check_topic(&records.topic);
        let append = |partition: &PartitionRecords| PartitionOutcome {
            index: partition.index,
            result: match &topic {
                Ok(topic) => self.append(topic, partition),
                Err(error) => Err((*error).into()),
            },
        };
        let partitions = records.partitions.iter().map(append).collect();
        TopicOutcome { topic: records.topic.clone(), partitions }
    }

    fn check_topic(&self, topic: &TopicRef) -> Result<FoundTopic, ErrorCode> {
        let (found, unknown) = match topic {
            TopicRef::Name(name) => {
                if !self.permissions.topic(Operation::Write, name) {
                    return Err(ErrorCode::TopicAuthorizationFailed);
                }
                (find_topic(self.image, topic), ErrorCode::UnknownTopicOrPartition)
            }
            TopicRef::Id(_) => (find_topic(self.image, topic), ErrorCode::UnknownTopicId),
        };
        let found = found.ok_or(unknown)?;
        if matches!(topic, TopicRef::Id(_))
            && !self.permissions.topic(Operation::Write, &found.name)
        {
            return Err(ErrorCode::TopicAuthorizationFailed);
        }
        if !matches!(self.acks, -1..=1) {
            return Err(ErrorCode::InvalidRequiredAcks);
        }
        if is_internal(&found.name) && *self.header.client_id != *ADMIN_CLIENT {
            return Err(ErrorCode::InvalidTopicException);
        }
        Ok(found)
    }

    fn append(&self, topic: &FoundTopic, records: &PartitionRecords) -> Result<Appended, Refused> {
        let partition = self.leader(topic, records)?;
        let batch = one_batch(records.records.as_ref(), self.header.api_version)?;
        let appended = self.append_batch(&partition, batch).map_err(|mut refused| {
            refused.log_start = start_told(&partition, refused.code);
            refused
        })?;
        if appended.start_flush {
            self.replicas.flush(partition, self.plane);
        }
        Ok(appended)
    }

    fn append_batch(&self, partition: &Partition, batch: Bytes) -> Result<Appended, Refused> {
        let config = partition.config().map_err(|error| error.code())?;
        let batch = check_batch(batch, &config)?;
        let (validator, name) = (self.validator, partition.name());
        let mut left = self.decompressed_left.get();
        let validated = validator.validate(batch, &config, name, self.now, &mut left);
        self.decompressed_left.set(left);
        let batch = validated?;
        let acks = if self.acks == -1 { Acks::All } else { Acks::Leader };
        Ok(partition.append(&batch, acks, self.now).map_err(|error| error.code())?)
    }

    fn leader(
        &self,
        topic: &FoundTopic,
        records: &PartitionRecords,
    ) -> Result<Arc<Partition>, ErrorCode> {
        let partition = PartitionId(records.index);
        let id = TopicIdPartition { topic_id: topic.id, partition };
        if let Some(partition) = self.replicas.get(&id) {
            return Ok(partition);
        }
        if self.image.partition_by_id(id).is_none() {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let batch = records.records.as_ref();
        let batch = batch.and_then(|bytes| BatchHeader::read_checked(bytes).ok());
        self.replicas.get_for(&id, batch.as_ref())
    }
}

/// The log's start, which Kafka tells with the errors that it found in the batch itself.
fn start_told(partition: &Partition, code: ErrorCode) -> Option<Offset> {
    match code {
        ErrorCode::NotLeaderOrFollower
        | ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::CorruptMessage
        | ErrorCode::KafkaStorageError => None,
        _ => partition.log_start().ok(),
    }
}

/// Single records take more room in the answer than in the request.
fn limit_record_errors(outcomes: &mut [TopicOutcome]) {
    let mut left = RECORD_ERRORS_MAX;
    for outcome in outcomes.iter_mut().flat_map(|topic| &mut topic.partitions) {
        if let Err(refused) = &mut outcome.result {
            refused.records.truncate(left);
            left -= refused.records.len();
        }
    }
}

/// Waits until every append is acknowledged or the time is over.
async fn wait_for_acks(
    mut outcomes: Vec<TopicOutcome>,
    clock: &Clock,
    deadline: MonoTime,
) -> Vec<TopicOutcome> {
    for outcome in outcomes.iter_mut().flat_map(|topic| &mut topic.partitions) {
        let Ok(appended) = &mut outcome.result else { continue };
        let Some(wait) = &mut appended.wait else { continue };
        if let Err(error) = acknowledged(wait, clock, deadline).await {
            outcome.result = Err(error.into());
        }
    }
    outcomes
}

async fn acknowledged(
    wait: &mut AckWait,
    clock: &Clock,
    deadline: MonoTime,
) -> Result<(), ErrorCode> {
    let left = deadline.since(clock.now());
    match clock.timeout(left, wait.acknowledged()).await {
        Some(result) => result.map_err(|error| error.code()),
        None => Err(ErrorCode::RequestTimedOut),
    }
}

fn answer(header: &RequestHeader, outcomes: Vec<TopicOutcome>, leaders: &Leaders) -> Response {
    let mut endpoints = Vec::new();
    let responses = outcomes.into_iter().map(|outcome| {
        let mut topic = TopicProduceResponse::default();
        let partitions = outcome.partitions.into_iter().map(|partition| {
            let (index, error) = (partition.index, partition.error());
            let answer = partition_answer(partition);
            let leader = leaders.after_produce(&outcome.topic, index, error, header.api_version);
            let Some(leader) = leader else { return answer };
            let current = LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(leader.id.0))
                .with_leader_epoch(leader.epoch.0);
            leaders::add_endpoint(Some(&mut endpoints), leader);
            answer.with_current_leader(current)
        });
        topic.partition_responses = partitions.collect();
        match outcome.topic {
            TopicRef::Name(name) => topic.name = WireName(name),
            TopicRef::Id(id) => topic.topic_id = to_wire_uuid(id),
        }
        topic
    });
    let responses = responses.collect();
    let endpoints = endpoints.into_iter().map(wire_endpoint).collect();
    let body = ProduceResponse::default().with_responses(responses).with_node_endpoints(endpoints);
    Response::encode(header, &body)
}

fn wire_endpoint(endpoint: fetch::NodeEndpoint) -> NodeEndpoint {
    NodeEndpoint::default()
        .with_node_id(BrokerId(endpoint.id.0))
        .with_host(StrBytes::from_string(endpoint.host))
        .with_port(i32::from(endpoint.port))
        .with_rack(endpoint.rack.map(StrBytes::from_string))
}

fn partition_answer(outcome: PartitionOutcome) -> PartitionProduceResponse {
    let answer = PartitionProduceResponse::default().with_index(outcome.index);
    match outcome.result {
        Ok(appended) => answer
            .with_base_offset(appended.info.base_offset.0)
            .with_log_append_time_ms(appended.info.append_time.0)
            .with_log_start_offset(appended.log_start.0),
        Err(refused) => {
            let unknown = Offset(-1);
            let record = |record: RecordError| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(record.index)
                    .with_batch_index_error_message(Some(StrBytes::from_string(record.message)))
            };
            answer
                .with_error_code(refused.code.code())
                .with_error_message(refused.message.map(StrBytes::from_string))
                .with_record_errors(refused.records.into_iter().map(record).collect())
                .with_base_offset(unknown.0)
                .with_log_append_time_ms(Timestamp::NONE.0)
                .with_log_start_offset(refused.log_start.unwrap_or(unknown).0)
        }
    }
}
