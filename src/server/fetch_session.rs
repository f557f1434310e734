//! Fetch sessions (KIP-227) at the edge of a fetch: what a request of a session asks for, and what
//! of an answer is told. What is remembered, and for whom, decides `ottla_replication::sessions`.

use std::sync::{Arc, Mutex, MutexGuard};

use ottla_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_protocol::messages::{
    FetchRequest, StrBytes, TopicName as WireName, from_wire_uuid, to_wire_uuid,
};
use ottla_protocol::produce::TopicRef;
use ottla_replication::sessions::{
    Asked, Change, FINAL_EPOCH, FetchSessions, INITIAL_EPOCH, Session, SessionError,
    SessionPartition, SessionTopic, Told,
};
use ottla_runtime::Runtime;
use ottla_types::ErrorCode;

const SESSIONS_FROM: i16 = 7;
const TOPIC_IDS_FROM: i16 = 13;

/// The sessions of a node. Copies share them.
#[derive(Clone)]
pub struct Sessions {
    runtime: Runtime,
    shared: Arc<Mutex<FetchSessions>>,
}

/// How a fetch stands to sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Context {
    /// It has none.
    Sessionless,
    /// It wants to begin one.
    Full { by_id: bool, is_broker: bool },
    /// It goes on with one.
    Incremental { id: i32, epoch: i32 },
}

/// What an answer says of sessions.
pub(crate) struct Ending {
    /// The client's session, or 0.
    pub(crate) session_id: i32,
    /// Which of the partitions that were read are told; `None` is all.
    pub(crate) told: Option<Vec<bool>>,
}

impl Sessions {
    /// Sessions that are remembered in `shared`.
    #[must_use]
    pub fn new(runtime: Runtime, shared: FetchSessions) -> Sessions {
        Sessions { runtime, shared: Arc::new(Mutex::new(shared)) }
    }

    fn lock(&self) -> MutexGuard<'_, FetchSessions> {
        self.shared.lock().expect("nothing panics while it is held")
    }

    /// Begins a fetch. That of a session gets the session's partitions.
    ///
    /// # Errors
    /// What the client is told when it must begin anew.
    pub(crate) fn begin(
        &self,
        version: i16,
        is_broker: bool,
        body: &mut FetchRequest,
    ) -> Result<Context, ErrorCode> {
        if version < SESSIONS_FROM {
            return Ok(Context::Sessionless);
        }
        let (id, epoch) = (body.session_id, body.session_epoch);
        let by_id = version >= TOPIC_IDS_FROM;
        if matches!(epoch, INITIAL_EPOCH | FINAL_EPOCH) {
            if id != 0 {
                self.lock().remove(id);
            }
            return Ok(match epoch {
                FINAL_EPOCH => Context::Sessionless,
                _ => Context::Full { by_id, is_broker },
            });
        }
        let change = change(body, by_id);
        let now = self.runtime.clock().now();
        let read = self.lock().step(id, epoch, change, now).map_err(code)?;
        let is_empty = read.is_empty();
        body.topics = topics(read);
        Ok(if is_empty { Context::Sessionless } else { Context::Incremental { id, epoch } })
    }

    /// Ends a fetch with what was read, in the order in which it was asked for.
    ///
    /// # Errors
    /// What the client is told when its session is gone, or further.
    pub(crate) fn end(
        &self,
        context: Context,
        read: impl Iterator<Item = (SessionPartition, Told)>,
    ) -> Result<Ending, ErrorCode> {
        match context {
            Context::Sessionless => Ok(Ending { session_id: 0, told: None }),
            Context::Full { by_id, is_broker } => {
                let session = Session::new(by_id, read);
                let now = self.runtime.clock().now();
                let mut lot = || self.runtime.entropy().bits();
                let session_id = self.lock().create(session, is_broker, now, &mut lot);
                Ok(Ending { session_id, told: None })
            }
            Context::Incremental { id, epoch } => {
                let read: Vec<_> = read.map(|(_, told)| told).collect();
                let told = self.lock().tell(id, epoch, &read).map_err(code)?;
                Ok(Ending { session_id: id, told: Some(told) })
            }
        }
    }
}

fn code(error: SessionError) -> ErrorCode {
    match error {
        SessionError::NotFound => ErrorCode::FetchSessionIdNotFound,
        SessionError::InvalidEpoch => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicIds => ErrorCode::FetchSessionTopicIdError,
    }
}

/// What is asked of a partition, as a session keeps it.
pub(crate) fn asked(partition: &FetchPartition) -> Asked {
    Asked {
        fetch_offset: partition.fetch_offset,
        bytes_max: partition.partition_max_bytes,
        current_leader_epoch: partition.current_leader_epoch,
        last_fetched_epoch: partition.last_fetched_epoch,
    }
}

/// A topic of a request, as a session keeps it.
pub(crate) fn session_topic(topic: &TopicRef) -> SessionTopic {
    match topic {
        TopicRef::Name(name) => SessionTopic::Name(name.to_string()),
        TopicRef::Id(id) => SessionTopic::Id(*id),
    }
}

fn change(body: &FetchRequest, by_id: bool) -> Change {
    let named = |name: &WireName, id| match by_id {
        true => SessionTopic::Id(from_wire_uuid(id)),
        false => SessionTopic::Name(name.to_string()),
    };
    let partitions = body.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| SessionPartition {
            topic: named(&topic.topic, topic.topic_id),
            index: partition.partition,
            asked: asked(partition),
        })
    });
    let forgotten = body.forgotten_topics_data.iter().flat_map(|topic| {
        let indexes = topic.partitions.iter();
        indexes.map(|index| (named(&topic.topic, topic.topic_id), *index))
    });
    Change { by_id, asked: partitions.collect(), forgotten: forgotten.collect() }
}

/// Partitions in their order, those of a topic together where they follow each other.
fn topics(partitions: Vec<SessionPartition>) -> Vec<FetchTopic> {
    let mut topics: Vec<(SessionTopic, FetchTopic)> = Vec::new();
    for SessionPartition { topic, index, asked } in partitions {
        let partition = FetchPartition::default()
            .with_partition(index)
            .with_fetch_offset(asked.fetch_offset)
            .with_partition_max_bytes(asked.bytes_max)
            .with_current_leader_epoch(asked.current_leader_epoch)
            .with_last_fetched_epoch(asked.last_fetched_epoch);
        match topics.last_mut() {
            Some((last, into)) if *last == topic => into.partitions.push(partition),
            _ => {
                let into = match &topic {
                    SessionTopic::Name(name) => FetchTopic::default()
                        .with_topic(WireName(StrBytes::from_string(name.clone()))),
                    SessionTopic::Id(id) => FetchTopic::default().with_topic_id(to_wire_uuid(*id)),
                };
                topics.push((topic, into.with_partitions(vec![partition])));
            }
        }
    }
    topics.into_iter().map(|(_, topic)| topic).collect()
}
