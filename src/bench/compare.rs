//! Two runs against each other, kernel by kernel: ratios with intervals, and what is slower.
//!
//! The samples of a round share the state of the machine, so they are no independent observations: a round counts once,
//! by its middle, and rounds are what is drawn anew (the bootstrap of blocks; Davison and Hinkley 1997, section 8.2.3). Few rounds
//! make percentiles too narrow, so they are taken further out (Hesterberg 2015, "What teachers should know about the
//! bootstrap", section 5.3: expanded percentiles). A machine that wanders makes neighbouring rounds alike, and a mean of such
//! rounds is surer of itself than it should be: intervals are stretched by what their correlation, of all kernels together,
//! says. A verdict looks at intervals that hold for all kernels together (Bonferroni), and
//! only at differences that are large enough to matter.

use super::median;
use super::run::{Run, Timed, name_of};
use crate::normal::upper_tail;
use crate::quantile::quantile;
use crate::random::Random;
use serde::Serialize;

/// Fewer rounds than this have no interval.
pub const ROUNDS: usize = 5;

/// Below this many kernels in both runs nothing is said of all of them together.
const MANY: usize = 5;

/// What counts as different, and how surely.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// A ratio this much above 1, as a share, is slower; its inverse is faster.
    pub effect: f64,
    /// Samples of the bootstrap.
    pub resamples: usize,
}

impl Default for Rule {
    fn default() -> Self {
        Self { effect: 0.05, resamples: 4000 }
    }
}

/// How a kernel fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The interval of all together is above what counts.
    Slower,
    /// It is below the inverse of it.
    Faster,
    /// Neither: the same, or not to be told.
    Same,
    /// Too few rounds, or a clock that stood still.
    Unknown,
}

/// A kernel in both runs.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// Which.
    pub kernel: String,
    /// Compiled with.
    pub variant: String,
    /// Over.
    pub shape: String,
    /// Microseconds in the first run: the middle of its rounds' middles.
    pub before_us: f64,
    /// And in the second.
    pub after_us: f64,
    /// The second over the first: above 1 it takes longer.
    pub ratio: f64,
    /// Where that is with 95 %, for this kernel.
    pub interval: Option<[f64; 2]>,
    /// Where all kernels of the comparison are together with 95 %.
    pub family: Option<[f64; 2]>,
    /// By that.
    pub verdict: Verdict,
}

impl Ratio {
    /// Its name for people.
    pub fn name(&self) -> String {
        name_of([&self.kernel, &self.variant, &self.shape])
    }
}

/// What a comparison found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// Kernels in both.
    pub ratios: Vec<Ratio>,
    /// The ratio in the middle, of five kernels or more.
    pub together: Option<f64>,
    /// What is only in the first.
    pub gone: Vec<String>,
    /// What is only in the second.
    pub new: Vec<String>,
    /// What makes them less comparable: other drivers, features, builds with checks, clocks.
    pub notes: Vec<String>,
    /// Both are of one build of the program.
    pub same_program: bool,
    /// Why they are of different devices, where they are.
    pub devices: Option<String>,
}

impl Comparison {
    /// Of two runs.
    pub fn of(before: &Run, after: &Run, rule: Rule) -> Self {
        let same = |a: &Timed| after.cases.iter().find(|b| a.key() == b.key());
        let pairs: Vec<(&Timed, &Timed)> = before.cases.iter().filter_map(|a| Some((a, same(a)?))).collect();
        let stretch = stretch(pairs.iter().flat_map(|(a, b)| [*a, *b]));
        let of = |(n, (a, b)): (usize, &(&Timed, &Timed))| ratio(a, b, n as u64, (pairs.len(), stretch), rule);
        let ratios: Vec<Ratio> = pairs.iter().enumerate().map(of).collect();
        let known: Vec<f64> = ratios.iter().map(|r| r.ratio).filter(|r| r.is_finite()).collect();
        let only = |run: &Run, other: &Run| {
            let lacks = |t: &&Timed| other.cases.iter().all(|o| o.key() != t.key());
            run.cases.iter().filter(lacks).map(Timed::name).collect()
        };
        Self {
            ratios,
            together: (known.len() >= MANY).then(|| median(known)),
            gone: only(before, after),
            new: only(after, before),
            notes: notes(before, after),
            same_program: before.program == after.program && before.program != "unknown",
            devices: devices(before, after),
        }
    }

    /// The kernels with this verdict.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Ratio> {
        self.ratios.iter().filter(move |r| r.verdict == verdict)
    }
}

/// Why two runs are not of one device; a driver may have changed.
fn devices(before: &Run, after: &Run) -> Option<String> {
    let named = |run: &Run| (run.device.name.clone(), run.device.kind.clone(), run.device.backend.clone());
    let (a, b) = (named(before), named(after));
    // What an adapter of the CPU, and the host, can do is what the processor can.
    let cpu = ["host", "software"].contains(&before.device.kind.as_str());
    let machines =
        (&before.machine.processor, before.machine.threads) == (&after.machine.processor, after.machine.threads);
    if a == b && (machines || !cpu) {
        return None;
    }
    let told = |run: &Run| {
        let Run { device, machine, .. } = run;
        let processor = machine.processor.as_deref().unwrap_or("an unknown processor");
        match cpu && a == b {
            true => format!("{} on {processor} with {} threads", device.description, machine.threads),
            false => device.description.clone(),
        }
    };
    Some(format!("{} and {}", told(before), told(after)))
}

fn notes(before: &Run, after: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    let mut differ = |what: &str, a: String, b: String| {
        if a != b {
            notes.push(format!("{what}: {a}, then {b}"));
        }
    };
    let (a, b) = (&before.device, &after.device);
    differ("driver", a.driver.clone(), b.driver.clone());
    differ("planned as", format!("{:?}", a.planned_as), format!("{:?}", b.planned_as));
    differ("features", a.features.join(" "), b.features.join(" "));
    differ("subgroups", format!("{:?}", a.subgroups), format!("{:?}", b.subgroups));
    let checks = |on: bool| if on { "checked" } else { "unchecked" }.to_owned();
    differ("build", checks(a.checked), checks(b.checked));
    for (name, value) in &a.limits {
        if let Some(other) = b.limits.get(name) {
            differ(name, value.to_string(), other.to_string());
        }
    }
    differ("clock", before.how.clock.clone(), after.how.clock.clone());
    let busy = |run: &Run| {
        let load = run.machine.load_before.map_or(0.0, |load| load[0]);
        (load > 0.5 * run.machine.threads.max(1) as f64)
            .then(|| format!("the machine had a load of {load:.1} on {} threads before a run", run.machine.threads))
    };
    notes.extend([before, after].into_iter().filter_map(busy));
    notes
}

/// How much wider an interval has to be than that of independent rounds: the root of (1 + r) / (1 - r) for a correlation r
/// of neighbours, in the middle of all kernels, corrected for what few rounds make it too small by (Marriott and Pope 1954).
fn stretch<'a>(cases: impl Iterator<Item = &'a Timed>) -> f64 {
    let of = |case: &Timed| {
        let logs: Vec<f64> = case.middles().iter().map(|us| us.ln()).collect();
        let n = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / n;
        let around: Vec<f64> = logs.iter().map(|v| v - mean).collect();
        let all: f64 = around.iter().map(|v| v * v).sum();
        let pairs: f64 = around.windows(2).map(|w| w[0] * w[1]).sum();
        let corrected = (pairs / all + 1.0 / n) / (1.0 - 3.0 / n);
        (logs.len() >= ROUNDS && corrected.is_finite()).then_some(corrected)
    };
    let found: Vec<f64> = cases.filter_map(of).collect();
    let r = if found.is_empty() { 0.0 } else { median(found).clamp(0.0, 0.9) };
    ((1.0 + r) / (1.0 - r)).sqrt()
}

/// One kernel; `number` draws apart from other kernels, of which there are `count`.
fn ratio(a: &Timed, b: &Timed, number: u64, (count, stretch): (usize, f64), rule: Rule) -> Ratio {
    let (before, after) = (a.middles(), b.middles());
    let (before_us, after_us) = (median(before.clone()), median(after.clone()));
    let ratio = after_us / before_us;
    let rounds = before.len().min(after.len());
    let stands = !ratio.is_finite() || ratio <= 0.0 || before.iter().chain(&after).any(|us| *us <= 0.0);
    let (mut interval, mut family, mut verdict) = (None, None, Verdict::Unknown);
    if rounds >= ROUNDS && !stands {
        let drawn = draws(&before, &after, number, rule.resamples);
        let between = |alpha: f64| {
            let tail = tail(alpha, rounds);
            let ends = [quantile(&drawn, tail), quantile(&drawn, 1.0 - tail)];
            ends.map(|end| ratio * (end / ratio).powf(stretch))
        };
        let all = between(0.05 / count.max(1) as f64);
        verdict = match all {
            [low, _] if low > 1.0 + rule.effect => Verdict::Slower,
            [_, high] if high < 1.0 / (1.0 + rule.effect) => Verdict::Faster,
            _ => Verdict::Same,
        };
        (interval, family) = (Some(between(0.05)), Some(all));
    }
    let Timed { kernel, variant, shape, .. } = a.clone();
    Ratio { kernel, variant, shape, before_us, after_us, ratio, interval, family, verdict }
}

/// Sorted ratios of the middles of rounds that were drawn anew, each side by itself.
fn draws(before: &[f64], after: &[f64], number: u64, resamples: usize) -> Vec<f64> {
    const SEED: u64 = 0x000b_e9c4;
    let mut random = Random::new(SEED, number);
    let mut middle = |of: &[f64]| median((0..of.len()).map(|_| of[random.below(of.len())]).collect());
    let mut drawn: Vec<f64> = (0..resamples).map(|_| middle(after) / middle(before)).collect();
    drawn.sort_unstable_by(f64::total_cmp);
    drawn
}

/// The share of the bootstrap to leave out at each end, so that `rounds` rounds cover 1 - `alpha`.
fn tail(alpha: f64, rounds: usize) -> f64 {
    let n = rounds as f64;
    upper_tail((n / (n - 1.0)).sqrt() * student(alpha / 2.0, n - 1.0))
}

/// What a share `tail` of Student's t with `freedom` degrees is above, by Cornish and Fisher's expansion of the normal
/// quantile (Abramowitz and Stegun, 26.7.5).
fn student(tail: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        match upper_tail(middle) > tail {
            true => low = middle,
            false => high = middle,
        }
    }
    let (z, v) = (low, freedom);
    let (z3, z5, z7) = (z.powi(3), z.powi(5), z.powi(7));
    z + (z3 + z) / (4.0 * v)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * v.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * v.powi(3))
}

#[cfg(test)]
#[path = "compare/tests.rs"]
mod tests;
