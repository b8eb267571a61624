//! Products of factors rounded to f16: the values they are made of, their sums, and which kernel computes them.

use super::common::{self, check, harness};
use super::{gpu_of, has_matrices, planned};
use bagrad::device::gpu::cooperative::Verdict;
use bagrad::device::{Device, GpuOptions};
use bagrad::kernels::launch::Extent;
use bagrad::ops::matmul::{Linear, Matmul};
use bagrad::ops::pointwise::Activation;
use bagrad::plan::{self, Purpose, Target};
use bagrad::precision::LossScale;
use bagrad::tape::{Storage, Tape};
use half::f16;
use harness::{Numbers, Results};

/// As [`harness::run`], on what mixed precision is planned for.
fn run(device: &Device, tape: &Tape, numbers: &Numbers, spare: bool) -> Results {
    harness::run_on(device, device.target_for(true), tape, Purpose::Upstream, numbers, spare).unwrap()
}

fn names(device: &Device, tape: &Tape, target: Target, rows: u32) -> Vec<&'static str> {
    let extent = Extent::of([rows]);
    let program = plan::plan(tape, Purpose::Upstream, target, extent).unwrap_or_else(|e| panic!("{device:?}: {e}"));
    program.launches.iter().map(|l| l.kernel.name).collect()
}

/// Every device, and every form of the kernels on a GPU.
fn devices() -> Vec<Device> {
    let mut all = vec![Device::host()];
    all.extend(common::gpu());
    all.extend(common::gpu_without_f16());
    for units in [1, 1 << 20] {
        all.extend(planned(units, GpuOptions::default()));
    }
    // As on GPUs whose drivers choose the size of subgroups: fewer lanes than there might be, and as many. On lavapipe
    // subgroups have eight, so that is eight subgroups where there might be four, and four where there might be eight.
    let pretended = [(1 << 20, (8, 16)), (1 << 20, (4, 8)), (1, (8, 32))];
    let pretended =
        pretended.map(|(units, sizes)| planned(units, GpuOptions { subgroups: Some(sizes), ..GpuOptions::default() }));
    all.extend(pretended.into_iter().flatten().filter(has_matrices));
    all
}

/// A layer over features of `width` with `outputs`, in mixed precision.
fn layer(width: u32, outputs: u32, storage: Storage, activation: Activation) -> Tape {
    let mut tape = Tape::new();
    tape.mixed = Some(LossScale::default());
    let x = tape.features(width as usize, storage, storage == Storage::F32);
    let (w, b) = (check::param(&mut tape, outputs, width), check::param(&mut tape, 1, outputs));
    let y = tape.push1(Linear { activation }, &[x, w, b]).unwrap();
    tape.output("y", y);
    tape
}

fn rounded(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f16::from_f32(*v).to_f64()).collect()
}

/// C[m, n] = sum over k, and the sum of the sizes of what was added.
fn product(sizes: [usize; 3], a: impl Fn(usize, usize) -> f64, b: impl Fn(usize, usize) -> f64) -> Vec<(f64, f64)> {
    let [m, n, k] = sizes;
    let one = |i: usize, j: usize| (0..k).map(|l| a(i, l) * b(l, j)).fold((0.0, 0.0), |(s, t), v| (s + v, t + v.abs()));
    (0..m).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| one(i, j)).collect()
}

/// Each value within the error of `k` additions in f32.
fn close(what: &str, found: &[f64], wanted: &[(f64, f64)], k: usize) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (i, (found, (sum, size))) in found.iter().zip(wanted).enumerate() {
        let bound = (k + 4) as f64 * 2f64.powi(-23) * size + 1e-30;
        assert!((found - sum).abs() <= bound, "{what} {i}: {found} instead of {sum}, bound {bound:.1e}");
    }
}

/// Rows, inner size, columns: one, below and above the sides of matrices and of tiles, primes.
const SIZES: [(usize, u32, u32); 12] = [
    (1, 1, 1),
    (3, 7, 5),
    (8, 8, 8),
    (9, 17, 15),
    (16, 16, 16),
    (31, 40, 33),
    (33, 31, 64),
    (65, 63, 129),
    (130, 128, 67),
    (127, 257, 96),
    (1300, 36, 24),
    (2100, 70, 130),
];

/// Forward, gradient of the input and gradient of the weights against arithmetic in f64 on rounded factors.
#[test]
fn products_are_those_of_rounded_factors() {
    for device in devices() {
        if let Device::Gpu(_) = device {
            has_matrices(&device);
        }
        for (n, (rows, width, outputs)) in SIZES.into_iter().enumerate() {
            let tape = layer(width, outputs, Storage::F32, Activation::None);
            let numbers = Numbers::random(&tape, &[rows], width as usize, 1, 40 + n as u64);
            let found = run(&device, &tape, &numbers, n % 2 == 0);
            let (d, o) = (width as usize, outputs as usize);
            let (x, w, g) = (rounded(&numbers.features), rounded(&numbers.params[0]), rounded(&numbers.upstream[0]));
            let what = |part: &str| format!("{part} of {rows} x {width} x {outputs} on {device:?}");
            let mut y = product([rows, o, d], |i, k| x[i * d + k], |k, j| w[j * d + k]);
            for (i, y) in y.iter_mut().enumerate() {
                let bias = numbers.params[1][i % o] as f64;
                *y = (y.0 + bias, y.1 + bias.abs());
            }
            close(&what("y"), &found.outputs[0].1, &y, d);
            let dx = product([rows, d, o], |i, k| g[i * o + k], |k, j| w[k * d + j]);
            close(&what("dx"), found.features.as_ref().unwrap(), &dx, o);
            let dw = product([o, d, rows], |i, k| g[k * o + i], |k, j| x[k * d + j]);
            close(&what("dW"), &found.params[0], &dw, rows);
        }
    }
}

/// Activations, f16 features, both factors transposed, and gradients that are added to, against the oracle.
#[test]
fn every_form_agrees_with_the_oracle() {
    let oracle = Device::oracle();
    for device in devices() {
        for (storage, activation) in [
            (Storage::F16, Activation::Tanh),
            (Storage::F32, Activation::Sigmoid),
            (Storage::F32, Activation::LeakyRelu(0.1)),
        ] {
            for (rows, width, outputs) in [(70, 33, 40), (129, 64, 17)] {
                let tape = layer(width, outputs, storage, activation);
                let numbers = Numbers::random(&tape, &[rows, 2], width as usize, 1, 9);
                let wanted = run(&oracle, &tape, &numbers, false);
                // A gradient that lies between two values of f16 may be rounded to either.
                check::compare(
                    &format!("{activation:?} on {device:?}"),
                    &run(&device, &tape, &numbers, true),
                    &wanted,
                    2e-4,
                );
            }
        }
        for (a_t, b_t) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut tape = Tape::new();
            tape.mixed = Some(LossScale::default());
            let (m, n, k) = (37, 50, 45);
            let mut side = |rows: u32, cols: u32, t: bool| match t {
                false => check::param(&mut tape, rows, cols),
                true => check::param(&mut tape, cols, rows),
            };
            let (a, b) = (side(m, k, a_t), side(k, n, b_t));
            // Twice, so that both gradients are added to.
            for name in ["y", "z"] {
                let y = tape.push1(Matmul { a_t, b_t }, &[a, b]).unwrap();
                tape.output(name, y);
            }
            let numbers = Numbers::random(&tape, &[3], 1, 1, 5);
            let wanted = run(&oracle, &tape, &numbers, false);
            check::compare(&format!("{a_t} {b_t} on {device:?}"), &run(&device, &tape, &numbers, false), &wanted, 1e-6);
        }
    }
}

/// A product with the identity shows the rounded factor itself: the same bits everywhere.
#[test]
fn factors_are_rounded_as_ieee_says() {
    const D: usize = 64;
    let mut values: Vec<f32> = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        65_504.0,
        65_519.996,
        -65_519.0,
        6.1035e-5,
        6.0975e-5,
        5.9604645e-8,
        2.9802322e-8,
        2.9802326e-8,
        -8.9e-8,
        1e-7,
        3.3e-6,
        1e-30,
        1e-45,
    ];
    // Ties between neighbours, and values next to them.
    for i in 0..1000u32 {
        let tie = f32::from_bits(0x3f80_1000 + (i << 13));
        values.extend([tie, f32::from_bits(tie.to_bits() + 1), -f32::from_bits(tie.to_bits() - 1)]);
        values.push((i as f32 + 0.5) * 5.960_464_5e-8);
    }
    values.resize(values.len().next_multiple_of(D), 0.25);
    let rows = values.len() / D;
    for device in devices() {
        let tape = layer(D as u32, D as u32, Storage::F32, Activation::None);
        let mut numbers = Numbers::random(&tape, &[rows], D, 1, 1);
        numbers.features.clone_from(&values);
        numbers.params[0].iter_mut().enumerate().for_each(|(i, v)| *v = (i % D == i / D) as u32 as f32);
        numbers.params[1].fill(0.0);
        let found = run(&device, &tape, &numbers, false);
        for (found, value) in found.outputs[0].1.iter().zip(&values) {
            assert_eq!(*found, f16::from_f32(*value).to_f64(), "{value:e} on {device:?}");
        }
        // What f16 cannot hold is infinite, and no number times zero.
        numbers.features[5] = 65_520.0;
        let found = run(&device, &tape, &numbers, false);
        assert_eq!(found.outputs[0].1[5], f64::INFINITY, "{device:?}");
        assert!(found.outputs[0].1[6].is_nan() && found.outputs[0].1[D].is_finite(), "{device:?}");
    }
}

/// Matrices are used where they passed; a device without them, an option, or a self-test that fails leave the
/// plain kernel.
#[test]
fn the_plain_kernel_is_the_fallback() {
    let Some(device) = planned(1, GpuOptions::default()) else { return };
    let tape = layer(64, 96, Storage::F32, Activation::None);
    let mixed = |device: &Device| names(device, &tape, device.target_for(true), 300);
    let there = has_matrices(&device);
    assert_eq!(mixed(&device).contains(&"matmul_coop"), there);
    assert!(!names(&device, &tape, device.target(), 300).contains(&"matmul_coop"), "{device:?} was not tested");

    let off = planned(1, GpuOptions { no_cooperative: true, ..GpuOptions::default() }).unwrap();
    assert_eq!(*gpu_of(&off).cooperative(), Verdict::Off);
    let failing = planned(1, GpuOptions { fail_self_test: true, ..GpuOptions::default() }).unwrap();
    match gpu_of(&failing).cooperative() {
        Verdict::Failed(why) => assert!(there && why.contains("differ"), "{why}"),
        Verdict::Absent(why) => assert!(!there && !why.is_empty()),
        other => panic!("{other}"),
    }
    let numbers = Numbers::random(&tape, &[300], 64, 1, 2);
    let wanted = run(&Device::oracle(), &tape, &numbers, false);
    for device in [off, failing] {
        assert_eq!(device.target_for(true).coop, None);
        assert!(mixed(&device).contains(&"matmul") && !mixed(&device).contains(&"matmul_coop"));
        check::compare(&format!("{device:?}"), &run(&device, &tape, &numbers, false), &wanted, 1e-6);
    }
}
