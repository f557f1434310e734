//! Judging records one by one: their offsets, keys and times.

use ottla_config::TimestampSource;
use ottla_protocol::batch::{BatchHeader, RecordBody, RecordFront, TimestampType};
use ottla_types::{ErrorCode, Timestamp};

use super::{RECORD_ERRORS_MAX, RecordError, Refusal, Rules};

/// Errors that the message for the whole batch repeats.
const REPEATED_MAX: usize = 3;

/// How Kafka calls a record in its texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RecordWord {
    /// One that was read.
    Whole,
    /// One that was passed over.
    Partial,
}

/// What was seen of a batch.
pub(super) struct Judge<'a> {
    header: &'a BatchHeader,
    rules: &'a Rules<'a>,
    word: RecordWord,
    /// What a time may be, both ends included; none where the broker sets it.
    times_allowed: Option<(i64, i64)>,
    max_timestamp: Timestamp,
    offsets_follow: bool,
    errors: Vec<RecordError>,
    error_count: usize,
    has_time_error: bool,
}

impl<'a> Judge<'a> {
    pub(super) fn new(header: &'a BatchHeader, rules: &'a Rules<'a>, word: RecordWord) -> Self {
        let keeps_time = rules.topic.timestamp_source == TimestampSource::CreateTime;
        Judge {
            header,
            rules,
            word,
            times_allowed: keeps_time.then(|| times_allowed(rules)),
            max_timestamp: Timestamp::NONE,
            offsets_follow: true,
            errors: Vec::new(),
            error_count: 0,
            has_time_error: false,
        }
    }

    /// Looks at the next record.
    #[inline]
    pub(super) fn see(&mut self, index: i32, front: &RecordFront, body: &RecordBody) {
        let timestamp = self.header.timestamp_of(front.timestamp_delta);
        self.offsets_follow &= front.offset_delta == index;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let has_key = body.key_len >= 0 || !self.rules.topic.compacts;
        if !has_key || !self.is_time_good(timestamp) {
            self.note_error(index, timestamp, front, body);
        }
    }

    #[inline]
    fn is_time_good(&self, timestamp: Timestamp) -> bool {
        match self.times_allowed {
            Some((low, high)) if timestamp != Timestamp::NONE => {
                (low..=high).contains(&timestamp.0)
            }
            _ => self.header.attributes.timestamp_type() == TimestampType::CreateTime,
        }
    }

    #[cold]
    fn note_error(
        &mut self,
        index: i32,
        timestamp: Timestamp,
        front: &RecordFront,
        body: &RecordBody,
    ) {
        let keyless = body.key_len < 0 && self.rules.topic.compacts;
        self.error_count += 1;
        self.has_time_error |= !keyless;
        if self.errors.len() == RECORD_ERRORS_MAX {
            return;
        }
        let message = if keyless {
            let partition = self.rules.partition;
            format!(
                "Compacted topic cannot accept message without key in topic partition {partition}"
            )
        } else {
            self.time_error(timestamp, front, body)
        };
        self.errors.push(RecordError { index, message });
    }

    fn time_error(&self, timestamp: Timestamp, front: &RecordFront, body: &RecordBody) -> String {
        let offset = self.header.base_offset.0.wrapping_add(i64::from(front.offset_delta));
        if self.times_allowed.is_some() && timestamp != Timestamp::NONE {
            // Java's numbers wrap, and Kafka shows them as they are.
            let now = self.rules.now.0;
            let low = now.wrapping_sub(self.rules.topic.timestamp_before_max_ms);
            let high = now.wrapping_add(self.rules.topic.timestamp_after_max_ms);
            return format!(
                "Timestamp {timestamp} of message with offset {offset} is out of range. The \
                 timestamp should be within [{low}, {high}]",
                timestamp = timestamp.0,
            );
        }
        let word = match self.word {
            RecordWord::Whole => "DefaultRecord",
            RecordWord::Partial => "PartialDefaultRecord",
        };
        format!(
            "Invalid timestamp type in message {word}(offset={offset}, timestamp={}, key={} bytes, \
             value={} bytes). Producer should not set timestamp type to LogAppendTime.",
            timestamp.0,
            body.key_len.max(0),
            body.value_len.max(0),
        )
    }

    /// The largest time, if all records are good.
    ///
    /// # Errors
    /// Which are not, or that their offsets are not 0, 1, 2 and so on: Kafka stores such offsets
    /// in some batches, and fails at others.
    pub(super) fn verdict(self) -> Result<Timestamp, Refusal> {
        if self.error_count == 0 {
            return if self.offsets_follow {
                Ok(self.max_timestamp)
            } else {
                Err(Refusal::invalid("the offsets of the records do not follow each other"))
            };
        }
        if self.has_time_error {
            let message = "One or more records have been rejected due to invalid timestamp";
            return Err(Refusal {
                records: self.errors,
                ..Refusal::told(ErrorCode::InvalidTimestamp, message.to_owned())
            });
        }
        let repeated = self.errors.iter().take(REPEATED_MAX);
        let repeated: Vec<String> = repeated
            .map(|e| format!("RecordError(batchIndex={}, message='{}')", e.index, e.message))
            .collect();
        let message = format!(
            "One or more records have been rejected due to {} record errors in total, and only \
             showing the first three errors at most: [{}]",
            self.error_count,
            repeated.join(", "),
        );
        Err(Refusal { records: self.errors, ..Refusal::told(ErrorCode::InvalidRecord, message) })
    }
}

/// Whether a record may have this time, where it is the producer's.
pub(super) fn is_time_allowed(rules: &Rules<'_>, timestamp: Timestamp) -> bool {
    let (low, high) = times_allowed(rules);
    timestamp == Timestamp::NONE || (low..=high).contains(&timestamp.0)
}

/// The times allowed, both ends included. Kafka compares differences that wrap, so that with the
/// widest limit the far past still counts as too old.
fn times_allowed(rules: &Rules<'_>) -> (i64, i64) {
    let now = rules.now.0;
    let low = now.saturating_sub(rules.topic.timestamp_before_max_ms);
    (low, now.saturating_add(rules.topic.timestamp_after_max_ms))
}
