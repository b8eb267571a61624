//! Which kernels that reduce over a workgroup are faster within subgroups: each in both forms, in turns.

use super::super::cases::Case;
use super::super::loaded::Loaded;
use super::super::median;
use super::super::steps::{Started, Work, launches};
use super::GAIN;
use crate::device::{Device, GpuDevice};
use crate::error::Result;
use crate::kernels::launch::BatchTables;
use crate::kernels::{self, Kernel};
use crate::precision::Precision;
use crate::tuning::{Reduction, Reductions, Tuning};
use std::collections::BTreeMap;

/// Turns of both forms. A machine whose speed moves meets both.
const TURNS: usize = 5;

/// What is run, so that kernels reduce in it.
pub(super) enum Source<'a> {
    /// A training step, with features in f16 or not.
    Step(&'a Work, bool),
    /// A case of the benchmark.
    Case(&'a Case),
}

/// Microseconds of each kernel that reduces: all its launches of a run together.
type Times = BTreeMap<&'static str, f64>;

/// Measures both forms of the kernels that reduce in `sources`. What is chosen is decided kernel by kernel, over all sizes
/// that it was met at (of the cases, each kernel in the first that launches it): how much of its time a kernel spends reducing
/// differs, and a choice for all of them together would be that of the kernel which takes longest. Empty where the device has
/// no choice.
pub(super) fn measure(
    device: &Device,
    gpu: &GpuDevice,
    sources: &[Source],
    repeats: usize,
    tell: &mut dyn FnMut(String),
) -> Result<Vec<Reduction>> {
    gpu.set_tuning(None);
    if device.target().reductions != Reductions::AsMeasured {
        return Ok(Vec::new());
    }
    if let Err(error) = gpu.check_subgroups() {
        tell(format!("reductions stay in workgroup memory: {error}"));
        return Ok(Vec::new());
    }
    // Of each kernel the medians of all sources, added up.
    let mut sums: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
    for (number, source) in sources.iter().enumerate() {
        // A case that brings no kernel that was not met takes its time for nothing.
        let reducing = source.reducing(device)?;
        if matches!(source, Source::Case(_)) && reducing.iter().all(|kernel| sums.contains_key(kernel)) {
            continue;
        }
        tell(format!("reductions: {} ({} of {})", source.name(), number + 1, sources.len()));
        let mut forms = Vec::new();
        for tuning in [None, Some(everywhere())] {
            gpu.set_tuning(tuning);
            forms.push(source.prepared(device, repeats)?);
        }
        gpu.set_tuning(None);
        let mut found: BTreeMap<&str, [Vec<f64>; 2]> = BTreeMap::new();
        for _ in 0..TURNS {
            for (form, run) in forms.iter_mut().enumerate() {
                run()?.into_iter().for_each(|(kernel, us)| found.entry(kernel).or_default()[form].push(us));
            }
        }
        for (kernel, times) in found {
            let sum = sums.entry(kernel).or_default();
            sum.iter_mut().zip(times).for_each(|(sum, times)| *sum += median(times));
        }
    }
    let decided = |(kernel, [workgroup_us, subgroups_us]): (&str, [f64; 2])| Reduction {
        kernel: kernel.to_owned(),
        subgroups: subgroups_us < GAIN * workgroup_us,
        workgroup_us,
        subgroups_us,
    };
    Ok(sums.into_iter().map(decided).collect())
}

/// All kernels that reduce.
fn reducing() -> impl Iterator<Item = &'static Kernel> {
    kernels::all().into_iter().filter(|k| k.reduces)
}

/// A tuning that has all of them do it within subgroups.
fn everywhere() -> Tuning {
    let within =
        |k: &Kernel| Reduction { kernel: k.name.to_owned(), subgroups: true, workgroup_us: 0.0, subgroups_us: 0.0 };
    Tuning::default().with_reductions(reducing().map(within).collect())
}

impl Source<'_> {
    fn name(&self) -> String {
        match self {
            Self::Step(work, _) => work.name(),
            Self::Case(case) => case.name.to_owned(),
        }
    }

    /// The kernels of a case that reduce; those of a step show when it runs.
    fn reducing(&self, device: &Device) -> Result<Vec<&'static str>> {
        let Self::Case(case) = self else { return Ok(Vec::new()) };
        let program = case.plan(device, BatchTables::cut(&case.bags, case.tape.pseudo).extent)?;
        Ok(program.launches.iter().filter(|launch| launch.kernel.reduces).map(|launch| launch.kernel.name).collect())
    }

    /// Planned and loaded with the tuning of this moment: what measures `repeats` runs.
    fn prepared(&self, device: &Device, repeats: usize) -> Result<Box<dyn FnMut() -> Result<Times>>> {
        match self {
            &Self::Step(work, half) => {
                let Started { mut session, optimiser, .. } = work.started(device, (half, Precision::F32), None)?;
                Ok(Box::new(move || {
                    let all = launches(&mut session, &optimiser, half, repeats)?;
                    Ok(summed(all.into_iter().map(|l| (l.kernel, l.median_us))))
                }))
            }
            Self::Case(case) => {
                let mut loaded = Loaded::new(device, case)?;
                Ok(Box::new(move || Ok(summed(loaded.runs(repeats)?.into_iter().map(|l| (l.kernel, l.us))))))
            }
        }
    }
}

fn summed(launches: impl Iterator<Item = (&'static str, f64)>) -> Times {
    let names: Vec<&str> = reducing().map(|k| k.name).collect();
    let mut times = Times::new();
    launches.filter(|(kernel, _)| names.contains(kernel)).for_each(|(k, us)| *times.entry(k).or_default() += us);
    times
}
