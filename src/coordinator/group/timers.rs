//! Deadlines, each under a key. The shell asks for the next one and comes back when it has passed.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::MonoTime;

use super::names::{GroupId, MemberId};

/// What a deadline is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TimerKey {
    /// A member must have been heard of.
    Heartbeat(GroupId, MemberId),
    /// The members of a group must have joined.
    Join(GroupId),
    /// The members of a group must have asked for their assignment.
    Sync(GroupId),
    /// A member of a consumer group must have been heard of.
    Session(GroupId, MemberId),
    /// A member of a consumer group must have given partitions back.
    Revocation(GroupId, MemberId),
    /// A member of a consumer group that speaks the classic protocol must have joined again.
    ConsumerJoin(GroupId, MemberId),
    /// It must have asked for its assignment.
    ConsumerSync(GroupId, MemberId),
    /// The members of a group of another protocol must have been heard of, and were not.
    Others(GroupId),
    /// Offsets that nobody needs are to be looked for.
    Expiry,
}

/// Deadlines by key.
#[derive(Default, Debug)]
pub struct Timers {
    at: BTreeMap<TimerKey, MonoTime>,
    order: BTreeSet<(MonoTime, TimerKey)>,
}

impl Timers {
    /// Sets a deadline; an earlier one under the same key is forgotten.
    pub fn set(&mut self, key: TimerKey, at: MonoTime) {
        if let Some(old) = self.at.insert(key.clone(), at) {
            if old == at {
                return;
            }
            self.order.remove(&(old, key.clone()));
        }
        self.order.insert((at, key));
    }

    /// Forgets a deadline.
    pub fn cancel(&mut self, key: &TimerKey) {
        if let Some(at) = self.at.remove(key) {
            self.order.remove(&(at, key.clone()));
        }
    }

    /// Whether there is a deadline under a key.
    pub fn is_set(&self, key: &TimerKey) -> bool {
        self.at.contains_key(key)
    }

    /// The next deadline.
    pub fn next(&self) -> Option<MonoTime> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out a deadline that has passed, the earliest first.
    pub fn pop(&mut self, now: MonoTime) -> Option<TimerKey> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first().expect("there is a next one");
        self.at.remove(&key);
        Some(key)
    }

    /// Panics when keys and order do not agree.
    pub fn check(&self) {
        assert_eq!(self.at.len(), self.order.len(), "each deadline once");
    }
}
