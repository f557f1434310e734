//! Topics as answers to Metadata have them, encoded already: clients ask for the same ones again
//! and again, and the cluster seldom changes.
//!
//! Versions: those of Metadata (3).
//!
//! Errors: none of its own.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use bytes::{BufMut, Bytes, BytesMut};
use ottla_metadata::image::Provenance;
use ottla_protocol::messages::metadata_response::MetadataResponseTopic;
use ottla_protocol::messages::{Encodable, MetadataResponse, encode_response};
use ottla_protocol::{ApiKey, RequestHeader};
use ottla_types::Uuid;

use crate::response::Response;

/// Kinds of answers that are kept: clients of a cluster speak few versions.
const KINDS_MAX: usize = 8;
const FLEXIBLE_FROM: i16 = 9;

/// Topics that are encoded already, for answers of one kind each.
#[derive(Default)]
pub struct KeptTopics {
    /// The kind that was asked for last is the last one.
    kinds: Mutex<Vec<Kind>>,
}

/// What the encoding of a topic depends on beside the topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct For<'a> {
    /// Of the answer.
    pub(super) version: i16,
    /// The listener that the request came through: leaders without it are none.
    pub(super) listener: &'a str,
    /// The image.
    pub(super) as_of: Provenance,
}

/// Those of one kind.
pub(super) struct Kind {
    version: i16,
    listener: String,
    as_of: Provenance,
    each: BTreeMap<Uuid, Bytes>,
    all: Option<Bytes>,
}

/// Those of one kind, while nobody else looks.
pub(super) struct Opened<'a>(MutexGuard<'a, Vec<Kind>>);

impl KeptTopics {
    /// What is kept of this kind; nothing, when the cluster has changed since.
    pub(super) fn open(&self, wanted: &For<'_>) -> Opened<'_> {
        let mut kinds = self.kinds.lock().expect("never poisoned");
        let is_wanted =
            |kind: &Kind| kind.version == wanted.version && kind.listener == wanted.listener;
        let found = kinds.iter().position(is_wanted).filter(|at| {
            // What is not true any more only takes memory.
            kinds[*at].as_of == wanted.as_of
        });
        match found {
            Some(at) if at + 1 == kinds.len() => {}
            Some(at) => kinds[at..].rotate_left(1),
            None => {
                kinds.retain(|kind| kind.as_of == wanted.as_of && !is_wanted(kind));
                if kinds.len() == KINDS_MAX {
                    kinds.remove(0);
                }
                kinds.push(Kind {
                    version: wanted.version,
                    listener: wanted.listener.to_owned(),
                    as_of: wanted.as_of,
                    each: BTreeMap::new(),
                    all: None,
                });
            }
        }
        Opened(kinds)
    }
}

impl Opened<'_> {
    fn kind(&mut self) -> &mut Kind {
        self.0.last_mut().expect("opened with one")
    }

    /// A topic, encoded now if it was not before.
    pub(super) fn topic(
        &mut self,
        id: Uuid,
        describe: impl FnOnce() -> MetadataResponseTopic,
    ) -> Bytes {
        let kind = self.kind();
        let version = kind.version;
        kind.each.entry(id).or_insert_with(|| encoded([describe()], version)).clone()
    }

    /// All topics, encoded now if they were not before.
    pub(super) fn all(&mut self, describe: impl Iterator<Item = MetadataResponseTopic>) -> Bytes {
        let kind = self.kind();
        let version = kind.version;
        kind.all.get_or_insert_with(|| encoded(describe, version)).clone()
    }
}

/// Topics behind each other.
pub(super) fn encoded(
    topics: impl IntoIterator<Item = MetadataResponseTopic>,
    version: i16,
) -> Bytes {
    let mut out = BytesMut::new();
    for topic in topics {
        topic.encode(&mut out, version).expect("handlers build what the version can say");
    }
    out.freeze()
}

/// The topics of an answer.
#[derive(Default)]
pub(super) struct Encoded {
    /// How many there are.
    pub(super) count: usize,
    /// Their bytes, in pieces.
    pub(super) pieces: Vec<Bytes>,
}

impl Encoded {
    /// Adds one.
    pub(super) fn push(&mut self, topic: Bytes) {
        self.count += 1;
        self.pieces.push(topic);
    }
}

/// An answer of `rest`, which has no topics, and `topics`.
pub(super) fn answer(header: &RequestHeader, rest: &MetadataResponse, topics: Encoded) -> Response {
    let version = header.api_version;
    let mut around = BytesMut::new();
    encode_response(rest, ApiKey::Metadata, version, &mut around);
    let after = around.split_off(around.len() - tail_len(version));
    around.truncate(around.len() - if version >= FLEXIBLE_FROM { 1 } else { 4 });
    put_count(&mut around, topics.count, version);
    Response::of_pieces(header, &around, topics.pieces, &after)
}

/// Bytes of an answer behind its topics.
fn tail_len(version: i16) -> usize {
    let operations = if (8..=10).contains(&version) { 4 } else { 0 };
    let error = if version >= 13 { 2 } else { 0 };
    let tags = usize::from(version >= FLEXIBLE_FROM);
    operations + error + tags
}

fn put_count(out: &mut BytesMut, count: usize, version: i16) {
    let count = u32::try_from(count).expect("topics are in memory");
    if version < FLEXIBLE_FROM {
        out.put_u32(count);
        return;
    }
    let mut rest = count + 1;
    while rest >= 0x80 {
        out.put_u8(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition,
    };
    use ottla_protocol::messages::{BrokerId, StrBytes, TopicName};
    use ottla_types::Offset;

    use super::*;
    use crate::response::Chunk;

    fn topic(number: usize) -> MetadataResponseTopic {
        let partition = MetadataResponsePartition::default().with_leader_id(BrokerId(1));
        MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_string(format!("topic-{number}")))))
            .with_partitions(vec![partition; number % 3])
    }

    fn bytes(response: Response) -> Vec<u8> {
        let chunks = response.chunks.into_iter().map(|chunk| match chunk {
            Chunk::Bytes(bytes) => bytes,
            Chunk::Extent(_) => panic!("of no file"),
        });
        chunks.collect::<Vec<_>>().concat()
    }

    #[test]
    fn pieces_are_what_the_whole_would_be() {
        for version in 0..=13 {
            let header = RequestHeader {
                api_key: ApiKey::Metadata,
                api_version: version,
                correlation_id: 7,
                client_id: StrBytes::default(),
            };
            for count in [0, 1, 126, 127, 300] {
                let broker = MetadataResponseBroker::default().with_node_id(BrokerId(3));
                let mut rest = MetadataResponse::default().with_brokers(vec![broker]);
                if (8..=10).contains(&version) {
                    rest.cluster_authorized_operations = 77;
                }
                let mut topics = Encoded::default();
                (0..count).for_each(|it| topics.push(encoded([topic(it)], version)));
                let all = encoded((0..count).map(topic), version);
                let at_once = Encoded { count, pieces: vec![all] };
                let whole = rest.clone().with_topics((0..count).map(topic).collect());
                let expected = bytes(Response::encode(&header, &whole));
                assert_eq!(bytes(answer(&header, &rest, topics)), expected, "{version} {count}");
                assert_eq!(bytes(answer(&header, &rest, at_once)), expected, "{version} {count}");
            }
        }
    }

    #[test]
    fn what_is_kept_is_of_one_image_listener_and_version() {
        let kept = KeptTopics::default();
        let wanted = |version, listener, offset| For {
            version,
            listener,
            as_of: Provenance { offset: Offset(offset), ..Provenance::NOTHING },
        };
        let id = Uuid([1; 16]);
        let get = |wanted: &For<'_>, number| {
            let got = kept.open(wanted).topic(id, || topic(number));
            (0..100).find(|it| encoded([topic(*it)], wanted.version) == got).expect("one of them")
        };
        assert_eq!(get(&wanted(9, "A", 1), 1), 1);
        assert_eq!(get(&wanted(9, "A", 1), 2), 1, "kept");
        assert_eq!(get(&wanted(9, "B", 1), 3), 3, "another listener");
        assert_eq!(get(&wanted(8, "A", 1), 4), 4, "another version");
        assert_eq!(get(&wanted(9, "A", 1), 5), 1, "kept");
        assert_eq!(get(&wanted(9, "A", 2), 6), 6, "the metadata went on");
        assert_eq!(kept.kinds.lock().unwrap().len(), 1, "others are of a cluster that was");
        for version in 0..=13 {
            get(&wanted(version, "A", 2), 7);
        }
        assert_eq!(kept.kinds.lock().unwrap().len(), KINDS_MAX);
        let all = |wanted: &For<'_>, number| kept.open(wanted).all([topic(number)].into_iter());
        assert_eq!(all(&wanted(9, "A", 2), 1), encoded([topic(1)], 9));
        assert_eq!(all(&wanted(9, "A", 2), 2), encoded([topic(1)], 9), "kept");
    }
}
