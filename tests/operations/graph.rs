//! Graphs of bags: pairs, products and the link loss, against finite differences, the oracle and plain arithmetic.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, over_bags, param};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::kernels::launch::Input;
use bagrad::ops::graph::{GraphProduct, LinkLoss, PairMatrix, Pairing};
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::{Activate, Activation, Below};
use bagrad::ops::reduce::RowSoftmax;
use bagrad::ops::rows::{Concat, SliceColumns};
use bagrad::ops::weighting::WeightedSum;
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape, ValueId};

const PAIRINGS: [Pairing; 4] = [Pairing::Product, Pairing::SquaredDistance, Pairing::Distance, Pairing::Manhattan];

fn linear(t: &mut Tape, x: ValueId, outputs: u32, input: u32, activation: Activation) -> ValueId {
    let weight = param(t, outputs, input);
    t.push1(Linear { activation }, &[x, weight]).unwrap()
}

/// S^T x for each bag: `[B, K C]`.
fn pooled(t: &mut Tape, s: ValueId, x: ValueId, clusters: u32) -> ValueId {
    let mut all = None;
    for first in 0..clusters {
        let own = t.push1(SliceColumns { first, count: 1 }, &[s]).unwrap();
        let row = over_bags(t, WeightedSum { mean: false }, &[x, own])[0];
        all = Some(match all {
            None => row,
            Some(before) => t.push1(Concat, &[before, row]).unwrap(),
        });
    }
    all.unwrap()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: String, build: Build| {
        cases.push(Case { name, build, classes: |_| 2, over_features: true });
    };
    for pairing in PAIRINGS {
        let op = PairMatrix { pairing };
        case(format!("{pairing:?} of rows"), Box::new(move |t, x, _| over_bags(t, op, &[x, x])));
        case(
            format!("{pairing:?} of two sides"),
            Box::new(move |t, x, w| {
                let a = linear(t, x, w.heads + 2, w.input, Activation::None);
                let b = linear(t, x, w.heads + 2, w.input, Activation::Tanh);
                over_bags(t, op, &[a, b])
            }),
        );
    }
    for (with_self, mean) in [(false, false), (true, true), (false, true)] {
        let op = GraphProduct { with_self, mean, uniform: 0 };
        case(
            format!("product with weights that learn, {with_self} {mean}"),
            Box::new(move |t, x, w| {
                let a = linear(t, x, 3, w.input, Activation::Tanh);
                let weights = over_bags(t, PairMatrix { pairing: Pairing::Product }, &[a, a])[0];
                let weights = t.push1(Activate(Activation::Sigmoid), &[weights]).unwrap();
                vec![over_bags(t, op, &[weights, x])[0]]
            }),
        );
    }
    for mean in [false, true] {
        case(
            format!("DiffPool over neighbours, {mean}"),
            Box::new(move |t, x, w| {
                let places = t.batch(Input::Coords, 2);
                let distances = PairMatrix { pairing: Pairing::Distance };
                let distances = over_bags(t, distances, &[places, places])[0];
                let a = t.push1(Below { limit: 2.5 }, &[distances]).unwrap();
                let s = linear(t, x, 2, w.input, Activation::None);
                let s = t.push1(RowSoftmax, &[s]).unwrap();
                let link = over_bags(t, LinkLoss { mean }, &[a, s])[0];
                let product = GraphProduct { with_self: false, mean: false, uniform: 0 };
                let reached = over_bags(t, product, &[a, s])[0];
                let (coarse, nodes) = (pooled(t, s, reached, 2), pooled(t, s, x, 2));
                let sage = GraphProduct { with_self: true, mean: true, uniform: 2 };
                let out = over_bags(t, sage, &[coarse, nodes])[0];
                vec![link, out]
            }),
        );
    }
    case(
        "link loss with weights that learn".into(),
        Box::new(|t, x, w| {
            let a = linear(t, x, 3, w.input, Activation::Tanh);
            let a = over_bags(t, PairMatrix { pairing: Pairing::Product }, &[a, a])[0];
            let s = linear(t, x, w.heads + 17, w.input, Activation::Tanh);
            over_bags(t, LinkLoss { mean: true }, &[a, s])
        }),
    );
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

/// Everything of a small graph against loops over plain numbers: neighbours, means with a node itself, S^T A S, the
/// link loss, and the limits of the distance that give no edges and all of them.
#[test]
fn a_graph_by_hand() {
    let sizes = [3usize, 1, 70];
    let nodes: usize = sizes.iter().sum();
    for limit in [0.0f32, 1.1, f32::INFINITY] {
        let mut tape = Tape::new();
        let x = tape.features(4, Storage::F32, false);
        let distances = PairMatrix { pairing: Pairing::Distance };
        let distances = over_bags(&mut tape, distances, &[x, x])[0];
        let a = tape.push1(Below { limit }, &[distances]).unwrap();
        let s = tape.push1(RowSoftmax, &[x]).unwrap();
        let s = tape.push1(SliceColumns { first: 0, count: 2 }, &[s]).unwrap();
        let sage = GraphProduct { with_self: true, mean: true, uniform: 0 };
        let means = over_bags(&mut tape, sage, &[a, x])[0];
        let sum = GraphProduct { with_self: false, mean: false, uniform: 0 };
        let reached = over_bags(&mut tape, sum, &[a, s])[0];
        let coarse = pooled(&mut tape, s, reached, 2);
        let link = over_bags(&mut tape, LinkLoss { mean: true }, &[a, s])[0];
        for (name, value) in [("a", a), ("s", s), ("means", means), ("coarse", coarse), ("link", link)] {
            tape.output(name, value);
        }
        let mut numbers = Numbers::random(&tape, &sizes, 4, 2, 3);
        numbers.features.iter_mut().for_each(|v| *v *= 0.5);
        let row = |r: usize| &numbers.features[4 * r..4 * r + 4];
        for device in [Some(Device::oracle()), Some(Device::host()), common::gpu()].into_iter().flatten() {
            let found = run(&device, &tape, Purpose::Predict, &numbers, true);
            let [a, s, means, coarse, link] = [0, 1, 2, 3, 4].map(|i| &found.outputs[i].1);
            let near = |found: f64, wanted: f64| {
                assert!(
                    (found - wanted).abs() < 2e-5 * (1.0 + wanted.abs()),
                    "{found} for {wanted} on {}",
                    device.name()
                );
            };
            assert_eq!(a.len(), 9 + 1 + 4900);
            let (mut first, mut pairs) = (0, 0);
            for (bag, &n) in sizes.iter().enumerate() {
                let edge = |i: usize, j: usize| a[pairs + i * n + j];
                let mut wanted = ([0.0; 4], 0.0);
                for i in 0..n {
                    for j in 0..n {
                        let squares =
                            row(first + i).iter().zip(row(first + j)).map(|(a, b)| (*a as f64 - *b as f64).powi(2));
                        let distance = squares.sum::<f64>().sqrt();
                        if (distance - limit as f64).abs() > 1e-5 {
                            assert_eq!(edge(i, j), (distance < limit as f64) as u32 as f64, "bag {bag}, {i} and {j}");
                        }
                        let (si, sj) = (&s[2 * (first + i)..][..2], &s[2 * (first + j)..][..2]);
                        for (k, l) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                            wanted.0[2 * k + l] += si[k] * edge(i, j) * sj[l];
                        }
                        wanted.1 += (edge(i, j) - si[0] * sj[0] - si[1] * sj[1]).powi(2);
                    }
                    let weight = |j: usize| if i == j { 1.0 } else { edge(i, j) };
                    let total: f64 = (0..n).map(weight).sum();
                    for c in 0..4 {
                        let mean = (0..n).map(|j| weight(j) * row(first + j)[c] as f64).sum::<f64>() / total;
                        near(means[4 * (first + i) + c], mean);
                    }
                }
                (0..4).for_each(|k| near(coarse[4 * bag + k], wanted.0[k]));
                near(link[bag], wanted.1.sqrt() / (n * n) as f64);
                (first, pairs) = (first + n, pairs + n * n);
            }
            assert_eq!(first, nodes);
        }
    }
}

/// Shapes that do not fit are refused with both sides named.
#[test]
fn what_does_not_fit_is_refused() {
    let mut tape = Tape::new();
    let x = tape.features(4, Storage::F32, false);
    let tables = crate::common::check::tables(&mut tape);
    let op = LinkLoss { mean: false };
    let refused = tape.push(op, &[&[x, x][..], &tables].concat()).unwrap_err().to_string();
    assert!(refused.contains("weights of the pairs") && refused.contains("[Instances, 4]"), "{refused}");
    let op = GraphProduct { with_self: true, mean: true, uniform: 65 };
    assert!(tape.push(op, &[&[x, x][..], &tables].concat()).is_err());
}
