//! The file of a run of the benchmark: single samples of every case, and all that decides them.

use super::kernels::{Ceilings, Rounds};
use super::median;
use crate::device::Device;
use crate::device::facts::Facts;
use crate::device::list::HostReport;
use crate::error::{Error, Result};
use crate::files::BENCHMARK;
use crate::fingerprint::Fingerprint;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One kernel over one size, with all its samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// The kernel, or the entry point of a shader from outside.
    pub kernel: String,
    /// What it was compiled with.
    pub variant: String,
    /// Sizes it ran over.
    pub shape: String,
    /// Operations of one run; 0 where nobody said.
    pub flops: u64,
    /// Bytes read and written once in one run; 0 where nobody said.
    pub bytes: u64,
    /// Microseconds of the first run of each round, which warms up and counts in nothing.
    pub warm_up_us: Vec<f64>,
    /// Microseconds, a list for each round.
    pub samples_us: Vec<Vec<f64>>,
    /// The middle of the middles of the rounds.
    pub median_us: f64,
    /// The fastest sample.
    pub min_us: f64,
    /// How much slower the last third of the rounds was than the first, as a share; `None` with fewer than three rounds.
    pub drift: Option<f64>,
    /// Samples further than five times the median deviation above the middle of their round.
    pub outliers: usize,
}

impl Timed {
    /// Adds a round.
    pub fn push(&mut self, first_us: f64, samples_us: Vec<f64>) {
        self.warm_up_us.push(first_us);
        self.samples_us.push(samples_us);
    }

    /// Fills in what follows from the samples.
    pub fn sum_up(&mut self) {
        let middles = self.middles();
        let third = middles.len() / 3;
        let late = || median(middles[middles.len() - third..].to_vec());
        let drift = (third > 0).then(|| late() / median(middles[..third].to_vec()) - 1.0);
        self.drift = drift.filter(|d| d.is_finite());
        self.min_us = self.samples_us.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        let above = |round: &Vec<f64>| {
            let middle = median(round.clone());
            let spread = median(round.iter().map(|us| (us - middle).abs()).collect());
            round.iter().filter(|us| **us - middle > 5.0 * spread && **us > 1.05 * middle).count()
        };
        self.outliers = self.samples_us.iter().map(above).sum();
        self.median_us = median(middles);
    }

    /// The middle of each round.
    pub fn middles(&self) -> Vec<f64> {
        self.samples_us.iter().map(|round| median(round.clone())).collect()
    }

    /// What makes it the same case in another file.
    pub fn key(&self) -> (&str, &str, &str, u64) {
        (&self.kernel, &self.variant, &self.shape, self.bytes)
    }

    /// Its name for people.
    pub fn name(&self) -> String {
        name_of([&self.kernel, &self.variant, &self.shape])
    }
}

/// What a case is called: its kernel, variant and shape, those that there are.
pub(super) fn name_of(parts: [&str; 3]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The machine around the device, and what else it did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its processor, where the system tells.
    pub processor: Option<String>,
    /// Threads that kernels of the host run on.
    pub threads: usize,
    /// Bytes of memory, where the system tells.
    pub memory: Option<u64>,
    /// Operating system and architecture.
    pub system: String,
    /// Processes that ran or wanted to, on average over 1, 5 and 15 minutes, before the run; `None` where nobody tells.
    pub load_before: Option<[f64; 3]>,
    /// The same after the run, which adds to it.
    pub load_after: Option<[f64; 3]>,
}

/// How it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct How {
    /// Rounds over all cases, every second one in the opposite order.
    pub rounds: usize,
    /// Runs of each case in a round.
    pub repeats: usize,
    /// Runs before these that count in nothing.
    pub warm_up: usize,
    /// `time stamps of the device`, or `host`.
    pub clock: String,
    /// What was asked for, such as `sizes mil`.
    pub asked: String,
}

impl How {
    /// So often, each time after one run that warms up.
    pub fn of(Rounds { rounds, repeats }: Rounds, asked: impl Into<String>) -> Self {
        Self { rounds, repeats, warm_up: 1, asked: asked.into(), ..Self::default() }
    }
}

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What the file is: `bagrad bench 1`.
    pub format: String,
    /// The version of bagrad.
    pub bagrad: String,
    /// A number that tells one build of the program from another.
    pub program: String,
    /// What somebody called this run: a commit.
    pub label: Option<String>,
    /// Seconds since 1970 at its start.
    pub started: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// Where it ran.
    pub device: Facts,
    /// On what.
    pub machine: Machine,
    /// How.
    pub how: How,
    /// The most the device was seen to do; `None` where its clock stands still, or nothing was compared with it.
    pub ceilings: Option<Ceilings>,
    /// What was measured.
    pub cases: Vec<Timed>,
}

/// Notes what there is before a run, and makes the run of it.
pub struct Begun {
    load: Option<[f64; 3]>,
    started: u64,
    clock: Instant,
}

impl Begun {
    /// Now.
    pub fn now() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Self { load: load_average(), started, clock: Instant::now() }
    }

    /// The run that ends now.
    pub fn end(self, device: &Device, how: How, ceilings: Option<Ceilings>, cases: Vec<Timed>) -> Run {
        let host = HostReport::of_this_machine();
        let facts = device.facts();
        let clock = match facts.timestamp_ns {
            Some(_) => "time stamps of the device",
            None => "host",
        };
        Run {
            format: BENCHMARK.to_owned(),
            bagrad: env!("CARGO_PKG_VERSION").to_owned(),
            program: program(),
            label: None,
            started: self.started,
            seconds: self.clock.elapsed().as_secs_f64(),
            device: facts,
            machine: Machine {
                processor: host.name,
                threads: host.threads,
                memory: host.memory,
                system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
                load_before: self.load,
                load_after: load_average(),
            },
            how: How { clock: clock.to_owned(), ..how },
            ceilings: ceilings.filter(|c| c.gflops.is_finite() && c.gbps.is_finite()),
            cases,
        }
    }
}

/// Of the file that runs, so that "the same build" can be told.
fn program() -> String {
    let bytes = std::env::current_exe().and_then(std::fs::read).unwrap_or_default();
    if bytes.is_empty() {
        return "unknown".to_owned();
    }
    // Length and a sum of every word: a megabyte a millisecond is enough here.
    let sum = Fingerprint::default().numbers([bytes.len() as u64, u64::from(crc32fast::hash(&bytes))]);
    sum.to_string()
}

/// The averages that Linux keeps.
fn load_average() -> Option<[f64; 3]> {
    parse_load(&std::fs::read_to_string("/proc/loadavg").ok()?)
}

fn parse_load(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split_whitespace().map(|n| n.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

impl Run {
    /// The text of its file.
    pub fn text(&self) -> String {
        // One case a line: files of two runs can be compared by eye.
        let whole = Run { cases: Vec::new(), ..self.clone() };
        let head = serde_json::to_string(&whole).expect("plain data");
        let head = head.strip_suffix("\"cases\":[]}").expect("the cases come last");
        let case = |case: &Timed| serde_json::to_string(case).expect("plain data");
        let cases: Vec<String> = self.cases.iter().map(case).collect();
        format!("{head}\"cases\":[\n{}\n]}}\n", cases.join(",\n"))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Format`] when it is not the file of a run, or has no sample, or one that is no time.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let wrong = |message: String| Error::format(path, message);
        let kind: serde_json::Value = serde_json::from_str(&text)
            .map_err(|e| wrong(format!("no JSON: {e}; expected what --json FILE writes")))?;
        if kind["format"] != BENCHMARK {
            let found = kind["format"].as_str().unwrap_or("no format");
            return Err(wrong(format!(
                "expected {BENCHMARK:?}, which `bagrad bench --json FILE` writes, found {found:?}"
            )));
        }
        let run: Run = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        for (n, case) in run.cases.iter().enumerate() {
            let samples = || case.samples_us.iter().flatten();
            if case.samples_us.iter().any(Vec::is_empty) || samples().next().is_none() {
                return Err(wrong(format!("{}: a round without samples", case.name())));
            }
            if let Some(us) = samples().find(|us| !(us.is_finite() && **us >= 0.0)) {
                return Err(wrong(format!("{}: {us} is no time", case.name())));
            }
            if run.cases[..n].iter().any(|other| other.key() == case.key()) {
                return Err(wrong(format!("{} is there twice", case.name())));
            }
        }
        Ok(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        let mut case = Timed { kernel: "adam".into(), shape: "9".into(), ..Timed::default() };
        for round in 0..6 {
            let us = 100.0 + 2.0 * f64::from(round);
            case.push(300.0, vec![us, us + 0.5, us - 0.5, if round == 4 { 900.0 } else { us }]);
        }
        case.sum_up();
        Begun::now().end(&Device::host(), How { rounds: 6, repeats: 4, ..How::default() }, None, vec![case])
    }

    #[test]
    fn drift_and_outliers_are_told() {
        let case = run().cases.remove(0);
        assert_eq!((case.outliers, case.min_us), (1, 99.5));
        assert!((case.drift.unwrap() - (109.25 / 101.0 - 1.0)).abs() < 2e-3, "{case:?}");
        assert!((case.median_us - 105.0).abs() < 0.2, "{case:?}");
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_anything_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let run = run();
        std::fs::write(&path, run.text()).unwrap();
        assert_eq!(Run::load(&path).unwrap(), run);
        assert!(run.machine.threads > 0 && run.device.kind == "host" && run.program != "unknown");
        let refused = |text: String| {
            std::fs::write(&path, text).unwrap();
            Run::load(&path).unwrap_err().to_string()
        };
        assert!(refused("[1]".into()).contains("expected \"bagrad bench 1\""));
        assert!(refused("x".into()).contains("no JSON"));
        assert!(refused(run.text().replace("99.5,", "-99.5,")).contains("is no time"));
        let mut twice = run.clone();
        twice.cases.push(run.cases[0].clone());
        assert!(refused(twice.text()).contains("adam 9 is there twice"));
        let mut empty = run.clone();
        empty.cases[0].samples_us[2].clear();
        assert!(refused(empty.text()).contains("a round without samples"));
    }

    #[test]
    fn the_load_is_read() {
        assert_eq!(parse_load("0.20 1.50 2.25 1/234 5678\n"), Some([0.2, 1.5, 2.25]));
        assert_eq!(parse_load("nothing"), None);
    }
}
