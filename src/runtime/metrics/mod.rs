//! What a node tells about itself: one table of metrics ([`table`]) under the names of Kafka's
//! MBeans, and the registry that asks for their values.
//!
//! A room that has something to tell registers a source; nothing is computed, and nothing costs
//! anything, before somebody asks ([`Metrics::read`]). What has to be counted as it happens is a
//! plain number where it happens; the source tells it.
//!
//! Deliberately absent: rates and percentiles over time. Whoever collects has the counts and the
//! times, and makes better rates of them than a process that forgets after 30 s.

mod table;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

pub use table::*;

/// What a metric's values mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricKind {
    /// A number that goes up and down.
    Gauge,
    /// A number that goes up while the process lives.
    Counter,
}

/// A metric, as the table declares it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    /// Domain of its MBean; empty where Kafka has no such metric.
    pub domain: &'static str,
    /// `type` of its MBean.
    pub mbean_type: &'static str,
    /// `name` of its MBean, or the attribute, where the MBean has no name.
    pub name: &'static str,
    /// Keys of its labels.
    pub labels: &'static [&'static str],
    /// What its values mean.
    pub kind: MetricKind,
    /// What it tells, with its unit.
    pub doc: &'static str,
}

impl Metric {
    /// Its name in Prometheus' text: as the JMX exporter makes it of the MBean, in lower case.
    #[must_use]
    pub fn series(&self) -> String {
        let parts = [self.domain, self.mbean_type, self.name];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let legal = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        parts.join("_").chars().map(legal).collect()
    }
}

type Source = Box<dyn Fn(&mut Readings) + Send + Sync>;

/// The metrics of a node. Copies share them.
#[derive(Clone, Default)]
pub struct Metrics {
    sources: Arc<Mutex<Vec<Source>>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Adds somebody who has something to tell, whenever it is asked for.
    pub fn register(&self, source: impl Fn(&mut Readings) + Send + Sync + 'static) {
        self.sources.lock().expect("sources do not panic").push(Box::new(source));
    }

    /// Asks everybody.
    #[must_use]
    pub fn read(&self) -> Readings {
        let mut readings = Readings::default();
        for source in &*self.sources.lock().expect("sources do not panic") {
            source(&mut readings);
        }
        readings
    }
}

/// Values of metrics at a moment.
#[derive(Default, Debug)]
pub struct Readings {
    /// By place in the table, and labels.
    values: BTreeMap<usize, BTreeMap<Vec<String>, f64>>,
}

impl Readings {
    /// A metric has this value, for these values of its labels. What is told more than once for
    /// the same labels is added up.
    ///
    /// # Panics
    /// When the metric is not in the table, or has other labels: a mistake of the caller's.
    pub fn tell(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        let place = METRICS.iter().position(|known| *known == metric);
        let place = place.expect("every metric is in the table");
        assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        *self.values.entry(place).or_default().entry(labels).or_default() += value;
    }

    /// The value that was told.
    #[must_use]
    pub fn get(&self, metric: &Metric, labels: &[&str]) -> Option<f64> {
        let place = METRICS.iter().position(|known| *known == metric)?;
        let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
        self.values.get(&place)?.get(&labels).copied()
    }

    /// In the text form of Prometheus, version 0.0.4.
    #[must_use]
    pub fn to_text(&self) -> String {
        let told = self.values.iter().map(|(place, values)| (METRICS[*place], values));
        text::write(told)
    }
}

/// `docs/metrics.md`, written from the table.
#[must_use]
pub fn reference_page() -> String {
    use std::fmt::Write;
    let mut page = String::from(
        "# Metrics\n\n\
         Written from `src/runtime/metrics/table.rs`; a test keeps it fresh.\n\n\
         `ottla.metrics.listener=HOST:PORT` opens a page at `/metrics` in the text form of\n\
         Prometheus. Names are those that Prometheus' JMX exporter makes of Kafka's MBeans, in\n\
         lower case, so that dashboards go on; those of `kafka_exporter` are at the end; it\n\
         is not needed beside Ottla. Values are computed when the page is read, and cost nothing\n\
         until then.\n\n\
         Of Kafka's metrics of groups and of the cleaner these are left out: rates\n\
         (`...-rate`) and percentiles over the last half minute (`...-time-ms-p99`), as whoever\n\
         collects makes better ones of the counts; what its coordinator's threads and their\n\
         queue of events tell (`thread-idle-ratio-avg`, `event-queue-time-ms-...`), as requests\n\
         are decided where they are read, and nothing waits in front of that; its cache of\n\
         buffers; and groups of protocols that are not built (`share-group-...`,\n\
         `streams-group-...`).\n\n\
         The page is for machines that may know the names of groups and topics: it asks nobody\n\
         who they are. Bind it to an address that only they reach.\n\n\
         | series | MBean | labels | kind | what it tells |\n|---|---|---|---|---|\n",
    );
    for metric in METRICS {
        let mbean = match metric.domain {
            "" => String::new(),
            domain => format!("`{domain}:type={}`, `{}`", metric.mbean_type, metric.name),
        };
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = match metric.kind {
            MetricKind::Gauge => "gauge",
            MetricKind::Counter => "counter",
        };
        let (series, labels) = (metric.series(), labels.join(", "));
        let _ = writeln!(page, "| `{series}` | {mbean} | {labels} | {kind} | {} |", metric.doc);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_twice_is_added_up() {
        let metrics = Metrics::default();
        for count in [2.0, 3.0] {
            metrics.register(move |readings| {
                readings.tell(&GROUP_COUNT, &["classic"], count);
                readings.tell(&OFFSET_COMMIT_COUNT, &[], 1.0);
            });
        }
        let readings = metrics.read();
        assert_eq!(readings.get(&GROUP_COUNT, &["classic"]), Some(5.0));
        assert_eq!(readings.get(&GROUP_COUNT, &["consumer"]), None);
        assert_eq!(readings.get(&OFFSET_COMMIT_COUNT, &[]), Some(2.0));
    }

    #[test]
    fn every_series_has_a_name_of_its_own() {
        let mut names: Vec<_> = METRICS.iter().map(|metric| metric.series()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(GROUP_COUNT.series(), "kafka_server_group_coordinator_metrics_group_count");
        assert_eq!(NUM_GROUPS.series(), "kafka_coordinator_group_groupmetadatamanager_numgroups");
        assert_eq!(CONSUMERGROUP_LAG.series(), "kafka_consumergroup_lag");
    }

    #[test]
    fn the_page_of_metrics_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        let page = reference_page();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &page).expect("written");
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(found == page, "docs/metrics.md is old: UPDATE=1 writes it");
    }
}
