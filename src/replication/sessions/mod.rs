//! Fetch sessions (KIP-227): the broker remembers what a client reads, so that its requests say
//! only what changes and the answers only what is new.
//!
//! ```text
//!  full fetch ──> create ──> 1 ──> 2 ──> ...  epoch of the client's next fetch
//!                   │ no room: session 0, the client goes on with full fetches
//! ```
//! - There are at most so many sessions, of at most so many partitions together. A new one takes
//!   the place of one that was not used for two minutes, else of a smaller one that has had two
//!   minutes; one of a broker takes the place of any client's (Kafka's `FetchSessionCache`).
//! - An answer holds the partitions with records, an error, or a bound that moved since the last
//!   one. Those with records go to the end of the session's order, so that none is starved.
//! - Nobody is told a session's name but its client; names are drawn by lot.
//!
//! Pure: time and lots come in, and partitions are whatever the caller says they are.

mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_types::MonoTime;

pub use session::{Asked, Bounds, Session, SessionPartition, SessionTopic, Told};

/// A session that was not used for so long goes first, and one that lived for so long can go.
const EVICTION_AGE: Duration = Duration::from_secs(120);

/// Epoch of a full fetch that begins a session.
pub const INITIAL_EPOCH: i32 = 0;
/// Epoch of a full fetch without a session, which ends the one that is named.
pub const FINAL_EPOCH: i32 = -1;

/// How much there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionLimits {
    /// Sessions (`max.incremental.fetch.session.cache.slots`).
    pub sessions_max: usize,
    /// Partitions of all sessions together (`ottla.fetch.session.partitions.max`).
    pub partitions_max: usize,
}

/// Why an incremental fetch is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionError {
    /// There is no such session, any more.
    NotFound,
    /// The request is not the next one of the session.
    InvalidEpoch,
    /// The session knows topics by name and the request by id, or the other way round.
    TopicIds,
}

/// All sessions.
#[derive(Debug)]
pub struct FetchSessions {
    limits: SessionLimits,
    sessions: BTreeMap<i32, Entry>,
    /// Partitions of all sessions.
    partitions: usize,
}

#[derive(Debug)]
struct Entry {
    session: Session,
    /// Whether a broker reads.
    privileged: bool,
    created: MonoTime,
    used: MonoTime,
}

impl Entry {
    /// Less counts for less.
    fn worth(&self, id: i32) -> (bool, usize, i32) {
        (self.privileged, self.session.len(), id)
    }
}

impl FetchSessions {
    /// No sessions yet.
    #[must_use]
    pub fn new(limits: SessionLimits) -> FetchSessions {
        FetchSessions { limits, sessions: BTreeMap::new(), partitions: 0 }
    }

    /// Number of sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Partitions of all sessions together.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// Begins a session with what a full fetch was told; its id, or 0 when there is no room.
    pub fn create(
        &mut self,
        session: Session,
        privileged: bool,
        now: MonoTime,
        lot: &mut dyn FnMut() -> u64,
    ) -> i32 {
        let len = session.len();
        if !self.make_room(privileged, len, now) {
            return 0;
        }
        let id = loop {
            // 31 bits of the lot; 0 is no session.
            let id = (lot() >> 33) as i32;
            if id != 0 && !self.sessions.contains_key(&id) {
                break id;
            }
        };
        self.partitions += len;
        self.sessions.insert(id, Entry { session, privileged, created: now, used: now });
        id
    }

    /// Forgets a session.
    pub fn remove(&mut self, id: i32) {
        if let Some(entry) = self.sessions.remove(&id) {
            self.partitions -= entry.session.len();
        }
    }

    /// Takes an incremental fetch: the partitions to be read now, in their order. A session that
    /// becomes empty is forgotten, and nothing is to be read.
    ///
    /// # Errors
    /// Why the fetch is refused. A session that has grown beyond all limits is forgotten.
    pub fn step(
        &mut self,
        id: i32,
        epoch: i32,
        change: Change,
        now: MonoTime,
    ) -> Result<Vec<SessionPartition>, SessionError> {
        let entry = self.sessions.get_mut(&id).ok_or(SessionError::NotFound)?;
        if entry.session.epoch() != epoch {
            return Err(SessionError::InvalidEpoch);
        }
        if entry.session.by_id() != change.by_id {
            return Err(SessionError::TopicIds);
        }
        let before = entry.session.len();
        entry.session.update(change);
        entry.used = now;
        self.partitions = self.partitions - before + entry.session.len();
        if entry.session.is_empty() {
            self.sessions.remove(&id);
            return Ok(Vec::new());
        }
        if self.partitions > self.limits.partitions_max {
            self.remove(id);
            return Err(SessionError::NotFound);
        }
        Ok(entry.session.begin_next())
    }

    /// Which of the partitions that [`FetchSessions::step`] returned are to be told, as answer to
    /// the fetch of `epoch`; `told` is in their order.
    ///
    /// # Errors
    /// The session has gone, or is further by now.
    pub fn tell(&mut self, id: i32, epoch: i32, told: &[Told]) -> Result<Vec<bool>, SessionError> {
        let entry = self.sessions.get_mut(&id).ok_or(SessionError::NotFound)?;
        if entry.session.epoch() != next_epoch(epoch) {
            return Err(SessionError::InvalidEpoch);
        }
        Ok(entry.session.tell(told))
    }

    /// Makes room for a session of so many partitions; tells whether there is some.
    fn make_room(&mut self, privileged: bool, len: usize, now: MonoTime) -> bool {
        while self.sessions.len() >= self.limits.sessions_max
            || self.partitions + len > self.limits.partitions_max
        {
            let Some(victim) = self.victim(privileged, len, now) else { return false };
            self.remove(victim);
        }
        true
    }

    fn victim(&self, privileged: bool, len: usize, now: MonoTime) -> Option<i32> {
        let (oldest, entry) = self.sessions.iter().min_by_key(|(id, entry)| (entry.used, **id))?;
        if now.since(entry.used) > EVICTION_AGE {
            return Some(*oldest);
        }
        let can_go = |entry: &Entry| {
            let has_lived = entry.used.since(entry.created) > EVICTION_AGE;
            has_lived || (privileged && !entry.privileged)
        };
        let evictable = self.sessions.iter().filter(|(_, entry)| can_go(entry));
        let (id, least) = evictable.min_by_key(|(id, entry)| entry.worth(**id))?;
        ((privileged, len, 0) >= least.worth(*id)).then_some(*id)
    }

    /// Asserts what always holds.
    pub fn check(&self) {
        let lens: usize = self.sessions.values().map(|entry| entry.session.len()).sum();
        assert_eq!(self.partitions, lens, "partitions are counted");
        assert!(self.sessions.len() <= self.limits.sessions_max);
        assert!(self.partitions <= self.limits.partitions_max);
    }
}

/// What an incremental fetch changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Whether it names topics by id.
    pub by_id: bool,
    /// Partitions that are read from now on, or otherwise.
    pub asked: Vec<SessionPartition>,
    /// Partitions that are not read any more.
    pub forgotten: Vec<(SessionTopic, i32)>,
}

/// The epoch behind this one.
#[must_use]
pub fn next_epoch(epoch: i32) -> i32 {
    match epoch {
        FINAL_EPOCH => FINAL_EPOCH,
        i32::MAX => 1,
        epoch => epoch + 1,
    }
}
