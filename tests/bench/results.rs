//! What was measured in one scenario, and its file. A file says of which build and machine it is:
//! only results that agree in that are put beside each other.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::figure::{Condition, Figure};
use crate::program::Program;

/// Values by server, in the order in which they were taken.
pub(crate) type Series = BTreeMap<String, Vec<f64>>;

/// A figure's values.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Measured {
    pub(crate) key: String,
    pub(crate) title: String,
    pub(crate) target: Vec<Condition>,
    pub(crate) samples: Series,
    /// Other things seen in the same passes, by what they are.
    pub(crate) beside: BTreeMap<String, Series>,
}

/// Latencies as a curve: parts of one, and microseconds that they do not exceed.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Curves {
    pub(crate) key: String,
    pub(crate) title: String,
    pub(crate) series: BTreeMap<String, Vec<(f64, f64)>>,
}

/// The results of one scenario.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct Results {
    pub(crate) scenario: String,
    /// What must be equal in results that belong together, by name.
    pub(crate) identity: BTreeMap<String, String>,
    /// Load average before and after.
    pub(crate) load: [String; 2],
    pub(crate) seconds: f64,
    /// Why it ended early.
    pub(crate) error: Option<String>,
    pub(crate) figures: Vec<Measured>,
    pub(crate) curves: Vec<Curves>,
    /// What a reader must know beside the figures.
    pub(crate) notes: Vec<String>,
}

/// Results that grow, and their file, which is written again with each value: what is ended by
/// force leaves what it had.
pub(crate) struct Report {
    path: PathBuf,
    pub(crate) results: Results,
}

impl Report {
    pub(crate) fn new(path: PathBuf, results: Results) -> io::Result<Report> {
        let report = Report { path, results };
        report.save()?;
        Ok(report)
    }

    /// Adds one measurement of a server.
    pub(crate) fn add(&mut self, figure: &Figure, program: &Program, value: f64) {
        eprintln!("{}: {}: {value:.3}", program.name(), figure.title);
        let measured = self.results.measured(figure);
        measured.samples.entry(program.name().to_owned()).or_default().push(value);
        self.save_or_say();
    }

    /// Adds something else that was seen of a server in the same pass.
    pub(crate) fn beside(&mut self, figure: &Figure, what: &str, program: &Program, value: f64) {
        let measured = self.results.measured(figure);
        let series = measured.beside.entry(what.to_owned()).or_default();
        series.entry(program.name().to_owned()).or_default().push(value);
    }

    /// Keeps the curve of a server.
    pub(crate) fn curve(&mut self, figure: &Figure, program: &Program, points: Vec<(f64, f64)>) {
        let curves = &mut self.results.curves;
        let known = curves.iter().position(|curve| curve.key == figure.key);
        let index = known.unwrap_or_else(|| {
            let (key, title) = (figure.key.to_owned(), figure.title.to_owned());
            curves.push(Curves { key, title, series: BTreeMap::new() });
            curves.len() - 1
        });
        curves[index].series.insert(program.name().to_owned(), points);
        self.save_or_say();
    }

    /// Keeps a sentence for the reader.
    pub(crate) fn note(&mut self, text: String) {
        eprintln!("{text}");
        self.results.notes.push(text);
    }

    /// Writes the file.
    pub(crate) fn save(&self) -> io::Result<()> {
        let text = serde_json::to_string_pretty(&self.results.to_json())?;
        // Whoever is ended in the middle of a write has lost nothing.
        let beside = self.path.with_extension("new");
        fs::write(&beside, text + "\n")?;
        fs::rename(beside, &self.path)
    }

    fn save_or_say(&self) {
        if let Err(error) = self.save() {
            eprintln!("ottla-bench: {} is not written: {error}", self.path.display());
        }
    }
}

impl Results {
    fn measured(&mut self, figure: &Figure) -> &mut Measured {
        let known = self.figures.iter().position(|one| one.key == figure.key);
        let index = known.unwrap_or_else(|| {
            self.figures.push(Measured {
                key: figure.key.to_owned(),
                title: figure.title.to_owned(),
                target: figure.target.to_vec(),
                samples: Series::new(),
                beside: BTreeMap::new(),
            });
            self.figures.len() - 1
        });
        &mut self.figures[index]
    }

    /// Reads a file; `None` when there is none that can be read.
    pub(crate) fn load(path: &Path) -> Option<Results> {
        let value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        Results::from_json(&value)
    }

    pub(crate) fn to_json(&self) -> Value {
        let figures = self.figures.iter().map(|figure| {
            json!({
                "key": figure.key,
                "title": figure.title,
                "target": figure.target.iter().copied().map(Condition::to_json).collect::<Vec<_>>(),
                "samples": series_to_json(&figure.samples),
                "beside": figure.beside.iter()
                    .map(|(what, series)| (what.clone(), series_to_json(series)))
                    .collect::<Map<_, _>>(),
            })
        });
        let curves = self
            .curves
            .iter()
            .map(|curve| json!({ "key": curve.key, "title": curve.title, "series": curve.series }));
        json!({
            "scenario": self.scenario,
            "identity": self.identity,
            "load": self.load,
            "seconds": rounded(self.seconds),
            "error": self.error,
            "figures": figures.collect::<Vec<_>>(),
            "curves": curves.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    pub(crate) fn from_json(value: &Value) -> Option<Results> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let list = |key: &str| value.get(key).and_then(Value::as_array);
        let identity = value.get("identity")?.as_object()?;
        let identity = identity.iter().map(|(key, value)| Some((key.clone(), text(value)?)));
        Some(Results {
            scenario: text(value.get("scenario")?)?,
            identity: identity.collect::<Option<_>>()?,
            load: [text(&list("load")?[0])?, text(&list("load")?[1])?],
            seconds: value.get("seconds")?.as_f64()?,
            error: value.get("error").and_then(text),
            figures: list("figures")?.iter().map(measured_from_json).collect::<Option<_>>()?,
            curves: list("curves")?.iter().map(curves_from_json).collect::<Option<_>>()?,
            notes: list("notes")?.iter().map(text).collect::<Option<_>>()?,
        })
    }
}

/// Six digits say more than any measurement.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().expect("a number is a number")
}

fn series_to_json(series: &Series) -> Value {
    let rounded = |values: &Vec<f64>| values.iter().copied().map(rounded).collect::<Vec<_>>();
    json!(series.iter().map(|(name, it)| (name.clone(), rounded(it))).collect::<BTreeMap<_, _>>())
}

fn series_from_json(value: &Value) -> Option<Series> {
    let numbers =
        |value: &Value| value.as_array()?.iter().map(Value::as_f64).collect::<Option<Vec<_>>>();
    let each = value.as_object()?.iter().map(|(name, it)| Some((name.clone(), numbers(it)?)));
    each.collect()
}

fn measured_from_json(value: &Value) -> Option<Measured> {
    let target = value.get("target")?.as_array()?.iter().map(Condition::from_json);
    let beside = value.get("beside")?.as_object()?.iter();
    let beside = beside.map(|(what, series)| Some((what.clone(), series_from_json(series)?)));
    Some(Measured {
        key: value.get("key")?.as_str()?.to_owned(),
        title: value.get("title")?.as_str()?.to_owned(),
        target: target.collect::<Option<_>>()?,
        samples: series_from_json(value.get("samples")?)?,
        beside: beside.collect::<Option<_>>()?,
    })
}

fn curves_from_json(value: &Value) -> Option<Curves> {
    let point = |value: &Value| Some((value.get(0)?.as_f64()?, value.get(1)?.as_f64()?));
    let points = |value: &Value| value.as_array()?.iter().map(point).collect::<Option<Vec<_>>>();
    let series = value.get("series")?.as_object()?.iter();
    let series = series.map(|(name, it)| Some((name.clone(), points(it)?)));
    Some(Curves {
        key: value.get("key")?.as_str()?.to_owned(),
        title: value.get("title")?.as_str()?.to_owned(),
        series: series.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_as_they_were_written() {
        let figure = Figure::new("f", "a figure, us").to_be(&[Condition::OfFloor(1.5)]);
        let path = std::env::temp_dir().join(format!("bench-results-{}", std::process::id()));
        let results = Results {
            scenario: "s".to_owned(),
            identity: [("commit".to_owned(), "abc".to_owned())].into(),
            load: ["0.1".to_owned(), "0.2".to_owned()],
            seconds: 1.5,
            error: Some("why".to_owned()),
            ..Results::default()
        };
        let mut report = Report::new(path.clone(), results).expect("written");
        [1.0, 2.5].into_iter().for_each(|value| report.add(&figure, &Program::Floor, value));
        report.beside(&figure, "calls", &Program::Floor, 3.0);
        report.note("a note".to_owned());
        report.curve(&figure, &Program::Floor, vec![(0.5, 10.0), (1.0, 20.0)]);
        assert_eq!(Results::load(&path).as_ref(), Some(&report.results));
        fs::remove_file(path).expect("it is there");
    }
}
