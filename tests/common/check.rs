//! How any operation is checked: its backward against finite differences in f64, and a device against
//! that oracle. A test file brings its cases.

use super::harness::{Numbers, Results, all_but_products, in_subgroups, other_plans, run, run_on};
use super::{error, errors};
use bagrad::device::Device;
use bagrad::kernels::launch::{Dim, Input};
use bagrad::ops::{Locality, Op};
use bagrad::plan::Purpose;
use bagrad::random::Random;
use bagrad::tape::{Init, Param, Storage, Tape, ValueId};

/// Widths of one case: input, output, hidden, heads or classes.
#[derive(Clone, Copy, Debug)]
pub struct Widths {
    pub input: u32,
    pub output: u32,
    pub hidden: u32,
    pub heads: u32,
}

pub const WIDTHS: [Widths; 5] = [
    Widths { input: 1, output: 1, hidden: 1, heads: 1 },
    Widths { input: 3, output: 5, hidden: 7, heads: 3 },
    Widths { input: 8, output: 4, hidden: 12, heads: 2 },
    Widths { input: 17, output: 65, hidden: 129, heads: 1 },
    Widths { input: 64, output: 33, hidden: 260, heads: 1 },
];

/// Bag sizes: one instance, a tile more or less, many small bags, more rows than one chunk of a sum.
pub fn batches() -> Vec<Vec<usize>> {
    vec![vec![1], vec![3, 1], vec![64, 65, 1, 127], vec![5; 70], vec![1100, 2]]
}

pub fn param(tape: &mut Tape, rows: u32, cols: u32) -> ValueId {
    let name = format!("p{}", tape.params.len());
    tape.param(Param { name, rows, cols, init: Init::Constant(0.0), decays: true, parts: Vec::new() })
}

pub fn tables(tape: &mut Tape) -> [ValueId; 3] {
    [tape.batch(Input::Tiles, 4), tape.batch(Input::BagTiles, 1), tape.batch(Input::Offsets, 1)]
}

pub fn over_bags(tape: &mut Tape, op: impl Into<Op>, x: &[ValueId]) -> Vec<ValueId> {
    let tables = tables(tape);
    tape.push(op, &[x, &tables].concat()).unwrap()
}

/// A case: its name, what it records over the features, and the number of classes its labels have.
pub struct Case {
    pub name: String,
    pub build: Build,
    pub classes: fn(Widths) -> u32,
    /// The features get a gradient that is checked.
    pub over_features: bool,
}

pub type Build = Box<dyn Fn(&mut Tape, ValueId, Widths) -> Vec<ValueId>>;

/// The case recorded twice over the same features, so that every gradient of them is accumulated; parameters
/// are shared between the two by being declared once.
pub fn record(build: &Build, widths: Widths, storage: Storage, twice: bool) -> Tape {
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
            let again = tape.push(&node.op, &inputs).unwrap();
            renamed.extend(node.outputs.iter().copied().zip(again));
        }
        for (i, v) in outputs.iter().enumerate() {
            let again = renamed.iter().find(|(old, _)| old == v).unwrap().1;
            tape.output(&format!("second {i}"), again);
        }
    }
    tape
}

/// The number whose gradient a run computes: the loss, or the outputs times the gradients from outside.
pub fn objective(results: &Results, numbers: &Numbers) -> f64 {
    if let Some(loss) = results.loss {
        return loss;
    }
    let products = results.outputs.iter().zip(&numbers.upstream);
    products.map(|((_, y), g)| y.iter().zip(g).map(|(y, g)| y * *g as f64).sum::<f64>()).sum()
}

/// Which numbers a slope is taken along.
#[derive(Clone, Copy, Debug)]
pub enum Along {
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

/// What the slope of an objective says of a gradient.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Both agree.
    Right,
    /// They differ by this much, relative to the gradient; NaN where the gradient is.
    Wrong(f64),
    /// The step crossed a kink, as of a ReLU or a maximum: slopes of a step and of half of it differ.
    Kink,
}

/// How far a slope in f64 may be off.
const SLOPE: f64 = 1e-6;

/// |slope - gradient . direction| / |gradient|. Whether a step crossed a kink is told by the objective alone, so
/// no gradient gets around the comparison: `half` is the slope over half of the step, asked for in case of doubt.
pub fn judge(slope: f64, half: impl FnOnce() -> f64, along: f64, size: f64) -> Verdict {
    let size = size.max(1e-3);
    let error = (slope - along).abs() / size;
    if error < SLOPE {
        return Verdict::Right;
    }
    match (slope - half()).abs() / size > SLOPE / 8.0 {
        true => Verdict::Kink,
        false => Verdict::Wrong(error),
    }
}

/// Compares the gradient with the slope of the objective along a random direction, in f64; one purpose gives the
/// objective and another its gradient.
fn slope(
    [value, gradient]: [Purpose; 2],
    tape: &Tape,
    numbers: &Numbers,
    along: Along,
    random: &mut Random,
) -> Verdict {
    let oracle = Device::oracle();
    // Numbers on a grid of 2^-18 moved by 2^-20 or half of it stay exact in f32. They lie between half a step and a step
    // of 2^-11, which keeps them off the kink of a ReLU, in one of 64 places, so that hardly two are equal.
    let h = 2f32.powi(-20);
    let mut numbers = numbers.clone();
    for (i, v) in along.of(&mut numbers).iter_mut().enumerate() {
        let place = (i as u32).wrapping_mul(0x9E37_79B1) >> 26;
        *v = ((*v * 2048.0).floor() + 0.5 + place as f32 / 128.0) / 2048.0;
    }
    let direction: Vec<f32> =
        along.of(&mut numbers).iter().map(|_| if random.u32() & 1 == 0 { 1.0 } else { -1.0 }).collect();
    let at = |step: f32| {
        let mut moved = numbers.clone();
        along.of(&mut moved).iter_mut().zip(&direction).for_each(|(v, d)| *v += step * d);
        objective(&run(&oracle, tape, value, &moved, false), &numbers)
    };
    let over = |h: f32| (at(h) - at(-h)) / (2.0 * h as f64);
    let results = run(&oracle, tape, gradient, &numbers, false);
    let gradient = match along {
        Along::Features => results.features.unwrap(),
        Along::Parameter(i) => results.params[i].clone(),
    };
    let expected = gradient.iter().zip(&direction).map(|(g, d)| g * *d as f64).sum();
    judge(over(h), || over(h / 2.0), expected, gradient.iter().map(|g| g.abs()).sum())
}

/// Draws that are held against differences. Every one counts.
const DRAWS: u64 = 3;

/// Holds the gradient along `along` against the slope of the objective, with the numbers of `draw`. A draw whose
/// step crosses a kink is drawn again, which cannot go on for ever.
pub fn hold_slopes_for(purposes: [Purpose; 2], what: &str, tape: &Tape, along: Along, draw: impl Fn(u64) -> Numbers) {
    for n in 1..=DRAWS {
        let again = (0..5).map(|a| n + a * DRAWS);
        let verdicts = again.map(|seed| slope(purposes, tape, &draw(seed), along, &mut Random::new(seed, 5)));
        let verdict = verdicts.into_iter().find(|v| *v != Verdict::Kink).unwrap_or(Verdict::Kink);
        assert_eq!(verdict, Verdict::Right, "{what} {along:?}, draw {n}");
    }
}

/// The same for the outputs of a prediction and their gradient from outside.
pub fn hold_slopes(what: &str, tape: &Tape, along: Along, draw: impl Fn(u64) -> Numbers) {
    hold_slopes_for([Purpose::Predict, Purpose::Upstream], what, tape, along, draw);
}

/// Rows of operations that say so stand alone: another first row changes no other row of the outputs.
fn hold_locality(case: &Case) {
    let (widths, sizes) = (WIDTHS[1], [3, 1]);
    let tape = record(&case.build, widths, Storage::F32, false);
    if !tape.nodes.iter().all(|node| node.op.rule().locality() == Locality::Row) {
        return;
    }
    let numbers = Numbers::random(&tape, &sizes, widths.input as usize, (case.classes)(widths), 3);
    let mut other = numbers.clone();
    other.features[..widths.input as usize].iter_mut().for_each(|v| *v = 1.5 - 2.0 * *v);
    let [before, after] =
        [&numbers, &other].map(|numbers| run(&Device::oracle(), &tape, Purpose::Predict, numbers, false).outputs);
    for ((output, (name, before)), (_, after)) in tape.outputs.iter().zip(&before).zip(&after) {
        if tape.shape(output.value).rows == Dim::Instances {
            let cols = tape.cols(output.value) as usize;
            assert_eq!(before[cols..], after[cols..], "{}: {name} looks at other rows", case.name);
        }
    }
}

/// Holds the backward of every case against finite differences.
pub fn against_differences(cases: &[Case]) {
    for case in cases {
        hold_locality(case);
        for (w, widths) in WIDTHS.into_iter().enumerate().take(4) {
            let tape = record(&case.build, widths, Storage::F32, w % 2 == 1);
            let parameters = (0..tape.params.len()).map(Along::Parameter);
            for along in parameters.chain(case.over_features.then_some(Along::Features)) {
                hold_slopes(&format!("{} {widths:?}", case.name), &tape, along, |seed| {
                    let (classes, seed) = ((case.classes)(widths), seed * 100 + w as u64);
                    Numbers::random(&tape, &batches()[w], widths.input as usize, classes, seed)
                });
            }
        }
    }
}

/// The largest of them without their signs; infinite when any is not finite.
pub fn largest<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().fold(0.0, |m, v| if v.is_finite() { m.max(v.abs()) } else { f64::INFINITY })
}

/// Gradients below this are zero but for the rounding of the oracle.
const ZERO: f64 = 1e-9;

/// Holds outputs and gradients against those of the oracle. A gradient that is zero there, as that of the bias of an
/// attention, is compared absolutely, next to the largest of all gradients: rounding leaves that much of it.
pub fn compare(name: &str, found: &Results, wanted: &Results, tolerance: f64) {
    let check = |what: &str, found: &[f64], wanted: &[f64]| {
        let e = error(found, wanted);
        assert!(e < tolerance, "{name}, {what}: error {e:.2e}");
    };
    assert_eq!(found.outputs.len(), wanted.outputs.len());
    for ((what, found), (_, wanted)) in found.outputs.iter().zip(&wanted.outputs) {
        check(what, found, wanted);
    }
    let all = wanted.params.iter().flatten().chain(wanted.features.iter().flatten());
    let size = largest(all).max(1.0);
    let gradient = |what: &str, found: &[f64], wanted: &[f64]| {
        if largest(wanted) > ZERO {
            return check(what, found, wanted);
        }
        assert_eq!(found.len(), wanted.len(), "{name}, {what}");
        let e = largest(found) / size;
        assert!(e < tolerance, "{name}, {what}, which is zero: {e:.2e}");
    };
    assert_eq!(found.params.len(), wanted.params.len());
    for (i, (found, wanted)) in found.params.iter().zip(&wanted.params).enumerate() {
        gradient(&format!("gradient of parameter {i}"), found, wanted);
    }
    assert_eq!(found.features.is_some(), wanted.features.is_some());
    if let (Some(found), Some(wanted)) = (&found.features, &wanted.features) {
        gradient("gradient of the features", found, wanted);
    }
}

/// The same for a whole network, where rounding adds up: an error may be eight times that of `host`, which is the host
/// in f32, and 1e-5 in any case. The loss counts too: f32 rounds a probability near 1 by 6e-8, which is an error of its
/// logarithm however small that is, so a small loss is held to a few such roundings and not to digits of its own.
pub fn compare_beside(name: &str, found: &Results, wanted: &Results, host: &Results) {
    let rows = |results: &Results| {
        let mut rows: Vec<(String, Vec<f64>)> = results.outputs.clone();
        rows.extend(results.loss.map(|loss| ("loss".to_string(), vec![loss])));
        let gradients = results.params.iter().chain(&results.features).enumerate();
        rows.extend(gradients.map(|(i, g)| (format!("gradient {i}"), g.clone())));
        rows
    };
    let (found, wanted, host) = (rows(found), rows(wanted), rows(host));
    assert_eq!(found.len(), wanted.len(), "{name}");
    let size = largest(wanted.iter().filter(|(what, _)| what.starts_with("gradient")).flat_map(|(_, g)| g));
    for (((what, found), (_, wanted)), (_, host)) in found.iter().zip(&wanted).zip(&host) {
        // Gradients that cancel are next to nothing beside the others: they count by what rounding leaves of those.
        let least = match what.as_str() {
            "loss" => 4.0 * f64::from(f32::EPSILON),
            gradient if gradient.starts_with("gradient") => size * 1e-6 * (wanted.len() as f64).sqrt(),
            _ => 0.0,
        };
        let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let off = |values: &[f64]| error(values, wanted) * if norm(wanted) > 0.0 { norm(wanted) } else { 1.0 };
        let tolerance = (8.0 * off(host)).max(1e-5 * norm(wanted)).max(least);
        let e = off(found);
        assert!(e <= tolerance, "{name}, {what}: {e:.2e} off, {tolerance:.2e} allowed, {:.2e} large", norm(wanted));
    }
}

/// Holds a device against the oracle: forward and backward of every case, at awkward sizes, over poisoned
/// memory, with random upstream gradients, and with every gradient accumulated twice; planned for as itself and as every
/// class of GPU.
pub fn against_oracle(device: &Device, tolerance: f64, cases: &[Case]) {
    let oracle = Device::oracle();
    for case in cases {
        for (w, widths) in WIDTHS.into_iter().enumerate() {
            for (b, sizes) in batches().into_iter().enumerate() {
                // Every width and every batch, not every pair: the pairs that matter differ in one of them.
                if (w + b) % 3 != 0 && w != 3 {
                    continue;
                }
                if matches!(device, Device::Gpu(_)) && super::is_thin() && sizes.iter().sum::<usize>() > 400 {
                    continue;
                }
                for twice in [false, true] {
                    let tape = record(&case.build, widths, Storage::F32, twice);
                    let seed = (w * 10 + b) as u64 + 100;
                    let classes = (case.classes)(widths);
                    let numbers = Numbers::random(&tape, &sizes, widths.input as usize, classes, seed);
                    let found = run(device, &tape, Purpose::Upstream, &numbers, b % 2 == 0);
                    if errors::audit().is_some() {
                        // Every launch was held against its twin already.
                        continue;
                    }
                    let wanted = run(&oracle, &tape, Purpose::Upstream, &numbers, false);
                    let name = &case.name;
                    let what = format!("{name} {widths:?} bags {sizes:?} twice {twice} on {}", device.name());
                    compare(&what, &found, &wanted, tolerance);
                    // What classes differ in does not depend on how many bags there are.
                    let Device::Gpu(gpu) = device else { continue };
                    if !twice
                        && b <= 2
                        && let Some(target) = in_subgroups(gpu, &tape, Purpose::Upstream, &sizes)
                    {
                        let [found, again] =
                            [0, 1].map(|_| run_on(device, target, &tape, Purpose::Upstream, &numbers, true).unwrap());
                        compare(&format!("{what} within subgroups"), &found, &wanted, tolerance);
                        assert_eq!(format!("{found:?}"), format!("{again:?}"), "{what} within subgroups, once more");
                    }
                    if twice || b > 2 || (w == 3 && b > 0) || super::is_thin() {
                        continue;
                    }
                    for (plan_as, target) in
                        other_plans(gpu, &tape, Purpose::Upstream, &sizes, &[2, 200], all_but_products)
                    {
                        let found = run_on(device, target, &tape, Purpose::Upstream, &numbers, b % 2 == 1).unwrap();
                        compare(&format!("{what} as {plan_as}"), &found, &wanted, tolerance);
                    }
                }
            }
        }
    }
}
