//! Small pieces: safe logarithms, limits, constants, rows of bags for instances, densities, dropout of channels.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, over_bags, param};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::ops::dropout::{ChannelDropout, Dropout};
use bagrad::ops::gaussian::GaussianLogDensity;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::{Activate, Activation, AddScaled, Affine, Below, Multiply, StopGradient};
use bagrad::ops::rows::SliceColumns;
use bagrad::ops::segment::{BagBroadcast, Pool, SegmentReduce};
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape, ValueId};

fn act(t: &mut Tape, activation: Activation, x: ValueId) -> ValueId {
    t.push1(Activate(activation), &[x]).unwrap()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: &str, build: Build| {
        cases.push(Case { name: name.into(), build, classes: |_| 2, over_features: true });
    };
    case("log sigmoid", Box::new(|t, x, _| vec![act(t, Activation::LogSigmoid, x)]));
    case("clamp", Box::new(|t, x, _| vec![act(t, Activation::Clamp(0.7), x)]));
    case(
        "from ln p to ln(1 - p)",
        Box::new(|t, x, _| {
            let p = act(t, Activation::LogSigmoid, x);
            vec![act(t, Activation::Log1mExp, p)]
        }),
    );
    case(
        "root",
        Box::new(|t, x, _| {
            let y = act(t, Activation::Softplus, x);
            vec![act(t, Activation::Sqrt, y)]
        }),
    );
    case(
        "affine, and a product with a constant",
        Box::new(|t, x, _| {
            let y = t.push1(Affine { factor: -0.7, offset: 0.3 }, &[x]).unwrap();
            let mask = t.push1(Below { limit: 0.1 }, &[x]).unwrap();
            vec![t.push1(Multiply, &[y, mask]).unwrap()]
        }),
    );
    case(
        "rows of bags for instances",
        Box::new(|t, x, _| {
            let mean = over_bags(t, SegmentReduce(Pool::Mean), &[x])[0];
            let back = over_bags(t, BagBroadcast, &[mean])[0];
            vec![t.push1(Multiply, &[back, x]).unwrap()]
        }),
    );
    for shared in [false, true] {
        case(
            &format!("log-density, parameters shared by columns {shared}"),
            Box::new(move |t, x, w| {
                let cols = if shared { 1 } else { w.input };
                let (a, b) = (param(t, cols, w.input), param(t, cols, w.input));
                let op = Linear { activation: Activation::Tanh };
                let (mean, logs) = (t.push1(op, &[x, a]).unwrap(), t.push1(op, &[x, b]).unwrap());
                vec![t.push1(GaussianLogDensity, &[x, mean, logs]).unwrap()]
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
    // Densities far out multiply what rounding leaves of a layer.
    against_oracle(&Device::host(), 1e-4, &cases());
}

#[test]
fn gpu_agrees_with_the_oracle() {
    if let Some(gpu) = common::gpu() {
        against_oracle(&gpu, 1e-4, &cases());
    }
}

/// Values of one feature under a tape, on the oracle, the host and the GPU.
fn values(features: &[f32], build: impl Fn(&mut Tape, ValueId) -> ValueId) -> Vec<(String, Vec<f64>)> {
    let mut tape = Tape::new();
    let x = tape.features(1, Storage::F32, false);
    let y = build(&mut tape, x);
    tape.output("y", y);
    let mut numbers = Numbers::random(&tape, &[features.len()], 1, 2, 1);
    numbers.features = features.to_vec();
    let devices = [Some(Device::oracle()), Some(Device::host()), common::gpu()];
    let of = |d: Device| {
        let found = run(&d, &tape, Purpose::Predict, &numbers, false);
        (d.name().to_string(), found.outputs[0].1.clone())
    };
    devices.into_iter().flatten().map(of).collect()
}

/// Against ln(1 - e^x) and ln(sigmoid) computed in f64, over twelve orders of magnitude, relative to the result.
#[test]
fn logarithms_keep_their_digits() {
    let small: Vec<f32> = (0..400).map(|i| -10f32.powf(i as f32 / 400.0 * 8.5 - 6.5)).collect();
    for (device, found) in values(&small, |t, x| act(t, Activation::Log1mExp, x)) {
        for (x, y) in small.iter().zip(found) {
            let x = *x as f64;
            let wanted = if x > -0.693 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() };
            let error = (y - wanted).abs() / wanted.abs();
            // The shader language allows exp an error that grows with its argument; e^-87 is where f32 ends.
            let allowed = 2e-6 + 2.5e-7 * x.abs();
            assert!(error < allowed || wanted.abs() < 1e-37, "{device}: ln(1 - e^{x}) is {wanted}, found {y}");
        }
    }
    let both: Vec<f32> = small.iter().map(|x| -x).chain(small.iter().copied()).filter(|x| x.abs() < 80.0).collect();
    for (device, found) in values(&both, |t, x| act(t, Activation::LogSigmoid, x)) {
        for (x, y) in both.iter().zip(found) {
            let wanted = -(-(*x as f64).abs()).exp().ln_1p() + (*x as f64).min(0.0);
            assert!(
                (y - wanted).abs() < (2e-6 + 2.5e-7 * (*x as f64).abs()) * wanted.abs(),
                "{device}: ln sigmoid({x}) is {wanted}, found {y}"
            );
        }
    }
}

/// A value behind `StopGradient` is the same number, and its way back is closed.
#[test]
fn a_stopped_gradient_stops() {
    let mut tape = Tape::new();
    let x = tape.features(3, Storage::F32, true);
    let y = act(&mut tape, Activation::Tanh, x);
    let constant = tape.push1(StopGradient, &[y]).unwrap();
    let product = tape.push1(Multiply, &[constant, x]).unwrap();
    tape.output("product", product);
    let numbers = Numbers::random(&tape, &[5, 2], 3, 2, 4);
    for device in [Some(Device::host()), common::gpu()].into_iter().flatten() {
        let found = run(&device, &tape, Purpose::Upstream, &numbers, true);
        let gradient = found.features.unwrap();
        for ((x, g), found) in numbers.features.iter().zip(&numbers.upstream[0]).zip(gradient) {
            assert!((found - (*x as f64).tanh() * *g as f64).abs() < 1e-5);
        }
    }
}

/// Channels are dropped whole, the same ones on every device, and the gradient passes where the values did.
#[test]
fn channels_are_dropped_whole() {
    let mut tape = Tape::new();
    let x = tape.features(12, Storage::F32, true);
    let dropout = Dropout::new(0.4, 3);
    let y = tape.push1(ChannelDropout { dropout, positions: 4 }, &[x]).unwrap();
    tape.output("y", y);
    let ones = tape.push1(SliceColumns { first: 0, count: 1 }, &[y]).unwrap();
    let sum = tape.push1(bagrad::ops::reduce::ColumnSum, &[ones]).unwrap();
    tape.loss = Some(sum);
    let mut numbers = Numbers::random(&tape, &[300], 12, 2, 9);
    numbers.features.fill(0.5);
    let mut first: Option<Vec<f64>> = None;
    for device in [Some(Device::oracle()), Some(Device::host()), common::gpu()].into_iter().flatten() {
        let found = run(&device, &tape, Purpose::Gradients { dropout: true }, &numbers, false);
        let y = &found.outputs[0].1;
        let kept = y.chunks(4).filter(|c| c[0] != 0.0).count();
        assert!(y.chunks(4).all(|c| c.iter().all(|v| *v == c[0])), "{}", device.name());
        // 900 channels, 540 of them kept on average, give or take 15.
        assert!((480..600).contains(&kept), "{kept} kept");
        let gradient = found.features.unwrap();
        for (row, y) in gradient.chunks(12).zip(y.chunks(12)) {
            assert!((row[0] - y[0] / 0.5).abs() < 1e-5 && row[1..].iter().all(|g| *g == 0.0));
        }
        let mask: Vec<f64> = y.iter().map(|v| (*v != 0.0) as u32 as f64).collect();
        assert_eq!(*first.get_or_insert(mask.clone()), mask, "{}", device.name());
    }
    let off = run(&Device::host(), &tape, Purpose::Upstream, &numbers, false);
    assert!(off.features.unwrap().iter().zip(&numbers.upstream[0]).all(|(a, b)| *a == *b as f64));
}

/// The difference of two additions: what `AddScaled` and `Affine` make of 1 - y.
#[test]
fn one_minus_y() {
    for (device, found) in values(&[0.0, 1.0, 0.25], |t, x| {
        let y = t.push1(Affine { factor: -1.0, offset: 1.0 }, &[x]).unwrap();
        t.push1(AddScaled { a: 1.0, b: 1.0 }, &[x, y]).unwrap()
    }) {
        assert_eq!(found, [1.0; 3], "{device}");
    }
}
