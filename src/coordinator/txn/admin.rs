//! What operators are told: DescribeTransactions, ListTransactions (KIP-664). All of it is
//! committed.

use std::collections::BTreeSet;

use ottla_types::{ProducerId, Timestamp, TopicPartition};

use super::state::{Producer, Transaction, TransactionState};
use super::{TransactionalId, TxnShard};

/// A transactional id, as it is described.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedTransaction {
    /// What it is doing.
    pub state: TransactionState,
    /// Its producer.
    pub producer: Producer,
    /// How long its transactions may take, ms.
    pub timeout_ms: i32,
    /// When the last one began; none in the state Empty.
    pub started: Timestamp,
    /// What it has written to; while it ends, where no marker is known to be written.
    pub partitions: BTreeSet<TopicPartition>,
}

/// A transactional id in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedTransaction {
    /// The id.
    pub id: TransactionalId,
    /// Its producer's id.
    pub producer_id: ProducerId,
    /// What it is doing.
    pub state: TransactionState,
}

/// Which ids are listed.
#[derive(Default)]
pub struct ListFilter<'a> {
    /// Of these producers; of all, if there is none.
    pub producer_ids: BTreeSet<ProducerId>,
    /// In these states; in all, if it is `None`.
    pub states: Option<Vec<TransactionState>>,
    /// That began longer ago than this, ms; a negative number asks for all (KIP-994).
    pub duration_ms: i64,
    /// Whose id is so (KIP-1152).
    pub id: Option<&'a dyn Fn(&str) -> bool>,
}

impl ListFilter<'_> {
    fn takes(&self, id: &TransactionalId, it: &Transaction, now: Timestamp) -> bool {
        let is_of = |ids: &BTreeSet<ProducerId>| ids.is_empty() || ids.contains(&it.producer.id);
        is_of(&self.producer_ids)
            && self.states.as_ref().is_none_or(|states| states.contains(&it.state))
            && (self.duration_ms < 0 || now.0.saturating_sub(it.started.0) > self.duration_ms)
            && self.id.is_none_or(|is_so| is_so(id))
    }
}

impl TxnShard {
    /// Describes an id; `None` if there is none.
    #[must_use]
    pub fn describe(&self, id: &TransactionalId) -> Option<DescribedTransaction> {
        let known = self.transactions.committed(id)?;
        let ending = self.endings.get(id);
        Some(DescribedTransaction {
            state: known.state,
            producer: known.producer,
            timeout_ms: known.timeout_ms,
            started: known.started,
            partitions: ending.map_or_else(|| known.partitions.clone(), |it| it.unwritten.clone()),
        })
    }

    /// All ids that a filter takes.
    #[must_use]
    pub fn list(&self, filter: &ListFilter<'_>, now: Timestamp) -> Vec<ListedTransaction> {
        let all = self.transactions.committed_range(..);
        let taken = all.filter(|(id, it)| filter.takes(id, it, now));
        let listed = |(id, it): (&TransactionalId, &std::sync::Arc<Transaction>)| {
            ListedTransaction { id: id.clone(), producer_id: it.producer.id, state: it.state }
        };
        let mut listed: Vec<_> = taken.map(listed).collect();
        listed.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        listed
    }
}
