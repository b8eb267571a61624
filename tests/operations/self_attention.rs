//! Self-attention within bags: against a plain N x N computation, finite differences and the oracle, and in
//! memory that grows with the instances, not their pairs.

use crate::common;
use crate::common::check::{
    Along, Build, Case, Widths, against_differences, against_oracle, compare, hold_slopes, hold_slopes_for, over_bags,
    param, record,
};
use crate::common::harness::{Numbers, run};
use bagrad::device::{Device, GpuOptions};
use bagrad::kernels::launch::{BufferKey, Input};
use bagrad::ops::dropout::Dropout;
use bagrad::ops::pointwise::{Activate, Activation, AddScaled, Multiply};
use bagrad::ops::reduce::{ColumnSum, RowSum};
use bagrad::ops::self_attention::{Energy, MOST_BINS, SelfAttention};
use bagrad::plan::{Family, PlanAs, Purpose};
use bagrad::random::philox;
use bagrad::tape::{Storage, Tape, ValueId};

const DISTANCE: Energy = Energy::Distance { scale: 0.5, unit: 0.25 };

/// The grid of the harness' places has no pair at the border of two of these bins.
const BINNED: Energy = Energy::Binned { scale: 0.5, unit: 0.0871, bins: 7 };

/// No pair of the numbers below is at the border.
const NEAR: Energy = Energy::Near { limit: 1.3 };

const ENERGIES: [Energy; 10] = [
    Energy::Dot { scale: 1.0 },
    Energy::Dot { scale: 0.25 },
    Energy::Rbf,
    Energy::InverseQuadratic,
    Energy::Laplace,
    Energy::Module,
    Energy::ModulePower,
    DISTANCE,
    BINNED,
    NEAR,
];

fn product(t: &mut Tape, x: ValueId, cols: u32) -> ValueId {
    use bagrad::ops::matmul::Linear;
    let weight = param(t, cols, t.cols(x));
    t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap()
}

/// Columns of a head of q and k, and of v.
fn columns(energy: Energy, w: Widths) -> (u32, u32) {
    // Powers are slow; 65 and 70 columns take more than one chunk.
    let most = if energy == Energy::ModulePower { 5 } else { 65 };
    (w.output.min(most), w.hidden.min(70))
}

/// A factor of q and k that keeps energies of many columns apart by about one: where a softmax saturates, f32
/// has nothing left to compare.
fn shrink(energy: Energy, dims: u32) -> f32 {
    let dot = matches!(energy, Energy::Dot { .. } | Energy::Distance { .. } | Energy::Binned { .. });
    (dims as f32).powf(if dot { -0.25 } else { -0.5 })
}

/// Outputs that have a gradient.
fn outputs_of(energy: Energy) -> usize {
    2 + (energy.bins() > 0) as usize
}

fn attend(t: &mut Tape, x: ValueId, w: Widths, energy: Energy, positive: bool) -> Vec<ValueId> {
    attend_dropping(t, x, w, energy, positive, Dropout::default())
}

fn attend_dropping(
    t: &mut Tape,
    x: ValueId,
    w: Widths,
    energy: Energy,
    positive: bool,
    dropout: Dropout,
) -> Vec<ValueId> {
    let (dims, values) = columns(energy, w);
    let mut inputs = [dims, dims, values].map(|cols| product(t, x, w.heads * cols)).to_vec();
    for x in &mut inputs[..2] {
        let op = AddScaled { a: shrink(energy, dims), b: 0.0 };
        *x = t.push1(op, &[*x, *x]).unwrap();
    }
    if matches!(energy, Energy::Near { .. }) {
        inputs[1] = inputs[0];
    }
    if matches!(energy, Energy::Rbf | Energy::InverseQuadratic | Energy::ModulePower) {
        let alpha = param(t, 1, w.heads);
        let kind = if positive { Activation::Exp } else { Activation::None };
        let mut alpha = t.push1(Activate(kind), &[alpha]).unwrap();
        if positive && energy == Energy::ModulePower {
            // Above 1: below, derivatives near equal values are as large as one likes.
            alpha = t.push1(Activate(kind), &[alpha]).unwrap();
        }
        inputs.push(alpha);
    }
    if energy == DISTANCE {
        let cols = [dims, dims, values, 1].map(|cols| w.heads * cols);
        inputs.extend(cols.map(|cols| param(t, 2, cols)));
        inputs.push(t.batch(Input::Coords, 2));
    }
    if energy.bins() > 0 {
        inputs.extend([0, 1].map(|_| product(t, x, w.heads * energy.bins())));
        inputs.push(t.batch(Input::Coords, 2));
    }
    over_bags(t, SelfAttention { heads: w.heads, energy, dropout }, &inputs)
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for energy in ENERGIES {
        // With the second output D has a part from the log-sum-exp; once without is enough.
        let once = matches!(energy, Energy::Dot { .. } | Energy::Binned { .. });
        let counts = if once { vec![1, outputs_of(energy)] } else { vec![2] };
        for outputs in counts {
            let build: Build = Box::new(move |t, x, w| attend(t, x, w, energy, true)[..outputs].to_vec());
            let name = format!("self-attention {energy:?}, {outputs} outputs");
            cases.push(Case { name, build, classes: |w| w.heads + 1, over_features: true });
        }
    }
    cases
}

#[test]
fn backward_agrees_with_finite_differences() {
    against_differences(&cases());
}

/// The gradients of alpha, beta and theta are single numbers in which all pairs nearly cancel (powers most of
/// all), and that of an absolute value jumps where two of millions of numbers are equal in f32 but not in f64:
/// more room than for inner products.
fn like_the_oracle(device: &Device, tolerance: f64) {
    for case in cases() {
        let room = match &case.name {
            name if name.contains("Dot") => 1.0,
            name if name.contains("Power") => 50.0,
            _ => 10.0,
        };
        against_oracle(device, room * tolerance, &[case]);
    }
}

#[test]
fn host_agrees_with_the_oracle() {
    like_the_oracle(&Device::host(), 2e-5);
}

#[test]
fn gpu_agrees_with_the_oracle() {
    if let Some(gpu) = common::gpu() {
        like_the_oracle(&gpu, 3e-5);
    }
}

/// E(q, k) as the definitions say it.
fn energy_of(energy: Energy, q: &[f64], k: &[f64], alpha: f64) -> f64 {
    let pairs = || q.iter().zip(k);
    let squares: f64 = pairs().map(|(q, k)| (q - k).powi(2)).sum();
    let a = alpha.max(0.0);
    match energy {
        Energy::Dot { scale } | Energy::Distance { scale, .. } | Energy::Binned { scale, .. } => {
            scale as f64 * pairs().map(|(q, k)| q * k).sum::<f64>()
        }
        Energy::Rbf => (-a * squares).exp(),
        Energy::InverseQuadratic => 1.0 / (a * squares + 1.0),
        Energy::Laplace => -pairs().map(|(q, k)| (q - k).abs()).sum::<f64>(),
        Energy::Module => pairs().map(|(q, k)| (q - k).abs() - q.abs() - k.abs()).sum(),
        // Rows are near themselves.
        Energy::Near { limit } => {
            if squares < f64::from(limit).powi(2) {
                0.0
            } else {
                f64::NEG_INFINITY
            }
        }
        Energy::ModulePower => pairs().map(|(q, k)| (q - k).abs().powf(a) - q.abs().powf(a) - k.abs().powf(a)).sum(),
    }
}

/// What the cases make of the parameter of alpha.
fn alpha_of(energy: Energy, parameter: f32) -> f64 {
    let exp = (parameter as f64).exp();
    if energy == Energy::ModulePower { exp.exp() } else { exp }
}

/// Rows times a transposed weight matrix.
fn times(x: &[f64], w: &[f32], inputs: usize) -> Vec<f64> {
    let row = |x: &[f64]| -> Vec<f64> {
        w.chunks_exact(inputs).map(|w| x.iter().zip(w).map(|(x, w)| x * *w as f64).sum()).collect()
    };
    x.chunks_exact(inputs).flat_map(row).collect()
}

/// What the whole matrix of every bag gives, pair by pair: outputs as attention has them. `kept` is the factor of
/// (bag's first row, query and key from there, head).
fn whole(energy: Energy, w: Widths, numbers: &Numbers, kept: impl Fn([usize; 3], usize) -> f64) -> Vec<Vec<f64>> {
    let input = w.input as usize;
    let x: Vec<f64> = numbers.features.iter().map(|v| *v as f64).collect();
    let (dims, values) = columns(energy, w);
    let shrink = shrink(energy, dims) as f64;
    let (heads, dims, values) = (w.heads as usize, dims as usize, values as usize);
    let rows = |i: usize, s: f64| times(&x, &numbers.params[i], input).iter().map(|x| s * x).collect::<Vec<f64>>();
    let side = if matches!(energy, Energy::Near { .. }) { 0 } else { 1 };
    let (q, k, v) = (rows(0, shrink), rows(side, shrink), rows(2, 1.0));
    let bins = energy.bins() as usize;
    let by_bin = if bins > 0 { [rows(3, 1.0), rows(4, 1.0)] } else { Default::default() };
    let [mut out, mut lse, mut shares] = [(); 3].map(|()| Vec::new());
    let mut start = 0;
    for &size in &numbers.sizes {
        for i in start..start + size {
            for h in 0..heads {
                let alpha = if numbers.params.len() == 4 { alpha_of(energy, numbers.params[3][h]) } else { 0.0 };
                let of = |x: &[f64], row: usize, width: usize| -> Vec<f64> {
                    x[(row * heads + h) * width..][..width].to_vec()
                };
                let apart = |j: usize| {
                    let place = |row: usize| [0, 1].map(|c| numbers.coords[2 * row + c] as f64);
                    let ([a, b], [c, d]) = (place(i), place(j));
                    (a - c).hypot(b - d)
                };
                let bin_of = |j: usize| match energy {
                    Energy::Binned { unit, .. } if i != j => {
                        let index = (unit * (bins - 1) as f32) as f64 * apart(j);
                        assert!((index.fract() - 0.5).abs() > 1e-5, "{index} may round up and down");
                        Some((index.round() as usize).min(bins - 1))
                    }
                    _ => None,
                };
                // phi u + (1 - phi) v of prototypes number n, nothing on the diagonal.
                let bias = |j: usize, n: usize, width: usize| -> Vec<f64> {
                    if energy != DISTANCE || i == j {
                        return vec![0.0; width];
                    }
                    let (beta, theta) = (numbers.params[6][h] as f64, numbers.params[6][heads + h] as f64);
                    let phi = 1.0 / (1.0 + (-beta * (0.25 * apart(j) - theta)).exp());
                    let p = &numbers.params[3 + n];
                    let [u, v] = [0, 1].map(|part| &p[(part * heads + h) * width..][..width]);
                    u.iter().zip(v).map(|(u, v)| phi * *u as f64 + (1.0 - phi) * *v as f64).collect()
                };
                let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
                let energies: Vec<f64> = (start..start + size)
                    .map(|j| {
                        let (q, k) = (of(&q, i, dims), of(&k, j, dims));
                        let added = |b: usize| of(&by_bin[0], i, bins)[b] + of(&by_bin[1], j, bins)[b];
                        let biases = dot(&q, &bias(j, 0, dims)) + dot(&k, &bias(j, 1, dims));
                        energy_of(energy, &q, &k, alpha) + 0.5 * (biases + bin_of(j).map_or(0.0, added))
                    })
                    .collect();
                let total: f64 = energies.iter().map(|e| e.exp()).sum();
                lse.push(total.ln());
                let (mut row, mut of_bins) = (vec![0.0; values], vec![0.0; bins]);
                for (j, e) in energies.iter().enumerate() {
                    let weight = e.exp() / total * kept([start, i - start, j], h);
                    let v = of(&v, start + j, values);
                    let bias = bias(start + j, 2, values);
                    row.iter_mut().zip(v).zip(bias).for_each(|((o, v), b)| *o += weight * (v + b));
                    if let Some(bin) = bin_of(start + j) {
                        of_bins[bin] += weight;
                    }
                }
                out.extend(row);
                shares.extend(of_bins);
            }
        }
        start += size;
    }
    if bins > 0 { vec![out, lse, shares] } else { vec![out, lse] }
}

fn devices(oracle: f64, host: f64, gpu: f64) -> Vec<(Device, f64)> {
    let mut devices = vec![(Device::oracle(), oracle), (Device::host(), host)];
    devices.extend(common::gpu().map(|device| (device, gpu)));
    devices
}

/// The whole matrix of every bag, softmax and product, one pair after the other.
#[test]
fn forward_agrees_with_the_whole_matrix() {
    let widths = Widths { input: 6, output: 8, hidden: 12, heads: 2 };
    for energy in ENERGIES {
        let build: Build = Box::new(move |t, x, w| attend(t, x, w, energy, true)[..outputs_of(energy)].to_vec());
        let tape = record(&build, widths, Storage::F32, false);
        let numbers = Numbers::random(&tape, &[1, 2, 63, 64, 65, 200], 6, 2, 8);
        let wanted = whole(energy, widths, &numbers, |_, _| 1.0);
        for (device, tolerance) in devices(1e-12, 1e-5, 2e-5) {
            let found = run(&device, &tape, Purpose::Predict, &numbers, true);
            assert_eq!(found.outputs.len(), wanted.len());
            for ((name, found), wanted) in found.outputs.iter().zip(&wanted) {
                let e = common::error(found, wanted);
                assert!(e < tolerance, "{energy:?} {name} on {device:?}: {e:.1e}");
            }
        }
    }
}

const TRAINING: Purpose = Purpose::Gradients { dropout: true };
const DROPPED: Dropout = Dropout::new(0.3, 5);

/// The sum of the squares of all outputs of attention that drops.
fn dropping(energy: Energy, w: Widths, dropout: Dropout) -> Tape {
    let mut tape = Tape::new();
    let x = tape.features(w.input as usize, Storage::F32, true);
    let outputs = attend_dropping(&mut tape, x, w, energy, true, dropout);
    let mut sum = None;
    for (i, y) in outputs[..outputs_of(energy)].iter().enumerate() {
        tape.output(&format!("y{i}"), *y);
        let squares = tape.push1(Multiply, &[*y, *y]).unwrap();
        let of_columns = tape.push1(ColumnSum, &[squares]).unwrap();
        let of_all = tape.push1(RowSum, &[of_columns]).unwrap();
        sum = Some(match sum {
            None => of_all,
            Some(before) => tape.push1(AddScaled { a: 1.0, b: 1.0 }, &[before, of_all]).unwrap(),
        });
    }
    tape.loss = sum;
    tape
}

/// The factor of a pair, as the operation says it is drawn: two queries by four keys share a block of words.
fn drawn(numbers: &Numbers, dropout: Dropout, heads: usize, [bag, i, j]: [usize; 3], head: usize) -> f64 {
    let counter = [bag + i / 2, dropout.site as usize, numbers.step as usize, j / 4 * heads + head].map(|c| c as u32);
    let word = philox(counter, [numbers.seed as u32, (numbers.seed >> 32) as u32])[j % 4];
    let threshold = (dropout.rate as f64 * 65536.0) as u32;
    let bits = if i % 2 == 0 { word & 0xffff } else { word >> 16 };
    if bits < threshold { 0.0 } else { 65536.0 / (65536 - threshold) as f64 }
}

#[test]
fn dropout_is_that_of_the_whole_matrix() {
    let widths = Widths { input: 6, output: 8, hidden: 12, heads: 2 };
    for energy in ENERGIES {
        let tape = dropping(energy, widths, DROPPED);
        let numbers = Numbers::random(&tape, &[1, 2, 63, 64, 65, 200], 6, 2, 8);
        let wanted = whole(energy, widths, &numbers, |pair, head| drawn(&numbers, DROPPED, 2, pair, head));
        let plain = whole(energy, widths, &numbers, |_, _| 1.0);
        for (device, tolerance) in devices(1e-7, 1e-5, 2e-5) {
            for (purpose, wanted) in [(TRAINING, &wanted), (Purpose::Predict, &plain)] {
                let found = run(&device, &tape, purpose, &numbers, true);
                for ((name, found), wanted) in found.outputs.iter().zip(wanted) {
                    let e = common::error(found, wanted);
                    assert!(e < tolerance, "{energy:?} {name} on {device:?}: {e:.1e}");
                }
            }
        }
    }
}

#[test]
fn backward_of_dropout_agrees_with_finite_differences() {
    let widths = Widths { input: 3, output: 5, hidden: 7, heads: 3 };
    for energy in ENERGIES {
        let tape = dropping(energy, widths, DROPPED);
        for along in (0..tape.params.len()).map(Along::Parameter).chain([Along::Features]) {
            let draw = |seed| Numbers::random(&tape, &[3, 1, 66], 3, 2, seed);
            hold_slopes_for([TRAINING; 2], &format!("{energy:?}"), &tape, along, draw);
        }
    }
}

#[test]
fn dropout_is_the_same_on_every_device() {
    let widths = [
        Widths { input: 3, output: 5, hidden: 7, heads: 3 },
        Widths { input: 8, output: 4, hidden: 12, heads: 2 },
        Widths { input: 17, output: 65, hidden: 70, heads: 1 },
    ];
    for energy in ENERGIES {
        for (w, sizes) in widths.into_iter().zip([vec![64, 65, 1, 127], vec![5; 30], vec![131, 2]]) {
            let tape = dropping(energy, w, DROPPED);
            let numbers = Numbers::random(&tape, &sizes, w.input as usize, 2, 4);
            let wanted = run(&Device::oracle(), &tape, TRAINING, &numbers, false);
            // As without dropout: sums that nearly cancel need room.
            let room = if matches!(energy, Energy::Dot { .. }) { 1.0 } else { 10.0 };
            for (device, tolerance) in devices(1.0, 3e-5, 3e-5).into_iter().skip(1) {
                let found = run(&device, &tape, TRAINING, &numbers, true);
                compare(&format!("{energy:?} {w:?} on {device:?}"), &found, &wanted, room * tolerance);
            }
        }
    }
}

/// How many rows an invocation owns is chosen by family of GPU: the numbers are those of the oracle for each.
#[test]
fn rows_of_an_invocation_do_not_matter() {
    let (w, sizes) = (Widths { input: 3, output: 4, hidden: 4, heads: 1 }, [5, 70]);
    for (family, energy) in [(Family::Apple, Energy::Rbf), (Family::Rdna, BINNED), (Family::Nvidia, Energy::Rbf)] {
        let options = GpuOptions { plan_as: Some(PlanAs::gpu(family, 8)), ..Default::default() };
        let Some(gpu) = common::gpu_with(options) else { return };
        let tape = dropping(energy, w, DROPPED);
        let numbers = Numbers::random(&tape, &sizes, w.input as usize, 2, 4);
        let wanted = run(&Device::oracle(), &tape, TRAINING, &numbers, false);
        let found = run(&gpu, &tape, TRAINING, &numbers, true);
        compare(&format!("{energy:?} as {family:?}"), &found, &wanted, 3e-4);
    }
}

/// Equal energies and values that are rows of the unit matrix: the result is the matrix of weights itself.
#[test]
fn masks_have_their_rate_and_differ() {
    let n = 60;
    let widths = Widths { input: n as u32, output: 2, hidden: n as u32, heads: 2 };
    let unit: Vec<f32> = (0..n * n).map(|i| (i % (n + 1) == 0) as u32 as f32).collect();
    let energy = Energy::Dot { scale: 1.0 };
    let masks = |device: &Device, dropout: Dropout, step: u32, seed: u64| -> Vec<Vec<bool>> {
        let tape = dropping(energy, widths, dropout);
        let mut numbers = Numbers { step, ..Numbers::random(&tape, &[n, n], n, 2, seed) };
        numbers.features = unit.repeat(2);
        numbers.params = vec![vec![0.0; 4 * n], vec![0.0; 4 * n], unit.repeat(2)];
        let found = run(device, &tape, TRAINING, &numbers, false);
        let rows: Vec<&[f64]> = found.outputs[0].1.chunks_exact(2 * n).collect();
        let keep = 1.0 / (1.0 - dropout.rate as f64) / n as f64;
        assert!(found.outputs[0].1.iter().all(|v| *v == 0.0 || (v / keep - 1.0).abs() < 1e-4));
        // Of both bags, both heads.
        let part = |bag: usize, head: usize| {
            rows[bag * n..(bag + 1) * n].iter().flat_map(move |row| &row[head * n..(head + 1) * n]).map(|v| *v == 0.0)
        };
        [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(bag, head)| part(bag, head).collect()).to_vec()
    };
    let rate = 0.1;
    let dropout = Dropout::new(rate, 3);
    let first = masks(&Device::oracle(), dropout, 3, 1);
    for (device, _) in devices(0.0, 0.0, 0.0) {
        assert_eq!(masks(&device, dropout, 3, 1), first, "masks on {device:?}");
    }
    let mut all = first;
    all.extend(masks(&Device::host(), dropout, 4, 1));
    all.extend(masks(&Device::host(), Dropout { site: 4, ..dropout }, 3, 1));
    all.extend(masks(&Device::host(), dropout, 3, 2));
    let count = (n * n) as f64;
    // Five standard deviations of a count of that many draws, over the number.
    let near = |found: usize, p: f64| (found as f64 / count - p).abs() < 5.0 * (p * (1.0 - p) / count).sqrt();
    for (i, mask) in all.iter().enumerate() {
        let dropped = mask.iter().filter(|d| **d).count();
        assert!(near(dropped, rate as f64), "mask {i} drops {dropped} of {count}");
        for (j, other) in all[..i].iter().enumerate() {
            let both = mask.iter().zip(other).filter(|(a, b)| **a && **b).count();
            assert!(near(both, (rate * rate) as f64), "masks {i} and {j} both drop {both} of {count}");
        }
        // Rows and columns next to each other share random words.
        for step in [1, n] {
            let both = mask.iter().zip(&mask[step..]).filter(|(a, b)| **a && **b).count();
            assert!(near(both, (rate * rate) as f64), "mask {i} drops {both} pairs of neighbours {step} apart");
        }
    }
}

/// What does not fit is an error that says so.
#[test]
fn bins_and_rates_out_of_range_are_refused() {
    let record = |bins: u32, given: u32, rate: f32| {
        let mut tape = Tape::new();
        let x = tape.features(4, Storage::F32, false);
        let by_bin = product(&mut tape, x, given);
        let places = tape.batch(Input::Coords, 2);
        let tables = common::check::tables(&mut tape);
        let energy = Energy::Binned { scale: 1.0, unit: 1.0, bins };
        let op = SelfAttention { heads: 1, energy, dropout: Dropout::new(rate, 0) };
        tape.push(op, &[&[x, x, x, by_bin, by_bin, places][..], &tables].concat())
    };
    assert!(record(MOST_BINS, MOST_BINS, 0.0).is_ok());
    for (bins, given) in [(0, 1), (MOST_BINS + 1, MOST_BINS + 1), (3, 4), (u32::MAX, 1)] {
        let text = record(bins, given, 0.0).unwrap_err().to_string();
        assert!(text.contains("1 to 24 bins"), "{text}");
    }
    for rate in [1.0, -0.1, f32::NAN] {
        let text = record(2, 2, rate).unwrap_err().to_string();
        assert!(text.contains("[0, 1)"), "{text}");
    }
}

/// What is both projection and bias gets both gradients.
#[test]
fn bins_may_be_the_rows_themselves() {
    let mut tape = Tape::new();
    let x = tape.features(4, Storage::F32, true);
    let rows = product(&mut tape, x, 3);
    let places = tape.batch(Input::Coords, 2);
    let tables = common::check::tables(&mut tape);
    let energy = Energy::Binned { scale: 0.7, unit: 0.0871, bins: 3 };
    let op = SelfAttention { heads: 1, energy, dropout: Dropout::default() };
    let out = tape.push(op, &[&[rows, rows, rows, rows, rows, places][..], &tables].concat()).unwrap();
    out.iter().enumerate().for_each(|(i, y)| tape.output(&format!("y{i}"), *y));
    for along in [Along::Features, Along::Parameter(0)] {
        hold_slopes("bins", &tape, along, |seed| Numbers::random(&tape, &[7, 66], 4, 2, seed));
    }
}

/// Where alpha is not positive the energy is that of alpha 0, and alpha gets no gradient.
#[test]
fn a_negative_alpha_is_held_at_zero() {
    let widths = Widths { input: 3, output: 4, hidden: 4, heads: 1 };
    for energy in [Energy::Rbf, Energy::InverseQuadratic, Energy::ModulePower] {
        let build: Build = Box::new(move |t, x, w| attend(t, x, w, energy, false)[..1].to_vec());
        let tape = record(&build, widths, Storage::F32, false);
        let mut numbers = Numbers::random(&tape, &[5, 70], 3, 2, 3);
        let mut devices = vec![Device::oracle(), Device::host()];
        devices.extend(common::gpu());
        for device in devices {
            let mut at = |alpha: f32| {
                numbers.params[3] = vec![alpha];
                run(&device, &tape, Purpose::Upstream, &numbers, false)
            };
            let (below, zero) = (at(-0.7), at(0.0));
            assert_eq!(below.outputs, zero.outputs, "{energy:?} on {device:?}");
            assert_eq!(below.params[3], [0.0], "{energy:?} on {device:?}");
        }
    }
}

/// Ten times the instances take ten times the memory, forward and backward.
#[test]
fn memory_is_linear_in_the_instances() {
    use crate::common::harness::extent;
    use bagrad::device::executor::Executor;
    use bagrad::plan;
    let widths = Widths { input: 16, output: 16, hidden: 64, heads: 1 };
    for energy in ENERGIES {
        let build: Build = Box::new(move |t, x, w| attend(t, x, w, energy, true)[..1].to_vec());
        let tape = record(&build, widths, Storage::F32, false);
        let bytes = [1_000, 10_000].map(|n: usize| {
            let mut executor = Executor::new(&Device::host());
            let values = tape.param_layout().total as u64;
            for key in [BufferKey::Params, BufferKey::Grads] {
                executor.ensure(key, values * 4).unwrap();
            }
            let program = plan::plan(&tape, Purpose::Upstream, Device::host().target(), extent(&[n])).unwrap();
            executor.load(program).unwrap();
            executor.memory().1
        });
        println!("{energy:?}: {} bytes for 1,000 instances, {} for 10,000", bytes[0], bytes[1]);
        assert!(bytes[1] < bytes[0] * 21 / 2, "{energy:?}: {bytes:?}");
    }
}

/// Eight heads of 64 columns over one bag of 50,000 instances, forward and backward, hold less than 2 GB besides
/// features and parameters; a column for the pairs of one head alone would be 10 GB.
#[test]
fn fifty_thousand_instances_take_less_than_two_gigabytes() {
    use crate::common::harness::extent;
    use bagrad::device::executor::Executor;
    use bagrad::device::{GpuDevice, GpuOptions};
    use bagrad::plan;
    let device = Device::Gpu(GpuDevice::noop(GpuOptions::default()).unwrap());
    let widths = Widths { input: 512, output: 64, hidden: 64, heads: 8 };
    for energy in [Energy::Dot { scale: 0.125 }, DISTANCE, BINNED] {
        let build: Build = Box::new(move |t, x, w| attend(t, x, w, energy, true)[..1].to_vec());
        // In f16 the features get no gradient, as at the start of a model.
        let tape = record(&build, widths, Storage::F16, false);
        let values = tape.param_layout().total as u64;
        let mut executor = Executor::new(&device);
        executor.ensure(BufferKey::Params, values * 4).unwrap();
        executor.ensure(BufferKey::Grads, values * 4).unwrap();
        let program = plan::plan(&tape, Purpose::Upstream, device.target(), extent(&[50_000])).unwrap();
        executor.load(program).unwrap();
        let beyond = executor.memory().1 - 2 * 50_000 * 512 - values * 4;
        println!("{energy:?}: {beyond} bytes");
        assert!(beyond > 8 * 4 * 50_000 * 512, "{energy:?}: {beyond} bytes cannot hold q, k, v and their gradients");
        assert!(beyond < 2_000_000_000, "{energy:?}: {beyond} bytes");
    }
}

/// Rows that are their own only neighbours, or have one more at the other end of the bag, whichever block that is in: means
/// of one or two values, the logarithm of their number, and a gradient that goes back to the values alone.
#[test]
fn neighbours_are_found_in_whichever_block() {
    for cols in [3usize, 4] {
        let mut tape = Tape::new();
        let x = tape.features(cols, Storage::F32, true);
        let op = SelfAttention { heads: 1, energy: Energy::Near { limit: 0.5 }, dropout: Dropout::default() };
        let found = over_bags(&mut tape, op, &[x, x, x]);
        tape.output("mean", found[0]);
        tape.output("ln", found[1]);
        let sizes = [400usize, 1, 65];
        let mut numbers = Numbers::random(&tape, &sizes, cols, 2, 3);
        // Row i of a bag of n stands at i, its last ones beside the first ones.
        let (mut partner, mut start) = (Vec::new(), 0);
        for n in sizes {
            for i in 0..n {
                let pairs = n / 4;
                let place = if i + pairs >= n { n - 1 - i } else { i };
                let other = if i < pairs { n - 1 - i } else { place };
                partner.push(start + if pairs > 0 { other } else { i });
                let row = &mut numbers.features[(start + i) * cols..][..cols];
                row.fill(place as f32);
                row[0] += if place == i { 0.0 } else { 0.25 };
            }
            start += n;
        }
        for (device, tolerance) in devices(1e-12, 1e-6, 1e-6) {
            let found = run(&device, &tape, Purpose::Upstream, &numbers, true);
            let (mean, ln) = (&found.outputs[0].1, &found.outputs[1].1);
            let gradient = found.features.as_ref().unwrap();
            let upstream = |row: usize, c: usize| f64::from(numbers.upstream[0][row * cols + c]);
            for (i, &j) in partner.iter().enumerate() {
                let count = if i == j { 1.0 } else { 2.0 };
                assert!((ln[i] - f64::ln(count)).abs() < tolerance, "row {i} on {device:?}");
                for c in 0..cols {
                    let of = |row: usize| f64::from(numbers.features[row * cols + c]);
                    let (wanted, back) = ((of(i) + of(j)) / 2.0, (upstream(i, c) + upstream(j, c)) / 2.0);
                    assert!((mean[i * cols + c] - wanted).abs() < tolerance * (1.0 + wanted), "row {i} on {device:?}");
                    assert!((gradient[i * cols + c] - back).abs() < tolerance * 10.0, "gradient {i} on {device:?}");
                }
            }
        }
    }
}
