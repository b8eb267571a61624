//! Does a device compute? Opening a hardware device runs the kernels that matter over a few hundred instances and
//! compares with the twins in f64, over memory filled with NaN. Drivers exist that take every call and compute
//! nothing, and a model that was trained on one would come out without a word.

use super::choose::Description;
use super::trial::{Fault, Of, Results, Trial, param, run_on};
use super::{GpuDevice, env_flag};
use crate::device::{Checks, Device, Kind};
use crate::error::{Error, Result};
use crate::kernels::launch::Input;
use crate::ops::attention_pool::AttentionPool;
use crate::ops::matmul::Linear;
use crate::ops::pointwise::Activation;
use crate::ops::reduce::ColumnSum;
use crate::plan::{Purpose, Reductions, Target};
use crate::tape::Storage;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// What is known of a device that was opened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Checked {
    /// Its results are right.
    Passed {
        /// What it took, compilation included.
        milliseconds: f64,
        /// Results that were compared.
        results: usize,
    },
    /// It was not asked, because of this.
    Not(&'static str),
}

impl std::fmt::Display for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Checked::Passed { milliseconds, results } => {
                write!(f, "{results} results of its kernels are right (checked in {milliseconds:.0} ms)")
            }
            Checked::Not(why) => write!(f, "its kernels are not checked ({why})"),
        }
    }
}

/// True when nothing is to be checked at all.
pub(super) fn skipped(checks: Checks) -> bool {
    match checks {
        Checks::Hardware => env_flag("BAGRAD_SKIP_DEVICE_CHECK"),
        Checks::Always => false,
        Checks::Never => true,
    }
}

/// Lets a device compute what is known.
///
/// # Errors
/// [`Error::Device`] that tells what was wrong.
pub(super) fn examine(gpu: &GpuDevice) -> Result<Checked> {
    let options = gpu.options();
    if gpu.info().backend == wgpu::Backend::Noop {
        return Ok(Checked::Not("it executes no shaders"));
    }
    if skipped(options.checks) {
        return Ok(Checked::Not("they were left out on request"));
    }
    let software = Description::of(gpu.info()).kind == Kind::Cpu;
    if software && options.checks != Checks::Always {
        return Ok(Checked::Not("a software driver"));
    }
    let begin = Instant::now();
    let (device, target) = (Device::Gpu(gpu.clone()), gpu.target());
    let run = |trial: &Trial| {
        let mut results = run_on(&device, target, trial)?;
        if options.fail_self_test {
            results[0].iter_mut().for_each(|v| *v *= 2.0);
        }
        Ok(results)
    };
    let results = compare(run).map_err(|why| refusal(gpu.name(), &why))?;
    Ok(Checked::Passed { milliseconds: begin.elapsed().as_secs_f64() * 1e3, results })
}

/// The same programs with every kernel that reduces doing so within subgroups.
///
/// # Errors
/// [`Error::Device`] that tells what was wrong.
pub(super) fn examine_subgroups(gpu: &GpuDevice) -> Result<()> {
    let (device, target) = (Device::Gpu(gpu.clone()), Target { reductions: Reductions::Subgroups, ..gpu.target() });
    let found = compare(|trial| run_on(&device, target, trial));
    let message = |why| format!("{}: reductions within subgroups are not right: {why}", gpu.name());
    found.map(|_| ()).map_err(|why| Error::Device { message: message(why) })
}

fn refusal(name: &str, why: &str) -> Error {
    Error::Device {
        message: format!(
            "{name} was refused, because its kernels are not right: {why}. Its driver may be broken, or compute \
             nothing at all; BAGRAD_SKIP_DEVICE_CHECK=1 takes it unchecked"
        ),
    }
}

/// The results that were compared, or what is wrong with them.
fn compare(mut run: impl FnMut(&Trial) -> Result<Results>) -> std::result::Result<usize, String> {
    let mut compared = 0;
    for trial in [storage(), training()] {
        let trial = trial.map_err(|e| e.to_string())?;
        let wanted = trial.wanted().map_err(|e| e.to_string())?;
        // A compiler may panic where it does not support something.
        let found = catch_unwind(AssertUnwindSafe(|| run(&trial)));
        let found = found.map_err(|_| "a shader compiler gave up".to_string())?;
        let found = found.map_err(|e| e.to_string())?;
        trial.judge(&found, &wanted).map_err(|fault: Fault| fault.to_string())?;
        compared += wanted.len();
    }
    Ok(compared)
}

/// Bags of one tile, of many and of some; more rows than one pass of a reduction takes.
const SIZES: [usize; 3] = [1, 530, 69];
/// Widths are multiples of four, so that the variants are those that training uses, and of nothing else.
const WIDTH: usize = 76;
const HIDDEN: u32 = 60;
const INNER: u32 = 36;
const HEADS: u32 = 2;

/// Of products and sums; of what takes exponentials, for which GPUs have instructions of their own.
const TOLERANCE: f64 = 1e-5;
const CURVED: f64 = 1e-4;

/// Features in f16: as a factor of a product, and unpacked and added up.
fn storage() -> Result<Trial> {
    Trial::new(11, &SIZES, (WIDTH, Storage::F16), Purpose::Predict, |tape, x| {
        let w = param(tape, HIDDEN, WIDTH as u32);
        let sums = tape.push1(ColumnSum, &[x])?;
        tape.output("sums", sums);
        let y = tape.push1(Linear { activation: Activation::None }, &[x, w])?;
        tape.output("y", y);
        Ok(vec![
            ("unpack and sum_rows", Of::Output(0), TOLERANCE),
            ("matmul with a factor in f16", Of::Output(1), TOLERANCE),
        ])
    })
}

/// What gated attention trains with, forward and backward.
fn training() -> Result<Trial> {
    Trial::new(12, &SIZES, (WIDTH, Storage::F32), Purpose::Upstream, |tape, x| {
        let (w1, b1) = (param(tape, HIDDEN, WIDTH as u32), param(tape, 1, HIDDEN));
        let (w2, b2) = (param(tape, 2 * INNER, HIDDEN), param(tape, 1, 2 * INNER));
        let (w3, b3) = (param(tape, HEADS, INNER), param(tape, 1, HEADS));
        let tables = [Input::Tiles, Input::BagTiles, Input::Offsets];
        let [tiles, bag_tiles, offsets] = tables.map(|t| tape.batch(t, if t == Input::Tiles { 4 } else { 1 }));
        let h = tape.push1(Linear { activation: Activation::Relu }, &[x, w1, b1])?;
        let pre = tape.push1(Linear { activation: Activation::None }, &[h, w2, b2])?;
        let pool = AttentionPool { gated: true };
        let pooled = tape.push(pool, &[pre, h, w3, b3, tiles, bag_tiles, offsets])?;
        for (name, value) in [("h", h), ("pre", pre), ("scores", pooled[1]), ("z", pooled[0])] {
            tape.output(name, value);
        }
        Ok(vec![
            ("matmul with bias and activation", Of::Output(0), TOLERANCE),
            ("matmul with bias", Of::Output(1), TOLERANCE),
            ("pool_part", Of::Output(2), CURVED),
            ("pool_part and pool_end", Of::Output(3), CURVED),
            ("score_grad and sum_rows", Of::Param(4), CURVED),
            ("score_grad and sum_rows", Of::Param(5), CURVED),
            ("sum_rows", Of::Param(3), CURVED),
            ("matmul over the instances", Of::Param(2), CURVED),
            ("sum_rows", Of::Param(1), CURVED),
            ("matmul over the instances", Of::Param(0), CURVED),
            ("matmul for the gradient of features", Of::Features, CURVED),
        ])
    })
}

#[cfg(test)]
mod tests {
    use super::super::trial::played;
    use super::*;
    use crate::device::GpuOptions;

    #[test]
    fn devices_that_compute_pass() {
        assert_eq!(compare(played::right).unwrap(), 13);
    }

    /// No derivative may hang on how a sum was rounded.
    #[test]
    fn no_value_lies_at_the_bend_of_relu() {
        let trial = training().unwrap();
        let h = &trial.wanted().unwrap()[0];
        assert!(h.iter().filter(|v| **v > 0.0).all(|v| *v > 1e-5) && h.contains(&0.0));
        let host = &played::right(&trial).unwrap()[0];
        assert!(h.iter().zip(host).all(|(a, b)| (*a > 0.0) == (*b > 0.0)));
    }

    #[test]
    fn devices_that_do_not_are_found_out() {
        for (what, spoil) in played::WRONG {
            let refused = compare(|t| played::wrong(t, spoil, None)).expect_err(what);
            assert!(refused.contains("results of unpack and sum_rows differ"), "{what}: {refused}");
        }
        let failing = compare(|_| Err(Error::Device { message: "lost".to_string() })).unwrap_err();
        assert!(failing.contains("lost"), "{failing}");
        assert!(compare(|_| panic!("by a compiler")).unwrap_err().contains("gave up"));
        assert!(compare(|_| Ok(Vec::new())).is_err() && compare(|t| Ok(vec![Vec::new(); t.results.len()])).is_err());
    }

    /// Each result counts, and is called by the kernels that made it.
    #[test]
    fn every_result_is_looked_at() {
        for trial in [storage().unwrap(), training().unwrap()] {
            let wanted = trial.wanted().unwrap();
            for (n, result) in trial.results.iter().enumerate() {
                for (what, spoil) in played::WRONG {
                    let found = played::wrong(&trial, spoil, Some(n)).unwrap();
                    let fault = trial.judge(&found, &wanted).expect_err(what);
                    assert_eq!(fault.kernels, result.kernels, "{what}: {fault}");
                }
            }
        }
    }

    /// Through the real executor: buffers that are kept, and shaders that are not executed.
    #[test]
    fn a_driver_that_computes_nothing_is_found_out() {
        let gpu = GpuDevice::noop(GpuOptions { checks: Checks::Always, ..GpuOptions::default() }).unwrap();
        assert_eq!(examine(&gpu).unwrap(), Checked::Not("it executes no shaders"));
        let device = Device::Gpu(gpu.clone());
        let refused = compare(|t| run_on(&device, gpu.target(), t)).unwrap_err();
        assert!(refused.contains("there are none where numbers belong"), "{refused}");
        let message = refusal("Voodoo 2", &refused).to_string();
        assert!(
            message.contains("Voodoo 2 was refused") && message.contains("BAGRAD_SKIP_DEVICE_CHECK=1"),
            "{message}"
        );
    }
}
