//! Who reads what in consumer groups, by what their members were told.
//!
//! Pure. A member *reads* a partition from the moment in which it was told so and took it, to the
//! one in which it drops it. What it reads counts up to a time that it knows by itself: until then
//! the coordinator cannot have put it out, whatever becomes of its process, for a session begins
//! with a heartbeat and a load begins all sessions anew. Two members of a group whose readings
//! count and have a partition in common are what must never be.
//!
//! Epochs count for ever: whatever is told is in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_types::MonoTime;
use uuid::Uuid;

use crate::groups::promises::GroupNumber;

/// Longest time that an answer is on its way.
const TOLD_WITHIN: Duration = Duration::from_millis(50);

/// A partition of a topic.
pub type Partition = (Uuid, i32);
/// Some partitions.
pub type Partitions = BTreeSet<Partition>;

/// What one member reads.
#[derive(Default)]
struct Reader {
    /// The partitions, and the number of the grant by which it has each.
    owned: BTreeMap<Partition, u64>,
    /// Until when that counts.
    until: MonoTime,
    /// Since when it is certainly a member, up to that time.
    since: MonoTime,
}

/// The highest epoch that was told when somebody asked: of which beginning of a group's epochs, and
/// the epoch. Of nobody who counts it is the default.
pub type Floor = (u32, i32);

#[derive(Default)]
struct Group {
    /// How often its epochs have begun anew.
    begun: u32,
    /// The highest epoch that a member was told, of a group of both protocols since it last may
    /// have been without members, and when.
    told: i32,
    told_at: MonoTime,
    /// How often each partition was given to somebody, in time.
    grants: BTreeMap<Partition, u64>,
    readers: BTreeMap<u32, Reader>,
    seen: Described,
    seen_at: MonoTime,
}

/// What an operator was told of a group.
#[derive(Clone, Default, Debug)]
pub struct Described {
    pub group_epoch: i32,
    pub target_epoch: i32,
    /// Epochs of members and what they have, by id.
    pub members: BTreeMap<String, (i32, Partitions)>,
}

/// All readers of all groups.
#[derive(Default)]
pub struct Readers {
    groups: BTreeMap<GroupNumber, Group>,
    /// The id of the topic that stays, once it is there.
    pub topic: Option<Uuid>,
}

impl Group {
    /// Whether somebody else is a member now, and was one at a time, and so always in between.
    fn has_stayed(&self, member: Option<u32>, since: MonoTime, now: MonoTime) -> bool {
        let mut others = self.readers.iter().filter(|(other, _)| Some(**other) != member);
        others.any(|(_, it)| it.since.after(TOLD_WITHIN) <= since && it.until > now)
    }
}

impl Readers {
    fn group(&mut self, group: GroupNumber) -> &mut Group {
        self.groups.entry(group).or_default()
    }

    /// The highest epoch that anybody of the group was told.
    pub fn highest(&self, group: GroupNumber) -> Floor {
        self.groups.get(&group).map_or((0, 0), |group| (group.begun, group.told))
    }

    /// A member was told its epoch; a new one is in the target's, which only rises, so not in one
    /// below `floor`, the highest one when it asked.
    pub fn told_epoch(
        &mut self,
        group: GroupNumber,
        (epoch, (_, floor)): (i32, Floor),
    ) -> Result<(), String> {
        let group = self.group(group);
        group.told = group.told.max(epoch);
        if epoch < floor {
            return Err(format!("somebody joins in epoch {epoch}, {floor} was told"));
        }
        Ok(())
    }

    /// The same of a group of both protocols, whose epochs begin anew when it is without members
    /// and somebody comes with the other protocol: that cannot be while somebody is certainly one.
    pub fn told_epoch_of_mixed(
        &mut self,
        group: GroupNumber,
        member: u32,
        (epoch, (begun, floor)): (i32, Floor),
        now: MonoTime,
    ) -> Result<(), String> {
        let group = self.group(group);
        let has_stayed = group.has_stayed(Some(member), group.told_at, now);
        // Epochs may have begun anew since it was asked.
        let floor = if begun == group.begun { floor } else { 0 };
        if epoch < floor && !has_stayed {
            group.begun += 1;
            (group.told, group.told_at) = (epoch, now);
            return Ok(());
        }
        // What was asked before they did says nothing of those that are now.
        if epoch > group.told && begun == group.begun {
            (group.told, group.told_at) = (epoch, now);
        }
        match epoch < floor {
            true => Err(format!("somebody joins in epoch {epoch}, {floor} was told")),
            false => Ok(()),
        }
    }

    /// A member reads exactly these partitions, which counts until some time.
    pub fn reads(
        &mut self,
        group: GroupNumber,
        member: u32,
        partitions: &Partitions,
        (now, until): (MonoTime, MonoTime),
    ) -> Result<(), String> {
        let group = self.group(group);
        let before = std::mem::take(&mut group.readers.entry(member).or_default().owned);
        let mut owned = BTreeMap::new();
        for partition in partitions {
            let grant = before.get(partition).copied().unwrap_or_else(|| {
                let last = group.grants.entry(*partition).or_default();
                // What is told too late may be older than what others were told before.
                *last += u64::from(until > now);
                *last
            });
            owned.insert(*partition, grant);
        }
        let mut result = Ok(());
        for (other, reader) in &group.readers {
            let counts = *other != member && reader.until > now && until > now;
            let both = owned.keys().find(|partition| reader.owned.contains_key(*partition));
            if let Some((topic, partition)) = both.filter(|_| counts) {
                result = Err(format!("{other} and {member} both read {partition} of {topic}"));
            }
        }
        let reader = group.readers.entry(member).or_default();
        let since = if reader.until > now { reader.since } else { now };
        *reader = Reader { owned, until, since };
        result
    }

    /// What a member reads counts no longer than this.
    pub fn counts_until(&mut self, group: GroupNumber, member: u32, until: MonoTime) {
        let reader = self.group(group).readers.entry(member).or_default();
        reader.until = reader.until.min(until);
    }

    /// What all members of a group read.
    pub fn all(&self, group: GroupNumber) -> Partitions {
        let readers = self.groups.get(&group).into_iter().flat_map(|group| group.readers.values());
        readers.flat_map(|reader| reader.owned.keys().copied()).collect()
    }

    /// Whether nobody was given the partition after this member, which reads it.
    pub fn is_last_owner(&self, group: GroupNumber, member: u32, partition: Partition) -> bool {
        let Some(group) = self.groups.get(&group) else { return false };
        let own = group.readers.get(&member).and_then(|reader| reader.owned.get(&partition));
        own.is_some() && own == group.grants.get(&partition)
    }

    /// What an operator is told follows what was told before, and is sound in itself. Of a group
    /// of both protocols, with the time: it may have begun anew.
    pub fn described(
        &mut self,
        group: GroupNumber,
        told: Described,
        mixed_at: Option<MonoTime>,
    ) -> Result<(), String> {
        let group = self.group(group);
        if let Some(now) = mixed_at {
            let has_stayed = group.has_stayed(None, group.seen_at, now);
            let seen = &group.seen;
            let is_anew =
                told.group_epoch < seen.group_epoch || told.target_epoch < seen.target_epoch;
            if is_anew && !has_stayed {
                group.seen = Described::default();
            }
            group.seen_at = now;
        }
        let seen = &mut group.seen;
        let (epoch, target) = (told.group_epoch, told.target_epoch);
        if target > epoch {
            return Err(format!("the target's epoch {target} is above the group's {epoch}"));
        }
        if epoch < seen.group_epoch || target < seen.target_epoch {
            let before = (seen.group_epoch, seen.target_epoch);
            return Err(format!("the epochs {before:?} went back to {:?}", (epoch, target)));
        }
        let mut owners: BTreeMap<Partition, &str> = BTreeMap::new();
        for (id, (member_epoch, partitions)) in &told.members {
            if *member_epoch > target {
                return Err(format!("{id} is in {member_epoch}, ahead of the target's {target}"));
            }
            let before = seen.members.get(id).map_or(0, |(epoch, _)| *epoch);
            if *member_epoch >= 0 && *member_epoch < before {
                return Err(format!("{id} is in {member_epoch}, and was in {before}"));
            }
            for partition in partitions {
                if let Some(other) = owners.insert(*partition, id) {
                    return Err(format!("{other} and {id} both have {partition:?}"));
                }
            }
        }
        *seen = told;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Described, Duration, MonoTime, Partition, Partitions, Readers, Uuid};

    fn at(ms: u64) -> MonoTime {
        MonoTime::default().after(Duration::from_millis(ms))
    }

    fn some(partitions: &[i32]) -> Partitions {
        partitions.iter().map(|it| (Uuid::nil(), *it)).collect()
    }

    fn reads(readers: &mut Readers, member: u32, what: &[i32], times: (u64, u64)) -> bool {
        readers.reads(0, member, &some(what), (at(times.0), at(times.1))).is_ok()
    }

    #[test]
    fn a_partition_is_read_by_one_whose_time_is_not_over() {
        let mut readers = Readers::default();
        assert!(reads(&mut readers, 0, &[0, 1], (0, 10)));
        assert!(reads(&mut readers, 1, &[2], (5, 15)));
        assert!(!reads(&mut readers, 1, &[1], (6, 15)), "0 reads it");
        assert!(reads(&mut readers, 1, &[1], (10, 15)), "its time is over");
        assert!(!reads(&mut readers, 0, &[1], (11, 20)), "and does not begin again");
        assert!(reads(&mut readers, 0, &[], (11, 20)));
        readers.counts_until(0, 1, at(12));
        assert!(reads(&mut readers, 0, &[1], (13, 20)));
    }

    #[test]
    fn whoever_was_given_a_partition_last_owns_it() {
        const PLACE: Partition = (Uuid::nil(), 1);
        let mut readers = Readers::default();
        assert!(reads(&mut readers, 0, &[1], (0, 10)));
        assert!(readers.is_last_owner(0, 0, PLACE));
        assert!(reads(&mut readers, 1, &[1], (10, 20)));
        assert!(!readers.is_last_owner(0, 0, PLACE) && readers.is_last_owner(0, 1, PLACE));
        assert!(reads(&mut readers, 2, &[1], (12, 11)), "too late");
        assert!(readers.is_last_owner(0, 1, PLACE));
    }

    #[test]
    fn epochs_of_a_mixed_group_begin_anew_only_without_members() {
        let mut readers = Readers::default();
        let told = |readers: &mut Readers, member, epochs, now| {
            readers.told_epoch_of_mixed(0, member, epochs, at(now)).is_ok()
        };
        assert!(reads(&mut readers, 0, &[0], (0, 1_000)));
        assert!(told(&mut readers, 1, (7, (0, 0)), 100));
        assert!(!told(&mut readers, 2, (1, (0, 7)), 900), "0 was there all the time");
        assert!(told(&mut readers, 2, (1, (0, 7)), 1_000), "all may have been gone");
        assert_eq!(readers.highest(0), (1, 1));
        assert!(told(&mut readers, 2, (2, (0, 7)), 1_001), "it asked before that");
        let says = |readers: &mut Readers, epoch, now| {
            let told =
                Described { group_epoch: epoch, target_epoch: epoch, ..Described::default() };
            readers.described(0, told, Some(at(now))).is_ok()
        };
        assert!(says(&mut readers, 5, 1_000) && says(&mut readers, 4, 1_100));
        assert!(reads(&mut readers, 0, &[0], (1_200, 9_000)));
        assert!(says(&mut readers, 6, 1_300) && !says(&mut readers, 5, 1_400));
    }

    #[test]
    fn epochs_only_rise() {
        let mut readers = Readers::default();
        assert!(readers.told_epoch(0, (3, (0, 0))).is_ok());
        assert_eq!(readers.highest(0), (0, 3));
        assert!(readers.told_epoch(0, (2, (0, 3))).is_err());
        let mut says = |epochs: (i32, i32), members: &[(&str, i32, &[i32])]| {
            let member =
                |&(id, epoch, owned): &(&str, i32, &[i32])| (id.to_owned(), (epoch, some(owned)));
            let members = members.iter().map(member).collect();
            let told = Described { group_epoch: epochs.0, target_epoch: epochs.1, members };
            readers.described(0, told, None).is_ok()
        };
        assert!(says((5, 4), &[("a", 4, &[0]), ("b", 3, &[1])]));
        assert!(!says((4, 4), &[]), "the group's");
        assert!(!says((5, 3), &[]), "the target's");
        assert!(!says((5, 6), &[]), "a target of what is to come");
        assert!(!says((5, 4), &[("a", 5, &[])]), "ahead of the target");
        assert!(!says((5, 4), &[("a", 3, &[])]), "a member's");
        assert!(says((5, 4), &[("a", -2, &[])]), "it is away");
        assert!(!says((5, 4), &[("a", 4, &[0]), ("b", 4, &[0])]), "two have it");
    }
}
