//! A bar on stderr that follows training, and a line that follows many.

use super::note;
use bagrad::reproduce::runs::{Told, duration};
use bagrad::training::metrics::{BagScores, Metric};
use bagrad::training::{Epoch, Observer, Settings};
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Watches training and draws a bar, where someone looks on.
pub struct Progress {
    quiet: bool,
    bar: ProgressBar,
    /// What is being run, in front of the bar.
    name: String,
    scores: String,
    /// Bags of an epoch.
    bags: u64,
    /// Bags of the part of this epoch that was done, and when it began.
    epoch: (u64, Instant),
    rate: f64,
    drawn: Instant,
}

const STYLE: &str = "{prefix} [{bar:24}] epoch {msg} · {eta} left";
/// Between two drawings.
const PAUSE: Duration = Duration::from_millis(80);

impl Progress {
    /// True when nothing is to be told.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// A bar that is drawn unless `quiet`, or unless stderr is no terminal.
    pub fn new(quiet: bool, name: impl Into<String>) -> Self {
        let now = Instant::now();
        Self {
            quiet,
            bar: ProgressBar::hidden(),
            name: name.into(),
            scores: String::new(),
            bags: 0,
            epoch: (0, now),
            rate: 0.0,
            drawn: now,
        }
    }

    /// Before training.
    pub fn begin(&mut self, settings: &Settings, bags: usize) {
        if self.quiet {
            return;
        }
        // `ProgressBar::new` draws to stderr, and only to a terminal.
        self.bar = ProgressBar::new(bags as u64 * u64::from(settings.epochs));
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.bar.set_prefix(self.name.clone());
        self.bar.set_message("1");
        (self.epoch, self.bags) = ((0, Instant::now()), bags as u64);
        self.scores.clear();
    }

    /// After training, also after an error: the line is taken away.
    pub fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Follows the runs of a study: on a terminal one line that is drawn anew, else a line for each run.
pub struct Live {
    quiet: bool,
    bar: ProgressBar,
    metric: &'static str,
    /// Of each row the sum of its values and how many there are.
    rows: RefCell<BTreeMap<String, (f64, usize)>>,
}

impl Live {
    /// Of runs that measure `metric`; nothing is drawn if `quiet`.
    pub fn new(quiet: bool, metric: &'static str) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(1) };
        if let Ok(style) = ProgressStyle::with_template("[{bar:24}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { quiet, bar, metric, rows: RefCell::default() }
    }

    /// After a run.
    pub fn tell(&self, told: &Told) {
        let mut rows = self.rows.borrow_mut();
        let row = rows.entry(told.row.clone()).or_default();
        *row = (row.0 + told.value, row.1 + 1);
        if self.bar.is_hidden() {
            return note(self.quiet, &told.line);
        }
        self.bar.set_length(told.done[1] as u64);
        self.bar.set_position(told.done[0] as u64);
        self.bar.set_message(line(told, self.metric, &rows));
    }

    /// The line is taken away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// What is drawn: runs that are over, the row that is best so far, the time that is left.
fn line(told: &Told, metric: &str, rows: &BTreeMap<String, (f64, usize)>) -> String {
    let mean = |&(sum, count): &(f64, usize)| sum / count as f64;
    let best = rows.iter().max_by(|a, b| mean(a.1).total_cmp(&mean(b.1)));
    let best = best.map_or(String::new(), |(row, of)| {
        let name = bagrad::printable::printable(row);
        format!(" · best so far {name}, {metric} {:.3} of {} fits", mean(of), of.1)
    });
    format!("{} of {} fits{best} · {} left", told.done[0], told.done[1], duration(told.left))
}

impl Observer for Progress {
    fn stage(&mut self, method: &str, [number, of]: [usize; 2]) {
        self.bar.set_prefix(format!("{} {number}/{of} ({method})", self.name));
        self.scores.clear();
    }

    fn step(&mut self, progress: &bagrad::training::Progress) {
        self.epoch.0 += progress.bags as u64;
        // Steps can be shorter than drawing a line takes.
        if self.bar.is_hidden() || self.drawn.elapsed() < PAUSE {
            return;
        }
        self.drawn = Instant::now();
        // No epoch is over yet.
        if self.scores.is_empty() {
            self.rate = self.epoch.0 as f64 / self.epoch.1.elapsed().as_secs_f64().max(1e-9);
        }
        // From where the run stands, which may have gone on from a checkpoint.
        let of_epoch = self.bags * progress.step as u64 / progress.steps as u64;
        self.bar.set_position(self.bags * u64::from(progress.epoch) + of_epoch);
        self.bar.set_message(format!("{}{} · {:.0} bags/s", progress.epoch + 1, self.scores, self.rate));
    }

    fn epoch(&mut self, epoch: &Epoch) {
        self.rate = epoch.bags_per_second;
        self.scores = format!(" · loss {:.4}", epoch.loss);
        if let Some(scores) = &epoch.validation {
            let show = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.3}"));
            let told: &[(&str, Metric)] = match scores {
                BagScores::Classes(_) | BagScores::LabelSets(_) => {
                    &[("AUC", Metric::Auc), ("accuracy", Metric::Accuracy)]
                }
                BagScores::Numbers(_) => &[("R²", Metric::R2), ("Spearman", Metric::Spearman)],
                BagScores::Survival(_) => &[("C-index", Metric::CIndex)],
            };
            let told = told.iter().map(|&(name, metric)| format!("{name} {}", show(scores.get(metric))));
            self.scores += &format!(" · validation {}", told.collect::<Vec<_>>().join(" "));
        }
        self.epoch = (0, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_study_has_the_best_mean_so_far() {
        let rows = BTreeMap::from([("a".to_owned(), (1.5, 2)), ("b\u{1b}".to_owned(), (0.8, 1))]);
        let told = Told { done: [3, 12], left: 300.0, ..Told::default() };
        let line = line(&told, "accuracy", &rows);
        assert!(
            line.starts_with("3 of 12 fits · best so far b") && line.ends_with("accuracy 0.800 of 1 fits · 5 min left")
        );
        assert!(!line.contains('\u{1b}'));
        // Nobody looks on: a line for each run, and no bar.
        let live = Live::new(true, "accuracy");
        live.tell(&told);
        live.end();
    }
}
