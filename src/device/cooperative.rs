//! Cooperative matrices: which form of them a device has, and whether its results are right.
//!
//! Drivers list shapes that they multiply wrongly, or that our shader language cannot name, and the feature is
//! experimental in wgpu. So a device has to pass a test before products run on them: all transposed forms, at
//! sizes that are multiples of nothing, with values that f16 rounds, holds as subnormals, or cannot hold,
//! against the plain kernel on the same device.

use super::executor::{Executor, Step, Upload};
use super::gpu::GpuDevice;
use super::{Device, gpu};
use crate::error::Result;
use crate::kernels::launch::{BufferKey, Extent, Input, Place, Scalars};
use crate::kernels::matmul_coop::Coop;
use crate::ops::Op;
use crate::ops::matmul::Linear;
use crate::ops::pointwise::Activation;
use crate::plan::{self, Class, Purpose, Target};
use crate::precision::LossScale;
use crate::random::Random;
use crate::tape::{Init, Param, Storage, Tape, feature_stride};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is known about the cooperative matrices of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The adapter lists no shape that fits: f16 factors, f32 sums, square, in subgroups of one size.
    Absent(String),
    /// Switched off by an option or by `BAGRAD_NO_COOPERATIVE`.
    Off,
    /// They passed the self-test.
    Passed(Coop),
    /// They did not; the plain kernel does the work.
    Failed(String),
}

impl Verdict {
    /// What products may use.
    pub fn usable(&self) -> Option<Coop> {
        if let Verdict::Passed(coop) = self { Some(*coop) } else { None }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verdict::Absent(why) => write!(f, "no cooperative matrices ({why})"),
            Verdict::Off => f.write_str("cooperative matrices are switched off"),
            Verdict::Passed(Coop { side, small, large, .. }) => {
                write!(f, "cooperative matrices of {side} passed their self-test")?;
                if small & large { Ok(()) } else { f.write_str(" in one size of workgroups") }
            }
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
    let lanes = match (info.subgroup_min_size, info.subgroup_max_size) {
        _ if info.backend == wgpu::Backend::Metal => 32,
        (least, most) if least == most => most,
        (least, most) => return Err(format!("subgroups of {least} to {most}, not of one size")),
    };
    if 4 * lanes > gpu.limits().max_compute_invocations_per_workgroup {
        return Err(format!("four subgroups of {lanes} do not fit a workgroup"));
    }
    let room = gpu.limits().max_compute_workgroup_storage_size;
    let coop = Coop { side, lanes, small: false, large: false };
    let fits = |large| coop.shape(large).workgroup_bytes() <= room;
    if !fits(false) {
        return Err(format!("workgroups have {room} bytes of memory"));
    }
    Ok(Coop { small: true, large: fits(true), ..coop })
}

/// Finds out.
pub(super) fn examine(gpu: &GpuDevice) -> Verdict {
    if gpu.options().no_cooperative || gpu::env_flag("BAGRAD_NO_COOPERATIVE") {
        return Verdict::Off;
    }
    let listed = match candidate(gpu) {
        Ok(coop) => coop,
        Err(why) => return Verdict::Absent(why),
    };
    let mut passed = Coop { small: false, large: false, ..listed };
    let mut why = Vec::new();
    for large in [false, true] {
        let only = Coop { small: !large, large, ..listed };
        if large && !listed.large {
            continue;
        }
        // The experimental path of the shader compiler may panic where it does not support something.
        let outcome = catch_unwind(AssertUnwindSafe(|| self_test(gpu, only)));
        let failure = match outcome {
            Ok(Ok(error)) if error < TOLERANCE => None,
            Ok(Ok(error)) => Some(format!("results differ by {error:.1e}")),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the shader compiler gave up".to_string()),
        };
        match failure {
            None if large => passed.large = true,
            None => passed.small = true,
            Some(reason) => why.push(reason),
        }
    }
    if passed.small || passed.large { Verdict::Passed(passed) } else { Verdict::Failed(why.join("; ")) }
}

/// Two f32 sums of the same 70 products in different orders differ by less, and one product that is rounded
/// otherwise makes more.
const TOLERANCE: f64 = 2e-5;

const ROWS: usize = 75;
const WIDTH: usize = 70;
const OUTPUTS: usize = 45;

/// The largest relative difference between both kernels over the rows of all results; infinite when a value
/// that f16 cannot hold does not become infinite.
fn self_test(gpu: &GpuDevice, coop: Coop) -> Result<f64> {
    let device = Device::Gpu(gpu.clone());
    // As a GPU, whatever it is: its rules take every shape.
    let plain = Target { class: Class::Gpu, units: 1, coop: None, tuning: None, ..gpu.target() };
    let wanted = products(&device, plain)?;
    let found = products(&device, Target { coop: Some(coop), ..plain })?;
    let mut worst: f64 = if gpu.options().fail_self_test { 1.0 } else { 0.0 };
    for (found, wanted) in found.iter().zip(&wanted) {
        let square = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>();
        if wanted.iter().any(|w| !w.is_finite()) {
            // The row of the value that overflows.
            let same = found.iter().zip(wanted).all(|(f, w)| f.is_finite() == w.is_finite());
            worst = worst.max(if same { 0.0 } else { f64::INFINITY });
            continue;
        }
        let difference = square(&mut found.iter().zip(wanted).map(|(f, w)| f - w));
        let size = square(&mut wanted.iter().copied()).max(f64::MIN_POSITIVE);
        let error = (difference / size).sqrt();
        worst = if error.is_nan() { f64::INFINITY } else { worst.max(error) };
    }
    Ok(worst)
}

/// Rows of y = tanh(x W^T + b), of dx and of dW, for factors that f16 has to round.
fn products(device: &Device, target: Target) -> Result<Vec<Vec<f64>>> {
    let mut tape = Tape::new();
    tape.mixed = Some(LossScale::default());
    let x = tape.features(WIDTH, Storage::F32, true);
    let param = |tape: &mut Tape, rows: usize, cols: usize| {
        let (rows, cols) = (rows as u32, cols as u32);
        tape.param(Param { name: "p".into(), rows, cols, init: Init::Constant(0.0), decays: true, parts: Vec::new() })
    };
    let (w, b) = (param(&mut tape, OUTPUTS, WIDTH), param(&mut tape, 1, OUTPUTS));
    let y = tape.push1(Op::Linear(Linear { activation: Activation::LeakyRelu(0.5) }), &[x, w, b])?;
    tape.output("y", y);

    let mut random = Random::new(7, 0);
    let mut numbers = |n: usize, scale: f64| -> Vec<f32> { (0..n).map(|_| (random.normal() * scale) as f32).collect() };
    let stride = feature_stride(WIDTH);
    let mut rows = numbers(ROWS * stride, 1.0);
    // Subnormals of f16 in one row, values beyond it in another.
    rows[3 * stride..4 * stride].iter_mut().for_each(|v| *v *= 1e-6);
    rows[66 * stride..67 * stride].fill(1e5);
    let (weights, bias) = (numbers(OUTPUTS * WIDTH, 0.2), vec![0.0; OUTPUTS]);
    let upstream = numbers(ROWS * OUTPUTS, 1.0);

    let extent = Extent { instances: ROWS as u32, bags: 1, tiles: 2, ..Extent::default() };
    let mut executor = Executor::new(device);
    let layout = tape.param_layout();
    let bytes = layout.total as u64 * 4;
    executor.ensure(BufferKey::Params, bytes)?;
    executor.ensure(BufferKey::Grads, bytes)?;
    for (values, offset) in [&weights, &bias].into_iter().zip(&layout.offsets) {
        executor.write(BufferKey::Params, *offset, values)?;
    }
    let program = plan::plan(&tape, Purpose::Upstream, target, extent)?;
    let id = executor.load(program.clone())?;
    let uploads =
        [Upload::F32(BufferKey::Input(Input::Features), &rows), Upload::F32(BufferKey::Upstream(0), &upstream)];
    executor.run(id, &Step { extent, scalars: Scalars::default(), uploads: &uploads, keep: &[] })?;
    let mut results = Vec::new();
    let mut take = |values: Vec<f64>, cols: usize| results.extend(values.chunks(cols).map(<[f64]>::to_vec));
    take(executor.read(program.outputs[0].1, ROWS * OUTPUTS)?, OUTPUTS);
    let (place, _) = program.feature_grad.expect("the features were to get one");
    take(executor.read(place, ROWS * WIDTH)?, WIDTH);
    let flat = Place { buffer: BufferKey::Grads, offset: 0, bytes };
    take(executor.read(flat, OUTPUTS * WIDTH)?, WIDTH);
    Ok(results)
}
