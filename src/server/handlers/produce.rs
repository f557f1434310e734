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
//! - Appends happen in the order in which the requests are read, so a client's keep theirs. One
//!   whose batch is looked into beside the thread (`super::appending`) holds up those behind it.
//! - Internal topics take batches from the client id `__admin_client` only.
//! - A partition that is named twice is appended to once, with the last records.
//! - A first batch that cannot be one, by its length or magic, has the whole request refused.
//! - Null records are refused at once (Kafka never answers them).
//! - Batches of a transaction need the right to write with its transactional id, and are verified
//!   (`super::verifying`); 11 `TRANSACTION_ABORTABLE`, 12 partitions are added (KIP-890).
//!
//! Errors: `INVALID_REQUIRED_ACKS`, `UNKNOWN_TOPIC_OR_PARTITION`, `UNKNOWN_TOPIC_ID`,
//! `TOPIC_AUTHORIZATION_FAILED`, `INVALID_TOPIC_EXCEPTION`, `NOT_LEADER_OR_FOLLOWER`,
//! `CORRUPT_MESSAGE`, `INVALID_RECORD`, `MESSAGE_TOO_LARGE`, `RECORD_LIST_TOO_LARGE`,
//! `INVALID_TIMESTAMP`, `UNSUPPORTED_COMPRESSION_TYPE`, `OUT_OF_ORDER_SEQUENCE_NUMBER`,
//! `INVALID_PRODUCER_EPOCH`, `NOT_ENOUGH_REPLICAS`, `REQUEST_TIMED_OUT`, `KAFKA_STORAGE_ERROR`;
//! of transactions `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`, `INVALID_PRODUCER_ID_MAPPING`,
//! `INVALID_TXN_STATE`, `CONCURRENT_TRANSACTIONS`, `TRANSACTION_ABORTABLE`.

use std::time::Duration;

use ottla_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use ottla_protocol::messages::{
    BrokerId, ProduceResponse, StrBytes, TopicName as WireName, to_wire_uuid,
};
use ottla_protocol::produce::{PartitionRecords, ProduceRequest, TopicRef};
use ottla_protocol::{Decoded, RequestHeader, fetch};
use ottla_replication::AckWait;
use ottla_replication::validation::{RECORD_ERRORS_MAX, RecordError, Refusal};
use ottla_runtime::Clock;
use ottla_security::{Action, Operation, Resource, ResourceKind};
use ottla_types::{ErrorCode, MonoTime, Offset, Timestamp};

use super::Permissions;
use super::appending::{Appending, PartitionOutcome, TopicOutcome};
use super::leaders::{self, Leaders};
use super::produced::{Fronts, fronts};
use super::verifying::Transaction;
use crate::apis::Incoming;
use crate::connection::Peer;
use crate::dispatch::Reply;
use crate::repeated;
use crate::response::Response;
use crate::services::Services;

/// Answers the request.
///
/// # Errors
/// When the body is not one.
pub fn handle(services: &Services, request: Incoming<'_>) -> Decoded<Reply> {
    let Incoming { peer, header, body } = request;
    let allowance = services.validator.allowance(body.len());
    let mut body = ProduceRequest::decode(&body, header.api_version)?;
    let fronts = fronts(&body);
    merge_repeated(&mut body);
    let leaders = Leaders::new(services, peer);
    let transaction = match fronts {
        Fronts::Plain => None,
        Fronts::Unreadable(refusal) => return Ok(refuse_all(&header, &body, &refusal, &leaders)),
        Fronts::Transactional => match transaction(services, peer, &header, &body) {
            Ok(transaction) => Some(transaction),
            Err(refusal) => return Ok(refuse_all(&header, &body, &refusal, &leaders)),
        },
    };
    let timeout = Duration::from_millis(u64::from(body.timeout_ms.max(0).unsigned_abs()));
    let mut appending = Appending::new(services, header, body, allowance);
    let question = transaction.and_then(|it| appending.begin(services, peer, it));
    let heavy = match question {
        Some(_) => None,
        None => match appending.go_on(services, peer) {
            None => return Ok(reply(services, appending, timeout, leaders)),
            heavy => heavy,
        },
    };
    let peer = peer.clone();
    Ok(Reply::Held(Box::new(move |services| {
        Box::pin(async move {
            let mut next = heavy;
            if let Some(question) = question {
                appending.ask(&services, question).await;
                next = appending.go_on(&services, &peer);
            }
            while let Some(heavy) = next {
                appending.append_heavy(&services, &peer, heavy).await;
                next = appending.go_on(&services, &peer);
            }
            reply(&services, appending, timeout, leaders)
        })
    })))
}

/// The transaction that the request writes in.
///
/// # Errors
/// When it may not.
fn transaction(
    services: &Services,
    peer: &Peer,
    header: &RequestHeader,
    body: &ProduceRequest,
) -> Result<Transaction, Refusal> {
    let permissions = Permissions { authorizer: &*services.authorizer, peer };
    let may = |name: &str| {
        let resource = Resource { kind: ResourceKind::TransactionalId, name };
        permissions.allows(Action { operation: Operation::Write, resource })
    };
    match &body.transactional_id {
        Some(id) if may(id) => Ok(Transaction::of(id, header.api_version)),
        _ => {
            let code = ErrorCode::TransactionalIdAuthorizationFailed;
            Err(Refusal::new(code, "it may not write with this transactional id"))
        }
    }
}

/// What is replied when everything is appended, or refused.
fn reply(services: &Services, appending: Appending, timeout: Duration, leaders: Leaders) -> Reply {
    let Appending { header, acks, mut outcomes, .. } = appending;
    limit_record_errors(&mut outcomes);
    if acks == 0 {
        let failed = outcomes.iter().flat_map(|t| &t.partitions).any(|p| p.result.is_err());
        return if failed { Reply::Close } else { Reply::None };
    }
    let waits = outcomes.iter().flat_map(|topic| &topic.partitions).any(PartitionOutcome::waits);
    if !waits {
        return Reply::Now(answer(&header, outcomes, &leaders));
    }
    let clock = services.runtime.clock().clone();
    outcomes.iter_mut().for_each(|outcome| outcome.topic.let_go());
    let header = header.without_client_id();
    let share = services.waiting.count(outcomes.iter().map(TopicOutcome::size).sum());
    Reply::Later(Box::pin(async move {
        let _share = share;
        let outcomes = wait_for_acks(outcomes, &clock, clock.now().after(timeout)).await;
        answer(&header, outcomes, &leaders)
    }))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use ottla_config::NodeConfig;
    use ottla_metadata::ImageCell;
    use ottla_metadata::image::{Image, Touched};
    use ottla_protocol::ApiKey;
    use ottla_protocol::messages::Decodable;
    use ottla_protocol::metadata::{
        Endpoint, MetadataRecord, PartitionRecord, RegisterBrokerRecord, TopicRecord,
    };
    use ottla_types::{LeaderEpoch, NodeId, PartitionId, Uuid};

    use super::*;
    use crate::response::Chunk;
    use crate::services::ListenerId;

    const TOPIC: Uuid = Uuid([7; 16]);

    /// Broker 2 is there, and broker 3 is fenced.
    fn broker(id: i32) -> MetadataRecord {
        let (name, host) = ("PLAINTEXT".to_owned(), format!("host-{id}"));
        RegisterBrokerRecord {
            broker_id: NodeId(id),
            end_points: vec![Endpoint { name, host, port: 9092, security_protocol: 0 }],
            rack: Some("r".to_owned()),
            fenced: id == 3,
            ..Default::default()
        }
        .into()
    }

    /// Partitions 0, 1 and 2 are led by broker 2, 3 by broker 3, 4 by nobody.
    fn leaders() -> Leaders {
        let mut records =
            vec![broker(2), broker(3), TopicRecord { name: "t".into(), topic_id: TOPIC }.into()];
        for (partition, leader) in [(0, 2), (1, 2), (2, 2), (3, 3), (4, -1)] {
            records.push(
                PartitionRecord {
                    partition_id: PartitionId(partition),
                    topic_id: TOPIC,
                    replicas: vec![NodeId(2), NodeId(3)],
                    leader: NodeId(leader),
                    leader_epoch: LeaderEpoch(5),
                    ..Default::default()
                }
                .into(),
            );
        }
        let (mut image, mut touched) = (Image::default(), Touched::default());
        for record in &records {
            image.replay(record, &mut touched).expect("the records fit");
        }
        let images = ImageCell::default();
        images.store(Arc::new(image));
        let config = NodeConfig::new(None, &[]).expect("defaults are valid");
        Leaders::for_test(images, Arc::new(config), ListenerId::Broker(0))
    }

    fn answered(version: i16, errors: &[(i32, ErrorCode)]) -> ProduceResponse {
        let outcome = |(index, code): &(i32, ErrorCode)| PartitionOutcome {
            index: *index,
            result: Err((*code).into()),
        };
        let topic = match version {
            13.. => TopicRef::Id(TOPIC),
            _ => TopicRef::Name(StrBytes::from_static_str("t")),
        };
        let outcomes =
            vec![TopicOutcome { topic, partitions: errors.iter().map(outcome).collect() }];
        let header = RequestHeader {
            api_key: ApiKey::Produce,
            api_version: version,
            correlation_id: 1,
            client_id: StrBytes::new(),
        };
        let response = answer(&header, outcomes, &leaders());
        let [Chunk::Bytes(bytes)] = response.chunks.as_slice() else { panic!("one piece") };
        // Behind its length and its header.
        let front = if version >= 9 { 9 } else { 8 };
        let mut body: Bytes = bytes.slice(front..);
        let decoded = ProduceResponse::decode(&mut body, version).expect("it is one");
        assert!(body.is_empty(), "{body:?}");
        decoded
    }

    #[test]
    fn who_asks_the_wrong_broker_is_told_the_leader() {
        let wrong = ErrorCode::NotLeaderOrFollower;
        for version in 8..=13 {
            let errors = [(0, wrong), (1, ErrorCode::CorruptMessage), (2, wrong), (3, wrong)];
            let answer = answered(version, &[errors.as_slice(), &[(4, wrong)]].concat());
            let told: Vec<_> = answer.responses[0]
                .partition_responses
                .iter()
                .map(|it| (it.current_leader.leader_id.0, it.current_leader.leader_epoch))
                .collect();
            let endpoints: Vec<_> = answer
                .node_endpoints
                .iter()
                .map(|it| (it.node_id.0, it.host.as_str(), it.port, it.rack.as_deref()))
                .collect();
            if version < 10 {
                assert_eq!((told, endpoints), (vec![(-1, -1); 5], vec![]), "v{version}");
                continue;
            }
            // Only those who lead elsewhere are named, and where one is that is there, once.
            assert_eq!(told, [(2, 5), (-1, -1), (2, 5), (3, 5), (-1, 5)], "v{version}");
            assert_eq!(endpoints, [(2, "host-2", 9092, Some("r"))], "v{version}");
        }
    }
}
