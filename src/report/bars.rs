//! A bar for each of many things, the longest as wide as the picture.

use super::html::escape;
use super::svg::{COLOURS, figure, open, px};
use std::fmt::Write;

/// A chart of bars, one below the other.
#[derive(Clone, Debug, Default)]
pub struct Bars {
    /// The heading of the chart.
    pub title: String,
    /// The value of a bar as wide as the picture, where all are shorter.
    pub whole: f64,
    /// Names of the colours.
    pub groups: Vec<String>,
    /// From the top.
    pub rows: Vec<Bar>,
}

/// One of them.
#[derive(Clone, Debug, Default)]
pub struct Bar {
    /// What it is.
    pub name: String,
    /// Its length; nothing is drawn for what is not finite or below 0.
    pub value: f64,
    /// What stands behind it.
    pub said: String,
    /// Which of the groups it is of.
    pub group: usize,
}

const ROW: f64 = 20.0;
const WIDTH: f64 = 860.0;
/// Where bars begin and end.
const BEGIN: f64 = 330.0;
const END: f64 = 640.0;

/// The chart, or nothing without a row.
pub(super) fn chart(bars: &Bars) -> String {
    if bars.rows.is_empty() {
        return String::new();
    }
    let drawn = |v: f64| v.is_finite() && v >= 0.0;
    let longest = bars.rows.iter().map(|b| b.value).filter(|v| drawn(*v)).fold(bars.whole.max(0.0), f64::max);
    let mut svg = open(WIDTH as u32, (ROW * bars.rows.len() as f64 + 8.0) as u32, &bars.title);
    for (n, bar) in bars.rows.iter().enumerate() {
        let top = 4.0 + ROW * n as f64;
        let text = px(top + 14.0);
        // A name that is too long would run into its bar.
        let short: String = bar.name.chars().take(52).collect();
        let _ = write!(svg, r#"<text x="{}" y="{text}" text-anchor="end">{}"#, BEGIN - 8.0, escape(&short));
        let _ = write!(svg, "<title>{}</title></text>", escape(&bar.name));
        let length = if drawn(bar.value) && longest > 0.0 { (END - BEGIN) * bar.value / longest } else { 0.0 };
        let (colour, length) = (bar.group % COLOURS, px(length));
        let (y, high) = (px(top + 3.0), ROW - 6.0);
        let _ =
            write!(svg, r#"<rect class="f{colour}" x="{BEGIN}" y="{y}" width="{length}" height="{high}" rx="1.5"/>"#);
        let _ = write!(svg, r#"<text x="{}" y="{text}">{}</text>"#, px(BEGIN + length + 6.0), escape(&bar.said));
    }
    svg += "</svg>";
    figure(&bars.title, &bars.groups, &svg).replacen("class=\"chart\"", "class=\"chart whole\"", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_fills_the_picture() {
        let bar = |value| Bar { name: "a<b".into(), value, said: "x".into(), group: 1 };
        let text = chart(&Bars { rows: vec![bar(2.0), bar(1.0), bar(f64::NAN)], ..Bars::default() });
        let widths = [END - BEGIN, (END - BEGIN) / 2.0, 0.0].map(|w| format!(r#"width="{w}""#));
        assert!(widths.iter().all(|w| text.contains(w)) && !text.contains("NaN") && text.contains("a&lt;b"), "{text}");
        assert_eq!(chart(&Bars::default()), "");
    }
}
