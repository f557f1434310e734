//! What would be lost of the metadata log, in words.

use std::collections::BTreeMap;
use std::fmt::Write;

use ottla_protocol::batch::{BATCH_OVERHEAD, Records};
use ottla_protocol::compression::Compression;
use ottla_protocol::metadata::MetadataRecord;
use ottla_storage::FoundBatch;
use ottla_types::Offset;

/// Names of topics that are told; of more, their number is.
const TOPICS_TOLD: usize = 20;

/// Sound batches of the metadata log that would go.
#[derive(Default)]
pub(super) struct Loss {
    pub(super) batches: u64,
    records: i64,
    first: Option<Offset>,
    next: Offset,
    kinds: BTreeMap<String, u64>,
    topics: Vec<String>,
}

impl Loss {
    pub(super) fn note_metadata(&mut self, batch: &FoundBatch<'_>) {
        self.batches += 1;
        self.records += i64::from(batch.header.record_count);
        self.first.get_or_insert(batch.header.base_offset);
        self.next = batch.header.next_offset();
        let attributes = batch.header.attributes;
        if attributes.is_control() || attributes.compression() != Some(Compression::None) {
            return;
        }
        for record in Records::new(&batch.header, &batch.bytes[BATCH_OVERHEAD..]).flatten() {
            let Some(Ok((record, _))) = record.value.map(MetadataRecord::decode) else {
                *self.kinds.entry("unknown".to_owned()).or_default() += 1;
                continue;
            };
            *self.kinds.entry(record.type_name()).or_default() += 1;
            if let MetadataRecord::Topic(topic) = record {
                self.topics.push(topic.name.to_string());
            }
        }
    }

    /// One line for each thing that goes.
    pub(super) fn told(&self) -> String {
        let Some(first) = self.first else { return String::new() };
        let mut text = format!(
            "  sound behind it, and lost with it: {} batches with {} records, offsets {first} to {}\n",
            self.batches,
            self.records,
            self.next.0 - 1,
        );
        let kinds: Vec<_> = self.kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        if !kinds.is_empty() {
            let _ = writeln!(text, "  records: {}", kinds.join(", "));
        }
        if !self.topics.is_empty() {
            let more = self.topics.len().saturating_sub(TOPICS_TOLD);
            let told = self.topics[..self.topics.len() - more].join(", ");
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let _ = writeln!(
                text,
                "  topics created there: {told}{more} (their directories stay, as strays)"
            );
        }
        text
    }
}
