//! ConsumerGroupHeartbeat: a member comes, is there, says something new about itself, and hears
//! what it may read.

use std::sync::Arc;

use ottla_protocol::coordinator::group::GroupRecord;
use ottla_types::{ErrorCode, PartitionId, Uuid};

use super::hash::metadata_hash;
use super::member::{
    ConsumerMember, JOINING, LEAVING, LEAVING_FOR_A_WHILE, MemberState, Owned, without_epochs,
};
use super::messages::{ConsumerBeat, ConsumerHeartbeat, Refusal};
use super::reconcile::Reconciling;
use super::records;
use super::regexes::Resolve;
use super::state::Head;
use super::target::Changing;
use crate::group::change::Change;
use crate::group::classic::State;
use crate::group::effect::{Answer, Effects, Then, Ticket, Write};
use crate::group::timers::TimerKey;
use crate::group::{GroupId, GroupShard, MemberId, Now, Slot};

/// What a heartbeat leads to.
pub(super) struct Decided {
    pub(super) changes: Vec<Change>,
    pub(super) beat: ConsumerBeat,
    /// The member whose session begins anew, as it is now; none for one that is gone.
    pub(super) stays: Option<ConsumerMember>,
    /// Whether what it has changed, and with that how long it may take.
    pub(super) moved: bool,
    /// Members whose timers are of no use any more.
    pub(super) gone: Vec<MemberId>,
    /// Whether the group's topics were looked up.
    pub(super) looked_up: bool,
    /// Patterns that are to be looked up.
    pub(super) resolve: Option<Resolve>,
}

impl GroupShard {
    /// A heartbeat of a member of a consumer group.
    pub fn consumer_heartbeat(
        &mut self,
        now: Now,
        request: &ConsumerHeartbeat,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let decided = match request.epoch {
            LEAVING | LEAVING_FOR_A_WHILE => self.leave_consumers(request),
            _ => self.beat(now, request),
        };
        match decided {
            Ok(decided) => self.perform_beat(now, &request.group, decided, ticket, out),
            Err(refusal) => {
                self.answer_in_order(ticket, Answer::Beat(Err(refusal)), out);
            }
        }
    }

    fn perform_beat(
        &mut self,
        now: Now,
        id: &GroupId,
        decided: Decided,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let Decided { changes, beat, stays, moved, gone, looked_up, resolve } = decided;
        gone.iter().for_each(|member| self.cancel_consumer(id, member));
        if let Some(member) = stays {
            self.expect_consumer(now, id, &member.id);
            if moved {
                self.expect_revocation(now, id, &member);
            }
        }
        let answer = Answer::Beat(Ok(beat));
        if changes.is_empty() {
            self.answer_in_order(ticket, answer, out);
        } else {
            self.write(&changes, Then::Answer(ticket, answer), out);
        }
        if let Some(resolve) = resolve {
            self.consumers.set_resolving(id, true);
            out.resolves.push(resolve);
        }
        if looked_up && let Some(index) = self.consumers.index_mut(id) {
            index.is_fresh = true;
        }
    }

    /// Tells something that was decided by what may not be committed yet: whoever hears it finds
    /// that in the log.
    fn answer_in_order(&mut self, ticket: Ticket, answer: Answer, out: &mut Effects) {
        if !self.consumers.is_changing() {
            return out.answer(ticket, Ok(answer));
        }
        let then = Then::Answer(ticket, answer);
        out.writes.push(Write { at: self.end, records: Vec::new(), then });
    }

    /// The session of a member begins anew.
    pub(super) fn expect_consumer(&mut self, now: Now, id: &GroupId, member: &MemberId) {
        let deadline = now.mono.after(self.consumer_session(id));
        self.timers.set(TimerKey::Session(id.clone(), member.clone()), deadline);
    }

    /// A member has its rebalance timeout to give back what it has to.
    pub(super) fn expect_revocation(&mut self, now: Now, id: &GroupId, member: &ConsumerMember) {
        let key = TimerKey::Revocation(id.clone(), member.id.clone());
        if member.state == MemberState::Unrevoked && member.classic.is_none() {
            let time = member.rebalance_timeout_ms.max(0).unsigned_abs();
            let deadline = now.mono.after(std::time::Duration::from_millis(u64::from(time)));
            self.timers.set(key, deadline);
        } else {
            self.timers.cancel(&key);
        }
    }

    pub(super) fn cancel_consumer(&mut self, id: &GroupId, member: &MemberId) {
        self.timers.cancel(&TimerKey::Session(id.clone(), member.clone()));
        self.timers.cancel(&TimerKey::Revocation(id.clone(), member.clone()));
    }

    /// What has to be forgotten before the group can be joined.
    fn open_group(&self, id: &GroupId, joins: bool) -> Result<Vec<Change>, Refusal> {
        let refuse = |text: String| Err(Refusal::new(ErrorCode::GroupIdNotFound, text));
        let not_found = || refuse(format!("Consumer group {id} not found."));
        match self.slots.get(id) {
            Some(Slot::Consumer) => Ok(Vec::new()),
            None if joins => Ok(Vec::new()),
            None => not_found(),
            Some(Slot::Classic(_)) if joins => {
                let group = self.classic(id).expect("a group has its state");
                match group.state() {
                    State::Empty => Ok(vec![Change::NoGroup(id.clone())]),
                    _ => refuse(format!("{id} has members of the classic protocol")),
                }
            }
            Some(_) => not_found(),
        }
    }

    fn beat(&self, now: Now, request: &ConsumerHeartbeat) -> Result<Decided, Refusal> {
        let id = &request.group;
        let joins = request.epoch == JOINING;
        let mut changes = self.open_group(id, joins)?;
        let mut records = Vec::new();
        let (before, replaced) = self.find(request, joins)?;
        let old = self.old_member(request, before.as_deref(), replaced.as_deref(), &mut records);
        let mut member = updated(&old, request);
        let topics_changed = member.topics != old.topics;
        if member != old {
            records.push(records::member(id, &member));
        }
        let followed = self.follow_regex(now, id, (&old, &member), &mut records)?;
        let wants_others = topics_changed || followed.is_changed;
        let is_due = topics_changed || followed.is_resolved;
        let head = self.consumers.head(id);
        let changing =
            Changing { before: before.as_deref(), replaced: replaced.as_deref(), now: &member };
        let is_fresh = self.consumers.index(id).is_some_and(|index| index.is_fresh);
        let looks_up = is_due || !is_fresh;
        let epoch = match looks_up {
            true => self.next_epoch(id, &head, &changing, is_due, &mut records),
            false => head.epoch,
        };
        let (target, target_epoch) =
            self.next_target(now, id, (&head, epoch), &changing, &mut records);
        let mut moved = false;
        if wants_others || !member.is_reconciled_to(target_epoch) {
            let next = Reconciling {
                epoch: target_epoch,
                target: &target,
                subscription_changed: wants_others,
                subscribed: &self.wanted_ids(id, &member),
                is_owned: &|topic, partition| self.is_owned(id, topic, partition),
                owned: request.owned.as_deref(),
            };
            let next = next.next(&member).map_err(|_| {
                let text = "the state of the member is not known; it has to join anew";
                Refusal::new(ErrorCode::FencedMemberEpoch, text)
            })?;
            if next != member {
                records.push(records::current(id, &next));
                (member, moved) = (next, true);
            }
        }
        let tells = joins || request.is_full() || member.assigned != old.assigned;
        changes.extend(records.into_iter().map(|record| Change::Consumer(Box::new(record))));
        let gone = replaced.filter(|replaced| replaced.id != member.id);
        Ok(Decided {
            changes,
            beat: ConsumerBeat {
                member: member.id.clone(),
                epoch: member.epoch,
                interval_ms: self.heartbeat_interval_ms(id),
                assignment: tells.then(|| without_epochs(&member.assigned)),
            },
            moved,
            gone: gone.iter().map(|member| member.id.clone()).collect(),
            stays: Some(member),
            looked_up: looks_up,
            resolve: followed.resolve,
        })
    }

    fn is_owned(&self, id: &GroupId, topic: Uuid, partition: PartitionId) -> bool {
        self.consumers.index(id).is_some_and(|index| index.is_owned(topic, partition))
    }

    /// The member that sends a heartbeat, if it is known, and the static member whose place it
    /// takes.
    #[expect(clippy::type_complexity, reason = "two members")]
    fn find(
        &self,
        request: &ConsumerHeartbeat,
        joins: bool,
    ) -> Result<(Option<Arc<ConsumerMember>>, Option<Arc<ConsumerMember>>), Refusal> {
        let id = &request.group;
        let known = self.consumers.member(id, &request.member).cloned();
        let statics = request.instance.as_ref().map(|it| self.static_consumer(id, it));
        let replaces = joins && matches!(&statics, Some(Some(_)));
        let is_full = self.consumers.member_count(id) >= self.config.consumer_size_max;
        if is_full && known.is_none() && !replaces {
            let max = self.config.consumer_size_max;
            let text =
                format!("The consumer group has reached its maximum capacity of {max} members.");
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, text));
        }
        match statics {
            None if joins => Ok((known, None)),
            None => {
                let known = known.ok_or_else(|| unknown(id, &request.member))?;
                check_epoch(&known, request)?;
                Ok((Some(known), None))
            }
            Some(None) if joins => Ok((known, None)),
            Some(Some(present)) if joins => {
                if present.epoch != LEAVING_FOR_A_WHILE {
                    let text = format!(
                        "Static member {} with instance id {} cannot join the group because the \
                         instance id is owned by {} member.",
                        request.member,
                        request.instance.as_deref().unwrap_or_default(),
                        present.id
                    );
                    return Err(Refusal::new(ErrorCode::UnreleasedInstanceId, text));
                }
                Ok((known, Some(present)))
            }
            Some(present) => {
                let present = check_static(present, request)?;
                check_epoch(&present, request)?;
                Ok((Some(present), None))
            }
        }
    }

    /// The static member of an instance id.
    pub(super) fn static_consumer(
        &self,
        id: &GroupId,
        instance: &str,
    ) -> Option<Arc<ConsumerMember>> {
        let member = self.consumers.index(id)?.static_member(instance)?;
        self.consumers.member(id, member).cloned()
    }

    /// The member as it was; one that takes another's place has what that one had, by records.
    fn old_member(
        &self,
        request: &ConsumerHeartbeat,
        before: Option<&ConsumerMember>,
        replaced: Option<&ConsumerMember>,
        out: &mut Vec<GroupRecord>,
    ) -> ConsumerMember {
        let id = &request.group;
        let Some(replaced) = replaced else {
            return before.cloned().unwrap_or_else(|| ConsumerMember::new(request.member.clone()));
        };
        let new = ConsumerMember {
            id: request.member.clone(),
            epoch: JOINING,
            previous_epoch: JOINING,
            ..replaced.clone()
        };
        out.extend(records::no_member(id, &replaced.id));
        out.push(records::member(id, &new));
        let target = self.consumers.target(id, &replaced.id).cloned().unwrap_or_default();
        out.push(records::target(id, &new.id, &target));
        out.push(records::current(id, &new));
        new
    }

    /// The group's epoch with a member that changed, or after its topics did.
    fn next_epoch(
        &self,
        id: &GroupId,
        head: &Head,
        changing: &Changing<'_>,
        is_due: bool,
        out: &mut Vec<GroupRecord>,
    ) -> i32 {
        let topics = self.read_topics(id, changing.counted(), Some(changing.now));
        let hash = metadata_hash(&topics, &*self.cluster);
        let mut epoch = head.epoch;
        if is_due || hash != head.metadata_hash {
            epoch = epoch.saturating_add(1);
            out.push(records::epoch(id, epoch, hash));
        }
        if head.has_topics_record {
            out.push(records::no_topics(id));
        }
        epoch
    }
}

/// What a member becomes by what it says.
fn updated(old: &ConsumerMember, request: &ConsumerHeartbeat) -> ConsumerMember {
    let mut member = old.clone();
    member.client_id.clone_from(&request.client_id);
    member.client_host.clone_from(&request.client_host);
    member.classic = None;
    if request.instance.is_some() {
        member.instance.clone_from(&request.instance);
    }
    if request.rack.is_some() {
        member.rack.clone_from(&request.rack);
    }
    if request.assignor.is_some() {
        member.assignor.clone_from(&request.assignor);
    }
    if let Some(ms) = request.rebalance_timeout_ms {
        member.rebalance_timeout_ms = ms;
    }
    if let Some(regex) = &request.regex {
        member.regex.clone_from(regex);
    }
    if let Some(topics) = &request.topics {
        member.topics = topics.iter().cloned().collect();
    }
    member
}

pub(super) fn unknown(group: &GroupId, member: &MemberId) -> Refusal {
    let text = format!("Member {member} is not a member of group {group}.");
    Refusal::new(ErrorCode::UnknownMemberId, text)
}

/// The static member, if it is the one that asks.
pub(super) fn check_static(
    present: Option<Arc<ConsumerMember>>,
    request: &ConsumerHeartbeat,
) -> Result<Arc<ConsumerMember>, Refusal> {
    let instance = request.instance.as_deref().unwrap_or_default();
    let unknown = || {
        let text = format!("Instance id {instance} is unknown.");
        Refusal::new(ErrorCode::UnknownMemberId, text)
    };
    let present = present.ok_or_else(unknown)?;
    let asks = &request.member;
    if present.id != *asks {
        let by = &present.id;
        let text =
            format!("Static member {asks} with instance id {instance} was fenced by member {by}.");
        return Err(Refusal::new(ErrorCode::FencedInstanceId, text));
    }
    Ok(present)
}

/// A member's epoch has to be the coordinator's; or the one before, from a member that did not
/// hear the last answer and so has nothing of what others have now.
fn check_epoch(member: &ConsumerMember, request: &ConsumerHeartbeat) -> Result<(), Refusal> {
    let is_previous = request.epoch == member.previous_epoch
        && request.epoch < member.epoch
        && is_within(request.owned.as_deref(), &member.assigned);
    if request.epoch == member.epoch || is_previous {
        return Ok(());
    }
    let than = if request.epoch < member.epoch { "smaller" } else { "greater" };
    let text = format!(
        "The consumer group member has a {than} member epoch ({}) than the one known by the group \
         coordinator ({}). The member must abandon all its partitions and rejoin.",
        request.epoch, member.epoch
    );
    Err(Refusal::new(ErrorCode::FencedMemberEpoch, text))
}

fn is_within(owned: Option<&[(Uuid, Vec<PartitionId>)]>, assigned: &Owned) -> bool {
    let has = |topic: &Uuid, partitions: &[PartitionId]| {
        let assigned = assigned.get(topic);
        assigned.is_some_and(|assigned| partitions.iter().all(|id| assigned.contains_key(id)))
    };
    owned.is_some_and(|owned| owned.iter().all(|(topic, partitions)| has(topic, partitions)))
}
