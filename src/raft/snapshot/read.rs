//! Reading a snapshot, batch by batch, and checking all there is to check.

use std::fmt;

use ottla_protocol::DecodeError;
use ottla_protocol::batch::{BATCH_OVERHEAD, BatchError, BatchHeader, Records};
use ottla_protocol::compression::Compression;
use ottla_protocol::control::ControlRecord;
use ottla_types::Offset;

use crate::records::{RecordsError, control_records};

/// What is wrong with a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotError {
    /// A batch or a record is damaged.
    Records(RecordsError),
    /// Records are compressed, which Kafka never does here.
    Compressed,
    /// An offset is not the one that follows.
    OutOfOrder,
    /// It does not begin with a header.
    NoHeader,
    /// It ends without a footer: the file is cut.
    NoFooter,
    /// Something stands behind the footer.
    BehindFooter,
    /// A control record that has no place there.
    UnexpectedControl,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Records(error) => error.fmt(f),
            SnapshotError::Compressed => f.write_str("records are compressed"),
            SnapshotError::OutOfOrder => f.write_str("an offset is not the one that follows"),
            SnapshotError::NoHeader => f.write_str("the snapshot does not begin with a header"),
            SnapshotError::NoFooter => f.write_str("the snapshot ends without a footer"),
            SnapshotError::BehindFooter => f.write_str("something stands behind the footer"),
            SnapshotError::UnexpectedControl => f.write_str("a control record is out of place"),
        }
    }
}

impl std::error::Error for SnapshotError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SnapshotError::Records(error) => Some(error),
            _ => None,
        }
    }
}

impl From<BatchError> for SnapshotError {
    fn from(error: BatchError) -> SnapshotError {
        SnapshotError::Records(RecordsError::Batch(error))
    }
}

impl From<RecordsError> for SnapshotError {
    fn from(error: RecordsError) -> SnapshotError {
        SnapshotError::Records(error)
    }
}

impl From<DecodeError> for SnapshotError {
    fn from(error: DecodeError) -> SnapshotError {
        SnapshotError::Records(RecordsError::Record(error))
    }
}

/// A batch of a snapshot.
#[derive(Clone, PartialEq, Debug)]
pub enum SnapshotBatch<'a> {
    /// Header, `kraft.version` and voters, or the footer.
    Control(Vec<ControlRecord>),
    /// Values of records of the metadata log, in order.
    Data(Vec<&'a [u8]>),
}

/// Reads a snapshot, batch by batch, and checks all there is to check: that the last batch was
/// returned without an error means that the snapshot is complete.
pub struct SnapshotReader<'a> {
    bytes: &'a [u8],
    next_offset: Offset,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Start,
    Inside,
    End,
    Failed,
}

impl<'a> SnapshotReader<'a> {
    /// Reads the snapshot that these bytes are.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> SnapshotReader<'a> {
        SnapshotReader { bytes, next_offset: Offset::ZERO, place: Place::Start }
    }

    fn read(&mut self) -> Result<SnapshotBatch<'a>, SnapshotError> {
        if self.place == Place::End {
            return Err(SnapshotError::BehindFooter);
        }
        let header = BatchHeader::read_checked(self.bytes)?;
        let (batch, rest) = self.bytes.split_at(header.size());
        if header.base_offset != self.next_offset || header.next_offset() <= header.base_offset {
            return Err(SnapshotError::OutOfOrder);
        }
        self.bytes = rest;
        self.next_offset = header.next_offset();
        if header.attributes.is_control() {
            let control = control_records(&header, batch)?;
            let control: Vec<_> = control.into_iter().map(|(_, record)| record).collect();
            self.take_place(&control)?;
            return Ok(SnapshotBatch::Control(control));
        }
        match (self.place, header.attributes.compression()) {
            (Place::Start, _) => Err(SnapshotError::NoHeader),
            (_, Some(Compression::None)) => values(&header, batch).map(SnapshotBatch::Data),
            (_, Some(_) | None) => Err(SnapshotError::Compressed),
        }
    }

    /// Checks that control records stand where they may: the header first of all and only there,
    /// what describes the quorum behind it, the footer last and alone.
    fn take_place(&mut self, control: &[ControlRecord]) -> Result<(), SnapshotError> {
        for (index, record) in control.iter().enumerate() {
            self.place = match (record, self.place, index) {
                (ControlRecord::SnapshotHeader(_), Place::Start, _) => Place::Inside,
                (_, Place::Start, _) => return Err(SnapshotError::NoHeader),
                (ControlRecord::KRaftVersion(_) | ControlRecord::Voters(_), Place::Inside, 1..) => {
                    Place::Inside
                }
                (ControlRecord::SnapshotFooter(_), Place::Inside, 0) => Place::End,
                _ => return Err(SnapshotError::UnexpectedControl),
            };
        }
        Ok(())
    }
}

fn values<'a>(header: &BatchHeader, batch: &'a [u8]) -> Result<Vec<&'a [u8]>, SnapshotError> {
    Records::new(header, &batch[BATCH_OVERHEAD..])
        .map(|record| Ok(record?.value.ok_or(DecodeError::BadLength)?))
        .collect()
}

impl<'a> Iterator for SnapshotReader<'a> {
    type Item = Result<SnapshotBatch<'a>, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match (self.place, self.bytes.is_empty()) {
            (Place::Failed, _) | (Place::End, true) => return None,
            (Place::Start, true) => Err(SnapshotError::NoHeader),
            (Place::Inside, true) => Err(SnapshotError::NoFooter),
            (_, false) => self.read(),
        };
        if batch.is_err() {
            self.place = Place::Failed;
        }
        Some(batch)
    }
}
