//! Writes what copy jobs copy: transactions over several partitions of two topics, most of which
//! are committed.

use super::history::{IN, Place, SIDE, TxnNumber};
use super::session::{Session, Trouble};

/// A producer of transactions.
pub struct Feeder {
    pub session: Session,
    pub partitions: i32,
}

impl Feeder {
    /// Makes transactions as long as the world is loaded.
    pub async fn run(mut self) {
        while self.session.is_load() && !self.session.client.is_over() {
            if !self.transaction().await {
                return;
            }
            self.session.client.pause(1, 300).await;
        }
    }

    /// One transaction; false when the world ends.
    async fn transaction(&mut self) -> bool {
        if !self.session.has_begun() && self.session.begin().await == Err(Trouble::Over) {
            return false;
        }
        if !self.session.has_begun() {
            return true;
        }
        let txn = self.session.open();
        match self.fill(txn).await {
            Ok(()) => true,
            Err(trouble) => self.session.recover(txn, trouble).await,
        }
    }

    async fn fill(&mut self, txn: TxnNumber) -> Result<(), Trouble> {
        let steps = self.session.client.dice.below(5);
        for _ in 0..steps {
            let dice = self.session.client.dice.clone();
            let topic = dice.pick(&[IN, SIDE]);
            let mut places: Vec<Place> = (0..dice.between(1, 2))
                .map(|_| Place { topic, partition: dice.below(self.partitions as u64) as i32 })
                .collect();
            places.dedup();
            if dice.chance(25) {
                let (first, second) = (self.values(txn, places[0]), self.values(txn, places[0]));
                self.session.write_two(places[0], first, second).await?;
            } else {
                let values = places.iter().map(|place| (*place, self.values(txn, *place)));
                let values = values.collect();
                self.session.write(values).await?;
            }
            self.session.be_restless().await?;
        }
        let commit = self.session.client.dice.chance(75);
        self.session.end(txn, commit).await
    }

    fn values(&self, txn: TxnNumber, place: Place) -> Vec<String> {
        let client = &self.session.client;
        let count = client.dice.between(1, 3);
        (0..count).map(|_| client.model().write(txn, place)).collect()
    }
}
