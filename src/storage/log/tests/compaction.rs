//! Compaction: what stays and what goes, and a log that is compacted again and again while its node
//! dies at any write, beside a list of all that was ever written to it.

mod cases;

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::batch::{BATCH_OVERHEAD, Records};
use ottla_protocol::compression::{Codec, Compressor};
use ottla_protocol::control::{ControlRecord, EndTransaction};
use ottla_runtime::SyncPoint;
use std::io::Write;

use super::*;
use crate::log::cleaner::{CleanLimits, CleanStep};

const PRODUCERS: i64 = 3;
const KEYS: u8 = 9;
const SEEDS: u64 = 60;
const STEPS: usize = 120;
/// Among so many lives is one that needs it.
const NOTICED_SEEDS: u64 = 300;

/// A record as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wrote {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    time: i64,
    producer: i64,
}

/// What is known of a producer.
#[derive(Clone, Default)]
struct Producer {
    sequence: i32,
    epoch: i16,
    /// Offsets of its open transaction.
    open: Option<Vec<i64>>,
}

struct World {
    dice: fastrand::Rng,
    node: SimNode,
    options: LogOptions,
    log: Option<Log>,
    now: i64,
    written: BTreeMap<i64, Wrote>,
    aborted: BTreeSet<i64>,
    producers: BTreeMap<i64, Producer>,
    cleaned_to: Option<Offset>,
    recovery_point: Offset,
    swaps: usize,
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = fastrand::Rng::with_seed(seed);
        let node = SimWorld::new(seed).node("a");
        let disk = Runtime::simulated(&node).disk().clone();
        disk.create_dir(Path::new(DIR)).expect("an empty disk");
        disk.sync_dir(Path::new("/"), SyncPoint::PartitionDir).expect("synced");
        let mut options = options();
        options.config.compacts = true;
        options.config.deletes = false;
        options.config.segment_bytes = dice.u32(900..3000);
        options.config.index_interval_bytes = [1, 100][dice.usize(..2)];
        options.config.delete_retention = Duration::from_millis(dice.u64(..20_000));
        let (mut log, _) = open_with(&node, options.clone(), Shutdown::Clean);
        log.note_created();
        World {
            dice,
            node,
            options,
            log: Some(log),
            now: 1_000_000,
            written: BTreeMap::new(),
            aborted: BTreeSet::new(),
            producers: BTreeMap::new(),
            cleaned_to: None,
            recovery_point: Offset::ZERO,
            swaps: 0,
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("open")
    }

    fn append(&mut self) {
        let id = self.dice.i64(0..=PRODUCERS);
        let is_transactional = id > 0 && self.dice.bool();
        let mut known = self.producers.remove(&id).unwrap_or_default();
        if known.open.is_some() && !is_transactional {
            self.end_transaction(id, known);
            return;
        }
        let kind = if is_transactional { BatchKind::Transactional } else { BatchKind::Data };
        let mut builder = BatchBuilder::new(kind, Offset(0), LeaderEpoch(-1), Timestamp(self.now));
        if id > 0 {
            builder =
                builder.with_producer(ProducerId(id), ProducerEpoch(known.epoch), known.sequence);
        }
        let first = self.log().end().0;
        let count = self.dice.i32(1..6);
        for index in 0..count {
            let key = vec![b'k'; usize::from(self.dice.u8(0..KEYS)) + 1];
            let is_tombstone = self.dice.u32(..4) == 0;
            let value = (!is_tombstone).then(|| vec![self.dice.u8(..); self.dice.usize(..90)]);
            let time = self.now + self.dice.i64(0..50);
            builder.push_with_headers(Timestamp(time), Some(&key), value.as_deref(), &[]);
            let offset = first + i64::from(index);
            self.written.insert(offset, Wrote { key, value, time, producer: id });
            if is_transactional {
                known.open.get_or_insert_default().push(offset);
            }
        }
        known.sequence += count;
        self.producers.insert(id, known);
        let mut bytes = builder.build();
        if self.dice.u32(..3) == 0 {
            let codecs = [Codec::Gzip(None), Codec::Snappy, Codec::Lz4, Codec::Zstd(3)];
            bytes = compressed(&bytes, codecs[self.dice.usize(..codecs.len())]);
        }
        self.write(bytes, Origin::Client);
    }

    fn end_transaction(&mut self, id: i64, mut known: Producer) {
        let aborts = self.dice.bool();
        let end = EndTransaction { coordinator_epoch: 0 };
        let record = if aborts { ControlRecord::Abort(end) } else { ControlRecord::Commit(end) };
        let (key, value) = record.encode();
        // As KIP-890 does it.
        let bumps = self.dice.bool();
        (known.epoch, known.sequence) =
            if bumps { (known.epoch + 1, 0) } else { (known.epoch, known.sequence) };
        let now = Timestamp(self.now);
        let mut builder = BatchBuilder::new(BatchKind::Marker, Offset(0), LeaderEpoch(-1), now)
            .with_producer(ProducerId(id), ProducerEpoch(known.epoch), -1);
        builder.push(Some(&key), Some(&value));
        let offsets = known.open.take().unwrap_or_default();
        if aborts {
            self.aborted.extend(offsets);
        }
        self.producers.insert(id, known);
        self.write(builder.build(), Origin::Quorum);
    }

    fn write(&mut self, bytes: Vec<u8>, origin: Origin) {
        let bytes = Bytes::from(bytes);
        let batch = IncomingBatch { header: BatchHeader::read(&bytes).expect("built"), bytes };
        let now = Timestamp(self.now);
        let plan = self.log().plan_append(&batch.header, origin, now).expect("accepted");
        self.log().append(plan, &batch, EPOCH, now).expect("appended");
        self.log().check();
    }

    /// Everything so far is durable and replicated.
    fn flush(&mut self) {
        if let Some(job) = self.log().start_flush().expect("the disk is sound") {
            job.run().expect("the disk is sound");
            self.log().finish_flush(job.end);
        }
        let end = self.log().end();
        self.log().replicated(end);
        if self.dice.bool() {
            self.recovery_point = self.log().checkpoint_offset();
        }
    }

    /// Cleans, unless the node dies meanwhile, or the log is truncated at its end.
    fn clean(&mut self) -> Result<(), LogError> {
        let (end, now) = (self.log().end(), Timestamp(self.now));
        let cleaned_to = self.cleaned_to;
        let plan = self.log().plan_cleaning(cleaned_to, end, now)?;
        let limits = CleanLimits {
            map_bytes: self.dice.u64(24..600),
            load_factor: 0.9,
            write_bytes: self.dice.usize(1..2000),
            secret: (7, 8),
        };
        // As the partition does it.
        self.options.was_compacted = true;
        let mut job = self.log().start_cleaning(plan, limits, now)?;
        loop {
            match job.step()? {
                CleanStep::Working(_) => {}
                CleanStep::Cleaned(group) => {
                    let base = group.base();
                    let Some(group) = self.log().stage_swap(*group)? else { return Ok(()) };
                    job.sync_staged()?;
                    let Some(files) = self.log().begin_swap(group)? else { return Ok(()) };
                    job.sync_replaced()?;
                    self.log().end_swap(base)?;
                    self.swaps += 1;
                    self.perhaps_remove(files)?;
                    self.log().check();
                }
                CleanStep::Done(end, stats) => {
                    assert_eq!(stats.keyless_records, 0);
                    assert!(end >= plan.first_dirty && end <= plan.end.max(plan.first_dirty));
                    let progress = plan.end <= plan.first_dirty || end > plan.first_dirty;
                    assert!(progress, "{plan:?} came to {end:?}");
                    self.cleaned_to = Some(end);
                    return Ok(());
                }
            }
        }
    }

    fn perhaps_remove(&mut self, files: Vec<PathBuf>) -> Result<(), LogError> {
        let disk = Runtime::simulated(&self.node).disk().clone();
        let kept = self.dice.bool();
        let mut removed = files.iter().filter(|_| !kept);
        removed
            .try_for_each(|file| disk.remove_file(file).map_err(|error| LogError::io(file, error)))
    }

    async fn clean_and_perhaps_die(&mut self) {
        self.flush();
        let dies = self.dice.u32(..3) > 0;
        let power_cut = self.dice.bool();
        if dies {
            let after = Some(self.dice.u64(0..60));
            self.node.disk().set_faults(|faults| {
                if power_cut { faults.power_cut_after = after } else { faults.kill_after = after }
            });
        }
        let cleaned = self.clean();
        assert!(dies || cleaned.is_ok(), "{cleaned:?}");
        if dies || self.dice.u32(..4) == 0 {
            self.reopen(power_cut).await;
        }
    }

    async fn reopen(&mut self, power_cut: bool) {
        let end = self.log().end();
        self.log = None;
        self.node.crash(power_cut).await;
        self.node.disk().set_faults(|f| (f.power_cut_after, f.kill_after) = (None, None));
        let recovery_point = self.recovery_point;
        let shutdown = match power_cut {
            true => Shutdown::Unclean { recovery_point },
            false => Shutdown::Killed { recovery_point },
        };
        let mut options = self.options.clone();
        // Somebody may have given it another policy.
        options.config.compacts = self.dice.bool();
        let (log, _) = open_with(&self.node, options, shutdown);
        assert_eq!(log.end(), end, "everything was durable");
        self.log = Some(log);
        let config = self.options.config.clone();
        self.log().set_config(config);
        self.log().replicated(end);
        let staged = Runtime::simulated(&self.node).disk().list(Path::new(DIR)).expect("listed");
        let staged: Vec<_> = staged.iter().filter(|entry| entry.name.contains('.')).collect();
        let is_left = |name: &str| name.ends_with(".swap") || name.ends_with(".cleaned");
        assert!(!staged.iter().any(|entry| is_left(&entry.name)), "{staged:?}");
    }

    /// What is in the log now.
    fn found(&mut self) -> BTreeMap<i64, Wrote> {
        let mut found = BTreeMap::new();
        let mut from = self.log().log_start();
        let end = self.log().end();
        let limit = ReadLimit { end, bytes_max: u64::MAX, at_least_one: true };
        let mut last = -1;
        while let Some(extent) = self.log().read(from, limit).expect("in range") {
            let mut bytes = vec![0; extent.len as usize];
            extent.file.read_exact_at(&mut bytes, extent.position).expect("valid");
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let header = BatchHeader::read_checked(rest).expect("sound");
                assert!(header.base_offset.0 > last, "offsets rise");
                last = header.last_offset().0;
                from = header.next_offset();
                let codec = header.attributes.compression().expect("one");
                let records = codec.decompress(&rest[BATCH_OVERHEAD..header.size()], 1 << 20);
                let records = records.expect("sound");
                rest = &rest[header.size()..];
                if !header.attributes.is_control() {
                    found.extend(Records::new(&header, &records).map(|r| wrote(&header, r)));
                }
            }
            if from >= end {
                break;
            }
        }
        found
    }

    fn check(&mut self) {
        self.log().check();
        assert_eq!(self.log().inconsistencies().expect("readable"), Vec::<String>::new());
        let found = self.found();
        for (offset, wrote) in &found {
            assert_eq!(Some(wrote), self.written.get(offset), "at {offset}");
        }
        let open = self.producers.values().filter_map(|known| known.open.clone()).flatten();
        let open: BTreeSet<i64> = open.collect();
        let is_void = |offset: &i64| self.aborted.contains(offset) || open.contains(offset);
        let last = |records: &BTreeMap<i64, Wrote>| {
            let valid = records.iter().filter(|(offset, _)| !is_void(offset));
            let last: BTreeMap<Vec<u8>, (i64, Option<Vec<u8>>)> =
                valid.map(|(at, wrote)| (wrote.key.clone(), (*at, wrote.value.clone()))).collect();
            last
        };
        let mut expected = last(&self.written);
        let mut actual = last(&found);
        // A tombstone may be gone, and then nothing of its key is there.
        expected.retain(|key, (_, value)| value.is_some() || actual.contains_key(key));
        actual.retain(|key, (_, value)| value.is_some() || expected.contains_key(key));
        assert_eq!(actual, expected, "the last value of each key");
        for offset in &open {
            assert!(found.contains_key(offset), "{offset} is of an open transaction");
        }
        self.check_aborted(&found);
        let producers = self.log().producers().active();
        for (id, known) in self.producers.iter().filter(|(id, _)| **id > 0) {
            let is_it = |p: &&crate::ActiveProducer| p.id.0 == *id;
            let Some(producer) = producers.iter().find(is_it) else {
                panic!("producer {id} is forgotten")
            };
            assert_eq!(producer.epoch.0, known.epoch, "epoch of {id}");
            let last = (known.sequence > 0).then(|| known.sequence - 1);
            assert_eq!(producer.last_sequence, last, "last sequence of {id}");
        }
    }

    /// Readers of committed records are told of what is aborted and still there.
    fn check_aborted(&mut self, found: &BTreeMap<i64, Wrote>) {
        let end = self.log().end();
        let stable = self.log().last_stable_offset(end);
        for (offset, wrote) in found.iter().filter(|(offset, _)| self.aborted.contains(offset)) {
            let limit = ReadLimit { end: stable, bytes_max: 0, at_least_one: true };
            let read = self.log.as_mut().expect("open").read_committed(Offset(*offset), limit);
            let Some((_, aborted)) = read.expect("in range") else { continue };
            let is_told = aborted.iter().any(|ended| {
                ended.producer_id.0 == wrote.producer
                    && (ended.first_offset.0..=ended.last_offset.0).contains(offset)
            });
            assert!(is_told, "{offset} of {} is aborted: {aborted:?}", wrote.producer);
        }
    }
}

/// A record that was read, with its offset.
fn wrote(
    header: &BatchHeader,
    record: Result<ottla_protocol::batch::Record<'_>, ottla_protocol::DecodeError>,
) -> (i64, Wrote) {
    let record = record.expect("sound");
    let wrote = Wrote {
        key: record.key.expect("all have one").to_vec(),
        value: record.value.map(<[u8]>::to_vec),
        time: record.timestamp.0,
        producer: header.producer_id.0.max(0),
    };
    (record.offset.0, wrote)
}

/// The batch with its records compressed.
fn compressed(batch: &[u8], codec: Codec) -> Vec<u8> {
    let mut compressor = Compressor::new(codec, Vec::new()).expect("it exists");
    compressor.write_all(&batch[BATCH_OVERHEAD..]).expect("to memory");
    let records = compressor.finish().expect("to memory");
    let mut bytes = [&batch[..BATCH_OVERHEAD], &records].concat();
    bytes[22] |= codec.compression() as u8;
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = ottla_protocol::batch::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// A life, in which the sync of this name does nothing.
fn live(seed: u64, without: Option<SyncPoint>) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new(seed);
        world.node.disk().set_faults(|faults| faults.disabled_syncs.extend(without));
        for _ in 0..STEPS {
            world.now += world.dice.i64(0..1500);
            match world.dice.u32(..20) {
                0..=1 => world.clean_and_perhaps_die().await,
                2 => world.flush(),
                _ => world.append(),
            }
            if world.dice.u32(..4) == 0 {
                world.check();
            }
        }
        world.flush();
        world.clean().expect("the disk is sound");
        world.check();
        world.swaps
    })
}

#[test]
fn a_compacted_log_has_the_last_value_of_each_key_whatever_ends_it() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("OTTLA_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("OTTLA_MODEL_SEEDS").unwrap_or(SEEDS),
    };
    let mut swaps = 0;
    for seed in seeds {
        let lived = std::panic::catch_unwind(|| live(seed, None));
        swaps += lived.unwrap_or_else(|_| panic!("seed {seed}: OTTLA_MODEL_SEED={seed}"));
    }
    assert!(swaps > 10, "{swaps} segments were swapped");
}

#[test]
fn each_sync_of_a_compaction_is_needed() {
    for point in [SyncPoint::CleanedSegment, SyncPoint::CleanedDir, SyncPoint::ReplacedDir] {
        let is_noticed = |seed| std::panic::catch_unwind(|| live(seed, Some(point))).is_err();
        let seed = (1..=NOTICED_SEEDS).find(|seed| is_noticed(*seed));
        assert!(seed.is_some(), "{point:?} does nothing, and nobody notices");
    }
}
