//! Fetch requests whose offsets are changed in place, and their answers read in place: a client
//! that copies and allocates would be the slower side.

use std::io;
use std::ops::Range;

use ottla_protocol::batch::BatchHeader;
use ottla_test_client::messages::FetchRequest;
use ottla_test_client::messages::fetch_request::{FetchPartition, FetchTopic};

use crate::Failure;
use crate::client::{FETCH, encode, topic_name};

/// An offset that nothing else in a request looks like.
const MARK: i64 = 0x0123_4567_89ab_cdef;
/// Milliseconds that a fetch waits for something new.
const WAIT_MS: i32 = 500;

/// A fetch of partitions of one topic.
pub(crate) struct Fetch {
    pub(crate) frame: Vec<u8>,
    offsets_at: Vec<usize>,
    /// Where each partition goes on.
    pub(crate) offsets: Vec<i64>,
}

impl Fetch {
    /// From the front of each partition, `piece` bytes of each at a time.
    pub(crate) fn new(topic: &str, partitions: Range<i32>, piece: i32) -> io::Result<Fetch> {
        Fetch::isolated(topic, partitions, piece, 0)
    }

    /// The same in an isolation level: 0 for all records, 1 for committed ones.
    pub(crate) fn isolated(
        topic: &str,
        partitions: Range<i32>,
        piece: i32,
        isolation: i8,
    ) -> io::Result<Fetch> {
        let count = partitions.len();
        let partition = |index| {
            FetchPartition::default()
                .with_partition(index)
                .with_fetch_offset(MARK)
                .with_partition_max_bytes(piece)
        };
        let topic = FetchTopic::default()
            .with_topic(topic_name(topic))
            .with_partitions(partitions.map(partition).collect());
        let request = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(WAIT_MS)
            .with_min_bytes(1)
            .with_max_bytes(i32::MAX)
            .with_isolation_level(isolation)
            .with_topics(vec![topic]);
        let frame = encode(FETCH, &request)?.to_vec();
        let mark = MARK.to_be_bytes();
        let windows = frame.windows(mark.len()).enumerate();
        let offsets_at = windows.filter(|(_, it)| *it == mark).map(|(at, _)| at).collect();
        let mut fetch = Fetch { frame, offsets_at, offsets: vec![0; count] };
        fetch.update();
        Ok(fetch)
    }

    /// Goes on at an offset.
    pub(crate) fn begin_at(&mut self, offset: i64) {
        self.offsets.fill(offset);
        self.update();
    }

    /// Begins at the front again.
    pub(crate) fn rewind(&mut self) {
        self.begin_at(0);
    }

    /// Goes on behind what an answer has brought; tells the bytes of whole batches. `look` is shown
    /// each batch and the offset that was expected of it.
    pub(crate) fn take(
        &mut self,
        answer: &[u8],
        mut look: impl FnMut(&[u8], i64) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let mut total = 0;
        for (index, records) in partitions(answer)? {
            let first = self.offsets.len() == 1;
            let slot = if first { 0 } else { usize::try_from(index)? };
            let offset = self.offsets.get_mut(slot).ok_or("a partition that nobody asked for")?;
            let mut rest = records;
            while let Ok(header) = BatchHeader::read(rest) {
                let Some((batch, behind)) = rest.split_at_checked(header.size()) else { break };
                look(batch, *offset)?;
                *offset = header.next_offset().0;
                (total, rest) = (total + batch.len(), behind);
            }
        }
        self.update();
        Ok(total)
    }

    fn update(&mut self) {
        for (at, offset) in self.offsets_at.iter().zip(&self.offsets) {
            self.frame[*at..at + 8].copy_from_slice(&offset.to_be_bytes());
        }
    }
}

/// Indexes and records of the partitions in an answer of version 11.
fn partitions(answer: &[u8]) -> Result<Vec<(i32, &[u8])>, Failure> {
    let mut rest = Cursor(answer);
    rest.skip(8)?;
    rest.no_error()?;
    rest.skip(4)?;
    let mut found = Vec::new();
    for _ in 0..rest.number()? {
        let name = rest.take(2)?;
        rest.skip(usize::from(u16::from_be_bytes([name[0], name[1]])))?;
        for _ in 0..rest.number()? {
            let index = rest.number()?;
            rest.no_error()?;
            rest.skip(24)?;
            let aborted = rest.number()?.max(0);
            rest.skip(16 * usize::try_from(aborted)? + 4)?;
            let len = usize::try_from(rest.number()?.max(0))?;
            found.push((index, rest.take(len)?));
        }
    }
    Ok(found)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Failure> {
        let (front, rest) = self.0.split_at_checked(len).ok_or("a Fetch answer that is cut")?;
        self.0 = rest;
        Ok(front)
    }

    fn skip(&mut self, len: usize) -> Result<(), Failure> {
        self.take(len).map(drop)
    }

    fn number(&mut self) -> Result<i32, Failure> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn no_error(&mut self) -> Result<(), Failure> {
        match self.take(2)? {
            [0, 0] => Ok(()),
            error => Err(format!("Fetch: error {error:?}").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use kafka_protocol::protocol::Encodable;
    use ottla_test_client::messages::FetchResponse;
    use ottla_test_client::messages::fetch_response::{FetchableTopicResponse, PartitionData};

    use super::*;
    use crate::payload::batch_of;

    fn answer(batch: &[u8], error: i16) -> Vec<u8> {
        let partition = |index| {
            PartitionData::default()
                .with_partition_index(index)
                .with_error_code(error)
                .with_aborted_transactions(None)
                .with_records(Some(batch.to_vec().into()))
        };
        let topic = FetchableTopicResponse::default()
            .with_topic(topic_name("a-topic"))
            .with_partitions(vec![partition(0), partition(1)]);
        let mut bytes = BytesMut::new();
        bytes.put_i32(1);
        FetchResponse::default()
            .with_responses(vec![topic])
            .encode(&mut bytes, FETCH)
            .expect("it has this version");
        bytes.to_vec()
    }

    #[test]
    fn a_fetch_goes_on_behind_whole_batches() {
        let batch = batch_of(3000, 1024);
        let records = [&batch[..], &batch[..100]].concat();
        let mut fetch = Fetch::new("a-topic", 0..2, 1 << 20).expect("it is encoded");
        assert_eq!(fetch.offsets_at.len(), 2);
        let mut seen = Vec::new();
        let look = |it: &[u8], offset| {
            seen.push((it.len(), offset));
            Ok(())
        };
        let total = fetch.take(&answer(&records, 0), look).expect("an answer");
        assert_eq!((total, &fetch.offsets[..]), (2 * batch.len(), &[2, 2][..]));
        assert_eq!(seen, [(batch.len(), 0), (batch.len(), 0)]);
        let at = fetch.offsets_at[1];
        assert_eq!(fetch.frame[at..at + 8], 2_i64.to_be_bytes());
        assert!(fetch.take(&answer(&records, 1), |_, _| Ok(())).is_err());
        fetch.rewind();
        assert_eq!(fetch.offsets, [0, 0]);
    }
}
