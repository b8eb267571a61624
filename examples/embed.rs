//! The smallest embedding: load a model, predict bags that a program already holds.
//!
//! `cargo run --release --no-default-features --example embed -- model.safetensors < rows.csv`
//!
//! One instance a line, its features separated by commas; an empty line ends a bag. Prints the probability of
//! each class for each bag and the number of its highest-scored instance.

use bagrad::device::DeviceChoice;
use bagrad::{Bags, Device, Features, Model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: embed MODEL < rows.csv")?;
    let model = Model::load(path)?;

    let (mut values, mut sizes) = (Vec::new(), vec![0]);
    for line in std::io::stdin().lines() {
        let line = line?;
        if line.trim().is_empty() {
            sizes.push(0);
            continue;
        }
        for field in line.split(',') {
            values.push(field.trim().parse::<f32>()?);
        }
        *sizes.last_mut().expect("at least one bag") += 1;
    }
    sizes.retain(|&instances| instances > 0);
    let bags = Bags::packed(Features::F32(values), model.spec().width, &sizes)?;

    let device = Device::open(&DeviceChoice::from_env()?)?.device;
    // The model knows what its features were standardised by, and does the same to these.
    let mut predictor = model.on(&device)?;
    let predictions = predictor.predict(&bags)?;
    let classes = predictor.classes();
    for bag in 0..bags.len() {
        let rows = bags.rows(bag);
        let scores = &predictions.scores[rows.clone()];
        let highest = (0..rows.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).expect("no bag is empty");
        let probabilities = classes.iter().zip(predictions.bag(bag)).map(|(class, p)| format!("{class} {p:.3}"));
        println!("bag {bag}: {}; highest instance {highest}", probabilities.collect::<Vec<_>>().join(", "));
    }
    Ok(())
}
