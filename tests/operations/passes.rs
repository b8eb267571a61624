//! Passes with dropout of columns, their moments, and floors under parameters: against the oracle, finite differences,
//! and the same numbers computed anew.

use crate::common;
use crate::common::check::{Along, hold_slopes, param};
use crate::common::error;
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::ops::dropout::{ColumnDropout, Dropout};
use bagrad::ops::matmul::Linear;
use bagrad::ops::moments::PassMoments;
use bagrad::ops::pointwise::{Activate, Activation, Affine};
use bagrad::ops::reduce::{ColumnSum, RowSum};
use bagrad::plan::Purpose;
use bagrad::random::philox;
use bagrad::tape::{Storage, Tape};

fn devices() -> Vec<Device> {
    [Some(Device::oracle()), Some(Device::host()), common::gpu()].into_iter().flatten().collect()
}

fn column_dropout(rate: f32, site: u32, seed: u32) -> ColumnDropout {
    ColumnDropout { dropout: Dropout::new(rate, site), seed }
}

/// The factor of each column, by the counters.
fn factors(cols: usize, rate: f32, [site, step]: [u32; 2], key: [u32; 2]) -> Vec<f64> {
    let threshold = (rate as f64 * 4_294_967_296.0) as u32;
    let word = |c: usize| philox([c as u32 / 4, site, step, 0], key)[c % 4];
    (0..cols).map(|c| if word(c) < threshold { 0.0 } else { 1.0 / (1.0 - rate as f64) }).collect()
}

/// What learns draws by seed and step, all else by the operation's own seed; both are the same for all rows, on all devices.
#[test]
fn columns_are_dropped_by_their_counters() {
    for cols in [1u32, 7, 64, 130] {
        let mut tape = Tape::new();
        let x = tape.features(cols as usize, Storage::F32, true);
        let y = tape.push1(column_dropout(0.4, 5, 9), &[x]).unwrap();
        tape.output("y", y);
        let sum = tape.push1(ColumnSum, &[y]).unwrap();
        tape.loss = Some(tape.push1(RowSum, &[sum]).unwrap());
        let numbers = Numbers::random(&tape, &[3, 70], cols as usize, 2, 8);
        let seed = [numbers.seed as u32, (numbers.seed >> 32) as u32];
        let learning = factors(cols as usize, 0.4, [5, numbers.step], seed);
        let predicting = factors(cols as usize, 0.4, [5, 0], [9, 0]);
        assert!(cols < 64 || learning != predicting);
        for device in devices() {
            for (dropout, factors) in [(false, &predicting), (true, &learning)] {
                let purpose = Purpose::Gradients { dropout };
                let found = &run(&device, &tape, purpose, &numbers, true).outputs[0].1;
                let wanted: Vec<f64> =
                    numbers.features.iter().enumerate().map(|(i, x)| *x as f64 * factors[i % cols as usize]).collect();
                assert!(error(found, &wanted) < 1e-6, "{cols} columns, {purpose:?} on {}", device.name());
            }
        }
    }
}

#[test]
fn backward_of_dropped_columns_agrees_with_finite_differences() {
    let mut tape = Tape::new();
    let x = tape.features(9, Storage::F32, true);
    let weight = param(&mut tape, 5, 9);
    let weight = tape.push1(column_dropout(0.4, 1, 2), &[weight]).unwrap();
    let y = tape.push1(Linear { activation: Activation::Tanh }, &[x, weight]).unwrap();
    let y = tape.push1(column_dropout(0.3, 2, 2), &[y]).unwrap();
    tape.output("y", y);
    for along in [Along::Features, Along::Parameter(0)] {
        hold_slopes("dropout of columns", &tape, along, |seed| Numbers::random(&tape, &[3, 5], 9, 2, seed));
    }
}

/// Mean and standard deviation over passes, also where they hardly differ from 1 or 0.
#[test]
fn moments_are_those_of_all_passes() {
    for (shift, most) in [(0.0, 2e-6), (12.0, 2e-2), (-12.0, 2e-6), (-30.0, 2e-6)] {
        let passes = 13;
        let mut tape = Tape::new();
        let x = tape.features(70, Storage::F32, false);
        let mut moments = Vec::new();
        for number in 1..=passes {
            let factor = (number as f32 * 0.7).sin();
            let y = tape.push1(Affine { factor, offset: shift }, &[x]).unwrap();
            moments = tape.push(PassMoments { number }, &[&[y], &moments[..]].concat()).unwrap();
        }
        let variance = tape.push1(Affine { factor: 1.0 / passes as f32, offset: 0.0 }, &[moments[1]]).unwrap();
        let deviation = tape.push1(Activate(Activation::Sqrt), &[variance]).unwrap();
        tape.output("mean", moments[0]);
        tape.output("deviation", deviation);
        let numbers = Numbers::random(&tape, &[3, 30], 70, 2, 8);
        let of = |x: &f32| {
            let sigmoid = |t: u32| 1.0 / (1.0 + (-(*x * (t as f32 * 0.7).sin() + shift) as f64).exp());
            let mean = (1..=passes).map(sigmoid).sum::<f64>() / passes as f64;
            let variance = (1..=passes).map(|t| (sigmoid(t) - mean).powi(2)).sum::<f64>() / passes as f64;
            (mean, variance.sqrt())
        };
        let (mean, deviation): (Vec<f64>, Vec<f64>) = numbers.features.iter().map(of).unzip();
        for device in devices() {
            let found = run(&device, &tape, Purpose::Predict, &numbers, true).outputs;
            let name = format!("around {shift} on {}", device.name());
            // Near 1 the sigmoid itself has no more digits; that of an exponent is as exact as the exponent.
            let mean_error = error(&found[0].1, &mean);
            assert!(mean_error < 1e-5, "mean {name}: {mean_error:e}");
            let e = error(&found[1].1, &deviation);
            assert!(e < if shift < 0.0 { 3e-5 } else { most }, "deviation {name}: {e:e}");
        }
    }
}

#[test]
fn passes_are_numbered() {
    let mut tape = Tape::new();
    let x = tape.features(3, Storage::F32, false);
    for (number, inputs) in [(0, 1), (1, 3), (2, 1), (2, 2)] {
        assert!(tape.push(PassMoments { number }, &vec![x; inputs]).is_err(), "{number} of {inputs}");
    }
    assert!(tape.push(PassMoments { number: 1 }, &[x]).is_ok());
}
