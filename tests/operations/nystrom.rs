//! Tokens, depthwise convolutions and the parts of Nyström attention: against finite differences, the oracle and
//! plain definitions.

use crate::common;
use crate::common::check::{Build, Case, Widths, against_differences, against_oracle, compare, param, record};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::kernels::launch::tokens_of;
use bagrad::ops::Op;
use bagrad::ops::cross_attention::{Between, CrossAttention, Received};
use bagrad::ops::depthwise::{GridConv, MergeKernels, SequenceConv, ShiftTokens};
use bagrad::ops::matmul::Linear;
use bagrad::ops::nystrom::{HeadProduct, Heads, PseudoInverse};
use bagrad::ops::pointwise::Activation;
use bagrad::ops::reduce::RowSoftmax;
use bagrad::ops::tokens::{LandmarkMeans, Square, TokenScores, TokenTables, class_tokens};
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape, ValueId};

fn linear(t: &mut Tape, x: ValueId, cols: u32) -> ValueId {
    let weight = param(t, cols, t.cols(x));
    t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap()
}

fn over_tokens(t: &mut Tape, op: impl Into<Op>, x: &[ValueId]) -> Vec<ValueId> {
    let tokens = TokenTables::on(t);
    t.push(op, &[x, &tokens].concat()).unwrap()
}

/// Tokens with `cols` columns.
fn square(t: &mut Tape, x: ValueId, cols: u32) -> ValueId {
    let x = linear(t, x, cols);
    let class = param(t, 1, cols);
    let [tiles, _, offsets] = common::check::tables(t);
    over_tokens(t, Square, &[x, class, tiles, offsets])[0]
}

fn means(t: &mut Tape, x: ValueId, landmarks: u32) -> ValueId {
    over_tokens(t, LandmarkMeans { landmarks }, &[x])[0]
}

/// Landmarks that divide few numbers of tokens.
fn landmarks(w: Widths) -> u32 {
    [2, 5, 7, 66, 3][w.input as usize % 5]
}

/// Columns of a head.
fn dims(w: Widths) -> u32 {
    [3, 4, 65, 8, 1][w.input as usize % 5]
}

/// softmax of the products of two landmarks' means, heads stacked.
fn weights(t: &mut Tape, x: ValueId, w: Widths, sharp: f32) -> ValueId {
    let x = square(t, x, w.heads * dims(w));
    let [q, k] = [0; 2].map(|_| {
        let x = linear(t, x, w.heads * dims(w));
        means(t, x, landmarks(w))
    });
    let op = HeadProduct {
        heads: w.heads,
        scale: sharp,
        a: (Heads::Columns, false),
        b: (Heads::Columns, true),
        c: Heads::Stacked,
    };
    t.push1(op, &[q, k]).unwrap()
}

fn softmax(t: &mut Tape, x: ValueId) -> ValueId {
    t.push1(RowSoftmax, &[x]).unwrap()
}

fn attention(t: &mut Tape, x: ValueId, w: Widths, between: Between) -> Vec<ValueId> {
    let x = square(t, x, w.heads * dims(w));
    let few = means(t, x, landmarks(w));
    let (from, to) = if between == Between::TokensAndLandmarks { (x, few) } else { (few, x) };
    let q = linear(t, from, w.heads * dims(w));
    let [k, v] = [dims(w), w.output.min(70)].map(|cols| linear(t, to, w.heads * cols));
    let op = CrossAttention { heads: w.heads, scale: 0.3, between };
    [over_tokens(t, op, &[q, k, v]), vec![q, k]].concat()
}

fn received(t: &mut Tape, x: ValueId, w: Widths) -> Vec<ValueId> {
    let attended = attention(t, x, w, Between::LandmarksAndTokens);
    let [_, lse, q, k] = attended[..] else { panic!("four values") };
    let g = linear(t, q, w.heads);
    let op = Received { heads: w.heads, scale: 0.3 };
    over_tokens(t, op, &[g, q, k, lse])
}

fn case(name: &str, build: impl Fn(&mut Tape, ValueId, Widths) -> Vec<ValueId> + 'static) -> Case {
    let build: Build = Box::new(build);
    Case { name: name.to_string(), build, classes: |_| 2, over_features: true }
}

fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("square", |t, x, w| vec![square(t, x, w.output)]),
        case("class tokens", |t, x, w| {
            let x = square(t, x, w.output);
            vec![class_tokens(t, x).unwrap()]
        }),
        case("landmark means", |t, x, w| {
            let x = square(t, x, w.output);
            vec![means(t, x, landmarks(w))]
        }),
        case("token scores", |t, x, w| {
            let x = square(t, x, w.heads);
            let [tiles, _, offsets] = common::check::tables(t);
            over_tokens(t, TokenScores, &[x, tiles, offsets])
        }),
        case("merge kernels", |t, x, w| {
            let kernels = [49, 25, 9].map(|area| param(t, w.hidden, area));
            let x = square(t, x, w.hidden);
            let kernel = t.push1(MergeKernels { side: 7 }, &kernels).unwrap();
            let bias = param(t, 1, w.hidden);
            over_tokens(t, GridConv { side: 7 }, &[x, kernel, bias])
        }),
        case("head product", |t, x, w| vec![weights(t, x, w, 0.5)]),
        case("inverse of any matrix", |t, x, w| {
            let a = weights(t, x, w, 1.0);
            let op = PseudoInverse { heads: w.heads, iterations: 1 };
            vec![t.push1(op, &[a]).unwrap()]
        }),
        case("received", received),
    ];
    for (a, b, c) in [
        (Heads::Stacked, Heads::Columns, Heads::Columns),
        (Heads::Columns, Heads::Stacked, Heads::Columns),
        (Heads::Stacked, Heads::Stacked, Heads::Stacked),
    ] {
        for turned in 0..4 {
            cases.push(case(&format!("head product {a:?} {b:?} {c:?} turned {turned}"), move |t, x, w| {
                let (a_t, b_t) = (turned & 1 != 0, turned & 2 != 0);
                let m = landmarks(w);
                // Square matrices in any layout, so that every way of turning fits.
                let mut side = |of: Heads| match of {
                    Heads::Stacked => weights(t, x, w, 0.5),
                    Heads::Columns => {
                        let x = square(t, x, w.heads * m);
                        means(t, x, m)
                    }
                };
                let inputs = [side(a), side(b)];
                let op = HeadProduct { heads: w.heads, scale: -0.5, a: (a, a_t), b: (b, b_t), c };
                vec![t.push1(op, &inputs).unwrap()]
            }));
        }
    }
    for side in [1, 3, 5, 7] {
        cases.push(case(&format!("grid convolution {side}"), move |t, x, w| {
            let x = square(t, x, w.output);
            let (kernel, bias) = (param(t, w.output, side * side), param(t, 1, w.output));
            over_tokens(t, GridConv { side }, &[x, kernel, bias])
        }));
    }
    for (first, late) in [(false, false), (true, false), (false, true), (true, true)] {
        cases.push(case(&format!("sequence convolution, first {first}, late {late}"), move |t, x, w| {
            let x = square(t, x, w.heads * dims(w));
            let taps = param(t, w.heads, [33, 1, 7, 129, 5][w.input as usize % 5]);
            let op = SequenceConv { first, landmarks: if late { landmarks(w) } else { 0 } };
            over_tokens(t, op, &[x, taps])
        }));
    }
    for first in [false, true] {
        cases.push(case(&format!("shift of tokens, first {first}"), move |t, x, w| {
            let x = square(t, x, w.output);
            over_tokens(t, ShiftTokens { first, landmarks: landmarks(w) }, &[x])
        }));
    }
    for iterations in [1, 3] {
        cases.push(case(&format!("inverse of a softmax, {iterations}"), move |t, x, w| {
            let a = weights(t, x, w, 1.0);
            let a = softmax(t, a);
            let op = PseudoInverse { heads: w.heads, iterations };
            vec![t.push1(op, &[a]).unwrap()]
        }));
    }
    for iterations in [1, 3] {
        cases.push(case(&format!("inverse of folded landmarks, {iterations}"), move |t, x, w| {
            let a = weights(t, x, w, 1.0);
            let a = softmax(t, a);
            over_tokens(t, PseudoInverse { heads: w.heads, iterations }, &[a])[..1].to_vec()
        }));
    }
    for between in [Between::TokensAndLandmarks, Between::LandmarksAndTokens] {
        for outputs in 1..=2 {
            cases.push(case(&format!("{between:?}, {outputs} outputs"), move |t, x, w| {
                attention(t, x, w, between)[..outputs].to_vec()
            }));
        }
    }
    cases
}

#[test]
fn backward_agrees_with_finite_differences() {
    against_differences(&cases());
}

/// The iteration multiplies what is near zero by 13 / 4 a round, rounding errors with it; with one column the
/// gradient of a convolution's input is a single number in which hundreds cancel.
fn like_the_oracle(device: &Device, tolerance: f64) {
    for case in cases() {
        let room = match &case.name {
            name if name.contains("inverse") => 20.0,
            name if name.contains("convolution") => 5.0,
            _ => 1.0,
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

#[test]
fn a_square_holds_the_instances_and_the_first_ones_again() {
    for (instances, tokens) in [(1, 2), (2, 5), (4, 5), (5, 10), (9, 10), (10, 17), (300, 325)] {
        assert_eq!(tokens_of(instances), tokens);
    }
    let sizes = [2usize, 5, 1, 10];
    let w = Widths { input: 1, output: 1, hidden: 1, heads: 1 };
    let build: Build = Box::new(|t, x, _| {
        let class = param(t, 1, 1);
        let [tiles, _, offsets] = common::check::tables(t);
        over_tokens(t, Square, &[x, class, tiles, offsets])
    });
    let tape = record(&build, w, Storage::F32, false);
    let numbers = Numbers::random(&tape, &sizes, 1, 2, 1);
    let found = run(&Device::oracle(), &tape, Purpose::Predict, &numbers, true);
    let mut wanted = Vec::new();
    let mut first = 0;
    for n in sizes {
        wanted.push(numbers.params[0][0] as f64);
        let side = (n as f64).sqrt().ceil() as usize;
        wanted.extend((0..side * side).map(|i| numbers.features[first + i % n] as f64));
        first += n;
    }
    assert_eq!(found.outputs[0].1, wanted);
}

/// Attention of landmarks to tokens with the zeros written out.
#[test]
fn zeros_in_front_take_part() {
    let (sizes, m) = ([3usize, 7], 4);
    let w = Widths { input: 2, output: 1, hidden: 1, heads: 1 };
    let build: Build = Box::new(move |t, x, _| {
        let x = square(t, x, 2);
        let q = means(t, x, m);
        let op = CrossAttention { heads: 1, scale: 0.75, between: Between::LandmarksAndTokens };
        vec![x, over_tokens(t, op, &[q, x, x])[0]]
    });
    let tape = record(&build, w, Storage::F32, false);
    let numbers = Numbers::random(&tape, &sizes, 2, 2, 3);
    let found = run(&Device::oracle(), &tape, Purpose::Predict, &numbers, true);
    let (tokens, seen) = (&found.outputs[0].1, &found.outputs[1].1);
    let (mut first, mut bag) = (0, 0);
    for n in sizes.map(|n| tokens_of(n as u32) as usize) {
        let each = n.div_ceil(m as usize);
        let mut rows = vec![[0.0; 2]; each * m as usize - n];
        rows.extend((first..first + n).map(|i| [tokens[2 * i], tokens[2 * i + 1]]));
        for (j, run) in rows.chunks_exact(each).enumerate() {
            let q = [0, 1].map(|c| run.iter().map(|r| r[c]).sum::<f64>() / each as f64);
            let weights: Vec<f64> = rows.iter().map(|r| (0.75 * (r[0] * q[0] + r[1] * q[1])).exp()).collect();
            let total: f64 = weights.iter().sum();
            for c in 0..2 {
                let wanted = rows.iter().zip(&weights).map(|(r, w)| r[c] * w).sum::<f64>() / total;
                let found = seen[2 * (bag * m as usize + j) + c];
                assert!((found - wanted).abs() < 1e-12, "bag {bag}, landmark {j}: {found} and {wanted}");
            }
        }
        first += n;
        bag += 1;
    }
}

/// Enough rounds give the inverse of a matrix that has one, and a bag's result is its own.
#[test]
fn the_iteration_inverts() {
    let build: Build = Box::new(|t, x, w| {
        let a = weights(t, x, w, 4.0);
        let a = softmax(t, a);
        let op = PseudoInverse { heads: w.heads, iterations: 40 };
        let z = t.push1(op, &[a]).unwrap();
        let op = HeadProduct {
            heads: w.heads,
            scale: 1.0,
            a: (Heads::Stacked, false),
            b: (Heads::Stacked, false),
            c: Heads::Stacked,
        };
        vec![a, z, t.push1(op, &[a, z]).unwrap()]
    });
    let w = Widths { input: 11, output: 1, hidden: 1, heads: 2 };
    let tape = record(&build, w, Storage::F32, false);
    let m = landmarks(w) as usize;
    let numbers = Numbers::random(&tape, &[30, 9], 11, 2, 3);
    let found = run(&Device::oracle(), &tape, Purpose::Predict, &numbers, true);
    for (i, v) in found.outputs[2].1.iter().enumerate() {
        let wanted = (i / m % m == i % m) as u8 as f64;
        assert!((v - wanted).abs() < 1e-9, "entry {i}: {v}");
    }
    let alone = Numbers { sizes: vec![9], features: numbers.features[30 * 11..].to_vec(), ..numbers.clone() };
    let alone = run(&Device::oracle(), &tape, Purpose::Predict, &alone, true);
    let z = &found.outputs[1].1;
    let error = common::error(&alone.outputs[1].1, &z[z.len() / 2..]);
    assert!(error < 1e-13, "a batch mate changed the inverse by {error}");
}

/// Landmarks of nothing but zeros taken as one give the inverse and the gradients of all of them: no tokens but one, fewer
/// than landmarks, as many, one more (half of the landmarks are zeros then), and many.
#[test]
fn folded_landmarks_give_the_same_inverse() {
    let m = 26;
    let tape_of = |folded: bool| {
        let build: Build = Box::new(move |t, x, _| {
            let x = square(t, x, 12);
            let [q, k] = [0; 2].map(|_| {
                let x = linear(t, x, 12);
                means(t, x, m)
            });
            let (a, b) = ((Heads::Columns, false), (Heads::Columns, true));
            let a = t.push1(HeadProduct { heads: 2, scale: 1.5, a, b, c: Heads::Stacked }, &[q, k]).unwrap();
            let a = softmax(t, a);
            let op = PseudoInverse { heads: 2, iterations: 6 };
            let z = if folded { over_tokens(t, op, &[a])[0] } else { t.push1(op, &[a]).unwrap() };
            vec![a, z]
        });
        record(&build, Widths { input: 5, output: 1, hidden: 1, heads: 2 }, Storage::F32, false)
    };
    let [plain, folded] = [false, true].map(tape_of);
    let sizes = [1usize, 2, 9, 16, 25, 26, 36, 400];
    let numbers = Numbers::random(&plain, &sizes, 5, 2, 9);
    let [wanted, found] = [&plain, &folded].map(|tape| run(&Device::oracle(), tape, Purpose::Upstream, &numbers, true));
    compare("folded landmarks", &found, &wanted, 1e-9);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut tape = Tape::new();
    let x = tape.features(4, Storage::F32, false);
    let tokens = TokenTables::on(&mut tape);
    let conv = SequenceConv { first: false, landmarks: 0 };
    let taps = param(&mut tape, 2, 3);
    let message = tape.push(conv, &[x, taps, tokens[0], tokens[1]]).unwrap_err().to_string();
    assert!(message.contains("Tokens") && message.contains("Instances"), "{message}");
    let x = square(&mut tape, x, 6);
    let even = param(&mut tape, 2, 4);
    assert!(tape.push(conv, &[x, even, tokens[0], tokens[1]]).is_err());
    let shift = ShiftTokens { first: false, landmarks: 0 };
    assert!(tape.push(shift, &[x, tokens[0], tokens[1]]).is_err(), "no landmarks");
    let three = means(&mut tape, x, 3);
    let op = PseudoInverse { heads: 1, iterations: 6 };
    assert!(tape.push(op, &[three]).is_err(), "3 by 6 is no square");
    assert!(tape.push(LandmarkMeans { landmarks: 0 }, &[x, tokens[0], tokens[1]]).is_err());
    let kernel = param(&mut tape, 6, 81);
    let bias = param(&mut tape, 1, 6);
    let op = GridConv { side: 9 };
    assert!(tape.push(op, &[x, kernel, bias, tokens[0], tokens[1]]).is_err(), "9 is too wide");
}
