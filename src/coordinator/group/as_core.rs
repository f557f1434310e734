//! A shard of groups as the runtime of coordinators sees it.

use std::sync::Arc;

use ottla_config::GroupsConfig;
use ottla_protocol::coordinator::RecordError;
use ottla_types::{ErrorCode, LeaderEpoch, MonoTime, Offset, ProducerId};

use super::consumer::Resolve;
use super::{Answer, Effects, GroupShard, LoadedRecord, Now, Then};
use crate::shard_core::ShardCore;

impl ShardCore for GroupShard {
    type Config = GroupsConfig;
    type Answer = Answer;
    type Then = Then;
    type Errand = Resolve;

    fn new(config: Arc<GroupsConfig>) -> GroupShard {
        GroupShard::new(config)
    }

    fn load(&mut self, record: LoadedRecord<'_>) -> Result<(), RecordError> {
        GroupShard::load(self, record)
    }

    fn load_marker(&mut self, offset: Offset, producer: ProducerId, committed: bool) {
        GroupShard::load_marker(self, offset, producer, committed);
    }

    fn led_in(&mut self, _: LeaderEpoch) {}

    fn loaded(&mut self, now: Now, end: Offset, out: &mut Effects) {
        GroupShard::loaded(self, now, end, out);
    }

    fn commit(&mut self, _: Now, end: Offset, out: &mut Effects) {
        GroupShard::commit(self, end, out);
    }

    fn revert(&mut self, now: Now, start: Offset, reason: ErrorCode, out: &mut Effects) {
        GroupShard::revert(self, now, start, reason, out);
    }

    fn finish(&mut self, now: Now, then: Then, result: Result<(), ErrorCode>, out: &mut Effects) {
        GroupShard::finish(self, now, then, result, out);
    }

    fn resign(&mut self, reason: ErrorCode, out: &mut Effects) {
        GroupShard::resign(self, reason, out);
    }

    fn next_deadline(&self) -> Option<MonoTime> {
        GroupShard::next_deadline(self)
    }

    fn tick(&mut self, now: Now, out: &mut Effects) {
        GroupShard::tick(self, now, out);
    }
}
