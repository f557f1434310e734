//! ConsumerGroupHeartbeat: a member comes, is there, says something new about itself, and hears
//! what it may read.

use std::sync::Arc;

use ottla_protocol::coordinator::group::GroupRecord;
use ottla_types::{ErrorCode, PartitionId, Uuid};

use super::advance::{Advance, Advanced};
use super::hash::metadata_hash;
use super::member::{
    ConsumerMember, JOINING, LEAVING, LEAVING_FOR_A_WHILE, MemberState, Owned, without_epochs,
};
use super::messages::{ConsumerBeat, ConsumerHeartbeat, Refusal};
use super::records;
use super::regexes::Resolve;
use super::state::Head;
use super::target::Changing;
use crate::group::change::Change;
use crate::group::classic::{ClassicGroup, State};
use crate::group::effect::{Answer, Effects, Part, Then, Ticket, Write};
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
        let is_classic = self.classic(&request.group).map(ClassicGroup::state);
        if request.epoch == JOINING && is_classic.is_some_and(|state| state != State::Empty) {
            return self.upgrade(now, request, ticket, out);
        }
        let decided = match request.epoch {
            LEAVING_FOR_A_WHILE if request.instance.is_some() => self.leave_for_a_while(request),
            // Nobody but a static member has a place to come back to.
            LEAVING | LEAVING_FOR_A_WHILE => {
                return self.leave_consumers(now, request, ticket, out);
            }
            _ => self.beat(now, request),
        };
        match decided {
            Ok(decided) => self.perform_beat(now, &request.group, decided, ticket, out),
            Err(refusal) => {
                self.answer_in_order(ticket, Answer::Beat(Err(refusal)), out);
            }
        }
    }

    pub(super) fn perform_beat(
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
            self.forget_classic_times(id, &member.id);
            self.expect_consumer(now, id, &member);
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
        self.advanced(id, looked_up, resolve, out);
    }

    /// What is no record's of a step that a member makes.
    pub(super) fn advanced(
        &mut self,
        id: &GroupId,
        looked_up: bool,
        resolve: Option<Resolve>,
        out: &mut Effects,
    ) {
        if let Some(resolve) = resolve {
            self.consumers.set_resolving(id, true);
            out.errands.push(resolve);
        }
        if looked_up && let Some(index) = self.consumers.index_mut(id) {
            index.is_fresh = true;
        }
    }

    /// Tells something that was decided by what may not be committed yet: whoever hears it finds
    /// that in the log.
    pub(super) fn answer_in_order(&mut self, ticket: Ticket, answer: Answer, out: &mut Effects) {
        if !self.consumers.is_changing() {
            return out.answer(ticket, Ok(answer));
        }
        let then = Then::Answer(ticket, answer);
        let (at, records) = (self.end, Vec::new());
        out.writes.push(Write { at, records, part: Part::None, then });
    }

    /// The session of a member begins anew.
    pub(super) fn expect_consumer(&mut self, now: Now, id: &GroupId, member: &ConsumerMember) {
        let session = match &member.classic {
            None => self.consumer_session(id),
            Some(said) => {
                let ms = said.session_timeout_ms.max(0).unsigned_abs();
                std::time::Duration::from_millis(u64::from(ms))
            }
        };
        let key = TimerKey::Session(id.clone(), member.id.clone());
        self.timers.set(key, now.mono.after(session));
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
        self.forget_classic_times(id, member);
    }

    fn forget_classic_times(&mut self, id: &GroupId, member: &MemberId) {
        self.timers.cancel(&TimerKey::ConsumerJoin(id.clone(), member.clone()));
        self.timers.cancel(&TimerKey::ConsumerSync(id.clone(), member.clone()));
    }

    /// What has to be forgotten before the group can be joined.
    fn open_group(&self, id: &GroupId, joins: bool) -> Result<Vec<Change>, Refusal> {
        let refuse = |text: String| Err(Refusal::new(ErrorCode::GroupIdNotFound, text));
        let not_found = || refuse(format!("Consumer group {id} not found."));
        match self.slots.get(id) {
            Some(Slot::Consumer) => Ok(Vec::new()),
            None if joins => Ok(Vec::new()),
            None => not_found(),
            // One with members was upgraded before.
            Some(Slot::Classic(_)) if joins => Ok(vec![Change::NoGroup(id.clone())]),
            Some(_) => not_found(),
        }
    }

    pub(super) fn beat(&self, now: Now, request: &ConsumerHeartbeat) -> Result<Decided, Refusal> {
        let id = &request.group;
        let joins = request.epoch == JOINING;
        let mut changes = self.open_group(id, joins)?;
        let mut records = Vec::new();
        let (before, replaced) = self.find(request, joins)?;
        let who = (before.as_deref(), replaced.as_deref());
        let old = self.old_consumer(id, &request.member, who, &mut records);
        let advance = Advance {
            before: before.as_deref(),
            replaced: replaced.as_deref(),
            old: &old,
            owned: request.owned.as_deref(),
            is_classic: false,
            assigns: true,
        };
        let advanced = self.advance(now, id, &advance, updated(&old, request), records)?;
        changes.extend(advanced.changes());
        let Advanced { member, moved, looked_up, resolve, .. } = advanced;
        let tells = joins || request.is_full() || member.assigned != old.assigned;
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
            looked_up,
            resolve,
        })
    }

    pub(super) fn is_owned(&self, id: &GroupId, topic: Uuid, partition: PartitionId) -> bool {
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
                if present.classic.is_none() && present.epoch != LEAVING_FOR_A_WHILE {
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
                let instance = request.instance.as_deref().unwrap_or_default();
                let present = check_static(present, (&request.member, instance))?;
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
    pub(super) fn old_consumer(
        &self,
        id: &GroupId,
        asks: &MemberId,
        (before, replaced): (Option<&ConsumerMember>, Option<&ConsumerMember>),
        out: &mut Vec<GroupRecord>,
    ) -> ConsumerMember {
        let Some(replaced) = replaced else {
            return before.cloned().unwrap_or_else(|| ConsumerMember::new(asks.clone()));
        };
        let new = ConsumerMember {
            id: asks.clone(),
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
    pub(super) fn next_epoch(
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
    (asks, instance): (&MemberId, &str),
) -> Result<Arc<ConsumerMember>, Refusal> {
    let unknown = || {
        let text = format!("Instance id {instance} is unknown.");
        Refusal::new(ErrorCode::UnknownMemberId, text)
    };
    let present = present.ok_or_else(unknown)?;
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
