//! Losses with pseudo-labels: against finite differences, the oracle, and the equations of adaptive pooling.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, over_bags, param};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::kernels::launch::Input;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::{Activate, Activation};
use bagrad::ops::power_pool::GeneralisedMean;
use bagrad::ops::pseudo_label::{BagPseudoLoss, InstancePseudoLoss};
use bagrad::ops::segment::{Pool, SegmentReduce};
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape, ValueId};

/// ln P, mean pseudo-label loss and mean loss as negatives of the bags of logits `s`.
fn of_bags(t: &mut Tape, s: ValueId, exponent: ValueId) -> [ValueId; 3] {
    let p = over_bags(t, GeneralisedMean, &[s, exponent])[0];
    let own = t.push1(InstancePseudoLoss, &[s]).unwrap();
    let negative = t.push1(Activate(Activation::Softplus), &[s]).unwrap();
    let mean = SegmentReduce(Pool::Mean);
    [p, over_bags(t, mean, &[own])[0], over_bags(t, mean, &[negative])[0]]
}

fn cases() -> Vec<Case> {
    let loss = |each: bool| -> Build {
        Box::new(move |t, x, w| {
            let (weight, exponent) = (param(t, w.heads + 2, w.input), param(t, 1, w.heads + 2));
            let s = t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap();
            let exponent = t.push1(Activate(Activation::Exp), &[exponent]).unwrap();
            let [p, own, negative] = of_bags(t, s, exponent);
            let targets = t.batch(Input::Targets, w.heads + 2);
            let weights = t.batch(Input::Weights, if each { w.heads + 2 } else { 1 });
            let op = BagPseudoLoss { strength: 0.3, scale: 0.7 };
            vec![t.push1(op, &[p, own, negative, targets, weights]).unwrap()]
        })
    };
    let instances: Build = Box::new(|t, x, _| vec![t.push1(InstancePseudoLoss, &[x]).unwrap()]);
    let case = |name: &str, build| Case { name: name.into(), build, classes: |w| w.heads + 2, over_features: true };
    let bags = [case("bags", loss(false)), case("bags with weights of columns", loss(true))];
    bags.into_iter().chain([case("instances", instances)]).collect()
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

/// Two bags, one positive: l + strength (l - r)^2 of the one and the mean of -ln(1 - q) of the other, by hand.
#[test]
fn a_loss_by_hand() {
    let mut tape = Tape::new();
    let s = tape.features(1, Storage::F32, true);
    let exponent = param(&mut tape, 1, 1);
    let [p, own, negative] = of_bags(&mut tape, s, exponent);
    let (targets, weights) = (tape.batch(Input::Targets, 1), tape.batch(Input::Weights, 1));
    let op = BagPseudoLoss { strength: 0.25, scale: 1.0 };
    let loss = tape.push1(op, &[p, own, negative, targets, weights]).unwrap();
    tape.output("loss", loss);
    let mut numbers = Numbers::random(&tape, &[3, 2], 1, 2, 1);
    (numbers.features, numbers.params) = (vec![2.0, -1.0, 0.5, -3.0, 0.25], vec![vec![2.0]]);
    (numbers.targets, numbers.weights) = (vec![1.0, 0.0], vec![0.5, 2.0]);
    let q: Vec<f64> = numbers.features.iter().map(|s| 1.0 / (1.0 + (-*s as f64).exp())).collect();
    let l = -(q[..3].iter().map(|q| q * q).sum::<f64>() / 3.0).sqrt().ln();
    let r = q[..3].iter().map(|q| -q.max(1.0 - q).ln()).sum::<f64>() / 3.0;
    let m = q[3..].iter().map(|q| -(1.0 - q).ln()).sum::<f64>() / 2.0;
    let wanted = 0.5 * (l + 0.25 * (l - r).powi(2)) + 2.0 * m;
    for device in [Some(Device::oracle()), Some(Device::host()), common::gpu()].into_iter().flatten() {
        let found = run(&device, &tape, Purpose::Predict, &numbers, false).outputs[0].1[0];
        assert!((found - wanted).abs() < 2e-6, "{found} for {wanted} on {}", device.name());
    }
}
