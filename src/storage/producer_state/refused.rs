//! Unknown producers whose batch found no room: what they sent behind it must not go first.
//!
//! A known producer's sequences say that already. Lost at a restart, when the connections are lost
//! on which something could still come behind.

use std::collections::BTreeMap;

use ottla_protocol::batch::BatchHeader;
use ottla_types::{ProducerEpoch, ProducerId};

use super::ProducerState;

/// The first batch of each that was refused.
#[derive(Clone, Default)]
pub struct RefusedFirsts {
    batches: BTreeMap<ProducerId, (ProducerEpoch, i32)>,
}

impl RefusedFirsts {
    /// Most producers that are remembered; those beyond get what Kafka gives everybody.
    const PRODUCERS_MAX: usize = 10_000;

    /// Notes a batch that was in order and found no room. Coordinators have no sequences.
    pub fn note(&mut self, batch: &BatchHeader, known: &ProducerState) {
        let is_unknown = !known.producers.contains_key(&batch.producer_id);
        let has_sequence = batch.has_producer_id() && batch.base_sequence >= 0;
        if has_sequence && is_unknown && self.batches.len() < Self::PRODUCERS_MAX {
            let this = (batch.producer_epoch, batch.base_sequence);
            let first = self.batches.entry(batch.producer_id).or_insert(this);
            if first.0 != this.0 || follows(first.1, this.1) {
                *first = this;
            }
        }
    }

    /// Whether another batch of the producer must come first. One that comes before what was noted
    /// may go: it was refused for another reason, before there was a log.
    #[must_use]
    pub fn forbids(&self, batch: &BatchHeader) -> bool {
        self.batches.get(&batch.producer_id).is_some_and(|(epoch, sequence)| {
            *epoch == batch.producer_epoch && follows(batch.base_sequence, *sequence)
        })
    }

    /// The producer's sequences are known from now on.
    pub fn forget(&mut self, producer: ProducerId) {
        self.batches.remove(&producer);
    }
}

/// Whether one sequence number lies behind another; they begin again behind the largest.
fn follows(sequence: i32, other: i32) -> bool {
    let distance = sequence.wrapping_sub(other) & i32::MAX;
    distance != 0 && distance <= i32::MAX / 2
}
