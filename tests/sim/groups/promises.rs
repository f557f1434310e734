//! What groups were promised.
//!
//! Pure: members tell it what they ask and what they are answered, and it says what contradicts
//! what came before. Time runs in *lives* of the broker. A generation counts for ever once its
//! assignment was told, for that is in the log; one that was only joined dies with its life, and
//! its number may be given again.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::MonoTime;

use super::consumer::Readers;

/// A group, by its number.
pub type GroupNumber = usize;

/// A question, as things stood when it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub group: GroupNumber,
    life: u32,
    /// No generation below this is any more, in this life.
    floor: i32,
    /// The same for ever.
    assigned: i32,
    /// Whether the id that asks was replaced.
    is_fenced: bool,
    /// Whether the coordinator is known to have loaded the group: until then it takes every
    /// heartbeat, as Kafka does, for it does not know better.
    pub is_loaded: bool,
}

/// What a member was told when it joined.
#[derive(Clone, Debug)]
pub struct ToldJoin {
    pub id: String,
    pub generation: i32,
    pub leader: String,
    /// The id that it asked with; empty for none.
    pub asked_as: String,
    /// Its instance id when it is a static member.
    pub instance: Option<String>,
}

/// How a member stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    pub id: String,
    pub generation: i32,
    /// Whether it knows its assignment.
    pub is_in: bool,
    /// Whether it knows that it will stay to the end.
    pub stays: bool,
}

/// An assignment as a leader makes it, for one member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    pub generation: i32,
    /// Names what the leader decided, for all members.
    pub decision: u64,
    pub partitions: Vec<i32>,
}

/// When a member was last heard of, as far as one can tell who does not see the broker.
#[derive(Clone, Copy, Default, Debug)]
struct Heard {
    life: u32,
    /// When the last question was sent that was answered well.
    sent: MonoTime,
    /// When it was answered.
    answered: MonoTime,
    /// Whether other questions may be on their way: then nobody can tell.
    is_unsure: bool,
}

struct Committed {
    /// The highest offset that was acknowledged, or told; -1 for none.
    floor: i64,
    /// The highest offset that was sent; -1 for none.
    sent: i64,
}

#[derive(Default)]
struct Group {
    /// The highest generation whose assignment was told.
    assigned: i32,
    /// The highest generation that was told in this life.
    told: i32,
    /// Leaders of the generations of this life.
    leaders: BTreeMap<i32, String>,
    /// What was decided in a generation.
    decisions: BTreeMap<i32, u64>,
    /// Who owns a partition in a generation.
    owners: BTreeMap<(i32, i32), String>,
    offsets: BTreeMap<i32, Committed>,
    /// All ids that static members had.
    ids: BTreeMap<String, BTreeSet<String>>,
    /// Ids that were replaced in this life, or for ever.
    fenced: BTreeSet<String>,
    fenced_for_ever: BTreeSet<String>,
    /// How often somebody came as a static member without its id.
    came: BTreeMap<String, u32>,
    /// The same, at the time when an id was told an assignment, and so is in the log.
    kept: BTreeMap<String, u32>,
    /// Static members of whom somebody may yet come in this life: he hung up.
    unsure: BTreeSet<String>,
    heard: BTreeMap<String, Heard>,
    /// Ids with questions that were given up in this life: they may be waited for still.
    blind: BTreeSet<String>,
    members: BTreeMap<u32, Standing>,
    is_loaded: bool,
}

/// Everything that was promised.
#[derive(Default)]
pub struct Promises {
    life: u32,
    groups: BTreeMap<GroupNumber, Group>,
    /// What members of consumer groups read.
    pub readers: Readers,
    /// Whether all members began.
    pub is_founded: bool,
}

/// What members of several incarnations have in common: a static member's instance id, which its
/// id begins with.
fn identity(id: &str) -> &str {
    match id.split_once('-') {
        Some((instance, _)) if instance.starts_with("static") => instance,
        _ => id,
    }
}

impl Assignment {
    pub fn encode(&self) -> String {
        let partitions: Vec<String> = self.partitions.iter().map(ToString::to_string).collect();
        format!("{}/{}/{}", self.generation, self.decision, partitions.join(","))
    }

    pub fn decode(bytes: &[u8]) -> Option<Assignment> {
        let mut parts = std::str::from_utf8(bytes).ok()?.split('/');
        let (generation, decision) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let partitions = parts.next()?.split(',').filter(|it| !it.is_empty());
        let partitions = partitions.map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Assignment { generation, decision, partitions })
    }
}

impl Promises {
    /// A process of the broker ended, or one begins: what only it knew is gone.
    pub fn next_life(&mut self) {
        self.life += 1;
        for group in self.groups.values_mut() {
            group.told = group.assigned;
            group.leaders.clear();
            group.fenced.clear();
            group.blind.clear();
            // Whoever was on his way came, or never will.
            for instance in std::mem::take(&mut group.unsure) {
                *group.came.entry(instance).or_default() += 1;
            }
            group.is_loaded = false;
        }
    }

    pub fn life(&self) -> u32 {
        self.life
    }

    fn group(&mut self, group: GroupNumber) -> &mut Group {
        self.groups.entry(group).or_default()
    }

    /// A member is about to ask something as `id`.
    pub fn asks(&mut self, group: GroupNumber, id: &str) -> Asked {
        let life = self.life;
        let known = self.group(group);
        if let Some(heard) = known.heard.get_mut(id) {
            heard.is_unsure = true;
        }
        let is_fenced = known.fenced.contains(id) || known.fenced_for_ever.contains(id);
        let (floor, assigned) = (known.told.max(known.assigned), known.assigned);
        let is_loaded = known.is_loaded;
        Asked { group, life, floor, assigned, is_fenced, is_loaded }
    }

    /// Something but a heartbeat was answered well: the group is loaded.
    pub fn is_served(&mut self, asked: &Asked) {
        let is_same_life = asked.life == self.life;
        self.group(asked.group).is_loaded |= is_same_life;
    }

    /// A question of `id` in `generation` was answered well.
    pub fn accepted(
        &mut self,
        asked: &Asked,
        (id, generation): (&str, i32),
        what: &str,
    ) -> Result<(), String> {
        let is_same_life = asked.life == self.life;
        let group = self.group(asked.group);
        let floor = if is_same_life { asked.floor } else { asked.assigned };
        if generation < floor {
            return Err(format!("{what} of generation {generation} is taken, {floor} was told"));
        }
        let is_fenced = match is_same_life {
            true => asked.is_fenced,
            false => asked.is_fenced && group.fenced_for_ever.contains(id),
        };
        if is_fenced {
            return Err(format!("{what} of {id} is taken, whose place another one took"));
        }
        Ok(())
    }

    /// Somebody was told that he joined.
    pub fn joined(&mut self, asked: &Asked, told: &ToldJoin) -> Result<(), String> {
        let number = asked.group;
        let generation = told.generation;
        self.accepted(asked, (&told.asked_as, generation), "a join")?;
        let is_same_life = asked.life == self.life;
        let group = self.group(number);
        if !is_same_life {
            return Ok(());
        }
        let leader = identity(&told.leader).to_owned();
        let known = group.leaders.entry(generation).or_insert(leader.clone());
        if *known != leader {
            return Err(format!("generation {generation} is led by {known} and by {leader}"));
        }
        group.told = group.told.max(generation);
        if let Some(instance) = &told.instance {
            let ids = group.ids.entry(instance.clone()).or_default();
            ids.insert(told.id.clone());
            let others = ids.iter().filter(|id| **id != told.id).cloned();
            group.fenced.extend(others);
        }
        Ok(())
    }

    /// Somebody was told his assignment, in words that a leader chose.
    pub fn assigned(
        &mut self,
        asked: &Asked,
        (id, generation): (&str, i32),
        told: &[u8],
    ) -> Result<Vec<i32>, String> {
        self.accepted(asked, (id, generation), "a sync")?;
        let Some(assignment) = Assignment::decode(told) else {
            return Err(format!("{id} is told the assignment {told:?} in {generation}"));
        };
        if assignment.generation != generation {
            let of = assignment.generation;
            return Err(format!("{id} is told the assignment of {of} in generation {generation}"));
        }
        let group = self.group(asked.group);
        let decision = assignment.decision;
        let known = *group.decisions.entry(generation).or_insert(decision);
        if known != decision {
            return Err(format!("generation {generation} has two assignments"));
        }
        for partition in &assignment.partitions {
            let owner = identity(id).to_owned();
            let known = group.owners.entry((generation, *partition)).or_insert(owner.clone());
            if *known != owner {
                return Err(format!("{known} and {owner} own {partition} in {generation}"));
            }
        }
        group.assigned = group.assigned.max(generation);
        group.told = group.told.max(generation);
        // Its id is in the log now, and none that it had before.
        let is_before = |other: &&String| identity(other) == identity(id) && **other != id;
        let before: Vec<String> = group.fenced.iter().filter(is_before).cloned().collect();
        group.fenced_for_ever.extend(before);
        let came = group.came.get(identity(id)).copied().unwrap_or(0);
        group.kept.insert(id.to_owned(), came);
        Ok(assignment.partitions)
    }

    /// Somebody is about to come as a static member without its id.
    pub fn comes(&mut self, group: GroupNumber, instance: &str) {
        *self.group(group).came.entry(instance.to_owned()).or_default() += 1;
    }

    /// He hung up before he was answered.
    pub fn may_come(&mut self, group: GroupNumber, instance: &str) {
        self.group(group).unsure.insert(instance.to_owned());
    }

    /// A static member was told that another one took its place.
    pub fn told_fenced(&mut self, group: GroupNumber, id: &str) -> Result<(), String> {
        let known = self.group(group);
        let instance = identity(id);
        let kept = known.kept.get(id);
        if kept.is_some() && kept == known.came.get(instance) && !known.unsure.contains(instance) {
            return Err(format!("{id} is fenced, and nobody took its place"));
        }
        Ok(())
    }

    /// Whether a commit of this generation would be of one that is over.
    pub fn is_over(&self, group: GroupNumber, generation: i32) -> bool {
        self.groups.get(&group).is_some_and(|group| generation < group.told.max(group.assigned))
    }

    /// An offset is about to be sent.
    pub fn commits(&mut self, group: GroupNumber, partition: i32, offset: i64) {
        let committed = self.group(group).offsets.entry(partition).or_default();
        committed.sent = committed.sent.max(offset);
    }

    /// An offset was acknowledged.
    pub fn committed(&mut self, group: GroupNumber, partition: i32, offset: i64) {
        let committed = self.group(group).offsets.entry(partition).or_default();
        committed.floor = committed.floor.max(offset);
    }

    /// What was told of an offset.
    pub fn floor(&self, group: GroupNumber, partition: i32) -> i64 {
        let offsets = self.groups.get(&group).map(|group| &group.offsets);
        offsets.and_then(|offsets| offsets.get(&partition)).map_or(-1, |offset| offset.floor)
    }

    /// An offset was told to somebody who asked when `floor` was known.
    pub fn told_offset(
        &mut self,
        group: GroupNumber,
        partition: i32,
        (offset, metadata): (i64, &str),
        floor: i64,
    ) -> Result<(), String> {
        let committed = self.group(group).offsets.entry(partition).or_default();
        if offset < floor {
            return Err(format!("offset {partition} of group {group} is {offset}, was {floor}"));
        }
        if offset > committed.sent {
            return Err(format!("offset {partition} of group {group} is {offset}: nobody's"));
        }
        let expected = if offset < 0 { String::new() } else { format!("to {offset}") };
        if metadata != expected {
            return Err(format!("offset {offset} of group {group} has the text {metadata:?}"));
        }
        committed.floor = committed.floor.max(offset);
        Ok(())
    }

    /// A heartbeat of a member was answered well; nothing else of it is on its way.
    pub fn was_heard(&mut self, asked: &Asked, id: &str, sent: MonoTime, answered: MonoTime) {
        let life = asked.life;
        let heard = Heard { life, sent, answered, is_unsure: false };
        self.group(asked.group).heard.insert(id.to_owned(), heard);
    }

    /// Since when nobody can have heard of a member; `None` when nobody can tell.
    pub fn silent_since(&self, group: GroupNumber, id: &str) -> Option<MonoTime> {
        let heard = self.groups.get(&group)?.heard.get(id)?;
        let is_blind = self.groups.get(&group)?.blind.contains(id);
        (heard.life == self.life && !heard.is_unsure && !is_blind).then_some(heard.answered)
    }

    /// Until when a member was certainly heard of: sent by then, and answered well.
    pub fn heard_at(&self, group: GroupNumber, id: &str) -> Option<MonoTime> {
        let heard = self.groups.get(&group)?.heard.get(id)?;
        (heard.life == self.life).then_some(heard.sent)
    }

    /// A question of a member was given up; it may be answered later, and keep it alive.
    pub fn lost(&mut self, group: GroupNumber, id: &str) {
        self.group(group).blind.insert(id.to_owned());
    }

    /// Nothing of a member's id counts any more: it left, or somebody acted for it.
    pub fn forget(&mut self, group: GroupNumber, id: &str) {
        self.group(group).heard.remove(id);
    }

    /// How a member stands; `None` when it is not there.
    pub fn stands(&mut self, group: GroupNumber, member: u32, standing: Option<Standing>) {
        match standing {
            Some(standing) => drop(self.group(group).members.insert(member, standing)),
            None => drop(self.group(group).members.remove(&member)),
        }
    }

    /// How all members of a group stand.
    pub fn members(&self, group: GroupNumber) -> Vec<Standing> {
        let members = self.groups.get(&group).map(|group| group.members.values().cloned());
        members.into_iter().flatten().collect()
    }

    /// What was never given to anybody of so many partitions, in a generation that was assigned.
    pub fn unowned(&self, group: GroupNumber, generation: i32, partitions: i32) -> Vec<i32> {
        let owners = self.groups.get(&group).map(|group| &group.owners);
        let is_owned = |partition: &i32| {
            owners.is_some_and(|owners| owners.contains_key(&(generation, *partition)))
        };
        (0..partitions).filter(|partition| !is_owned(partition)).collect()
    }
}

impl Default for Committed {
    fn default() -> Committed {
        Committed { floor: -1, sent: -1 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Assignment, Promises, ToldJoin};

    fn join(promises: &mut Promises, id: &str, generation: i32, leader: &str) -> bool {
        let asked = promises.asks(0, "");
        let instance = id.starts_with("static").then(|| super::identity(id).to_owned());
        let told = ToldJoin {
            id: id.to_owned(),
            generation,
            leader: leader.to_owned(),
            asked_as: String::new(),
            instance,
        };
        promises.joined(&asked, &told).is_ok()
    }

    fn sync(
        promises: &mut Promises,
        id: &str,
        generation: i32,
        (of, decision): (i32, u64),
        partitions: &[i32],
    ) -> bool {
        let asked = promises.asks(0, id);
        let partitions = partitions.to_vec();
        let told = Assignment { generation: of, decision, partitions }.encode();
        promises.assigned(&asked, (id, generation), told.as_bytes()).is_ok()
    }

    #[test]
    fn a_partition_has_one_owner_in_a_generation() {
        let mut promises = Promises::default();
        assert!(sync(&mut promises, "a", 1, (1, 7), &[0, 1]));
        assert!(sync(&mut promises, "b", 1, (1, 7), &[2]));
        assert!(!sync(&mut promises, "c", 1, (1, 7), &[1]), "a second owner");
        assert!(!sync(&mut promises, "c", 1, (1, 8), &[]), "another decision");
        assert!(!sync(&mut promises, "c", 2, (1, 7), &[]), "of the generation before");
        assert!(sync(&mut promises, "static0-x", 2, (2, 9), &[1]));
        assert!(sync(&mut promises, "static0-y", 2, (2, 9), &[1]), "the same member");
        assert_eq!(promises.unowned(0, 2, 2), [0]);
    }

    #[test]
    fn generations_grow_and_what_was_only_joined_dies_with_its_life() {
        let mut promises = Promises::default();
        assert!(join(&mut promises, "a", 1, "a") && sync(&mut promises, "a", 1, (1, 1), &[]));
        assert!(join(&mut promises, "a", 2, "a"));
        assert!(!join(&mut promises, "b", 1, "b"), "goes back");
        assert!(!join(&mut promises, "b", 2, "b"), "another leader");
        let asked = promises.asks(0, "a");
        assert!(promises.accepted(&asked, ("a", 1), "a commit").is_err(), "it is over");
        promises.next_life();
        assert!(join(&mut promises, "b", 2, "b"), "given again");
        assert!(sync(&mut promises, "b", 2, (2, 1), &[]));
        promises.next_life();
        assert!(!join(&mut promises, "b", 1, "b"), "2 was assigned");
    }

    #[test]
    fn who_was_replaced_is_fenced() {
        let mut promises = Promises::default();
        assert!(join(&mut promises, "static0-x", 1, "static0-x"));
        assert!(join(&mut promises, "static0-y", 1, "static0-x"));
        let asked = promises.asks(0, "static0-x");
        assert!(promises.accepted(&asked, ("static0-x", 1), "a heartbeat").is_err());
        promises.next_life();
        let asked = promises.asks(0, "static0-x");
        assert!(promises.accepted(&asked, ("static0-x", 1), "a heartbeat").is_ok(), "forgotten");
        assert!(sync(&mut promises, "static0-y", 1, (1, 1), &[]));
        promises.comes(0, "static0");
        assert!(promises.told_fenced(0, "static0-y").is_ok(), "somebody came");
        assert!(join(&mut promises, "static0-z", 2, "static0-z"));
        assert!(sync(&mut promises, "static0-z", 2, (2, 1), &[]));
        assert!(promises.told_fenced(0, "static0-z").is_err(), "nobody came");
        promises.may_come(0, "static0");
        assert!(promises.told_fenced(0, "static0-z").is_ok(), "somebody may have come");
    }

    #[test]
    fn an_offset_never_goes_back() {
        let mut promises = Promises::default();
        promises.commits(0, 0, 5);
        promises.committed(0, 0, 4);
        assert!(promises.told_offset(0, 0, (5, "to 5"), 4).is_ok());
        assert_eq!(promises.floor(0, 0), 5);
        assert!(promises.told_offset(0, 0, (4, "to 4"), 5).is_err(), "regressed");
        assert!(promises.told_offset(0, 0, (6, "to 6"), 5).is_err(), "never sent");
        assert!(promises.told_offset(0, 0, (5, "to 4"), 5).is_err(), "another one's text");
    }
}
