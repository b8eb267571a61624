//! Charts with both axes in powers of ten: rooflines, times by size.

use super::Series;
use super::charts::MARKED;
use super::html::escape;
use super::svg::{COLOURS, figure, open, px};
use std::fmt::Write;

/// A chart of what spans several powers of ten.
#[derive(Clone, Debug, Default)]
pub struct LogChart {
    /// The heading of the chart.
    pub title: String,
    /// What goes along the horizontal axis.
    pub along: String,
    /// What goes up the vertical axis.
    pub unit: String,
    /// Lines, whose names are the legend.
    pub lines: Vec<Series>,
    /// Single points, by groups, whose names follow in the legend.
    pub dots: Vec<Dots>,
}

/// Points of one colour.
#[derive(Clone, Debug, Default)]
pub struct Dots {
    /// What they have in common.
    pub name: String,
    /// What each is, and where.
    pub points: Vec<(String, f64, f64)>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 430.0;
/// Left, right, top and bottom of the drawing.
const FRAME: [f64; 4] = [56.0, 844.0, 30.0, 380.0];

/// Whole powers of ten around values.
struct Decades {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Decades {
    fn around(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Option<Self> {
        let powers = values.filter(|&v| is_drawn(v)).map(f64::log10);
        let (low, high) = powers.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(p), h.max(p)));
        (low <= high).then(|| Self { low: low.floor(), high: high.ceil().max(low.floor() + 1.0), start, end })
    }

    fn at(&self, value: f64) -> f64 {
        self.start + (value.log10() - self.low) / (self.high - self.low) * (self.end - self.start)
    }

    /// The powers with a line each: every second or third where there are many.
    fn ticks(&self) -> impl Iterator<Item = i32> + use<> {
        let apart = ((self.high - self.low) / 9.0).ceil().max(1.0) as usize;
        (self.low as i32..=self.high as i32).step_by(apart)
    }
}

fn is_drawn(value: f64) -> bool {
    value.is_finite() && (1e-30..1e30).contains(&value)
}

/// 0.01, 10, 1k, 1M.
fn label(power: i32) -> String {
    match power {
        p if p < -4 => format!("1e{p}"),
        p if p < 0 => format!("{:.*}", -p as usize, 10f64.powi(p)),
        0..=2 => format!("{}", 10u32.pow(power as u32)),
        3..=11 => {
            let (unit, thousands) = (["k", "M", "G"][power as usize / 3 - 1], power as u32 % 3);
            format!("{}{unit}", 10u32.pow(thousands))
        }
        p => format!("1e{p}"),
    }
}

/// The chart, or nothing without a value to draw.
pub(super) fn chart(chart: &LogChart) -> String {
    let lines = || chart.lines.iter().flat_map(|line| line.points.iter().copied());
    let dots = || chart.dots.iter().flat_map(|dots| dots.points.iter().map(|(_, x, y)| (*x, *y)));
    let all = || lines().chain(dots()).filter(|(x, y)| is_drawn(*x) && is_drawn(*y));
    let [left, right, top, bottom] = FRAME;
    let axes = Decades::around(all().map(|p| p.0), left, right).zip(Decades::around(all().map(|p| p.1), bottom, top));
    let Some((x, y)) = axes else { return String::new() };
    let mut svg = open(WIDTH as u32, HEIGHT as u32, &format!("{}: {} along {}", chart.title, chart.unit, chart.along));
    for power in y.ticks() {
        let at = px(y.at(10f64.powi(power)));
        let _ = write!(svg, r#"<line class="grid" x1="{left}" y1="{at}" x2="{right}" y2="{at}"/>"#);
        let _ =
            write!(svg, r#"<text x="{}" y="{}" text-anchor="end">{}</text>"#, left - 6.0, px(at + 3.5), label(power));
    }
    for power in x.ticks() {
        let at = px(x.at(10f64.powi(power)));
        let _ = write!(svg, r#"<line class="grid" x1="{at}" y1="{top}" x2="{at}" y2="{bottom}"/>"#);
        let _ = write!(svg, r#"<text x="{at}" y="{}" text-anchor="middle">{}</text>"#, bottom + 16.0, label(power));
    }
    let _ = write!(svg, r#"<text x="{}" y="{}">{}</text>"#, left - 44.0, top - 12.0, escape(&chart.unit));
    let (middle, below) = ((left + right) / 2.0, bottom + 36.0);
    let _ = write!(svg, r#"<text x="{middle}" y="{below}" text-anchor="middle">{}</text>"#, escape(&chart.along));
    for (n, line) in chart.lines.iter().enumerate() {
        let colour = n % COLOURS;
        let drawn: Vec<(f64, f64)> =
            line.points.iter().copied().filter(|(x, y)| is_drawn(*x) && is_drawn(*y)).collect();
        let _ = write!(svg, r#"<polyline class="line s{colour}" points=""#);
        for (i, (a, b)) in drawn.iter().enumerate() {
            let _ = write!(svg, "{}{},{}", if i > 0 { " " } else { "" }, px(x.at(*a)), px(y.at(*b)));
        }
        svg += r#""/>"#;
        if (3..=MARKED).contains(&drawn.len()) {
            for (a, b) in drawn {
                let _ =
                    write!(svg, r#"<circle class="dot f{colour}" cx="{}" cy="{}" r="2.2"/>"#, px(x.at(a)), px(y.at(b)));
            }
        }
    }
    for (n, dots) in chart.dots.iter().enumerate() {
        let colour = (chart.lines.len() + n) % COLOURS;
        for (name, a, b) in dots.points.iter().filter(|(_, x, y)| is_drawn(*x) && is_drawn(*y)) {
            let (cx, cy) = (px(x.at(*a)), px(y.at(*b)));
            let _ = write!(svg, r#"<circle class="f{colour}" cx="{cx}" cy="{cy}" r="4" fill-opacity="0.75">"#);
            let _ = write!(svg, "<title>{}</title></circle>", escape(name));
        }
    }
    svg += "</svg>";
    let names = chart.lines.iter().map(|l| l.name.clone()).chain(chart.dots.iter().map(|d| d.name.clone()));
    figure(&chart.title, &names.collect::<Vec<_>>(), &svg).replacen("class=\"chart\"", "class=\"chart whole\"", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_ten_are_named() {
        let names: Vec<String> = [-6, -2, 0, 2, 3, 5, 6, 9, 12].into_iter().map(label).collect();
        assert_eq!(names, ["1e-6", "0.01", "1", "100", "1k", "100k", "1M", "1G", "1e12"]);
    }

    #[test]
    fn a_roof_and_a_dot_lie_where_they_should() {
        let line = Series { name: "a<b".into(), points: vec![(0.1, 1.0), (10.0, 100.0)], ..Series::default() };
        let dots = Dots { name: "dots".into(), points: vec![("k".into(), 1.0, 10.0), ("nan".into(), f64::NAN, 1.0)] };
        let text = chart(&LogChart { lines: vec![line], dots: vec![dots], ..LogChart::default() });
        let [left, right, top, bottom] = FRAME;
        assert!(text.contains(&format!(r#"points="{left},{bottom} {right},{top}""#)), "{text}");
        let (x, y) = ((left + right) / 2.0, (top + bottom) / 2.0);
        assert!(text.contains(&format!(r#"<circle class="f1" cx="{x}" cy="{y}""#)), "{text}");
        assert!(text.contains("a&lt;b") && !text.contains("NaN") && !text.contains("nan"));
        assert_eq!(chart(&LogChart::default()), "");
    }
}
