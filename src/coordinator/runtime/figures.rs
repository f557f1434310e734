//! What the coordinator tells about itself (`GroupCoordinatorMetrics`). Computed when it is asked
//! for, a shard at a time under its lock.

use std::time::Duration;

use ottla_runtime::metrics::{self, Readings};
use ottla_types::Offset;

use super::Groups;
use super::shard::Phase;
use crate::group::{GroupCounts, GroupId, GroupsByState, OffsetKey};

/// How long logs took to be read.
#[derive(Default)]
pub(super) struct LoadTimes {
    loads: u32,
    longest_load: Duration,
    all_loads: Duration,
}

impl LoadTimes {
    /// A shard's log was read.
    pub(super) fn loaded(&mut self, took: Duration) {
        self.loads += 1;
        self.all_loads += took;
        self.longest_load = self.longest_load.max(took);
    }
}

/// An offset that a group has committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupOffset {
    /// By whom, and of what.
    pub key: OffsetKey,
    /// Id of the topic, if it was known.
    pub topic_id: ottla_types::Uuid,
    /// What is to be read next.
    pub offset: Offset,
}

impl Groups {
    /// Tells all metrics but those of single groups.
    pub fn tell(&self, readings: &mut Readings) {
        let (mut counts, mut groups) = (GroupCounts::default(), GroupsByState::new());
        let (mut offsets, mut open, mut phases) = (0, 0, [0_u32; 3]);
        for shard in self.shards.all() {
            // Whoever panicked under the lock has left a shard that nobody serves.
            let Ok(state) = shard.state.lock() else {
                phases[2] += 1;
                continue;
            };
            open += state.open_writes();
            match &state.phase {
                Phase::Loading => phases[0] += 1,
                Phase::Gone => phases[2] += 1,
                Phase::Active(core) => {
                    phases[1] += 1;
                    counts += core.counts();
                    core.count_groups(&mut groups);
                    offsets += core.offset_count();
                }
            }
        }
        for (state, count) in ["loading", "active", "failed"].into_iter().zip(phases) {
            readings.tell(&metrics::GROUP_PARTITIONS, &[state], f64::from(count));
        }
        readings.tell(&metrics::EVENT_QUEUE_SIZE, &[], open as f64);
        readings.tell(&metrics::NUM_OFFSETS, &[], offsets as f64);
        tell_groups(&groups, readings);
        counts += self.counts_of_gone();
        tell_counts(&counts, readings);
        let figures = self.shards.load_times();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let mean = figures.all_loads.checked_div(figures.loads).unwrap_or_default();
        readings.tell(&metrics::PARTITION_LOAD_TIME_MAX, &[], ms(figures.longest_load));
        readings.tell(&metrics::PARTITION_LOAD_TIME_AVG, &[], ms(mean));
    }

    /// Committed offsets, at most so many; and how many more there are.
    #[must_use]
    pub fn committed_offsets(&self, count_max: usize) -> (Vec<GroupOffset>, usize) {
        let (mut told, mut all) = (Vec::new(), 0);
        for shard in self.shards.all() {
            let Ok(state) = shard.state.lock() else { continue };
            let Phase::Active(core) = &state.phase else { continue };
            all += core.offset_count();
            let some = core.committed_offsets().take(count_max - told.len());
            told.extend(some.map(|(key, committed)| GroupOffset {
                key: key.clone(),
                topic_id: committed.topic_id,
                offset: committed.offset,
            }));
        }
        let left_out = all.saturating_sub(told.len());
        (told, left_out)
    }

    /// Members of each group.
    #[must_use]
    pub fn member_counts(&self) -> Vec<(GroupId, usize)> {
        let mut all = Vec::new();
        for shard in self.shards.all() {
            let Ok(state) = shard.state.lock() else { continue };
            if let Phase::Active(core) = &state.phase {
                all.extend(core.member_counts());
            }
        }
        all
    }
}

fn tell_groups(groups: &GroupsByState, readings: &mut Readings) {
    let count = |of_kind: &str, of_state: Option<&str>| {
        let is_asked = |(kind, state): &(&str, &str)| {
            *kind == of_kind && of_state.is_none_or(|asked| asked == *state)
        };
        let counts = groups.iter().filter(|(key, _)| is_asked(key));
        counts.map(|(_, count)| *count as f64).sum::<f64>()
    };
    for kind in ["Classic", "Consumer", "Share", "Streams"] {
        let label = kind.to_ascii_lowercase();
        readings.tell(&metrics::GROUP_COUNT, &[&label], count(kind, None));
    }
    for state in ["Empty", "Assigning", "Reconciling", "Stable", "Dead"] {
        let label = state.to_ascii_lowercase();
        let value = count("Consumer", Some(state));
        readings.tell(&metrics::CONSUMER_GROUP_COUNT, &[&label], value);
    }
    readings.tell(&metrics::NUM_GROUPS, &[], count("Classic", None));
    for (metric, state) in [
        (&metrics::NUM_GROUPS_PREPARING, "PreparingRebalance"),
        (&metrics::NUM_GROUPS_COMPLETING, "CompletingRebalance"),
        (&metrics::NUM_GROUPS_STABLE, "Stable"),
        (&metrics::NUM_GROUPS_EMPTY, "Empty"),
        (&metrics::NUM_GROUPS_DEAD, "Dead"),
    ] {
        readings.tell(metric, &[], count("Classic", Some(state)));
    }
}

fn tell_counts(counts: &GroupCounts, readings: &mut Readings) {
    for (metric, count) in [
        (&metrics::COMPLETED_REBALANCE_COUNT, counts.completed_rebalances),
        (&metrics::CONSUMER_REBALANCE_COUNT, counts.consumer_rebalances),
        (&metrics::OFFSET_COMMIT_COUNT, counts.offset_commits),
        (&metrics::OFFSET_EXPIRATION_COUNT, counts.offset_expirations),
        (&metrics::OFFSET_DELETION_COUNT, counts.offset_deletions),
    ] {
        readings.tell(metric, &[], count as f64);
    }
}
