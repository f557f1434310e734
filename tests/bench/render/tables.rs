//! Results as Markdown.

use std::fmt::Write;

use super::{FLOOR, KAFKA, OTTLA, median};
use crate::figure::Medians;
use crate::results::{Measured, Results, Series};
use crate::scenarios::SCENARIOS;

/// All results, with the names of their plots.
pub(super) fn all(all: &[Results], plots: &[(String, String)]) -> String {
    let mut text = String::new();
    let identity = |key: &str| all.first().and_then(|it| it.identity.get(key));
    let identity = |key: &str| identity(key).map_or("unknown", String::as_str);
    let loads: Vec<f64> =
        all.iter().flat_map(|it| &it.load).filter_map(|it| it.parse().ok()).collect();
    let most = loads.iter().copied().fold(0.0, f64::max);
    let _ = writeln!(
        text,
        "{}. Ottla {}; Apache Kafka {}. {}. Load average between scenarios: {} to {most}. \
         Median (least-most).\n",
        identity("machine"),
        identity("build"),
        identity("kafka"),
        identity("size"),
        loads.iter().copied().fold(f64::INFINITY, f64::min),
    );
    summary(all, &mut text);
    for scenario in SCENARIOS {
        let _ = writeln!(text, "### {}: {}\n", scenario.name, scenario.about);
        let Some(results) = all.iter().find(|it| it.scenario == scenario.name) else {
            let _ = writeln!(text, "Not measured.\n");
            continue;
        };
        if let Some(error) = &results.error {
            let error = error.lines().next().unwrap_or_default();
            let _ = writeln!(text, "**Not measured to its end**: {error}\n");
        }
        figures(results, &mut text);
        for (_, name) in plots.iter().filter(|(of, _)| *of == scenario.name) {
            let _ = writeln!(text, "![{name}](benchmarks/{name}.svg)\n");
        }
        for note in &results.notes {
            let _ = writeln!(text, "- {note}");
        }
        if !results.notes.is_empty() {
            text.push('\n');
        }
        beside(results, &mut text);
    }
    text.trim_end().to_owned() + "\n"
}

/// How many targets are reached, and which are not.
fn summary(all: &[Results], text: &mut String) {
    let (mut reached, mut missed) = (0, Vec::new());
    for results in all {
        for figure in &results.figures {
            match is_reached(figure, results) {
                Some(true) => reached += 1,
                Some(false) => missed.push(format!("`{}`", figure.key)),
                None => {}
            }
        }
    }
    let of = reached + missed.len();
    let missed = if missed.is_empty() { "none".to_owned() } else { missed.join(", ") };
    let _ = writeln!(text, "Of {of} targets {reached} are reached. Missed: {missed}.\n");
}

fn figures(results: &Results, text: &mut String) {
    if results.figures.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "| figure | floor | Ottla | Apache Kafka | Ottla to floor | Kafka to floor | \
         Ottla to Kafka | target |\n|---|---|---|---|---|---|---|---|"
    );
    for figure in &results.figures {
        let of = |name: &str| figure.samples.get(name);
        let ratio = |one: &str, other: &str| {
            let ratio = median(of(one)?)? / median(of(other)?)?;
            Some(short(ratio)).filter(|_| ratio.is_finite())
        };
        let times = |one, other| ratio(one, other).unwrap_or_else(|| "-".to_owned());
        let _ = writeln!(
            text,
            "| {} `{}` | {} | {} | {} | {} | {} | {} | {} |",
            figure.title,
            figure.key,
            cell(of(FLOOR)),
            cell(of(OTTLA)),
            cell(of(KAFKA)),
            times(OTTLA, FLOOR),
            times(KAFKA, FLOOR),
            times(OTTLA, KAFKA),
            target(figure, results)
        );
    }
    text.push('\n');
}

/// What else was seen, in a part that a reader opens.
fn beside(results: &Results, text: &mut String) {
    if results.figures.iter().all(|figure| figure.beside.is_empty()) {
        return;
    }
    let _ = writeln!(text, "<details><summary>Seen in the same passes (medians)</summary>\n");
    let _ = writeln!(text, "| figure | | floor | Ottla | Apache Kafka |\n|---|---|---|---|---|");
    for figure in &results.figures {
        for (what, series) in &figure.beside {
            let of = |name: &str| middle(series, name).unwrap_or_else(|| "-".to_owned());
            let (floor, ottla, kafka) = (of(FLOOR), of(OTTLA), of(KAFKA));
            let _ = writeln!(text, "| `{}` | {what} | {floor} | {ottla} | {kafka} |", figure.key);
        }
    }
    let _ = writeln!(text, "\n</details>\n");
}

fn middle(series: &Series, name: &str) -> Option<String> {
    median(series.get(name)?).map(short)
}

/// The median, and the range behind it.
fn cell(values: Option<&Vec<f64>>) -> String {
    let Some((values, median)) = values.and_then(|it| Some((it, median(it)?))) else {
        return "-".to_owned();
    };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("**{}** ({}-{})", short(median), short(least), short(most))
}

fn short(value: f64) -> String {
    match value.abs() {
        it if it >= 100.0 => format!("{value:.0}"),
        it if it >= 10.0 => format!("{value:.1}"),
        it if it >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn holds(figure: &Measured, results: &Results) -> Vec<Option<bool>> {
    let of = |name: &str| median(figure.samples.get(name)?);
    let relaxed = figure.key.strip_suffix("strict").and_then(|front| {
        let mut all = results.figures.iter();
        let relaxed = all.find(|it| it.key.strip_suffix("relaxed") == Some(front))?;
        median(relaxed.samples.get(OTTLA)?)
    });
    let medians = Medians { ottla: of(OTTLA), kafka: of(KAFKA), floor: of(FLOOR), relaxed };
    figure.target.iter().map(|condition| condition.holds(&medians)).collect()
}

/// Whether all conditions hold; `None` when there are none, or none was missed and one cannot be
/// told.
fn is_reached(figure: &Measured, results: &Results) -> Option<bool> {
    let holds = holds(figure, results);
    match holds.contains(&Some(false)) {
        true => Some(false),
        false => (!holds.is_empty() && !holds.contains(&None)).then_some(true),
    }
}

fn target(figure: &Measured, results: &Results) -> String {
    let holds = holds(figure, results);
    let each = figure.target.iter().zip(holds).map(|(condition, holds)| {
        let said = match holds {
            Some(true) => "reached",
            Some(false) => "**missed**",
            None => "not known",
        };
        format!("{}: {said}", condition.text())
    });
    let text = each.collect::<Vec<_>>().join("; ");
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Condition::{AtMost, OfFloor, OfKafka};

    fn results() -> Results {
        let series = |ottla: &[f64]| {
            let named = [(OTTLA, ottla), (FLOOR, &[0.25][..]), (KAFKA, &[0.8, 1.0, 0.9][..])];
            named.into_iter().map(|(name, it)| (name.to_owned(), it.to_vec())).collect()
        };
        let figure = |key: &str, ottla: &[f64], target: &[_]| Measured {
            key: key.to_owned(),
            title: format!("title of {key}"),
            target: target.to_vec(),
            samples: series(ottla),
            beside: [("requests/s".to_owned(), series(&[1000.0]))].into(),
        };
        Results {
            scenario: "produce".to_owned(),
            load: ["0.5".to_owned(), "1.5".to_owned()],
            figures: vec![
                figure("near", &[0.3, 0.9, 0.35], &[OfFloor(1.5), OfKafka(0.5)]),
                figure("far", &[0.5], &[OfFloor(1.5), AtMost(1.0)]),
                figure("free", &[0.5], &[]),
            ],
            ..Results::default()
        }
    }

    #[test]
    fn figures_become_a_table() {
        let plots = [("produce".to_owned(), "a-plot".to_owned())];
        let text = all(&[results()], &plots);
        for part in [
            "Load average between scenarios: 0.5 to 1.5.",
            "Of 2 targets 1 are reached. Missed: `far`.",
            "| title of near `near` | **0.250** (0.250-0.250) | **0.350** (0.300-0.900) | \
             **0.900** (0.800-1.00) | 1.40 | 3.60 | 0.389 | \
             at most 1.5x of the floor: reached; at most 0.5x of Kafka: reached |",
            "at most 1.5x of the floor: **missed**; at most 1: reached |",
            "| 2.00 | 3.60 | 0.556 | - |",
            "| `far` | requests/s | 0.250 | 1000 | 0.900 |",
            "![a-plot](benchmarks/a-plot.svg)",
            "### codecs: batches that were compressed with lz4 and zstd\n\nNot measured.",
        ] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
    }
}
