//! The text form of Prometheus, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Metric, MetricKind};

pub(super) fn write<'a>(
    told: impl Iterator<Item = (&'a Metric, &'a BTreeMap<Vec<String>, f64>)>,
) -> String {
    let mut page = String::new();
    for (metric, values) in told {
        let series = metric.series();
        let kind = match metric.kind {
            MetricKind::Gauge => "gauge",
            MetricKind::Counter => "counter",
        };
        let _ = writeln!(page, "# HELP {series} {}\n# TYPE {series} {kind}", metric.doc);
        for (labels, value) in values {
            page.push_str(&series);
            write_labels(&mut page, metric.labels, labels);
            // Whole numbers come out without a point.
            let _ = writeln!(page, " {value}");
        }
    }
    page
}

fn write_labels(page: &mut String, keys: &[&str], values: &[String]) {
    for (at, (key, value)) in keys.iter().zip(values).enumerate() {
        let _ = write!(page, "{}{key}=\"", if at == 0 { '{' } else { ',' });
        for c in value.chars() {
            match c {
                '\\' => page.push_str("\\\\"),
                '"' => page.push_str("\\\""),
                '\n' => page.push_str("\\n"),
                c => page.push(c),
            }
        }
        page.push('"');
    }
    if !keys.is_empty() {
        page.push('}');
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::{CONSUMERGROUP_MEMBERS, Metrics, NUM_OFFSETS};

    #[test]
    fn the_text_is_that_of_prometheus() {
        let metrics = Metrics::default();
        metrics.register(|readings| {
            readings.tell(&NUM_OFFSETS, &[], 12.0);
            readings.tell(&CONSUMERGROUP_MEMBERS, &["a \"b\"\\\nc"], 1.5);
        });
        let text = metrics.read().to_text();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        assert_eq!(
            lines,
            [
                "# TYPE kafka_coordinator_group_groupmetadatamanager_numoffsets gauge",
                "kafka_coordinator_group_groupmetadatamanager_numoffsets 12",
                "# TYPE kafka_consumergroup_members gauge",
                "kafka_consumergroup_members{consumergroup=\"a \\\"b\\\"\\\\\\nc\"} 1.5",
            ]
        );
    }
}
