//! What a producer writes in a transaction: one batch after another, or two at a time.

use bytes::Bytes;
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use super::history::Place;
use super::requests::{self, code, is_passing};
use super::session::{Session, Trouble};
use crate::mutant::TxnBug;

/// The last version of a client of the classic protocol.
const CLASSIC: i16 = 11;
/// The version with which the broker adds partitions (KIP-890).
const ADDS: i16 = 12;

/// A batch that is to be written.
struct Unwritten {
    place: Place,
    sequence: i32,
    values: Vec<String>,
}

impl Session {
    fn produce_version(&self) -> i16 {
        match self.is_classic() {
            true => self.client.dice.between(3, CLASSIC as u64) as i16,
            false => ADDS,
        }
    }

    /// Writes values into partitions of one topic: all of them, or there is trouble.
    pub async fn write(&mut self, values: Vec<(Place, Vec<String>)>) -> Result<(), Trouble> {
        let places: Vec<Place> = values.iter().map(|(place, _)| *place).collect();
        if self.is_classic() {
            self.add(&places).await?;
        }
        let mut left = Vec::new();
        for (place, values) in values {
            let sequence = self.sequence_of(place, values.len());
            left.push(Unwritten { place, sequence, values });
        }
        self.write_all(left).await
    }

    /// The next sequence number of a partition; so many are used up.
    fn sequence_of(&mut self, place: Place, count: usize) -> i32 {
        let next = self.me().sequences.entry(place).or_default();
        let sequence = *next;
        *next += count as i32;
        sequence
    }

    async fn write_all(&mut self, mut left: Vec<Unwritten>) -> Result<(), Trouble> {
        self.me().is_begun = true;
        while !left.is_empty() {
            let request = self.produce(&left);
            let version = self.produce_version();
            let Some(told) = self.attempt::<ProduceRequest>(version, &request).await? else {
                if self.client.dice.chance(10) {
                    return Err(Trouble::Abort);
                }
                self.rest().await;
                continue;
            };
            for (place, error) in codes(&told, left[0].place) {
                if !is_passing(error) {
                    self.took("a batch", error)?;
                    left.retain(|batch| batch.place != place);
                    self.client.findings.count(|stats| stats.acknowledged += 1);
                }
            }
            if !left.is_empty() {
                self.client.findings.count(|stats| stats.resent += 1);
                self.rest().await;
            }
        }
        Ok(())
    }

    fn produce(&mut self, batches: &[Unwritten]) -> ProduceRequest {
        let now = self.client.runtime.clock().wall();
        let name = &self.me().name;
        let batch = |it: &Unwritten| -> (Place, Bytes) {
            (it.place, requests::batch(name, it.sequence, now, &it.values))
        };
        name.produce(batches.iter().map(batch).collect())
    }

    /// Two requests at a time for one partition. When the first is lost, or refused, the second
    /// must not take its place; both are sent again. Only a broker that adds partitions itself
    /// knows that a first batch must have the first sequence number (KAFKA-18202), so that a
    /// classic client loses none alone.
    pub async fn write_two(
        &mut self,
        place: Place,
        first: Vec<String>,
        second: Vec<String>,
    ) -> Result<(), Trouble> {
        if self.is_classic() {
            self.add(&[place]).await?;
        }
        let sequence = self.sequence_of(place, first.len() + second.len());
        let behind = sequence + first.len() as i32;
        let mut first = Unwritten { place, sequence, values: first };
        let mut second = Unwritten { place, sequence: behind, values: second };
        self.me().is_begun = true;
        let may_be_lost = !self.is_classic() && self.client.model().rules.loses && self.is_load();
        let is_lost = may_be_lost && self.client.dice.chance(30);
        if is_lost && sequence == 0 && self.bug() == Some(TxnBug::FirstSequenceNotZero) {
            // As if what comes first were taken as the first.
            second.sequence = 0;
            first.sequence = second.values.len() as i32;
            let both = [second, first];
            for batch in both {
                self.write_all(vec![batch]).await?;
            }
            return Ok(());
        }
        let version = self.produce_version();
        let requests = [&first, &second].map(|it| (it.sequence, it.values.clone()));
        let requests = requests.map(|(sequence, values)| {
            let batch = Unwritten { place, sequence, values };
            self.produce(&[batch])
        });
        let mut left = vec![first, second];
        if is_lost {
            let letter = self.letter(version, &requests[0]);
            self.lose(letter).await;
        }
        let told = self.answers(version, &requests[usize::from(is_lost)..]).await?;
        for (index, told) in told.iter().enumerate() {
            let at = usize::from(is_lost) + index;
            for (_, error) in codes(told, place) {
                // What is behind a batch that was refused may be refused for that.
                if error == code::NONE {
                    left[at].values.clear();
                } else if !is_passing(error) && error != code::OUT_OF_ORDER_SEQUENCE_NUMBER {
                    self.took("a batch", error)?;
                }
            }
        }
        for batch in left.into_iter().filter(|batch| !batch.values.is_empty()) {
            self.write_all(vec![batch]).await?;
        }
        Ok(())
    }

    /// Sends requests without waiting, and tells the answers that came.
    async fn answers(
        &mut self,
        version: i16,
        requests: &[ProduceRequest],
    ) -> Result<Vec<ProduceResponse>, Trouble> {
        let mut answers = Vec::new();
        let Some(mut connection) = self.connected().await else { return Err(Trouble::Over) };
        for request in requests {
            let letter = self.letter(version, request);
            self.remember(letter);
            if connection.send(version, request).await.is_err() {
                self.is_left_in_doubt();
                return Ok(answers);
            }
        }
        for _ in requests {
            let answer = connection.receive::<ProduceRequest>(version);
            match self.client.answer(answer).await {
                Ok(answer) => answers.push(answer),
                Err(_) => {
                    self.is_left_in_doubt();
                    return Ok(answers);
                }
            }
        }
        self.connection = Some(connection);
        Ok(answers)
    }
}

/// The error of each partition of an answer about a topic.
fn codes(told: &ProduceResponse, of: Place) -> Vec<(Place, i16)> {
    let topics = told.responses.iter();
    let partitions = topics.flat_map(|topic| &topic.partition_responses);
    partitions.map(|it| (Place { partition: it.index, ..of }, it.error_code)).collect()
}
