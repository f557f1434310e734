//! What must be true of the logs in the end, when nothing is open any more.
//!
//! - **Committed is atomic**: of a transaction that was committed everything is there, once and in
//!   its order; of one whose fate nobody was told, everything or nothing.
//! - **Aborted is invisible**: nothing is there of a transaction of which nobody asked for the
//!   commit.
//! - **The log agrees**: what readers are given is what its own markers make of it.
//! - **Nothing was passed over**: readers saw, on the way, what is there in the end.
//! - **Copied exactly once**: each job copied each value that is committed, in its order, and its
//!   group says that it is done.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Fate, History, IN, OUT, Place, TOPICS, copied, txn_of};
use super::plan::Plan;
use super::reading::Batch;
use super::rest::Logs;

/// Everything that is not so.
pub fn of(history: &History, logs: &Logs, plan: &Plan, ends: &[Vec<i64>]) -> Vec<String> {
    let mut found = Vec::new();
    for (place, log) in logs {
        let by_markers = committed_by_markers(&log.batches);
        if by_markers != log.committed {
            let (told, real) = differing(&log.committed, &by_markers);
            found.push(format!("{place}: readers are given {told:?}, the log says {real:?}"));
        }
        found.extend(passed_over(history, *place, &log.committed));
    }
    found.extend(torn(history, logs));
    for (job, end) in ends.iter().enumerate() {
        found.extend(not_copied_once(logs, plan, job as u32, end));
    }
    found
}

/// What the markers in a log make of it.
fn committed_by_markers(batches: &[Batch]) -> Vec<(i64, String)> {
    let mut open: BTreeMap<i64, Vec<(i64, String)>> = BTreeMap::new();
    let mut committed = Vec::new();
    for batch in batches {
        match batch.ends {
            Some(commit) => {
                let ended = open.remove(&batch.producer.0).unwrap_or_default();
                if commit {
                    committed.extend(ended);
                }
            }
            None if batch.transactional => {
                open.entry(batch.producer.0).or_default().extend(batch.values.clone());
            }
            None => committed.extend(batch.values.clone()),
        }
    }
    committed.sort();
    committed
}

type Value = Option<(i64, String)>;

/// The first two entries that differ.
fn differing(told: &[(i64, String)], real: &[(i64, String)]) -> (Value, Value) {
    let at = told.iter().zip(real).position(|(told, real)| told != real);
    let at = at.unwrap_or(told.len().min(real.len()));
    (told.get(at).cloned(), real.get(at).cloned())
}

/// What readers saw on the way is what there is.
fn passed_over(history: &History, place: Place, committed: &[(i64, String)]) -> Vec<String> {
    let mut found = Vec::new();
    let (seen, passed) = history.seen(place);
    let there: BTreeMap<i64, &str> =
        committed.iter().map(|(offset, value)| (*offset, value.as_str())).collect();
    let seen: BTreeMap<i64, &str> = seen.into_iter().collect();
    for (offset, value) in &seen {
        if there.get(offset) != Some(value) {
            found.push(format!("{place}: {value} was read at {offset}, and is not there"));
        }
    }
    for (offset, value) in there.range(..passed) {
        if !seen.contains_key(offset) {
            found.push(format!("{place}: {value} at {offset} came behind its readers"));
        }
    }
    found
}

/// Transactions of which a part is there, or more than all.
fn torn(history: &History, logs: &Logs) -> Vec<String> {
    let mut found = Vec::new();
    let mut there: BTreeMap<usize, Vec<(Place, &str)>> = BTreeMap::new();
    for (place, log) in logs {
        let mut once = BTreeSet::new();
        for (offset, value) in &log.committed {
            if !once.insert(value) {
                found.push(format!("{place}: {value} is there twice, also at {offset}"));
            }
            let number = txn_of(value).unwrap_or(usize::MAX);
            there.entry(number).or_default().push((*place, value));
        }
    }
    for (number, txn) in history.txns().iter().enumerate() {
        let is = there.remove(&number).unwrap_or_default();
        let mut all: Vec<(Place, &str)> =
            txn.values.iter().map(|(place, value)| (*place, value.as_str())).collect();
        // By partition, in each as it was written.
        all.sort_by_key(|(place, _)| *place);
        let is_right = match txn.fate {
            Fate::Open => is.is_empty(),
            Fate::Committing => is.is_empty() || is == all,
            Fate::Committed => is == all,
        };
        if !is_right {
            let (id, fate) = (&txn.id, txn.fate);
            let (is, all) = (is.len(), all.len());
            found.push(format!("transaction {number} of {id}, {fate:?}: {is} of {all} values"));
        }
    }
    if let Some(nobodys) = there.into_values().next() {
        found.push(format!("{nobodys:?} is nobody's"));
    }
    found
}

/// What a job has not copied once and in order, and what its group says of it.
fn not_copied_once(logs: &Logs, plan: &Plan, job: u32, ends: &[i64]) -> Vec<String> {
    let mut found = Vec::new();
    for partition in 0..plan.partitions {
        let of = |topic| &logs[&Place { topic, partition }];
        let source: Vec<&str> = of(IN).committed.iter().map(|(_, it)| it.as_str()).collect();
        let copies = of(OUT).committed.iter().filter_map(|(_, it)| copied(it));
        let copies: Vec<&str> =
            copies.filter(|(by, _)| *by == job).map(|(_, value)| value).collect();
        if source != copies {
            let at = source.iter().zip(&copies).position(|(one, other)| one != other);
            let at = at.unwrap_or(source.len().min(copies.len()));
            let (from, to) = (source.get(at), copies.get(at));
            let topic = TOPICS[IN];
            found.push(format!(
                "job {job}, {topic}-{partition}: at {at} stands {to:?}, and not {from:?}"
            ));
        }
        let end = of(IN).batches.last().map_or(0, |batch| batch.last_offset + 1);
        let told = ends.get(partition as usize).copied();
        if told != Some(end) {
            found.push(format!("job {job} is at {told:?} of {end} in {partition}"));
        }
    }
    found
}
