//! What becomes of the directories that are found at a start. Pure.
//!
//! The metadata says which partitions this node holds; the disk says which directories exist. A
//! directory whose topic id the metadata does not place here is never deleted, only renamed: it
//! may be the last copy of something (KIP-516, `LogManager.isStrayKraftReplica`).

use std::collections::{BTreeMap, BTreeSet};

use ottla_config::TopicConfig;
use ottla_storage::{PartitionDir, PartitionDirName};
use ottla_types::{TopicIdPartition, TopicPartition, Uuid};

use crate::request::Leadership;

/// A partition that the metadata places on this node.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Topic id and index.
    pub id: TopicIdPartition,
    /// Topic name and index.
    pub name: TopicPartition,
    /// The log directory of this node's replica, or one of the reserved ids.
    pub directory: Uuid,
    /// Whether this node leads it, and how.
    pub leadership: Leadership,
    /// The topic's configs.
    pub config: TopicConfig,
}

/// What to do with what was found.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DirPlan {
    /// Partitions whose directory is there.
    pub open: BTreeSet<TopicIdPartition>,
    /// Directories of copies that were to take the place of a log elsewhere.
    pub copies: Vec<(TopicIdPartition, String)>,
    /// Directories to be renamed to stray, with what their name says.
    pub stray: Vec<(String, TopicPartition)>,
    /// Directories that were deleted before and wait for their removal.
    pub remove: Vec<String>,
}

/// Compares what is in one log directory with the metadata. `is_begun` tells whether a partition's
/// directory without a readable topic id holds records: then it is stray; else its creation was
/// interrupted.
#[must_use]
pub fn plan_dirs(
    placements: &BTreeMap<TopicIdPartition, Placement>,
    found: &[PartitionDir],
    is_begun: impl Fn(&PartitionDir) -> bool,
) -> DirPlan {
    let mut plan = DirPlan::default();
    for dir in found {
        let name = match &dir.kind {
            PartitionDirName::Deleted => {
                plan.remove.push(dir.name.clone());
                continue;
            }
            PartitionDirName::Stray => continue,
            PartitionDirName::Log(name) | PartitionDirName::Future(name) => name,
        };
        let is_copy = matches!(dir.kind, PartitionDirName::Future(_));
        let placed =
            dir.topic_id.map(|topic_id| TopicIdPartition { topic_id, partition: name.partition });
        match placed {
            Some(id) if placements.get(&id).is_some_and(|placed| placed.name == *name) => {
                if is_copy {
                    plan.copies.push((id, dir.name.clone()));
                } else {
                    plan.open.insert(id);
                }
            }
            // Nobody needs what has not begun to be a copy.
            None if is_copy => plan.remove.push(dir.name.clone()),
            None if !is_begun(dir) => plan.remove.push(dir.name.clone()),
            _ => plan.stray.push((dir.name.clone(), name.clone())),
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use ottla_config::{Properties, Values};
    use ottla_types::{LeaderEpoch, PartitionId};

    use super::*;

    fn placement(topic: &str, id: u8) -> (TopicIdPartition, Placement) {
        let partition = PartitionId(0);
        let id = TopicIdPartition { topic_id: Uuid([id; 16]), partition };
        let name = TopicPartition { topic: topic.into(), partition };
        let directory = Uuid::DIR_UNASSIGNED;
        let leadership = Leadership { epoch: LeaderEpoch(0), leads: true, in_sync: 1, replicas: 1 };
        let values = Values::new(Properties::default()).expect("defaults are valid");
        let config = TopicConfig::defaults(&values);
        (id, Placement { id, name, directory, leadership, config })
    }

    fn dir(name: &str, topic_id: Option<u8>) -> PartitionDir {
        PartitionDir {
            name: name.to_owned(),
            kind: PartitionDirName::parse(name).expect("a directory of Kafka's"),
            topic_id: topic_id.map(|byte| Uuid([byte; 16])),
        }
    }

    #[test]
    fn each_directory_has_its_fate() {
        let placements = BTreeMap::from([placement("a", 1), placement("b", 2), placement("c", 3)]);
        let copy = |name: &str| format!("{name}.{}-future", Uuid([8; 16]).to_hex());
        let deleted = format!("x-0.{}-delete", Uuid([9; 16]).to_hex());
        let found = [
            dir("a-0", Some(1)),
            dir("b-0", Some(7)),
            dir("c-0", None),
            dir("d-0", Some(4)),
            dir("e-0", None),
            dir(&deleted, Some(9)),
            dir(&deleted.replace("-delete", "-stray"), Some(9)),
            dir(&copy("a-0"), Some(1)),
            dir(&copy("b-0"), Some(8)),
            dir(&copy("c-0"), None),
        ];
        let plan = plan_dirs(&placements, &found, |dir| dir.name == "e-0");
        let id = |byte| TopicIdPartition { topic_id: Uuid([byte; 16]), partition: PartitionId(0) };
        assert_eq!(plan.open, [id(1)].into());
        assert_eq!(plan.copies, [(id(1), copy("a-0"))]);
        let stray: Vec<_> = plan.stray.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(stray, ["b-0", "d-0", "e-0", &copy("b-0")]);
        assert_eq!(plan.remove, ["c-0".to_owned(), deleted, copy("c-0")]);
    }
}
