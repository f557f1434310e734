//! A copy job: it consumes, transforms, produces, and commits how far it has come in the same
//! transaction, so that each value is copied exactly once.
//!
//! Its instances have the transactional id of the job: whoever begins fences the others, and asks
//! for the group's offsets only then, and only for stable ones.

use std::io;

use kafka_protocol::messages::{FindCoordinatorRequest, OffsetFetchRequest};

use super::history::{IN, OUT, Place, TxnNumber};
use super::requests::{self, code, is_passing};
use super::session::{Session, Trouble};

/// An instance of a copy job.
pub struct Copier {
    pub session: Session,
    pub job: u32,
    pub partitions: i32,
    positions: Vec<i64>,
}

/// The group of a job.
pub fn group_of(job: u32) -> String {
    format!("copies-{job}")
}

/// The transactional id of a job.
pub fn id_of(job: u32) -> String {
    format!("copier-{job}")
}

impl Copier {
    pub fn new(session: Session, job: u32, partitions: i32) -> Copier {
        Copier { session, job, partitions, positions: Vec::new() }
    }

    /// Copies as long as the world is loaded.
    pub async fn run(mut self) {
        while self.session.is_load() && !self.session.client.is_over() {
            let at = self.session.client.dice.below(self.partitions as u64) as i32;
            if self.copy_some(at).await.is_none() {
                return;
            }
            self.session.client.pause(1, 200).await;
        }
    }

    /// Copies everything that is committed.
    pub async fn copy_all(&mut self) {
        for partition in 0..self.partitions {
            while !self.session.client.is_over() {
                match self.copy_some(partition).await {
                    None => return,
                    Some(true) => break,
                    Some(false) => {}
                }
            }
        }
    }

    /// Copies what is next in a partition. Whether its end was reached; `None` when the world ends.
    async fn copy_some(&mut self, partition: i32) -> Option<bool> {
        if self.session.client.is_over() {
            return None;
        }
        if !self.session.has_begun() {
            self.positions.clear();
            if self.session.begin().await == Err(Trouble::Over) {
                return None;
            }
        }
        if self.positions.is_empty() && self.find_positions().await.is_err() {
            self.session.client.pause(5, 50).await;
            return Some(false);
        }
        let place = Place { topic: IN, partition };
        let from = self.positions[partition as usize];
        let Ok((values, next, is_end)) = self.read(place, from).await else {
            self.session.client.pause(5, 50).await;
            return Some(false);
        };
        if next == from {
            return Some(is_end);
        }
        let txn = self.session.open();
        match self.fill(txn, (place, next), values).await {
            Ok(true) => {
                self.positions[partition as usize] = next;
                Some(is_end)
            }
            // It was aborted: the same is copied again.
            Ok(false) => Some(false),
            Err(trouble) => {
                self.positions.clear();
                self.session.recover(txn, trouble).await.then_some(false)
            }
        }
    }

    /// One transaction; whether it was committed.
    async fn fill(
        &mut self,
        txn: TxnNumber,
        (place, next): (Place, i64),
        values: Vec<(i64, String)>,
    ) -> Result<bool, Trouble> {
        let group = group_of(self.job);
        let to = Place { topic: OUT, ..place };
        let is_first = self.session.client.dice.chance(50);
        if is_first {
            self.session.commit_offset(txn, &group, (place, next)).await?;
            self.session.be_restless().await?;
        }
        let copies: Vec<String> = values
            .iter()
            .map(|(_, value)| self.session.client.model().copy(txn, to, value, self.job))
            .collect();
        for copies in copies.chunks(5) {
            self.session.write(vec![(to, copies.to_vec())]).await?;
            self.session.be_restless().await?;
        }
        if !is_first {
            self.session.commit_offset(txn, &group, (place, next)).await?;
            self.session.be_restless().await?;
        }
        let commit = self.session.is_careful || self.session.client.dice.chance(80);
        self.session.end(txn, commit).await?;
        Ok(commit)
    }

    /// What is committed in a piece, where the next one begins, and whether nothing is behind it.
    async fn read(
        &mut self,
        place: Place,
        from: i64,
    ) -> io::Result<(Vec<(i64, String)>, i64, bool)> {
        let Some(mut connection) = self.session.connected().await else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let client = self.session.client.clone();
        let piece = client.piece(&mut connection, place, from, true).await?;
        self.session.connection = Some(connection);
        let Some(piece) = piece else { return Err(io::ErrorKind::NotFound.into()) };
        let (next, stable) = (piece.next(from), piece.stable);
        let values = piece.committed(from);
        for (offset, value) in &values {
            client.check(client.model().read(place, *offset, value));
        }
        Ok((values, next, next >= stable))
    }

    /// Asks how far the job has come.
    async fn find_positions(&mut self) -> io::Result<()> {
        let Some(mut connection) = self.session.connected().await else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let client = &self.session.client;
        let find = requests::find(&group_of(self.job), 0);
        client.answer(connection.call::<FindCoordinatorRequest>(4, &find)).await?;
        let request = requests::stable_offsets(&group_of(self.job), IN, self.partitions);
        let call = connection.call::<OffsetFetchRequest>(9, &request);
        let answer = client.answer(call).await?;
        let told = &answer.groups[0];
        let mut positions = Vec::new();
        let partitions = told.topics.iter().flat_map(|topic| &topic.partitions);
        for partition in partitions {
            let error = partition.error_code;
            if error != code::NONE && !is_passing(error) {
                client.findings.violated(format!("{} cannot be read: {error}", self.session.id));
            }
            if error == code::NONE {
                positions.push(partition.committed_offset.max(0));
            }
        }
        let is_whole = positions.len() == self.partitions as usize;
        self.session.connection = Some(connection);
        if told.error_code != code::NONE || !is_whole {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.positions = positions;
        Ok(())
    }

    /// How far the job has come by what the group says.
    pub async fn committed(&mut self) -> Option<Vec<i64>> {
        while !self.session.client.is_over() {
            if self.find_positions().await.is_ok() {
                return Some(self.positions.clone());
            }
            self.session.connection = None;
            self.session.client.pause(5, 50).await;
        }
        None
    }
}
