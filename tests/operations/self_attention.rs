//! Self-attention within bags: against a plain N x N computation, finite differences and the oracle, and in
//! memory that grows with the instances, not their pairs.

use crate::common;
use crate::common::check::{Build, Case, Widths, against_differences, against_oracle, over_bags, param, record};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::kernels::launch::{BufferKey, Input};
use bagrad::ops::Op;
use bagrad::ops::pointwise::{Activate, Activation, AddScaled};
use bagrad::ops::self_attention::{Energy, SelfAttention};
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape, ValueId};

const DISTANCE: Energy = Energy::Distance { scale: 0.5, unit: 0.25 };

const ENERGIES: [Energy; 8] = [
    Energy::Dot { scale: 1.0 },
    Energy::Dot { scale: 0.25 },
    Energy::Rbf,
    Energy::InverseQuadratic,
    Energy::Laplace,
    Energy::Module,
    Energy::ModulePower,
    DISTANCE,
];

fn product(t: &mut Tape, x: ValueId, cols: u32) -> ValueId {
    use bagrad::ops::matmul::Linear;
    let weight = param(t, cols, t.cols(x));
    t.push1(Op::Linear(Linear { activation: Activation::None }), &[x, weight]).unwrap()
}

/// Columns of a head of q and k, and of v.
fn columns(energy: Energy, w: Widths) -> (u32, u32) {
    // Powers are slow; 65 and 70 columns take more than one chunk.
    let most = if energy == Energy::ModulePower { 5 } else { 65 };
    (w.output.min(most), w.hidden.min(70))
}

/// A factor of q and k that keeps energies of many columns apart by about one: where a softmax saturates, f32
/// has nothing left to compare.
fn shrink(energy: Energy, dims: u32) -> f32 {
    let dot = matches!(energy, Energy::Dot { .. } | Energy::Distance { .. });
    (dims as f32).powf(if dot { -0.25 } else { -0.5 })
}

fn attend(t: &mut Tape, x: ValueId, w: Widths, energy: Energy, positive: bool) -> Vec<ValueId> {
    let (dims, values) = columns(energy, w);
    let mut inputs = [dims, dims, values].map(|cols| product(t, x, w.heads * cols)).to_vec();
    for x in &mut inputs[..2] {
        let op = Op::AddScaled(AddScaled { a: shrink(energy, dims), b: 0.0 });
        *x = t.push1(op, &[*x, *x]).unwrap();
    }
    if matches!(energy, Energy::Rbf | Energy::InverseQuadratic | Energy::ModulePower) {
        let alpha = param(t, 1, w.heads);
        let kind = if positive { Activation::Exp } else { Activation::None };
        let mut alpha = t.push1(Op::Activate(Activate(kind)), &[alpha]).unwrap();
        if positive && energy == Energy::ModulePower {
            // Above 1: below, derivatives near equal values are as large as one likes.
            alpha = t.push1(Op::Activate(Activate(kind)), &[alpha]).unwrap();
        }
        inputs.push(alpha);
    }
    if energy == DISTANCE {
        let cols = [dims, dims, values, 1].map(|cols| w.heads * cols);
        inputs.extend(cols.map(|cols| param(t, 2, cols)));
        inputs.push(t.batch(Input::Coords, 2));
    }
    over_bags(t, Op::SelfAttention(SelfAttention { heads: w.heads, energy }), &inputs)
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for energy in ENERGIES {
        // With the second output D has a part from the log-sum-exp; once without is enough.
        let least = if matches!(energy, Energy::Dot { .. }) { 1 } else { 2 };
        for outputs in least..=2 {
            let build: Build = Box::new(move |t, x, w| attend(t, x, w, energy, true)[..outputs].to_vec());
            let name = format!("self-attention {energy:?}, {outputs} outputs");
            cases.push(Case { name, build, classes: |w| w.heads + 1, over_features: true });
        }
    }
    cases
}

#[test]
fn backward_agrees_with_finite_differences() {
    against_differences(&cases());
}

/// The gradients of alpha, beta and theta are single numbers in which all pairs nearly cancel (powers most of
/// all), and that of an absolute value jumps where two of millions of numbers are equal in f32 but not in f64:
/// more room than for inner products.
fn like_the_oracle(device: &Device, tolerance: f64) {
    for case in cases() {
        let room = match &case.name {
            name if name.contains("Dot") => 1.0,
            name if name.contains("Power") => 50.0,
            _ => 10.0,
        };
        against_oracle(device, room * tolerance, &[case]);
    }
}

#[test]
fn host_agrees_with_the_oracle() {
    like_the_oracle(&Device::host(), 2e-5);
}

#[test]
fn gpu_agrees_with_the_oracle() {
    if let Some(gpu) = common::gpu() {
        like_the_oracle(&gpu, 3e-5);
    }
}

/// E(q, k) as the definitions say it.
fn energy_of(energy: Energy, q: &[f64], k: &[f64], alpha: f64) -> f64 {
    let pairs = || q.iter().zip(k);
    let squares: f64 = pairs().map(|(q, k)| (q - k).powi(2)).sum();
    let a = alpha.max(0.0);
    match energy {
        Energy::Dot { scale } | Energy::Distance { scale, .. } => {
            scale as f64 * pairs().map(|(q, k)| q * k).sum::<f64>()
        }
        Energy::Rbf => (-a * squares).exp(),
        Energy::InverseQuadratic => 1.0 / (a * squares + 1.0),
        Energy::Laplace => -pairs().map(|(q, k)| (q - k).abs()).sum::<f64>(),
        Energy::Module => pairs().map(|(q, k)| (q - k).abs() - q.abs() - k.abs()).sum(),
        Energy::ModulePower => pairs().map(|(q, k)| (q - k).abs().powf(a) - q.abs().powf(a) - k.abs().powf(a)).sum(),
    }
}

/// What the cases make of the parameter of alpha.
fn alpha_of(energy: Energy, parameter: f32) -> f64 {
    let exp = (parameter as f64).exp();
    if energy == Energy::ModulePower { exp.exp() } else { exp }
}

/// Rows times a transposed weight matrix.
fn times(x: &[f64], w: &[f32], inputs: usize) -> Vec<f64> {
    let row = |x: &[f64]| -> Vec<f64> {
        w.chunks_exact(inputs).map(|w| x.iter().zip(w).map(|(x, w)| x * *w as f64).sum()).collect()
    };
    x.chunks_exact(inputs).flat_map(row).collect()
}

/// The whole matrix of every bag, softmax and product, one pair after the other.
#[test]
fn forward_agrees_with_the_whole_matrix() {
    let sizes = [1usize, 2, 63, 64, 65, 200];
    let mut devices = vec![(Device::oracle(), 1e-12), (Device::host(), 1e-5)];
    devices.extend(common::gpu().map(|gpu| (gpu, 2e-5)));
    let widths = Widths { input: 6, output: 8, hidden: 12, heads: 2 };
    for energy in ENERGIES {
        let build: Build = Box::new(move |t, x, w| attend(t, x, w, energy, true)[..2].to_vec());
        let tape = record(&build, widths, Storage::F32, false);
        let numbers = Numbers::random(&tape, &sizes, 6, 2, 8);
        let x: Vec<f64> = numbers.features.iter().map(|v| *v as f64).collect();
        let (dims, values) = columns(energy, widths);
        let shrink = shrink(energy, dims) as f64;
        let (heads, dims, values) = (2usize, dims as usize, values as usize);
        let [q, k, v] = [(0, shrink), (1, shrink), (2, 1.0)]
            .map(|(i, s)| times(&x, &numbers.params[i], 6).iter().map(|x| s * x).collect::<Vec<f64>>());
        let (mut out, mut lse) = (Vec::new(), Vec::new());
        let mut start = 0;
        for size in sizes {
            for i in start..start + size {
                for h in 0..heads {
                    let alpha = if numbers.params.len() == 4 { alpha_of(energy, numbers.params[3][h]) } else { 0.0 };
                    let of = |x: &[f64], row: usize, width: usize| -> Vec<f64> {
                        x[(row * heads + h) * width..][..width].to_vec()
                    };
                    // phi u + (1 - phi) v of prototypes number n, nothing on the diagonal.
                    let bias = |j: usize, n: usize, width: usize| -> Vec<f64> {
                        if energy != DISTANCE || i == j {
                            return vec![0.0; width];
                        }
                        let place = |row: usize| [0, 1].map(|c| numbers.coords[2 * row + c] as f64);
                        let ([a, b], [c, d]) = (place(i), place(j));
                        let apart = 0.25 * (a - c).hypot(b - d);
                        let (beta, theta) = (numbers.params[6][h] as f64, numbers.params[6][heads + h] as f64);
                        let phi = 1.0 / (1.0 + (-beta * (apart - theta)).exp());
                        let p = &numbers.params[3 + n];
                        let [u, v] = [0, 1].map(|part| &p[(part * heads + h) * width..][..width]);
                        u.iter().zip(v).map(|(u, v)| phi * *u as f64 + (1.0 - phi) * *v as f64).collect()
                    };
                    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
                    let energies: Vec<f64> = (start..start + size)
                        .map(|j| {
                            let (q, k) = (of(&q, i, dims), of(&k, j, dims));
                            let biases = dot(&q, &bias(j, 0, dims)) + dot(&k, &bias(j, 1, dims));
                            energy_of(energy, &q, &k, alpha) + 0.5 * biases
                        })
                        .collect();
                    let total: f64 = energies.iter().map(|e| e.exp()).sum();
                    lse.push(total.ln());
                    let mut row = vec![0.0; values];
                    for (j, e) in energies.iter().enumerate() {
                        let v = of(&v, start + j, values);
                        let bias = bias(start + j, 2, values);
                        row.iter_mut().zip(v).zip(bias).for_each(|((o, v), b)| *o += e.exp() / total * (v + b));
                    }
                    out.extend(row);
                }
            }
            start += size;
        }
        for (device, tolerance) in &devices {
            let found = run(device, &tape, Purpose::Predict, &numbers, true);
            for ((name, found), wanted) in found.outputs.iter().zip([&out, &lse]) {
                let e = common::error(found, wanted);
                assert!(e < *tolerance, "{energy:?} {name} on {device:?}: {e:.1e}");
            }
        }
    }
}

/// Where alpha is not positive the energy is that of alpha 0, and alpha gets no gradient.
#[test]
fn a_negative_alpha_is_held_at_zero() {
    let widths = Widths { input: 3, output: 4, hidden: 4, heads: 1 };
    for energy in [Energy::Rbf, Energy::InverseQuadratic, Energy::ModulePower] {
        let build: Build = Box::new(move |t, x, w| attend(t, x, w, energy, false)[..1].to_vec());
        let tape = record(&build, widths, Storage::F32, false);
        let mut numbers = Numbers::random(&tape, &[5, 70], 3, 2, 3);
        let mut devices = vec![Device::oracle(), Device::host()];
        devices.extend(common::gpu());
        for device in devices {
            let mut at = |alpha: f32| {
                numbers.params[3] = vec![alpha];
                run(&device, &tape, Purpose::Upstream, &numbers, false)
            };
            let (below, zero) = (at(-0.7), at(0.0));
            assert_eq!(below.outputs, zero.outputs, "{energy:?} on {device:?}");
            assert_eq!(below.params[3], [0.0], "{energy:?} on {device:?}");
        }
    }
}

/// Ten times the instances take ten times the memory, forward and backward.
#[test]
fn memory_is_linear_in_the_instances() {
    use crate::common::harness::extent;
    use bagrad::device::executor::Executor;
    use bagrad::plan;
    let widths = Widths { input: 16, output: 16, hidden: 64, heads: 1 };
    for energy in ENERGIES {
        let build: Build = Box::new(move |t, x, w| attend(t, x, w, energy, true)[..1].to_vec());
        let tape = record(&build, widths, Storage::F32, false);
        let bytes = [1_000, 10_000].map(|n: usize| {
            let mut executor = Executor::new(&Device::host());
            let values = tape.param_layout().total as u64;
            for key in [BufferKey::Params, BufferKey::Grads] {
                executor.ensure(key, values * 4).unwrap();
            }
            let program = plan::plan(&tape, Purpose::Upstream, Device::host().target(), extent(&[n])).unwrap();
            executor.load(program).unwrap();
            executor.memory().1
        });
        println!("{energy:?}: {} bytes for 1,000 instances, {} for 10,000", bytes[0], bytes[1]);
        assert!(bytes[1] < bytes[0] * 21 / 2, "{energy:?}: {bytes:?}");
    }
}

/// Eight heads of 64 columns over one bag of 50,000 instances, forward and backward, hold less than 2 GB besides
/// features and parameters; a column for the pairs of one head alone would be 10 GB.
#[test]
fn fifty_thousand_instances_take_less_than_two_gigabytes() {
    use crate::common::harness::extent;
    use bagrad::device::executor::Executor;
    use bagrad::device::{GpuDevice, GpuOptions};
    use bagrad::plan;
    let device = Device::Gpu(GpuDevice::noop(GpuOptions::default()).unwrap());
    let widths = Widths { input: 512, output: 64, hidden: 64, heads: 8 };
    for energy in [Energy::Dot { scale: 0.125 }, DISTANCE] {
        let build: Build = Box::new(move |t, x, w| attend(t, x, w, energy, true)[..1].to_vec());
        // In f16 the features get no gradient, as at the start of a model.
        let tape = record(&build, widths, Storage::F16, false);
        let values = tape.param_layout().total as u64;
        let mut executor = Executor::new(&device);
        executor.ensure(BufferKey::Params, values * 4).unwrap();
        executor.ensure(BufferKey::Grads, values * 4).unwrap();
        let program = plan::plan(&tape, Purpose::Upstream, device.target(), extent(&[50_000])).unwrap();
        executor.load(program).unwrap();
        let beyond = executor.memory().1 - 2 * 50_000 * 512 - values * 4;
        println!("{energy:?}: {beyond} bytes");
        assert!(beyond > 8 * 4 * 50_000 * 512, "{energy:?}: {beyond} bytes cannot hold q, k, v and their gradients");
        assert!(beyond < 2_000_000_000, "{energy:?}: {beyond} bytes");
    }
}
