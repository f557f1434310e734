//! Fetch answers, written by hand: the records stay where they are and only their length is
//! written between them.
//!
//! Versions 4 to 18: names up to 12, topic ids from 13 on; flexible from 12 on.

use ottla_types::{LeaderEpoch, NodeId, Offset, ProducerId};

use crate::codec::Writer;
use crate::produce::TopicRef;

const SESSIONS_FROM: i16 = 7;
const LOG_START_FROM: i16 = 5;
const PREFERRED_REPLICA_FROM: i16 = 11;
const FLEXIBLE_FROM: i16 = 12;
const ENDPOINTS_FROM: i16 = 16;

/// Records of an answer: bytes in memory or a piece of a file.
pub trait RecordBytes {
    /// Their length in bytes.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A transaction that a `read_committed` reader must leave out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer_id: ProducerId,
    /// Its first offset.
    pub first_offset: Offset,
}

/// The answer for one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionAnswer<R> {
    /// Index of the partition.
    pub index: i32,
    /// Error, or 0.
    pub error_code: i16,
    /// High watermark; -1 with an error.
    pub high_watermark: Offset,
    /// Last stable offset; -1 with an error.
    pub last_stable_offset: Offset,
    /// First offset of the log; -1 with an error.
    pub log_start_offset: Offset,
    /// The largest epoch and its end that the leader shares with a follower that diverged.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// The leader, told to a client that asked another broker (KIP-951).
    pub current_leader: Option<(NodeId, LeaderEpoch)>,
    /// Aborted transactions; `None` for `read_uncommitted` readers.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// Records. Without any, an empty field is written, never null: clients fail on null.
    pub records: Option<R>,
}

/// The answer for one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicAnswer<R> {
    /// The topic as the request named it.
    pub topic: TopicRef,
    /// Its partitions.
    pub partitions: Vec<PartitionAnswer<R>>,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchAnswer<R> {
    /// Time the client is asked to wait, ms.
    pub throttle_ms: i32,
    /// Error of the whole request, or 0.
    pub error_code: i16,
    /// Session of the client, or 0.
    pub session_id: i32,
    /// Topics.
    pub topics: Vec<TopicAnswer<R>>,
    /// Where the leaders are that partitions name (KIP-951), from version 16 on.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// Where a node listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeEndpoint {
    /// The node.
    pub id: NodeId,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its rack.
    pub rack: Option<String>,
}

/// A part of an encoded answer, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece<R> {
    /// Bytes of the protocol.
    Bytes(Vec<u8>),
    /// Records.
    Records(R),
}

impl<R> PartitionAnswer<R> {
    /// The answer for a partition that cannot be read.
    #[must_use]
    pub fn error(index: i32, error_code: i16) -> PartitionAnswer<R> {
        PartitionAnswer {
            index,
            error_code,
            high_watermark: Offset(-1),
            last_stable_offset: Offset(-1),
            log_start_offset: Offset(-1),
            diverging: None,
            current_leader: None,
            aborted: None,
            records: None,
        }
    }
}

impl<R: RecordBytes> FetchAnswer<R> {
    /// The body of an answer of `version` (4 to 18), behind what `writer` holds already.
    #[must_use]
    pub fn encode(self, version: i16, writer: Writer) -> Vec<Piece<R>> {
        let mut encoder =
            Encoder { version, flexible: version >= FLEXIBLE_FROM, writer, pieces: Vec::new() };
        encoder.answer(self);
        encoder.pieces.push(Piece::Bytes(encoder.writer.into_bytes()));
        encoder.pieces
    }
}

struct Encoder<R> {
    version: i16,
    flexible: bool,
    writer: Writer,
    pieces: Vec<Piece<R>>,
}

impl<R: RecordBytes> Encoder<R> {
    fn answer(&mut self, answer: FetchAnswer<R>) {
        self.writer.i32(answer.throttle_ms);
        if self.version >= SESSIONS_FROM {
            self.writer.i16(answer.error_code);
            self.writer.i32(answer.session_id);
        }
        self.writer.len_field(Some(answer.topics.len()), self.flexible);
        for topic in answer.topics {
            match &topic.topic {
                TopicRef::Name(name) => self.writer.nullable_str(Some(name), self.flexible),
                TopicRef::Id(id) => self.writer.uuid(*id),
            }
            self.writer.len_field(Some(topic.partitions.len()), self.flexible);
            for partition in topic.partitions {
                self.partition(partition);
            }
            self.no_tags();
        }
        if self.version >= ENDPOINTS_FROM && !answer.node_endpoints.is_empty() {
            self.endpoints(&answer.node_endpoints);
        } else {
            self.no_tags();
        }
    }

    fn endpoints(&mut self, endpoints: &[NodeEndpoint]) {
        let mut field = Writer::new();
        field.len_field(Some(endpoints.len()), true);
        for endpoint in endpoints {
            field.i32(endpoint.id.0);
            field.nullable_str(Some(&endpoint.host), true);
            field.i32(i32::from(endpoint.port));
            field.nullable_str(endpoint.rack.as_deref(), true);
            field.uvarint(0);
        }
        let field = field.into_bytes();
        self.writer.uvarint(1);
        self.writer.uvarint(0);
        self.writer.uvarint(field.len() as u32);
        self.writer.raw(&field);
    }

    fn partition(&mut self, partition: PartitionAnswer<R>) {
        let writer = &mut self.writer;
        writer.i32(partition.index);
        writer.i16(partition.error_code);
        writer.i64(partition.high_watermark.0);
        writer.i64(partition.last_stable_offset.0);
        if self.version >= LOG_START_FROM {
            writer.i64(partition.log_start_offset.0);
        }
        writer.len_field(partition.aborted.as_ref().map(Vec::len), self.flexible);
        for aborted in partition.aborted.iter().flatten() {
            writer.i64(aborted.producer_id.0);
            writer.i64(aborted.first_offset.0);
            if self.flexible {
                writer.uvarint(0);
            }
        }
        if self.version >= PREFERRED_REPLICA_FROM {
            writer.i32(-1);
        }
        let len = partition.records.as_ref().map_or(0, RecordBytes::len);
        writer.len_field(Some(len), self.flexible);
        if let Some(records) = partition.records.filter(|records| !records.is_empty()) {
            let bytes = std::mem::take(&mut self.writer).into_bytes();
            self.pieces.push(Piece::Bytes(bytes));
            self.pieces.push(Piece::Records(records));
        }
        if self.flexible {
            self.partition_tags(partition.diverging, partition.current_leader);
        }
    }

    fn partition_tags(
        &mut self,
        diverging: Option<(LeaderEpoch, Offset)>,
        current_leader: Option<(NodeId, LeaderEpoch)>,
    ) {
        let writer = &mut self.writer;
        writer.uvarint(u32::from(diverging.is_some()) + u32::from(current_leader.is_some()));
        if let Some((epoch, end)) = diverging {
            writer.uvarint(0);
            writer.uvarint(13);
            writer.i32(epoch.0);
            writer.i64(end.0);
            writer.uvarint(0);
        }
        if let Some((leader, epoch)) = current_leader {
            writer.uvarint(1);
            writer.uvarint(9);
            writer.i32(leader.0);
            writer.i32(epoch.0);
            writer.uvarint(0);
        }
    }

    fn no_tags(&mut self) {
        if self.flexible {
            self.writer.uvarint(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages::fetch_response as crate_form;
    use kafka_protocol::messages::{BrokerId, ProducerId as CrateProducerId, TopicName};
    use kafka_protocol::protocol::{Encodable, StrBytes};
    use ottla_types::Uuid;

    use super::*;

    impl RecordBytes for Bytes {
        fn len(&self) -> usize {
            Bytes::len(self)
        }
    }

    fn partitions(version: i16) -> Vec<PartitionAnswer<Bytes>> {
        let flexible = version >= FLEXIBLE_FROM;
        let read = PartitionAnswer {
            index: 3,
            error_code: 0,
            high_watermark: Offset(100),
            last_stable_offset: Offset(90),
            log_start_offset: Offset(5),
            diverging: None,
            current_leader: None,
            aborted: Some(vec![AbortedTransaction {
                producer_id: ProducerId(8),
                first_offset: Offset(7),
            }]),
            records: Some(Bytes::from_static(b"some records")),
        };
        let diverged = PartitionAnswer {
            diverging: flexible.then_some((LeaderEpoch(4), Offset(44))),
            current_leader: flexible.then_some((NodeId(2), LeaderEpoch(5))),
            ..PartitionAnswer::error(1, 6)
        };
        vec![read, diverged, PartitionAnswer::error(2, 3)]
    }

    fn crate_partition(from: &PartitionAnswer<Bytes>) -> crate_form::PartitionData {
        let mut data = crate_form::PartitionData::default()
            .with_partition_index(from.index)
            .with_error_code(from.error_code)
            .with_high_watermark(from.high_watermark.0)
            .with_last_stable_offset(from.last_stable_offset.0)
            .with_log_start_offset(from.log_start_offset.0)
            .with_preferred_read_replica(BrokerId(-1))
            .with_records(Some(from.records.clone().unwrap_or_default()));
        data.aborted_transactions = from.aborted.as_ref().map(|aborted| {
            let convert = |a: &AbortedTransaction| {
                crate_form::AbortedTransaction::default()
                    .with_producer_id(CrateProducerId(a.producer_id.0))
                    .with_first_offset(a.first_offset.0)
            };
            aborted.iter().map(convert).collect()
        });
        if let Some((epoch, end)) = from.diverging {
            data.diverging_epoch =
                crate_form::EpochEndOffset::default().with_epoch(epoch.0).with_end_offset(end.0);
        }
        if let Some((leader, epoch)) = from.current_leader {
            data.current_leader = crate_form::LeaderIdAndEpoch::default()
                .with_leader_id(BrokerId(leader.0))
                .with_leader_epoch(epoch.0);
        }
        data
    }

    fn flatten(pieces: Vec<Piece<Bytes>>) -> Vec<u8> {
        let bytes = |piece: Piece<Bytes>| match piece {
            Piece::Bytes(bytes) => bytes,
            Piece::Records(records) => records.to_vec(),
        };
        pieces.into_iter().flat_map(bytes).collect()
    }

    #[test]
    fn every_version_has_the_bytes_that_the_crate_writes() {
        for version in 4..=18 {
            let by_id = version >= 13;
            let sessions = version >= SESSIONS_FROM;
            let topic = if by_id {
                TopicRef::Id(Uuid([9; 16]))
            } else {
                TopicRef::Name(StrBytes::from_static_str("t"))
            };
            let mut expected_topic = crate_form::FetchableTopicResponse::default();
            if by_id {
                expected_topic.topic_id = uuid::Uuid::from_bytes([9; 16]);
            } else {
                expected_topic.topic = TopicName(StrBytes::from_static_str("t"));
            }
            expected_topic.partitions = partitions(version).iter().map(crate_partition).collect();
            let endpoint = crate_form::NodeEndpoint::default()
                .with_node_id(BrokerId(2))
                .with_host(StrBytes::from_static_str("there"))
                .with_port(9092)
                .with_rack(Some(StrBytes::from_static_str("r")));
            let endpoints = if version >= ENDPOINTS_FROM { vec![endpoint] } else { Vec::new() };
            let expected = crate_form::FetchResponse::default()
                .with_node_endpoints(endpoints)
                .with_throttle_time_ms(5)
                .with_session_id(if sessions { 77 } else { 0 })
                .with_responses(vec![expected_topic]);
            let mut expected_bytes = BytesMut::new();
            expected.encode(&mut expected_bytes, version).expect("the crate writes it");

            let topics = vec![TopicAnswer { topic, partitions: partitions(version) }];
            let endpoint = NodeEndpoint {
                id: NodeId(2),
                host: "there".to_owned(),
                port: 9092,
                rack: Some("r".to_owned()),
            };
            let answer = FetchAnswer {
                throttle_ms: 5,
                error_code: 0,
                session_id: 77,
                topics,
                node_endpoints: vec![endpoint],
            };
            let pieces = answer.encode(version, Writer::new());
            assert_eq!(pieces.len(), 3, "bytes, records, bytes");
            assert_eq!(flatten(pieces), expected_bytes, "version {version}");
        }
    }
}
