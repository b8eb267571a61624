//! A chart of intervals, one below the other, with what single runs had.

use super::html::escape;
use super::svg::{Axis, axis_along, drawable, figure, open, px};
use std::fmt::Write;

/// A chart of values with intervals, a row each.
#[derive(Clone, Debug, Default)]
pub struct Forest {
    /// The heading of the chart.
    pub title: String,
    /// What the values are.
    pub along: String,
    /// From the top.
    pub rows: Vec<ForestRow>,
    /// A value to compare with, such as that of chance.
    pub reference: Option<f64>,
}

/// A row of a [`Forest`].
#[derive(Clone, Debug, Default)]
pub struct ForestRow {
    /// What it is called.
    pub name: String,
    /// The value.
    pub value: Option<f64>,
    /// Its interval.
    pub interval: Option<[f64; 2]>,
    /// Values of single runs.
    pub dots: Vec<f64>,
    /// Drawn less strongly than others.
    pub soft: bool,
}

/// Height of a row, and the width of the picture.
const ROW: f64 = 44.0;
const WIDTH: f64 = 860.0;
/// More dots than this are thinned: they would be one line.
const DOTS: usize = 200;

/// The chart, or nothing without a value to draw.
pub(super) fn chart(forest: &Forest) -> String {
    let values = |row: &ForestRow| {
        let of_row = row.value.into_iter().chain(row.interval.into_iter().flatten()).chain(row.dots.iter().copied());
        of_row.filter(|&value| drawable(value)).collect::<Vec<_>>()
    };
    let all: Vec<f64> = forest.rows.iter().flat_map(values).chain(forest.reference.filter(|&r| drawable(r))).collect();
    if !forest.rows.iter().any(|row| row.value.is_some_and(drawable)) {
        return String::new();
    }
    let bottom = 12.0 + ROW * forest.rows.len() as f64;
    let x = Axis::around(all.into_iter(), 8, (16.0, WIDTH - 16.0));
    let mut svg = open(WIDTH as u32, (bottom + 40.0) as u32, &forest.title);
    if let Some(at) = forest.reference.filter(|&r| drawable(r)).map(|r| px(x.at(r))) {
        let _ = write!(svg, r#"<line class="marker" x1="{at}" y1="6" x2="{at}" y2="{}"/>"#, px(bottom));
    }
    for (n, row) in forest.rows.iter().enumerate() {
        let middle = 12.0 + ROW * n as f64 + 28.0;
        let colour = if row.soft { 7 } else { 0 };
        let name = px(middle - 14.0);
        let told = match (row.value, row.interval) {
            (Some(value), Some([low, high])) => format!("{}: {value:.3} ({low:.3} to {high:.3})", row.name),
            (Some(value), None) => format!("{}: {value:.3}", row.name),
            _ => format!("{}: no value", row.name),
        };
        let _ = write!(svg, r#"<text class="row" x="16" y="{name}">{}</text>"#, escape(&told));
        let thinned = row.dots.len().div_ceil(DOTS).max(1);
        for value in row.dots.iter().copied().step_by(thinned).filter(|&value| drawable(value)) {
            let (cx, cy) = (px(x.at(value)), px(middle));
            let _ = write!(svg, r#"<circle class="faint f{colour}" cx="{cx}" cy="{cy}" r="3.2"/>"#);
        }
        let drawn = row.interval.filter(|ends| ends.iter().all(|&end| drawable(end)));
        if let Some([low, high]) = drawn.map(|ends| ends.map(|end| px(x.at(end)))) {
            let y = px(middle);
            let _ = write!(svg, r#"<line class="line s{colour}" x1="{low}" y1="{y}" x2="{high}" y2="{y}"/>"#);
            for end in [low, high] {
                let (from, to) = (px(middle - 5.0), px(middle + 5.0));
                let _ = write!(svg, r#"<line class="line s{colour}" x1="{end}" y1="{from}" x2="{end}" y2="{to}"/>"#);
            }
        }
        if let Some(at) = row.value.filter(|&value| drawable(value)).map(|value| x.at(value)) {
            let (left, top) = (px(at - 5.0), px(middle - 5.0));
            let _ = write!(svg, r#"<rect class="f{colour}" x="{left}" y="{top}" width="10" height="10" rx="1.5"/>"#);
        }
    }
    svg += &axis_along(&x, bottom, &forest.along);
    svg += "</svg>";
    figure(&forest.title, &[], &svg).replacen("class=\"chart\"", "class=\"chart whole\"", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_intervals_and_dots() {
        let row = |name: &str, value, interval| ForestRow {
            name: name.into(),
            value,
            interval,
            dots: vec![0.4, f64::NAN, 0.9],
            soft: false,
        };
        let forest = Forest {
            title: "AUC".into(),
            along: "AUC".into(),
            rows: vec![row("a<b", Some(0.8), Some([0.7, 0.9])), row("c", None, None)],
            reference: Some(0.5),
        };
        let svg = chart(&forest);
        assert!(svg.contains("a&lt;b: 0.800 (0.700 to 0.900)") && svg.contains("c: no value"), "{svg}");
        assert_eq!((svg.matches("<rect").count(), svg.matches("<circle").count()), (1, 4));
        assert!(!svg.contains("NaN") && svg.contains("class=\"marker\""));
        assert_eq!(chart(&Forest { rows: vec![row("c", None, None)], ..forest }), "");
    }
}
