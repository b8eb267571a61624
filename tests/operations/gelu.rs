//! Gelu: against finite differences, the oracle, and known values.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, param};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::{Activation, Gelu};
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape};

fn cases() -> Vec<Case> {
    let build: Build = Box::new(|t, x, w| {
        let weight = param(t, w.output, w.input);
        let y = t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap();
        vec![t.push1(Gelu, &[y]).unwrap(), t.push1(Gelu, &[x]).unwrap()]
    });
    vec![Case { name: "gelu".into(), build, classes: |w| w.heads + 1, over_features: true }]
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

#[test]
fn values_are_known() {
    // x Phi(x), by tables of the normal distribution.
    let known = [(0.0, 0.0), (1.0, 0.8413447460685429), (-1.0, -0.15865525393145707), (3.0, 2.99595030590511)];
    let known = known.into_iter().chain([(-6.0, -5.919525849e-9), (50.0, 50.0), (-50.0, 0.0)]);
    let (x, wanted): (Vec<f32>, Vec<f64>) = known.map(|(x, y)| (x as f32, y)).unzip();
    let mut tape = Tape::new();
    let features = tape.features(1, Storage::F32, false);
    let y = tape.push1(Gelu, &[features]).unwrap();
    tape.output("y", y);
    let mut numbers = Numbers::random(&tape, &[x.len()], 1, 2, 1);
    numbers.features = x;
    let devices = [Device::oracle(), Device::host()].into_iter().chain(common::gpu());
    for device in devices {
        let found = run(&device, &tape, Purpose::Predict, &numbers, false);
        for (found, wanted) in found.outputs[0].1.iter().zip(&wanted) {
            assert!((found - wanted).abs() <= 2e-5 * wanted.abs(), "{found:e} {wanted:e} on {}", device.name());
        }
    }
}
