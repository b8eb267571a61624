//! Places of rows in their bags: backward against finite differences, devices against the oracle, and the formula.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, over_bags, param};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::Activation;
use bagrad::ops::positions::AddPositions;
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape};

fn cases() -> Vec<Case> {
    let build: Build = Box::new(|t, x, w| {
        let weight = param(t, 2 * w.output, w.input);
        let y = t.push1(Linear { activation: Activation::Tanh }, &[x, weight]).unwrap();
        over_bags(t, AddPositions::new(2 * w.output), &[y])
    });
    // Columns from the middle of something wider.
    let part: Build = Box::new(|t, x, w| over_bags(t, AddPositions { width: 2 * w.input + 4, first: 3 }, &[x]));
    let case = |name: &str, build| Case { name: name.into(), build, classes: |_| 2, over_features: true };
    vec![case("positions", build), case("positions of columns", part)]
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

/// Sines and cosines written out, from the first place of a bag to far behind the last that tables usually have.
#[test]
fn places_are_those_of_the_formula() {
    let sizes = [3, 9000];
    for width in [2usize, 8, 128] {
        let mut tape = Tape::new();
        let x = tape.features(width, Storage::F32, false);
        let y = over_bags(&mut tape, AddPositions::new(width as u32), &[x])[0];
        tape.output("y", y);
        let mut numbers = Numbers::random(&tape, &sizes, width, 2, 1);
        numbers.features.fill(0.0);
        for device in [Some(Device::oracle()), Some(Device::host()), common::gpu()].into_iter().flatten() {
            let found = run(&device, &tape, Purpose::Predict, &numbers, true).outputs[0].1.clone();
            let places = (0..sizes[0]).chain(0..sizes[1]);
            let mut worst = 0f64;
            for (place, row) in places.zip(found.chunks_exact(width)) {
                for (c, value) in row.iter().enumerate() {
                    let angle = place as f64 * 10_000f64.powf(-((c / 2 * 2) as f64) / width as f64);
                    let wanted = if c % 2 == 0 { angle.sin() } else { angle.cos() };
                    worst = worst.max((value - wanted).abs());
                }
            }
            assert!(worst < 2e-5, "{worst:e} off, {width} columns on {}", device.name());
        }
    }
}

#[test]
fn odd_widths_are_refused() {
    let mut tape = Tape::new();
    let x = tape.features(3, Storage::F32, false);
    let tables = crate::common::check::tables(&mut tape);
    let error = tape.push(AddPositions::new(3), &[&[x], &tables[..]].concat()).unwrap_err();
    assert!(error.to_string().contains("even number of columns"), "{error}");
}
