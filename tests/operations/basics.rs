//! Every operation: its backward against finite differences in f64, and the GPU and the host against that
//! oracle, forward and backward, at awkward sizes, over poisoned memory, with random upstream gradients, and
//! with every gradient accumulated twice.

use crate::common;
use crate::common::check::{
    Build, Case, WIDTHS, Widths, against_differences, against_oracle, batches, compare, over_bags, param, record,
};
use crate::common::harness::{Numbers, run};
use bagrad::device::{Device, GpuOptions};
use bagrad::kernels::launch::Input;
use bagrad::ops::Op;
use bagrad::ops::attention_pool::AttentionPool;
use bagrad::ops::dropout::Dropout;
use bagrad::ops::loss::{SigmoidCrossEntropy, Soft, SoftmaxCrossEntropy};
use bagrad::ops::matmul::{Linear, Matmul};
use bagrad::ops::pointwise::{Activate, Activation, AddScaled, AddTerm, Logit, Multiply};
use bagrad::ops::reduce::{ColumnSum, RowLogSoftmax, RowSoftmax, RowSum};
use bagrad::ops::segment::{BagSoftmax, Pool, SegmentLogSumExp, SegmentReduce, SegmentSoftmax};
use bagrad::plan::{Class, Family, PlanAs, Purpose};
use bagrad::tape::{Storage, Tape, ValueId};

/// An operation applied to the features (and parameters): the values whose gradients are checked.
fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut case = |name: String, build: Build| {
        let one_logit = name.starts_with("sigmoid");
        let classes: fn(Widths) -> u32 = match one_logit {
            true => |w| if w.heads == 1 { 2 } else { w.heads + 1 },
            false => |w| w.heads + 1,
        };
        let over_features = !name.starts_with("matmul of parameters");
        cases.push(Case { name, build, classes, over_features });
    };
    let activations = [
        Activation::None,
        Activation::Relu,
        Activation::LeakyRelu(0.01),
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Softplus,
        Activation::Exp,
    ];
    for activation in activations {
        if activation != Activation::Exp {
            case(
                format!("linear {activation:?}"),
                Box::new(move |t, x, w| {
                    let (weight, bias) = (param(t, w.output, w.input), param(t, 1, w.output));
                    vec![t.push1(Linear { activation }, &[x, weight, bias]).unwrap()]
                }),
            );
        }
        case(
            format!("activate {activation:?}"),
            Box::new(move |t, x, _| vec![t.push1(Activate(activation), &[x]).unwrap()]),
        );
    }
    case(
        "ln".into(),
        Box::new(|t, x, _| {
            let p = t.push1(Activate(Activation::Softplus), &[x]).unwrap();
            vec![t.push1(Activate(Activation::Ln), &[p]).unwrap()]
        }),
    );
    case(
        "linear without bias".into(),
        Box::new(|t, x, w| {
            let weight = param(t, w.output, w.input);
            vec![t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap()]
        }),
    );
    for (a_t, b_t) in [(false, false), (false, true), (true, false), (true, true)] {
        case(
            format!("matmul of parameters, transposed {a_t} {b_t}"),
            Box::new(move |t, _, w| {
                let (m, n, k) = (w.output, w.hidden, w.input);
                let a = if a_t { param(t, k, m) } else { param(t, m, k) };
                let b = if b_t { param(t, n, k) } else { param(t, k, n) };
                vec![t.push1(Matmul { a_t, b_t }, &[a, b]).unwrap()]
            }),
        );
    }
    case(
        "matmul over instances".into(),
        Box::new(|t, x, w| {
            let weight = param(t, w.input, w.output);
            let y = t.push1(Matmul { a_t: false, b_t: false }, &[x, weight]).unwrap();
            vec![t.push1(Matmul { a_t: true, b_t: false }, &[y, x]).unwrap()]
        }),
    );
    case(
        "logit".into(),
        Box::new(|t, x, _| {
            let p = t.push1(Activate(Activation::Sigmoid), &[x]).unwrap();
            vec![t.push1(Logit { clip: 1e-7 }, &[p]).unwrap()]
        }),
    );
    case(
        "add".into(),
        Box::new(|t, x, _| {
            let y = t.push1(Activate(Activation::Tanh), &[x]).unwrap();
            vec![t.push1(AddScaled { a: 0.5, b: -2.0 }, &[x, y]).unwrap()]
        }),
    );
    case(
        "add term".into(),
        Box::new(|t, x, _| {
            let y = t.push1(Activate(Activation::Tanh), &[x]).unwrap();
            vec![t.push1(AddTerm { number: 1 }, &[x, y]).unwrap()]
        }),
    );
    case(
        "multiply".into(),
        Box::new(|t, x, _| {
            let y = t.push1(Activate(Activation::Tanh), &[x]).unwrap();
            vec![t.push1(Multiply, &[x, y]).unwrap()]
        }),
    );
    for op in [Op::from(RowSum), ColumnSum.into(), RowSoftmax.into()] {
        case(format!("{op:?}"), Box::new(move |t, x, _| vec![t.push1(&op, &[x]).unwrap()]));
    }
    // The logarithms alone, their sum alone, both.
    for used in [&[0usize][..], &[1], &[0, 1]] {
        case(
            format!("log-softmax of rows, outputs {used:?}"),
            Box::new(move |t, x, _| {
                let out = t.push(RowLogSoftmax, &[x]).unwrap();
                used.iter().map(|&i| out[i]).collect()
            }),
        );
    }
    for pool in [Pool::Max, Pool::Mean, Pool::Sum, Pool::LogMeanExp] {
        case(format!("pool {pool:?}"), Box::new(move |t, x, _| vec![over_bags(t, SegmentReduce(pool), &[x])[0]]));
    }
    case("softmax over bags".into(), Box::new(|t, x, _| vec![over_bags(t, SegmentSoftmax, &[x])[0]]));
    case("log-sum-exp over bags".into(), Box::new(|t, x, _| over_bags(t, SegmentLogSumExp, &[x])));
    case(
        "softmax by a log-sum-exp".into(),
        Box::new(|t, x, _| {
            let log_sum = over_bags(t, SegmentLogSumExp, &[x])[0];
            over_bags(t, BagSoftmax, &[x, log_sum])
        }),
    );
    for gated in [false, true] {
        for scores in [false, true] {
            case(
                format!("attention pool, gated {gated}, scores used {scores}"),
                Box::new(move |t, x, w| {
                    let width = if gated { 2 * w.hidden } else { w.hidden };
                    let (weight, bias) = (param(t, width, w.input), param(t, 1, width));
                    let linear = Linear { activation: Activation::None };
                    let pre = t.push1(linear, &[x, weight, bias]).unwrap();
                    let (weight, bias) = (param(t, w.heads, w.hidden), param(t, 1, w.heads));
                    let out = over_bags(t, AttentionPool { gated }, &[pre, x, weight, bias]);
                    if scores { out[..2].to_vec() } else { out[..1].to_vec() }
                }),
            );
        }
    }
    for clamp in [0.0, 1e-5] {
        case(
            format!("sigmoid cross-entropy, clamp {clamp}"),
            Box::new(move |t, x, w| {
                let logits = bag_logits(t, x, if w.heads == 1 { 1 } else { w.heads + 1 });
                let (targets, weights) = (t.batch(Input::Targets, t.cols(logits)), t.batch(Input::Weights, 1));
                let op = SigmoidCrossEntropy { clamp, soft: Soft::default(), scale: 0.7 };
                vec![t.push1(op, &[logits, targets, weights]).unwrap()]
            }),
        );
    }
    // Above and below a focusing of 1, whose slope is another.
    for (smoothing, focusing) in [(0.2, 0.0), (0.0, 2.0), (0.0, 0.5), (0.3, 1.5)] {
        let soft = Soft { smoothing, focusing };
        case(
            format!("softened sigmoid cross-entropy, {soft:?}"),
            Box::new(move |t, x, w| {
                let logits = bag_logits(t, x, if w.heads == 1 { 1 } else { w.heads + 1 });
                let (targets, weights) = (t.batch(Input::Targets, t.cols(logits)), t.batch(Input::Weights, 1));
                let losses = [0.0, 1e-5].map(|clamp| {
                    let op = SigmoidCrossEntropy { clamp, soft, scale: 0.7 };
                    t.push1(op, &[logits, targets, weights]).unwrap()
                });
                losses.to_vec()
            }),
        );
        case(
            format!("softened softmax cross-entropy, {soft:?}"),
            Box::new(move |t, x, w| {
                let logits = bag_logits(t, x, w.heads + 1);
                let (labels, weights) = (t.batch(Input::Labels, 1), t.batch(Input::Weights, 1));
                let op = SoftmaxCrossEntropy { soft, scale: 1.3 };
                vec![t.push1(op, &[logits, labels, weights]).unwrap()]
            }),
        );
    }
    case(
        "sigmoid cross-entropy, a weight for each output".into(),
        Box::new(|t, x, w| {
            let logits = bag_logits(t, x, if w.heads == 1 { 1 } else { w.heads + 1 });
            let targets = t.batch(Input::Targets, t.cols(logits));
            // Weights that differ from output to output and from bag to bag.
            let weights = t.push1(RowSoftmax, &[targets]).unwrap();
            let op = SigmoidCrossEntropy { clamp: 0.0, soft: Soft::default(), scale: 0.7 };
            vec![t.push1(op, &[logits, targets, weights]).unwrap()]
        }),
    );
    case(
        "softmax cross-entropy".into(),
        Box::new(|t, x, w| {
            let logits = bag_logits(t, x, w.heads + 1);
            let (labels, weights) = (t.batch(Input::Labels, 1), t.batch(Input::Weights, 1));
            let op = SoftmaxCrossEntropy { soft: Soft::default(), scale: 1.3 };
            vec![t.push1(op, &[logits, labels, weights]).unwrap()]
        }),
    );
    cases
}

fn bag_logits(t: &mut Tape, x: ValueId, classes: u32) -> ValueId {
    let z = over_bags(t, SegmentReduce(Pool::Mean), &[x])[0];
    let weight = param(t, classes, t.cols(x));
    t.push1(Linear { activation: Activation::None }, &[z, weight]).unwrap()
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

/// What hardware GPUs run (tiles in workgroup memory, small and large), on whatever adapter there is; the register
/// tiles without shuffles, and where shuffles work, those of old drivers and of new. Long sums: `tests/classes.rs`.
#[test]
fn every_plan_agrees_with_the_oracle() {
    let mut plans = vec![PlanAs::gpu(Family::Unknown, 1), PlanAs::gpu(Family::Unknown, 64)];
    plans.push(PlanAs::cpu_driver(false, false));
    let own = common::gpu().map(|device| device.target().class);
    if matches!(own, Some(Class::CpuDriver { shuffles: true, .. })) {
        plans.extend([false, true].map(|recent| PlanAs::cpu_driver(true, recent)));
    }
    for plan_as in plans {
        let options = GpuOptions { plan_as: Some(plan_as), ..Default::default() };
        if let Some(gpu) = common::gpu_with(options) {
            let products = |case: &Case| case.name.contains("linear") || case.name.contains("matmul");
            let cases: Vec<Case> = cases().into_iter().filter(products).collect();
            against_oracle(&gpu, 3e-5, &cases);
        }
    }
}

/// Features in f16: the numbers are exact in f16, so only the storage differs.
#[test]
fn half_features_give_the_same_results() {
    let build: Build = Box::new(|t, x, w| {
        let (weight, bias) = (param(t, w.output, w.input), param(t, 1, w.output));
        let h = t.push1(Linear { activation: Activation::Relu }, &[x, weight, bias]).unwrap();
        // A pool over the features themselves unpacks them.
        let z = over_bags(t, SegmentReduce(Pool::Mean), &[x])[0];
        vec![h, z]
    });
    let mut devices = vec![Device::host()];
    devices.extend(common::gpu());
    devices.extend(common::gpu_without_f16());
    for device in &devices {
        for (widths, sizes) in WIDTHS.into_iter().zip(batches()) {
            let half = record(&build, widths, Storage::F16, false);
            let full = record(&build, widths, Storage::F32, false);
            let numbers = Numbers::random(&full, &sizes, widths.input as usize, 2, 9);
            let wanted = run(&Device::oracle(), &full, Purpose::Upstream, &numbers, false);
            let mut found = run(device, &half, Purpose::Upstream, &numbers, false);
            assert!(found.features.is_none(), "features in f16 have no gradient");
            found.features = wanted.features.clone();
            compare(&format!("{widths:?} on {device:?}"), &found, &wanted, 1e-5);
        }
    }
}

/// Products of millions of values have tiles of their own on some drivers.
#[test]
fn gpu_agrees_with_the_oracle_on_large_products() {
    let Some(gpu) = common::gpu() else { return };
    for (rows, storage) in [(2100, Storage::F32), (2101, Storage::F16)] {
        let mut tape = Tape::new();
        let x = tape.features(13, storage, storage == Storage::F32);
        let (w, b) = (param(&mut tape, 1000, 13), param(&mut tape, 1, 1000));
        let linear = Linear { activation: Activation::Relu };
        let y = tape.push1(linear, &[x, w, b]).unwrap();
        tape.output("y", y);
        let numbers = Numbers::random(&tape, &[rows], 13, 1, 3);
        let wanted = run(&Device::oracle(), &tape, Purpose::Upstream, &numbers, false);
        let found = run(&gpu, &tape, Purpose::Upstream, &numbers, true);
        compare(&format!("{rows} rows in {storage:?}"), &found, &wanted, 1e-5);
    }
}

/// The masks of dropout are the same on every device, and backward uses those of forward.
#[test]
fn dropout_draws_the_same_bits_everywhere() {
    let mut devices = vec![Device::host()];
    devices.extend(common::gpu());
    for (widths, sizes) in WIDTHS.into_iter().zip(batches()) {
        let mut tape = Tape::new();
        let x = tape.features(widths.input as usize, Storage::F32, true);
        let a = tape.push1(Dropout::new(0.25, 0), &[x]).unwrap();
        let b = tape.push1(Dropout::new(0.6, 1), &[x]).unwrap();
        let y = tape.push1(Multiply, &[a, b]).unwrap();
        let sum = tape.push1(ColumnSum, &[y]).unwrap();
        let sum = tape.push1(RowSum, &[sum]).unwrap();
        tape.output("a", a);
        tape.output("b", b);
        tape.loss = Some(sum);
        let numbers = Numbers::random(&tape, &sizes, widths.input as usize, 2, 21);
        let purpose = Purpose::Gradients { dropout: true };
        let wanted = run(&Device::oracle(), &tape, purpose, &numbers, false);
        for device in &devices {
            let found = run(device, &tape, purpose, &numbers, false);
            for ((name, found), (_, wanted)) in found.outputs.iter().zip(&wanted.outputs) {
                let dropped = |v: &[f64]| v.iter().map(|x| *x == 0.0).collect::<Vec<_>>();
                assert_eq!(dropped(found), dropped(wanted), "mask {name} on {}", device.name());
            }
            compare(&format!("dropout {widths:?} on {}", device.name()), &found, &wanted, 1e-5);
        }
        let count = wanted.outputs[0].1.len();
        if count > 5000 {
            let dropped = wanted.outputs[0].1.iter().filter(|v| **v == 0.0).count() as f64 / count as f64;
            assert!((dropped - 0.25).abs() < 0.02, "a rate of 0.25 dropped {dropped}");
        }
        // y = x^2 times both masks and scales, so the gradient is 2 y / x.
        let gradient = wanted.features.unwrap();
        for (i, g) in gradient.iter().enumerate() {
            let expected = 2.0 * wanted.outputs[0].1[i] * wanted.outputs[1].1[i] / numbers.features[i] as f64;
            assert!((g - expected).abs() < 1e-9 || numbers.features[i] == 0.0, "{g} {expected}");
        }
        let again = Numbers { step: 4, ..numbers.clone() };
        let other = run(&Device::oracle(), &tape, purpose, &again, false);
        assert!(count < 50 || other.outputs[0].1 != wanted.outputs[0].1, "the next step draws other bits");
    }
}

/// Logarithms and their sum by the formula, of numbers whose exponentials are beyond f32.
#[test]
fn log_softmax_is_the_formula() {
    const ROWS: [[f32; 3]; 4] = [[0.5, -1.0, 2.0], [300.0, 299.0, -300.0], [-200.0, -200.0, -200.0], [0.0, 90.0, 0.0]];
    for device in [Some(Device::oracle()), Some(Device::host()), common::gpu()].into_iter().flatten() {
        let mut tape = Tape::new();
        let x = tape.features(3, Storage::F32, false);
        for (name, y) in ["logs", "total"].into_iter().zip(tape.push(RowLogSoftmax, &[x]).unwrap()) {
            tape.output(name, y);
        }
        let mut numbers = Numbers::random(&tape, &[4], 3, 2, 1);
        numbers.features = ROWS.concat();
        let found = run(&device, &tape, Purpose::Predict, &numbers, false);
        for (r, row) in ROWS.iter().enumerate() {
            let largest = f64::from(row.iter().fold(f32::MIN, |m, v| m.max(*v)));
            let total = largest + row.iter().map(|v| (f64::from(*v) - largest).exp()).sum::<f64>().ln();
            assert!((found.outputs[1].1[r] - total).abs() < 1e-6 * total.abs().max(1.0), "{device:?}, row {r}");
            for (c, v) in row.iter().enumerate() {
                let (log, wanted) = (found.outputs[0].1[r * 3 + c], f64::from(*v) - total);
                assert!((log - wanted).abs() < 1e-6 * wanted.abs().max(1.0), "{device:?}, row {r}: {log} {wanted}");
            }
        }
    }
}
