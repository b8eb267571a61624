//! The report of a run: one HTML file that needs nothing else, no script and no network.
//!
//! It is filled with plain data, so it knows nothing of models or training and whatever produced the
//! numbers can be shown. Values that are not finite are left out of charts, never written into them.

mod bag_picture;
mod bars;
mod charts;
mod forest;
pub(crate) mod html;
pub(crate) mod inline;
mod log_chart;
mod predictions;
mod svg;

pub use bars::{Bar, Bars};
pub use forest::{Forest, ForestRow};
pub use log_chart::{Dots, LogChart};

use crate::error::Result;
use crate::metrics::Step;
use std::path::Path;

/// What a report shows. Empty parts are left out of the page.
///
/// ```
/// # use bagrad::report::Report;
/// let report = Report {
///     title: "Attention on bags of digits".into(),
///     results: vec![("Test AUC".into(), "0.981 (0.952 – 0.999)".into())],
///     ..Report::default()
/// };
/// assert!(report.to_html().starts_with("<!DOCTYPE html>"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The heading, and the title of the page.
    pub title: String,
    /// One line under the heading.
    pub summary: String,
    /// Rows of the table of results: what was measured, and its value as it should be read.
    pub results: Vec<(String, String)>,
    /// Values with intervals, one below the other.
    pub forests: Vec<Forest>,
    /// Charts in powers of ten.
    pub log_charts: Vec<LogChart>,
    /// Charts of bars.
    pub bars: Vec<Bars>,
    /// What the reader of these should know.
    pub notes: Vec<String>,
    /// More tables, each under a title of its own.
    pub tables: Vec<Table>,
    /// Rows of the table of facts: method, device, seed, seconds, steps, parameters.
    pub facts: Vec<(String, String)>,
    /// Learning curves, one chart each.
    pub curves: Vec<Curve>,
    /// More line charts, each group under a heading of its own.
    pub charts: Vec<(String, Vec<Curve>)>,
    /// Predictions of bags with a known class: a histogram, the ROC curve, calibration and the confusion matrix.
    pub predictions: Option<Predictions>,
    /// Bags with a number for each of their instances.
    pub bags: Vec<BagPicture>,
    /// What these numbers are.
    pub shown: Shown,
}

/// A table with a row for each of several things, such as labels.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The heading.
    pub title: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// Cells as they should be read, the first naming the row.
    pub rows: Vec<Vec<String>>,
}

/// One line chart.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// The heading of the chart.
    pub title: String,
    /// What goes up the vertical axis ("loss", "AUC").
    pub unit: String,
    /// What goes along the horizontal axis ("epoch").
    pub along: String,
    /// The lines.
    pub series: Vec<Series>,
    /// A place on the horizontal axis to mark as the chosen one.
    pub marker: Option<f64>,
    /// Both axes go from 0 to 1, and where both values are the same is marked.
    pub diagonal: bool,
}

/// One line of a chart.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// (along, up), in drawing order. A point that is not finite interrupts the line.
    pub points: Vec<(f64, f64)>,
    /// (along, low, high) of the interval that goes along with the line, in drawing order; one that is not finite interrupts
    /// the band.
    pub band: Vec<[f64; 3]>,
    /// (along, low, high) of intervals of single points.
    pub bars: Vec<[f64; 3]>,
}

impl Series {
    /// A Kaplan-Meier curve with its intervals, from 1 at time 0, to `until` where that is later than its last step.
    pub fn survival(name: String, steps: &[Step], until: Option<f32>) -> Self {
        let gap = |time: f64| [time, f64::NAN, f64::NAN];
        let (mut points, mut band) = (vec![(0.0, 1.0)], Vec::new());
        let mut before = (1.0, None);
        let mut reach = |time: f64, (share, interval): (f64, Option<[f64; 2]>)| {
            points.push((time, share));
            band.push(interval.map_or_else(|| gap(time), |[low, high]| [time, low, high]));
        };
        for step in steps {
            let time = f64::from(step.time);
            reach(time, before);
            before = (step.survival, step.interval());
            reach(time, before);
        }
        if let Some(until) = until {
            reach(f64::from(until), before);
        }
        Self { name, points, band, bars: Vec::new() }
    }
}

/// Predicted probabilities of a set of bags with their true classes.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    /// What each class is called; a class beyond the end is called by its number.
    pub class_names: Vec<String>,
    /// Row-major `[bags, columns]`; one column is the probability of class 1 of two.
    pub probabilities: Vec<f32>,
    /// The true class of each bag.
    pub labels: Vec<u32>,
    /// Whom each bag belongs to, such as a patient: intervals are of those. Without any each bag stands for itself.
    pub groups: Vec<String>,
    /// What they are called: "test bags"; "bags" where that is empty.
    pub told: String,
}

/// How right predictions are.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// The heading: of which bags.
    pub title: String,
    /// What the reader should know first.
    pub notes: Vec<String>,
    /// What was measured, and its value as it should be read.
    pub results: Vec<(String, String)>,
    /// Charts, such as survival.
    pub curves: Vec<Curve>,
    /// Predictions of classes.
    pub predictions: Option<Predictions>,
}

/// What the numbers of instances are that pictures of bags show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What one is called: "attention", "contribution to tumour".
    pub name: String,
    /// They have a sign that matters: what speaks for a class and what against it are drawn apart.
    pub signed: bool,
}

impl Default for Shown {
    fn default() -> Self {
        Self { name: "attention".into(), signed: false }
    }
}

/// A bag with a number for each instance, as images where there are any and else as bars.
#[derive(Clone, Debug, Default)]
pub struct BagPicture {
    /// What the bag is called.
    pub name: String,
    /// Its true class, if it is known.
    pub label: Option<String>,
    /// The class it was taken for.
    pub predicted: String,
    /// The class that `probability` is of (for two classes usually the positive one).
    pub probability_of: String,
    /// The predicted probability of that class.
    pub probability: f64,
    /// (height, width, channels) of an instance; `None` when instances are not images.
    pub image: Option<[usize; 3]>,
    /// The values of each instance, channel-last row by row, in any range: all bags of a report are
    /// rescaled together. Empty when there are no images.
    pub pixels: Vec<Vec<f32>>,
    /// A number for each instance, such as its attention.
    pub weights: Vec<f32>,
    /// Which instances are key instances, if that is known.
    pub key: Option<Vec<bool>>,
}

impl Report {
    /// The whole page.
    pub fn to_html(&self) -> String {
        html::page(self)
    }

    /// Writes the page to `path`, complete or not at all.
    ///
    /// # Errors
    /// [`crate::Error::Io`] with `path`.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        crate::files::write_atomically(path, self.to_html())
    }
}

/// The classes with the most bags, `most` of them at most, in their order.
pub fn frequent(labels: &[u32], classes: usize, most: usize) -> Vec<usize> {
    let mut counts = vec![0usize; classes];
    labels.iter().filter_map(|&l| counts.get_mut(l as usize).map(|n| *n += 1)).for_each(drop);
    let mut order: Vec<usize> = (0..classes).collect();
    // Stable: of equals the first.
    order.sort_by_key(|&class| std::cmp::Reverse(counts[class]));
    order.truncate(most);
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests;
