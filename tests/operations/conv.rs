//! Convolutions, plain and transposed, over images and series: against finite differences, the oracle, and
//! sums written out.

use crate::common;
use crate::common::check::{Build, Case, Widths, against_differences, against_oracle, param};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::ops::conv::{Conv2d, ConvTranspose2d, Image, Window};
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::Activation;
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape, ValueId};

/// Images of some size made of the features, so that every number of features has several geometries.
fn images(t: &mut Tape, x: ValueId, image: Image) -> ValueId {
    let weight = param(t, image.len(), t.cols(x));
    t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap()
}

/// The features themselves as images.
fn as_images(w: Widths) -> Image {
    match w.input {
        8 => Image::new(2, 2, 2),
        64 => Image::new(4, 2, 8),
        width => Image::new(1, 1, width),
    }
}

fn conv(t: &mut Tape, x: ValueId, from: Image, channels: u32, window: Window, bias: bool) -> ValueId {
    let area = window.size[0] * window.size[1];
    let mut inputs = vec![x, param(t, channels, from.channels * area)];
    if bias {
        inputs.push(param(t, 1, channels));
    }
    t.push1(Conv2d { from, channels, window }, &inputs).unwrap()
}

fn transpose(t: &mut Tape, x: ValueId, from: Image, channels: u32, window: Window, bias: bool) -> ValueId {
    let area = window.size[0] * window.size[1];
    let mut inputs = vec![x, param(t, from.channels, channels * area)];
    if bias {
        inputs.push(param(t, 1, channels));
    }
    t.push1(ConvTranspose2d { from, channels, window }, &inputs).unwrap()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: String, build: Build| {
        cases.push(Case { name, build, classes: |_| 2, over_features: true });
    };
    let windows = [
        ("inside", Image::new(3, 4, 5), Window::valid(3, 1)),
        ("stride", Image::new(2, 4, 5), Window::padded(3, 2, 1)),
        // The last line and column are met by no window.
        ("cut off", Image::new(1, 6, 4), Window::valid(3, 2)),
        ("oblong", Image::new(1, 4, 7), Window { size: [2, 5], stride: 1, pad: [1, 0] }),
        ("series", Image::new(2, 1, 9), Window::line(4, 1, 2)),
        ("one position", Image::new(17, 1, 1), Window::valid(1, 1)),
    ];
    for (i, (name, image, window)) in windows.into_iter().enumerate() {
        // Both directions at once; the channels of one of them straddle a tile of the shader.
        let (bias, channels) = if i % 2 == 0 { (true, 5) } else { (false, 17) };
        case(
            format!("conv {name}, bias {bias}"),
            Box::new(move |t, x, _| {
                let x = images(t, x, image);
                let plain = conv(t, x, image, channels, window, bias);
                vec![plain, transpose(t, x, image, 22 - channels, window, !bias)]
            }),
        );
    }
    case(
        "conv of the features".into(),
        Box::new(|t, x, w| {
            let from = as_images(w);
            vec![conv(t, x, from, w.output, Window { size: [1, from.width.min(2)], stride: 1, pad: [0, 0] }, true)]
        }),
    );
    case(
        "conv-transpose of the features".into(),
        Box::new(|t, x, w| vec![transpose(t, x, as_images(w), 3, Window::valid(2, 2), true)]),
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

/// The definition of both directions, loop by loop: the finite differences above would not see an oracle that
/// computes another function.
#[test]
fn the_oracle_computes_convolutions() {
    let (from, window) = (Image::new(2, 5, 4), Window { size: [3, 2], stride: 2, pad: [1, 1] });
    let mut tape = Tape::new();
    let x = tape.features(40, Storage::F32, true);
    let plain = conv(&mut tape, x, from, 3, window, true);
    let spread = transpose(&mut tape, x, from, 3, window, true);
    tape.output("plain", plain);
    tape.output("spread", spread);
    let numbers = Numbers::random(&tape, &[2, 1], 40, 2, 8);
    let found = run(&Device::oracle(), &tape, Purpose::Predict, &numbers, false);
    let value = |p: usize, i: u32| numbers.params[p][i as usize] as f64;
    let small = Conv2d { from, channels: 3, window }.to().unwrap();
    let large = ConvTranspose2d { from, channels: 3, window }.to().unwrap();
    assert_eq!((small, large), (Image::new(3, 3, 3), Image::new(3, 9, 6)));
    for r in 0..3u32 {
        let image = |c: u32, y: u32, x: u32| numbers.features[(r * 40 + (c * 5 + y) * 4 + x) as usize] as f64;
        let mut plain = vec![0.0; small.len() as usize];
        let mut spread: Vec<f64> = (0..large.len()).map(|i| value(3, i / large.positions())).collect();
        for (o, c, ky, kx) in (0..3).flat_map(|o| (0..12).map(move |i| (o, i / 6, i % 6 / 2, i % 2))) {
            for (oy, ox) in (0..9).map(|p| (p / 3, p % 3)) {
                let (iy, ix) = (oy * 2 + ky, ox * 2 + kx);
                if (1..6).contains(&iy) && (1..5).contains(&ix) {
                    let weight = value(0, o * 12 + c * 6 + ky * 2 + kx);
                    plain[((o * 3 + oy) * 3 + ox) as usize] += weight * image(c, iy - 1, ix - 1);
                }
            }
            for (iy, ix) in (0..20).map(|p| (p / 4, p % 4)) {
                let (oy, ox) = (iy * 2 + ky, ix * 2 + kx);
                if (1..10).contains(&oy) && (1..7).contains(&ox) {
                    let weight = value(2, c * 18 + o * 6 + ky * 2 + kx);
                    spread[((o * 9 + oy - 1) * 6 + ox - 1) as usize] += weight * image(c, iy, ix);
                }
            }
        }
        plain.iter_mut().enumerate().for_each(|(i, v)| *v += value(1, i as u32 / 9));
        for ((_, found), wanted) in found.outputs.iter().zip([plain, spread]) {
            let found = &found[r as usize * wanted.len()..][..wanted.len()];
            assert!(common::error(found, &wanted) < 1e-12, "{found:?} {wanted:?}");
        }
    }
}

#[test]
fn kernels_that_do_not_fit_are_refused() {
    let mut tape = Tape::new();
    let x = tape.features(40, Storage::F32, true);
    let from = Image::new(2, 5, 4);
    let weights = param(&mut tape, 3, 2 * 5 * 5);
    let op = Conv2d { from, channels: 3, window: Window::valid(5, 1) };
    let error = tape.push(op, &[x, weights]).unwrap_err().to_string();
    assert!(error.contains("conv2d") && error.contains("[3, 50]"), "{error}");
    let op = Conv2d { from, channels: 3, window: Window::valid(4, 1) };
    assert!(tape.push(op, &[x, weights]).is_err(), "weights of another kernel");
    let op = Conv2d { from: Image::new(2, 5, 5), channels: 3, window: Window::valid(5, 1) };
    assert!(tape.push(op, &[x, weights]).is_err(), "images of another size");
}
