//! Every operation: its backward against finite differences in f64, and the GPU and the host against that
//! oracle, forward and backward, at awkward sizes, over poisoned memory, with random upstream gradients, and
//! with every gradient accumulated twice.

mod common;

use bagrad::device::{Device, GpuOptions};
use bagrad::kernels::launch::Input;
use bagrad::ops::Op;
use bagrad::ops::attention_pool::AttentionPool;
use bagrad::ops::dropout::Dropout;
use bagrad::ops::loss::{SigmoidCrossEntropy, SoftmaxCrossEntropy};
use bagrad::ops::matmul::{Linear, Matmul};
use bagrad::ops::pointwise::{Activate, Activation, AddScaled, Logit, Multiply};
use bagrad::ops::reduce::{ColumnSum, RowSoftmax, RowSum};
use bagrad::ops::segment::{Pool, SegmentReduce, SegmentSoftmax};
use bagrad::plan::{Class, Purpose};
use bagrad::random::Random;
use bagrad::tape::{Init, Param, Storage, Tape, ValueId};
use common::error;
use common::harness::{Numbers, Results, run};

/// Widths of one case: input, output, hidden, heads or classes.
#[derive(Clone, Copy, Debug)]
struct Widths {
    input: u32,
    output: u32,
    hidden: u32,
    heads: u32,
}

const WIDTHS: [Widths; 5] = [
    Widths { input: 1, output: 1, hidden: 1, heads: 1 },
    Widths { input: 3, output: 5, hidden: 7, heads: 3 },
    Widths { input: 8, output: 4, hidden: 12, heads: 2 },
    Widths { input: 17, output: 65, hidden: 129, heads: 1 },
    Widths { input: 64, output: 33, hidden: 260, heads: 1 },
];

/// Bag sizes: one instance, a tile more or less, many small bags, more rows than one chunk of a sum.
fn batches() -> Vec<Vec<usize>> {
    vec![vec![1], vec![3, 1], vec![64, 65, 1, 127], vec![5; 70], vec![1100, 2]]
}

fn param(tape: &mut Tape, rows: u32, cols: u32) -> ValueId {
    let name = format!("p{}", tape.params.len());
    tape.param(Param { name, rows, cols, init: Init::Constant(0.0), decays: true, parts: Vec::new() })
}

fn tables(tape: &mut Tape) -> [ValueId; 3] {
    [tape.batch(Input::Tiles, 4), tape.batch(Input::BagTiles, 1), tape.batch(Input::Offsets, 1)]
}

fn over_bags(tape: &mut Tape, op: Op, x: &[ValueId]) -> Vec<ValueId> {
    let tables = tables(tape);
    tape.push(op, &[x, &tables].concat()).unwrap()
}

type Build = Box<dyn Fn(&mut Tape, ValueId, Widths) -> Vec<ValueId>>;

/// An operation applied to the features (and parameters): the values whose gradients are checked.
fn cases() -> Vec<(String, Build)> {
    let mut cases: Vec<(String, Build)> = Vec::new();
    let mut case = |name: String, build: Build| cases.push((name, build));
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
                    vec![t.push1(Op::Linear(Linear { activation }), &[x, weight, bias]).unwrap()]
                }),
            );
        }
        case(
            format!("activate {activation:?}"),
            Box::new(move |t, x, _| vec![t.push1(Op::Activate(Activate(activation)), &[x]).unwrap()]),
        );
    }
    case(
        "ln".into(),
        Box::new(|t, x, _| {
            let p = t.push1(Op::Activate(Activate(Activation::Softplus)), &[x]).unwrap();
            vec![t.push1(Op::Activate(Activate(Activation::Ln)), &[p]).unwrap()]
        }),
    );
    case(
        "linear without bias".into(),
        Box::new(|t, x, w| {
            let weight = param(t, w.output, w.input);
            vec![t.push1(Op::Linear(Linear { activation: Activation::None }), &[x, weight]).unwrap()]
        }),
    );
    for (a_t, b_t) in [(false, false), (false, true), (true, false), (true, true)] {
        case(
            format!("matmul {a_t} {b_t}"),
            Box::new(move |t, _, w| {
                let (m, n, k) = (w.output, w.hidden, w.input);
                let a = if a_t { param(t, k, m) } else { param(t, m, k) };
                let b = if b_t { param(t, n, k) } else { param(t, k, n) };
                vec![t.push1(Op::Matmul(Matmul { a_t, b_t }), &[a, b]).unwrap()]
            }),
        );
    }
    case(
        "matmul over instances".into(),
        Box::new(|t, x, w| {
            let weight = param(t, w.input, w.output);
            let y = t.push1(Op::Matmul(Matmul { a_t: false, b_t: false }), &[x, weight]).unwrap();
            vec![t.push1(Op::Matmul(Matmul { a_t: true, b_t: false }), &[y, x]).unwrap()]
        }),
    );
    case(
        "logit".into(),
        Box::new(|t, x, _| {
            let p = t.push1(Op::Activate(Activate(Activation::Sigmoid)), &[x]).unwrap();
            vec![t.push1(Op::Logit(Logit { clip: 1e-7 }), &[p]).unwrap()]
        }),
    );
    case(
        "add".into(),
        Box::new(|t, x, _| {
            let y = t.push1(Op::Activate(Activate(Activation::Tanh)), &[x]).unwrap();
            vec![t.push1(Op::AddScaled(AddScaled { a: 0.5, b: -2.0 }), &[x, y]).unwrap()]
        }),
    );
    case(
        "multiply".into(),
        Box::new(|t, x, _| {
            let y = t.push1(Op::Activate(Activate(Activation::Tanh)), &[x]).unwrap();
            vec![t.push1(Op::Multiply(Multiply), &[x, y]).unwrap()]
        }),
    );
    for op in [Op::RowSum(RowSum), Op::ColumnSum(ColumnSum), Op::RowSoftmax(RowSoftmax)] {
        case(format!("{op:?}"), Box::new(move |t, x, _| vec![t.push1(op, &[x]).unwrap()]));
    }
    for pool in [Pool::Max, Pool::Mean, Pool::Sum, Pool::LogMeanExp] {
        case(
            format!("pool {pool:?}"),
            Box::new(move |t, x, _| vec![over_bags(t, Op::SegmentReduce(SegmentReduce(pool)), &[x])[0]]),
        );
    }
    case(
        "softmax over bags".into(),
        Box::new(|t, x, _| vec![over_bags(t, Op::SegmentSoftmax(SegmentSoftmax), &[x])[0]]),
    );
    for gated in [false, true] {
        for scores in [false, true] {
            case(
                format!("attention pool, gated {gated}, scores used {scores}"),
                Box::new(move |t, x, w| {
                    let width = if gated { 2 * w.hidden } else { w.hidden };
                    let (weight, bias) = (param(t, width, w.input), param(t, 1, width));
                    let linear = Op::Linear(Linear { activation: Activation::None });
                    let pre = t.push1(linear, &[x, weight, bias]).unwrap();
                    let (weight, bias) = (param(t, w.heads, w.hidden), param(t, 1, w.heads));
                    let out = over_bags(t, Op::AttentionPool(AttentionPool { gated }), &[pre, x, weight, bias]);
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
                let op = Op::SigmoidCrossEntropy(SigmoidCrossEntropy { clamp, scale: 0.7 });
                vec![t.push1(op, &[logits, targets, weights]).unwrap()]
            }),
        );
    }
    case(
        "softmax cross-entropy".into(),
        Box::new(|t, x, w| {
            let logits = bag_logits(t, x, w.heads + 1);
            let (labels, weights) = (t.batch(Input::Labels, 1), t.batch(Input::Weights, 1));
            let op = Op::SoftmaxCrossEntropy(SoftmaxCrossEntropy { scale: 1.3 });
            vec![t.push1(op, &[logits, labels, weights]).unwrap()]
        }),
    );
    cases
}

fn bag_logits(t: &mut Tape, x: ValueId, classes: u32) -> ValueId {
    let z = over_bags(t, Op::SegmentReduce(SegmentReduce(Pool::Mean)), &[x])[0];
    let weight = param(t, classes, t.cols(x));
    t.push1(Op::Linear(Linear { activation: Activation::None }), &[z, weight]).unwrap()
}

/// The case recorded twice over the same features, so that every gradient of them is accumulated; parameters
/// are shared between the two by being declared once.
fn record(build: &Build, widths: Widths, storage: Storage, twice: bool) -> Tape {
    let mut tape = Tape::new();
    let x = tape.features(widths.input as usize, storage, storage == Storage::F32);
    let outputs = build(&mut tape, x, widths);
    for (i, v) in outputs.iter().enumerate() {
        tape.output(&format!("first {i}"), *v);
    }
    if twice {
        // The same nodes over the same parameters once more.
        let nodes = tape.nodes.clone();
        let mut renamed: Vec<(ValueId, ValueId)> = Vec::new();
        for node in nodes {
            let of = |v: &ValueId| renamed.iter().find(|(old, _)| old == v).map_or(*v, |(_, new)| *new);
            let inputs: Vec<ValueId> = node.inputs.iter().map(of).collect();
            let again = tape.push(node.op, &inputs).unwrap();
            renamed.extend(node.outputs.iter().copied().zip(again));
        }
        for (i, v) in outputs.iter().enumerate() {
            let again = renamed.iter().find(|(old, _)| old == v).unwrap().1;
            tape.output(&format!("second {i}"), again);
        }
    }
    tape
}

fn classes(widths: Widths, name: &str) -> u32 {
    match name.starts_with("sigmoid") && widths.heads == 1 {
        true => 2,
        false => widths.heads + 1,
    }
}

/// The number whose gradient a run with upstream gradients computes.
fn objective(results: &Results, numbers: &Numbers) -> f64 {
    let products = results.outputs.iter().zip(&numbers.upstream);
    products.map(|((_, y), g)| y.iter().zip(g).map(|(y, g)| y * *g as f64).sum::<f64>()).sum()
}

/// Which numbers a slope is taken along.
#[derive(Clone, Copy, Debug)]
enum Along {
    Features,
    Parameter(usize),
}

impl Along {
    fn of(self, numbers: &mut Numbers) -> &mut Vec<f32> {
        match self {
            Along::Features => &mut numbers.features,
            Along::Parameter(i) => &mut numbers.params[i],
        }
    }
}

/// |slope of the objective along a random direction - gradient . direction| / |gradient|, in f64.
fn slope_error(tape: &Tape, numbers: &Numbers, along: Along, random: &mut Random) -> f64 {
    let oracle = Device::oracle();
    // Numbers on a grid of 2^-11 moved by 2^-20 stay exact in f32, and half a grid step keeps them off the
    // kink of a ReLU.
    let h = 2f32.powi(-20);
    let mut numbers = numbers.clone();
    along.of(&mut numbers).iter_mut().for_each(|v| *v = ((*v * 2048.0).floor() + 0.5) / 2048.0);
    let direction: Vec<f32> =
        along.of(&mut numbers).iter().map(|_| if random.u32() & 1 == 0 { 1.0 } else { -1.0 }).collect();
    let at = |sign: f32| {
        let mut moved = numbers.clone();
        along.of(&mut moved).iter_mut().zip(&direction).for_each(|(v, d)| *v += sign * h * d);
        objective(&run(&oracle, tape, Purpose::Predict, &moved, false), &numbers)
    };
    let numeric = (at(1.0) - at(-1.0)) / (2.0 * h as f64);
    let results = run(&oracle, tape, Purpose::Upstream, &numbers, false);
    let gradient = match along {
        Along::Features => results.features.unwrap(),
        Along::Parameter(i) => results.params[i].clone(),
    };
    let expected: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * *d as f64).sum();
    (numeric - expected).abs() / gradient.iter().map(|g| g.abs()).sum::<f64>().max(1e-3)
}

#[test]
fn backward_agrees_with_finite_differences() {
    for (name, build) in cases() {
        for (w, widths) in WIDTHS.into_iter().enumerate().take(4) {
            let tape = record(&build, widths, Storage::F32, w % 2 == 1);
            let parameters = (0..tape.params.len()).map(Along::Parameter);
            let features =
                (!name.starts_with("matmul true") && !name.starts_with("matmul false")).then_some(Along::Features);
            for along in parameters.chain(features) {
                // A draw whose step happens to cross a kink is drawn again; a wrong gradient fails every draw.
                let error = (1..=3).map(|seed| {
                    let seed = seed * 100 + w as u64;
                    let numbers =
                        Numbers::random(&tape, &batches()[w], widths.input as usize, classes(widths, &name), seed);
                    slope_error(&tape, &numbers, along, &mut Random::new(seed, 5))
                });
                let error = error.fold(f64::INFINITY, f64::min);
                assert!(error < 1e-6, "{name} {widths:?} {along:?}: error {error:.1e}");
            }
        }
    }
}

fn compare(name: &str, found: &Results, wanted: &Results, tolerance: f64) {
    let check = |what: &str, found: &[f64], wanted: &[f64]| {
        let e = error(found, wanted);
        assert!(e < tolerance, "{name}, {what}: error {e:.2e}");
    };
    assert_eq!(found.outputs.len(), wanted.outputs.len());
    for ((what, found), (_, wanted)) in found.outputs.iter().zip(&wanted.outputs) {
        check(what, found, wanted);
    }
    for (i, (found, wanted)) in found.params.iter().zip(&wanted.params).enumerate() {
        // Nothing but rounding is left of the gradient of an attention bias.
        let scale = wanted.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        if scale > 1e-9 {
            check(&format!("gradient of parameter {i}"), found, wanted);
        }
    }
    assert_eq!(found.features.is_some(), wanted.features.is_some());
    if let (Some(found), Some(wanted)) = (&found.features, &wanted.features) {
        check("gradient of the features", found, wanted);
    }
}

fn against_oracle(device: &Device, tolerance: f64, which: impl Fn(&str) -> bool) {
    let oracle = Device::oracle();
    for (name, build) in cases().into_iter().filter(|(name, _)| which(name)) {
        for (w, widths) in WIDTHS.into_iter().enumerate() {
            for (b, sizes) in batches().into_iter().enumerate() {
                // Every width and every batch, not every pair: the pairs that matter differ in one of them.
                if (w + b) % 3 != 0 && w != 3 {
                    continue;
                }
                for twice in [false, true] {
                    let tape = record(&build, widths, Storage::F32, twice);
                    let seed = (w * 10 + b) as u64 + 100;
                    let numbers = Numbers::random(&tape, &sizes, widths.input as usize, classes(widths, &name), seed);
                    let wanted = run(&oracle, &tape, Purpose::Upstream, &numbers, false);
                    let found = run(device, &tape, Purpose::Upstream, &numbers, b % 2 == 0);
                    let what = format!("{name} {widths:?} bags {sizes:?} twice {twice} on {}", device.name());
                    compare(&what, &found, &wanted, tolerance);
                }
            }
        }
    }
}

#[test]
fn host_agrees_with_the_oracle() {
    against_oracle(&Device::host(), 2e-5, |_| true);
}

#[test]
fn gpu_agrees_with_the_oracle() {
    if let Some(gpu) = common::gpu() {
        against_oracle(&gpu, 3e-5, |_| true);
    }
}

/// What hardware GPUs run (tiles in workgroup memory, small and large, sums split in parts), on whatever
/// adapter there is; and the register tiles without shuffles.
#[test]
fn every_plan_agrees_with_the_oracle() {
    let classes = [(Class::Gpu, 1), (Class::Gpu, 64), (Class::CpuDriver { shuffles: false, recent: false }, 2)];
    for plan_as in classes {
        let options = GpuOptions { plan_as: Some(plan_as), ..Default::default() };
        if let Some(gpu) = common::gpu_with(options) {
            against_oracle(&gpu, 3e-5, |name| name.contains("linear") || name.contains("matmul"));
        }
    }
}

/// Features in f16: the numbers are exact in f16, so only the storage differs.
#[test]
fn half_features_give_the_same_results() {
    let build: Build = Box::new(|t, x, w| {
        let (weight, bias) = (param(t, w.output, w.input), param(t, 1, w.output));
        let h = t.push1(Op::Linear(Linear { activation: Activation::Relu }), &[x, weight, bias]).unwrap();
        // A pool over the features themselves unpacks them.
        let z = over_bags(t, Op::SegmentReduce(SegmentReduce(Pool::Mean)), &[x])[0];
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

/// The masks of dropout are the same on every device, and backward uses those of forward.
#[test]
fn dropout_draws_the_same_bits_everywhere() {
    let mut devices = vec![Device::host()];
    devices.extend(common::gpu());
    for (widths, sizes) in WIDTHS.into_iter().zip(batches()) {
        let mut tape = Tape::new();
        let x = tape.features(widths.input as usize, Storage::F32, true);
        let a = tape.push1(Op::Dropout(Dropout { rate: 0.25, site: 0 }), &[x]).unwrap();
        let b = tape.push1(Op::Dropout(Dropout { rate: 0.6, site: 1 }), &[x]).unwrap();
        let y = tape.push1(Op::Multiply(Multiply), &[a, b]).unwrap();
        let sum = tape.push1(Op::ColumnSum(ColumnSum), &[y]).unwrap();
        let sum = tape.push1(Op::RowSum(RowSum), &[sum]).unwrap();
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
