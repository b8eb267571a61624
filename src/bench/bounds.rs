//! What bounds a kernel: the closest of the device's ceilings.

use super::ceilings::Ceiling;
use super::run::Timed;

/// What a kernel spends its time on, by the ceilings of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Moving bytes from and to memory.
    Memory,
    /// The same faster than memory is: what it reads is in a cache.
    Cache,
    /// Operations.
    Arithmetic,
    /// Starting.
    Launch,
    /// None of these by half: waiting, or instructions that nobody counts.
    Other,
}

impl Bound {
    /// In the order of colours.
    pub const ALL: [Bound; 5] = [Bound::Memory, Bound::Cache, Bound::Arithmetic, Bound::Launch, Bound::Other];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Bound::Memory => "memory",
            Bound::Cache => "cache",
            Bound::Arithmetic => "arithmetic",
            Bound::Launch => "launch",
            Bound::Other => "none by half",
        }
    }
}

/// The ceilings that kernels are held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofs {
    /// 10^9 bytes a second of a copy of the largest buffer that was measured.
    pub memory: f64,
    /// Of the copy that was fastest.
    pub cache: f64,
    /// 10^9 operations a second in f32.
    pub arithmetic: f64,
    /// The best of other arithmetic (f16, matrix units), where there is any.
    pub narrow: Option<f64>,
    /// Microseconds from one launch to the next.
    pub launch_us: f64,
}

impl Roofs {
    /// Of measured ceilings; `None` where one that matters is missing or wrong.
    pub fn of(ceilings: &[Ceiling]) -> Option<Self> {
        let right = || ceilings.iter().filter(|c| !c.wrong);
        let best = |what: &str| right().filter(|c| c.what == what).filter_map(|c| c.best).reduce(f64::max);
        let copies = || right().filter(|c| c.what == "copy" && c.best.is_some());
        let largest = copies().max_by_key(|c| c.bytes)?.best?;
        let narrow = right().filter(|c| c.what.starts_with("f16") || c.what.starts_with("matrices"));
        let launch = right().filter(|c| c.what == "launch after another" || c.what == "parallel loop");
        Some(Self {
            memory: largest,
            cache: best("copy")?,
            arithmetic: best("f32 multiply-add")?,
            narrow: narrow.filter_map(|c| c.best).reduce(f64::max),
            launch_us: launch.filter_map(|c| c.middle).next()?,
        })
    }

    /// The least microseconds that so much work takes, over the time taken, for each bound.
    fn shares(&self, case: &Timed) -> [(Bound, f64); 2] {
        let us = case.median_us;
        let (bytes, flops) = (case.bytes as f64 / us / 1e3, case.flops as f64 / us / 1e3);
        [(Bound::Memory, bytes / self.memory), (Bound::Arithmetic, flops / self.arithmetic)]
    }

    /// What bounds a kernel, and which share of that ceiling it reaches: 1 is all of it.
    pub fn bound(&self, case: &Timed) -> (Bound, f64) {
        let [memory, arithmetic] = self.shares(case);
        let (closest, share) = if memory.1 >= arithmetic.1 { memory } else { arithmetic };
        match closest {
            Bound::Memory if share > 1.1 => (Bound::Cache, share),
            _ if share >= 0.5 => (closest, share),
            // Three launches are as good as nothing but launches.
            _ if case.median_us < 3.0 * self.launch_us => (Bound::Launch, self.launch_us / case.median_us),
            _ => (Bound::Other, share),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceiling(what: &str, bytes: Option<u64>, best: f64) -> Ceiling {
        let (what, unit) = (what.to_owned(), String::new());
        let (best, middle) = (Some(best), Some(best));
        Ceiling { what, size: String::new(), bytes, best, middle, unit, remark: String::new(), wrong: false }
    }

    fn all() -> Vec<Ceiling> {
        vec![
            ceiling("copy", Some(1 << 20), 50.0),
            ceiling("copy", Some(1 << 28), 10.0),
            ceiling("f32 multiply-add", None, 100.0),
            ceiling("f16 multiply-add", None, 300.0),
            ceiling("launch after another", None, 5.0),
        ]
    }

    #[test]
    fn the_largest_copy_is_the_memory_and_wrong_ceilings_are_none() {
        let roofs = Roofs::of(&all()).unwrap();
        let wanted = Roofs { memory: 10.0, cache: 50.0, arithmetic: 100.0, narrow: Some(300.0), launch_us: 5.0 };
        assert_eq!(roofs, wanted);
        let mut wrong = all();
        wrong[2].wrong = true;
        assert_eq!(Roofs::of(&wrong), None);
    }

    #[test]
    fn kernels_are_bound_by_what_is_closest() {
        let roofs = Roofs::of(&all()).unwrap();
        let bound = |bytes: u64, flops: u64, median_us: f64| {
            roofs.bound(&Timed { bytes, flops, median_us, ..Timed::default() })
        };
        // 10 GB/s are 10,000 bytes a microsecond, 100 GFLOP/s 100,000 operations.
        assert_eq!(bound(8_000_000, 0, 1000.0), (Bound::Memory, 0.8));
        assert_eq!(bound(30_000_000, 0, 1000.0), (Bound::Cache, 3.0));
        assert_eq!(bound(1_000_000, 60_000_000, 1000.0), (Bound::Arithmetic, 0.6));
        assert_eq!(bound(100, 100, 10.0), (Bound::Launch, 0.5));
        assert_eq!(bound(1_000_000, 10_000_000, 1000.0), (Bound::Other, 0.1));
    }
}
