//! Batch normalisation: against finite differences and the oracle.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, param};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::kernels::launch::Input;
use bagrad::ops::batch_norm::BatchNorm;
use bagrad::ops::matmul::{Linear, Matmul};
use bagrad::ops::pointwise::Activation;
use bagrad::ops::rows::Concat;
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape};

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: &str, build: Build| {
        cases.push(Case { name: name.into(), build, classes: |_| 2, over_features: true });
    };
    case(
        "batch norm of columns",
        Box::new(|t, x, w| {
            let (gain, bias) = (param(t, 1, w.input), param(t, 1, w.input));
            vec![t.push1(BatchNorm { channels: w.input, eps: 0.1, last: false }, &[x, gain, bias]).unwrap()]
        }),
    );
    case(
        "batch norm of images",
        Box::new(|t, x, w| {
            let (weight, gain, bias) = (param(t, 3 * 35, w.input), param(t, 1, 3), param(t, 1, 3));
            let h = t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap();
            vec![t.push1(BatchNorm { channels: 3, eps: 0.1, last: false }, &[h, gain, bias]).unwrap()]
        }),
    );
    case(
        "batch norm of nodes side by side",
        Box::new(|t, x, w| {
            let (weight, gain, bias) = (param(t, 3 * 5, w.input), param(t, 1, 3), param(t, 1, 3));
            let h = t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap();
            vec![t.push1(BatchNorm { channels: 3, eps: 0.1, last: true }, &[h, gain, bias]).unwrap()]
        }),
    );
    case(
        "batch norm with given statistics",
        Box::new(|t, x, w| {
            let (weight, gain, bias) = (param(t, 4 * 5, w.input), param(t, 1, 4), param(t, 1, 4));
            let h = t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap();
            // Positive numbers that carry no gradient.
            let weights = t.batch(Input::Weights, 1);
            let one = t.push1(Matmul { a_t: true, b_t: false }, &[weights, weights]).unwrap();
            let two = t.push1(Concat, &[one, one]).unwrap();
            let given = t.push1(Concat, &[two, two]).unwrap();
            let op = BatchNorm { channels: 4, eps: 0.1, last: false };
            vec![t.push1(op, &[h, gain, bias, given, given]).unwrap()]
        }),
    );
    cases
}

#[test]
fn backward_agrees_with_finite_differences() {
    against_differences(&cases());
}

#[test]
fn host_agrees_with_the_oracle() {
    against_oracle(&Device::host(), 2e-5, &cases());
}

#[test]
fn gpu_agrees_with_the_oracle() {
    if let Some(gpu) = common::gpu() {
        against_oracle(&gpu, 3e-5, &cases());
    }
}

/// The statistics are those of all rows and positions of a channel.
#[test]
fn channels_have_mean_zero_and_deviation_one() {
    let mut tape = Tape::new();
    let x = tape.features(12, Storage::F32, true);
    let (gain, bias) = (param(&mut tape, 1, 3), param(&mut tape, 1, 3));
    let outputs = tape.push(BatchNorm { channels: 3, eps: 0.0, last: false }, &[x, gain, bias]).unwrap();
    for (name, value) in ["hat", "mean", "variance"].into_iter().zip(outputs) {
        tape.output(name, value);
    }
    let mut numbers = Numbers::random(&tape, &[40, 2], 12, 2, 3);
    numbers.params = vec![vec![1.0; 3], vec![0.0; 3]];
    let found = run(&Device::oracle(), &tape, Purpose::Predict, &numbers, false);
    for c in 0..3 {
        let of = |i: usize| (0..42).flat_map(move |r| (0..4).map(move |p| r * 12 + i * 4 + p));
        let mean = of(c).map(|i| numbers.features[i] as f64).sum::<f64>() / 168.0;
        let variance = of(c).map(|i| (numbers.features[i] as f64 - mean).powi(2)).sum::<f64>() / 168.0;
        assert!((found.outputs[1].1[c] - mean).abs() < 1e-12 && (found.outputs[2].1[c] - variance).abs() < 1e-12);
        let hat = &found.outputs[0].1;
        assert!(of(c).map(|i| hat[i]).sum::<f64>().abs() < 1e-10);
        assert!((of(c).map(|i| hat[i] * hat[i]).sum::<f64>() - 168.0).abs() < 1e-9);
    }
}
