//! The logs of groups, as the coordinator of a simulated broker sees them: late, refusing, or
//! telling lies.
//!
//! A port of the product stands between the coordinator and its logs, and this is what the
//! simulation puts there. So what a bug of the coordinator would do can be planted without a line
//! of the product: an answer that does not wait for its record is a log that says too early that
//! something is committed, and what is replayed wrongly is what was read wrongly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ottla_coordinator::group::Part;
use ottla_coordinator::runtime::{Appended, LogPort};
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchBuilder, BatchHeader, BatchKind, Records};
use ottla_protocol::coordinator::group::GroupRecord;
use ottla_protocol::coordinator::group::classic::GroupMetadataValue;
use ottla_runtime::Runtime;
use ottla_types::{ErrorCode, Offset, TopicIdPartition};

use super::consumer;
use crate::dice::Dice;
use crate::findings::Findings;
use crate::mutant::Lie;

/// What the logs do at present. Copies share it.
#[derive(Clone, Default)]
pub struct Weather(Arc<Mutex<Now>>);

#[derive(Clone, Copy, Default)]
struct Now {
    delay_ms_max: u64,
    refused_percent: u64,
}

impl Weather {
    /// Records take up to so long to be committed, and so many of a hundred are refused.
    pub fn set(&self, delay_ms_max: u64, refused_percent: u64) {
        *self.0.lock().expect("two numbers") = Now { delay_ms_max, refused_percent };
    }

    /// How many of a hundred records are refused.
    pub fn refused_percent(&self) -> u64 {
        self.now().refused_percent
    }

    fn now(&self) -> Now {
        *self.0.lock().expect("two numbers")
    }
}

/// The logs of one process.
pub struct SimLogs {
    pub logs: Box<dyn LogPort>,
    pub runtime: Runtime,
    pub dice: Dice,
    pub findings: Findings,
    pub weather: Weather,
    pub lie: Option<Lie>,
    /// What was read so far of each log, for lies.
    pub seen: Mutex<BTreeMap<TopicIdPartition, Seen>>,
}

/// What was read of a log: what lies are made of.
#[derive(Default)]
pub struct Seen {
    /// The value of each key when it came for the first time.
    first: BTreeMap<Bytes, Option<Bytes>>,
    /// The last value of each key that had one.
    last: BTreeMap<Bytes, Bytes>,
    /// The last description of each group.
    groups: BTreeMap<String, GroupMetadataValue>,
    /// The last record of each key of consumer groups.
    consumers: BTreeMap<Bytes, GroupRecord>,
    /// The first id of each static member, by group and instance id.
    ids: BTreeMap<(String, String), String>,
}

impl LogPort for SimLogs {
    fn append(
        &self,
        id: TopicIdPartition,
        batch: Bytes,
        part: Part,
    ) -> Result<Appended, ErrorCode> {
        let now = self.weather.now();
        if self.dice.chance(now.refused_percent) {
            self.findings.count(|stats| stats.refusals += 1);
            return Err(self.dice.pick(&[
                ErrorCode::NotEnoughReplicas,
                ErrorCode::KafkaStorageError,
                ErrorCode::NotLeaderOrFollower,
            ]));
        }
        let mut appended = self.logs.append(id, batch, part)?;
        if self.lie == Some(Lie::AnswerBeforeCommitted) {
            appended.committed = None;
        } else if now.delay_ms_max > 0 {
            let delay = Duration::from_millis(self.dice.below(now.delay_ms_max + 1));
            let (clock, committed) = (self.runtime.clock().clone(), appended.committed.take());
            appended.committed = Some(Box::pin(async move {
                if let Some(committed) = committed {
                    committed.await?;
                }
                clock.sleep(delay).await;
                Ok(())
            }));
        }
        Ok(appended)
    }

    fn batch_bytes_max(&self, id: TopicIdPartition) -> Result<usize, ErrorCode> {
        self.logs.batch_bytes_max(id)
    }

    fn read(&self, id: TopicIdPartition, from: Offset, bytes_max: u64) -> Result<Bytes, ErrorCode> {
        let piece = self.logs.read(id, from, bytes_max)?;
        let Some(lie) = self.lie.filter(|lie| *lie != Lie::AnswerBeforeCommitted) else {
            return Ok(piece);
        };
        let mut seen = self.seen.lock().expect("what was read");
        Ok(seen.entry(id).or_default().told_of(lie, &piece))
    }

    fn bounds(&self, id: TopicIdPartition) -> Result<(Offset, Offset), ErrorCode> {
        // Whoever asks begins to read.
        self.seen.lock().expect("what was read").remove(&id);
        self.logs.bounds(id)
    }
}

impl Seen {
    /// The piece with other values in the same records.
    fn told_of(&mut self, lie: Lie, piece: &Bytes) -> Bytes {
        let (mut told, mut left) = (Vec::new(), &piece[..]);
        while left.len() >= BATCH_OVERHEAD {
            let header = BatchHeader::read(left).expect("the log is sound");
            let Some(batch) = left.get(..header.size()) else { break };
            let (base, epoch) = (header.base_offset, header.leader_epoch);
            let kind = BatchKind::Data;
            let mut builder = BatchBuilder::new(kind, base, epoch, header.base_timestamp);
            for record in Records::new(&header, &batch[BATCH_OVERHEAD..]) {
                let record = record.expect("the log is sound");
                let key = record.key.expect("records of groups have keys");
                let value = self.value_of(lie, key, record.value);
                builder.push(Some(key), value.as_deref());
            }
            told.extend(builder.build());
            left = &left[batch.len()..];
        }
        told.into()
    }

    fn value_of(&mut self, lie: Lie, key: &[u8], value: Option<&[u8]>) -> Option<Bytes> {
        let key_of = key;
        let truth = value.map(Bytes::copy_from_slice);
        if lie == Lie::DeletionNotKept {
            let key = Bytes::copy_from_slice(key);
            if let Some(value) = truth {
                self.last.insert(key.clone(), value);
            }
            return self.last.get(&key).cloned();
        }
        match GroupRecord::decode(key, value) {
            Ok((GroupRecord::OffsetCommit(..), _)) if lie == Lie::FirstOffsetWins => {
                let key = Bytes::copy_from_slice(key);
                self.first.entry(key).or_insert(truth).clone()
            }
            Ok((GroupRecord::GroupMetadata(key, None), _)) => match lie {
                // What a group is told to be that is a consumer group now.
                Lie::UpgradeNotKept => self.last.get(&Bytes::copy_from_slice(key_of)).cloned(),
                _ => {
                    self.groups.remove(&key.group);
                    truth
                }
            },
            Ok((GroupRecord::GroupMetadata(key, Some(value)), Some(version))) => {
                if let (Lie::UpgradeNotKept, Some(value)) = (lie, &truth) {
                    self.last.insert(Bytes::copy_from_slice(key_of), value.clone());
                }
                let before = self.groups.insert(key.group.clone(), value.clone());
                let told = self.group_of(lie, &key.group, value, before);
                let (_, told) = GroupRecord::GroupMetadata(key, Some(told)).encode(version);
                told.map(Bytes::from)
            }
            Ok((record, Some(version))) => {
                let key = Bytes::copy_from_slice(key);
                let before = self.consumers.insert(key.clone(), record.clone());
                let (_, told) = consumer::told_of(lie, record, before.as_ref()).encode(version);
                told.map(Bytes::from)
            }
            _ => truth,
        }
    }

    fn group_of(
        &mut self,
        lie: Lie,
        group: &str,
        mut value: GroupMetadataValue,
        before: Option<GroupMetadataValue>,
    ) -> GroupMetadataValue {
        let is_first = before.is_none();
        let before = before.unwrap_or_default();
        match lie {
            // With members it was something else before.
            Lie::DowngradeWithoutGeneration if is_first && !value.members.is_empty() => {
                value.generation = 0;
            }
            Lie::GenerationNotKept => value.generation = before.generation,
            Lie::AssignmentOfBefore => {
                for member in &mut value.members {
                    let known = before.members.iter().find(|it| it.member_id == member.member_id);
                    if let Some(known) = known {
                        member.assignment = known.assignment.clone();
                    }
                }
            }
            Lie::SessionNeverEnds => {
                // As if milliseconds were seconds.
                let members = value.members.iter_mut();
                members
                    .for_each(|it| it.session_timeout = it.session_timeout.saturating_mul(1_000));
            }
            Lie::ReplacementNotKept => {
                for member in &mut value.members {
                    let Some(instance) = member.group_instance_id.clone() else { continue };
                    let key = (group.to_owned(), instance);
                    let first = self.ids.entry(key).or_insert(member.member_id.clone()).clone();
                    if value.leader.as_ref() == Some(&member.member_id) {
                        value.leader = Some(first.clone());
                    }
                    member.member_id = first;
                }
            }
            _ => {}
        }
        value
    }
}
