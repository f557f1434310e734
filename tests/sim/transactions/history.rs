//! What transactional clients did, what they were told of it, and what readers saw.
//!
//! Each transaction of the world has a number, and each value names its transaction, so that what
//! is read tells whose it is. A transaction is committed when an answer says so; it is not when
//! nobody ever asked for that, or somebody asked for the opposite; else the log says in the end
//! which of the two it was, and must say it of all its partitions alike.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ottla_types::MonoTime;

use crate::mutant::TxnBug;

/// The topics: copied from, copied to, and one that transactions write to beside.
pub const TOPICS: [&str; 3] = ["in", "out", "side"];
pub const IN: usize = 0;
pub const OUT: usize = 1;
pub const SIDE: usize = 2;

/// A partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Index in [`TOPICS`].
    pub topic: usize,
    pub partition: i32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", TOPICS[self.topic], self.partition)
    }
}

/// Virtual time after which whoever asked for a producer gets none any more.
const ANSWERED_WITHIN: Duration = Duration::from_secs(40);

/// A transaction of the world.
pub type TxnNumber = usize;

/// What is known of the end of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Nobody has asked for its commit.
    Open,
    /// Somebody has, and knows no answer.
    Committing,
    /// It is committed.
    Committed,
}

/// A transaction.
#[derive(Clone, Debug)]
pub struct Txn {
    /// Its transactional id.
    pub id: String,
    /// What was sent, in order.
    pub values: Vec<(Place, String)>,
    /// How far its copy job has come by it: the partition and the next offset.
    pub offset: Option<(Place, i64)>,
    pub fate: Fate,
}

/// What holds in a world.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rules {
    /// What is wrong in it, to be noticed.
    pub bug: Option<TxnBug>,
    /// Whether messages are lost, late, and doubled, on purpose.
    pub loses: bool,
    /// Whether a producer may be fenced though nobody began in its place: the wall clock jumps, or
    /// ids are forgotten, or loaded with epochs that are nearly used up.
    pub fences: bool,
}

/// Everything that was done and told.
#[derive(Default)]
pub struct History {
    pub rules: Rules,
    /// `transaction.version` of the cluster, as far as an operator knows who changes it.
    pub level: Option<i16>,
    /// Whether the topics are there.
    pub is_founded: bool,
    txns: Vec<Txn>,
    /// The highest ends that were told of each partition: the last stable offset, and the high
    /// watermark.
    ends: BTreeMap<Place, (i64, i64)>,
    /// What readers of what is committed saw.
    seen: BTreeMap<(Place, i64), String>,
    /// How far somebody has read without leaving anything out.
    passed: BTreeMap<Place, i64>,
    /// How often somebody began with a transactional id, answered or not.
    begun: BTreeMap<String, u64>,
    /// When somebody asked for a producer and was not answered, by id and time.
    unanswered: BTreeMap<(String, u64), MonoTime>,
    /// The newest producer of each transactional id.
    current: BTreeMap<String, (i64, i16)>,
}

/// The transaction that a value names.
pub fn txn_of(value: &str) -> Option<TxnNumber> {
    value.split_once('.')?.0.parse().ok()
}

/// What a copy job makes of a value, as the `n`-th one of a transaction.
pub fn copy_of(value: &str, txn: TxnNumber, n: usize, job: u32) -> String {
    format!("{txn}.{n}<{job}<{value}")
}

/// The copy job, and what it copied.
pub fn copied(value: &str) -> Option<(u32, &str)> {
    let mut parts = value.splitn(3, '<');
    let job = parts.nth(1)?.parse().ok()?;
    Some((job, parts.next()?))
}

impl History {
    pub fn begin(&mut self, id: &str) -> TxnNumber {
        let (values, offset, fate) = (Vec::new(), None, Fate::Open);
        self.txns.push(Txn { id: id.to_owned(), values, offset, fate });
        self.txns.len() - 1
    }

    pub fn txns(&self) -> &[Txn] {
        &self.txns
    }

    pub fn txn(&mut self, number: TxnNumber) -> &mut Txn {
        &mut self.txns[number]
    }

    /// A new value of a transaction.
    pub fn write(&mut self, number: TxnNumber, place: Place) -> String {
        let values = &mut self.txns[number].values;
        let value = format!("{number}.{}", values.len());
        values.push((place, value.clone()));
        value
    }

    /// A copy of a value.
    pub fn copy(&mut self, number: TxnNumber, place: Place, value: &str, job: u32) -> String {
        let values = &mut self.txns[number].values;
        let copy = copy_of(value, number, values.len(), job);
        values.push((place, copy.clone()));
        copy
    }

    /// Somebody asks for a producer of this id; which time that is.
    pub fn begins(&mut self, id: &str, now: MonoTime) -> u64 {
        let count = self.begun.entry(id.to_owned()).or_default();
        *count += 1;
        self.unanswered.insert((id.to_owned(), *count), now);
        *count
    }

    /// Who asked was answered. Whether somebody else still may be answered later.
    pub fn has_begun(&mut self, id: &str, ordinal: u64, now: MonoTime) -> bool {
        self.unanswered.remove(&(id.to_owned(), ordinal));
        let all = self.unanswered.range((id.to_owned(), 0)..=(id.to_owned(), u64::MAX));
        all.map(|(_, asked)| now.since(*asked)).any(|age| age < ANSWERED_WITHIN)
    }

    pub fn begun(&self, id: &str) -> u64 {
        self.begun.get(id).copied().unwrap_or(0)
    }

    /// Somebody has become this producer of an id. Of two who asked at one time, who was answered
    /// last is not always the newer one; ids and epochs rise.
    pub fn is_now(&mut self, id: &str, producer: (i64, i16)) {
        let newest = self.current.entry(id.to_owned()).or_insert(producer);
        *newest = producer.max(*newest);
    }

    pub fn current(&self, id: &str) -> Option<(i64, i16)> {
        self.current.get(id).copied()
    }

    /// The highest ends that were told of a partition.
    pub fn ends(&self, place: Place) -> (i64, i64) {
        self.ends.get(&place).copied().unwrap_or_default()
    }

    /// The ends of a partition, as an answer tells them to somebody who asked after `before` had
    /// been told.
    pub fn ends_at(
        &mut self,
        place: Place,
        before: (i64, i64),
        (stable, high): (i64, i64),
    ) -> Result<(), String> {
        if stable > high {
            return Err(format!("{place} is stable to {stable}, and ends at {high}"));
        }
        if stable < before.0 || high < before.1 {
            return Err(format!("{place} goes back from {before:?} to {:?}", (stable, high)));
        }
        let told = self.ends.entry(place).or_default();
        *told = (stable.max(told.0), high.max(told.1));
        Ok(())
    }

    /// A reader of what is committed was given a value.
    pub fn read(&mut self, place: Place, offset: i64, value: &str) -> Result<(), String> {
        let txn = txn_of(value).and_then(|number| self.txns.get(number));
        let Some(txn) = txn else { return Err(format!("{value} at {offset} is nobody's")) };
        if txn.fate == Fate::Open {
            return Err(format!("{value} at {offset} of {place} of {} was not committed", txn.id));
        }
        let before = self.seen.entry((place, offset)).or_insert_with(|| value.to_owned());
        if before != value {
            return Err(format!("{offset} of {place} is {value}, and was {before}"));
        }
        Ok(())
    }

    /// Somebody has read everything below an offset.
    pub fn passes(&mut self, place: Place, offset: i64) {
        let passed = self.passed.entry(place).or_default();
        *passed = offset.max(*passed);
    }

    /// What was seen of a partition, and how far it was read.
    pub fn seen(&self, place: Place) -> (Vec<(i64, &str)>, i64) {
        let all = self.seen.range((place, i64::MIN)..=(place, i64::MAX));
        let seen = all.map(|((_, offset), value)| (*offset, value.as_str())).collect();
        (seen, self.passed.get(&place).copied().unwrap_or(0))
    }
}
