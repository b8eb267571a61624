//! A bar on stderr that follows training.

use bagrad::training::metrics::Metric;
use bagrad::training::{Epoch, Observer, Settings};
use indicatif::{ProgressBar, ProgressStyle};
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
            self.scores += &format!(
                " · validation AUC {} accuracy {}",
                show(scores.get(Metric::Auc)),
                show(scores.get(Metric::Accuracy))
            );
        }
        self.epoch = (0, Instant::now());
    }
}
