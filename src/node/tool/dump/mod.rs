//! `dump-log`: what is in a log segment, an index or a snapshot, with the options and the text of
//! Kafka's `DumpLogSegments`, byte for byte on standard output.
//!
//! Files are read in pieces, whatever their size; one batch is held at a time, and only when its
//! records are asked for ([`BATCH_BYTES_MAX`], [`DECOMPRESSED_BYTES_MAX`]). Nothing is opened for
//! writing and nothing is locked, so that a running node can be looked at.
//!
//! Damage ends in a message on the error stream and in [`Findings::Damage`], never in a panic; the
//! rest of the file, if it can be found, and the other files are dumped all the same. Deliberately
//! absent: the message formats of before Kafka 0.11, decoders that are Java classes, and the
//! decoder of tiered storage's records.
//!
//! Source: `org.apache.kafka.tools.DumpLogSegments` of Kafka 4.3.1.

mod batches;
mod decode;
mod index;
mod log;
mod reports;
mod states;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ottla_runtime::Disk;

pub use decode::Decoder;

use reports::Reports;

/// Largest batch whose records are looked at.
const BATCH_BYTES_MAX: usize = 256 << 20;
/// Most bytes that the records of one batch may have when they are decompressed.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 30;

/// What is done with an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IndexMode {
    /// Entries are held against the log and printed.
    Dump,
    /// Entries are held against the log.
    Verify,
    /// Only what a start of the broker looks at.
    Sanity,
}

/// What is to be dumped, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DumpRequest {
    /// The files, as they were named.
    pub files: Vec<String>,
    /// Whether records are gone through, not only batches.
    pub deep: bool,
    /// How keys and values are shown; `None` does not show them.
    pub decoder: Option<Decoder>,
    /// Whether only keys and values are shown of a record.
    pub skip_record_metadata: bool,
    /// What is done with indexes.
    pub index: IndexMode,
    /// Largest batch that an index entry may point to, bytes.
    pub max_message_size: u64,
    /// Where the reading of a log ends, bytes; `None` is its end.
    pub max_bytes: Option<u64>,
}

/// What a dump has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Findings {
    /// Nothing is wrong.
    Sound,
    /// A checksum, an index entry or a file is wrong.
    Damage,
}

/// Why a file, or a part of it, could not be dumped.
enum DumpError {
    /// What is printed finds no taker.
    Output(io::Error),
    /// The file: told to the operator.
    File(String),
}

impl From<io::Error> for DumpError {
    fn from(error: io::Error) -> DumpError {
        DumpError::Output(error)
    }
}

type Dumped<T> = Result<T, DumpError>;

/// What a file's own trouble is.
fn trouble(path: &Path, reason: impl fmt::Display) -> DumpError {
    DumpError::File(format!("{}: {reason}", path.display()))
}

/// Everything a dump of one file needs.
struct Dump<'a> {
    disk: &'a Disk,
    request: &'a DumpRequest,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    reports: Reports,
    findings: Findings,
}

/// Dumps the files of `request`.
///
/// # Errors
/// When `out` or `err` take no more.
pub fn dump_log(
    disk: &Disk,
    request: &DumpRequest,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Findings> {
    let (reports, findings) = (Reports::default(), Findings::Sound);
    let mut dump = Dump { disk, request, out, err, reports, findings };
    for file in &request.files {
        match dump.file(file) {
            Ok(()) => {}
            Err(DumpError::File(reason)) => dump.complain(&reason)?,
            Err(DumpError::Output(error)) => return Err(error),
        }
    }
    dump.out.flush()?;
    if dump.reports.write(dump.err)? {
        dump.findings = Findings::Damage;
    }
    dump.err.flush()?;
    Ok(dump.findings)
}

impl Dump<'_> {
    fn file(&mut self, name: &str) -> Dumped<()> {
        // Java's File drops slashes that say nothing.
        let shown = without_spare_slashes(name);
        writeln!(self.out, "Dumping {shown}")?;
        let path = PathBuf::from(&shown);
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match file_name.rsplit_once('.').map(|(_, suffix)| suffix) {
            Some("log" | "checkpoint") => self.log(&path, &file_name),
            Some("index") => self.offset_index(&path),
            Some("timeindex") => self.time_index(&path),
            Some("snapshot") => self.producer_snapshot(&path),
            Some("txnindex") => self.transaction_index(&path),
            _ => {
                writeln!(self.err, "Ignoring unknown file {shown}")?;
                Ok(())
            }
        }
    }

    fn complain(&mut self, reason: &str) -> io::Result<()> {
        self.findings = Findings::Damage;
        writeln!(self.err, "{reason}")
    }
}

fn without_spare_slashes(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter != '/' || !shown.ends_with('/') {
            shown.push(letter);
        }
    }
    if shown.len() > 1 && shown.ends_with('/') {
        shown.pop();
    }
    shown
}

/// The offset that a segment's file begins with, by its name.
fn base_offset(path: &Path) -> Dumped<i64> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let digits = name.split('.').next().unwrap_or_default();
    digits.parse().map_err(|_| trouble(path, "the name does not begin with an offset"))
}

/// The path from the root on, as it is shown where something does not fit.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}
