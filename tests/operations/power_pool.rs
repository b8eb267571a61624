//! Pools with exponents that are learnt: backward against finite differences, devices against the oracle,
//! and the limits that are known in closed form.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, batches, over_bags, param, record};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::ops::Op;
use bagrad::ops::pointwise::{Activate, Activation, AddScaled};
use bagrad::ops::power_pool::{GeneralisedMean, PowerMean};
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape, ValueId};

/// Positive exponents of about 0.7 times `scale`, and a gradient to what they are made from.
fn exponents(t: &mut Tape, cols: u32, scale: f32) -> ValueId {
    let rho = param(t, 1, cols);
    let r = t.push1(Activate(Activation::Softplus), &[rho]).unwrap();
    t.push1(AddScaled { a: scale / 2.0, b: scale / 2.0 }, &[r, r]).unwrap()
}

/// Small exponents take the centred form, large ones the other, those between both in one batch.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let ops = [Op::from(GeneralisedMean), PowerMean.into()];
    for (op, scale) in ops.iter().flat_map(|op| [0.01, 1.0, 3.0, 40.0].map(|scale| (op.clone(), scale))) {
        let name = format!("{op:?} {scale}");
        let build: Build = Box::new(move |t, x, w| {
            let r = exponents(t, w.input, scale);
            vec![over_bags(t, &op, &[x, r])[0]]
        });
        cases.push(Case { name, build, classes: |w| w.heads + 1, over_features: true });
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

/// The textbook formulas in f64: they hold where nothing underflows.
#[test]
fn pools_are_what_they_are_called() {
    for (power, scale) in [(false, 2.0), (true, 1.5)] {
        let op = if power { Op::from(PowerMean) } else { GeneralisedMean.into() };
        let build: Build = Box::new(move |t, x, w| {
            let r = exponents(t, w.input, scale);
            vec![over_bags(t, &op, &[x, r])[0], r]
        });
        let (widths, sizes) = (common::check::WIDTHS[1], &batches()[2]);
        let tape = record(&build, widths, Storage::F32, false);
        let numbers = Numbers::random(&tape, sizes, widths.input as usize, 2, 4);
        let results = run(&Device::oracle(), &tape, Purpose::Predict, &numbers, false);
        let (found, exponents) = (&results.outputs[0].1, &results.outputs[1].1);
        let (width, mut row) = (widths.input as usize, 0);
        for (bag, &size) in sizes.iter().enumerate() {
            for (c, &r) in exponents.iter().enumerate() {
                let q = |n: usize| 1.0 / (1.0 + (-(numbers.features[(row + n) * width + c] as f64)).exp());
                let sum = |power: f64| (0..size).map(|n| q(n).powf(power)).sum::<f64>();
                let wanted = match power {
                    true => sum(r + 1.0) / sum(r),
                    false => (sum(r) / size as f64).ln() / r,
                };
                let found = found[bag * width + c];
                assert!((found - wanted).abs() < 1e-12, "power {power} bag {bag} column {c}: {found} {wanted}");
            }
            row += size;
        }
    }
}
