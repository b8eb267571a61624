//! Survival losses: backward against finite differences, devices against the oracle, and published values.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, over_bags, param};
use crate::common::harness::{Numbers, Results, run};
use bagrad::device::Device;
use bagrad::kernels::launch::Input;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::Activation;
use bagrad::ops::segment::{Pool, SegmentReduce};
use bagrad::ops::survival::{CoxLoss, DiscreteSurvival};
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape, ValueId};

fn bag_values(t: &mut Tape, x: ValueId, cols: u32) -> ValueId {
    let z = over_bags(t, SegmentReduce(Pool::Mean), &[x])[0];
    let weight = param(t, cols, t.cols(x));
    t.push1(Linear { activation: Activation::None }, &[z, weight]).unwrap()
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut case = |name: String, build: Build| {
        cases.push(Case { name, build, classes: |w| w.heads + 3, over_features: true });
    };
    for alpha in [0.0, 0.4] {
        case(
            format!("discrete survival, alpha {alpha}"),
            Box::new(move |t, x, w| {
                let logits = bag_values(t, x, w.heads + 3);
                let batch = [t.batch(Input::Labels, 1), t.batch(Input::Events, 1), t.batch(Input::Weights, 1)];
                let op = DiscreteSurvival { alpha, scale: 0.7 };
                vec![t.push1(op, &[logits, batch[0], batch[1], batch[2]]).unwrap()]
            }),
        );
    }
    for efron in [false, true] {
        case(
            format!("Cox, Efron {efron}"),
            Box::new(move |t, x, _| {
                let risk = bag_values(t, x, 1);
                let batch = [t.batch(Input::Times, 1), t.batch(Input::Events, 1)];
                let op = CoxLoss { efron, scale: 1.3 };
                vec![t.push(op, &[risk, batch[0], batch[1]]).unwrap()[0]]
            }),
        );
    }
    cases
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
        against_oracle(&gpu, 5e-5, &cases());
    }
}

/// Loss and gradient where every bag is one instance and its features are the loss's input.
fn of_features(width: u32, numbers: impl Fn(&mut Numbers), build: impl Fn(&mut Tape, ValueId) -> ValueId) -> Results {
    let mut tape = Tape::new();
    let x = tape.features(width as usize, Storage::F32, true);
    let z = over_bags(&mut tape, SegmentReduce(Pool::Sum), &[x])[0];
    tape.loss = Some(build(&mut tape, z));
    let bags = if width == 1 { 5 } else { 1 };
    let mut all = Numbers::random(&tape, &vec![1; bags], width as usize, width.max(2), 1);
    numbers(&mut all);
    run(&Device::oracle(), &tape, Purpose::Gradients { dropout: false }, &all, false)
}

fn close(found: &[f64], wanted: &[f64]) {
    for (f, w) in found.iter().zip(wanted) {
        assert!((f - w).abs() < 2e-7, "{found:?} {wanted:?}");
    }
}

/// Values computed with other implementations: scikit-survival's partial likelihood and that of STAMP.
#[test]
fn cox_agrees_with_other_implementations() {
    let breslow = (2.592_012_78, [-0.741_499_90, 0.0, 0.158_517_06, 0.156_788_23, 0.426_194_61]);
    let efron = (2.154_663_29, [-0.770_671_82, 0.0, 0.027_777_60, 0.199_795_03, 0.543_099_19]);
    for (rule, (loss, gradient)) in [(false, breslow), (true, efron)] {
        let results = of_features(
            1,
            |n| {
                n.features = vec![0.5, -1.0, 2.0, 0.0, 1.0];
                n.times = vec![2.0, 1.0, 2.0, 3.0, 2.0];
                n.events = vec![1.0, 0.0, 1.0, 1.0, 0.0];
            },
            |t, z| {
                let batch = [t.batch(Input::Times, 1), t.batch(Input::Events, 1)];
                // Those are sums over three events.
                let op = CoxLoss { efron: rule, scale: 3.0 };
                t.push(op, &[z, batch[0], batch[1]]).unwrap()[0]
            },
        );
        close(&[results.loss.unwrap()], &[loss]);
        close(&results.features.unwrap(), &gradient);
    }
}

/// Values computed with the losses of Porpoise and Patho-Bench.
#[test]
fn discrete_survival_agrees_with_other_implementations() {
    let event = [0.549_834_00, 0.401_312_34, -0.268_941_42, 0.0];
    let censored = [0.549_834_00, 0.401_312_34, 0.731_058_58, 0.0];
    let less = censored.map(|g| g * 0.6);
    let cases = [(1.0, 0.4, 1.624_415_81, event), (0.0, 0.0, 2.624_415_81, censored), (0.0, 0.4, 1.574_649_49, less)];
    for (seen, alpha, loss, gradient) in cases {
        let results = of_features(
            4,
            |n| {
                n.features = vec![0.2, -0.4, 1.0, 0.3];
                (n.labels, n.events, n.weights) = (vec![2], vec![seen], vec![1.0]);
            },
            |t, z| {
                let batch = [t.batch(Input::Labels, 1), t.batch(Input::Events, 1), t.batch(Input::Weights, 1)];
                let op = DiscreteSurvival { alpha, scale: 1.0 };
                t.push1(op, &[z, batch[0], batch[1], batch[2]]).unwrap()
            },
        );
        close(&[results.loss.unwrap()], &[loss]);
        close(&results.features.unwrap(), &gradient);
    }
}
