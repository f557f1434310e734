//! Segments of a log and snapshots of the metadata: a line for each batch, and one for each record.

use std::io::Write;
use std::path::Path;

use ottla_protocol::batch::{BatchHeader, Record, Records, TimestampType};
use ottla_protocol::compression::Compression;
use ottla_protocol::control::ControlRecord;
use ottla_protocol::json::Json;
use ottla_protocol::{DecodeError, Field, Reader};

use super::batches::{Batches, Found};
use super::{Dump, DumpError, Dumped, Findings, absolute, base_offset, trouble};

impl Dump<'_> {
    pub(super) fn log(&mut self, path: &Path, file_name: &str) -> Dumped<()> {
        if file_name.ends_with(".log") {
            writeln!(self.out, "Log starting offset: {}", base_offset(path)?)?;
        } else if file_name == "bootstrap.checkpoint" {
            writeln!(self.out, "KRaft bootstrap snapshot")?;
        } else {
            let (offset, epoch) = snapshot_id(file_name)
                .ok_or_else(|| trouble(path, "the name is not that of a snapshot"))?;
            writeln!(self.out, "Snapshot end offset: {offset}, epoch: {epoch}")?;
        }
        let mut batches = Batches::open(self.disk, path)?;
        if let Some(bytes) = self.request.max_bytes {
            batches.limit(bytes);
        }
        let absolute = absolute(path);
        let (mut valid_bytes, mut last_offset) = (0, -1);
        while let Some(found) = batches.next()? {
            match self.batch(&batches, &found, &absolute, &mut last_offset) {
                Err(DumpError::File(reason)) => self.complain(&reason)?,
                done => done?,
            }
            valid_bytes += found.header.size() as u64;
        }
        let trailing = batches.len() - valid_bytes;
        if trailing > 0 && self.request.max_bytes.is_none() {
            self.findings = Findings::Damage;
            writeln!(self.out, "Found {trailing} invalid bytes at the end of {file_name}")?;
        }
        Ok(())
    }

    fn batch(
        &mut self,
        batches: &Batches,
        found: &Found,
        file: &str,
        last_offset: &mut i64,
    ) -> Dumped<()> {
        let header = &found.header;
        let codec = header.attributes.compression().ok_or_else(|| {
            let reason = format!("Unknown compression type id: {}", header.attributes.0 & 7);
            batches.at(found.position, reason)
        })?;
        let is_valid = batches.is_valid(found)?;
        if !is_valid {
            self.findings = Findings::Damage;
        }
        write_batch(self.out, found, codec, is_valid)?;
        if !self.request.deep {
            return Ok(());
        }
        let bytes = batches.records(found, codec)?;
        for record in Records::new(header, &bytes) {
            let record = record.map_err(|error| batches.at(found.position, error))?;
            if Some(record.offset.0) != last_offset.checked_add(1) {
                self.reports.gap(file, *last_offset, record.offset.0);
            }
            *last_offset = record.offset.0;
            self.record(batches, found, &record)?;
        }
        Ok(())
    }

    fn record(&mut self, batches: &Batches, found: &Found, record: &Record<'_>) -> Dumped<()> {
        let header = &found.header;
        let is_control = header.attributes.is_control();
        if !self.request.skip_record_metadata {
            write_record(self.out, header, record)?;
            if is_control {
                let text = control(record).map_err(|error| batches.at(found.position, error));
                match text {
                    Ok(text) => write!(self.out, "{text}")?,
                    Err(error) => {
                        writeln!(self.out)?;
                        return Err(error);
                    }
                }
            }
        }
        if let Some(decoder) = self.request.decoder
            && !is_control
        {
            let shown = decoder.show(record);
            let mut prefix = if self.request.skip_record_metadata { "| " } else { " " };
            if let Some(key) = shown.key {
                write!(self.out, "{prefix}key: ")?;
                self.out.write_all(key.as_bytes())?;
                prefix = " ";
            }
            if let Some(payload) = shown.payload {
                write!(self.out, "{prefix}payload: ")?;
                self.out.write_all(payload.as_bytes())?;
            }
        }
        writeln!(self.out)?;
        Ok(())
    }
}

/// Offset and epoch of a snapshot, by the name of its file.
fn snapshot_id(name: &str) -> Option<(i64, i32)> {
    let (offset, rest) = name.split_at_checked(20)?;
    let epoch = rest.strip_prefix('-')?.strip_suffix(".checkpoint")?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if epoch.len() != 10 || !is_number(offset) || !is_number(epoch) {
        return None;
    }
    Some((offset.parse().ok()?, epoch.parse().ok()?))
}

fn time_kind(header: &BatchHeader) -> &'static str {
    match header.attributes.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn codec_name(codec: Compression) -> &'static str {
    match codec {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

fn write_batch(
    out: &mut dyn Write,
    found: &Found,
    codec: Compression,
    is_valid: bool,
) -> std::io::Result<()> {
    let header = &found.header;
    write!(
        out,
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} ",
        header.base_offset.0,
        header.last_offset().0,
        header.record_count,
        header.base_sequence,
        header.last_sequence(),
    )?;
    let delete_horizon = match header.attributes.has_delete_horizon() {
        true => format!("OptionalLong[{}]", header.base_timestamp.0),
        false => "OptionalLong.empty".to_owned(),
    };
    write!(
        out,
        "producerId: {} producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} \
         isControl: {} deleteHorizonMs: {delete_horizon}",
        header.producer_id.0,
        header.producer_epoch.0,
        header.leader_epoch.0,
        header.attributes.is_transactional(),
        header.attributes.is_control(),
    )?;
    writeln!(
        out,
        " position: {} {}: {} size: {} magic: 2 compresscodec: {} crc: {} isvalid: {is_valid}",
        found.position,
        time_kind(header),
        header.max_timestamp.0,
        header.size(),
        codec_name(codec),
        header.crc,
    )
}

fn write_record(
    out: &mut dyn Write,
    header: &BatchHeader,
    record: &Record<'_>,
) -> std::io::Result<()> {
    let size = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
    let delta = record.offset.0.wrapping_sub(header.base_offset.0) as i32;
    let sequence = match header.base_sequence {
        // The sign bit falls away where sequences wrap.
        base if base >= 0 => base.wrapping_add(delta) & i32::MAX,
        _ => -1,
    };
    write!(
        out,
        "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [",
        record.offset.0,
        time_kind(header),
        record.timestamp.0,
        size(record.key),
        size(record.value),
    )?;
    for (index, header) in record.headers().enumerate() {
        out.write_all(if index == 0 { b"" } else { b"," })?;
        out.write_all(String::from_utf8_lossy(header.key).as_bytes())?;
    }
    out.write_all(b"]")
}

/// What a control record says, with the blank in front of it.
fn control(record: &Record<'_>) -> Result<String, DecodeError> {
    let shown = |name: &str, json: Json| format!(" {name} {json}");
    // A type that is not known may have any value, or none.
    let mut key = Reader::new(record.key.ok_or(DecodeError::BadLength)?);
    let (_, number) = (key.i16()?, key.i16()?);
    if !(0..=6).contains(&number) {
        return Ok(format!(" controlType: UNKNOWN({number})"));
    }
    let marker =
        |kind: &str, epoch: i32| format!(" endTxnMarker: {kind} coordinatorEpoch: {epoch}");
    Ok(match ControlRecord::decode(record.key, record.value)? {
        ControlRecord::Abort(end) => marker("ABORT", end.coordinator_epoch),
        ControlRecord::Commit(end) => marker("COMMIT", end.coordinator_epoch),
        ControlRecord::LeaderChange(change) => shown("LeaderChange:", change.json(0)),
        ControlRecord::SnapshotHeader(header) => shown("SnapshotHeader", header.json(0)),
        ControlRecord::SnapshotFooter(footer) => shown("SnapshotFooter", footer.json(0)),
        ControlRecord::KRaftVersion(version) => shown("KRaftVersion", version.json(0)),
        ControlRecord::Voters(voters) => shown("KRaftVoters", voters.json(0)),
        ControlRecord::Unknown(number) => format!(" controlType: UNKNOWN({number})"),
    })
}
