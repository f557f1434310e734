//! What clients were promised.
//!
//! Pure: clients tell it what they sent and what they were answered, and it says what contradicts
//! what came before. With one replica, everything that was ever read is promised as well: a read
//! ends at the high watermark, which under `flush.messages=1` is durable, and which no kill moves.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::compacted::Gone;
use super::plan::Retention;

/// A partition of one incarnation of a topic.
pub type Place = (Uuid, i32);

/// A record's value, unique in the world: its producer and its number there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Value {
    pub producer: u32,
    pub number: u32,
}

/// How far a topic is, as far as its creator was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicFate {
    /// Acknowledged as created.
    Exists,
    /// Its deletion was asked for.
    Leaving,
    /// Acknowledged as deleted.
    Deleted,
}

/// A topic whose creation was acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    pub id: Uuid,
    pub name: String,
    pub partitions: i32,
    /// How many it may have: more were asked for.
    pub partitions_max: i32,
    pub fate: TopicFate,
    /// Never deleted, so that it can be used by its name.
    pub stable: bool,
    /// Created with a `cleanup.policy` that holds `compact`.
    pub compacted: bool,
}

/// What is known of a partition.
#[derive(Default)]
pub struct Log {
    by_offset: BTreeMap<i64, Value>,
    by_value: BTreeMap<Value, i64>,
    sent: BTreeSet<Value>,
    /// Every offset below this was promised.
    floor: i64,
    /// Everything below this was told to be deleted.
    start: i64,
    /// An operator may have deleted everything below this.
    deletable: i64,
    /// Bytes of the batch that begins with a value.
    sizes: BTreeMap<Value, usize>,
    /// What compaction has taken.
    gone: Gone,
}

/// Everything that was promised.
#[derive(Default)]
pub struct Model {
    topics: BTreeMap<Uuid, Topic>,
    /// Names whose creation was never answered.
    names_in_doubt: BTreeSet<String>,
    logs: BTreeMap<Place, Log>,
    producer_ids: BTreeSet<i64>,
    cluster_id: Option<String>,
    retention: Option<Retention>,
    /// Whether nothing is lost that counted when retention deleted something.
    exact: bool,
    /// Whether tombstones stay.
    keeps_tombstones: bool,
    /// Answers to fetches so far.
    fetches: u64,
}

impl Value {
    /// The bytes of a record: the value, then a pattern made of it.
    pub fn encode(self, len: usize) -> Vec<u8> {
        let mut bytes = self.producer.to_be_bytes().to_vec();
        bytes.extend(self.number.to_be_bytes());
        let pattern = bytes.clone();
        bytes.extend(pattern.iter().cycle().take(len));
        bytes
    }

    /// The value in a record, when it is one.
    pub fn decode(bytes: &[u8]) -> Option<Value> {
        let producer = u32::from_be_bytes(*bytes.first_chunk()?);
        let number = u32::from_be_bytes(*bytes.get(4..)?.first_chunk()?);
        let value = Value { producer, number };
        (value.encode(bytes.len() - 8) == bytes).then_some(value)
    }
}

impl Model {
    pub fn created(&mut self, topic: Topic) -> Result<(), String> {
        self.names_in_doubt.remove(&topic.name);
        for partition in 0..topic.partitions {
            self.logs.insert((topic.id, partition), Log::default());
        }
        match self.topics.insert(topic.id, topic) {
            None => Ok(()),
            Some(before) => Err(format!("two topics have the id {}", before.id)),
        }
    }

    pub fn creation_in_doubt(&mut self, name: &str) {
        self.names_in_doubt.insert(name.to_owned());
    }

    pub fn set_fate(&mut self, id: Uuid, fate: TopicFate) {
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.fate = fate;
        }
    }

    /// A topic is asked to have `wanted` partitions, and may from now on.
    pub fn may_grow(&mut self, id: Uuid, wanted: i32) {
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.partitions_max = topic.partitions_max.max(wanted);
        }
    }

    /// A topic was acknowledged to have `count` partitions.
    pub fn grown(&mut self, id: Uuid, count: i32) {
        for partition in 0..count {
            self.logs.entry((id, partition)).or_default();
        }
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.partitions = topic.partitions.max(count);
        }
    }

    pub fn topic(&self, id: Uuid) -> Option<&Topic> {
        self.topics.get(&id)
    }

    /// Topics that clients may use.
    pub fn existing(&self) -> Vec<Topic> {
        self.topics.values().filter(|topic| topic.fate == TopicFate::Exists).cloned().collect()
    }

    pub fn all_topics(&self) -> Vec<Topic> {
        self.topics.values().cloned().collect()
    }

    /// Whether a topic of this name may exist although nobody was told.
    pub fn is_in_doubt(&self, name: &str) -> bool {
        self.names_in_doubt.contains(name)
    }

    /// Whether an answer may say that the topic does not exist.
    pub fn may_be_gone(&self, id: Uuid) -> bool {
        self.topics.get(&id).is_none_or(|topic| topic.fate != TopicFate::Exists)
    }

    pub fn floor(&self, place: Place) -> i64 {
        self.logs.get(&place).map_or(0, |log| log.floor)
    }

    pub fn saw_cluster_id(&mut self, id: &str) -> Result<(), String> {
        let known = self.cluster_id.get_or_insert_with(|| id.to_owned());
        if known == id { Ok(()) } else { Err(format!("the cluster {known} became {id}")) }
    }

    pub fn got_producer_id(&mut self, id: i64) -> Result<(), String> {
        if self.producer_ids.insert(id) {
            Ok(())
        } else {
            Err(format!("producer id {id} was given twice"))
        }
    }

    pub fn sent(&mut self, place: Place, values: &[Value], size: usize) {
        let log = self.logs.entry(place).or_default();
        log.sent.extend(values);
        log.sizes.extend(values.first().map(|first| (*first, size)));
    }

    pub fn set_retention(&mut self, retention: Retention, exact: bool) {
        (self.retention, self.exact) = (Some(retention), exact);
    }

    pub fn set_tombstones(&mut self, kept: bool) {
        self.keeps_tombstones = kept;
    }

    /// When a fetch is asked for.
    pub fn fetches(&self) -> u64 {
        self.fetches
    }

    /// A fetch from `next` got nothing below `offset`.
    pub fn passed(&mut self, place: Place, next: i64, offset: i64) {
        self.fetches += 1;
        let log = self.logs.entry(place).or_default();
        (next..offset).for_each(|offset| log.gone.note(offset, self.fetches));
    }

    /// Whether a record that was read at `offset` may be there.
    pub fn check_back(&self, place: Place, offset: i64, asked: u64) -> Result<(), String> {
        let log = self.logs.get(&place);
        let back = log.map_or(Ok(()), |log| log.gone.check_back(offset, asked));
        back.map_err(|what| format!("{place:?}: {what}"))
    }

    /// What is gone and should not be; everything that was written is known.
    pub fn check_compacted(&self, place: Place) -> Result<(), String> {
        let Some(log) = self.logs.get(&place) else { return Ok(()) };
        let checked = log.gone.check_all(&log.by_offset, log.start, self.keeps_tombstones);
        checked.map_err(|what| format!("{place:?}: {what}"))
    }

    /// What was promised, and where the log begins.
    pub fn bounds(&self, place: Place) -> (i64, i64) {
        (self.floor(place), self.start(place))
    }

    /// Where the log begins, as far as anybody was told.
    pub fn start(&self, place: Place) -> i64 {
        self.logs.get(&place).map_or(0, |log| log.start)
    }

    /// An answer says where the log begins; `before` is what was known when it was asked for.
    pub fn saw_start(&mut self, place: Place, start: i64, before: i64) -> Result<(), String> {
        let deletes = self.retention.is_some_and(|retention| retention != Retention::All);
        let log = self.logs.entry(place).or_default();
        log.start = log.start.max(start);
        if start < before {
            return Err(format!("{place:?} begins at {start}, and began at {before} before"));
        }
        if start > log.deletable && !deletes {
            return Err(format!("{place:?} begins at {start}, and nothing is to be deleted"));
        }
        Ok(())
    }

    /// An operator asks for the deletion of everything below `end`.
    pub fn may_delete(&mut self, place: Place, end: i64) {
        let log = self.logs.entry(place).or_default();
        log.deletable = log.deletable.max(end);
    }

    /// Whether `retention.bytes` was kept in `start..end`, all of which was read. `start` was told
    /// before that.
    pub fn check_kept(&self, place: Place, start: i64, end: i64) -> Result<(), String> {
        let (Some(Retention::Bytes(limit)), Some(log)) = (self.retention, self.logs.get(&place))
        else {
            return Ok(());
        };
        let sizes = log.by_offset.range(start..end).filter_map(|(_, value)| log.sizes.get(value));
        let kept: usize = sizes.sum();
        if self.exact && start > log.deletable && (kept as u64) < limit {
            return Err(format!("{place:?} keeps {kept} bytes from {start} on, {limit} are asked"));
        }
        Ok(())
    }

    pub fn acknowledged(
        &mut self,
        place: Place,
        base: i64,
        values: &[Value],
    ) -> Result<(), String> {
        let log = self.logs.entry(place).or_default();
        for (offset, value) in (base..).zip(values) {
            log.is_at(offset, *value).map_err(|what| format!("{place:?} acknowledged: {what}"))?;
        }
        Ok(())
    }

    pub fn read(&mut self, place: Place, offset: i64, bytes: &[u8]) -> Result<(), String> {
        let Some(value) = Value::decode(bytes) else {
            return Err(format!("{place:?} has something that nobody sent at {offset}"));
        };
        let log = self.logs.entry(place).or_default();
        if !log.sent.contains(&value) {
            return Err(format!("{place:?} has {value:?} at {offset}, sent to another place"));
        }
        log.is_at(offset, value).map_err(|what| format!("{place:?} read: {what}"))
    }

    /// Everything below the end was seen by somebody.
    pub fn saw_end(&mut self, place: Place, end: i64) {
        let log = self.logs.entry(place).or_default();
        log.floor = log.floor.max(end);
    }

    /// What is wrong once everything was read, from the log's start to `end`.
    pub fn check_whole(&self, place: Place, end: i64) -> Result<(), String> {
        let Some(log) = self.logs.get(&place) else { return Ok(()) };
        let is_known = |at: &i64| log.by_offset.contains_key(at) || log.gone.contains(*at);
        if let Some(gap) = (log.start..end).find(|offset| !is_known(offset)) {
            return Err(format!("{place:?} has a gap at {gap}"));
        }
        let mut last: BTreeMap<u32, u32> = BTreeMap::new();
        for (offset, value) in &log.by_offset {
            let before = last.insert(value.producer, value.number);
            if before.is_some_and(|before| before >= value.number) {
                return Err(format!("{place:?} has {value:?} at {offset}, behind {before:?}"));
            }
        }
        Ok(())
    }
}

impl Log {
    fn is_at(&mut self, offset: i64, value: Value) -> Result<(), String> {
        let there = *self.by_offset.entry(offset).or_insert(value);
        if there != value {
            return Err(format!("offset {offset} was {there:?} and is {value:?}"));
        }
        let at = *self.by_value.entry(value).or_insert(offset);
        if at != offset {
            return Err(format!("{value:?} is at {at} and at {offset}"));
        }
        self.floor = self.floor.max(offset + 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Model, Place, Retention, Value};

    const PLACE: Place = (uuid::Uuid::from_u128(1), 0);

    fn value(number: u32) -> Value {
        Value { producer: 1, number }
    }

    fn model_of(sent: u32) -> Model {
        let mut model = Model::default();
        model.sent(PLACE, &(0..sent).map(value).collect::<Vec<_>>(), 100);
        model
    }

    #[test]
    fn a_value_is_recognised_whole_or_not_at_all() {
        let bytes = value(7).encode(20);
        assert_eq!(Value::decode(&bytes), Some(value(7)));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Value::decode(&bad), Some(value(7)));
        }
    }

    #[test]
    fn a_lost_acknowledged_value_is_found() {
        let mut model = model_of(2);
        model.acknowledged(PLACE, 0, &[value(0), value(1)]).unwrap();
        model.read(PLACE, 0, &value(0).encode(0)).unwrap();
        assert_eq!(model.floor(PLACE), 2);
        assert!(model.read(PLACE, 1, &value(0).encode(0)).is_err(), "a duplicate");
        assert!(model.read(PLACE, 0, &value(1).encode(0)).is_err(), "another one there");
        assert!(model.check_whole(PLACE, 2).is_ok());
        assert!(model.check_whole(PLACE, 3).is_err(), "a gap");
    }

    #[test]
    fn order_and_origin_are_checked() {
        let mut model = model_of(3);
        model.read(PLACE, 0, &value(1).encode(0)).unwrap();
        model.read(PLACE, 1, &value(0).encode(0)).unwrap();
        assert!(model.check_whole(PLACE, 2).is_err(), "reordered");
        assert!(model.read((PLACE.0, 1), 0, &value(2).encode(0)).is_err(), "another place");
        assert!(model.read(PLACE, 2, b"nothing").is_err());
    }

    #[test]
    fn a_start_never_goes_back_and_leaves_enough() {
        let mut model = model_of(8);
        assert!(model.saw_start(PLACE, 1, 0).is_err(), "nothing is to be deleted");
        model.may_delete((PLACE.0, 1), 2);
        assert!(model.saw_start((PLACE.0, 1), 2, 0).is_ok(), "somebody asked for it");
        assert!(model.saw_start((PLACE.0, 1), 3, 2).is_err(), "nobody asked for more");
        model.set_retention(Retention::Bytes(150), true);
        model.acknowledged(PLACE, 0, &[value(0)]).unwrap();
        model.sent(PLACE, &[value(8)], 100);
        model.acknowledged(PLACE, 1, &[value(8)]).unwrap();
        assert!(model.saw_start(PLACE, 1, 0).is_ok() && model.saw_start(PLACE, 0, 1).is_err());
        assert!(model.check_kept(PLACE, 1, 2).is_err(), "100 of 150 bytes");
        assert!(model.check_kept(PLACE, 0, 2).is_ok(), "nothing was deleted");
        assert!(model.check_whole(PLACE, 2).is_ok());
    }

    #[test]
    fn ids_are_given_once() {
        let mut model = Model::default();
        assert!(model.got_producer_id(1).is_ok() && model.got_producer_id(1).is_err());
        assert!(model.saw_cluster_id("a").is_ok() && model.saw_cluster_id("b").is_err());
    }
}
