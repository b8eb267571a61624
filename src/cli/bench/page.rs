//! Kernels over several sizes of bags.

use crate::cli::note;
use anyhow::{Result, bail};
use bagrad::Error;
use bagrad::bench::cases::Sizes;
use bagrad::bench::kernels::{self, Rounds};
use bagrad::bench::run::Timed;
use bagrad::device::Device;

/// Instances of a bag, from the least to the most.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep(Vec<usize>);

impl std::fmt::Display for Sweep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bags of {:?} instances", self.0)
    }
}

/// Reads `N=1k..1M`.
///
/// # Errors
/// With what is expected.
pub fn sweep(text: &str) -> Result<Sweep, String> {
    let expected = || format!("{text:?}: expected N=FROM..TO such as N=1k..1M, at most 16M, FROM below TO");
    let number = |text: &str| {
        let text = text.trim();
        let (digits, times) = match text.strip_suffix(['k', 'K']) {
            Some(digits) => (digits, 1_000),
            None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1_000_000)),
        };
        let number = digits.parse::<usize>().ok()?.checked_mul(times)?;
        (1..=1 << 24).contains(&number).then_some(number)
    };
    let range = text.trim().strip_prefix("N=").ok_or_else(expected)?;
    let (from, to) = range.split_once("..").ok_or_else(expected)?;
    let (from, to) = number(from).zip(number(to)).filter(|(from, to)| from < to).ok_or_else(expected)?;
    let step = |i: i32| (from as f64 * 10f64.powf(f64::from(i) / 2.0)).round() as usize;
    let inner = (0..).map(step).take_while(|n| (*n as f64) < 0.99 * to as f64);
    Ok(Sweep(inner.chain([to]).collect()))
}

impl Sweep {
    /// Measures the kernels with `filter` in their names at each size; it ends at the first that the device has no room
    /// for, and says so.
    ///
    /// # Errors
    /// What the device answers, and where not even the first size has room.
    pub fn measure(&self, device: &Device, filter: &str, often: Rounds) -> Result<Vec<(usize, Vec<Timed>)>> {
        let mut all = Vec::new();
        for &n in &self.0 {
            match kernels::measure(device, Sizes::Instances(n), filter, often) {
                Ok(cases) => all.push((n, cases)),
                Err(error @ (Error::Limit { .. } | Error::OutOfMemory { .. })) if !all.is_empty() => {
                    note(false, format!("the sweep ends before {n} instances: {error}"));
                    break;
                }
                Err(error) => bail!("{n} instances: {error}"),
            }
        }
        Ok(all)
    }
}

/// Each case once, the first of each.
pub fn once(cases: Vec<Timed>) -> Vec<Timed> {
    let mut all: Vec<Timed> = Vec::with_capacity(cases.len());
    for case in cases {
        if !all.iter().any(|other| other.key() == case.key()) {
            all.push(case);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_are_read() {
        assert_eq!(sweep("N=1k..100k").unwrap().0, [1000, 3162, 10_000, 31_623, 100_000]);
        assert_eq!(sweep("N=500..2k").unwrap().0, [500, 1581, 2000]);
        assert_eq!(sweep("N=1M..16M").unwrap().0, [1_000_000, 3_162_278, 10_000_000, 16_000_000]);
        for wrong in ["1k..1M", "N=1k", "N=1M..1k", "N=0..5", "N=1k..1G", "N=1..99M"] {
            assert!(sweep(wrong).unwrap_err().contains("such as N=1k..1M"), "{wrong}");
        }
    }

    #[test]
    fn a_case_is_told_once() {
        let case = |kernel: &str, us| Timed { kernel: kernel.into(), median_us: us, ..Timed::default() };
        let all = once(vec![case("a", 1.0), case("b", 2.0), case("a", 3.0)]);
        assert_eq!(all.iter().map(|c| c.median_us).collect::<Vec<_>>(), [1.0, 2.0]);
    }
}
