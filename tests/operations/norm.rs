//! Normalisation within rows: against finite differences and the oracle.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, param};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::ops::matmul::Linear;
use bagrad::ops::norm::{InstanceNorm, LayerNorm, UnitRows};
use bagrad::ops::pointwise::Activation;
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape};

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: &str, build: Build| {
        cases.push(Case { name: name.into(), build, classes: |_| 2, over_features: true });
    };
    case(
        "layer norm",
        Box::new(|t, x, w| {
            let (gain, bias) = (param(t, 1, w.input), param(t, 1, w.input));
            vec![t.push1(LayerNorm { eps: 0.1 }, &[x, gain, bias]).unwrap()]
        }),
    );
    case(
        "layer norm of a wide layer",
        Box::new(|t, x, w| {
            let (weight, gain, bias) = (param(t, w.hidden, w.input), param(t, 1, w.hidden), param(t, 1, w.hidden));
            let h = t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap();
            vec![t.push1(LayerNorm { eps: 0.1 }, &[h, gain, bias]).unwrap()]
        }),
    );
    case(
        "instance norm",
        Box::new(|t, x, w| {
            let channels = if w.input % 4 == 0 { 4 } else { 1 };
            vec![t.push1(InstanceNorm { channels, eps: 0.1 }, &[x]).unwrap()]
        }),
    );
    case("unit rows", Box::new(|t, x, _| vec![t.push1(UnitRows { eps: 0.5 }, &[x]).unwrap()]));
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

/// What the names promise, on numbers small enough to check by hand.
#[test]
fn rows_have_mean_zero_and_length_one() {
    let mut tape = Tape::new();
    let x = tape.features(12, Storage::F32, true);
    let hat = tape.push1(InstanceNorm { channels: 3, eps: 0.0 }, &[x]).unwrap();
    let unit = tape.push1(UnitRows { eps: 1e-12 }, &[x]).unwrap();
    tape.output("hat", hat);
    tape.output("unit", unit);
    let numbers = Numbers::random(&tape, &[5, 2], 12, 2, 3);
    let found = run(&Device::oracle(), &tape, Purpose::Predict, &numbers, false);
    for channel in found.outputs[0].1.chunks_exact(4) {
        let squares: f64 = channel.iter().map(|v| v * v).sum();
        assert!(channel.iter().sum::<f64>().abs() < 1e-12 && (squares - 4.0).abs() < 1e-12);
    }
    for (row, features) in found.outputs[1].1.chunks_exact(12).zip(numbers.features.chunks_exact(12)) {
        assert!((row.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(row.iter().zip(features).all(|(u, x)| u * *x as f64 >= 0.0), "the direction stays");
    }
}
