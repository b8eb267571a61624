//! Axes of charts: which range, which ticks, which place on the picture.
//!
//! Only finite numbers reach the picture. Colours come from the style sheet by class (`s0` … `s7`), so that
//! charts follow light and dark pages.

use super::html::escape;
use std::fmt::Write;

/// Number of colours that the style sheet has for series.
pub(super) const COLOURS: usize = 8;

/// Larger values are drawn nowhere: their differences would overflow.
const LARGEST: f64 = 1e100;

/// True when a value can be drawn.
pub(super) fn drawable(value: f64) -> bool {
    value.abs() <= LARGEST
}

/// A range of values laid over a range of the picture.
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// The exact range `low ..= high`, with about `wanted` ticks.
    pub(super) fn exact(low: f64, high: f64, wanted: usize, place: (f64, f64)) -> Self {
        let (low, high) = widened(low, high);
        Self { low, high, step: nice_step(high - low, wanted), start: place.0, end: place.1 }
    }

    /// The range of `values`, grown to whole ticks.
    pub(super) fn around(values: impl Iterator<Item = f64>, wanted: usize, place: (f64, f64)) -> Self {
        let (low, high) = range(values);
        let mut axis = Self::exact(low, high, wanted, place);
        axis.low = (axis.low / axis.step + 1e-9).floor() * axis.step;
        axis.high = (axis.high / axis.step - 1e-9).ceil() * axis.step;
        axis
    }

    /// The range of `values` as it is. Ticks stay on whole numbers when all values are: there is no epoch 2.5.
    pub(super) fn along(values: impl Iterator<Item = f64> + Clone, wanted: usize, place: (f64, f64)) -> Self {
        let whole = values.clone().filter(|&v| drawable(v)).all(|v| v.fract() == 0.0);
        let (low, high) = range(values);
        let mut axis = Self::exact(low, high, wanted, place);
        if whole {
            axis.step = axis.step.max(1.0);
        }
        axis
    }

    /// Where `value` is on the picture; values outside the range are moved to its ends.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.start + share * (self.end - self.start)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        let first = (self.low / self.step - 1e-6).ceil();
        let count = ((self.high / self.step + 1e-6).floor() - first).clamp(0.0, 50.0) as usize;
        (0..=count).map(|i| (first + i as f64) * self.step).map(|v| (v, tick_label(v, self.step))).collect()
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let drawn = values.filter(|&v| drawable(v));
    let (low, high) = drawn.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

/// A range that is not a point: a constant series gets room on both sides.
fn widened(low: f64, high: f64) -> (f64, f64) {
    let size = low.abs().max(high.abs());
    if high - low > 1e-9 * size && high - low > 1e-30 {
        return (low, high);
    }
    let room = if size > 1e-30 { 0.1 * size } else { 1.0 };
    (low - room, high + room)
}

/// 1, 2 or 5 times a power of ten, so that about `wanted` steps fill `range`.
fn nice_step(range: f64, wanted: usize) -> f64 {
    let rough = range / wanted.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|m| m * power >= rough * 0.999).unwrap_or(10.0);
    step * power
}

fn tick_label(value: f64, step: f64) -> String {
    let power = |v: f64| (v.abs().log10() + 1e-9).floor();
    if value.abs() < step * 1e-6 {
        // Zero, with the decimals of its neighbours where they are written out.
        return if step < 1e-4 { "0".into() } else { format!("{:.*}", decimals(power(step)), 0.0) };
    }
    if step < 1e-4 || value.abs() >= 1e6 {
        let digits = (power(value) - power(step)).clamp(0.0, 3.0) as usize;
        return trimmed(format!("{value:.digits$e}"));
    }
    format!("{value:.*}", decimals(power(step)))
}

fn decimals(power: f64) -> usize {
    (-power).clamp(0.0, 6.0) as usize
}

/// `1.50e-3` as `1.5e-3`.
fn trimmed(text: String) -> String {
    match text.split_once('e') {
        Some((digits, power)) if digits.contains('.') => {
            format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// A place on the picture, in tenths.
pub(super) fn px(value: f64) -> f64 {
    debug_assert!(value.is_finite());
    (value * 10.0).round() / 10.0 + 0.0
}

/// The start of a picture with `label` for those who cannot see it. It scales with the page.
pub(super) fn open(width: u32, height: u32, label: &str) -> String {
    format!(r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{}">"#, escape(label))
}

/// Both axes: [`axis_up`] and [`axis_along`].
pub(super) fn axes(x: &Axis, y: &Axis, along: &str, up: &str) -> String {
    axis_up(x, y, up) + &axis_along(x, y.start, along)
}

/// Lines across the picture at the ticks of the vertical axis, with its name above.
pub(super) fn axis_up(x: &Axis, y: &Axis, name: &str) -> String {
    let mut out = String::new();
    let (left, right, above) = (px(x.start), px(x.end), px(y.end - 11.0));
    for (value, label) in y.ticks() {
        let at = px(y.at(value));
        let _ = write!(out, r#"<line class="grid" x1="{left}" y1="{at}" x2="{right}" y2="{at}"/>"#);
        let (beside, below) = (px(left - 6.0), px(at + 3.5));
        let _ = write!(out, r#"<text class="tick" x="{beside}" y="{below}" text-anchor="end">{label}</text>"#);
    }
    let _ = write!(out, r#"<text class="name" x="{}" y="{above}">{}</text>"#, px(left - 44.0), escape(name));
    out
}

/// The horizontal axis at height `bottom`, with its ticks and its name below.
pub(super) fn axis_along(x: &Axis, bottom: f64, name: &str) -> String {
    let mut out = String::new();
    let (left, right, bottom) = (px(x.start), px(x.end), px(bottom));
    let _ = write!(out, r#"<line class="axis" x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}"/>"#);
    for (value, label) in x.ticks() {
        let at = px(x.at(value));
        let (end, below) = (px(bottom + 4.0), px(bottom + 16.0));
        let _ = write!(out, r#"<line class="axis" x1="{at}" y1="{bottom}" x2="{at}" y2="{end}"/>"#);
        let _ = write!(out, r#"<text class="tick" x="{at}" y="{below}" text-anchor="middle">{label}</text>"#);
    }
    let (middle, below, name) = (px((left + right) / 2.0), px(bottom + 31.0), escape(name));
    let _ = write!(out, r#"<text class="name" x="{middle}" y="{below}" text-anchor="middle">{name}</text>"#);
    out
}

/// A chart with its heading and legend: `series` are the names in the order of their colours.
pub(super) fn figure(title: &str, series: &[String], svg: &str) -> String {
    let mut legend = String::new();
    for (i, name) in series.iter().enumerate() {
        let _ = write!(legend, r#"<span><i class="b{}"></i>{}</span>"#, i % COLOURS, escape(name));
    }
    if !legend.is_empty() {
        legend = format!(r#"<p class="legend">{legend}</p>"#);
    }
    format!(r#"<figure class="chart"><figcaption>{}</figcaption>{legend}{svg}</figure>"#, escape(title))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64) -> Vec<String> {
        let axis = Axis::around([low, high].into_iter(), 4, (0.0, 100.0));
        axis.ticks().into_iter().map(|t| t.1).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(0.0, 1.0), ["0.0", "0.5", "1.0"]);
        assert_eq!(labels(0.03, 0.69), ["0.0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(labels(-0.9, 1.9), ["-1", "0", "1", "2"]);
        assert_eq!(labels(0.0, 2e-5), ["0", "5e-6", "1e-5", "1.5e-5", "2e-5"]);
        assert_eq!(labels(0.0, 4e6), ["0", "1e6", "2e6", "3e6", "4e6"]);
        let epochs = Axis::along([0.0, 1.0, 2.0].into_iter(), 6, (0.0, 100.0));
        assert_eq!(epochs.ticks().into_iter().map(|t| t.1).collect::<Vec<_>>(), ["0", "1", "2"]);
    }

    #[test]
    fn places_are_finite_whatever_the_values() {
        let strange = [
            vec![],
            vec![0.0],
            vec![5.0, 5.0],
            vec![f64::NAN, f64::INFINITY],
            vec![-1e100, 1e100],
            vec![1e300],
            vec![1e-310, 0.0],
            vec![1.0, 1.0 + 1e-15],
            vec![1e12, 1e12 + 1.0],
        ];
        for values in strange {
            for axis in [
                Axis::around(values.iter().copied(), 4, (0.0, 100.0)),
                Axis::along(values.iter().copied(), 4, (0.0, 100.0)),
            ] {
                let ticks = axis.ticks();
                assert!(ticks.len() < 60, "{values:?}");
                let tick_values = ticks.iter().map(|t| t.0);
                for v in tick_values.chain(values.iter().copied().filter(|&v| drawable(v))) {
                    assert!((0.0..=100.0).contains(&axis.at(v)), "{values:?}: {v}");
                }
            }
        }
    }
}
