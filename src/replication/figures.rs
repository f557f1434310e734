//! What the cleaners tell about themselves (`LogCleaner`, `LogCleanerManager`), computed when it is
//! asked for.

use std::time::Duration;

use ottla_runtime::metrics::{self, Readings};

use crate::replicas::Replicas;

impl Replicas {
    /// Tells the metrics of compaction.
    pub fn tell_cleaning(&self, readings: &mut Readings) {
        let figures = self.shared.cleaning.figures();
        let last = || figures.last.values();
        let read: u64 = last().map(|(stats, _)| stats.read_bytes).sum();
        let written: u64 = last().map(|(stats, _)| stats.written_bytes).sum();
        let recopied = if read == 0 { 0.0 } else { 100.0 * written as f64 / read as f64 };
        let fullest = last().map(|(stats, _)| stats.map_utilization).fold(0.0, f64::max);
        let longest = last().map(|(_, took)| *took).max().unwrap_or(Duration::ZERO);
        readings.tell(&metrics::CLEANER_RECOPY_PERCENT, &[], recopied);
        readings.tell(&metrics::CLEANER_BUFFER_UTILIZATION, &[], 100.0 * fullest);
        readings.tell(&metrics::CLEANER_MAX_CLEAN_TIME, &[], longest.as_secs_f64());
        let late = figures.overdue_ms as f64 / 1000.0;
        readings.tell(&metrics::CLEANER_MAX_COMPACTION_DELAY, &[], late);
        readings.tell(&metrics::CLEANER_DEAD_THREADS, &[], figures.dead as f64);
        readings.tell(&metrics::MAX_DIRTY_PERCENT, &[], 100.0 * figures.dirt);
        if let Some(looked) = figures.looked {
            let since = self.shared.runtime.clock().now().since(looked);
            readings.tell(&metrics::TIME_SINCE_LAST_RUN, &[], since.as_millis() as f64);
        }
        self.tell_uncleanable(readings);
    }

    fn tell_uncleanable(&self, readings: &mut Readings) {
        for dir in &self.shared.dirs {
            let path = dir.data().path().display().to_string();
            readings.tell(&metrics::UNCLEANABLE_PARTITIONS, &[&path], 0.0);
            readings.tell(&metrics::UNCLEANABLE_BYTES, &[&path], 0.0);
        }
        let now = self.shared.runtime.clock().wall();
        for id in self.shared.cleaning.uncleanable() {
            let Some(partition) = self.get(&id) else { continue };
            let dir = partition.dir();
            let path = dir.data().path().display().to_string();
            let dirt = partition.look_at_dirt(dir.cleaned_to(partition.name()), now);
            // What cannot even be planned has a number of bytes that nobody knows.
            let bytes = dirt.ok().flatten().map_or(0, |(plan, _)| plan.dirty_bytes);
            readings.tell(&metrics::UNCLEANABLE_PARTITIONS, &[&path], 1.0);
            readings.tell(&metrics::UNCLEANABLE_BYTES, &[&path], bytes as f64);
        }
    }
}
