//! Produce requests, read by hand: the data path must not copy records or build maps.
//!
//! Versions 3 to 13: names up to 12, topic ids (KIP-516) from 13 on; flexible from 9 on. The
//! records stay slices of the request's memory.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use ottla_types::Uuid;

use crate::codec::{DecodeError, Decoded, Reader};

/// Topics and partitions in one request. Kafka 4.4 refuses arrays above a million elements; each
/// costs about sixty bytes here.
const ELEMENTS_MAX: usize = 1_000_000;
const FLEXIBLE_FROM: i16 = 9;
const TOPIC_IDS_FROM: i16 = 13;

/// A topic as a request names it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TopicRef {
    /// By its name.
    Name(StrBytes),
    /// By its id.
    Id(Uuid),
}

impl TopicRef {
    /// Holds the request's bytes no longer, of which a name is a slice.
    pub fn let_go(&mut self) {
        if let TopicRef::Name(name) = self {
            *name = StrBytes::from_string(name.to_string());
        }
    }
}

/// Batches for one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionRecords {
    /// Index of the partition, not checked.
    pub index: i32,
    /// Record batches; `None` is null.
    pub records: Option<Bytes>,
}

/// Batches for one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicRecords {
    /// The topic.
    pub topic: TopicRef,
    /// Its partitions, in the order of the request.
    pub partitions: Vec<PartitionRecords>,
}

/// A Produce request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProduceRequest {
    /// Transactional id, when the producer has one.
    pub transactional_id: Option<StrBytes>,
    /// 0, 1 or -1 (all), not checked.
    pub acks: i16,
    /// Longest wait for the acknowledgements, ms.
    pub timeout_ms: i32,
    /// Topics, in the order of the request.
    pub topics: Vec<TopicRecords>,
}

impl ProduceRequest {
    /// Reads the body of a request of `version` (3 to 13).
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(body: &Bytes, version: i16) -> Decoded<ProduceRequest> {
        let mut decoder = Decoder {
            body,
            reader: Reader::new(body),
            flexible: version >= FLEXIBLE_FROM,
            topic_ids: version >= TOPIC_IDS_FROM,
            elements: 0,
        };
        decoder.request()
    }
}

struct Decoder<'a> {
    body: &'a Bytes,
    reader: Reader<'a>,
    flexible: bool,
    topic_ids: bool,
    elements: usize,
}

impl Decoder<'_> {
    fn request(&mut self) -> Decoded<ProduceRequest> {
        let transactional_id = self.string()?;
        let acks = self.reader.i16()?;
        let timeout_ms = self.reader.i32()?;
        let topics = self.array(Decoder::topic)?;
        self.tags()?;
        Ok(ProduceRequest { transactional_id, acks, timeout_ms, topics })
    }

    fn topic(&mut self) -> Decoded<TopicRecords> {
        let topic = if self.topic_ids {
            TopicRef::Id(self.reader.uuid()?)
        } else {
            TopicRef::Name(self.string()?.ok_or(DecodeError::BadLength)?)
        };
        let partitions = self.array(Decoder::partition)?;
        self.tags()?;
        Ok(TopicRecords { topic, partitions })
    }

    fn partition(&mut self) -> Decoded<PartitionRecords> {
        let index = self.reader.i32()?;
        let records = match self.reader.len(self.flexible)? {
            None => None,
            Some(len) => Some(self.body.slice(self.reader.take_range(len)?)),
        };
        self.tags()?;
        Ok(PartitionRecords { index, records })
    }

    fn array<T>(&mut self, element: fn(&mut Self) -> Decoded<T>) -> Decoded<Vec<T>> {
        // Grown by what is really read: a count is only a claim.
        let count = self.reader.array_len(self.flexible, 1)?.ok_or(DecodeError::BadLength)?;
        self.elements = self.elements.saturating_add(count);
        if self.elements > ELEMENTS_MAX {
            return Err(DecodeError::TooManyElements);
        }
        let mut elements = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    fn string(&mut self) -> Decoded<Option<StrBytes>> {
        let Some(len) = self.reader.string_len(self.flexible)? else { return Ok(None) };
        let bytes = self.body.slice(self.reader.take_range(len)?);
        StrBytes::from_utf8(bytes).map(Some).map_err(|_| DecodeError::BadUtf8)
    }

    fn tags(&mut self) -> Decoded<()> {
        if self.flexible { self.reader.skip_tags() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::messages::produce_request as crate_form;
    use kafka_protocol::protocol::Encodable;

    use super::*;

    /// A request of the crate and what reading its bytes must give.
    fn sample(version: i16) -> (BytesMut, ProduceRequest) {
        let names: &[&str] = &["a", "topic.with-a_longer.name"];
        let mut request = crate_form::ProduceRequest::default()
            .with_transactional_id(Some(StrBytes::from_static_str("tx").into()))
            .with_acks(-1)
            .with_timeout_ms(1500);
        let mut topics = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let id = [index as u8 + 1; 16];
            let mut data = crate_form::TopicProduceData::default();
            let topic = if version >= TOPIC_IDS_FROM {
                data = data.with_topic_id(kafka_protocol_uuid(id));
                TopicRef::Id(Uuid(id))
            } else {
                data = data.with_name(TopicName(StrBytes::from_static_str(name)));
                TopicRef::Name(StrBytes::from_static_str(name))
            };
            let mut partitions = Vec::new();
            for index in 0..3 {
                let records = (index > 0).then(|| Bytes::from(vec![7; index as usize * 100]));
                let partition = crate_form::PartitionProduceData::default()
                    .with_index(index)
                    .with_records(records.clone());
                data.partition_data.push(partition);
                partitions.push(PartitionRecords { index, records });
            }
            request.topic_data.push(data);
            topics.push(TopicRecords { topic, partitions });
        }
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes, version).expect("the crate writes its own request");
        let transactional_id = Some(StrBytes::from_static_str("tx"));
        (bytes, ProduceRequest { transactional_id, acks: -1, timeout_ms: 1500, topics })
    }

    fn kafka_protocol_uuid(bytes: [u8; 16]) -> uuid::Uuid {
        uuid::Uuid::from_bytes(bytes)
    }

    #[test]
    fn every_version_is_read_as_the_crate_writes_it() {
        for version in 3..=13 {
            let (bytes, expected) = sample(version);
            let read = ProduceRequest::decode(&bytes.freeze(), version);
            assert_eq!(read, Ok(expected), "version {version}");
        }
    }

    #[test]
    fn cut_and_lying_requests_are_errors() {
        for version in [3, 9, 13] {
            let bytes = sample(version).0.freeze();
            for len in 0..bytes.len() {
                let cut = ProduceRequest::decode(&bytes.slice(..len), version);
                assert!(cut.is_err(), "version {version} cut at {len}");
            }
        }
        let a_billion_topics = [&[0xff, 0xff, 0, 1, 0, 0, 0, 9, 0x3b, 0x9a, 0xca, 0][..], &[0; 40]];
        let lying = Bytes::from(a_billion_topics.concat());
        assert_eq!(ProduceRequest::decode(&lying, 3), Err(DecodeError::TooManyElements));
        let mut many = vec![0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0x20, 0, 0];
        many.resize(20 << 20, 0);
        assert_eq!(ProduceRequest::decode(&many.into(), 3), Err(DecodeError::TooManyElements));
    }
}
