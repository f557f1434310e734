//! Plots as SVG: bars of what a server takes in multiples of the floor, and latencies as curves.
//! Both scales are logarithmic; a reader sees a factor as a length.

use std::fmt::Write;

use super::{FLOOR, KAFKA, OTTLA, median};
use crate::figure::Condition;
use crate::results::{Curves, Measured, Results};

const WIDTH: f64 = 860.0;
/// Where scales begin, behind the words.
const LEFT: f64 = 400.0;
const RIGHT: f64 = 840.0;
const ROW: f64 = 34.0;
const TOP: f64 = 40.0;
const COLORS: &[(&str, &str)] = &[(FLOOR, "#8a8a8a"), (OTTLA, "#1f6feb"), (KAFKA, "#d1690e")];
const TARGET: &str = "#1a7f37";

/// Names and texts of a scenario's plots.
pub(super) fn of(results: &Results) -> Vec<(String, String)> {
    let mut plots = Vec::new();
    let bars: Vec<Bar> = results.figures.iter().filter_map(bar_of).collect();
    if bars.len() > 1 {
        plots.push((results.scenario.clone(), bars_svg(&bars)));
    }
    plots.extend(results.curves.iter().map(|curves| (curves.key.clone(), curves_svg(curves))));
    plots
}

/// Multiples of the floor.
struct Bar {
    title: String,
    ottla: f64,
    kafka: Option<f64>,
    target: Option<f64>,
}

/// Costs only: of rates more is better, and latencies have curves.
fn bar_of(figure: &Measured) -> Option<Bar> {
    let title = figure.title.split_once(": CPU")?.0.to_owned();
    let of = |name: &str| median(figure.samples.get(name)?).filter(|value| *value > 0.0);
    let floor = of(FLOOR)?;
    let target = figure.target.iter().find_map(|condition| match condition {
        Condition::OfFloor(times) => Some(*times),
        _ => None,
    });
    Some(Bar { title, ottla: of(OTTLA)? / floor, kafka: of(KAFKA).map(|it| it / floor), target })
}

/// A place on a logarithmic scale.
fn at(value: f64, range: (f64, f64), ends: (f64, f64)) -> f64 {
    let part = (value / range.0).ln() / (range.1 / range.0).ln();
    ends.0 + part.clamp(0.0, 1.0) * (ends.1 - ends.0)
}

fn begin(height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    )
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let what = what.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"{anchor}\" fill=\"#222\">{what}</text>"
    );
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), color: &str, width: f64) {
    let _ = writeln!(
        svg,
        "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"{color}\" stroke-width=\"{width}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn legend(svg: &mut String, names: &[&str]) {
    let mut x = LEFT;
    for (name, color) in COLORS.iter().filter(|(name, _)| names.contains(name)) {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.0}\" y=\"8\" width=\"12\" height=\"12\" fill=\"{color}\"/>"
        );
        text(svg, x + 16.0, 18.0, "start", name);
        x += 110.0;
    }
}

fn bars_svg(bars: &[Bar]) -> String {
    let most = bars.iter().flat_map(|bar| [Some(bar.ottla), bar.kafka]).flatten();
    let most = most.fold(4.0, f64::max).log2().ceil().exp2();
    let least = bars.iter().map(|bar| bar.ottla).fold(1.0, f64::min).log2().floor().exp2();
    let (range, ends) = ((least, most), (LEFT, RIGHT));
    let bottom = TOP + ROW * bars.len() as f64;
    let mut svg = begin(bottom + 24.0);
    legend(&mut svg, &[OTTLA, KAFKA]);
    line(&mut svg, (LEFT + 220.0, 7.0), (LEFT + 220.0, 21.0), TARGET, 2.0);
    text(&mut svg, LEFT + 226.0, 18.0, "start", "target");
    text(&mut svg, LEFT - 8.0, 18.0, "end", "multiples of the floor");
    let mut tick = least;
    while tick <= most {
        let x = at(tick, range, ends);
        let color = if tick == 1.0 { "#222" } else { "#ddd" };
        line(&mut svg, (x, TOP - 6.0), (x, bottom), color, 1.0);
        text(&mut svg, x, bottom + 16.0, "middle", &format!("{tick}"));
        tick *= 2.0;
    }
    for (index, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * index as f64;
        text(&mut svg, LEFT - 8.0, y + 17.0, "end", &bar.title);
        for (value, color, below) in
            [(Some(bar.ottla), COLORS[1].1, 2.0), (bar.kafka, COLORS[2].1, 15.0)]
        {
            let Some(value) = value else { continue };
            let width = at(value, range, ends) - LEFT;
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{:.0}\" width=\"{width:.1}\" height=\"12\" \
                 fill=\"{color}\"/>",
                y + below
            );
        }
        if let Some(target) = bar.target {
            let x = at(target, range, ends);
            line(&mut svg, (x, y), (x, y + 16.0), TARGET, 2.0);
        }
    }
    svg + "</svg>\n"
}

fn curves_svg(curves: &Curves) -> String {
    const LEFT_OF_CURVES: f64 = 70.0;
    const BOTTOM: f64 = 330.0;
    let points = || curves.series.values().flatten();
    let least = points().map(|it| it.1).fold(f64::INFINITY, f64::min).max(1.0);
    let most = points().map(|it| it.1).fold(10.0, f64::max);
    let range = (10_f64.powf(least.log10().floor()), 10_f64.powf(most.log10().ceil()));
    let nines = points().map(|it| 1.0 / (1.0 - it.0)).fold(10.0, f64::max);
    let place = |(part, micros): (f64, f64)| {
        let x = at(1.0 / (1.0 - part), (1.0, nines), (LEFT_OF_CURVES, RIGHT));
        (x, at(micros, range, (BOTTOM, TOP)))
    };
    let mut svg = begin(BOTTOM + 40.0);
    let names: Vec<&str> = curves.series.keys().map(String::as_str).collect();
    legend(&mut svg, &names);
    text(&mut svg, 8.0, 18.0, "start", &format!("{}, up to each percentile", curves.title));
    let mut tick = range.0;
    while tick <= range.1 * 1.001 {
        let y = at(tick, range, (BOTTOM, TOP));
        line(&mut svg, (LEFT_OF_CURVES, y), (RIGHT, y), "#ddd", 1.0);
        text(&mut svg, LEFT_OF_CURVES - 6.0, y + 4.0, "end", &format!("{tick} us"));
        tick *= 10.0;
    }
    for (part, name) in
        [(0.0, "least"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99")]
    {
        if 1.0 / (1.0 - part) <= nines * 1.001 {
            let x = place((part, range.0)).0;
            line(&mut svg, (x, TOP), (x, BOTTOM), "#ddd", 1.0);
            text(&mut svg, x, BOTTOM + 18.0, "middle", name);
        }
    }
    for (name, color) in COLORS {
        let Some(points) = curves.series.get(*name) else { continue };
        let points = points.iter().map(|point| place(*point));
        let path: Vec<String> = points.map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<path d=\"M{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
            path.join("L")
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_a_length() {
        let ends = (0.0, 100.0);
        assert_eq!(at(1.0, (1.0, 16.0), ends), 0.0);
        assert_eq!(at(4.0, (1.0, 16.0), ends), 50.0);
        assert_eq!(at(64.0, (1.0, 16.0), ends), 100.0);
    }

    #[test]
    fn plots_have_a_bar_and_a_curve_for_each_server() {
        let bar = |kafka| Bar { title: "a < b".to_owned(), ottla: 2.0, kafka, target: Some(1.5) };
        let svg = bars_svg(&[bar(Some(8.0)), bar(None)]);
        assert_eq!(svg.matches("a &lt; b").count(), 2);
        assert_eq!(svg.matches(COLORS[1].1).count(), 3, "two bars and the legend");
        assert_eq!(svg.matches(COLORS[2].1).count(), 2);
        let series = [(OTTLA, 10.0), (FLOOR, 5.0)]
            .map(|(name, micros)| (name.to_owned(), vec![(0.0, micros), (0.999, micros * 9.0)]));
        let curves = Curves { key: "k".to_owned(), title: "t".to_owned(), series: series.into() };
        let svg = curves_svg(&curves);
        assert_eq!(svg.matches("fill=\"none\"").count(), 2);
        assert!(svg.contains(">99.9</text>") && !svg.contains(">99.99</text>"));
    }
}
