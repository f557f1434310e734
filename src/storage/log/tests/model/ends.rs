//! The end of a process, what it leaves or loses, and the next start.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_runtime::OpenMode;
use ottla_types::Offset;

use super::super::super::Shutdown;
use super::super::{DIR, Log};
use super::World;
use super::expected::Known;
use crate::names::SegmentFile;

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// A clean stop.
    Stop,
    /// A clean stop, and a power cut behind it.
    StopAndPowerCut,
    /// Killed; the next start knows that the machine runs on.
    Kill,
    /// Killed; the next start does not know it.
    KillOfUnknownBoot,
    /// A power cut: what was not synced is lost in parts.
    PowerCut,
}

const ENDS: [End; 5] =
    [End::Stop, End::StopAndPowerCut, End::Kill, End::KillOfUnknownBoot, End::PowerCut];

impl World {
    pub(super) async fn reopen(&mut self) -> bool {
        let end = ENDS[self.dice.usize(..ENDS.len())];
        self.tell(format!("{end:?}"));
        let is_stop = matches!(end, End::Stop | End::StopAndPowerCut);
        if is_stop {
            self.stop();
        }
        let durable = self.log().recovery_point();
        (self.log, self.flush) = (None, None);
        let power_cut = matches!(end, End::PowerCut | End::StopAndPowerCut);
        self.node.crash(power_cut).await;
        if self.one_in(2) {
            self.lose_a_file(end);
        }
        let recovery_point = self.recovery_point;
        let shutdown = match end {
            End::Stop | End::StopAndPowerCut => Shutdown::Clean,
            End::Kill => Shutdown::Killed { recovery_point },
            End::KillOfUnknownBoot | End::PowerCut => Shutdown::Unclean { recovery_point },
        };
        // A power cut tears snapshots, which are not synced.
        self.is_lossy |= power_cut;
        self.open(shutdown);
        let found = self.log().end();
        if end == End::PowerCut {
            assert!(found >= durable, "the log ends at {found:?}, and was durable to {durable:?}");
            self.model.truncate(found);
            self.may_have_lost_its_beginning(durable);
        }
        assert_eq!(found, self.model.end, "nothing else may be lost");
        self.model.high_watermark = found;
        self.log().replicated(found);
        self.producers_were_rebuilt();
        self.recovery_point = self.recovery_point.max(self.model.start).min(found);
        true
    }

    /// Before the first flush of a log the name of its first segment may be lost, and that of a
    /// later one not. Kafka begins there as well.
    fn may_have_lost_its_beginning(&mut self, durable: Offset) {
        let start = self.log().log_start();
        if start > self.model.start {
            assert!(durable <= self.model.start, "{start:?} is the start, {durable:?} was durable");
            self.model.start = start;
            // Nothing of it may be left behind what was last seen of it.
            self.model.end = self.model.end.max(start);
        }
    }

    /// A clean stop, as the data directory does it.
    fn stop(&mut self) {
        if let Some((job, is_run)) = self.flush.take() {
            if !is_run {
                job.run().expect("the disk is sound");
            }
            self.log().finish_flush(job.end);
        }
        self.log().close().expect("the disk is sound");
        let job = self.log().start_final_flush().expect("the disk is sound");
        job.run().expect("the disk is sound");
        self.log().finish_flush(job.end);
        assert!(self.log().is_closed(), "nothing is left to do");
        self.recovery_point = self.log().checkpoint_offset();
        assert_eq!(self.recovery_point, self.model.end);
    }

    fn open(&mut self, shutdown: Shutdown) {
        let (options, start, now) = (self.options.clone(), self.log_start, self.now);
        let (log, recovered) =
            Log::open_from(&self.disk, Path::new(DIR), options, shutdown, start, now)
                .expect("a log that opens");
        self.tell(format!("opened, {shutdown:?}: {recovered:?}"));
        self.log = Some(log);
    }

    /// Files that a start can do without, or whose damage it must notice.
    fn lose_a_file(&mut self, end: End) {
        let entries = self.disk.list(Path::new(DIR)).expect("readable");
        let parse = |name: &str| SegmentFile::parse(name);
        let files: Vec<_> = entries.iter().filter_map(|entry| parse(&entry.name)).collect();
        let last = files.iter().filter(|(kind, _)| *kind == SegmentFile::Log).map(|(_, at)| *at);
        // A power cut may leave nothing.
        let last = last.max().unwrap_or(Offset::ZERO);
        match self.dice.u32(..6) {
            0 if !matches!(end, End::Stop | End::StopAndPowerCut) => {
                self.tell("leader-epoch-checkpoint is gone".to_owned());
                let _ = self.disk.remove_file(&Path::new(DIR).join("leader-epoch-checkpoint"));
            }
            0 | 1 => self.lose_snapshots(&files),
            _ => {
                let is_index = |kind: &SegmentFile| {
                    use SegmentFile::{Index, TimeIndex, TxnIndex};
                    matches!(kind, Index | TimeIndex | TxnIndex)
                };
                let indexes: Vec<_> = files.iter().filter(|(kind, _)| is_index(kind)).collect();
                if !indexes.is_empty() {
                    let (kind, base) = *indexes[self.dice.usize(..indexes.len())];
                    self.lose_index(kind, base, end == End::Kill && base == last);
                }
            }
        }
    }

    /// An index is gone or cut in the middle of an entry. That of aborted transactions is missing
    /// in most segments, so that nobody can tell when it alone is gone.
    fn lose_index(&mut self, kind: SegmentFile, base: Offset, may_be_torn: bool) {
        let path = path_of(kind, base);
        let file = self.disk.open(&path, OpenMode::ReadWrite).expect("listed");
        let len = file.len().expect("told");
        // Behind a kill the last entry of the last segment may be torn: that is no damage.
        if len > 1 && !may_be_torn && self.dice.bool() {
            let entry = match kind {
                SegmentFile::Index => 8,
                SegmentFile::TimeIndex => 12,
                _ => 34,
            };
            let kept = self.dice.u64(1..len);
            let kept = if kept.is_multiple_of(entry) { kept - 1 } else { kept };
            self.tell(format!("{} is cut to {kept} bytes", path.display()));
            return file.set_len(kept).expect("cut");
        }
        self.tell(format!("{} is gone", path.display()));
        self.disk.remove_file(&path).expect("listed");
        if kind == SegmentFile::TxnIndex {
            let _ = self.disk.remove_file(&path_of(SegmentFile::Index, base));
        }
    }

    fn lose_snapshots(&mut self, files: &[(SegmentFile, Offset)]) {
        let snapshots = files.iter().filter(|(kind, _)| *kind == SegmentFile::Snapshot);
        let mut snapshots: Vec<PathBuf> = snapshots.map(|(kind, at)| path_of(*kind, *at)).collect();
        if self.dice.bool() {
            // The newest, which stands last.
            snapshots.drain(..snapshots.len().saturating_sub(1));
        }
        self.is_lossy = true;
        for path in snapshots {
            self.tell(format!("{} is damaged", path.display()));
            let file = self.disk.open(&path, OpenMode::ReadWrite).expect("listed");
            if self.dice.bool() {
                self.disk.remove_file(&path).expect("listed");
            } else {
                file.write_all_at(&mut [IoSlice::new(&[9])], 3).expect("written");
            }
        }
    }

    /// Whether a snapshot may be lost, or leave out who was silent for long.
    pub(super) fn may_forget(&self) -> bool {
        self.is_lossy || self.has_expired || self.options.producer_age_max != Duration::MAX
    }

    /// After a restart or a truncation a producer may be known again that was forgotten, and
    /// forgotten where it may be.
    pub(super) fn producers_were_rebuilt(&mut self) {
        let first = self.log().segments[0].base();
        self.recalled_from = first;
        let actual = self.actual_producers();
        let known = self.model.known();
        let all = self.model.producers(|_| Offset::ZERO).0;
        let may_forget = self.may_forget();
        for id in 1..=super::steps::PRODUCERS {
            let entry = |producers: &BTreeMap<i64, Known>| producers.get(&id).map(Known::entry);
            let found = actual.get(&id).copied();
            if found == entry(&known) {
                continue;
            }
            let bases = self.model.batches.iter().map(|batch| batch.header.base_offset);
            let mut later = bases.chain([self.model.end]).filter(|_| may_forget);
            let from = if found == entry(&all) {
                Some(Offset::ZERO)
            } else {
                later.find(|from| found == entry(&self.model.producers(|_| *from).0))
            };
            let from = from.unwrap_or_else(|| {
                panic!("producer {id} is {found:?}, and not {:?}", known.get(&id))
            });
            self.model.known_from.insert(id, from);
        }
    }
}

fn path_of(kind: SegmentFile, base: Offset) -> PathBuf {
    Path::new(DIR).join(kind.name(base))
}
