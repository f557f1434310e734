//! What the voters were told, and what contradicts it. Pure.

use std::collections::BTreeMap;

use ottla_types::{LeaderEpoch, NodeId, Offset};

/// The committed log as all voters together told it, and who led when.
#[derive(Default)]
pub struct Ledger {
    /// What was told as committed, by its offset.
    committed: BTreeMap<Offset, (LeaderEpoch, Vec<u8>)>,
    leaders: BTreeMap<LeaderEpoch, NodeId>,
}

impl Ledger {
    /// End of what was told as committed.
    pub fn end(&self) -> Offset {
        self.committed.last_key_value().map_or(Offset::ZERO, |(offset, _)| offset.plus(1))
    }

    /// A replica told that it leads, with a log that ends at `end`.
    pub fn leads(&mut self, node: NodeId, epoch: LeaderEpoch, end: Offset) -> Result<(), String> {
        let first = *self.leaders.entry(epoch).or_insert(node);
        if first != node {
            return Err(format!("{first} and {node} both lead epoch {epoch}"));
        }
        if end < self.end() {
            let committed = self.end();
            return Err(format!("{node} leads epoch {epoch} with {end} of {committed} committed"));
        }
        Ok(())
    }

    /// A replica told that a record is committed; `None` stands for a control record.
    pub fn committed(
        &mut self,
        node: NodeId,
        offset: Offset,
        epoch: LeaderEpoch,
        value: &[u8],
    ) -> Result<(), String> {
        let (known_epoch, known) =
            self.committed.entry(offset).or_insert_with(|| (epoch, value.to_vec()));
        if *known_epoch != epoch || known != value {
            return Err(format!(
                "{node} has another record committed at {offset}: epoch {epoch}, not {known_epoch}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leader_in_an_epoch_that_has_everything() {
        let mut ledger = Ledger::default();
        let (one, two, epoch) = (NodeId(1), NodeId(2), LeaderEpoch(3));
        ledger.leads(one, epoch, Offset(0)).unwrap();
        assert!(ledger.leads(two, epoch, Offset(0)).is_err());
        ledger.committed(one, Offset(0), epoch, b"a").unwrap();
        ledger.committed(two, Offset(0), epoch, b"a").unwrap();
        assert!(ledger.committed(two, Offset(0), epoch, b"b").is_err());
        assert!(ledger.committed(two, Offset(0), LeaderEpoch(4), b"a").is_err());
        assert!(ledger.leads(two, LeaderEpoch(5), Offset(0)).is_err());
        assert!(ledger.leads(two, LeaderEpoch(6), Offset(1)).is_ok());
    }
}
