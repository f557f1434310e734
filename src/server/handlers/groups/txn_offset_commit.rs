//! TxnOffsetCommit (28): a producer notes how far a group has read, once its transaction is
//! committed (KIP-98).
//!
//! Versions: 0-5. 2 leader epochs, 3 members (KIP-447), 4 `TRANSACTION_ABORTABLE`, 5 the group's
//! partition becomes part of the transaction by this (KIP-890). 6, ids of topics and epochs of
//! members (KIP-1319), is read, and not shown: Kafka 4.4 has it, 4.3 has not, and what is shown are
//! the versions of one release.
//! - As a batch of a transaction ([`crate::handlers::produce`]), the first one of a transaction in
//!   the group's partition is written when the transaction's coordinator knows of it.
//! - The answer comes when the offsets are in the log; nobody is told of them before the
//!   transaction ends.
//! - A stale epoch of a consumer group's member is told as `ILLEGAL_GENERATION`.
//!
//! Errors: `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`, `GROUP_AUTHORIZATION_FAILED`,
//! `TOPIC_AUTHORIZATION_FAILED`, `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_GROUP_ID`,
//! `OFFSET_METADATA_TOO_LARGE`, `UNKNOWN_MEMBER_ID`, `FENCED_INSTANCE_ID`, `ILLEGAL_GENERATION`,
//! `INVALID_PRODUCER_EPOCH`, `INVALID_PRODUCER_ID_MAPPING`, `INVALID_TXN_STATE`,
//! `TRANSACTION_ABORTABLE`, `CONCURRENT_TRANSACTIONS`, `NOT_COORDINATOR`,
//! `COORDINATOR_NOT_AVAILABLE`, `COORDINATOR_LOAD_IN_PROGRESS`, in whose place version 0 and 1
//! get `COORDINATOR_NOT_AVAILABLE` (KAFKA-7296).

use std::sync::Arc;

use ottla_coordinator::group::{GroupId, MemberId, OffsetCommit, Transaction};
use ottla_coordinator::runtime::{GROUPS_TOPIC, partition_of};
use ottla_coordinator::txn::TxnCheck;
use ottla_metadata::image::Image;
use ottla_protocol::group_offsets::{
    OffsetCommitPartition, OffsetCommitResponse, OffsetCommitTopic, TxnOffsetCommitOutcome,
    TxnOffsetCommitPartitionOutcome, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
    TxnOffsetCommitTopic,
};
use ottla_protocol::{Decoded, Message, Reader, RequestHeader};
use ottla_replication::Partition;
use ottla_security::{Action, Operation, Resource, ResourceKind};
use ottla_storage::{FirstBatch, Verification, VerificationGuard};
use ottla_types::{ErrorCode, ProducerEpoch, ProducerId, TopicIdPartition};

use super::group_partitions;
use super::offset_commit::{Sorted, refuse};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::handlers::Permissions;
use crate::handlers::verifying::verifies;
use crate::response::Response;
use crate::services::Services;
use crate::transactions::COORDINATOR_WAIT_MAX;

const LOADING_FROM: i16 = 2;
const ABORTABLE_FROM: i16 = 4;
const ADDS_FROM: i16 = 5;
const TOPIC_IDS_FROM: i16 = 6;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let version = header.api_version;
    let mut body = TxnOffsetCommitRequest::decode(&mut Reader::new(&body), version)?;
    let topics: Vec<_> = body.topics.drain(..).map(as_commit).collect();
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    if let Some(error) = refusal(&permissions, &body) {
        let topics = topics.iter().map(|topic| refuse(topic, error)).collect();
        let answer = OffsetCommitResponse { topics, ..OffsetCommitResponse::default() };
        return Ok(Reply::Now(respond(&header, answer)));
    }
    let image = services.images.load();
    let sorted = Sorted::of(&topics, &image, &permissions, version >= TOPIC_IDS_FROM);
    if sorted.offsets.is_empty() {
        return Ok(Reply::Now(respond(&header, sorted.answer)));
    }
    if body.group_id.is_empty() {
        let answer = sorted.answer_with(&Err(ErrorCode::InvalidGroupId));
        return Ok(Reply::Now(respond(&header, answer)));
    }
    let commit = Commit { header, body, sorted };
    match commit.begin_verification(services, &image) {
        Err(error) => Ok(Reply::Now(commit.refuse(error))),
        Ok(Needed { verified, ask: None }) => Ok(commit.write(services, verified, None)),
        Ok(Needed { verified, ask: Some((guard, partition)) }) => {
            Ok(Reply::Held(Box::new(move |services| {
                Box::pin(async move {
                    match commit.ask(&services, &partition).await {
                        Err(error) => Reply::Now(commit.refuse(error)),
                        Ok(()) => commit.write(&services, verified, Some(guard)),
                    }
                })
            })))
        }
    }
}

fn refusal(permissions: &Permissions<'_>, body: &TxnOffsetCommitRequest) -> Option<ErrorCode> {
    let resource =
        Resource { kind: ResourceKind::TransactionalId, name: body.transactional_id.as_str() };
    if !permissions.allows(Action { operation: Operation::Write, resource }) {
        Some(ErrorCode::TransactionalIdAuthorizationFailed)
    } else if !permissions.group(Operation::Read, &body.group_id) {
        Some(ErrorCode::GroupAuthorizationFailed)
    } else {
        None
    }
}

/// A request whose offsets may be committed.
struct Commit {
    header: RequestHeader,
    /// Without its topics.
    body: TxnOffsetCommitRequest,
    sorted: Sorted,
}

/// What has to be done before the offsets are written.
struct Needed {
    /// Whether the transaction must be open in the partition, or have been verified.
    verified: bool,
    /// The coordinator is to be asked for the partition; the guard goes with the records.
    ask: Option<(VerificationGuard, Arc<Partition>)>,
}

impl Commit {
    fn adds(&self) -> bool {
        self.header.api_version >= ADDS_FROM
    }

    fn begin_verification(&self, services: &Services, image: &Image) -> Result<Needed, ErrorCode> {
        if self.body.producer_id <= ProducerId::NONE {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if self.body.producer_epoch <= ProducerEpoch::NONE {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        let verified = self.adds() || verifies(services, image);
        if !verified {
            return Ok(Needed { verified, ask: None });
        }
        let partitions = group_partitions(image).ok_or(ErrorCode::NotCoordinator)?;
        let topic = image.topic(GROUPS_TOPIC).ok_or(ErrorCode::NotCoordinator)?;
        let partition = partition_of(&self.body.group_id, partitions);
        let id = TopicIdPartition { topic_id: topic.id, partition };
        let partition = services.replicas.get(&id).ok_or(ErrorCode::NotCoordinator)?;
        let batch = FirstBatch {
            producer_id: self.body.producer_id,
            producer_epoch: self.body.producer_epoch,
            sequence: -1,
            adds: self.adds(),
        };
        let now = services.runtime.clock().wall();
        let begun = partition.begin_verification(batch, now).map_err(|error| error.code());
        let ask = match begun.map_err(told_of_log)? {
            Verification::NotNeeded => None,
            Verification::Needed(guard) => Some((guard, partition)),
        };
        Ok(Needed { verified, ask })
    }

    /// Asks the transaction's coordinator.
    async fn ask(&self, services: &Services, partition: &Partition) -> Result<(), ErrorCode> {
        let check = TxnCheck {
            transactional_id: self.body.transactional_id.clone(),
            producer_id: self.body.producer_id,
            producer_epoch: self.body.producer_epoch,
            partitions: vec![partition.name().clone()],
            add: self.adds(),
        };
        let answered = services.transactions.verify_or_add(check);
        let answered = services.runtime.clock().timeout(COORDINATOR_WAIT_MAX, answered).await;
        let outcome = answered.and_then(|outcomes| outcomes.first().copied());
        let outcome = outcome.unwrap_or(Err(ErrorCode::NetworkException));
        outcome.map_err(|error| told_of_coordinator(error, self.header.api_version))
    }

    /// Commits the offsets; begins at once.
    fn write(
        mut self,
        services: &Services,
        verified: bool,
        guard: Option<VerificationGuard>,
    ) -> Reply {
        let commit = OffsetCommit {
            group: GroupId::from(self.body.group_id.as_str()),
            member: MemberId::from(self.body.member_id.as_str()),
            instance: self.body.group_instance_id.take(),
            generation: self.body.generation,
            knows_epochs: self.header.api_version >= TOPIC_IDS_FROM,
            retention_ms: None,
            offsets: std::mem::take(&mut self.sorted.offsets),
        };
        let transaction = Transaction {
            producer_id: self.body.producer_id,
            producer_epoch: self.body.producer_epoch,
            verified,
            guard: guard.map(|guard| guard.0),
        };
        let committed = services.groups.commit_transactional(commit, transaction);
        Reply::Later(Box::pin(async move { self.answer(committed.await) }))
    }

    fn refuse(self, error: ErrorCode) -> Response {
        self.answer(Err(error))
    }

    fn answer(self, result: Result<Vec<ErrorCode>, ErrorCode>) -> Response {
        let knows_loading = self.header.api_version >= LOADING_FROM;
        let result = result.map_err(|error| match error {
            ErrorCode::CoordinatorLoadInProgress if !knows_loading => {
                ErrorCode::CoordinatorNotAvailable
            }
            other => other,
        });
        respond(&self.header, self.sorted.answer_with(&result))
    }
}

/// What a client is told of the log's partition.
fn told_of_log(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        other => other,
    }
}

/// What a client of this version is told of what the transaction's coordinator says.
fn told_of_coordinator(error: ErrorCode, version: i16) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < ABORTABLE_FROM => ErrorCode::InvalidTxnState,
        // The group's coordinator is this node, so there is no need to look for another one.
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        other => other,
    }
}

fn as_commit(topic: TxnOffsetCommitTopic) -> OffsetCommitTopic {
    let partitions = topic.partitions.into_iter().map(|partition| OffsetCommitPartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        committed_metadata: partition.committed_metadata,
    });
    OffsetCommitTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
    }
}

fn respond(header: &RequestHeader, answer: OffsetCommitResponse) -> Response {
    let topics = answer.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|it| TxnOffsetCommitPartitionOutcome {
            partition_index: it.partition_index,
            error_code: it.error_code,
        });
        let partitions = partitions.collect();
        TxnOffsetCommitOutcome { name: topic.name, topic_id: topic.topic_id, partitions }
    });
    let topics = topics.collect();
    Response::message(header, &TxnOffsetCommitResponse { throttle_time_ms: 0, topics })
}
