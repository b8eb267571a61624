//! Trains CausalMIL on bags of the shipped digits and writes the instances that it picked beside what its decoder makes
//! of their codes, as a PGM picture: originals in the upper row of each pair, reconstructions below.
//!
//! `cargo run --release --example reconstruct -- digits.pgm`

use bagrad::data::{Protocol, Split};
use bagrad::methods::{CausalMil, RECONSTRUCTION, SCORES};
use bagrad::model::{Model, Spec};
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::training::{Settings, train};
use bagrad::{Device, methods::Method, methods::codec::Codec};

const SIDE: usize = 8;
/// Bags in a row of the picture, and how often each pixel is drawn.
const COLUMNS: usize = 16;
const ZOOM: usize = 4;

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "digits.pgm".into());
    let set = Protocol { train: 200, test: 32, ..Protocol::digits() }.digits_bags()?;
    let [training, test] = [Split::Train, Split::Test].map(|part| set.indices(part));
    let side = SIDE as u32;
    let method = Method::from(CausalMil {
        codec: Codec::Mnist,
        image: [side, side, 1],
        channels: vec![16, 32, 64, 64],
        reconstruction: (SIDE * SIDE) as f32,
        ..Default::default()
    });
    let settings = Settings { epochs: 60, batch: 10, ..Settings::for_method(&method) };
    let model = Model::new(Spec::of(method, &set.bags), 1)?;
    let device = Device::host();
    let model = train(&device, model, &settings, &set.bags, &training, &[], &mut ())?.model;

    let mut session = Session::new(&device, model, Storage::F32)?;
    let outputs = session.outputs(&set.bags, &test, None)?;
    let (scores, decoded, features) = (&outputs[SCORES], &outputs[RECONSTRUCTION], set.bags.features.to_f32());
    // The first instance with the largest score is the one that was decoded.
    let mut first = 0;
    let (mut pairs, mut error) = (Vec::new(), 0.0);
    for (&bag, decoded) in test.iter().zip(decoded.chunks_exact(SIDE * SIDE)) {
        let rows = set.bags.rows(bag);
        let of_bag = &scores[first..first + rows.len()];
        first += rows.len();
        let picked = rows.start + (0..of_bag.len()).rev().max_by(|&a, &b| of_bag[a].total_cmp(&of_bag[b])).unwrap_or(0);
        let original = &features[picked * SIDE * SIDE..(picked + 1) * SIDE * SIDE];
        error += original.iter().zip(decoded).map(|(a, b)| f64::from((a - b).powi(2))).sum::<f64>();
        pairs.push([original, decoded]);
    }
    println!("mean squared error of {} picked instances: {:.4}", pairs.len(), error / (64 * pairs.len()) as f64);

    let (columns, lines) = (COLUMNS * SIDE, pairs.len().div_ceil(COLUMNS) * 2 * SIDE);
    let mut picture = format!("P5 {} {} 255\n", columns * ZOOM, lines * ZOOM).into_bytes();
    for line in 0..lines * ZOOM {
        for column in 0..columns * ZOOM {
            let (y, x) = (line / ZOOM, column / ZOOM);
            let pair = pairs.get(y / (2 * SIDE) * COLUMNS + x / SIDE);
            let value = pair.map_or(0.0, |pair| pair[y / SIDE % 2][y % SIDE * SIDE + x % SIDE]);
            picture.push((255.0 * value.clamp(0.0, 1.0)) as u8);
        }
    }
    std::fs::write(&path, picture)?;
    println!("written to {path}");
    Ok(())
}
