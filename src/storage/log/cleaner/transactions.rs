//! Transactions as compaction passes them (`CleanedTransactionMetadata`).
//!
//! Data of an aborted transaction goes at once. A marker may go when nothing of its transaction was
//! passed in front of it; until then the index of aborted transactions keeps its entry.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::batch::BatchHeader;
use ottla_types::{Offset, ProducerId};

use crate::producer_state::{EndedTransaction, TransactionEnd};

/// What becomes of a marker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Marker {
    /// Whether nothing of its transaction is left, so that it may go once its time has come.
    pub(super) is_empty: bool,
    /// The aborted transaction that stays in the index.
    pub(super) indexed: Option<EndedTransaction>,
}

/// The transactions that are open at a place in the log.
pub(super) struct Transactions {
    /// Aborted ones that begin further on.
    ahead: BTreeMap<(Offset, ProducerId), EndedTransaction>,
    /// Aborted ones that have begun, and whether data of them was passed.
    aborted: BTreeMap<ProducerId, (EndedTransaction, bool)>,
    /// Producers with data of transactions that are not aborted.
    committed: BTreeSet<ProducerId>,
}

impl Transactions {
    /// With all that the indexes say of the part of the log that is passed.
    pub(super) fn new(aborted: &[EndedTransaction]) -> Transactions {
        let key = |ended: &EndedTransaction| (ended.first_offset, ended.producer_id);
        Transactions {
            ahead: aborted.iter().map(|ended| (key(ended), *ended)).collect(),
            aborted: BTreeMap::new(),
            committed: BTreeSet::new(),
        }
    }

    fn advance(&mut self, offset: Offset) {
        while let Some(entry) = self.ahead.first_entry()
            && entry.key().0 <= offset
        {
            let ended = entry.remove();
            self.aborted.entry(ended.producer_id).or_insert((ended, false));
        }
    }

    /// Passes a batch of data; whether it is of an aborted transaction.
    pub(super) fn pass_data(&mut self, header: &BatchHeader) -> bool {
        self.advance(header.last_offset());
        if !header.attributes.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((_, passed)) => {
                *passed = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// Passes a control batch; `records` are the bytes behind its header.
    pub(super) fn pass_control(&mut self, header: &BatchHeader, records: &[u8]) -> Marker {
        self.advance(header.last_offset());
        let stays = Marker { is_empty: false, indexed: None };
        if header.record_count == 0 {
            return Marker { is_empty: true, ..stays };
        }
        let Some(end) = TransactionEnd::read(header, records) else { return stays };
        if !end.aborted {
            let had_data = self.committed.remove(&header.producer_id);
            return Marker { is_empty: !had_data, ..stays };
        }
        match self.aborted.remove(&header.producer_id) {
            Some((ended, true)) => Marker { indexed: Some(ended), ..stays },
            _ => Marker { is_empty: true, ..stays },
        }
    }
}
