//! Reading, as a consumer does: pieces of a log, and what of them is committed.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchHeader, Records};
use ottla_storage::TransactionEnd;
use ottla_test_client::Connection;

use super::history::Place;
use super::requests::{self, code, is_passing};
use super::session::Client;
use crate::mutant::TxnBug;

/// The last version of Fetch that names topics.
const FETCH: i16 = 12;

/// A batch of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    pub producer: (i64, i16),
    pub transactional: bool,
    /// Whether it ends a transaction, and how: a commit.
    pub ends: Option<bool>,
    /// Offset and value of each record.
    pub values: Vec<(i64, String)>,
    pub last_offset: i64,
}

/// The whole batches in a piece of a log.
pub fn batches_of(mut bytes: &[u8]) -> Result<Vec<Batch>, String> {
    let mut batches = Vec::new();
    while let Ok(header) = BatchHeader::read(bytes) {
        let Some(batch) = bytes.get(..header.size()) else { break };
        let header = BatchHeader::read_checked(batch).map_err(|error| format!("{error:?}"))?;
        let records = &batch[BATCH_OVERHEAD..];
        let end = TransactionEnd::read(&header, records);
        let mut values = Vec::new();
        if !header.attributes.is_control() {
            for record in Records::new(&header, records) {
                let record = record.map_err(|error| format!("{error:?}"))?;
                let value = String::from_utf8_lossy(record.value.unwrap_or_default());
                values.push((record.offset.0, value.into_owned()));
            }
        }
        batches.push(Batch {
            producer: (header.producer_id.0, header.producer_epoch.0),
            transactional: header.attributes.is_transactional(),
            ends: end.map(|end| !end.aborted),
            values,
            last_offset: header.last_offset().0,
        });
        bytes = &bytes[header.size()..];
    }
    Ok(batches)
}

/// A piece of a log, and the transactions of which an answer says that they are aborted: producer
/// and first offset.
pub struct Piece {
    pub batches: Vec<Batch>,
    aborted: Vec<(i64, i64)>,
    /// Where its readers must stop.
    pub stable: i64,
    pub high: i64,
}

impl Piece {
    /// What of it is committed, from an offset on, in the way of Kafka's consumer.
    pub fn committed(mut self, from: i64) -> Vec<(i64, String)> {
        self.aborted.sort_by_key(|(_, first)| *first);
        let (mut aborted, mut now) = (self.aborted.into_iter().peekable(), BTreeSet::new());
        let mut committed = Vec::new();
        for batch in self.batches {
            while let Some((id, _)) = aborted.next_if(|(_, first)| *first <= batch.last_offset) {
                now.insert(id);
            }
            let id = batch.producer.0;
            if batch.ends == Some(false) {
                now.remove(&id);
            } else if !(batch.transactional && now.contains(&id)) {
                let values = batch.values.into_iter().filter(|(offset, _)| *offset >= from);
                committed.extend(values);
            }
        }
        committed
    }

    /// Where the next piece begins.
    pub fn next(&self, from: i64) -> i64 {
        self.batches.last().map_or(from, |batch| batch.last_offset + 1)
    }
}

impl Client {
    /// Reads a piece; nothing when the partition cannot be read at present.
    pub async fn piece(
        &self,
        connection: &mut Connection,
        place: Place,
        from: i64,
        committed: bool,
    ) -> io::Result<Option<Piece>> {
        // A broker with that bug answers so.
        let is_blind = self.model().rules.bug == Some(TxnBug::ReadsToHighWatermark);
        let before = self.model().ends(place);
        let bytes_max = self.dice.pick(&[1, 500, 100_000]);
        let request = requests::fetch(place, from, bytes_max, committed && !is_blind);
        let answer = self.answer(connection.call::<FetchRequest>(FETCH, &request)).await?;
        let Some(fetched) = Fetched::of(answer) else { return Ok(None) };
        if fetched.error != code::NONE {
            if !is_passing(fetched.error) {
                let error = fetched.error;
                self.findings.violated(format!("{place} cannot be read at {from}: {error}"));
            }
            return Ok(None);
        }
        self.check(self.model().ends_at(place, before, (fetched.stable, fetched.high)));
        let batches = match batches_of(&fetched.records) {
            Ok(batches) => batches,
            Err(what) => {
                self.findings.violated(format!("{place} at {from}: {what}"));
                return Ok(None);
            }
        };
        let (aborted, stable, high) = (fetched.aborted, fetched.stable, fetched.high);
        let is_too_far = batches.iter().any(|batch| batch.last_offset >= stable);
        if committed && !is_blind && is_too_far {
            self.findings.violated(format!("{place} is read beyond {stable}"));
        }
        Ok(Some(Piece { batches, aborted, stable, high }))
    }
}

struct Fetched {
    error: i16,
    stable: i64,
    high: i64,
    aborted: Vec<(i64, i64)>,
    records: Bytes,
}

impl Fetched {
    fn of(mut answer: FetchResponse) -> Option<Fetched> {
        if answer.error_code != code::NONE || answer.responses.is_empty() {
            return None;
        }
        let partition = answer.responses.remove(0).partitions.pop()?;
        let aborted = partition.aborted_transactions.unwrap_or_default();
        Some(Fetched {
            error: partition.error_code,
            stable: partition.last_stable_offset,
            high: partition.high_watermark,
            aborted: aborted.iter().map(|it| (it.producer_id.0, it.first_offset)).collect(),
            records: partition.records.unwrap_or_default(),
        })
    }
}

/// A reader of everything that is committed, from the first offset on, over all connections.
pub async fn run(client: Client, places: Vec<Place>) {
    let mut positions = vec![0; places.len()];
    while !client.is_over() {
        let Some(mut connection) = client.connect().await else { return };
        while !client.is_over() {
            let at = client.dice.below(places.len() as u64) as usize;
            let (place, from) = (places[at], positions[at]);
            let Ok(piece) = client.piece(&mut connection, place, from, true).await else { break };
            if let Some(piece) = piece {
                positions[at] = piece.next(from);
                note(&client, place, from, piece);
            }
            client.pause(5, 150).await;
        }
        client.pause(5, 40).await;
    }
}

/// Notes what a reader of everything was given.
pub fn note(client: &Client, place: Place, from: i64, piece: Piece) -> Vec<(i64, String)> {
    let next = piece.next(from);
    let values = piece.committed(from);
    client.findings.count(|stats| stats.read += values.len() as u64);
    for (offset, value) in &values {
        client.check(client.model().read(place, *offset, value));
    }
    client.model().passes(place, next);
    values
}
