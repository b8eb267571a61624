//! Pools, padding and up-sampling of images: against finite differences and the oracle.

use crate::common;
use crate::common::check::{Build, Case, Widths, against_differences, against_oracle, param};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::ops::Op;
use bagrad::ops::conv::{Image, Window};
use bagrad::ops::image::{Border, ChannelMean, MaxPool, Pad, Upsample};
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::Activation;
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape, ValueId};

fn images(t: &mut Tape, x: ValueId, image: Image) -> ValueId {
    let weight = param(t, image.len(), t.cols(x));
    t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap()
}

/// The features themselves as images: exact in every precision, so that no device picks another maximum.
fn as_images(w: Widths) -> Image {
    match w.input {
        8 => Image::new(2, 2, 2),
        64 => Image::new(2, 4, 8),
        width => Image::new(1, 1, width),
    }
}

fn case(name: String, build: Build) -> Case {
    Case { name, build, classes: |_| 2, over_features: true }
}

/// Windows in images of any size.
fn windows(image: Image) -> Vec<Window> {
    let fits = |size: u32| [size.min(image.height), size.min(image.width)];
    let mut windows = vec![
        Window { size: fits(2), stride: 2, pad: [0, 0] },
        Window { size: fits(3), stride: 1, pad: [0, 0] },
        Window { size: fits(1), stride: 3, pad: [0, 0] },
    ];
    if image.width > 2 {
        windows.push(Window { size: [1, 3], stride: 1, pad: [0, 1] });
        windows.push(Window { size: [1, 4], stride: 2, pad: [0, 3] });
    }
    if image.height > 1 {
        windows.push(Window { size: [2, 2], stride: 1, pad: [1, 1] });
    }
    windows
}

fn smooth() -> Vec<Case> {
    let mut cases = Vec::new();
    for image in [Image::new(3, 4, 5), Image::new(2, 1, 7), Image::new(1, 1, 1)] {
        cases.push(case(
            format!("channel mean {image:?}"),
            Box::new(move |t, x, _| {
                let x = images(t, x, image);
                vec![t.push1(ChannelMean { channels: image.channels }, &[x]).unwrap()]
            }),
        ));
        for factor in [2, 3] {
            cases.push(case(
                format!("up-sample {image:?} {factor}"),
                Box::new(move |t, x, _| {
                    let x = images(t, x, image);
                    vec![t.push1(Upsample { from: image, factor }, &[x]).unwrap()]
                }),
            ));
        }
        for with in [Border::Zero, Border::Edge] {
            for border in [[0, 0, 3, 4], [1, 2, 0, 5], [0, 0, 0, 0]] {
                cases.push(case(
                    format!("pad {image:?} {with:?} {border:?}"),
                    Box::new(move |t, x, _| {
                        let x = images(t, x, image);
                        vec![t.push1(Pad { from: image, border, with }, &[x]).unwrap()]
                    }),
                ));
            }
        }
    }
    cases
}

fn pools_of_features() -> Vec<Case> {
    let pool: Build = Box::new(|t, x, w| {
        let from = as_images(w);
        let pool = |window: Window| t.push1(MaxPool { from, window }, &[x]).unwrap();
        windows(from).into_iter().map(pool).collect()
    });
    vec![case("max-pool of the features".into(), pool)]
}

#[test]
fn backward_agrees_with_finite_differences() {
    let mut cases = smooth();
    for image in [Image::new(2, 5, 6), Image::new(3, 1, 9)] {
        for window in windows(image) {
            cases.push(case(
                format!("max-pool {image:?} {window:?}"),
                Box::new(move |t, x, _| {
                    let x = images(t, x, image);
                    vec![t.push1(MaxPool { from: image, window }, &[x]).unwrap()]
                }),
            ));
        }
    }
    against_differences(&cases);
}

#[test]
fn host_agrees_with_the_oracle() {
    against_oracle(&Device::host(), 2e-5, &smooth());
    against_oracle(&Device::host(), 2e-5, &pools_of_features());
}

#[test]
fn gpu_agrees_with_the_oracle() {
    if let Some(gpu) = common::gpu() {
        against_oracle(&gpu, 3e-5, &smooth());
        against_oracle(&gpu, 3e-5, &pools_of_features());
    }
}

/// Forward by hand: the finite differences above would not see another function.
#[test]
fn the_oracle_computes_what_the_names_say() {
    let from = Image::new(1, 2, 3);
    let mut tape = Tape::new();
    let x = tape.features(6, Storage::F32, true);
    let window = Window { size: [2, 2], stride: 1, pad: [1, 1] };
    let ops = [
        Op::from(MaxPool { from, window }),
        ChannelMean { channels: 2 }.into(),
        Upsample { from: Image::new(2, 1, 3), factor: 2 }.into(),
        Pad { from, border: [0, 1, 2, 1], with: Border::Edge }.into(),
        Pad { from, border: [1, 0, 0, 1], with: Border::Zero }.into(),
        Pad::same(1, 6, 4, Border::Edge).into(),
    ];
    for op in ops {
        let y = tape.push1(op, &[x]).unwrap();
        tape.output("y", y);
    }
    let mut numbers = Numbers::random(&tape, &[1], 6, 2, 1);
    numbers.features = vec![-1.0, 5.0, 2.0, 3.0, -4.0, -7.0];
    let found = run(&Device::oracle(), &tape, Purpose::Predict, &numbers, false);
    let wanted: [&[f64]; 6] = [
        &[-1.0, 5.0, 5.0, 2.0, 3.0, 5.0, 5.0, 2.0, 3.0, 3.0, -4.0, -7.0],
        &[2.0, -8.0 / 3.0],
        &[
            -1.0, -1.0, 5.0, 5.0, 2.0, 2.0, -1.0, -1.0, 5.0, 5.0, 2.0, 2.0, 3.0, 3.0, -4.0, -4.0, -7.0, -7.0, 3.0, 3.0,
            -4.0, -4.0, -7.0, -7.0,
        ],
        &[-1.0, -1.0, -1.0, 5.0, 2.0, 2.0, 3.0, 3.0, 3.0, -4.0, -7.0, -7.0, 3.0, 3.0, 3.0, -4.0, -7.0, -7.0],
        &[0.0, 0.0, 0.0, 0.0, -1.0, 5.0, 2.0, 0.0, 3.0, -4.0, -7.0, 0.0],
        &[-1.0, -1.0, 5.0, 2.0, 3.0, -4.0, -7.0, -7.0, -7.0],
    ];
    for ((_, found), wanted) in found.outputs.iter().zip(wanted) {
        assert_eq!(found, wanted);
    }
}

#[test]
fn windows_that_do_not_fit_are_refused() {
    let mut tape = Tape::new();
    let x = tape.features(6, Storage::F32, true);
    let from = Image::new(1, 2, 3);
    for window in [Window::valid(3, 1), Window::valid(0, 1), Window::valid(1, 0), Window::padded(2, 1, 2)] {
        assert!(tape.push(MaxPool { from, window }, &[x]).is_err(), "{window:?}");
    }
    assert!(tape.push(ChannelMean { channels: 4 }, &[x]).is_err());
    assert!(tape.push(Upsample { from, factor: 0 }, &[x]).is_err());
}
