//! Finished runs: a line each in a file, so that what was interrupted goes on where it stood.

use super::joined::Joined;
use super::{Cell, Found, Grid, Metrics, Predicted, Task, Tried};
use crate::device::Device;
use crate::fingerprint::Fingerprint;
use crate::fit::{Every, Shelf};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One run that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What told it apart: settings, seed, device, version of the program.
    pub key: Value,
    /// What it measured.
    pub metrics: Metrics,
    /// What it said of bags that it had not seen, where that is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bags: Vec<Predicted>,
    /// The settings that it chose among, where there were several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
    /// Wall time, data included.
    pub seconds: f64,
    /// What it ran on.
    pub machine: String,
    /// Day, in UTC.
    pub date: String,
}

/// What tells a run of `cell` apart.
fn key(cell: &Cell, seed: u64, device: &str) -> Value {
    json!({ "settings": cell.settings, "seed": seed, "device": device, "version": env!("CARGO_PKG_VERSION") })
}

/// What is told after each run that is over.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// A line for people.
    pub line: String,
    /// Runs that are over, and how many there are to do.
    pub done: [usize; 2],
    /// Seconds that the others take at the pace so far.
    pub left: f64,
    /// The row of the run, and what it measured.
    pub row: String,
    /// Its metric.
    pub value: f64,
}

/// The file of finished runs.
pub struct Runs {
    path: PathBuf,
    lines: Vec<Line>,
    /// Those of other files.
    others: Vec<Line>,
    /// Only every so-many-th run is this one's to do: its number from 0, and how many share the work.
    share: Option<[usize; 2]>,
    /// How the trainings of a run stand until it is over.
    shelf: Option<Shelf>,
    /// The folder for the models that runs end with.
    models: Option<PathBuf>,
    /// Which of them are in files of several.
    joined: Joined,
}

impl Runs {
    /// Reads `path`; no file means no runs yet. A last line that was cut short by an interruption is no run.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is not a run (with its number).
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let (lines, _) = read(&path)?;
        Ok(Self { path, lines, others: Vec::new(), share: None, shelf: None, models: None, joined: Joined::default() })
    }

    /// The same, of which only the runs number `part`, `part` + `of`, .. are done, and which knows of those that others did,
    /// whose files are `known`. Those are only read.
    ///
    /// # Errors
    /// As [`Runs::open`].
    pub fn shared(mut self, share: Option<[usize; 2]>, known: &[PathBuf]) -> Result<Self> {
        for path in known.iter().filter(|path| **path != self.path) {
            self.others.extend(read(path)?.0);
        }
        Ok(Self { share, ..self })
    }

    /// The same, whose trainings write down so often how they stand, beside the file, until their run is over.
    pub fn with_checkpoints(self, every: Every) -> Self {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let shelf = Some(Shelf::new(folder, name, every));
        Self { shelf, ..self }
    }

    /// The same, which keeps the model of each run that ends with one, in this folder or in a file of several beside it:
    /// without it a run is not over.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn with_models(self, folder: PathBuf) -> Result<Self> {
        Ok(Self { joined: Joined::open(&folder)?, models: Some(folder), ..self })
    }

    /// The file that the run of `cell` with `seed` writes its model to, where such are kept and it ends with one.
    pub fn model(&self, cell: &Cell, seed: u64, device: &str) -> Option<PathBuf> {
        let (folder, name) = (self.models.as_ref()?, self.model_name(cell, seed, device)?);
        Some(folder.join(name + ".safetensors"))
    }

    /// What its model is called among those that are kept.
    pub fn model_name(&self, cell: &Cell, seed: u64, device: &str) -> Option<String> {
        (self.models.is_some() && cell.ends_with_a_model).then(|| part(cell, seed, device))
    }

    /// The models that are kept.
    pub fn joined(&mut self) -> &mut Joined {
        &mut self.joined
    }

    /// True when nothing of a run is left to do.
    fn is_over(&self, cell: &Cell, seed: u64, device: &str) -> bool {
        let kept = self.model_name(cell, seed, device).is_none_or(|name| self.joined.has(&name));
        self.get(cell, seed, device).is_some() && kept
    }

    /// The finished run of `cell` with `seed` on the device called `device`.
    pub fn get(&self, cell: &Cell, seed: u64, device: &str) -> Option<&Line> {
        let key = key(cell, seed, device);
        self.lines.iter().rev().chain(&self.others).find(|line| line.key == key)
    }

    /// The finished runs of `cell` with seeds 1 to `seeds`.
    pub fn of(&self, cell: &Cell, seeds: u64, device: &str) -> Vec<&Line> {
        (1..=seeds).filter_map(|seed| self.get(cell, seed, device)).collect()
    }

    fn add(&mut self, file: &mut File, line: Line) -> Result<()> {
        let text = serde_json::to_string(&line)? + "\n";
        file.write_all(text.as_bytes()).with_context(|| self.path.display().to_string())?;
        self.lines.push(line);
        Ok(())
    }

    /// The file, to which no other process writes meanwhile, with what it has by now.
    fn lock(&mut self) -> Result<File> {
        let path = self.path.display().to_string();
        let file = OpenOptions::new().create(true).append(true).open(&self.path).with_context(|| path.clone())?;
        // Not every file system can lock; there two processes do the same runs twice.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            bail!("{path}: another process does these runs; share them with --shard, or choose another folder");
        }
        let (lines, whole) = read(&self.path)?;
        if file.metadata().with_context(|| path.clone())?.len() > whole {
            file.set_len(whole).with_context(|| path.clone())?;
        }
        self.lines = lines;
        Ok(file)
    }

    /// Adds a run that is over, or tells how it failed.
    fn keep(
        &mut self,
        over: Over,
        metric: &str,
        device: &Device,
        (file, say): (&mut File, impl Fn(String, &str, f64)),
    ) -> Result<()> {
        let Over { cell, seed, found, seconds, shelf } = over;
        let what = || format!("{}, {}, seed {seed}", cell.row, cell.column);
        let Found { metrics, bags, tried } = found.with_context(what)?;
        let Some(&value) = metrics.get(metric) else { bail!("{}: the run has no {metric}", what()) };
        say(format!("{}: {metric} {value:.3} ({seconds:.1} s", what()), &cell.row, value);
        // Else its model alone was missing.
        if self.get(cell, seed, device.name()).is_none() {
            let key = key(cell, seed, device.name());
            self.add(file, Line { key, metrics, bags, tried, seconds, machine: device.description(), date: today() })?;
        }
        Ok(shelf.as_ref().map_or(Ok(()), Shelf::clear)?)
    }

    /// Does the runs of `grid` with seeds 1 to `seeds` that are not there yet, `jobs` of them side by side, all cells with one
    /// seed before those of the next, column by column, and tells of each to `say`. Returns how many were done and how many
    /// were there.
    ///
    /// Results do not depend on `jobs`. On the host each of several runs has its share of the cores.
    ///
    /// # Errors
    /// Of a run that fails, with its cell and seed, once those beside it are over; what is over is kept.
    pub fn complete(
        &mut self,
        grid: &Grid,
        seeds: u64,
        device: &Device,
        jobs: usize,
        say: &dyn Fn(&Told),
    ) -> Result<[usize; 2]> {
        let mut file = self.lock()?;
        // Cells of one row may be measures of one run: with columns outside, runs side by side are others.
        let mut cells: Vec<&Cell> = grid.cells.iter().collect();
        cells.sort_by_key(|cell| grid.cells.iter().position(|other| other.column == cell.column));
        let all: Vec<_> = (1..=seeds).flat_map(|seed| cells.iter().map(move |&cell| (cell, seed))).collect();
        let own = |at: usize| self.share.is_none_or(|[part, of]| at % of == part);
        let all: Vec<_> = all.into_iter().enumerate().filter(|(at, _)| own(*at)).map(|(_, run)| run).collect();
        let missing = all.iter().filter(|(cell, seed)| !self.is_over(cell, *seed, device.name()));
        let missing: Vec<_> =
            missing.map(|&(cell, seed)| (cell, seed, self.model(cell, seed, device.name()))).collect();
        let jobs = jobs.clamp(1, missing.len().max(1));
        let threads = (rayon::current_num_threads() / jobs).max(1);
        let (next, shelf, begun) = (AtomicUsize::new(0), self.shelf.clone(), Instant::now());
        let work = |over: mpsc::Sender<_>| -> Result<()> {
            // Threads of its own: while one waits for others, it takes up no other run.
            let pool =
                if jobs > 1 { Some(rayon::ThreadPoolBuilder::new().num_threads(threads).build()?) } else { None };
            while let Some((cell, seed, model)) = missing.get(next.fetch_add(1, Ordering::SeqCst)) {
                let (seed, model) = (*seed, model.as_deref());
                let clock = Instant::now();
                let shelf = shelf.as_ref().map(|shelf| shelf.part(&part(cell, seed, device.name())));
                let run = || (cell.run)(&Task { device, seed, shelf: shelf.as_ref(), model });
                let found = pool.as_ref().map_or_else(run, |pool| pool.install(run));
                if found.is_err() {
                    // No other run begins.
                    next.store(missing.len(), Ordering::SeqCst);
                }
                // Nobody listens any more after an error.
                let _ = over.send(Over { cell, seed, found, seconds: clock.elapsed().as_secs_f64(), shelf });
            }
            Ok(())
        };
        std::thread::scope(|scope| -> Result<()> {
            let (send, over) = mpsc::channel();
            let workers: Vec<_> = (0..jobs)
                .map(|_| {
                    let (work, send) = (&work, send.clone());
                    scope.spawn(move || work(send))
                })
                .collect();
            drop(send);
            let mut failed = Ok(());
            for (done, over) in over.iter().enumerate() {
                let left = begun.elapsed().as_secs_f64() / (done + 1) as f64 * (missing.len() - done - 1) as f64;
                let done = [done + 1, missing.len()];
                let told = |told: String, row: &str, value: f64| {
                    let line = format!("[{}/{}] {told}; {} left)", done[0], done[1], duration(left));
                    say(&Told { line, done, left, row: row.to_owned(), value });
                };
                let kept = self.keep(over, grid.metric, device, (&mut file, told));
                if kept.is_err() {
                    next.store(missing.len(), Ordering::SeqCst);
                    failed = failed.and(kept);
                }
            }
            workers.into_iter().try_for_each(|worker| worker.join().expect("runs return errors"))?;
            failed
        })?;
        // A process may have been killed between the line of a run and the end of its checkpoints.
        self.shelf.as_ref().map_or(Ok(()), Shelf::clear)?;
        Ok([missing.len(), all.len() - missing.len()])
    }
}

/// The lines of a file, and the bytes that they have: what is behind them was cut short.
fn read(path: &Path) -> Result<(Vec<Line>, u64)> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(e).with_context(|| path.display().to_string()),
    };
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let line = |(number, line)| {
        serde_json::from_str(line).with_context(|| format!("{}: line {} is no run", path.display(), number + 1))
    };
    Ok((text[..whole].lines().enumerate().map(line).collect::<Result<_>>()?, whole as u64))
}

/// A run that is over.
struct Over<'a> {
    cell: &'a Cell,
    seed: u64,
    found: Result<Found>,
    seconds: f64,
    /// Where its trainings kept how they stood.
    shelf: Option<Shelf>,
}

/// What tells a run apart, as a part of a file's name.
fn part(cell: &Cell, seed: u64, device: &str) -> String {
    Fingerprint::default().text(&key(cell, seed, device).to_string()).to_string()
}

/// Where the runs of an experiment are kept.
pub fn file(out: &Path, name: &str) -> PathBuf {
    out.join(format!("{name}.runs.jsonl"))
}

/// Seconds as people read them.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 99.5 => format!("{s:.0} s"),
        s if s < 5970.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// The day in UTC, as year-month-day.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    day(seconds / 86_400)
}

/// The day that is `days` after 1970-01-01.
fn day(days: u64) -> String {
    let (mut year, mut left) = (1970, days);
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    fn grid(factor: f64) -> Grid {
        let mut grid = Grid::new("auc", ["method", "bags"]);
        // Numbers that a careless way through text would change.
        let settings = json!({ "factor": factor, "decay": [1e-4f32, 0.01f32, 0.005f32], "rate": 2e-4 / 3.0 });
        grid.cell(["m", "5"], settings, None, move |task| {
            Ok(Metrics::from([("auc".to_owned(), factor * task.seed as f64)]))
        });
        grid
    }

    #[test]
    fn runs_side_by_side_are_those_of_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let device = Device::host();
        let failed = Arc::new(AtomicBool::new(false));
        let grid = || {
            let mut grid = Grid::new("auc", ["method", "bags"]);
            for (row, column) in [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")] {
                let settings = json!([row, column]);
                let of = format!("{row}{column}");
                let failed = failed.clone();
                grid.cell([row, column], settings, None, move |task| {
                    if of == "b1" && task.seed == 3 {
                        failed.store(true, Ordering::SeqCst);
                        bail!("it was to fail");
                    }
                    // Runs after the failure take long enough for it to be heard of.
                    let pause = if failed.load(Ordering::SeqCst) { 20 } else { 0 };
                    std::thread::sleep(Duration::from_millis(pause));
                    Ok(Metrics::from([("auc".to_owned(), of.len() as f64 + task.seed as f64)]))
                });
            }
            grid
        };
        let complete = |name: &str, jobs: usize, seeds: u64| {
            let mut runs = Runs::open(file(dir.path(), name)).unwrap().with_checkpoints(Every::Updates(1));
            let done = runs.complete(&grid(), seeds, &device, jobs, &|_| ());
            let mut lines: Vec<String> = runs.lines.iter().map(|l| json!([l.key, l.metrics]).to_string()).collect();
            lines.sort();
            (done.map_err(|e| format!("{e:#}")), lines)
        };
        assert_eq!(complete("one", 1, 2), complete("three", 3, 2));
        assert_eq!(complete("three", 3, 2).0, Ok([0, 8]));
        let (failed, lines) = complete("three", 3, 100);
        assert_eq!(failed, Err("b, 1, seed 3: it was to fail".into()));
        // What went on beside it is kept, and little of the 400 begins after it.
        assert!((9..=300).contains(&lines.len()), "{}", lines.len());
    }

    #[test]
    fn a_rerun_does_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "e");
        let device = Device::host();
        let complete = |factor, seeds| {
            let mut runs = Runs::open(&path).unwrap();
            let counts = runs.complete(&grid(factor), seeds, &device, 1, &|_| ()).unwrap();
            let values: Vec<f64> =
                runs.of(&grid(factor).cells[0], seeds, device.name()).iter().map(|l| l.metrics["auc"]).collect();
            (counts, values)
        };
        assert_eq!(complete(0.5, 2), ([2, 0], vec![0.5, 1.0]));
        assert_eq!(complete(0.5, 3), ([1, 2], vec![0.5, 1.0, 1.5]));
        assert_eq!(complete(0.25, 1), ([1, 0], vec![0.25]), "other settings are another run");
        // A line that was cut short is done again.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        assert_eq!(complete(0.25, 1), ([1, 0], vec![0.25]));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4);
        assert!(Runs::open(&path).unwrap().of(&grid(0.5).cells[0], 3, "gpu:0").is_empty(), "another device");
        std::fs::write(&path, "{}\n").unwrap();
        assert!(Runs::open(&path).err().unwrap().to_string().contains("line 1 is no run"));
    }

    #[test]
    fn a_run_without_the_metric_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut runs = Runs::open(file(dir.path(), "e")).unwrap();
        let grid = Grid { metric: "accuracy", ..grid(1.0) };
        let message = runs.complete(&grid, 1, &Device::host(), 1, &|_| ()).unwrap_err().to_string();
        assert_eq!(message, "m, 5, seed 1: the run has no accuracy");
    }

    #[test]
    fn days_have_dates() {
        assert_eq!(
            [0, 58, 59, 364, 365].map(day),
            ["1970-01-01", "1970-02-28", "1970-03-01", "1970-12-31", "1971-01-01"]
        );
        assert_eq!([11_016, 11_017, 20_778].map(day), ["2000-02-29", "2000-03-01", "2026-11-21"]);
        assert_eq!([5.0, 300.0, 7200.0].map(duration), ["5 s", "5 min", "2.0 h"]);
    }
}
