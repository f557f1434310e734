//! The batches of one Produce request, appended in order.
//!
//! Versions: those of Produce.
//! - Each is checked, looked into and appended where the request is read, before the next request
//!   of its connection is.
//! - One that would become large when it is decompressed is looked into beside the thread
//!   ([`crate::workers`]). Meanwhile others on the thread are served, and what comes behind it,
//!   of its request and of its connection, waits: a producer's batches keep their order.
//! - Leadership and acknowledgements are looked at under the partition's lock, after that.
//!
//! Errors: those of Produce.

use std::sync::Arc;
use std::vec::IntoIter;

use ottla_config::TopicConfig;
use ottla_metadata::image::Image;
use ottla_protocol::RequestHeader;
use ottla_protocol::batch::BatchHeader;
use ottla_protocol::produce::{PartitionRecords, ProduceRequest, TopicRecords, TopicRef};
use ottla_replication::validation::{RecordError, Refusal};
use ottla_replication::{Acks, Allowance, Appended, Candidate, Partition};
use ottla_security::Operation;
use ottla_storage::IncomingBatch;
use ottla_types::{ErrorCode, Offset, PartitionId, Timestamp, TopicIdPartition};

use super::produced::{check_batch, one_batch};
use super::verifying::Verified;
use super::{FoundTopic, Permissions, find_topic, is_internal};
use crate::connection::Peer;
use crate::services::Services;

const ADMIN_CLIENT: &str = "__admin_client";

/// What became of the batches for a topic.
pub(super) struct TopicOutcome {
    pub(super) topic: TopicRef,
    pub(super) partitions: Vec<PartitionOutcome>,
}

impl TopicOutcome {
    /// Bytes that it takes while it waits.
    pub(super) fn size(&self) -> usize {
        let name = match &self.topic {
            TopicRef::Name(name) => name.len(),
            TopicRef::Id(_) => 0,
        };
        size_of::<TopicOutcome>() + name + self.partitions.len() * PARTITION_SIZE
    }
}

/// With what the partition keeps of the one that waits.
const PARTITION_SIZE: usize = size_of::<PartitionOutcome>() + 128;

/// What became of one.
pub(super) struct PartitionOutcome {
    pub(super) index: i32,
    pub(super) result: Result<Appended, Refused>,
}

impl PartitionOutcome {
    pub(super) fn error(&self) -> ErrorCode {
        self.result.as_ref().err().map_or(ErrorCode::None, |refused| refused.code)
    }

    pub(super) fn waits(&self) -> bool {
        self.result.as_ref().is_ok_and(|appended| appended.wait.is_some())
    }
}

/// Why nothing was appended to a partition.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: ErrorCode,
    pub(super) message: Option<String>,
    pub(super) records: Vec<RecordError>,
    pub(super) log_start: Option<Offset>,
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Refused {
        Refused { code, message: None, records: Vec::new(), log_start: None }
    }
}

impl Refused {
    /// A refusal that comes of the batch itself.
    fn of(refusal: Refusal, partition: &Partition) -> Refused {
        let refused = Refused::from(refusal);
        Refused { log_start: start_told(partition, refused.code), ..refused }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        tracing::debug!(code = ?refusal.code, reason = %refusal.reason, "batch refused");
        let Refusal { code, message, records, .. } = refusal;
        Refused { code, message, records, log_start: None }
    }
}

/// A request whose batches are appended one after the other.
pub(super) struct Appending {
    pub(super) header: RequestHeader,
    pub(super) acks: i16,
    pub(super) image: Arc<Image>,
    pub(super) now: Timestamp,
    allowance: Allowance,
    pub(super) topics: IntoIter<TopicRecords>,
    open: Option<OpenTopic>,
    pub(super) outcomes: Vec<TopicOutcome>,
    /// Of batches of a transaction.
    pub(super) verified: Verified,
}

/// The topic whose batches are appended.
struct OpenTopic {
    found: Result<FoundTopic, ErrorCode>,
    partitions: IntoIter<PartitionRecords>,
}

/// A batch that is to be looked into elsewhere.
pub(super) struct Heavy {
    index: i32,
    partition: Arc<Partition>,
    config: Arc<TopicConfig>,
    batch: IncomingBatch,
}

/// How far an append came.
enum Step {
    Done(Appended),
    Heavy(Heavy),
}

impl Appending {
    /// Nothing is appended yet.
    pub(super) fn new(
        services: &Services,
        header: RequestHeader,
        body: ProduceRequest,
        allowance: Allowance,
    ) -> Appending {
        Appending {
            header,
            acks: body.acks,
            image: services.images.load(),
            now: services.runtime.clock().wall(),
            allowance,
            outcomes: Vec::with_capacity(body.topics.len()),
            topics: body.topics.into_iter(),
            open: None,
            verified: Verified::new(),
        }
    }

    /// Refuses everything that is left.
    pub(super) fn refuse_all(&mut self, error: ErrorCode) {
        for topic in self.topics.by_ref() {
            let refused = |records: &PartitionRecords| PartitionOutcome {
                index: records.index,
                result: Err(error.into()),
            };
            let partitions = topic.partitions.iter().map(refused).collect();
            self.outcomes.push(TopicOutcome { topic: topic.topic, partitions });
        }
    }

    /// Appends until all is done, which is `None`, or up to a batch that must not be looked into
    /// here.
    pub(super) fn go_on(&mut self, services: &Services, peer: &Peer) -> Option<Heavy> {
        loop {
            let Some(mut open) = self.open.take() else {
                let records = self.topics.next()?;
                let found = self.check_topic(services, peer, &records.topic);
                let partitions = Vec::with_capacity(records.partitions.len());
                self.outcomes.push(TopicOutcome { topic: records.topic, partitions });
                self.open = Some(OpenTopic { found, partitions: records.partitions.into_iter() });
                continue;
            };
            for records in open.partitions.by_ref() {
                let step = match &open.found {
                    Ok(topic) => self.append(services, peer, topic, &records),
                    Err(error) => Err((*error).into()),
                };
                match step {
                    Ok(Step::Done(appended)) => self.push(records.index, Ok(appended)),
                    Err(refused) => self.push(records.index, Err(refused)),
                    Ok(Step::Heavy(heavy)) => {
                        self.open = Some(open);
                        return Some(heavy);
                    }
                }
            }
        }
    }

    /// Looks into a batch beside the thread, then appends it here.
    pub(super) async fn append_heavy(&mut self, services: &Services, peer: &Peer, heavy: Heavy) {
        let Heavy { index, partition, config, batch } = heavy;
        let (validator, now, mut allowance) =
            (services.validator.clone(), self.now, self.allowance);
        let held = partition.clone();
        let work = move || {
            let candidate =
                Candidate { batch: &batch, topic: &config, partition: held.name(), now };
            (validator.validate(candidate, &mut allowance), allowance)
        };
        let (validated, allowance) = services.workers.run(peer.plane, work).await;
        self.allowance = allowance;
        self.allowance.begin_turn();
        self.now = services.runtime.clock().wall();
        let appended = validated
            .map_err(|refusal| Refused::of(refusal, &partition))
            .and_then(|batch| self.append_batch(services, peer, partition, &batch));
        self.push(index, appended);
    }

    fn push(&mut self, index: i32, result: Result<Appended, Refused>) {
        let topic = self.outcomes.last_mut().expect("a topic is open");
        topic.partitions.push(PartitionOutcome { index, result });
    }

    pub(super) fn check_topic(
        &self,
        services: &Services,
        peer: &Peer,
        topic: &TopicRef,
    ) -> Result<FoundTopic, ErrorCode> {
        let permissions = Permissions { authorizer: &*services.authorizer, peer };
        let (found, unknown) = match topic {
            TopicRef::Name(name) => {
                if !permissions.topic(Operation::Write, name) {
                    return Err(ErrorCode::TopicAuthorizationFailed);
                }
                (find_topic(&self.image, topic), ErrorCode::UnknownTopicOrPartition)
            }
            TopicRef::Id(_) => (find_topic(&self.image, topic), ErrorCode::UnknownTopicId),
        };
        let found = found.ok_or(unknown)?;
        if matches!(topic, TopicRef::Id(_)) && !permissions.topic(Operation::Write, &found.name) {
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

    fn append(
        &mut self,
        services: &Services,
        peer: &Peer,
        topic: &FoundTopic,
        records: &PartitionRecords,
    ) -> Result<Step, Refused> {
        let partition = self.leader(services, topic, records)?;
        let bytes = one_batch(records.records.as_ref(), self.header.api_version)?;
        let config = partition.config().map_err(|error| error.code())?;
        let batch =
            check_batch(bytes, &config).map_err(|refusal| Refused::of(refusal, &partition))?;
        let name = partition.name();
        let candidate = Candidate { batch: &batch, topic: &config, partition: name, now: self.now };
        let validated = services.validator.try_validate(candidate, &mut self.allowance);
        match validated {
            None => Ok(Step::Heavy(Heavy { index: records.index, partition, config, batch })),
            Some(Err(refusal)) => Err(Refused::of(refusal, &partition)),
            Some(Ok(batch)) => self.append_batch(services, peer, partition, &batch).map(Step::Done),
        }
    }

    fn append_batch(
        &mut self,
        services: &Services,
        peer: &Peer,
        partition: Arc<Partition>,
        batch: &IncomingBatch,
    ) -> Result<Appended, Refused> {
        let acks = if self.acks == -1 { Acks::All } else { Acks::Leader };
        let appended = match self.verified.remove(&partition.id()) {
            // It came to be led here since the others were verified.
            None if batch.header.attributes.is_transactional()
                && batch.header.has_producer_id() =>
            {
                return Err(ErrorCode::NotLeaderOrFollower.into());
            }
            None => partition.append(batch, acks, self.now),
            Some(verified) => partition.append_transactional(batch, verified?, acks, self.now),
        };
        let appended = appended.map_err(|error| {
            let code = error.code();
            Refused { log_start: start_told(&partition, code), ..code.into() }
        })?;
        if appended.start_flush {
            services.replicas.flush(partition, peer.plane);
        }
        Ok(appended)
    }

    fn leader(
        &self,
        services: &Services,
        topic: &FoundTopic,
        records: &PartitionRecords,
    ) -> Result<Arc<Partition>, ErrorCode> {
        let partition = PartitionId(records.index);
        let id = TopicIdPartition { topic_id: topic.id, partition };
        if let Some(partition) = services.replicas.get(&id) {
            return Ok(partition);
        }
        if self.image.partition_by_id(id).is_none() {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let batch = records.records.as_ref();
        let batch = batch.and_then(|bytes| BatchHeader::read_checked(bytes).ok());
        services.replicas.get_for(&id, batch.as_ref())
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
