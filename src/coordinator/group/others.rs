//! Members of groups of other protocols (KIP-932, KIP-1071), which a directory of Kafka's
//! may hold: nobody can hear of them here, for their heartbeats are not built. So their sessions
//! begin when they are loaded and end when their time is over, as those of all silent members do
//! with Kafka: their records are deleted, and the group is empty. Its epoch stays, and so do its
//! offsets.
//!
//! A group whose members are all gone can be deleted.

use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::Reader;
use ottla_types::ErrorCode;

use super::admin::FORGOTTEN_AT_ONCE;
use super::change::Change;
use super::effect::{Effects, Then};
use super::load::{OtherGroup, OtherKind, is_of_member};
use super::timers::TimerKey;
use super::{GroupId, GroupShard, Now, Slot};

impl OtherGroup {
    fn keys_of_members(&self) -> impl Iterator<Item = &Bytes> {
        self.keys.iter().filter(|key| Reader::new(key).i16().is_ok_and(is_of_member))
    }
}

impl GroupShard {
    /// The sessions of all members of other protocols begin.
    pub(super) fn await_others(&mut self, now: Now) {
        let groups = self.others.iter().filter(|(_, other)| other.members > 0);
        for id in groups.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.await_other(now, id);
        }
    }

    fn await_other(&mut self, now: Now, id: GroupId) {
        let Some(Slot::Other(kind)) = self.slots.get(&id) else { return };
        let deadline = now.mono.after(self.session_of(*kind));
        self.timers.set(TimerKey::Others(id), deadline);
    }

    fn session_of(&self, kind: OtherKind) -> Duration {
        match kind {
            OtherKind::Share => self.config.share_session_timeout,
            OtherKind::Streams => self.config.streams_session_timeout,
        }
    }

    /// Nobody was heard of: all members are out.
    pub(super) fn others_silent(&mut self, id: &GroupId, out: &mut Effects) {
        let Some(other) = self.others.get(id).filter(|other| other.members > 0) else { return };
        let gone = |key: &Bytes| Change::NoOtherMember(key.clone());
        let changes: Vec<Change> = other.keys_of_members().map(gone).collect();
        let mut left = changes.chunks(FORGOTTEN_AT_ONCE).peekable();
        while let Some(some) = left.next() {
            let is_last = left.peek().is_none();
            let then = if is_last { Then::OthersGone(id.clone()) } else { Then::Nothing };
            self.write(some, then, out);
        }
    }

    /// That the members of a group are out is kept, or could not be.
    pub(super) fn others_gone(&mut self, now: Now, id: GroupId, result: Result<(), ErrorCode>) {
        if result.is_err() {
            return self.await_other(now, id);
        }
        let Some(other) = self.others.get_mut(&id) else { return };
        let gone: Vec<Bytes> = other.keys_of_members().cloned().collect();
        for key in gone {
            other.keys.remove(&key);
        }
        other.members = 0;
    }
}
