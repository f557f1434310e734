//! From committed batches of the metadata log to images.
//!
//! Batches come in order, each once. What readers see moves at the end of a batch, and not while a
//! transaction is open (KIP-868): a transaction of many batches becomes visible at its end, or,
//! when it is aborted, never.
//!
//! ```text
//!          Begin                          End
//!  [a b] [c | d e] [f g] [h i | ] [j]      publishes after b, c, i, j
//!                     Abort               publishes after b, c, j: d..i never happened
//! ```
//! After an error nothing more can be loaded: a record that this version cannot read may mean
//! anything, and the replica stops.

use std::fmt;

use ottla_protocol::DecodeError;
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use crate::image::{Delta, Image, Provenance, ReplayError, Touched};

/// A committed batch, decoded.
#[derive(Clone, PartialEq, Debug)]
pub struct LogBatch {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record. A batch of control records has offsets, but nothing to replay.
    pub last_offset: Offset,
    /// Epoch of the leader that wrote it.
    pub epoch: LeaderEpoch,
    /// When it was appended.
    pub timestamp: Timestamp,
    /// Its records.
    pub records: Vec<MetadataRecord>,
}

/// Why the log cannot be followed any further.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// This version does not know the record's type or version, or its bytes are damaged.
    Decode {
        /// Offset of the record.
        offset: Offset,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// The record does not fit what came before.
    Replay {
        /// Offset of the record.
        offset: Offset,
        /// What is wrong with it.
        error: ReplayError,
    },
    /// A transaction begins in another, or ends that never began.
    Transaction {
        /// Offset of the mark.
        offset: Offset,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Decode { offset, error } => {
                write!(f, "the metadata record at offset {offset} cannot be read: {error}")
            }
            LoadError::Replay { offset, error } => {
                write!(f, "the metadata record at offset {offset} does not fit: {error}")
            }
            LoadError::Transaction { offset } => {
                write!(f, "the mark of a transaction at offset {offset} is out of place")
            }
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LoadError::Decode { error, .. } => Some(error),
            LoadError::Replay { error, .. } => Some(error),
            LoadError::Transaction { .. } => None,
        }
    }
}

impl LogBatch {
    /// Decodes the values of a batch's records.
    ///
    /// # Errors
    /// For the first record whose type or version is not known, or whose bytes are damaged.
    pub fn decode<'a>(
        base_offset: Offset,
        epoch: LeaderEpoch,
        timestamp: Timestamp,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<LogBatch, LoadError> {
        let mut records = Vec::new();
        for value in values {
            let offset = base_offset.plus(records.len() as i64);
            let (record, _) = MetadataRecord::decode(value)
                .map_err(|error| LoadError::Decode { offset, error })?;
            records.push(record);
        }
        let last_offset = Offset(base_offset.0.wrapping_add(records.len() as i64 - 1));
        Ok(LogBatch { base_offset, last_offset, epoch, timestamp, records })
    }

    fn provenance_at(&self, offset: Offset) -> Provenance {
        Provenance { offset, epoch: self.epoch, timestamp: self.timestamp }
    }
}

/// Follows the log.
#[derive(Debug, Default)]
pub struct Loader {
    /// What readers see.
    visible: Image,
    /// What the records read so far make, an open transaction included.
    ahead: Image,
    /// What changed from the one to the other.
    touched: Touched,
    /// Where the open transaction began.
    transaction: Option<Offset>,
    failed: bool,
}

impl Loader {
    /// A loader at the front of the log.
    #[must_use]
    pub fn new() -> Loader {
        Loader::default()
    }

    /// What readers see: everything committed, and nothing of an open transaction.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.visible
    }

    /// Where the open transaction began; a controller that becomes active aborts it.
    #[must_use]
    pub fn open_transaction(&self) -> Option<Offset> {
        self.transaction
    }

    /// Loads the next batch and returns what became visible: mostly one delta, none within a
    /// transaction, two when a transaction begins in the middle of the batch.
    ///
    /// # Errors
    /// When the log cannot be followed any further.
    ///
    /// # Panics
    /// When called again after an error.
    pub fn load_batch(&mut self, batch: &LogBatch) -> Result<Vec<Delta>, LoadError> {
        assert!(!self.failed, "a replica stops at the first record that it cannot replay");
        self.failed = true;
        let mut published = Vec::new();
        for (index, record) in batch.records.iter().enumerate() {
            let offset = batch.base_offset.plus(index as i64);
            match record {
                MetadataRecord::BeginTransaction(_) => {
                    if index > 0 && self.transaction.is_none() {
                        published.push(self.publish(batch.provenance_at(Offset(offset.0 - 1))));
                    }
                    self.begin(offset)?;
                }
                MetadataRecord::EndTransaction(_) => self.close(offset)?,
                MetadataRecord::AbortTransaction(_) => {
                    self.close(offset)?;
                    self.ahead = self.visible.clone();
                    self.touched = Touched::default();
                }
                record => self
                    .ahead
                    .replay(record, &mut self.touched)
                    .map_err(|error| LoadError::Replay { offset, error })?,
            }
        }
        if self.transaction.is_none() {
            published.push(self.publish(batch.provenance_at(batch.last_offset)));
        }
        self.failed = false;
        Ok(published)
    }

    /// Replaces everything by a snapshot, which never holds a part of a transaction.
    ///
    /// # Errors
    /// When a record does not fit; its offset is that within the snapshot's data.
    ///
    /// # Panics
    /// When called again after an error.
    pub fn load_snapshot(
        &mut self,
        provenance: Provenance,
        records: impl IntoIterator<Item = MetadataRecord>,
    ) -> Result<Delta, LoadError> {
        assert!(!self.failed, "a replica stops at the first record that it cannot replay");
        self.failed = true;
        let mut image = Image::default();
        for (index, record) in records.into_iter().enumerate() {
            image
                .replay(&record, &mut Touched::default())
                .map_err(|error| LoadError::Replay { offset: Offset(index as i64), error })?;
        }
        image.set_provenance(provenance);
        let base = std::mem::replace(&mut self.visible, image.clone());
        *self = Loader { visible: image.clone(), ahead: image.clone(), ..Loader::default() };
        Ok(Delta::between(base, image))
    }

    fn begin(&mut self, offset: Offset) -> Result<(), LoadError> {
        match self.transaction.replace(offset) {
            None => Ok(()),
            Some(_) => Err(LoadError::Transaction { offset }),
        }
    }

    fn close(&mut self, offset: Offset) -> Result<(), LoadError> {
        self.transaction.take().map(|_| ()).ok_or(LoadError::Transaction { offset })
    }

    fn publish(&mut self, provenance: Provenance) -> Delta {
        self.ahead.set_provenance(provenance);
        let base = std::mem::replace(&mut self.visible, self.ahead.clone());
        Delta::new(base, self.ahead.clone(), std::mem::take(&mut self.touched))
    }
}
