//! One session: its partitions in the order in which they are read, and what its client was told
//! last of each.

use std::collections::BTreeMap;

use ottla_types::{Offset, Uuid};

use super::{Change, INITIAL_EPOCH, next_epoch};

/// A topic as the session's requests name it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SessionTopic {
    /// By name, below version 13.
    Name(String),
    /// By id.
    Id(Uuid),
}

/// What is asked of a partition, as requests say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Offset to read from.
    pub fetch_offset: i64,
    /// Most bytes of records.
    pub bytes_max: i32,
    /// Epoch of the leader that the client knows; -1 when it does not say.
    pub current_leader_epoch: i32,
    /// Epoch of the last record that the client has; -1 when it does not say.
    pub last_fetched_epoch: i32,
}

/// A partition of a session, or of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionPartition {
    /// Its topic.
    pub topic: SessionTopic,
    /// Its index.
    pub index: i32,
    /// What is asked of it.
    pub asked: Asked,
}

/// Bounds of a partition that a client follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The high watermark.
    pub high_watermark: Offset,
    /// Where the log starts.
    pub log_start: Offset,
}

impl Bounds {
    /// What a client was never told.
    const UNKNOWN: Bounds = Bounds { high_watermark: Offset(-1), log_start: Offset(-1) };
}

/// What there is to be told of a partition that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    /// Its bounds.
    pub bounds: Bounds,
    /// Whether there are records.
    pub has_records: bool,
    /// Whether there is an error.
    pub is_error: bool,
    /// Whether the client's log has diverged.
    pub diverges: bool,
}

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    by_id: bool,
    /// Epoch of the next request.
    epoch: i32,
    /// Place in the order of each partition.
    places: BTreeMap<(SessionTopic, i32), u64>,
    /// In order.
    partitions: BTreeMap<u64, Known>,
    next_place: u64,
}

#[derive(Clone, Debug)]
struct Known {
    partition: SessionPartition,
    told: Bounds,
}

impl Session {
    /// A session of what a full fetch asked for and was told.
    #[must_use]
    pub fn new(by_id: bool, told: impl IntoIterator<Item = (SessionPartition, Told)>) -> Session {
        let mut session = Session {
            by_id,
            epoch: next_epoch(INITIAL_EPOCH),
            places: BTreeMap::new(),
            partitions: BTreeMap::new(),
            next_place: 0,
        };
        for (partition, told) in told {
            let bounds = if told.is_error { Bounds::UNKNOWN } else { told.bounds };
            session.put(partition, bounds);
        }
        session
    }

    /// Number of partitions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn epoch(&self) -> i32 {
        self.epoch
    }

    pub(super) fn by_id(&self) -> bool {
        self.by_id
    }

    fn put(&mut self, partition: SessionPartition, told: Bounds) {
        let key = (partition.topic.clone(), partition.index);
        if let Some(known) = self.places.get(&key).and_then(|at| self.partitions.get_mut(at)) {
            known.partition = partition;
            return;
        }
        self.places.insert(key, self.next_place);
        self.partitions.insert(self.next_place, Known { partition, told });
        self.next_place += 1;
    }

    pub(super) fn update(&mut self, change: Change) {
        for partition in change.asked {
            self.put(partition, Bounds::UNKNOWN);
        }
        for forgotten in change.forgotten {
            if let Some(place) = self.places.remove(&forgotten) {
                self.partitions.remove(&place);
            }
        }
    }

    /// The partitions for the request of the present epoch, which ends with it.
    pub(super) fn begin_next(&mut self) -> Vec<SessionPartition> {
        self.epoch = next_epoch(self.epoch);
        self.partitions.values().map(|known| known.partition.clone()).collect()
    }

    /// Which of the partitions that were read, told in their order, the client is told of; then it
    /// knows them.
    pub(super) fn tell(&mut self, told: &[Told]) -> Vec<bool> {
        let mut with_records = Vec::new();
        let read = std::iter::zip(&mut self.partitions, told);
        let is_told = read.map(|((place, known), told)| {
            if told.has_records && !told.is_error {
                with_records.push(*place);
            }
            known.tell(*told)
        });
        let is_told = is_told.collect();
        with_records.into_iter().for_each(|place| self.put_last(place));
        is_told
    }

    fn put_last(&mut self, place: u64) {
        let Some(known) = self.partitions.remove(&place) else { return };
        let key = (known.partition.topic.clone(), known.partition.index);
        self.partitions.insert(self.next_place, known);
        self.places.insert(key, self.next_place);
        self.next_place += 1;
    }
}

impl Known {
    fn tell(&mut self, told: Told) -> bool {
        if told.is_error {
            // When the error goes away, that is told.
            self.told = Bounds::UNKNOWN;
            return true;
        }
        let is_new = told.bounds != self.told;
        self.told = told.bounds;
        is_new || told.has_records || told.diverges
    }
}
