//! Kept results become one file of JSON, plots, and tables between two marks of a document; what
//! stands around the marks is written by hand.

mod plots;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Failure;
use crate::results::Results;
use crate::scenarios::SCENARIOS;

const BEGIN: &str = "<!-- figures: `scripts/bench report` writes what follows -->";
const END: &str = "<!-- end of figures -->";
/// Names of servers, as results have them.
const FLOOR: &str = "floor";
const OTTLA: &str = "Ottla";
const KAFKA: &str = "Apache Kafka";

/// Where results are, and where they go.
#[derive(clap::Args)]
pub(crate) struct ReportArguments {
    /// Directory of results, or a file that `report` wrote.
    #[arg(long, value_name = "PATH")]
    results: PathBuf,
    /// Directory of `benchmarks.md`; plots and JSON go into `benchmarks` below it.
    #[arg(long, value_name = "DIR")]
    docs: PathBuf,
}

/// Writes everything. Results of another build or machine than the first one's are refused.
pub(crate) fn report(arguments: &ReportArguments) -> Result<(), Failure> {
    let all = load(&arguments.results)?;
    let first = all.first().ok_or("there are no results")?;
    let others: Vec<&str> = all
        .iter()
        .filter(|results| results.identity != first.identity)
        .map(|results| results.scenario.as_str())
        .collect();
    if !others.is_empty() {
        let (others, first) = (others.join(", "), &first.scenario);
        return Err(format!("of another build, machine or size than {first}: {others}").into());
    }
    let below = arguments.docs.join("benchmarks");
    fs::create_dir_all(&below)?;
    let list: Vec<Value> = all.iter().map(Results::to_json).collect();
    let text = serde_json::to_string(&json!({ "scenarios": list }))?;
    // One line for each scenario: a difference can be read, and the file stays short.
    let text = text.replace("{\"curves\"", "\n{\"curves\"");
    fs::write(below.join("results.json"), text + "\n")?;
    let mut plots = Vec::new();
    for results in &all {
        for (name, svg) in plots::of(results) {
            fs::write(below.join(format!("{name}.svg")), svg)?;
            plots.push((results.scenario.clone(), name));
        }
    }
    let document = arguments.docs.join("benchmarks.md");
    let text = between_marks(&fs::read_to_string(&document)?, &tables::all(&all, &plots))?;
    fs::write(document, text)?;
    Ok(())
}

/// In the order of the scenarios.
fn load(path: &Path) -> Result<Vec<Results>, Failure> {
    if path.is_dir() {
        let of = |name| Results::load(&path.join(format!("{name}.json")));
        return Ok(SCENARIOS.iter().filter_map(|scenario| of(scenario.name)).collect());
    }
    let value: Value = serde_json::from_slice(&fs::read(path)?)?;
    let list = value.get("scenarios").and_then(Value::as_array).ok_or("no scenarios in it")?;
    let list = list.iter().map(Results::from_json).collect::<Option<Vec<_>>>();
    list.ok_or_else(|| "results that cannot be read".into())
}

fn between_marks(document: &str, text: &str) -> Result<String, Failure> {
    let (before, rest) = document.split_once(BEGIN).ok_or("the document has no first mark")?;
    let (_, after) = rest.split_once(END).ok_or("the document has no second mark")?;
    Ok(format!("{before}{BEGIN}\n\n{text}\n{END}{after}"))
}

/// The one in the middle; of an even number, the lower one.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_marks_is_written_anew() {
        let document = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let written = between_marks(&document, "new").expect("both marks are there");
        assert_eq!(written, format!("a\n{BEGIN}\n\nnew\n{END}\nb\n"));
        assert!(between_marks("no marks", "new").is_err());
    }

    #[test]
    fn a_median_was_seen() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[3.0, 1.0]), Some(1.0));
        assert_eq!(median(&[]), None);
    }
}
