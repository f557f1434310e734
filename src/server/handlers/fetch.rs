//! Fetch (1): reads records.
//!
//! Versions: 4-18. 5 log start offset, 7 sessions (KIP-227), 9 leader epochs (KIP-320), 11 racks
//! (KIP-392), 12 flexible and diverging epochs (KIP-595), 13 topics by id (KIP-516), 15 replica
//! state as a tag (KIP-903), 18 the follower's high watermark (KIP-1166).
//! - In a session a request says what changes, and the answer what is new:
//!   `server/fetch_session.rs`.
//! - The answer waits until `min_bytes` are there, a partition has an error, or `max_wait_ms` is
//!   over. It is woken by appends to its own partitions only.
//! - While those that wait take more than `ottla.waiting.max.bytes`, nobody waits.
//! - Records go from the page cache to the socket, but for short pieces, which are copied; an
//!   answer holds a bounded number of files open. The first partition with records answers at
//!   least one batch, whatever the limits (KIP-74). No records are an empty field, never null.
//! - `read_committed` ends at the last stable offset and lists the aborted transactions among the
//!   records; whether a transaction is aborted stands in the log's own index (KIP-98).
//! - Who asks the wrong broker, or with an old epoch, is told who leads (16, KIP-951).
//! - A partition that is asked for twice is answered once.
//! - Who claims to be a broker needs CLUSTER_ACTION on the cluster instead of READ on topics.
//! - `read_committed` readers see up to the last stable offset.
//! - On a controller's listener the quorum's log is read: see `quorum.rs`.
//!
//! Errors: `UNKNOWN_TOPIC_OR_PARTITION`, `UNKNOWN_TOPIC_ID`, `TOPIC_AUTHORIZATION_FAILED`,
//! `NOT_LEADER_OR_FOLLOWER`, `OFFSET_OUT_OF_RANGE`, `FENCED_LEADER_EPOCH`, `UNKNOWN_LEADER_EPOCH`,
//! `KAFKA_STORAGE_ERROR` (`NOT_LEADER_OR_FOLLOWER` up to version 5); for the whole request
//! `FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH`, `FETCH_SESSION_TOPIC_ID_ERROR`,
//! `UNKNOWN_SERVER_ERROR` with an isolation level that there is not.

mod answer;

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::Image;
use ottla_protocol::Decoded;
use ottla_protocol::fetch::RecordBytes;
use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::{FetchRequest, decode_request, from_wire_uuid};
use ottla_protocol::produce::TopicRef;
use ottla_replication::sessions::{Asked, Bounds, Told};
use ottla_replication::{
    FetchOutcome, FetchSpec, FetchWait, Isolation, Partition, PartitionError, PartitionOffsets,
    Replicas, Watch,
};
use ottla_runtime::Clock;
use ottla_security::Operation;
use ottla_types::{ErrorCode, LeaderEpoch, MonoTime, Offset, PartitionId, TopicIdPartition};

use self::answer::refuse;
use super::leaders::Leaders;
use super::{Permissions, find_topic, is_isolation, quorum};
use crate::apis::Incoming;
use crate::dispatch::Reply;
use crate::fetch_session::{self, Context, Sessions};
use crate::repeated;
use crate::response::FetchedRecords;
use crate::services::Services;

const TOPIC_IDS_FROM: i16 = 13;
const REPLICA_STATE_FROM: i16 = 15;

/// Files that an answer holds open at most, until it is sent.
const FILES_MAX: usize = 256;
/// Bytes of short pieces that are copied into an answer at most.
const COPIED_BYTES_MAX: u64 = 4 << 20;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let controller = request.peer.listener.is_controller();
    let refused = if controller { quorum::check_sender(services, &request).err() } else { None };
    let Incoming { peer, header, body } = request;
    let mut body: FetchRequest = decode_request(&body, header.api_key, header.api_version)?;
    match refused {
        Some(error) => return Ok(Reply::Now(refuse(&header, error))),
        None if controller => return Ok(quorum::fetch(services, header, body)),
        None => {}
    }
    merge_repeated(&mut body);
    let is_broker = replica(&body, header.api_version) >= 0;
    let sessions = services.fetch_sessions.clone();
    let context = match sessions.begin(header.api_version, is_broker, &mut body) {
        Ok(context) => context,
        Err(error) => return Ok(Reply::Now(refuse(&header, error))),
    };
    let image = services.images.load();
    let planner = Planner {
        image: &image,
        replicas: &services.replicas,
        permissions: Permissions { authorizer: &*services.authorizer, peer },
        request: &body,
        version: header.api_version,
    };
    let bytes_max = services.config.fetch_bytes_max.min(body.max_bytes.max(0).unsigned_abs());
    let mut fetch = Fetch {
        topics: body.topics.iter().map(|topic| planner.topic(topic)).collect(),
        bytes_max: u64::from(bytes_max),
        bytes_min: u64::from(body.min_bytes.max(0).unsigned_abs()),
        is_full: false,
        sessions,
        context,
        leaders: Leaders::new(services, peer),
        is_follower: is_broker,
    };
    if !is_isolation(body.isolation_level) && fetch.may_read() {
        return Ok(Reply::Now(fetch.refuse_all(&header)));
    }
    fetch.read(None);
    let wait = Duration::from_millis(u64::from(body.max_wait_ms.max(0).unsigned_abs()));
    if wait.is_zero() || fetch.is_complete() || services.waiting.is_full() {
        return Ok(Reply::Now(fetch.answer(&header)));
    }
    let clock = services.runtime.clock().clone();
    let deadline = clock.now().after(wait);
    let header = header.without_client_id();
    fetch.topics.iter_mut().for_each(|topic| topic.topic.let_go());
    Ok(Reply::Later(Box::pin(async move {
        fetch.wait(&clock, deadline).await;
        fetch.answer(&header)
    })))
}

/// The broker that follows; negative for a consumer.
fn replica(request: &FetchRequest, version: i16) -> i32 {
    if version >= REPLICA_STATE_FROM {
        request.replica_state.replica_id.0
    } else {
        request.replica_id.0
    }
}

/// Keeps one of each partition: the first's place and the last's question, as Kafka's map does. So
/// what waits is bounded by the partitions that exist: all others end the wait.
fn merge_repeated(body: &mut FetchRequest) {
    if matches!(body.topics.as_slice(), [topic] if topic.partitions.len() == 1) {
        return;
    }
    let named = body.topics.iter().enumerate().flat_map(|(at, topic)| {
        let places = topic.partitions.iter().enumerate();
        places.map(move |(index, asked)| {
            ((at, index), (&topic.topic, topic.topic_id, asked.partition))
        })
    });
    let repeated = repeated::find(named);
    for (place, again) in &repeated {
        let asked = body.topics[again.0].partitions[again.1].clone();
        body.topics[place.0].partitions[place.1] = asked;
    }
    repeated::remove(&mut body.topics, &repeated, |topic| &mut topic.partitions);
}

struct Planner<'a> {
    image: &'a Image,
    replicas: &'a Replicas,
    permissions: Permissions<'a>,
    request: &'a FetchRequest,
    version: i16,
}

impl Planner<'_> {
    fn topic(&self, topic: &FetchTopic) -> FetchedTopic {
        let by_id = self.version >= TOPIC_IDS_FROM;
        let (topic_ref, unknown) = if by_id {
            (TopicRef::Id(from_wire_uuid(topic.topic_id)), ErrorCode::UnknownTopicId)
        } else {
            (TopicRef::Name(topic.topic.0.clone()), ErrorCode::UnknownTopicOrPartition)
        };
        let found = find_topic(self.image, &topic_ref);
        let name = found.as_ref().map(|found| found.name.to_string());
        let asked = match &topic_ref {
            TopicRef::Name(name) => Some(name.to_string()),
            TopicRef::Id(_) => name,
        };
        let may_read = if self.replica() >= 0 {
            self.permissions.cluster(Operation::ClusterAction)
        } else {
            asked.is_none_or(|name| self.permissions.topic(Operation::Read, &name))
        };
        let partition = |asked: &FetchPartition| {
            let id = PartitionId(asked.partition);
            let source = match &found {
                _ if !may_read => Err(ErrorCode::TopicAuthorizationFailed),
                Some(topic) => self.leader(TopicIdPartition { topic_id: topic.id, partition: id }),
                None => Err(unknown),
            };
            let spec = self.spec(asked);
            let asked = fetch_session::asked(asked);
            FetchedPartition { source, asked, spec, read: Read::Nothing, records: None }
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        let indexes = topic.partitions.iter().map(|asked| asked.partition).collect();
        FetchedTopic { topic: topic_ref, indexes, partitions }
    }

    fn replica(&self) -> i32 {
        replica(self.request, self.version)
    }

    fn leader(&self, id: TopicIdPartition) -> Result<Arc<Partition>, ErrorCode> {
        match self.replicas.get(&id) {
            // No other broker holds a replica of what this node leads.
            Some(_) if self.replica() >= 0 => Err(ErrorCode::NotLeaderOrFollower),
            Some(partition) => Ok(partition),
            None if self.image.partition_by_id(id).is_some() => Err(self.replicas.why_missing(&id)),
            None => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }

    fn spec(&self, asked: &FetchPartition) -> FetchSpec {
        let epoch = |epoch: i32| (epoch >= 0).then_some(LeaderEpoch(epoch));
        FetchSpec {
            offset: Offset(asked.fetch_offset),
            bytes_max: u64::from(asked.partition_max_bytes.max(0).unsigned_abs()),
            at_least_one: false,
            isolation: if self.request.isolation_level == 1 {
                Isolation::ReadCommitted
            } else {
                Isolation::ReadUncommitted
            },
            leader_epoch: epoch(asked.current_leader_epoch),
            last_fetched_epoch: epoch(asked.last_fetched_epoch),
        }
    }
}

/// A fetch under way.
struct Fetch {
    topics: Vec<FetchedTopic>,
    bytes_max: u64,
    bytes_min: u64,
    /// Whether the answer holds as many pieces as it may; the rest is for the next fetch.
    is_full: bool,
    sessions: Sessions,
    context: Context,
    leaders: Leaders,
    is_follower: bool,
}

struct FetchedTopic {
    topic: TopicRef,
    indexes: Vec<i32>,
    partitions: Vec<FetchedPartition>,
}

struct FetchedPartition {
    source: Result<Arc<Partition>, ErrorCode>,
    asked: Asked,
    spec: FetchSpec,
    read: Read,
    records: Option<FetchedRecords>,
}

enum Read {
    Nothing,
    Outcome(FetchOutcome),
    Error(ErrorCode),
}

impl Fetch {
    fn partitions(&mut self) -> impl Iterator<Item = &mut FetchedPartition> {
        self.topics.iter_mut().flat_map(|topic| &mut topic.partitions)
    }

    /// Reads all partitions, or those whose position is among `changed`; the others keep what was
    /// read.
    fn read(&mut self, changed: Option<&[usize]>) {
        let mut left = self.bytes_max;
        let mut at_least_one = true;
        let (mut files, mut copied) = (FILES_MAX, COPIED_BYTES_MAX);
        for (position, partition) in self.partitions().enumerate() {
            if changed.is_none_or(|changed| changed.binary_search(&position).is_ok()) {
                partition.read(left, at_least_one);
            }
            let len = partition.len();
            at_least_one &= len == 0;
            left = left.saturating_sub(len);
            match &partition.records {
                Some(FetchedRecords::Extent(_)) => files = files.saturating_sub(1),
                Some(FetchedRecords::Copied(_)) => copied = copied.saturating_sub(len),
                None => {}
            }
            if files == 0 || copied == 0 {
                left = 0;
            }
        }
        self.is_full = files == 0 || copied == 0;
    }

    /// Whether nothing has to be waited for.
    fn is_complete(&mut self) -> bool {
        let bytes_min = self.bytes_min;
        let mut bytes = 0;
        let mut partitions = 0;
        for partition in self.partitions() {
            partitions += 1;
            bytes += partition.len();
            if partition.ends_the_wait() {
                return true;
            }
        }
        partitions == 0 || bytes >= bytes_min || self.is_full
    }

    /// Waits for records until the deadline.
    async fn wait(&mut self, clock: &Clock, deadline: MonoTime) {
        let wait = Arc::new(FetchWait::default());
        let watches: Vec<Watch> = self
            .partitions()
            .enumerate()
            .filter_map(|(slot, partition)| Some(wait.watch(partition.source.as_ref().ok()?, slot)))
            .collect();
        // Whatever was appended before the watch began is found here.
        self.read(None);
        while !self.is_complete() {
            let left = deadline.since(clock.now());
            match clock.timeout(left, wait.changed()).await {
                Some(mut changed) => {
                    changed.sort_unstable();
                    self.read(Some(&changed));
                }
                None => break,
            }
        }
        drop(watches);
    }
}

impl FetchedPartition {
    fn read(&mut self, bytes_left: u64, at_least_one: bool) {
        let bytes_max = self.spec.bytes_max.min(bytes_left);
        let spec = FetchSpec { bytes_max, at_least_one, ..self.spec };
        self.records = None;
        self.read = match &self.source {
            Err(error) => Read::Error(*error),
            Ok(partition) => match partition.fetch(spec) {
                Ok(mut outcome) => {
                    self.records = outcome.extent.take().map(FetchedRecords::of);
                    Read::Outcome(outcome)
                }
                Err(error) => Read::Error(PartitionError::code(&error)),
            },
        };
    }

    /// What there is to be told of it.
    fn told(&self) -> Told {
        let unknown = Bounds { high_watermark: Offset(-1), log_start: Offset(-1) };
        let (bounds, diverges) = match &self.read {
            Read::Outcome(outcome) => {
                let PartitionOffsets { high_watermark, log_start, .. } = outcome.offsets;
                (Bounds { high_watermark, log_start }, outcome.diverging.is_some())
            }
            Read::Error(_) | Read::Nothing => (unknown, false),
        };
        let is_error = matches!(self.read, Read::Error(_));
        Told { bounds, has_records: self.len() > 0, is_error, diverges }
    }

    fn len(&self) -> u64 {
        self.records.as_ref().map_or(0, RecordBytes::len) as u64
    }

    /// An error or a divergence is told at once.
    fn ends_the_wait(&self) -> bool {
        match &self.read {
            Read::Error(_) => true,
            Read::Outcome(outcome) => outcome.diverging.is_some(),
            Read::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_asked_for_twice_is_read_once() {
        let topic = |id: u128, asked: &[(i32, i64)]| {
            let asked = asked.iter().map(|(partition, offset)| {
                FetchPartition::default().with_partition(*partition).with_fetch_offset(*offset)
            });
            let id = uuid::Uuid::from_u128(id);
            FetchTopic::default().with_topic_id(id).with_partitions(asked.collect())
        };
        let check = |topics: Vec<FetchTopic>, expected: Vec<FetchTopic>| {
            let mut request = FetchRequest::default().with_topics(topics);
            merge_repeated(&mut request);
            assert_eq!(request.topics, expected);
        };
        check(vec![topic(1, &[(0, 5)])], vec![topic(1, &[(0, 5)])]);
        check(
            vec![topic(1, &[(0, 5), (1, 6), (0, 7)]), topic(2, &[(0, 8)]), topic(1, &[(1, 9)])],
            vec![topic(1, &[(0, 7), (1, 9)]), topic(2, &[(0, 8)])],
        );
    }
}
