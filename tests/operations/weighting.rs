//! Rows with a weight each: backward against finite differences, devices against the oracle.

use crate::common;
use crate::common::check::{Build, Case, Widths, against_differences, against_oracle, over_bags, param};
use bagrad::device::Device;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::Activation;
use bagrad::ops::weighting::{RowScale, ScaleBy, WeightedSum};
use bagrad::tape::{Tape, ValueId};

fn weight_of(t: &mut Tape, x: ValueId, w: Widths, activation: Activation) -> ValueId {
    let weight = param(t, 1, w.input);
    t.push1(Linear { activation }, &[x, weight]).unwrap()
}

fn cases() -> Vec<Case> {
    let case = |name: &str, build: Build| Case {
        name: name.to_string(),
        build,
        classes: |w| w.heads + 1,
        over_features: true,
    };
    let mut cases = vec![case(
        "scale rows",
        Box::new(|t, x, w| {
            let weight = weight_of(t, x, w, Activation::Tanh);
            vec![t.push1(RowScale, &[x, weight]).unwrap()]
        }),
    )];
    for mean in [false, true] {
        cases.push(case(
            &format!("weighted sum, mean {mean}"),
            Box::new(move |t, x, w| {
                let weight = weight_of(t, x, w, Activation::Sigmoid);
                over_bags(t, WeightedSum { mean }, &[x, weight])
            }),
        ));
    }
    // Neither side alone must depend on the other's gradient.
    cases.push(case(
        "weighted sum of constants",
        Box::new(|t, x, w| {
            let weight = weight_of(t, x, w, Activation::Sigmoid);
            let rows = param(t, w.output, w.input);
            let y = t.push1(Linear { activation: Activation::None }, &[x, rows]).unwrap();
            over_bags(t, WeightedSum { mean: true }, &[y, weight])
        }),
    ));
    cases
}

/// The gradient of the number is a sum over all values, which nearly cancels: it has more room in f32.
fn of_numbers() -> Vec<Case> {
    let build: Build = Box::new(|t, x, _| {
        let number = param(t, 1, 1);
        vec![t.push1(ScaleBy, &[x, number]).unwrap()]
    });
    vec![Case { name: "product with a number".into(), build, classes: |w| w.heads + 1, over_features: true }]
}

#[test]
fn backward_agrees_with_finite_differences() {
    against_differences(&cases());
    against_differences(&of_numbers());
}

#[test]
fn host_agrees_with_the_oracle() {
    against_oracle(&Device::host(), 2e-5, &cases());
    against_oracle(&Device::host(), 2e-4, &of_numbers());
}

#[test]
fn gpu_agrees_with_the_oracle() {
    if let Some(gpu) = common::gpu() {
        against_oracle(&gpu, 3e-5, &cases());
        against_oracle(&gpu, 3e-4, &of_numbers());
    }
}
