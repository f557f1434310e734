//! The kept file, and what is said when counts differ from it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::Failure;
use crate::callgrind::Count;

/// Per cent by which instructions may differ from the kept file.
const TOLERANCE: f64 = 2.0;
const HEAD: &str = "\
# What one operation takes: instructions, without the allocator's, and calls of the allocator.
# Written by `UPDATE=1 scripts/gates`; CONTRIBUTING.md says more.
";

/// What one operation takes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Cost {
    instructions: u64,
    /// Hundredths.
    allocations: u64,
}

impl Cost {
    fn of(count: &Count) -> Cost {
        Cost {
            instructions: count.instructions / count.repeats,
            allocations: count.allocations * 100 / count.repeats,
        }
    }

    fn line(self, name: &str) -> String {
        let (whole, part) = (self.allocations / 100, self.allocations % 100);
        format!("{:>12} {:>10} {name}\n", self.instructions, format!("{whole}.{part:02}"))
    }

    fn parse(line: &str) -> Option<(&str, Cost)> {
        let (instructions, rest) = line.trim_start().split_once(' ')?;
        let (allocations, name) = rest.trim_start().split_once(' ')?;
        let allocations = allocations.replace('.', "").parse().ok()?;
        Some((name, Cost { instructions: instructions.parse().ok()?, allocations }))
    }
}

/// Compares with the kept file and prints a table; whether nothing differs by more than is allowed.
///
/// # Errors
/// Those of the file.
pub fn judge(path: &Path, counts: &[Count], tools: &str) -> Result<bool, Failure> {
    let tools = format!("# With {tools}.\n");
    let costs: Vec<(&str, Cost)> = counts.iter().map(|it| (&*it.name, Cost::of(it))).collect();
    if std::env::var_os("UPDATE").is_some() {
        let lines: String = costs.iter().map(|(name, cost)| cost.line(name)).collect();
        std::fs::write(path, format!("{HEAD}{tools}{lines}"))?;
        println!("written: {}", path.display());
        return Ok(true);
    }
    let text = std::fs::read_to_string(path)?;
    let kept: BTreeMap<&str, Cost> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(Cost::parse).collect();
    let (table, is_good) = compare(&kept, &costs);
    print!("{table}");
    if !is_good && !text.contains(&tools) {
        println!("the counts were taken with other tools than these:\n{tools}");
    }
    Ok(is_good)
}

fn compare(kept: &BTreeMap<&str, Cost>, costs: &[(&str, Cost)]) -> (String, bool) {
    let mut table = format!(
        "{:>12} {:>12} {:>8}  {:>9} {:>9}  operation\n",
        "kept", "now", "%", "allocs", "now"
    );
    let (mut worse, mut better) = (0, 0);
    for (name, cost) in costs {
        let Some(old) = kept.get(name) else {
            worse += 1;
            let _ =
                writeln!(table, "{:>12} {:>12} {:>8}  {name}: new", "-", cost.instructions, "-");
            continue;
        };
        let per_cent = (cost.instructions as f64 / old.instructions as f64 - 1.0) * 100.0;
        let is_worse = per_cent > TOLERANCE || cost.allocations > old.allocations;
        let is_better = per_cent < -TOLERANCE || cost.allocations < old.allocations;
        worse += u32::from(is_worse);
        better += u32::from(is_better && !is_worse);
        let verdict = match (is_worse, is_better) {
            (true, _) => " WORSE",
            (false, true) => " better",
            (false, false) => "",
        };
        let _ = writeln!(
            table,
            "{:>12} {:>12} {per_cent:>+8.2}  {:>9.2} {:>9.2}  {name}{verdict}",
            old.instructions,
            cost.instructions,
            old.allocations as f64 / 100.0,
            cost.allocations as f64 / 100.0,
        );
    }
    let gone = kept.keys().filter(|name| costs.iter().all(|(now, _)| now != *name));
    for name in gone {
        worse += 1;
        let _ = writeln!(table, "gone: {name}");
    }
    if better > 0 {
        let _ = writeln!(
            table,
            "{better} better by more than {TOLERANCE} %: keep it, UPDATE=1 scripts/gates"
        );
    }
    if worse > 0 {
        let _ = writeln!(
            table,
            "{worse} worse by more than {TOLERANCE} %, new or gone: mend it, or say why and UPDATE=1 scripts/gates"
        );
    }
    (table, worse == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(instructions: u64, allocations: u64) -> Cost {
        Cost { instructions, allocations }
    }

    #[test]
    fn two_per_cent_more_are_too_much() {
        let kept: BTreeMap<&str, Cost> = [("a", cost(1000, 200))].into();
        let check = |now: &[(&str, Cost)], expected: bool, says: &str| {
            let (table, is_good) = compare(&kept, now);
            assert_eq!(is_good, expected, "{table}");
            assert!(table.contains(says), "{says}: {table}");
        };
        check(&[("a", cost(1020, 200))], true, "+2.00");
        check(&[("a", cost(1021, 200))], false, "a WORSE");
        check(&[("a", cost(1000, 201))], false, "a WORSE");
        check(&[("a", cost(979, 200))], true, "1 better");
        check(&[("a", cost(1000, 200)), ("b", cost(1, 0))], false, "b: new");
        check(&[], false, "gone: a");
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let line = cost(123, 1205).line("produce, strict: 1 MiB");
        assert!(Cost::parse(line.trim_end()) == Some(("produce, strict: 1 MiB", cost(123, 1205))));
    }
}
