//! Gaussians: the divergence against finite differences and devices against the oracle; samples that are
//! the same everywhere, normal, and differentiated by what was drawn.

use crate::common;
use crate::common::check::{Case, WIDTHS, against_differences, against_oracle, batches, compare, param};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::ops::gaussian::{GaussianKl, GaussianRowKl, Reparameterise};
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::{Activation, Multiply};
use bagrad::ops::reduce::{ColumnSum, RowSum};
use bagrad::plan::Purpose;
use bagrad::random::Random;
use bagrad::tape::{Storage, Tape, ValueId};

fn head(t: &mut Tape, x: ValueId, outputs: u32) -> ValueId {
    let weight = param(t, outputs, t.cols(x));
    t.push1(Linear { activation: Activation::Tanh }, &[x, weight]).unwrap()
}

/// Outside of training a sample is its mean.
fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "divergence".into(),
            build: Box::new(|t, x, w| {
                let (mean, v) = (head(t, x, w.output), head(t, x, w.output));
                vec![t.push1(GaussianKl { scale: 1.3 }, &[mean, v]).unwrap()]
            }),
            classes: |w| w.heads + 1,
            over_features: true,
        },
        Case {
            name: "divergence of rows".into(),
            build: Box::new(|t, x, w| {
                let (mean, v) = (head(t, x, w.output), head(t, x, w.output));
                vec![t.push1(GaussianRowKl, &[mean, v]).unwrap()]
            }),
            classes: |w| w.heads + 1,
            over_features: true,
        },
        Case {
            name: "mean of a sample".into(),
            build: Box::new(|t, x, w| {
                let (mean, v) = (head(t, x, w.output), head(t, x, w.output));
                let z = t.push1(Reparameterise { site: 0 }, &[mean, v]).unwrap();
                let again = t.push1(Reparameterise { site: 1 }, &[mean, v]).unwrap();
                vec![t.push1(Multiply, &[z, again]).unwrap()]
            }),
            classes: |w| w.heads + 1,
            over_features: true,
        },
    ]
}

#[test]
fn backward_agrees_with_finite_differences() {
    against_differences(&cases());
}

#[test]
fn host_agrees_with_the_oracle() {
    against_oracle(&Device::host(), 3e-5, &cases());
}

#[test]
fn gpu_agrees_with_the_oracle() {
    if let Some(gpu) = common::gpu() {
        against_oracle(&gpu, 3e-5, &cases());
    }
}

/// The sum of the products of two samples around the same mean.
fn sampled(width: u32, outputs: u32) -> Tape {
    let mut tape = Tape::new();
    let x = tape.features(width as usize, Storage::F32, true);
    let (mean, v) = (head(&mut tape, x, outputs), head(&mut tape, x, outputs));
    let draw = |tape: &mut Tape, site| tape.push1(Reparameterise { site }, &[mean, v]).unwrap();
    let (a, b) = (draw(&mut tape, 0), draw(&mut tape, 1));
    let y = tape.push1(Multiply, &[a, b]).unwrap();
    let sum = tape.push1(ColumnSum, &[y]).unwrap();
    tape.loss = Some(tape.push1(RowSum, &[sum]).unwrap());
    for (name, value) in [("mean", mean), ("variance", v), ("a", a), ("b", b)] {
        tape.output(name, value);
    }
    tape
}

const TRAINING: Purpose = Purpose::Gradients { dropout: true };

/// The formula by hand, in which finite differences would not see another function; and rows are parts of the mean.
#[test]
fn divergences_are_those_of_the_formula() {
    let mut tape = Tape::new();
    let x = tape.features(3, Storage::F32, true);
    let (mean, v) = (head(&mut tape, x, 4), head(&mut tape, x, 4));
    let rows = tape.push1(GaussianRowKl, &[mean, v]).unwrap();
    let all = tape.push1(GaussianKl { scale: 2.0 }, &[mean, v]).unwrap();
    for (name, value) in [("mean", mean), ("variance", v), ("rows", rows), ("all", all)] {
        tape.output(name, value);
    }
    let numbers = Numbers::random(&tape, &[3, 1, 9], 3, 2, 4);
    let found = run(&Device::oracle(), &tape, Purpose::Predict, &numbers, false).outputs;
    let [mean, v, rows, all] = [0, 1, 2, 3].map(|i| &found[i].1);
    let by_hand: Vec<f64> = mean.iter().zip(v).map(|(m, v)| 0.5 * (m * m + v.exp() - v - 1.0)).collect();
    for (row, by_hand) in rows.iter().zip(by_hand.chunks_exact(4)) {
        assert!((row - by_hand.iter().sum::<f64>() / 4.0).abs() < 1e-12, "{row} {by_hand:?}");
    }
    let mean = by_hand.iter().sum::<f64>() / by_hand.len() as f64;
    assert!(rows.len() == 13 && (all[0] - 2.0 * mean).abs() < 1e-12, "{} {mean}", all[0]);
}

#[test]
fn samples_are_the_same_everywhere() {
    let mut devices = vec![Device::host()];
    devices.extend(common::gpu());
    for (widths, sizes) in WIDTHS.into_iter().zip(batches()) {
        let tape = sampled(widths.input, widths.output);
        let numbers = Numbers::random(&tape, &sizes, widths.input as usize, 2, 21);
        let wanted = run(&Device::oracle(), &tape, TRAINING, &numbers, false);
        for device in &devices {
            let found = run(device, &tape, TRAINING, &numbers, true);
            compare(&format!("samples {widths:?} on {}", device.name()), &found, &wanted, 3e-5);
        }
        let again = Numbers { step: 4, ..numbers.clone() };
        let other = run(&Device::oracle(), &tape, TRAINING, &again, false);
        assert_ne!(other.outputs[2].1, wanted.outputs[2].1, "the next step draws other numbers");
    }
}

#[test]
fn samples_are_normal() {
    let tape = sampled(3, 65);
    let numbers = Numbers::random(&tape, &[1100], 3, 2, 5);
    let results = run(&Device::oracle(), &tape, TRAINING, &numbers, false);
    let of = |i: usize| &results.outputs[i].1;
    let eps = |sample: usize| -> Vec<f64> {
        let parts = of(sample).iter().zip(of(0)).zip(of(1));
        parts.map(|((z, mean), v)| (z - mean) / (v / 2.0).exp()).collect()
    };
    let (a, b) = (eps(2), eps(3));
    let count = a.len() as f64;
    let moment = |f: &dyn Fn(usize) -> f64| (0..a.len()).map(f).sum::<f64>() / count;
    // Five standard errors of each moment of `count` independent normal numbers.
    let near = |what: &str, found: f64, wanted: f64, variance: f64| {
        assert!((found - wanted).abs() < 5.0 * (variance / count).sqrt(), "{what}: {found}, wanted {wanted}");
    };
    near("mean", moment(&|i| a[i]), 0.0, 1.0);
    near("variance", moment(&|i| a[i].powi(2)), 1.0, 2.0);
    near("third moment", moment(&|i| a[i].powi(3)), 0.0, 15.0);
    near("fourth moment", moment(&|i| a[i].powi(4)), 3.0, 96.0);
    near("two draws", moment(&|i| a[i] * b[i]), 0.0, 1.0);
    near("neighbours", moment(&|i| a[i] * a[(i + 1) % a.len()]), 0.0, 1.0);
    let beyond = a.iter().filter(|e| e.abs() > 1.959_964).count() as f64 / count;
    near("beyond 1.96", beyond, 0.05, 0.05 * 0.95);
}

/// The gradient of both heads through the samples, along a random direction.
#[test]
fn samples_pass_gradients() {
    let tape = sampled(3, 5);
    let mut numbers = Numbers::random(&tape, &[7, 1, 70], 3, 2, 8);
    let h = 2f32.powi(-20);
    let mut random = Random::new(1, 1);
    for i in 0..2 {
        numbers.params[i].iter_mut().for_each(|v| *v = (*v * 2048.0).floor() / 2048.0);
        let direction: Vec<f32> =
            numbers.params[i].iter().map(|_| if random.u32() & 1 == 0 { 1.0 } else { -1.0 }).collect();
        let at = |sign: f32| {
            let mut moved = numbers.clone();
            moved.params[i].iter_mut().zip(&direction).for_each(|(v, d)| *v += sign * h * d);
            run(&Device::oracle(), &tape, TRAINING, &moved, false).loss.unwrap()
        };
        let numeric = (at(1.0) - at(-1.0)) / (2.0 * h as f64);
        let results = run(&Device::oracle(), &tape, TRAINING, &numbers, false);
        let expected: f64 = results.params[i].iter().zip(&direction).map(|(g, d)| g * *d as f64).sum();
        let size: f64 = results.params[i].iter().map(|g| g.abs()).sum();
        assert!((numeric - expected).abs() < 1e-6 * size, "parameter {i}: {numeric} {expected}");
    }
}
