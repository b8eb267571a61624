//! Every kernel, launch by launch, against what the device can do at most.

use super::cases::{self, Case, Sizes};
use super::loaded::{Launched, Loaded, transpose};
use super::run::Timed;
use super::statistics::named;
use crate::device::Device;
use crate::error::Result;
use crate::kernels::cost::Cost;
use crate::kernels::launch::BatchTables;
use crate::kernels::matmul::TRANSPOSE;
use crate::plan::Class;
use serde::{Deserialize, Serialize};

/// What a kernel took.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which.
    pub kernel: String,
    /// Sizes it ran over.
    pub shape: String,
    /// Where.
    pub device: String,
    /// Microseconds, in the middle of all runs.
    pub median_us: f64,
    /// The fastest.
    pub min_us: f64,
    /// Operations, in 10^9 a second.
    pub gflops: f64,
    /// Bytes read and written once, in 10^9 a second.
    pub gbps: f64,
    /// Time at the device's ceilings over the time taken: 1 is as fast as a copy of as many bytes, or as the
    /// best product of as many operations, whichever takes longer. Above 1 what fits in a cache.
    pub share_of_ceiling: f64,
}

/// The most a device was seen to do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    /// 10^9 operations a second, in the best of a few products.
    pub gflops: f64,
    /// 10^9 bytes a second, in a copy.
    pub gbps: f64,
}

impl Ceilings {
    /// Measures `device`.
    ///
    /// # Errors
    /// What the device answers.
    pub fn of(device: &Device) -> Result<Self> {
        let slow = matches!(device.target().class, Class::CpuDriver { .. });
        let repeats = if slow { 3 } else { 10 };
        let mut sizes = vec![[1024, 512, 1024], [2048, 1024, 1024]];
        if let Class::Gpu = device.target().class {
            sizes.push([8192, 4096, 4096]);
        }
        let mut gflops: f64 = 0.0;
        for size in sizes {
            gflops = best(device, &cases::product(size, false)?, repeats, |c| c.flops)?.max(gflops);
        }
        // Far more than caches hold, and less than the smallest binding limit.
        let gbps = best(device, &cases::copy(30_000, 1024)?, repeats, |c| c.bytes)?;
        Ok(Self { gflops, gbps })
    }
}

/// 10^9 of what `count` counts a second, in the fastest run of a case with one launch that matters.
fn best(device: &Device, case: &Case, repeats: usize, count: impl Fn(&Cost) -> u64) -> Result<f64> {
    let mut loaded = Loaded::new(device, case)?;
    let runs = loaded.runs(repeats)?;
    let rate = |row: &Launched| count(&row.cost) as f64 / row.least_us / 1e3;
    Ok(runs.iter().map(rate).fold(0.0, f64::max))
}

/// The rows of a table.
pub fn rows(device: &Device, timed: &[Timed], ceilings: &Ceilings) -> Vec<Row> {
    let device = device.description();
    timed.iter().map(|t| row(&device, t, ceilings)).collect()
}

fn row(device: &str, t: &Timed, ceilings: &Ceilings) -> Row {
    let (gflops, gbps) = (t.flops as f64 / t.median_us / 1e3, t.bytes as f64 / t.median_us / 1e3);
    Row {
        kernel: t.kernel.clone(),
        shape: t.shape.clone(),
        device: device.to_owned(),
        median_us: t.median_us,
        min_us: t.min_us,
        gflops,
        gbps,
        share_of_ceiling: (gflops / ceilings.gflops).max(gbps / ceilings.gbps),
    }
}

/// How often what is measured.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// Rounds over all cases. A machine whose speed moves with the minutes moves all samples of one round together, so
    /// only rounds tell how sure a time is.
    pub rounds: usize,
    /// Runs of each case in a round, after one that warms up.
    pub repeats: usize,
}

/// Times by what is measured, in the order in which it was met.
#[derive(Default)]
struct Found {
    all: Vec<Timed>,
    /// The case that each was first met in: in other rounds it is measured there too.
    owners: Vec<usize>,
}

impl Found {
    fn take(&mut self, owner: usize, launched: Vec<Launched>) {
        let mut before = Vec::new();
        for l in launched {
            let variant = named(&l.variant);
            let key = (l.kernel, variant.as_str(), l.shape.as_str(), l.cost.bytes);
            // The same kernel at the same sizes is told once.
            let same = |t: &Timed| (t.kernel.as_str(), t.shape.as_str(), t.bytes) == (key.0, key.2, key.3);
            let at = match self.all.iter().position(same) {
                Some(at) if self.owners[at] == owner && !before.contains(&at) => at,
                Some(_) => continue,
                None => {
                    let (kernel, shape) = (l.kernel.to_owned(), l.shape.clone());
                    let (flops, bytes) = (l.cost.flops, l.cost.bytes);
                    self.all.push(Timed { kernel, variant, shape, flops, bytes, ..Timed::default() });
                    self.owners.push(owner);
                    self.all.len() - 1
                }
            };
            before.push(at);
            self.all[at].push(l.first_us, l.all_us);
        }
    }

    fn timed(mut self) -> Vec<Timed> {
        self.all.iter_mut().for_each(Timed::sum_up);
        self.all
    }
}

/// Names of all kernels.
pub fn names() -> impl Iterator<Item = &'static str> {
    crate::kernels::all().into_iter().map(|kernel| kernel.name)
}

/// Measures the product of `[rows, inner]` and `[inner, columns]` in f32, and in f16 with sums in f32, on matrix units
/// where the device has them.
///
/// # Errors
/// What the device answers.
pub fn products(device: &Device, sizes: [usize; 3], rounds: Rounds) -> Result<Vec<Timed>> {
    let mut found = Found::default();
    for _ in 0..rounds.rounds {
        for half in [false, true] {
            found.take(half.into(), Loaded::new(device, &cases::product(sizes, half)?)?.runs(rounds.repeats)?);
        }
    }
    Ok(found.timed())
}

/// Measures every kernel whose name contains `filter`. The same kernel at the same sizes is told once.
///
/// # Errors
/// What the device answers.
pub fn measure(device: &Device, sizes: Sizes, filter: &str, rounds: Rounds) -> Result<Vec<Timed>> {
    let cases = cases::all(sizes)?;
    let wanted = |l: &Launched| l.kernel.contains(filter);
    let mut found = Found::default();
    for round in 0..rounds.rounds {
        let mut order: Vec<usize> = (0..cases.len()).collect();
        // There and back: what drifts steadily meets early and late cases alike.
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let case = &cases[at];
            let tables = BatchTables::cut(&case.bags, case.tape.pseudo);
            let program = case.plan(device, tables.extent)?;
            let mut launched = Vec::new();
            if program.launches.iter().any(|l| l.kernel.name.contains(filter)) {
                launched = Loaded::with(device, case, program, &tables)?.runs(rounds.repeats)?;
            }
            if case.name == "pointwise" && TRANSPOSE.name.contains(filter) {
                let program = transpose(case, &tables.extent);
                launched.extend(Loaded::with(device, case, program, &tables)?.runs(rounds.repeats)?);
            }
            found.take(at, launched.into_iter().filter(wanted).collect());
        }
    }
    let mut timed = found.timed();
    let order: Vec<&str> = crate::kernels::all().iter().map(|k| k.name).collect();
    timed.sort_by_key(|t| order.iter().position(|n| *n == t.kernel));
    Ok(timed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cost::cost;
    use crate::tape::Storage;

    #[test]
    fn a_product_is_measured_in_both_widths() {
        let ceilings = Ceilings { gflops: 100.0, gbps: 10.0 };
        let host = Device::host();
        let timed = products(&host, [40, 30, 20], Rounds { rounds: 1, repeats: 1 }).unwrap();
        let rows = rows(&host, &timed, &ceilings);
        let done = |r: &Row| r.gflops * r.median_us * 1e3;
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|r| (done(r) - 48_000.0).abs() < 1.0), "{rows:?}");
        assert!(rows[0].shape.contains("40x30") && rows[1].gbps * rows[1].median_us < rows[0].gbps * rows[0].median_us);
    }

    #[test]
    fn every_kernel_is_measured() {
        let ceilings = Ceilings { gflops: 100.0, gbps: 10.0 };
        let host = Device::host();
        let timed = measure(&host, Sizes::Small, "", Rounds { rounds: 1, repeats: 1 }).unwrap();
        let rows = rows(&host, &timed, &ceilings);
        // On GPUs alone: `matmul_coop` where a device has matrix units, in the case "linear mixed", and `add_parts` where
        // a long sum is split, in the cases of products.
        for kernel in crate::kernels::all().into_iter().filter(|k| !["matmul_coop", "add_parts"].contains(&k.name)) {
            assert!(rows.iter().any(|r| r.kernel == kernel.name), "no case in bench/cases.rs launches {kernel:?}");
        }
        assert!(rows.iter().all(|r| r.median_us > 0.0 && r.share_of_ceiling.is_finite()));
    }

    #[test]
    fn rounds_there_and_back_meet_each_kernel_once() {
        let timed = measure(&Device::host(), Sizes::Small, "activate", Rounds { rounds: 3, repeats: 2 }).unwrap();
        let whole = |t: &Timed| t.samples_us.len() == 3 && t.samples_us.iter().all(|round| round.len() == 2);
        assert!(timed.len() > 3 && timed.iter().all(whole), "{timed:?}");
    }

    /// No launch is said to move more than is bound: what is read counts once, what is written at most twice.
    #[test]
    fn no_cost_is_more_than_what_is_bound() {
        for case in cases::all(Sizes::Mil).unwrap() {
            let extent = BatchTables::cut(&case.bags, case.tape.pseudo).extent;
            let program = case.plan(&Device::host(), extent).unwrap();
            for launch in &program.launches {
                let places = launch.places.iter().zip(launch.kernel.bindings);
                let bound: u64 = places.map(|(place, kind)| place.bytes * (1 + kind.writes() as u64)).sum();
                let cost = cost(launch, &extent, case.tape.values[0].storage == Storage::F16);
                assert!(cost.bytes <= bound, "{}: {:?} {} of {bound} bytes", case.name, launch.kernel, cost.bytes);
            }
        }
    }
}
