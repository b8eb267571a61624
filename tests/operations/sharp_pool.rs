//! Log-mean-exp with a sharpness that is learnt: backward against finite differences, devices against the oracle, the
//! textbook formula, and what is left of it where sums of exponentials would overflow.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, batches, over_bags, param, record};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::ops::pointwise::{Activate, Activation, AddScaled};
use bagrad::ops::sharp_pool::{DivideBy, SharpLogMeanExp};
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape, ValueId};

/// A positive number of about 0.7 times `scale`, with a gradient to what it is made from.
fn sharpness(t: &mut Tape, scale: f32) -> ValueId {
    let rho = param(t, 1, 1);
    let r = t.push1(Activate(Activation::Softplus), &[rho]).unwrap();
    t.push1(AddScaled { a: scale / 2.0, b: scale / 2.0 }, &[r, r]).unwrap()
}

/// A small sharpness leaves little of its own gradient: half the variance, from terms as large as a mean over r.
const SMALL: f32 = 0.1;

fn cases(scales: &[f32]) -> Vec<Case> {
    let mut cases = Vec::new();
    for &scale in scales {
        let build: Build = Box::new(move |t, x, _| {
            let r = sharpness(t, scale);
            let y = over_bags(t, SharpLogMeanExp, &[x, r])[0];
            vec![y, t.push1(DivideBy, &[y, r]).unwrap()]
        });
        let name = format!("log-mean-exp, sharpness {scale}");
        cases.push(Case { name, build, classes: |w| w.heads + 1, over_features: true });
    }
    // Of instances, and without a gradient for what is divided.
    let build: Build = Box::new(|t, x, _| {
        let r = sharpness(t, 2.0);
        vec![t.push1(DivideBy, &[x, r]).unwrap()]
    });
    cases.push(Case { name: "instances divided".into(), build, classes: |w| w.heads + 1, over_features: true });
    cases
}

#[test]
fn backward_agrees_with_finite_differences() {
    against_differences(&cases(&[SMALL, 1.0, 8.0]));
}

#[test]
fn host_agrees_with_the_oracle() {
    // The gradient of r is a difference over all bags, of upstream gradients of either sign.
    against_oracle(&Device::host(), 3e-4, &cases(&[1.0, 8.0]));
    against_oracle(&Device::host(), 3e-3, &cases(&[SMALL]));
}

#[test]
fn gpu_agrees_with_the_oracle() {
    if let Some(gpu) = common::gpu() {
        against_oracle(&gpu, 3e-4, &cases(&[1.0, 8.0]));
        against_oracle(&gpu, 3e-3, &cases(&[SMALL]));
    }
}

/// Outputs of one batch, on a device, of features that are drawn and scaled.
fn outputs(device: &Device, scale: f32, factor: f32) -> (Numbers, Vec<f64>, f64) {
    let build: Build = Box::new(move |t, x, _| {
        let r = sharpness(t, scale);
        let y = over_bags(t, SharpLogMeanExp, &[x, r])[0];
        vec![t.push1(DivideBy, &[y, r]).unwrap(), r]
    });
    let widths = common::check::WIDTHS[1];
    let tape = record(&build, widths, Storage::F32, false);
    let mut numbers = Numbers::random(&tape, &batches()[2], widths.input as usize, 2, 4);
    numbers.features.iter_mut().for_each(|x| *x *= factor);
    let results = run(device, &tape, Purpose::Predict, &numbers, false);
    let number = results.outputs[1].1[0];
    (numbers, results.outputs[0].1.clone(), number)
}

/// 1/r ln(mean e^(r x)) with the largest r x taken out.
fn by_hand(numbers: &Numbers, r: f64) -> Vec<f64> {
    let (width, mut row, mut all) = (common::check::WIDTHS[1].input as usize, 0, Vec::new());
    for size in &batches()[2] {
        for c in 0..width {
            let x = |n: usize| r * numbers.features[(row + n) * width + c] as f64;
            let largest = (0..*size).map(x).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = (0..*size).map(|n| (x(n) - largest).exp()).sum();
            all.push((largest + (sum / *size as f64).ln()) / r);
        }
        row += size;
    }
    all
}

#[test]
fn the_pool_is_what_the_formula_says_and_does_not_overflow() {
    // e^(r x) of the second is far beyond f32.
    for (scale, factor) in [(1.5, 1.0), (60.0, 50.0)] {
        let (numbers, found, r) = outputs(&Device::oracle(), scale, factor);
        for (found, wanted) in found.iter().zip(by_hand(&numbers, r)) {
            assert!((found - wanted).abs() < 1e-11 * wanted.abs().max(1.0), "r = {r}: {found} {wanted}");
        }
        for device in [Some(Device::host()), common::gpu()].into_iter().flatten() {
            let (numbers, found, r) = outputs(&device, scale, factor);
            for (found, wanted) in found.iter().zip(by_hand(&numbers, r)) {
                assert!((found - wanted).abs() < 1e-5 * wanted.abs().max(1.0), "r = {r}: {found} {wanted}");
            }
        }
    }
}
