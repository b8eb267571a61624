//! Losses against real targets: backward against finite differences, devices against the oracle.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, over_bags, param};
use bagrad::device::Device;
use bagrad::kernels::launch::Input;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::Activation;
use bagrad::ops::segment::{Pool, SegmentReduce};
use bagrad::ops::target_loss::{Distance, TargetLoss};

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let margin = Distance::Margin { above: 0.9, below: 0.1, negatives: 0.5 };
    let huber = Distance::Huber { delta: 0.3 };
    for distance in [Distance::Squared, margin, Distance::SoftTargets, Distance::Absolute, huber] {
        for weighted in ["none", "rows", "each"] {
            let build: Build = Box::new(move |t, x, w| {
                let z = over_bags(t, SegmentReduce(Pool::Mean), &[x])[0];
                let weight = param(t, w.heads + 2, w.input);
                let y = t.push1(Linear { activation: Activation::Sigmoid }, &[z, weight]).unwrap();
                let mut inputs = vec![y, t.batch(Input::Targets, w.heads + 2)];
                match weighted {
                    "rows" => inputs.push(t.batch(Input::Weights, 1)),
                    "each" => inputs.push(t.batch(Input::Weights, w.heads + 2)),
                    _ => {}
                }
                vec![t.push1(TargetLoss { distance, scale: 0.7 }, &inputs).unwrap()]
            });
            let name = format!("{distance:?}, weights {weighted}");
            cases.push(Case { name, build, classes: |w| w.heads + 2, over_features: true });
        }
    }
    // A reconstruction: both sides have gradients, over all instances.
    let build: Build = Box::new(|t, x, w| {
        let weight = param(t, w.input, w.input);
        let y = t.push1(Linear { activation: Activation::Tanh }, &[x, weight]).unwrap();
        let op = TargetLoss { distance: Distance::Squared, scale: 1.3 };
        vec![t.push1(op, &[y, x]).unwrap()]
    });
    cases.push(Case { name: "reconstruction".into(), build, classes: |w| w.heads + 2, over_features: true });
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
