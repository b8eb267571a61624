//! What was predicted for bags with a known class: histogram by class, ROC curve, calibration, confusion matrix.

use super::Predictions;
use super::charts::{band, bars, line};
use super::html::escape;
use super::svg::{Axis, COLOURS, axes, axis_along, figure, open, px};
use crate::metrics::{BINS as RANGES, Confusion, auc, calibration, predictions, roc_band, roc_curve, share_interval};
use std::fmt::Write;

const BINS: usize = 20;
/// Samples of the band about the ROC curve.
const RESAMPLES: usize = 1000;
/// Classes of the matrix, at most; the others share a row and a column.
const MATRIX: usize = 24;

impl Predictions {
    fn columns(&self) -> usize {
        self.probabilities.len().checked_div(self.labels.len()).unwrap_or(0)
    }

    fn classes(&self) -> usize {
        self.columns().max(2)
    }

    fn name(&self, class: usize) -> String {
        self.class_names.get(class).cloned().unwrap_or_else(|| class.to_string())
    }

    /// The probabilities of `class` over all bags.
    fn column(&self, class: usize) -> Vec<f32> {
        let columns = self.columns();
        let column = if columns == 1 { 0 } else { class };
        self.probabilities.iter().skip(column).step_by(columns).copied().collect()
    }

    /// The classes to show where there is room for `most`: those with the most bags, in their order.
    fn shown(&self, most: usize) -> Vec<usize> {
        super::frequent(&self.labels, self.classes(), most)
    }

    /// What to add to a title that leaves classes out.
    fn of_classes(&self, shown: usize) -> String {
        match self.classes() {
            all if all > shown => format!(", the {shown} most frequent of {all} classes"),
            _ => String::new(),
        }
    }

    /// What the bags are called.
    fn told(&self) -> &str {
        if self.told.is_empty() { "bags" } else { &self.told }
    }

    /// The group of each bag; without any each bag is one.
    fn by_group(&self) -> Vec<String> {
        match self.groups.len() == self.labels.len() {
            true => self.groups.clone(),
            false => (0..self.labels.len()).map(|bag| bag.to_string()).collect(),
        }
    }

    fn usable(&self) -> bool {
        let columns = self.columns();
        columns > 0
            && self.probabilities.len() == columns * self.labels.len()
            && self.labels.iter().all(|&l| (l as usize) < self.classes())
            && self.probabilities.iter().all(|p| p.is_finite())
    }
}

/// The charts and the table, or nothing when the data does not fit together.
pub(super) fn section(data: &Predictions) -> String {
    if !data.usable() {
        return String::new();
    }
    [histogram(data), roc(data), reliability(data), confusion(data)].concat()
}

/// One row of bars for each true class on a common scale. Two classes are shown by the probability of class
/// 1, so that a good model has its rows at opposite ends; more by the probability of the true class.
fn histogram(data: &Predictions) -> String {
    let binary = data.classes() == 2;
    let classes = data.shown(COLOURS);
    let shown = classes.len();
    let mut counts = vec![[0usize; BINS]; shown];
    for (&class, bins) in classes.iter().zip(&mut counts) {
        let values = data.column(if binary { 1 } else { class });
        for (value, _) in values.iter().zip(&data.labels).filter(|&(_, &l)| l as usize == class) {
            bins[((value * BINS as f32) as usize).min(BINS - 1)] += 1;
        }
    }
    let most = counts.iter().flatten().copied().max().unwrap_or(0).max(1);
    let (left, right, bottom) = (48.0, 348.0, 262.0);
    let x = Axis::exact(0.0, 1.0, 5, (left, right));
    let height = (bottom - 8.0) / shown as f64;
    let mut svg = open(360, 300, "Predicted probability of the bags of each class");
    for (class, bins) in counts.iter().enumerate() {
        let base = bottom - height * (shown - 1 - class) as f64;
        let y = Axis::exact(0.0, most as f64, 2, (base, base - height + 20.0));
        for (bin, &count) in bins.iter().enumerate().filter(|&(_, &count)| count > 0) {
            let (start, end) = (x.at(bin as f64 / BINS as f64), x.at((bin + 1) as f64 / BINS as f64));
            let top = y.at(count as f64);
            let _ = write!(
                svg,
                r#"<rect class="f{class}" x="{}" y="{}" width="{}" height="{}"><title>{count}</title></rect>"#,
                px(start + 1.0),
                px(top),
                px(end - start - 2.0),
                px(base - top)
            );
        }
        let (base, top) = (px(base), px(y.at(most as f64)));
        let _ = write!(svg, r#"<line class="axis" x1="{left}" y1="{base}" x2="{right}" y2="{base}"/>"#);
        let _ = write!(svg, r#"<line class="axis" x1="{left}" y1="{base}" x2="{left}" y2="{top}"/>"#);
        for (value, at) in [(0, base), (most, top)] {
            let at = px(at + 3.5);
            let _ = write!(svg, r#"<text class="tick" x="42" y="{at}" text-anchor="end">{value}</text>"#);
        }
    }
    svg += r#"<text class="name" x="4" y="14">bags</text>"#;
    if binary {
        let half = px(x.at(0.5));
        let _ = write!(svg, r#"<line class="marker" x1="{half}" y1="20" x2="{half}" y2="{bottom}"/>"#);
    }
    let of = if binary { data.name(1) } else { "the true class".into() };
    svg += &axis_along(&x, bottom, &format!("predicted probability of {of}"));
    svg += "</svg>";
    let names: Vec<String> = classes.iter().map(|&c| data.name(c)).collect();
    let told = data.told();
    let title =
        format!("{}{} by predicted probability{}", told[..1].to_uppercase(), &told[1..], data.of_classes(shown));
    figure(&title, &names, &svg)
}

fn roc(data: &Predictions) -> String {
    let binary = data.classes() == 2;
    let classes = if binary { vec![1] } else { data.shown(COLOURS) };
    let told = if binary { String::new() } else { data.of_classes(classes.len()) };
    let (mut names, mut lines) = (Vec::new(), Vec::new());
    for class in classes {
        let positive: Vec<bool> = data.labels.iter().map(|&l| l as usize == class).collect();
        let scores = data.column(class);
        if let (Some(area), Some(curve)) = (auc(&scores, &positive), roc_curve(&scores, &positive)) {
            names.push(format!("{} (AUC {area:.3})", data.name(class)));
            lines.push(curve);
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    let (mut svg, [x, y]) = square("ROC curve", "false positive rate", "true positive rate");
    let mut title = format!("ROC curve of the {}{told}", data.told());
    // Areas of several classes would lie on each other.
    if binary {
        let positive: Vec<bool> = data.labels.iter().map(|&l| l == 1).collect();
        if let Some(intervals) = roc_band(&data.column(1), &positive, &data.by_group(), RESAMPLES, 1) {
            title += ", with 95 % intervals of each rate";
            band(&mut svg, &intervals, 0, (&x, &y));
        }
    }
    for (i, curve) in lines.iter().enumerate() {
        line(&mut svg, curve, i, false, (&x, &y));
    }
    svg += "</svg>";
    figure(&title, &names, &svg)
}

/// A picture of two shares, 0 to 1 each way, with the line on which both are the same.
fn square(name: &str, along: &str, up: &str) -> (String, [Axis; 2]) {
    let (x, y) = (Axis::exact(0.0, 1.0, 5, (74.0, 314.0)), Axis::exact(0.0, 1.0, 5, (262.0, 22.0)));
    let mut svg = open(360, 300, name);
    svg += &axes(&x, &y, along, up);
    svg += r#"<line class="marker" x1="74" y1="262" x2="314" y2="22"/>"#;
    (svg, [x, y])
}

/// What probabilities came true, in ranges, with Wilson's intervals, which take bags for independent.
fn reliability(data: &Predictions) -> String {
    let Some(found) = calibration(&data.probabilities, data.columns(), &data.labels, RANGES) else {
        return String::new();
    };
    let (mut svg, [x, y]) = square("Calibration", "probability that was said", "share that it came true of");
    let interval = |bin: &crate::metrics::Bin| {
        let [low, high] = share_interval(bin.found * bin.bags as f64, bin.bags)?;
        Some([bin.said, low, high])
    };
    bars(&mut svg, &found.bins.iter().filter_map(interval).collect::<Vec<_>>(), 0, (&x, &y));
    let points: Vec<(f64, f64)> = found.bins.iter().map(|bin| (bin.said, bin.found)).collect();
    line(&mut svg, &points, 0, true, (&x, &y));
    svg += "</svg>";
    let of = match data.classes() {
        2 => format!("probability of {}", data.name(1)),
        _ => "probability of the predicted class".to_owned(),
    };
    let name = format!("{of} (expected calibration error {:.3})", found.error);
    figure(&format!("Calibration on the {}", data.told()), &[name], &svg)
}

fn confusion(data: &Predictions) -> String {
    let shown = data.shown(MATRIX);
    let others = data.classes() > shown.len();
    // Classes that are not shown are counted as one more, behind the last.
    let mut place = vec![shown.len() as u32; data.classes()];
    shown.iter().enumerate().for_each(|(at, &class)| place[class] = at as u32);
    let placed = |classes: &[u32]| classes.iter().map(|&c| place[c as usize]).collect::<Vec<_>>();
    let classes = shown.len() + usize::from(others);
    let decided = predictions(&data.probabilities, data.columns());
    let Ok(counts) = Confusion::new(&placed(&decided), &placed(&data.labels), classes) else { return String::new() };
    let name = |at: usize| shown.get(at).map_or_else(|| "all others".to_owned(), |&class| data.name(class));
    let title = format!("Confusion matrix{}", data.of_classes(shown.len()));
    let mut out = format!(r#"<figure class="chart"><figcaption>{}</figcaption>"#, escape(&title));
    out += r#"<div class="scroll"><table class="matrix"><thead><tr><th>true \ predicted</th>"#;
    for class in 0..classes {
        let _ = write!(out, "<th>{}</th>", escape(&name(class)));
    }
    out += "</tr></thead><tbody>";
    for truth in 0..classes {
        let _ = write!(out, "<tr><th>{}</th>", escape(&name(truth)));
        for predicted in 0..classes {
            let count = counts.get(truth, predicted);
            let share = count as f64 / counts.of_class(truth).max(1) as f64;
            let kind = if truth == predicted && truth < shown.len() { "right" } else { "wrong" };
            let _ = write!(out, r#"<td class="{kind}"><i style="opacity:{:.2}"></i><b>{count}</b></td>"#, share * 0.45);
        }
        out += "</tr>";
    }
    out + "</tbody></table></div></figure>"
}
