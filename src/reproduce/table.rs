//! Means and spreads beside the published figures, as markdown and JSON.

use super::runs::{Line, Runs, duration};
use super::{Experiment, Grid, Metrics, Published};
use serde::{Deserialize, Serialize};

/// The result of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Name of the experiment.
    pub experiment: String,
    /// Its heading.
    pub title: String,
    /// Where it was published.
    pub paper: String,
    /// How it was run.
    pub protocol: String,
    /// What computes it again.
    pub command: String,
    /// Version of the program.
    pub version: String,
    /// What it ran on.
    pub machine: String,
    /// Day of the last run, in UTC.
    pub date: String,
    /// Wall time of all runs.
    pub seconds: f64,
    /// The metric shown.
    pub metric: String,
    /// What rows and columns are.
    pub axes: [String; 2],
    /// Cells with at least one run.
    pub cells: Vec<Summary>,
}

/// The runs of one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of its row.
    pub row: String,
    /// Name of its column.
    pub column: String,
    /// Runs, one a seed.
    pub seeds: usize,
    /// Mean of the metric.
    pub mean: f64,
    /// Its standard deviation over the seeds (n - 1); of two or more.
    pub spread: Option<f64>,
    /// What was published.
    pub published: Option<Published>,
    /// Means of all metrics.
    pub metrics: Metrics,
    /// Mean wall time of a run.
    pub seconds: f64,
}

/// Where a mean stands to what was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// At least as good.
    Reached,
    /// Below, by no more than the spread.
    Within,
    /// Below by more than the spread.
    Short,
}

impl Summary {
    fn new(row: &str, column: &str, metric: &str, published: Option<&Published>, lines: &[&Line]) -> Self {
        let mean = |of: &dyn Fn(&Line) -> f64| lines.iter().map(|l| of(l)).sum::<f64>() / lines.len() as f64;
        let value = |l: &Line| l.metrics[metric];
        let middle = mean(&value);
        let squares: f64 = lines.iter().map(|l| (value(l) - middle).powi(2)).sum();
        let everywhere = |name: &&String| lines.iter().all(|l| l.metrics.contains_key(*name));
        let names = lines[0].metrics.keys().filter(everywhere);
        Self {
            row: row.into(),
            column: column.into(),
            seeds: lines.len(),
            mean: rounded(middle),
            spread: (lines.len() > 1).then(|| rounded((squares / (lines.len() - 1) as f64).sqrt())),
            published: published.cloned(),
            metrics: names.map(|name| (name.clone(), rounded(mean(&|l: &Line| l.metrics[name])))).collect(),
            seconds: rounded(mean(&|l: &Line| l.seconds)),
        }
    }

    /// Against what was published, where anything was. The spread is the published one, else that over our seeds.
    pub fn verdict(&self) -> Option<Verdict> {
        let published = self.published.as_ref()?;
        let spread = published.spread.or(self.spread).unwrap_or(0.0);
        Some(match self.mean - published.value {
            d if d >= 0.0 => Verdict::Reached,
            // Figures have three digits: a difference of exactly the spread is one.
            d if d >= -spread - 1e-9 => Verdict::Within,
            _ => Verdict::Short,
        })
    }
}

/// Six digits after the point: files stay readable, and no table shows more.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

impl Table {
    /// The table of what has been run of `grid`; `None` when nothing has.
    pub fn new(
        experiment: &Experiment,
        grid: &Grid,
        runs: &Runs,
        seeds: u64,
        device: &str,
        command: String,
    ) -> Option<Self> {
        let cells: Vec<_> = grid.cells.iter().map(|cell| (cell, runs.of(cell, seeds, device))).collect();
        let lines = || cells.iter().flat_map(|(_, lines)| lines.iter().copied());
        let last = lines().max_by(|a, b| a.date.cmp(&b.date))?;
        let summaries = cells.iter().filter(|(_, lines)| !lines.is_empty());
        Some(Self {
            experiment: experiment.name.into(),
            title: experiment.title.into(),
            paper: experiment.paper.into(),
            protocol: experiment.protocol.into(),
            command,
            version: env!("CARGO_PKG_VERSION").into(),
            machine: last.machine.clone(),
            date: last.date.clone(),
            seconds: rounded(lines().map(|l| l.seconds).sum()),
            metric: grid.metric.into(),
            axes: grid.axes.map(String::from),
            cells: summaries
                .map(|(c, lines)| Summary::new(&c.row, &c.column, grid.metric, c.published.as_ref(), lines))
                .collect(),
        })
    }

    /// The table as a page.
    pub fn markdown(&self) -> String {
        let metric = match self.metric.as_str() {
            "auc" => "AUC",
            other => other,
        };
        let [row, column] = &self.axes;
        let mut page = format!(
            "# {}\n\n{}.\n\n    {}\n\nbagrad {} on {}, {}; {} of computing.\n\n{}\n\n",
            self.title,
            self.paper,
            self.command,
            self.version,
            self.machine,
            self.date,
            duration(self.seconds),
            self.protocol
        );
        let compared = self.cells.iter().any(|c| c.published.is_some());
        let mut line = |cells: &[&str], comparison: &[&str], seconds: &str| {
            let middle = if compared { comparison } else { &[] };
            page += &format!("| {} | {seconds} |\n", [cells, middle].concat().join(" | "));
        };
        line(&[row, column, metric, "seeds"], &["published", "difference", ""], "a run");
        line(&["---"; 4], &["---"; 3], "---");
        for cell in &self.cells {
            let (mut published, mut difference) = (String::new(), String::new());
            if let Some(p) = &cell.published {
                published = format!("{}{}", with_spread(p.value, p.spread), self.mark(&p.source));
                difference = format!("{:+.3}", cell.mean - p.value);
            }
            let verdict = match cell.verdict() {
                None => "",
                Some(Verdict::Reached) => "reached",
                Some(Verdict::Within) => "within the spread",
                Some(Verdict::Short) => "**short**",
            };
            let (ours, seeds) = (with_spread(cell.mean, cell.spread), cell.seeds.to_string());
            let comparison = [&published[..], &difference, verdict];
            line(&[&cell.row, &cell.column, &ours, &seeds], &comparison, &format!("{:.1} s", cell.seconds));
        }
        page += "\nMean ± standard deviation over the seeds.";
        if compared {
            page += " **short**: below the published figure by more than its spread, or, where it has none, than the \
                     spread over our seeds.";
        }
        page += "\n";
        for (number, source) in self.sources().iter().enumerate() {
            page += &format!("\n[{}] {source}\n", number + 1);
        }
        page
    }

    /// Where published figures stand, each once.
    fn sources(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for p in self.cells.iter().filter_map(|c| c.published.as_ref()) {
            if !all.contains(&p.source.as_str()) {
                all.push(&p.source);
            }
        }
        all
    }

    fn mark(&self, source: &str) -> String {
        self.sources().iter().position(|s| *s == source).map_or(String::new(), |at| format!(" [{}]", at + 1))
    }
}

fn with_spread(mean: f64, spread: Option<f64>) -> String {
    spread.map_or(format!("{mean:.3}"), |s| format!("{mean:.3} ± {s:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn line(auc: f64) -> Line {
        let metrics = BTreeMap::from([("auc".to_owned(), auc)]);
        Line {
            key: 0.into(),
            metrics,
            bags: Vec::new(),
            tried: Vec::new(),
            seconds: 2.0,
            machine: "m".into(),
            date: "2026-01-02".into(),
        }
    }

    fn summary(values: &[f64], published: Option<Published>) -> Summary {
        let lines: Vec<Line> = values.iter().map(|&v| line(v)).collect();
        Summary::new("r", "c", "auc", published.as_ref(), &lines.iter().collect::<Vec<_>>())
    }

    #[test]
    fn verdicts_follow_the_spread() {
        let cell = summary(&[0.8, 0.9], None);
        assert_eq!((cell.mean, cell.spread, cell.verdict()), (0.85, Some(0.070711), None));
        let verdict = |values: &[f64], value, spread| summary(values, Published::new(value, spread, "s")).verdict();
        assert_eq!(verdict(&[0.8, 0.9], 0.85, None), Some(Verdict::Reached));
        assert_eq!(verdict(&[0.8, 0.9], 0.9, None), Some(Verdict::Within), "the spread over the seeds");
        assert_eq!(verdict(&[0.945], 0.958, Some(0.013)), Some(Verdict::Within), "exactly the spread");
        assert_eq!(verdict(&[0.8, 0.9], 0.9, Some(0.01)), Some(Verdict::Short), "the published spread");
        assert_eq!(verdict(&[0.8, 0.9], 0.93, None), Some(Verdict::Short));
        assert_eq!(verdict(&[0.8], 0.81, None), Some(Verdict::Short), "one seed has no spread");
    }

    #[test]
    fn the_page_has_a_line_for_each_cell_and_survives_json() {
        let table = Table {
            experiment: "e".into(),
            title: "Title".into(),
            paper: "A paper".into(),
            protocol: "As they did.".into(),
            command: "bagrad reproduce e".into(),
            version: "1".into(),
            machine: "m".into(),
            date: "2026-01-02".into(),
            seconds: 8.0,
            metric: "auc".into(),
            axes: ["method".into(), "bags".into()],
            cells: vec![summary(&[0.8, 0.9], Published::new(0.95, 0.02, "A paper, table 2")), summary(&[0.5], None)],
        };
        let page = table.markdown();
        assert!(
            page.contains("| r | c | 0.850 ± 0.071 | 2 | 0.950 ± 0.020 [1] | -0.100 | **short** | 2.0 s |"),
            "{page}"
        );
        assert!(page.contains("| r | c | 0.500 | 1 |  |  |  | 2.0 s |"), "{page}");
        let alone = Table { cells: vec![summary(&[0.5], None)], ..table.clone() }.markdown();
        assert!(alone.contains("| r | c | 0.500 | 1 | 2.0 s |\n\nMean") && !alone.contains("published"), "{alone}");
        assert!(page.ends_with("\n[1] A paper, table 2\n"), "{page}");
        let again: Table = serde_json::from_str(&serde_json::to_string(&table).unwrap()).unwrap();
        assert_eq!((again.markdown(), again), (page, table));
    }
}
