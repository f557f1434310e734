//! Expiry: offsets that nobody needs any more are forgotten, and groups with them.
//!
//! - Of an empty group when it has been empty for `offsets.retention.minutes`; of a group that an
//!   old version wrote, and of a simple group, when they were committed so long ago.
//! - Of a stable group of consumers when they were committed so long ago and nobody reads their
//!   topic. Of other groups with members never.
//! - Of a consumer group (KIP-848) when they were committed so long ago and nobody reads their
//!   topic.
//! - An offset that a client gave a time (OffsetCommit 2-4) goes at that time.
//! - Never one that a transaction is about to change.
//! - A group without members whose last offset went, goes as well.
//!
//! Looked for every `offsets.retention.check.interval.ms`.

use ottla_types::Timestamp;

use super::change::Change;
use super::classic::{ClassicGroup, State};
use super::effect::{Effects, Then};
use super::offsets::{CommittedOffset, OffsetKey};
use super::timers::TimerKey;
use super::{GroupId, GroupShard, Now, Slot};

/// From when on the age of an offset counts.
enum AgeFrom {
    Commit,
    Time(Timestamp),
}

impl ClassicGroup {
    fn ages_from(&self) -> Option<AgeFrom> {
        if self.protocol_type().is_none() {
            return Some(AgeFrom::Commit);
        }
        match self.state() {
            State::Empty => Some(self.state_since().map_or(AgeFrom::Commit, AgeFrom::Time)),
            State::Stable if self.is_of_consumers() && self.subscribed().is_some() => {
                Some(AgeFrom::Commit)
            }
            _ => None,
        }
    }
}

impl GroupShard {
    /// Sets the next look.
    pub(super) fn expect_expiry(&mut self, now: Now) {
        let deadline = now.mono.after(self.config.retention_check_interval);
        self.timers.set(TimerKey::Expiry, deadline);
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Now, out: &mut Effects) {
        self.expect_expiry(now);
        let groups: Vec<GroupId> = self
            .slots
            .range(..)
            .filter(|(_, slot)| matches!(slot, Slot::Classic(_) | Slot::Consumer))
            .map(|(id, _)| id.clone())
            .collect();
        for id in groups {
            self.expire_group(now, &id, out);
        }
    }

    fn expire_group(&mut self, now: Now, id: &GroupId, out: &mut Effects) {
        let (from, is_empty) = match self.classic(id) {
            Some(group) => (group.ages_from(), group.state() == State::Empty),
            None => (Some(AgeFrom::Commit), self.consumers.member_count(id) == 0),
        };
        let Some(from) = from else { return };
        let retention =
            i64::try_from(self.config.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let is_old = |offset: &CommittedOffset| match (offset.expires, &from) {
            (Some(expires), _) => now.wall >= expires,
            (None, AgeFrom::Commit) => {
                now.wall.0.saturating_sub(offset.committed_at.0) >= retention
            }
            (None, AgeFrom::Time(time)) => now.wall.0.saturating_sub(time.0) >= retention,
        };
        let mut old: Vec<OffsetKey> = Vec::new();
        let mut keeps_any = false;
        for (key, offset) in self.offsets.range(OffsetKey::all_of(id)) {
            let goes = !self.reads(id, &key.topic)
                && is_old(offset)
                && self.producers_with(key).is_empty();
            if goes {
                old.push(key.clone());
            } else {
                keeps_any = true;
            }
        }
        let is_pending = self.pending_in(id).next().is_some();
        let goes = is_empty && !keeps_any && !is_pending;
        self.counts.offset_expirations += old.len() as u64;
        self.forget(old, out);
        if goes {
            let changes = match self.slots.get(id) {
                Some(Slot::Consumer) => self.no_consumers(id),
                _ => vec![Change::NoGroup(id.clone())],
            };
            self.write(&changes, Then::Nothing, out);
        }
    }
}
