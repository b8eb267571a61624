//! Dynamic routing: backward of its parts and of unrolled rounds against finite differences, devices against
//! the oracle, and the rounds against the algorithm written out.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, batches, over_bags, param};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::methods::layers::Network;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::Activation;
use bagrad::ops::routing::{BagDot, Squash};
use bagrad::ops::segment::{Pool, SegmentReduce};
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape, ValueId};

fn linear(t: &mut Tape, x: ValueId, outputs: u32) -> ValueId {
    let weight = param(t, outputs, t.cols(x));
    t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap()
}

/// The rounds of [`Network::route`], recorded on the tape of the case: the capsule, its length, what was squashed, and the
/// weights of the instances.
fn rounds(t: &mut Tape, x: ValueId, rounds: u32) -> [ValueId; 4] {
    let mut net = Network::on(std::mem::take(t), x, 2);
    let out = net.route(x, rounds).unwrap();
    *t = net.tape;
    [out.row, out.length, out.sum, out.weights]
}

fn cases() -> Vec<Case> {
    let case = |name: String, build: Build| Case { name, build, classes: |w| w.heads + 1, over_features: true };
    let mut cases = vec![case(
        "agreement".into(),
        Box::new(|t, x, w| {
            let y = linear(t, x, w.output);
            let z = over_bags(t, SegmentReduce(Pool::Mean), &[y])[0];
            vec![over_bags(t, BagDot, &[y, z])[0], z]
        }),
    )];
    // The row alone, its length alone, both.
    for used in [&[0usize][..], &[1], &[0, 1]] {
        cases.push(case(
            format!("squash, outputs {used:?}"),
            Box::new(move |t, x, w| {
                let y = linear(t, x, w.output);
                let out = t.push(Squash, &[y]).unwrap();
                used.iter().map(|&i| out[i]).collect()
            }),
        ));
    }
    for count in [1, 3] {
        cases.push(case(
            format!("{count} rounds"),
            Box::new(move |t, x, w| {
                let y = linear(t, x, w.output);
                rounds(t, y, count).to_vec()
            }),
        ));
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

#[test]
fn routing_is_the_algorithm() {
    let width = 5;
    let mut tape = Tape::new();
    let x = tape.features(width, Storage::F32, true);
    for (name, value) in ["v", "length", "sum", "weights"].into_iter().zip(rounds(&mut tape, x, 3)) {
        tape.output(name, value);
    }
    let sizes = &batches()[2];
    let numbers = Numbers::random(&tape, sizes, width, 2, 6);
    let results = run(&Device::oracle(), &tape, Purpose::Predict, &numbers, false);
    let mut first = 0;
    for (bag, &size) in sizes.iter().enumerate() {
        let rows: Vec<Vec<f64>> = numbers.features[first * width..(first + size) * width]
            .chunks_exact(width)
            .map(|row| row.iter().map(|v| *v as f64).collect())
            .collect();
        let (mut b, mut v) = (vec![0.0f64; size], vec![0.0; width]);
        let (mut s, mut weights) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let total: f64 = b.iter().map(|b| b.exp()).sum();
            weights = b.iter().map(|b| b.exp() / total).collect::<Vec<_>>();
            s = (0..width)
                .map(|c| rows.iter().zip(&b).map(|(f, b)| b.exp() / total * f[c]).sum())
                .collect::<Vec<f64>>();
            let square: f64 = s.iter().map(|v| v * v).sum();
            v = s.iter().map(|v| v * square.sqrt() / (1.0 + square)).collect();
            b.iter_mut().zip(&rows).for_each(|(b, f)| *b += f.iter().zip(&v).map(|(f, v)| f * v).sum::<f64>());
        }
        for (c, wanted) in v.iter().enumerate() {
            let found = results.outputs[0].1[bag * width + c];
            assert!((found - wanted).abs() < 1e-12, "bag {bag}: {found} {wanted}");
        }
        let wanted = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        assert!((results.outputs[1].1[bag] - wanted).abs() < 1e-12, "length of bag {bag}");
        for (c, wanted) in s.iter().enumerate() {
            assert!((results.outputs[2].1[bag * width + c] - wanted).abs() < 1e-12, "sum of bag {bag}");
        }
        for (n, wanted) in weights.iter().enumerate() {
            assert!((results.outputs[3].1[first + n] - wanted).abs() < 1e-12, "weights of bag {bag}");
        }
        first += size;
    }
}
