//! Groups that change their protocol while they have members (`group.consumer.migration.policy`).
//!
//! ```text
//!             first heartbeat of a member of the consumer protocol
//!   classic ───────────────────────────────────────────────────────> consumer group, whose other
//!      ^                                                             members speak the classic one
//!      └──────────── its last member of the consumer protocol goes ────────────┘
//! ```
//! - **Upgrade**: each member becomes one of a consumer group, with the assignment that it has as
//!   its target; the generation becomes all epochs. Who waits for a join or a sync begins anew.
//!   What a cooperative member had when it joined, and is to give back, is its own until it has.
//!   What was to be shared anew still is, also if the first one is a static member that comes back.
//! - **Downgrade**: what members have becomes their assignments, the group's epoch the generation;
//!   a rebalance lets them share what the last one had. (Kafka's assignments are the targets; who
//!   is upgraded again before the rebalance ends would lose what is still read.) A static member
//!   that comes back with the classic protocol, as the last one of the other, takes its place
//!   without a rebalance if nothing else changed and all have what they are to have.
//! - Both are one write: a group is never seen half way, and is what it was if that fails.
//!
//! Source: `GroupMetadataManager.convertToConsumerGroup`, `convertToClassicGroup`,
//! `ConsumerGroup.fromClassicGroup`, `ClassicGroup.fromConsumerGroup` of Kafka.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::coordinator::group::consumer::{ClassicMemberMetadata, ClassicProtocol};
use ottla_types::{ErrorCode, PartitionId, Timestamp, Uuid};

use super::embedded;
use super::hash::metadata_hash;
use super::index::partitions;
use super::member::{Assignment, ConsumerMember, MemberState};
use super::messages::{ConsumerHeartbeat, Refusal};
use super::records;
use crate::group::change::Change;
use crate::group::classic::{ClassicGroup, Member, Protocols, State};
use crate::group::effect::{Answer, Effects, Then, Ticket};
use crate::group::join::refuse;
use crate::group::{GroupId, GroupShard, MemberId, Now};

/// The least epoch of a group with members.
const FIRST_EPOCH: i32 = 1;

/// What a member of a classic group said that it has.
type Claimed = Vec<(Uuid, Vec<PartitionId>)>;

/// A consumer group that becomes a classic one.
pub(super) struct Downgrade {
    /// What it becomes.
    pub(super) group: ClassicGroup,
    /// Whether its members have to share anew.
    pub(super) rebalances: bool,
}

impl GroupShard {
    /// The first heartbeat of a member of the consumer protocol to a classic group with members.
    pub(super) fn upgrade(
        &mut self,
        now: Now,
        request: &ConsumerHeartbeat,
        ticket: Ticket,
        out: &mut Effects,
    ) {
        let id = &request.group;
        let (start, mut own) = (self.end, Effects::default());
        let decided = self.upgraded(request).and_then(|(changes, members)| {
            let group = self.classic(id).cloned().expect("it was looked up");
            self.write(&changes, Then::Nothing, &mut own);
            match self.beat(now, request) {
                Ok(decided) => Ok((decided, group, members)),
                Err(refusal) => {
                    // Nothing of it happened.
                    self.slots.revert(start, |_, _| {});
                    self.consumers.revert(start);
                    self.end = start;
                    Err(refusal)
                }
            }
        });
        let (decided, group, members) = match decided {
            Ok(decided) => decided,
            Err(refusal) => return self.answer_in_order(ticket, Answer::Beat(Err(refusal)), out),
        };
        self.send_back(group, out);
        members.iter().for_each(|member| self.expect_consumer(now, id, member));
        self.perform_beat(now, id, decided, ticket, &mut own);
        merge(own, out);
    }

    /// Whoever waits for a classic group begins anew.
    fn send_back(&mut self, group: ClassicGroup, out: &mut Effects) {
        let error = ErrorCode::RebalanceInProgress;
        for member in group.members().iter() {
            if let Some(ticket) = member.awaiting_join {
                refuse(ticket, error, &member.id, out);
            }
            if let Some(ticket) = member.awaiting_sync {
                out.answer(ticket, Err(error));
            }
        }
        // Its state stays until the upgrade is committed.
        for kept in self.classic.values_mut().filter(|kept| kept.id() == group.id()) {
            kept.send_all_back();
        }
    }

    /// The records of a classic group as a consumer group, and its members.
    fn upgraded(
        &self,
        request: &ConsumerHeartbeat,
    ) -> Result<(Vec<Change>, Vec<ConsumerMember>), Refusal> {
        let id = &request.group;
        let group = self.classic(id).expect("looked up before");
        let refuse = |why: &str| {
            let text =
                format!("Cannot upgrade classic group {id} to consumer group because {why}.");
            Refusal::new(ErrorCode::GroupIdNotFound, text)
        };
        if !self.config.consumer_migration.upgrades() {
            return Err(refuse("online upgrade is disabled"));
        }
        if !group.is_of_consumers() {
            return Err(refuse("the group does not use the consumer embedded protocol"));
        }
        if group.members().len() > self.config.consumer_size_max {
            return Err(refuse("the group size exceeds the consumer group maximum size"));
        }
        let protocol = group.protocol().map(str::to_owned);
        let protocol = protocol.or_else(|| group.members().select_protocol()).unwrap_or_default();
        // Nobody is in epoch 0, which is that of whoever joins.
        let epoch = group.generation().max(FIRST_EPOCH);
        let upgrade = |member: &Member| self.upgraded_member(member, &protocol, epoch);
        let members: Result<Vec<_>, &str> = group.members().iter().map(upgrade).collect();
        let members = with_what_is_given_back(members.map_err(refuse)?);
        let topics = members.iter().flat_map(|member| member.topics.iter().cloned()).collect();
        let hash = metadata_hash(&topics, &*self.cluster);
        let group_epoch = match forgets_rebalance(group, request) {
            true => epoch.saturating_add(1),
            false => epoch,
        };
        let mut changes = vec![Change::NoGroup(id.clone())];
        let targets = members.iter().map(|it| (&it.id, super::without_epochs(&it.assigned)));
        let all = members.iter().map(|member| records::member(id, member));
        let all = all.chain([records::epoch(id, group_epoch, hash)]);
        let all = all.chain(targets.map(|(member, target)| records::target(id, member, &target)));
        let all = all.chain([records::target_epoch(id, epoch, Timestamp(0))]);
        let all = all.chain(members.iter().map(|member| records::current(id, member)));
        changes.extend(all.map(|record| Change::Consumer(Box::new(record))));
        Ok((changes, members))
    }

    fn upgraded_member(
        &self,
        member: &Member,
        protocol: &str,
        generation: i32,
    ) -> Result<(ConsumerMember, Claimed), &'static str> {
        const MALFORMED: &str = "the embedded consumer protocol is malformed";
        let mut assigned = super::Owned::new();
        if !member.assignment.is_empty() {
            let told = embedded::read::<ConsumerProtocolAssignment>(&member.assignment);
            let (told, _) = told.ok_or(MALFORMED)?;
            if told.user_data.is_some_and(|data| !data.is_empty()) {
                return Err("an unsupported custom assignor is in use");
            }
            for (topic, partitions) in embedded::by_id(&told.assigned_partitions, &*self.cluster) {
                let since = partitions.into_iter().map(|partition| (partition, generation));
                assigned.entry(topic).or_default().extend(since);
            }
        }
        let said = member.protocols.get(protocol).unwrap_or_default();
        let (said, _) = embedded::read::<ConsumerProtocolSubscription>(&said).ok_or(MALFORMED)?;
        let claimed = embedded::by_id(&said.owned_partitions, &*self.cluster);
        let member = ConsumerMember {
            epoch: generation,
            previous_epoch: generation,
            instance: member.instance.clone(),
            rack: said.rack_id.filter(|rack| !rack.is_empty()),
            rebalance_timeout_ms: to_ms(member.rebalance_timeout),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topics: said.topics.into_iter().collect(),
            assigned,
            classic: Some(classic_metadata(member.session_timeout, &member.protocols)),
            ..ConsumerMember::new(member.id.clone())
        };
        Ok((member, claimed))
    }

    /// The group as a classic one without some members, if all others speak the classic protocol
    /// and it may become one.
    pub(super) fn downgraded_without(
        &self,
        now: Now,
        id: &GroupId,
        gone: &[Arc<ConsumerMember>],
    ) -> Option<Downgrade> {
        let is_gone = |member: &ConsumerMember| gone.iter().any(|gone| gone.id == member.id);
        let stay: Vec<_> = self.consumers.members(id).filter(|it| !is_gone(it)).cloned().collect();
        if stay.is_empty() || !self.may_downgrade(&stay) {
            return None;
        }
        let members: Vec<_> = stay.iter().map(|member| (&**member, has(member))).collect();
        let epoch = self.consumers.head(id).epoch;
        Some(Downgrade { group: self.as_classic(now, id, epoch, &members), rebalances: true })
    }

    /// Whether these, and nobody else, may be a classic group.
    fn may_downgrade(&self, stay: &[Arc<ConsumerMember>]) -> bool {
        self.config.consumer_migration.downgrades()
            && stay.len() <= self.config.size_max
            && stay.iter().all(|member| member.classic.is_some())
    }

    /// The group as a classic one, in which a static member replaces the last one that speaks the
    /// consumer protocol. Only if all have what the target gives them, they go on with that.
    pub(super) fn downgraded_with(
        &self,
        now: Now,
        id: &GroupId,
        epoch: i32,
        (replaced, by): (&ConsumerMember, &ConsumerMember),
    ) -> Downgrade {
        let others = self.consumers.members(id).filter(|member| member.id != replaced.id);
        let members: Vec<_> = others.map(|member| &**member).chain([by]).collect();
        let is_due = self.consumers.head(id).assignment_epoch < epoch;
        let rebalances = is_due || members.iter().any(|member| !member.is_reconciled_to(epoch));
        let members: Vec<_> = members.into_iter().map(|member| (member, has(member))).collect();
        Downgrade { group: self.as_classic(now, id, epoch, &members), rebalances }
    }

    /// Whether a static member that comes back with the classic protocol makes the group one.
    pub(super) fn downgrades_with(&self, id: &GroupId, replaced: &ConsumerMember) -> bool {
        let mut others = self.consumers.members(id).filter(|member| member.id != replaced.id);
        replaced.classic.is_none()
            && self.config.consumer_migration.downgrades()
            && self.consumers.member_count(id) <= self.config.size_max
            && others.all(|member| member.classic.is_some())
    }

    /// A classic group of members, each with its assignment.
    fn as_classic(
        &self,
        now: Now,
        id: &GroupId,
        epoch: i32,
        members: &[(&ConsumerMember, Arc<Assignment>)],
    ) -> ClassicGroup {
        let ms = |ms: i32| Duration::from_millis(u64::from(ms.max(0).unsigned_abs()));
        let classic = |member: &ConsumerMember| {
            let said = member.classic.clone().unwrap_or_default();
            let protocols = said.supported_protocols.into_iter().map(|it| (it.name, it.metadata));
            Member {
                id: member.id.clone(),
                instance: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout: ms(member.rebalance_timeout_ms),
                session_timeout: ms(said.session_timeout_ms),
                protocols: Protocols(protocols.collect()),
                assignment: Bytes::new(),
                is_new: false,
                awaiting_join: None,
                awaiting_sync: None,
            }
        };
        let all = members.iter().map(|(member, _)| classic(member)).collect();
        let mut group = ClassicGroup::of_consumers(id.clone(), epoch, all, now.wall);
        let protocol = group.protocol().unwrap_or_default().to_owned();
        for (member, assigned) in members {
            let known = group.member_mut(&member.id).expect("it was added");
            let said = known.protocols.get(&protocol).unwrap_or_default();
            known.assignment = embedded::assignment(assigned, &said, &*self.cluster);
        }
        group
    }

    /// The records of a downgrade. `replaced` has another id already.
    pub(super) fn downgrade_records(
        &self,
        id: &GroupId,
        downgrade: &Downgrade,
        replaced: Option<(&MemberId, &MemberId)>,
    ) -> Vec<Change> {
        let renamed = |member: &MemberId| match replaced {
            Some((old, new)) if old == member => new.clone(),
            _ => member.clone(),
        };
        let ids: Vec<MemberId> = self.consumers.members(id).map(|it| renamed(&it.id)).collect();
        let gone = records::no_group_of(&self.consumers, id, &ids);
        let mut changes: Vec<Change> =
            gone.into_iter().map(|record| Change::Consumer(Box::new(record))).collect();
        let mut value = downgrade.group.to_record(|member| member.assignment.clone());
        if downgrade.rebalances {
            // So another coordinator knows what is due.
            value.leader = None;
        }
        changes.push(Change::Group(id.clone(), value));
        changes
    }

    /// The records of a downgrade are replayed: the group goes on as a classic one.
    pub(super) fn become_classic(
        &mut self,
        now: Now,
        id: &GroupId,
        (downgrade, members): (Downgrade, &[MemberId]),
        out: &mut Effects,
    ) {
        members.iter().for_each(|member| self.cancel_consumer(id, member));
        let group = self.classic_mut(id).expect("its record was replayed");
        *group = downgrade.group;
        for member in group.members().ids() {
            self.keep_alive(now, id, &member);
        }
        if downgrade.rebalances {
            self.prepare_rebalance(now, id, out);
        }
    }
}

/// Whether nobody would make another assignment after an upgrade, though a rebalance is under way:
/// a static member that comes back changes nothing.
fn forgets_rebalance(group: &ClassicGroup, request: &ConsumerHeartbeat) -> bool {
    let replaces = |instance: &String| group.members().static_member(instance).is_some();
    group.state() != State::Stable && request.instance.as_ref().is_some_and(replaces)
}

/// All that a member has, also what it is to give back.
fn has(member: &ConsumerMember) -> Arc<Assignment> {
    let mut all = Assignment::default();
    for (topic, partition) in partitions(member) {
        all.0.entry(topic).or_default().push(partition);
    }
    all.0.values_mut().for_each(|partitions| partitions.sort_unstable());
    Arc::new(all)
}

/// Members of a classic group with what they may still read beside their assignments: what they
/// had when they joined, and nobody was given. A cooperative member gives that back when it knows
/// its assignment, and until it joins again nobody else may have it.
fn with_what_is_given_back(members: Vec<(ConsumerMember, Claimed)>) -> Vec<ConsumerMember> {
    let mut taken: BTreeSet<(Uuid, PartitionId)> =
        members.iter().flat_map(|(member, _)| partitions(member)).collect();
    let give_back = |(mut member, claimed): (ConsumerMember, Claimed)| {
        for (topic, ids) in claimed {
            for id in ids.into_iter().filter(|id| taken.insert((topic, *id))) {
                member.revoking.entry(topic).or_default().insert(id, member.epoch);
                member.state = MemberState::Unrevoked;
            }
        }
        member
    };
    members.into_iter().map(give_back).collect()
}

/// What a member says in the classic protocol, as a consumer group keeps it.
pub(super) fn classic_metadata(session: Duration, protocols: &Protocols) -> ClassicMemberMetadata {
    let protocol = |(name, metadata): &(String, Bytes)| ClassicProtocol {
        name: name.clone(),
        metadata: metadata.clone(),
        ..ClassicProtocol::default()
    };
    ClassicMemberMetadata {
        session_timeout_ms: to_ms(session),
        supported_protocols: protocols.0.iter().map(protocol).collect(),
        ..ClassicMemberMetadata::default()
    }
}

pub(super) fn to_ms(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// All writes of a step as one: all of it is kept, or nothing.
fn merge(own: Effects, out: &mut Effects) {
    let mut writes = own.writes.into_iter();
    let mut first = writes.next().expect("an upgrade writes");
    for write in writes {
        assert_eq!(first.then, Then::Nothing, "only the last one is waited for");
        first.records.extend(write.records);
        first.then = write.then;
    }
    out.writes.push(first);
    out.answers.extend(own.answers);
    out.errands.extend(own.errands);
}
