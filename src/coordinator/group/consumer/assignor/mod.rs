//! The assignors of the coordinator: who is to have which partitions. Pure functions; what they
//! answer equals what Kafka's answer to the same.
//!
//! - `uniform`: as many partitions for each member as for any other, give or take one; members keep
//!   what they have as far as that allows.
//! - `range`: of each topic a run of partitions for each member, in the order of their names.
//!
//! Where Kafka's iterate over hash tables, the order of these decides who gets one more:
//! [`java_order`] is that order.
//!
//! Source: `RangeAssignor`, `UniformAssignor` of Kafka.

mod balance;
mod heterogeneous;
mod homogeneous;
mod java_order;
mod range;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::{Uuid, java_string_hash};

use super::member::Assignment;
use crate::group::MemberId;

/// An assignor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Assignor {
    /// As many partitions for each as for any other.
    Uniform,
    /// Runs of partitions, in the order of names.
    Range,
}

impl Assignor {
    /// All of them, the default one first.
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// Its name in the protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The assignor of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|it| it.name() == name)
    }

    /// What each member is to have, in the order of the members.
    #[must_use]
    pub fn assign(self, task: &Task) -> Vec<Assignment> {
        if task.members.is_empty() {
            return Vec::new();
        }
        match self {
            Assignor::Range => range::assign(task),
            Assignor::Uniform if task.is_homogeneous => homogeneous::assign(task),
            Assignor::Uniform => heterogeneous::assign(task),
        }
    }

    /// The assignor that most members ask for, by how many ask for each.
    #[must_use]
    pub fn preferred(counts: &BTreeMap<String, usize>) -> Assignor {
        let asked =
            counts.iter().filter_map(|(name, count)| Some((Assignor::named(name)?, *count)));
        let mut asked: Vec<(Assignor, usize)> = asked.filter(|(_, count)| *count > 0).collect();
        java_order::sort(&mut asked, java_order::grown(2), |(it, _)| java_string_hash(it.name()));
        let most = asked.iter().map(|(_, count)| *count).max();
        let first = asked.iter().find(|(_, count)| Some(*count) == most);
        first.map_or(Assignor::ALL[0], |(assignor, _)| *assignor)
    }
}

/// What is to be assigned.
#[derive(Clone, Default, Debug)]
pub struct Task {
    /// The members, by id.
    pub members: Vec<TaskMember>,
    /// Partitions of each topic that somebody subscribes to.
    pub topics: BTreeMap<Uuid, i32>,
    /// Whether all members subscribe to the same topics.
    pub is_homogeneous: bool,
}

/// A member, as an assignor sees it.
#[derive(Clone, Debug)]
pub struct TaskMember {
    /// Its id.
    pub id: MemberId,
    /// Its instance id when it is a static member.
    pub instance: Option<String>,
    /// The topics that it subscribes to, sorted; all of them are in the task.
    pub topics: Vec<Uuid>,
    /// What it is to have so far.
    pub assigned: Arc<Assignment>,
}

impl Task {
    /// Members in the order in which Kafka's assignors see them.
    fn members_in_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.members.len()).collect();
        let size = java_order::grown(self.members.len());
        java_order::sort(&mut order, size, |at| java_string_hash(&self.members[*at].id));
        order
    }
}
