//! Snapshots of producers and indexes of aborted transactions.

use std::path::Path;

use ottla_protocol::batch::crc32c;
use ottla_protocol::{DecodeError, Decoded, Reader};
use ottla_runtime::OpenMode;

use super::{Dump, Dumped, base_offset, trouble};

/// Largest snapshot that is read: several million producers.
const SNAPSHOT_BYTES_MAX: u64 = 256 << 20;
const SNAPSHOT_VERSION: i16 = 1;
/// Where the entries begin, and with them what the checksum covers.
const ENTRIES_AT: usize = 6;
/// Version, producer, first and last offset, last stable offset.
const ABORTED_BYTES: usize = 34;
const ABORTED_VERSION: i16 = 0;

impl Dump<'_> {
    pub(super) fn producer_snapshot(&mut self, path: &Path) -> Dumped<()> {
        let bytes = self.disk.read(path, SNAPSHOT_BYTES_MAX);
        let bytes = bytes.map_err(|error| trouble(path, error))?;
        // All of it is looked at before anything is shown, as a damaged one shows nothing.
        match producers(&bytes) {
            Ok(lines) => {
                for line in lines {
                    writeln!(self.out, "{line}")?;
                }
            }
            Err(reason) => self.complain(&reason)?,
        }
        Ok(())
    }

    pub(super) fn transaction_index(&mut self, path: &Path) -> Dumped<()> {
        base_offset(path)?;
        let failed = |error| trouble(path, error);
        let file = self.disk.open(path, OpenMode::Read).map_err(failed)?;
        let entries = file.len().map_err(failed)? / ABORTED_BYTES as u64;
        for number in 0..entries {
            let mut entry = [0; ABORTED_BYTES];
            file.read_exact_at(&mut entry, number * ABORTED_BYTES as u64).map_err(failed)?;
            let text = aborted(&entry).map_err(|version| {
                let reason = format!(
                    "Unexpected aborted transaction version {version} in transaction index {}, \
                     current version is {ABORTED_VERSION}",
                    super::absolute(path)
                );
                super::DumpError::File(reason)
            })?;
            writeln!(self.out, "{text}")?;
        }
        Ok(())
    }
}

/// An aborted transaction; its version when that is not known.
fn aborted(entry: &[u8; ABORTED_BYTES]) -> Result<String, i16> {
    let mut reader = Reader::new(entry);
    let version = reader.i16().expect("of 34 bytes");
    if version > ABORTED_VERSION {
        return Err(version);
    }
    let mut number = || reader.i64().expect("of 34 bytes");
    let (producer, first, last, stable) = (number(), number(), number(), number());
    Ok(format!(
        "version: {version} producerId: {producer} firstOffset: {first} lastOffset: {last} \
         lastStableOffset: {stable}"
    ))
}

fn producers(bytes: &[u8]) -> Result<Vec<String>, String> {
    let schema = |error: DecodeError| format!("Snapshot failed schema validation: {error}");
    let mut reader = Reader::new(bytes);
    let version = reader.i16().map_err(schema)?;
    if version != SNAPSHOT_VERSION {
        return Err(format!(
            "Snapshot failed schema validation: Snapshot contained an unknown file version \
             {version}"
        ));
    }
    let stored = reader.u32().map_err(schema)?;
    let count = reader.i32().map_err(schema)?;
    let lines = (0..count).map(|_| producer(&mut reader)).collect::<Decoded<Vec<_>>>();
    let lines = lines.map_err(schema)?;
    let computed = crc32c(&bytes[ENTRIES_AT..]);
    if stored != computed {
        return Err(format!(
            "Snapshot is corrupt (CRC is no longer valid). Stored crc: {stored}. Computed crc: \
             {computed}"
        ));
    }
    Ok(lines)
}

fn producer(reader: &mut Reader<'_>) -> Decoded<String> {
    let (id, epoch) = (reader.i64()?, reader.i16()?);
    let (last_sequence, last_offset) = (reader.i32()?, reader.i64()?);
    let (delta, time) = (reader.i32()?, reader.i64()?);
    let (coordinator_epoch, first_offset) = (reader.i32()?, reader.i64()?);
    let transaction = match first_offset {
        ..0 => "OptionalLong.empty".to_owned(),
        offset => format!("OptionalLong[{offset}]"),
    };
    let mut line = format!(
        "producerId: {id} producerEpoch: {epoch} coordinatorEpoch: {coordinator_epoch} \
         currentTxnFirstOffset: {transaction} lastTimestamp: {time}"
    );
    if last_offset >= 0 {
        // The sign bit falls away where sequences wrap.
        let first_sequence = last_sequence.wrapping_sub(delta) & i32::MAX;
        line += &format!(
            " firstSequence: {first_sequence} lastSequence: {last_sequence} lastOffset: \
             {last_offset} offsetDelta: {delta} timestamp: {time}"
        );
    }
    Ok(line)
}
