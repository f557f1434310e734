//! Answers to fetches, and what is refused as a whole.
//!
//! Versions: those of Fetch (1).
//!
//! Errors: those of Fetch.

use ottla_protocol::RequestHeader;
use ottla_protocol::fetch::{AbortedTransaction, FetchAnswer, PartitionAnswer, TopicAnswer};
use ottla_replication::Isolation;
use ottla_replication::sessions::SessionPartition;
use ottla_types::ErrorCode;

use super::{Fetch, FetchedPartition, Read, TOPIC_IDS_FROM};
use crate::fetch_session::{self, Ending};
use crate::handlers::leaders;
use crate::response::{FetchedRecords, Response};

const STORAGE_ERROR_FROM: i16 = 6;

impl Fetch {
    pub(super) fn answer(self, header: &RequestHeader) -> Response {
        let version = header.api_version;
        let Ending { session_id, told } = match self.end_session() {
            Ok(ending) => ending,
            Err(error) => return refuse(header, error),
        };
        let mut told = told.into_iter().flatten();
        // Without a session everything is told.
        let mut is_told = || told.next().unwrap_or(true);
        let mut node_endpoints = Vec::new();
        let topics = self.topics.into_iter().map(|topic| {
            let told = std::iter::zip(topic.indexes, topic.partitions).filter(|_| is_told());
            let partitions = told.map(|(index, partition)| {
                let answer = partition.answer(index, version);
                let leader =
                    self.leaders.after_fetch(&topic.topic, index, answer.error_code, version);
                let Some(leader) = leader else { return answer };
                let current_leader = Some((leader.id, leader.epoch));
                // Followers know where each other are.
                let endpoints = (!self.is_follower).then_some(&mut node_endpoints);
                leaders::add_endpoint(endpoints, leader);
                PartitionAnswer { current_leader, ..answer }
            });
            let partitions = partitions.collect();
            TopicAnswer { topic: topic.topic, partitions }
        });
        let topics = topics.filter(|topic| !topic.partitions.is_empty()).collect();
        let answer = FetchAnswer {
            throttle_ms: 0,
            error_code: ErrorCode::None.code(),
            session_id,
            topics,
            node_endpoints,
        };
        Response::from_pieces(answer.encode(version, Response::begin(header)))
    }

    fn end_session(&self) -> Result<Ending, ErrorCode> {
        let read = self.topics.iter().flat_map(|topic| {
            let name = fetch_session::session_topic(&topic.topic);
            std::iter::zip(&topic.indexes, &topic.partitions).map(move |(index, partition)| {
                let (topic, asked) = (name.clone(), partition.asked);
                (SessionPartition { topic, index: *index, asked }, partition.told())
            })
        });
        self.sessions.end(self.context, read)
    }

    /// Whether there is a partition that the sender may ask for.
    pub(super) fn may_read(&mut self) -> bool {
        self.partitions().any(|partition| match &partition.source {
            Ok(_) => true,
            Err(error) => !is_before_the_log(*error),
        })
    }

    /// What Kafka answers to a request that it cannot read as a whole.
    pub(super) fn refuse_all(self, header: &RequestHeader) -> Response {
        let error = ErrorCode::UnknownServerError;
        if header.api_version >= TOPIC_IDS_FROM {
            return refuse(header, error);
        }
        let topics = self.topics.into_iter().map(|topic| {
            let refused = topic.indexes.iter().map(|index| {
                let answer = PartitionAnswer::error(*index, error.code());
                PartitionAnswer { aborted: Some(Vec::new()), ..answer }
            });
            TopicAnswer { partitions: refused.collect(), topic: topic.topic }
        });
        refuse_topics(header, error, topics.collect())
    }
}

impl FetchedPartition {
    fn answer(self, index: i32, version: i16) -> PartitionAnswer<FetchedRecords> {
        let outcome = match self.read {
            Read::Outcome(outcome) => outcome,
            Read::Error(ErrorCode::KafkaStorageError) if version < STORAGE_ERROR_FROM => {
                return PartitionAnswer::error(index, ErrorCode::NotLeaderOrFollower.code());
            }
            Read::Error(error) => {
                let answer = PartitionAnswer::error(index, error.code());
                // What is refused before the log is asked has an empty list, as Kafka has it.
                let before = is_before_the_log(error);
                return PartitionAnswer { aborted: before.then(Vec::new), ..answer };
            }
            Read::Nothing => unreachable!("every partition was read"),
        };
        let committed = self.spec.isolation == Isolation::ReadCommitted;
        let aborted = outcome.aborted.iter().map(|ended| AbortedTransaction {
            producer_id: ended.producer_id,
            first_offset: ended.first_offset,
        });
        PartitionAnswer {
            index,
            error_code: ErrorCode::None.code(),
            high_watermark: outcome.offsets.high_watermark,
            last_stable_offset: outcome.offsets.last_stable,
            log_start_offset: outcome.offsets.log_start,
            diverging: outcome.diverging,
            current_leader: None,
            aborted: committed.then(|| aborted.collect()),
            records: self.records,
        }
    }
}

/// Whether a partition is refused before the log is asked.
fn is_before_the_log(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::TopicAuthorizationFailed
    )
}

/// The answer when nothing is read.
pub(super) fn refuse(header: &RequestHeader, error: ErrorCode) -> Response {
    refuse_topics(header, error, Vec::new())
}

fn refuse_topics(
    header: &RequestHeader,
    error: ErrorCode,
    topics: Vec<TopicAnswer<FetchedRecords>>,
) -> Response {
    let answer = FetchAnswer {
        throttle_ms: 0,
        error_code: error.code(),
        session_id: 0,
        topics,
        node_endpoints: Vec::new(),
    };
    Response::from_pieces(answer.encode(header.api_version, Response::begin(header)))
}
