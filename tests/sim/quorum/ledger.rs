//! What the voters were told, and what contradicts it. Pure.

use std::collections::BTreeMap;

use ottla_types::{LeaderEpoch, NodeId, Offset};

/// A state that a log makes: of each kind of record, told by its first byte, the last one.
pub type State = BTreeMap<u8, (Offset, Vec<u8>)>;

/// Lets a record change a state; control records change nothing.
pub fn replay(state: &mut State, offset: Offset, value: &[u8]) {
    if let Some(first) = value.first() {
        state.insert(first % 16, (offset, value.to_vec()));
    }
}

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

    /// What the whole log below `end` makes.
    pub fn state_before(&self, end: Offset) -> State {
        let mut state = State::new();
        for (offset, (_, value)) in self.committed.range(..end) {
            replay(&mut state, *offset, value);
        }
        state
    }

    /// A replica began with a snapshot that ends at `end`.
    pub fn loaded(&self, node: NodeId, end: Offset, state: &State) -> Result<(), String> {
        if end > self.end() {
            return Err(format!("{node} has a snapshot up to {end} of what is not committed"));
        }
        if *state != self.state_before(end) {
            return Err(format!("the snapshot of {node} up to {end} is not what the log makes"));
        }
        Ok(())
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

    #[test]
    fn a_snapshot_is_what_the_log_makes() {
        let mut ledger = Ledger::default();
        let (one, epoch) = (NodeId(1), LeaderEpoch(3));
        for (offset, value) in [(0, b"a1"), (1, b"b1"), (2, b"a2")] {
            ledger.committed(one, Offset(offset), epoch, value).unwrap();
        }
        let mut state = State::new();
        replay(&mut state, Offset(0), b"a1");
        replay(&mut state, Offset(1), b"b1");
        ledger.loaded(one, Offset(2), &state).unwrap();
        assert!(ledger.loaded(one, Offset(3), &state).is_err());
        replay(&mut state, Offset(2), b"a2");
        ledger.loaded(one, Offset(3), &state).unwrap();
        assert!(ledger.loaded(one, Offset(4), &state).is_err());
    }
}
