//! Random logs over all types of records.

use std::collections::BTreeSet;

use fastrand::Rng;
use ottla_protocol::Writer;
use ottla_protocol::metadata::MetadataRecord;
use ottla_types::{LeaderEpoch, Offset, Timestamp};

use super::random::RandomRecords;
use crate::image::{Delta, Image, Provenance, Touched};
use crate::{Loader, LogBatch, VersionedRecord};

const MARKS: [u32; 3] = [23, 24, 25];

/// A log of records without marks of transactions, and the image it makes.
fn random_log(seed: u64, len: usize) -> (Vec<MetadataRecord>, Image) {
    let mut random = RandomRecords(Rng::with_seed(seed));
    let mut image = Image::default();
    let mut log = Vec::new();
    while log.len() < len {
        let types: Vec<u32> =
            MetadataRecord::TYPES.iter().copied().filter(|it| !MARKS.contains(it)).collect();
        let type_number = *random.0.choice(&types).expect("there are types");
        if let Some(record) = random.draw(type_number, &image) {
            image.replay(&record, &mut Touched::default()).expect("drawn to fit");
            image.check();
            log.push(record);
        }
    }
    (log, image)
}

fn replayed(start: Image, records: impl IntoIterator<Item = MetadataRecord>) -> Image {
    let mut image = start;
    for record in records {
        image.replay(&record, &mut Touched::default()).expect("the records fit");
    }
    image
}

/// Through the bytes of a snapshot, so that a version that cannot say something is found out.
fn through_bytes(records: Vec<VersionedRecord>) -> Vec<MetadataRecord> {
    let decoded = records.into_iter().map(|VersionedRecord { record, version }| {
        let mut writer = Writer::new();
        record.encode(version, &mut writer);
        let read = MetadataRecord::decode(&writer.into_bytes()).expect("just written");
        assert_eq!(read, (record, version), "the version can say all of the record");
        read.0
    });
    decoded.collect()
}

#[test]
fn random_logs_have_records_of_every_type() {
    let mut seen = BTreeSet::from(MARKS);
    for seed in 0..20 {
        seen.extend(random_log(seed, 300).0.iter().map(MetadataRecord::type_number));
    }
    assert_eq!(seen, MetadataRecord::TYPES.iter().copied().collect());
}

#[test]
fn a_snapshot_makes_the_same_image() {
    for seed in 0..300 {
        let (_, image) = random_log(seed, 200);
        let again = replayed(Image::default(), through_bytes(image.to_records()));
        assert_eq!(again, image, "seed {seed}");
    }
}

#[test]
fn a_snapshot_and_the_rest_of_the_log_make_the_same_image() {
    for seed in 0..100 {
        let (log, image) = random_log(seed, 200);
        let at = Rng::with_seed(seed).usize(0..=log.len());
        let early = replayed(Image::default(), log[..at].iter().cloned());
        let snapshot = replayed(Image::default(), through_bytes(early.to_records()));
        assert_eq!(replayed(snapshot, log[at..].iter().cloned()), image, "seed {seed} at {at}");
    }
}

#[test]
fn a_delta_tells_what_a_comparison_of_the_images_tells() {
    for seed in 0..100 {
        let (log, image) = random_log(seed, 120);
        let at = Rng::with_seed(seed).usize(0..=log.len());
        let base = replayed(Image::default(), log[..at].iter().cloned());
        let (mut after, mut touched) = (base.clone(), Touched::default());
        for record in &log[at..] {
            after.replay(record, &mut touched).expect("the records fit");
        }
        assert_eq!(after, image);
        let delta = Delta::new(base.clone(), after.clone(), touched);
        let compared = Delta::between(base, after);
        assert_eq!(told(&delta), told(&compared), "seed {seed} from {at}");
    }
}

/// Everything that a delta reports.
fn told(delta: &Delta) -> Vec<String> {
    fn all<T: std::fmt::Debug>(items: impl Iterator<Item = T>) -> String {
        format!("{:?}", items.collect::<Vec<T>>())
    }
    vec![
        all(delta.topics_created()),
        all(delta.topics_deleted()),
        all(delta.partitions()),
        all(delta.brokers()),
        all(delta.controllers()),
        all(delta.features()),
        all(delta.configs()),
        all(delta.quotas()),
        all(delta.acls()),
        all(delta.scram()),
        all(delta.tokens()),
        format!("{:?}", delta.next_producer_id()),
    ]
}

/// A loader that reads a log in random batches, in and out of transactions, some of them aborted,
/// publishes the images that the committed records make, and nothing in between.
#[test]
fn a_loader_shows_committed_transactions_only() {
    for seed in 0..200 {
        let mut random = RandomRecords(Rng::with_seed(seed));
        let mut loader = Loader::new();
        // What must be visible, what an open transaction adds, and all that is read.
        let (mut visible, mut pending, mut next) = (Image::default(), None::<Image>, Offset(0));
        for _ in 0..40 {
            let base_offset = next;
            let mut records = Vec::new();
            for _ in 0..random.0.usize(1..6) {
                let seen = pending.as_ref().unwrap_or(&visible);
                let type_number = *random.0.choice(MetadataRecord::TYPES).expect("types");
                let Some(record) = random.draw(type_number, seen) else { continue };
                let offset = base_offset.plus(records.len() as i64);
                match (&record, &mut pending) {
                    (MetadataRecord::BeginTransaction(_), None) => pending = Some(visible.clone()),
                    (MetadataRecord::EndTransaction(_), Some(image)) => {
                        visible = image.clone();
                        pending = None;
                    }
                    (MetadataRecord::AbortTransaction(_), Some(_)) => pending = None,
                    (it, _) if MARKS.contains(&it.type_number()) => continue,
                    (_, Some(image)) => *image = replayed(image.clone(), [record.clone()]),
                    (_, None) => visible = replayed(visible, [record.clone()]),
                }
                next = offset.plus(1);
                records.push(record);
            }
            let batch = LogBatch {
                base_offset,
                last_offset: Offset(next.0 - 1),
                epoch: LeaderEpoch(3),
                timestamp: Timestamp(base_offset.0),
                records,
            };
            let before = loader.image().clone();
            let published = loader.load_batch(&batch).expect("the records fit");
            let chain: Vec<&Image> = published.iter().map(Delta::base).collect();
            let ends = published.iter().map(Delta::image).collect::<Vec<_>>();
            assert_eq!(chain.first().copied().unwrap_or(&before), &before);
            assert!(chain.iter().skip(1).zip(&ends).all(|(base, end)| base == end));
            let mut expected = visible.clone();
            expected.set_provenance(loader.image().provenance());
            assert_eq!(loader.image(), &expected, "seed {seed}");
            assert_eq!(loader.open_transaction().is_some(), pending.is_some());
            if pending.is_none() {
                assert_eq!(loader.image().provenance(), provenance(&batch));
            }
        }
    }
}

fn provenance(batch: &LogBatch) -> Provenance {
    let LogBatch { last_offset: offset, epoch, timestamp, .. } = *batch;
    Provenance { offset, epoch, timestamp }
}
