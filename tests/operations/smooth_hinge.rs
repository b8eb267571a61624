//! The smooth top-1 hinge loss: against finite differences, the oracle, and values of both of its forms.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, over_bags, param};
use crate::common::harness::{Numbers, Results, run};
use bagrad::device::Device;
use bagrad::kernels::launch::Input;
use bagrad::ops::loss::SmoothHinge;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::Activation;
use bagrad::ops::segment::{Pool, SegmentReduce};
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape};

fn cases() -> Vec<Case> {
    // The smooth form, another margin and temperature, and the plain form: its gap is 0, and random scores are no kinks.
    let losses = [
        SmoothHinge::new(0.7),
        SmoothHinge { margin: 0.4, temperature: 0.6, ..SmoothHinge::new(1.3) },
        SmoothHinge { gap: 0.0, ..SmoothHinge::new(1.0) },
    ];
    let case = |loss: SmoothHinge| {
        let build: Build = Box::new(move |t, x, w| {
            let z = over_bags(t, SegmentReduce(Pool::Mean), &[x])[0];
            let weight = param(t, w.heads + 1, w.input);
            let scores = t.push1(Linear { activation: Activation::None }, &[z, weight]).unwrap();
            let of_bags = [Input::Labels, Input::Weights].map(|input| t.batch(input, 1));
            vec![t.push1(loss, &[&[scores][..], &of_bags].concat()).unwrap()]
        });
        Case { name: format!("{loss:?}"), build, classes: |w| w.heads + 1, over_features: true }
    };
    losses.into_iter().map(case).collect()
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

/// Scores of one bag of one instance, its label, the loss and its gradient.
type Known = (&'static [f32], u32, f64, &'static [f64]);

const KNOWN: [Known; 7] = [
    (&[0.3, -0.2], 0, 0.97407698, &[-0.62245933, 0.62245933]),
    (&[0.3, -0.2], 1, 1.70141328, &[0.81757448, -0.81757448]),
    (&[9.0, 1.0], 0, 0.0, &[0.0, 0.0]),
    (&[9.0, 1.0], 1, 9.0, &[1.0, -1.0]),
    (&[0.3, -0.2, 1.1], 1, 2.73798897, &[0.28996677, -0.93529967, 0.64533290]),
    // Before the switch, on either side: 0.002715 and 7.908123 at ln 1000.
    (&[6.907, 0.0], 0, 0.002717289, &[-0.002713601, 0.002713601]),
    (&[6.907, 0.0], 1, 7.907367894, &[0.999632106, -0.999632106]),
];

fn of_one_bag(device: &Device, x: &[f32], label: u32) -> Results {
    let mut tape = Tape::new();
    let features = tape.features(x.len(), Storage::F32, true);
    let of_bags = [Input::Labels, Input::Weights].map(|input| tape.batch(input, 1));
    let scores = over_bags(&mut tape, SegmentReduce(Pool::Mean), &[features])[0];
    let inputs = [&[scores][..], &of_bags].concat();
    tape.loss = Some(tape.push1(SmoothHinge::new(1.0), &inputs).unwrap());
    let mut numbers = Numbers::random(&tape, &[1], x.len(), x.len() as u32, 1);
    (numbers.features, numbers.labels, numbers.weights) = (x.to_vec(), vec![label], vec![1.0]);
    run(device, &tape, Purpose::Gradients { dropout: false }, &numbers, false)
}

fn devices() -> Vec<(Device, f64)> {
    let mut devices = vec![(Device::oracle(), 1e-6), (Device::host(), 2e-6)];
    devices.extend(common::gpu().map(|gpu| (gpu, 1e-5)));
    devices
}

#[test]
fn values_are_known() {
    for (device, most) in devices() {
        for (x, label, loss, gradient) in KNOWN {
            let found = of_one_bag(&device, x, label);
            let value = found.loss.unwrap();
            assert!((value - loss).abs() < most * loss.max(1.0), "{x:?}, {label}: {value} on {}", device.name());
            for (found, wanted) in found.features.unwrap().iter().zip(gradient) {
                assert!((found - wanted).abs() < most, "{x:?}, {label}: {found} {wanted} on {}", device.name());
            }
        }
    }
}

/// Scores that are not finite are not taken for scores far apart, which would hide them.
#[test]
fn what_is_not_finite_shows() {
    for (device, _) in devices() {
        for bad in [[f32::NAN, 1.0, 9.0], [1.0, 9.0, f32::NAN], [f32::INFINITY, 1.0, 0.0]] {
            let found = of_one_bag(&device, &bad, 1).loss.unwrap();
            assert!(!found.is_finite(), "{bad:?}: {found} on {}", device.name());
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let mut tape = Tape::new();
    let [labels, weights] = [Input::Labels, Input::Weights].map(|input| tape.batch(input, 1));
    let one = tape.batch(Input::Times, 1);
    let two = tape.batch(Input::Targets, 2);
    assert!(tape.push(SmoothHinge::new(1.0), &[one, labels, weights]).is_err(), "one class");
    assert!(tape.push(SmoothHinge { temperature: 0.0, ..SmoothHinge::new(1.0) }, &[two, labels, weights]).is_err());
    assert!(tape.push(SmoothHinge::new(1.0), &[two, labels, weights]).is_ok());
}
