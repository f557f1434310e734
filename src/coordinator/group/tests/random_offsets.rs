//! Random runs: offsets that are committed by themselves and in transactions, ends of those,
//! deletions, over a log that is held back, refuses, and is loaded anew. After every step:
//!
//! - readers are told what the log says that is committed, record by record;
//! - who asks for stable offsets is told to ask again exactly where the log has an open
//!   transaction, or where something is on its way;
//! - whoever asks is answered, once, in the end.

use std::collections::BTreeMap;

use ottla_protocol::coordinator::group::GroupRecord;
use ottla_types::{
    ErrorCode, LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, TopicName, Uuid,
};

use super::harness::{Harness, Logged};
use super::random::Dice;
use crate::group::{
    FetchedOffset, GroupId, MemberId, OffsetCommit, OffsetKey, OffsetToCommit, Transaction,
    TransactionEnd,
};

const PRODUCERS: u64 = 3;
const PARTITIONS: u64 = 3;

/// Offsets, each with the place of its record.
#[derive(Default)]
struct Known {
    /// By partition.
    counts: BTreeMap<i32, (i64, i64)>,
    /// Those of open transactions, by producer and partition.
    open: BTreeMap<(i64, i32), (i64, i64)>,
}

impl Known {
    fn replay(
        &mut self,
        at: i64,
        partition: i32,
        offset: Option<i64>,
        producer: Option<ProducerId>,
    ) {
        match (offset, producer) {
            (None, _) => {
                self.counts.remove(&partition);
                self.open.retain(|key, _| key.1 != partition);
            }
            (Some(offset), None) => drop(self.counts.insert(partition, (at, offset))),
            (Some(offset), Some(producer)) => {
                self.open.insert((producer.0, partition), (at, offset));
            }
        }
    }

    fn end(&mut self, producer: ProducerId, commit: bool) {
        let ended = self.open.extract_if(.., |key, _| key.0 == producer.0);
        let ended: Vec<_> = ended.filter(|_| commit).collect();
        for ((_, partition), (at, offset)) in ended {
            if self.counts.get(&partition).is_none_or(|known| known.0 < at) {
                self.counts.insert(partition, (at, offset));
            }
        }
    }
}

struct Run {
    dice: Dice,
    harness: Harness,
    /// The next offset: none is committed twice.
    next: i64,
}

fn group() -> GroupId {
    GroupId::from("g")
}

fn key(partition: i32) -> OffsetKey {
    let (group, topic) = (group(), TopicName::from("t"));
    OffsetKey { group, topic, partition: PartitionId(partition) }
}

impl Run {
    fn step(&mut self) {
        match self.dice.below(100) {
            0..20 => self.commit(None),
            20..50 => {
                let producer = self.dice.below(PRODUCERS) as i64;
                self.commit(Some(producer));
            }
            50..70 => self.end(),
            70..74 => {
                let partition = PartitionId(self.dice.below(PARTITIONS) as i32);
                let ticket = self.harness.ticket("forget");
                self.harness.step(|shard, _, out| {
                    shard.delete_offsets(&group(), &[("t".into(), partition)], ticket, out);
                });
            }
            74..82 => self.harness.holds = true,
            82..90 => {
                self.harness.holds = false;
                self.harness.commit();
            }
            90..94 => {
                self.harness.holds = false;
                self.harness.refuse(ErrorCode::CoordinatorNotAvailable);
            }
            94..97 => self.harness.load(&[]),
            _ => {
                let ticket = self.harness.ticket("delete");
                self.harness.step(|shard, _, out| shard.delete_group(&group(), ticket, out));
            }
        }
    }

    fn commit(&mut self, producer: Option<i64>) {
        let count = 1 + self.dice.below(2);
        let offsets = (0..count).map(|_| {
            self.next += 1;
            OffsetToCommit {
                topic: "t".into(),
                topic_id: Uuid::ZERO,
                partition: PartitionId(self.dice.below(PARTITIONS) as i32),
                offset: Offset(self.next),
                leader_epoch: LeaderEpoch::NONE,
                metadata: String::new(),
            }
        });
        let request = OffsetCommit {
            group: group(),
            member: MemberId::from(""),
            instance: None,
            generation: -1,
            knows_epochs: false,
            retention_ms: None,
            offsets: offsets.collect(),
        };
        let ticket = self.harness.ticket("commit");
        self.harness.step(|shard, now, out| match producer {
            None => shard.commit_offsets(now, &request, ticket, out),
            Some(producer) => {
                let producer_id = ProducerId(producer);
                let producer_epoch = ProducerEpoch(0);
                let of = Transaction { producer_id, producer_epoch, verified: true, guard: None };
                shard.commit_transactional(now, &request, of, ticket, out);
            }
        });
    }

    fn end(&mut self) {
        let end = TransactionEnd {
            producer_id: ProducerId(self.dice.below(PRODUCERS) as i64),
            producer_epoch: ProducerEpoch(0),
            commit: self.dice.chance(60),
            coordinator_epoch: 0,
            transaction_version: 0,
        };
        let ticket = self.harness.ticket("end");
        self.harness.step(|shard, _, out| shard.end_transaction(&end, ticket, out));
    }

    /// What the log says.
    fn logged(&self) -> Known {
        let mut known = Known::default();
        for (at, logged) in (0..).zip(&self.harness.log) {
            match logged {
                Logged::Record(record, producer) => {
                    let decoded = GroupRecord::decode(&record.key, record.value.as_deref());
                    let Ok((GroupRecord::OffsetCommit(key, value), _)) = decoded else { continue };
                    let offset = value.map(|value| value.offset.0);
                    known.replay(at, key.partition.0, offset, *producer);
                }
                Logged::Marker(producer, commit) => known.end(*producer, *commit),
            }
        }
        known
    }

    fn check(&self, seed: u64) {
        let Known { counts, open } = self.logged();
        for partition in 0..PARTITIONS as i32 {
            let shard = &self.harness.shard;
            let told = |stable| shard.fetch_offset(&key(partition), Uuid::ZERO, stable);
            let expected = counts.get(&partition).map(|(_, offset)| *offset);
            let offset = match told(false) {
                FetchedOffset::Offset(found) => Some(found.offset.0),
                _ => None,
            };
            assert_eq!(offset, expected, "seed {seed}, partition {partition}");
            let is_open = open.keys().any(|(_, other)| *other == partition);
            let unstable = told(true) == FetchedOffset::Unstable;
            assert!(unstable || !is_open, "seed {seed}, partition {partition} is not stable");
            let settled = !self.harness.holds;
            assert!(!settled || unstable == is_open, "seed {seed}, partition {partition}");
        }
    }
}

#[test]
fn readers_are_told_what_the_log_says() {
    for seed in 0..300 {
        let dice = Dice(seed + 1);
        let mut run = Run { dice, harness: Harness::new(&[]), next: 0 };
        for _ in 0..120 {
            run.step();
            run.check(seed);
        }
        run.harness.holds = false;
        run.harness.commit();
        run.harness.load(&[]);
        run.check(seed);
    }
}
