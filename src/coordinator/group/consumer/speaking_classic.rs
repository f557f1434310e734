//! Members of consumer groups that speak the classic protocol: JoinGroup, SyncGroup, Heartbeat and
//! LeaveGroup.
//!
//! - Their generation is their member epoch. Nobody waits for anybody: a join is answered at once,
//!   with what a heartbeat of the consumer protocol would lead to, and the sync tells the
//!   assignment, which the coordinator made.
//! - A heartbeat says `REBALANCE_IN_PROGRESS` when there is something to give back or to take over;
//!   then the member has its rebalance timeout to join again, and as long to sync. What it has
//!   given back it says in its join, as cooperative and eager assignors do. Where nobody speaks the
//!   consumer protocol any more it also says so when another target is due.
//!
//! Source: `GroupMetadataManager.classicGroupJoinToConsumerGroup` and its neighbours.

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::consumer_protocol::{ConsumerProtocolSubscription, PROTOCOL_TYPE};
use ottla_types::ErrorCode;

use super::advance::{Advance, Advanced};
use super::embedded;
use super::heartbeat::check_static;
use super::member::{ConsumerMember, MemberState, without_epochs};
use super::migration::{Downgrade, classic_metadata, to_ms};
use super::state::Head;
use crate::group::change::Change;
use crate::group::classic::{Join, Joined, Leave, Leaving, Sync, Synced};
use crate::group::effect::{Answer, Effects, Then, Ticket};
use crate::group::join::refuse;
use crate::group::timers::TimerKey;
use crate::group::{GroupId, GroupShard, MemberId, Now};

/// What a join leads to.
struct Entered {
    changes: Vec<Change>,
    advanced: Advanced,
    replaced: Option<Arc<ConsumerMember>>,
    downgrade: Option<Downgrade>,
}

impl GroupShard {
    /// A member of the classic protocol joins a consumer group with members.
    pub(in crate::group) fn join_consumers(
        &mut self,
        now: Now,
        request: &Join,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let id = &request.group;
        let is_new = request.member.is_empty();
        let member: MemberId =
            if is_new { request.consumer_id.as_str().into() } else { request.member.clone() };
        if let Err(error) = self.may_join_consumers(request, &member) {
            return refuse(ticket, error, "", out);
        }
        if is_new && request.must_know_id && request.instance.is_none() {
            return refuse(ticket, ErrorCode::MemberIdRequired, &member, out);
        }
        match self.enter(now, request, member) {
            Err(error) => refuse(ticket, error, "", out),
            Ok(entered) => self.perform_join(now, id, (request, entered), ticket, out),
        }
    }

    fn may_join_consumers(&self, request: &Join, member: &MemberId) -> Result<(), ErrorCode> {
        let id = &request.group;
        let known = self.consumers.member(id, member).is_some();
        if !self.config.consumer_migration.mixes() {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if !known && self.consumers.member_count(id) >= self.config.consumer_size_max {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        let classic: Vec<_> =
            self.consumers.members(id).filter_map(|it| it.classic.as_ref()).collect();
        let supports = |name: &str| {
            classic.iter().all(|it| it.supported_protocols.iter().any(|own| own.name == name))
        };
        let finds_one = request.protocols.names().any(supports);
        if request.protocol_type != PROTOCOL_TYPE || !finds_one {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn enter(&self, now: Now, request: &Join, asks: MemberId) -> Result<Entered, ErrorCode> {
        let id = &request.group;
        let statics = request.instance.as_ref().map(|it| self.static_consumer(id, it));
        let known = self.consumers.member(id, &asks).cloned();
        let (before, replaced) = match statics {
            None => (known, None),
            Some(present) if request.member.is_empty() => (known, present),
            Some(present) => {
                let present = check_static(present, (&asks, ""));
                let present = present.map_err(|refusal| refusal.error)?;
                (Some(present), None)
            }
        };
        let said = request.protocols.0.first().map(|(_, said)| said.clone()).unwrap_or_default();
        let (said, _) = embedded::read::<ConsumerProtocolSubscription>(&said)
            .ok_or(ErrorCode::UnknownServerError)?;
        let mut records = Vec::new();
        let old =
            self.old_consumer(id, &asks, (before.as_deref(), replaced.as_deref()), &mut records);
        let member = spoken(&old, request, &said);
        let owned = embedded::by_id(&said.owned_partitions, &*self.cluster);
        let last = replaced.as_ref().or(before.as_ref()).filter(|_| request.instance.is_some());
        let downgrades = last.is_some_and(|last| self.downgrades_with(id, last));
        let advance = Advance {
            before: before.as_deref(),
            replaced: replaced.as_deref(),
            old: &old,
            owned: Some(&owned),
            is_classic: true,
            assigns: !downgrades,
        };
        let advanced = self.advance(now, id, &advance, member, records);
        let advanced = advanced.map_err(|refusal| refusal.error)?;
        let mut changes = advanced.changes();
        let mut downgrade = None;
        if let Some(last) = last.filter(|_| downgrades) {
            let by = (&**last, &advanced.member);
            let made = self.downgraded_with(now, id, advanced.epoch, by);
            let renamed = Some((&last.id, &advanced.member.id));
            changes.extend(self.downgrade_records(id, &made, renamed));
            downgrade = Some(made);
        }
        Ok(Entered { changes, advanced, replaced, downgrade })
    }

    fn perform_join(
        &mut self,
        now: Now,
        id: &GroupId,
        (request, entered): (&Join, Entered),
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let Entered { changes, advanced, replaced, downgrade } = entered;
        let member = advanced.member.clone();
        if let Some(replaced) = replaced.filter(|replaced| replaced.id != member.id) {
            self.cancel_consumer(id, &replaced.id);
        }
        let ids: Vec<MemberId> = self.consumers.members(id).map(|it| it.id.clone()).collect();
        let protocol = member.favourite().map(|(name, _)| name.to_owned());
        let answer = Answer::Joined(Joined {
            error: ErrorCode::None,
            member: member.id.clone(),
            generation: member.epoch,
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol,
            leader: None,
            skip_assignment: false,
            members: Vec::new(),
        });
        match changes.is_empty() {
            true => self.answer_in_order(ticket, answer, out),
            false => self.write(&changes, Then::Answer(ticket, answer), out),
        }
        if let Some(downgrade) = downgrade {
            return self.become_classic(now, id, (downgrade, &ids), out);
        }
        self.advanced(id, advanced.looked_up, advanced.resolve, out);
        self.expect_consumer(now, id, &member);
        self.expect_revocation(now, id, &member);
        self.timers.cancel(&TimerKey::ConsumerJoin(id.clone(), member.id.clone()));
        let deadline = now.mono.after(request.rebalance_timeout);
        self.timers.set(TimerKey::ConsumerSync(id.clone(), member.id), deadline);
    }

    /// A member that speaks the classic protocol, in its epoch.
    fn classic_speaker(
        &self,
        id: &GroupId,
        (asks, instance): (&MemberId, Option<&str>),
        generation: i32,
    ) -> Result<Arc<ConsumerMember>, ErrorCode> {
        let member = match instance {
            None => self.consumers.member(id, asks).cloned().ok_or(ErrorCode::UnknownMemberId)?,
            Some(instance) => check_static(self.static_consumer(id, instance), (asks, instance))
                .map_err(|refusal| refusal.error)?,
        };
        if member.classic.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        if generation != member.epoch {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok(member)
    }

    /// A member has its rebalance timeout, from the first time that it is told, to join again.
    fn expect_join(&mut self, now: Now, id: &GroupId, member: &ConsumerMember) {
        let key = TimerKey::ConsumerJoin(id.clone(), member.id.clone());
        if !self.timers.is_set(&key) {
            let ms = u64::from(member.rebalance_timeout_ms.max(0).unsigned_abs());
            self.timers.set(key, now.mono.after(Duration::from_millis(ms)));
        }
    }

    /// SyncGroup to a consumer group.
    pub(in crate::group) fn sync_consumers(
        &mut self,
        now: Now,
        request: &Sync,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        match self.check_sync(now, request) {
            Err(error) => out.answer(ticket, Err(error)),
            Ok(member) => {
                let id = &request.group;
                self.timers.cancel(&TimerKey::ConsumerSync(id.clone(), member.id.clone()));
                self.expect_consumer(now, id, &member);
                let said = member.favourite().map(|(_, said)| said.clone()).unwrap_or_default();
                let assigned = without_epochs(&member.assigned);
                let answer = Answer::Synced(Synced {
                    protocol_type: request.protocol_type.clone(),
                    protocol: request.protocol.clone(),
                    assignment: embedded::assignment(&assigned, &said, &*self.cluster),
                });
                self.answer_in_order(ticket, answer, out);
            }
        }
    }

    fn check_sync(&mut self, now: Now, request: &Sync) -> Result<Arc<ConsumerMember>, ErrorCode> {
        let id = &request.group;
        let asks = (&request.member, request.instance.as_deref());
        let member = self.classic_speaker(id, asks, request.generation)?;
        let own = member.favourite().map(|(name, _)| name);
        let kind = request.protocol_type.as_deref();
        if kind.is_some_and(|kind| kind != PROTOCOL_TYPE)
            || request.protocol.as_deref().is_some_and(|its| own != Some(its))
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let is_behind = self.consumers.head(id).assignment_epoch > member.epoch;
        if is_behind && member.state != MemberState::Unrevoked {
            self.expect_join(now, id, &member);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(member)
    }

    /// Heartbeat to a consumer group.
    pub(in crate::group) fn heartbeat_consumers(
        &mut self,
        now: Now,
        id: &GroupId,
        asks: (&MemberId, Option<&str>),
        generation: i32,
    ) -> Result<(), ErrorCode> {
        let member = self.classic_speaker(id, asks, generation)?;
        self.expect_consumer(now, id, &member);
        let head = self.consumers.head(id);
        let has_to_join = member.epoch < head.assignment_epoch
            || (head.assignment_epoch < head.epoch && self.wants_target(now, id, &head))
            || match member.state {
                MemberState::Unrevoked => true,
                MemberState::Unreleased => !self.waits_for_others(id, &member),
                MemberState::Stable | MemberState::Unknown => false,
            };
        if has_to_join {
            self.expect_join(now, id, &member);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// Whether a target is due that nobody makes but members of the classic protocol, by joining
    /// again: without another one the group would be without it for ever.
    fn wants_target(&self, now: Now, id: &GroupId, head: &Head) -> bool {
        self.may_assign(now, id, head)
            && self.consumers.members(id).all(|member| member.classic.is_some())
    }

    /// Whether others still have something of a member's target.
    fn waits_for_others(&self, id: &GroupId, member: &ConsumerMember) -> bool {
        let target = self.consumers.target(id, &member.id).cloned().unwrap_or_default();
        target.0.iter().any(|(topic, partitions)| {
            let own = member.assigned.get(topic);
            partitions.iter().any(|partition| {
                let has = own.is_some_and(|own| own.contains_key(partition));
                !has && self.is_owned(id, *topic, *partition)
            })
        })
    }

    /// LeaveGroup to a consumer group.
    pub(in crate::group) fn leave_of_consumers(
        &mut self,
        now: Now,
        request: &Leave,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let id = &request.group;
        let mut gone: Vec<Arc<ConsumerMember>> = Vec::new();
        let mut outcomes = Vec::new();
        for leaving in &request.members {
            let found = self.leaving(id, leaving);
            outcomes.push(found.as_ref().err().copied().unwrap_or(ErrorCode::None));
            gone.extend(found.ok().filter(|it| !gone.iter().any(|gone| gone.id == it.id)));
        }
        let answer = Answer::Left(outcomes);
        if gone.is_empty() {
            return self.answer_in_order(ticket, answer, out);
        }
        self.let_consumers_go(now, id, &gone, Then::Answer(ticket, answer), out);
    }

    fn leaving(&self, id: &GroupId, leaving: &Leaving) -> Result<Arc<ConsumerMember>, ErrorCode> {
        let unknown = ErrorCode::UnknownMemberId;
        let Some(instance) = &leaving.instance else {
            return self.consumers.member(id, &leaving.id).cloned().ok_or(unknown);
        };
        let present = self.static_consumer(id, instance);
        if leaving.id.is_empty() {
            return present.ok_or(unknown);
        }
        check_static(present, (&leaving.id, instance)).map_err(|refusal| refusal.error)
    }

    /// Members are out; those that stay may be a classic group then.
    pub(super) fn let_consumers_go(
        &mut self,
        now: Now,
        id: &GroupId,
        gone: &[Arc<ConsumerMember>],
        then: Then,
        out: &mut Effects,
    ) {
        if let Some(downgrade) = self.downgraded_without(now, id, gone) {
            let ids: Vec<MemberId> = self.consumers.members(id).map(|it| it.id.clone()).collect();
            let changes = self.downgrade_records(id, &downgrade, None);
            self.write(&changes, then, out);
            return self.become_classic(now, id, (downgrade, &ids), out);
        }
        let changes = self.without_consumers(id, gone);
        gone.iter().for_each(|member| self.cancel_consumer(id, &member.id));
        self.write(&changes, then, out);
    }
}

/// A member as it is by a join.
fn spoken(
    old: &ConsumerMember,
    request: &Join,
    said: &ConsumerProtocolSubscription,
) -> ConsumerMember {
    let mut member = old.clone();
    if request.instance.is_some() {
        member.instance.clone_from(&request.instance);
    }
    if said.rack_id.as_ref().is_some_and(|rack| !rack.is_empty()) {
        member.rack.clone_from(&said.rack_id);
    }
    member.rebalance_timeout_ms = to_ms(request.rebalance_timeout);
    member.topics = said.topics.iter().cloned().collect();
    member.regex.clear();
    member.client_id.clone_from(&request.client_id);
    member.client_host.clone_from(&request.client_host);
    member.classic = Some(classic_metadata(request.session_timeout, &request.protocols));
    member
}
