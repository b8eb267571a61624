//! Cooperative matrices: which form of them a device has, and whether its results are right.
//!
//! Drivers list shapes that they multiply wrongly, or that our shader language cannot name, and the feature is
//! experimental in wgpu. So a device has to pass a test before products run on them: all transposed forms, at
//! sizes that are multiples of nothing, with values that f16 rounds, holds as subnormals, or cannot hold,
//! against the twin on the CPU in f64, which rounds factors in the same way.

use super::trial::{Of, Results, Trial, param, run_on};
use super::{GpuDevice, check, env_flag};
use crate::device::Device;
use crate::error::Result;
use crate::kernels::matmul_coop::Coop;
use crate::ops::matmul::Linear;
use crate::ops::pointwise::Activation;
use crate::plan::{Class, Purpose, Target};
use crate::precision::LossScale;
use crate::tape::Storage;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is known about the cooperative matrices of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The adapter lists no shape that fits: f16 factors, f32 sums, square.
    Absent(String),
    /// Switched off by an option or by `BAGRAD_NO_COOPERATIVE`.
    Off,
    /// They passed the self-test.
    Passed(Coop),
    /// They took none, because checks were left out on request.
    Untested(Coop),
    /// They did not; the plain kernel does the work.
    Failed(String),
}

impl Verdict {
    /// What products may use.
    pub fn usable(&self) -> Option<Coop> {
        if let Verdict::Passed(coop) | Verdict::Untested(coop) = self { Some(*coop) } else { None }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verdict::Absent(why) => write!(f, "no cooperative matrices ({why})"),
            Verdict::Off => f.write_str("cooperative matrices are switched off"),
            Verdict::Passed(Coop { side, lanes, shares, small, large }) => {
                write!(f, "cooperative matrices of {side} passed their self-test")?;
                if *shares > 1 {
                    write!(f, " in subgroups of {} to {lanes}", lanes / shares)?;
                }
                if small & large { Ok(()) } else { f.write_str(" in one size of workgroups") }
            }
            Verdict::Untested(coop) => write!(f, "cooperative matrices of {} are used UNTESTED, on request", coop.side),
            Verdict::Failed(why) => write!(f, "cooperative matrices failed their self-test: {why}"),
        }
    }
}

/// The form to try, or why there is none.
fn candidate(gpu: &GpuDevice) -> Result<Coop, String> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let needed =
        wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let missing = needed - gpu.features();
    if !missing.is_empty() {
        return Err(format!(
            "the device lacks {}",
            missing.iter_names().map(|(n, _)| n).collect::<Vec<_>>().join(", ")
        ));
    }
    let shapes = gpu
        .cooperative_tiles()
        .iter()
        .filter(|t| t.m_size == t.n_size && t.n_size == t.k_size && t.ab_type == F16 && t.cr_type == F32);
    let side = shapes.map(|t| t.m_size).filter(|s| [8, 16].contains(s)).max();
    let side = side.ok_or("no square shape of f16 factors and f32 sums")?;
    let info = gpu.info();
    // Metal tells a range for all its GPUs; those with matrix units have 32.
    let (least, lanes) = match gpu.options().subgroups {
        Some(pretended) => pretended,
        None if info.backend == wgpu::Backend::Metal => (32, 32),
        None => (info.subgroup_min_size, info.subgroup_max_size),
    };
    // Drivers choose between sizes for each pipeline; each smaller one halves what a subgroup does of a sum.
    let shares = lanes / least.max(1);
    if ![1, 2, 4].contains(&shares) || lanes != shares * least {
        return Err(format!("subgroups of {least} to {lanes}"));
    }
    if 4 * lanes > gpu.limits().max_compute_invocations_per_workgroup {
        return Err(format!("four subgroups of {lanes} do not fit a workgroup"));
    }
    let room = gpu.limits().max_compute_workgroup_storage_size;
    let coop = Coop { side, lanes, shares, small: false, large: false };
    let fits = |large| coop.shape(large).workgroup_bytes() <= room;
    if !fits(false) {
        return Err(format!("workgroups have {room} bytes of memory"));
    }
    Ok(Coop { small: true, large: fits(true), ..coop })
}

/// Finds out.
pub(super) fn examine(gpu: &GpuDevice) -> Verdict {
    let options = gpu.options();
    if options.no_cooperative || env_flag("BAGRAD_NO_COOPERATIVE") {
        return Verdict::Off;
    }
    let listed = match candidate(gpu) {
        Ok(coop) => coop,
        Err(why) => return Verdict::Absent(why),
    };
    if check::skipped(options.checks) {
        return Verdict::Untested(listed);
    }
    let device = Device::Gpu(gpu.clone());
    judge(listed, |coop, trial| {
        let mut results = run_on(&device, planned(gpu.target(), coop), trial)?;
        if options.fail_self_test {
            results[0].iter_mut().for_each(|v| *v *= 2.0);
        }
        Ok(results)
    })
}

/// As a GPU, whatever it is: its rules take every shape.
fn planned(target: Target, coop: Coop) -> Target {
    Target { class: Class::Gpu, units: 1, coop: Some(coop), tuning: None, ..target }
}

/// What may be used of what is listed, by what `run` makes of the trials with one size of workgroups.
fn judge(listed: Coop, mut run: impl FnMut(Coop, &Trial) -> Result<Results>) -> Verdict {
    let mut passed = Coop { small: false, large: false, ..listed };
    let mut why = Vec::new();
    for large in [false, true] {
        let only = Coop { small: !large, large, ..listed };
        if if large { !listed.large } else { !listed.small } {
            continue;
        }
        match compare(large, |trial| run(only, trial)) {
            Ok(()) if large => passed.large = true,
            Ok(()) => passed.small = true,
            Err(reason) => why.push(reason),
        }
    }
    if passed.small || passed.large { Verdict::Passed(passed) } else { Verdict::Failed(why.join("; ")) }
}

fn compare(large: bool, mut run: impl FnMut(&Trial) -> Result<Results>) -> std::result::Result<(), String> {
    for trial in [layer(large), extremes(large)] {
        let trial = trial.map_err(|e| e.to_string())?;
        let wanted = trial.wanted().map_err(|e| e.to_string())?;
        // The experimental path of the shader compiler may panic where it does not support something.
        let found = catch_unwind(AssertUnwindSafe(|| run(&trial)));
        let found = found.map_err(|_| "the shader compiler gave up".to_string())?.map_err(|e| e.to_string())?;
        trial.judge(&found, &wanted).map_err(|fault| fault.to_string())?;
    }
    Ok(())
}

/// Sums of 70 products in f32 are closer to those in f64, and one product that is rounded otherwise is further.
const TOLERANCE: f64 = 2e-5;

const ROWS: usize = 75;

/// A layer, forward and backward: all forms, with rows that are read as vectors, as in training. No size is a
/// multiple of the side of a matrix, and one row holds subnormals of f16.
fn layer(large: bool) -> Result<Trial> {
    let width = 76;
    let record = |tape: &mut crate::tape::Tape, x| {
        tape.mixed = Some(LossScale::default());
        let (w, b) = (param(tape, 44, width as u32), param(tape, 1, 44));
        let y = tape.push1(Linear { activation: Activation::LeakyRelu(0.5) }, &[x, w, b])?;
        tape.output("y", y);
        Ok(vec![
            ("A B^T", Of::Output(0), TOLERANCE),
            ("A^T B", Of::Param(0), TOLERANCE),
            ("A B", Of::Features, TOLERANCE),
        ])
    };
    let mut trial = Trial::new(7 + large as u64, &[ROWS], (width, Storage::F32), Purpose::Upstream, record)?;
    trial.row(3).iter_mut().for_each(|v| *v *= 1e-6);
    Ok(trial)
}

/// A layer at odd widths, with a row of values that f16 cannot hold, and one of those that it holds as subnormals.
fn extremes(large: bool) -> Result<Trial> {
    let width = 70;
    let record = |tape: &mut crate::tape::Tape, x| {
        tape.mixed = Some(LossScale::default());
        let w = param(tape, 45, width as u32);
        let y = tape.push1(Linear { activation: Activation::None }, &[x, w])?;
        tape.output("y", y);
        Ok(vec![("A B^T at odd widths", Of::Output(0), TOLERANCE)])
    };
    let mut trial = Trial::new(9 + large as u64, &[ROWS], (width, Storage::F32), Purpose::Predict, record)?;
    trial.row(3).iter_mut().for_each(|v| *v *= 1e-6);
    trial.row(66).fill(1e5);
    Ok(trial)
}

#[cfg(test)]
mod tests {
    use super::super::trial::played;
    use super::*;
    use crate::kernels::extent::BatchTables;
    use crate::plan;

    const LISTED: Coop = Coop { side: 16, lanes: 32, shares: 1, small: true, large: true };

    #[test]
    fn right_results_pass() {
        assert_eq!(judge(LISTED, |_, trial| played::right(trial)), Verdict::Passed(LISTED));
        let small = Coop { large: false, ..LISTED };
        assert_eq!(judge(small, |_, trial| played::right(trial)), Verdict::Passed(small), "what is not listed");
    }

    #[test]
    fn wrong_results_fail() {
        for (what, spoil) in played::WRONG {
            match judge(LISTED, |_, trial| played::wrong(trial, spoil, None)) {
                Verdict::Failed(why) => assert_eq!(why.matches("results of A B^T differ").count(), 2, "{what}: {why}"),
                other => panic!("{what}: {other:?}"),
            }
            // One size of workgroups right, the other not.
            let half = |coop: Coop, trial: &Trial| match coop.large {
                true => played::wrong(trial, spoil, None),
                false => played::right(trial),
            };
            assert_eq!(judge(LISTED, half), Verdict::Passed(Coop { large: false, ..LISTED }), "{what}");
            // Each form counts.
            for trial in [layer(false).unwrap(), extremes(true).unwrap()] {
                let wanted = trial.wanted().unwrap();
                for n in 0..trial.results.len() {
                    let fault = trial.judge(&played::wrong(&trial, spoil, Some(n)).unwrap(), &wanted).expect_err(what);
                    assert_eq!(fault.kernels, trial.results[n].kernels, "{what}");
                }
            }
        }
    }

    /// A twin that does not round is what a device would be that multiplies f32.
    #[test]
    fn factors_that_were_not_rounded_fail() {
        let unrounded = |_: Coop, trial: &Trial| {
            let mut plain = trial.clone();
            plain.tape.mixed = None;
            plain.wanted()
        };
        assert!(matches!(judge(LISTED, unrounded), Verdict::Failed(_)));
    }

    /// A wrong number among those that f16 holds as subnormals, and a finite one where none belongs.
    #[test]
    fn extreme_rows_are_looked_at() {
        let trial = extremes(false).unwrap();
        let (wanted, right) = (trial.wanted().unwrap(), played::right(&trial).unwrap());
        for (row, value) in [(3, 0.0), (66, 1.0)] {
            let mut found = right.clone();
            found[0][row * 45] = value;
            assert!(trial.judge(&found, &wanted).is_err(), "row {row}");
        }
        assert!(trial.judge(&right, &wanted).is_ok());
    }

    /// The self-test would mean nothing if the plain kernel ran in it.
    #[test]
    fn the_trials_run_on_matrices() {
        for large in [false, true] {
            let coop = Coop { small: !large, large, ..LISTED };
            let target = planned(Device::host().target(), coop);
            for trial in [layer(large).unwrap(), extremes(large).unwrap()] {
                let extent = BatchTables::of(&[ROWS]).extent;
                let program = plan::plan(&trial.tape, trial.purpose, target, extent).unwrap();
                let products: Vec<_> =
                    program.launches.iter().map(|l| l.kernel.name).filter(|n| n.starts_with("matmul")).collect();
                assert_eq!(products, vec!["matmul_coop"; if trial.purpose == Purpose::Upstream { 3 } else { 1 }]);
            }
        }
    }
}
