//! How any operation is checked: its backward against finite differences in f64, and a device against
//! that oracle. A test file brings its cases.

use super::harness::{Numbers, Results, run};
use super::{error, errors};
use bagrad::device::Device;
use bagrad::kernels::launch::Input;
use bagrad::ops::Op;
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

pub fn over_bags(tape: &mut Tape, op: Op, x: &[ValueId]) -> Vec<ValueId> {
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

/// |slope of the objective along a random direction - gradient . direction| / |gradient|, in f64.
pub fn slope_error(tape: &Tape, numbers: &Numbers, along: Along, random: &mut Random) -> f64 {
    slope_error_for([Purpose::Predict, Purpose::Upstream], tape, numbers, along, random)
}

/// The same where one purpose gives the objective and another its gradient.
pub fn slope_error_for(
    [value, gradient]: [Purpose; 2],
    tape: &Tape,
    numbers: &Numbers,
    along: Along,
    random: &mut Random,
) -> f64 {
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
        objective(&run(&oracle, tape, value, &moved, false), &numbers)
    };
    let numeric = (at(1.0) - at(-1.0)) / (2.0 * h as f64);
    let results = run(&oracle, tape, gradient, &numbers, false);
    let gradient = match along {
        Along::Features => results.features.unwrap(),
        Along::Parameter(i) => results.params[i].clone(),
    };
    let expected: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * *d as f64).sum();
    (numeric - expected).abs() / gradient.iter().map(|g| g.abs()).sum::<f64>().max(1e-3)
}

/// Holds the backward of every case against finite differences.
pub fn against_differences(cases: &[Case]) {
    for case in cases {
        let name = &case.name;
        for (w, widths) in WIDTHS.into_iter().enumerate().take(4) {
            let tape = record(&case.build, widths, Storage::F32, w % 2 == 1);
            let parameters = (0..tape.params.len()).map(Along::Parameter);
            for along in parameters.chain(case.over_features.then_some(Along::Features)) {
                // A draw whose step happens to cross a kink is drawn again; a wrong gradient fails every draw.
                let error = (1..=3).map(|seed| {
                    let seed = seed * 100 + w as u64;
                    let classes = (case.classes)(widths);
                    let numbers = Numbers::random(&tape, &batches()[w], widths.input as usize, classes, seed);
                    slope_error(&tape, &numbers, along, &mut Random::new(seed, 5))
                });
                let error = error.fold(f64::INFINITY, f64::min);
                assert!(error < 1e-6, "{name} {widths:?} {along:?}: error {error:.1e}");
            }
        }
    }
}

pub fn compare(name: &str, found: &Results, wanted: &Results, tolerance: f64) {
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

/// Holds a device against the oracle: forward and backward of every case, at awkward sizes, over poisoned
/// memory, with random upstream gradients, and with every gradient accumulated twice.
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
                }
            }
        }
    }
}
