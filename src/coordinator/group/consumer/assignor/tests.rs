//! What Kafka's assignors answer to random tasks (`tests/clients/java/AssignorCases.java`), and
//! what ours do: the same. `cases.txt` is a sample; `OTTLA_ASSIGNOR_CASES=FILE` reads more.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::{PartitionId, Uuid};

use super::{Assignor, Task, TaskMember};
use crate::group::MemberId;
use crate::group::consumer::member::Assignment;

fn uuid(text: &str) -> Uuid {
    text.parse().expect("an id")
}

/// `TOPIC:PARTITION.../...`
fn partitions(text: &str) -> Assignment {
    let topics = text.split('/').filter_map(|topic| topic.split_once(':'));
    let partition = |id: &str| PartitionId(id.parse().expect("a number"));
    let ids = |list: &str| list.split('.').map(partition).collect();
    Assignment(topics.map(|(id, list)| (uuid(id), ids(list))).collect())
}

fn member(text: &str) -> TaskMember {
    let parts: Vec<&str> = text.split('|').collect();
    let [id, instance, topics, had] = parts.as_slice() else { panic!("{text}") };
    let topics = topics.split(',').filter(|id| !id.is_empty()).map(uuid);
    let mut topics: Vec<Uuid> = topics.collect();
    topics.sort_unstable();
    TaskMember {
        id: MemberId::from(*id),
        instance: Some((*instance).to_owned()).filter(|it| !it.is_empty()),
        topics,
        assigned: Arc::new(partitions(had)),
    }
}

fn check(line: &str) {
    let (asked, expected) = line.split_once("=>").expect("a task and its answer");
    let mut parts = asked.split(';');
    let assignor = Assignor::named(parts.next().expect("a name")).expect("an assignor");
    let topics = parts.next().expect("topics").split(' ').filter_map(|it| it.split_once(':'));
    let topics: BTreeMap<Uuid, i32> =
        topics.map(|(id, count)| (uuid(id), count.parse().expect("a number"))).collect();
    let mut members: Vec<TaskMember> = parts.map(member).collect();
    members.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let is_homogeneous = members.iter().all(|it| it.topics == members[0].topics);
    let task = Task { members, topics, is_homogeneous };
    let expected: BTreeMap<&str, Assignment> = expected
        .split(';')
        .filter_map(|own| own.split_once('|'))
        .map(|(id, list)| (id, partitions(list)))
        .collect();
    let assigned = assignor.assign(&task);
    for (member, own) in task.members.iter().zip(assigned) {
        assert_eq!(own, expected[&*member.id], "{} in {line}", member.id);
    }
}

#[test]
fn answers_are_kafkas() {
    let sample = include_str!("cases.txt").to_owned();
    let more = std::env::var_os("OTTLA_ASSIGNOR_CASES");
    let more = more.map(|path| std::fs::read_to_string(path).expect("a file of cases"));
    let all = more.unwrap_or(sample);
    assert!(all.lines().count() > 50);
    all.lines().for_each(check);
}

#[test]
fn most_members_decide() {
    let preferred = |asked: &[(&str, usize)]| {
        let counts = asked.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Assignor::preferred(&counts)
    };
    assert_eq!(preferred(&[]), Assignor::Uniform);
    assert_eq!(preferred(&[("range", 2), ("uniform", 1)]), Assignor::Range);
    assert_eq!(preferred(&[("range", 1), ("uniform", 2)]), Assignor::Uniform);
    assert_eq!(preferred(&[("range", 0)]), Assignor::Uniform);
    assert_eq!(preferred(&[("another", 3), ("range", 1)]), Assignor::Range);
}
