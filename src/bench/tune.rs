//! A short search for the tiles of matrix products, and for the kernels that reduce faster within subgroups: whole training
//! steps with each candidate, launch by launch.

mod reductions;

use super::cases::{self, Sizes};
use super::median;
use super::steps::{RATE, Started, Work};
use crate::device::executor::Step;
use crate::device::{Device, GpuDevice};
use crate::error::{Error, Result};
use crate::kernels::launch::{Extent, Launch};
use crate::kernels::matmul::Form;
use crate::plan::{Class, Purpose};
use crate::precision::Precision;
use crate::tuning::{Choice, Entry, Product, Tuning};
use reductions::Source;
use serde::Serialize;
use std::collections::BTreeMap;

/// The time of one class of products with one candidate.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// Which products.
    #[serde(flatten)]
    pub product: Product,
    /// With which tiles.
    pub choice: Choice,
    /// Microseconds of all such products of a step, in the middle of a few.
    pub us: f64,
    /// What the device takes when it was not tuned.
    pub standard: bool,
    /// What the search took.
    pub chosen: bool,
}

/// A candidate has to be this much faster than the standard to replace it: less is noise.
const GAIN: f64 = 0.97;

/// Measures all candidates over the products of training steps of `work`, and both forms of the kernels that reduce in them
/// and, with `kernels`, in all cases of the benchmark at these sizes (small ones on a driver of the CPU); `tell` hears what
/// is being done. The device is left without a tuning.
///
/// # Errors
/// [`Error::Setting`] on the host, which has no tiles, and what the device answers.
pub fn search(
    device: &Device,
    work: &[Work],
    kernels: Option<Sizes>,
    half: bool,
    repeats: usize,
    tell: &mut dyn FnMut(String),
) -> Result<(Tuning, Vec<Candidate>)> {
    let Device::Gpu(gpu) = device else {
        return Err(Error::setting("tune", "the host leaves its products to a library; choose a GPU with --device"));
    };
    let mut all = Vec::new();
    for work in work {
        let found = measure(device, gpu, work, half, repeats, tell);
        gpu.set_tuning(None);
        all.extend(found?);
    }
    // What takes a GPU milliseconds takes a driver on the CPU an hour.
    let gpu_sized = device.target().class == Class::Gpu;
    let sizes = kernels.map(|sizes| if gpu_sized { sizes } else { Sizes::Small });
    let cases = sizes.map_or_else(|| Ok(Vec::new()), cases::all)?;
    let steps = work.iter().map(|work| Source::Step(work, half));
    let sources: Vec<Source> = steps.chain(cases.iter().map(Source::Case)).collect();
    let reductions = reductions::measure(device, gpu, &sources, repeats, tell);
    gpu.set_tuning(None);
    let chosen = |c: &&Candidate| c.chosen;
    let entry = |c: &Candidate| {
        let same = |other: &&Candidate| other.product == c.product && other.standard;
        let standard_us = all.iter().find(same).map_or(c.us, |s| s.us);
        Entry { product: c.product, choice: c.choice, us: c.us, standard_us }
    };
    let products = all.iter().filter(chosen).map(entry).collect();
    Ok((Tuning::new(device.description(), products).with_reductions(reductions?), all))
}

fn measure(
    device: &Device,
    gpu: &GpuDevice,
    work: &Work,
    half: bool,
    repeats: usize,
    tell: &mut dyn FnMut(String),
) -> Result<Vec<Candidate>> {
    gpu.set_tuning(None);
    let standard = times(device, work, half, repeats)?;
    let target = device.target();
    let most = standard.keys().map(|p| Choice::candidates(&target, &p.form).len()).max().unwrap_or(0);
    let mut found: BTreeMap<Product, Vec<(Choice, f64)>> = BTreeMap::new();
    for number in 0..most {
        tell(format!("{}: candidate {} of {most}", work.name(), number + 1));
        gpu.set_tuning(Some(Tuning::forced(number)));
        let target = device.target();
        for (product, (us, _)) in times(device, work, half, repeats)? {
            let choice = target.tuning.and_then(|t| t.choice(&target, &product.form, product.m, product.n));
            if let Some(choice) = choice {
                found.entry(product).or_default().push((choice, us));
            }
        }
    }
    let mut all = Vec::new();
    for (product, tried) in found {
        let Some(&(standard_us, [m, n])) = standard.get(&product) else { continue };
        let usual = Choice::standard(&target, &product.form, m, n);
        let best = tried.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let chosen = best.filter(|(_, us)| *us < GAIN * standard_us).map_or(usual, |(choice, _)| choice);
        let mut seen = Vec::new();
        for (choice, us) in [(usual, standard_us)].into_iter().chain(tried) {
            // Where there are fewer candidates they come round again.
            if !seen.contains(&choice) {
                seen.push(choice);
                let (standard, chosen) = (choice == usual, choice == chosen);
                all.push(Candidate { product, choice, us, standard, chosen });
            }
        }
    }
    Ok(all)
}

/// Microseconds of each class of products in a training step, with sizes of one of them.
fn times(device: &Device, work: &Work, half: bool, repeats: usize) -> Result<BTreeMap<Product, (f64, [u32; 2])>> {
    let Started { mut session, optimiser, .. } = work.started(device, (half, Precision::F32), None)?;
    let id = session.prepare(Purpose::Train(optimiser))?;
    let scalars = session.scalars(&optimiser, RATE);
    let program = session.executor().program(id);
    let (extent, launches) = (program.capacity, program.launches.clone());
    let mut runs: BTreeMap<Product, (Vec<f64>, [u32; 2])> = BTreeMap::new();
    for run in 0..repeats.max(1) + 1 {
        let taken = session.executor().profile(id, &Step { extent, scalars, uploads: &[], keep: &[] })?;
        // The first run warms caches.
        if run == 0 {
            continue;
        }
        let (mut sums, mut last) = (BTreeMap::new(), None);
        for (launch, (_, ns)) in launches.iter().zip(taken) {
            // The parts of a split sum are added right behind it.
            last = match product(launch, &extent) {
                Some(found) => Some(found),
                None => last.filter(|_| launch.kernel.name == "add_parts"),
            };
            if let Some((product, sizes)) = last {
                sums.entry(product).or_insert((0.0, sizes)).0 += ns / 1e3;
            }
        }
        for (product, (us, sizes)) in sums {
            runs.entry(product).or_insert((Vec::new(), sizes)).0.push(us);
        }
    }
    Ok(runs.into_iter().map(|(product, (times, sizes))| (product, (median(times), sizes))).collect())
}

/// The class of the product that a launch computes, and its rows and columns.
fn product(launch: &Launch, extent: &Extent) -> Option<(Product, [u32; 2])> {
    if !["matmul", "matmul_coop"].contains(&launch.kernel.name) {
        return None;
    }
    let words = launch.resolve(extent, &Default::default(), 0);
    let flag = |bit: u32| words[6] >> bit & 1 == 1;
    let half = |name: &str| launch.variant.iter().any(|(n, v)| *n == name && *v == 1);
    let (a_half, b_half) = (half("A_F16"), half("B_F16"));
    let form = Form { a_t: flag(2), b_t: flag(3), a_half, b_half, rounded: flag(4) };
    Some((Product::of(&form, words[0], words[1]), [words[0], words[1]]))
}
