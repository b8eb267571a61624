//! The smallest embedding: load a model, predict bags that a program already holds.
//!
//! `cargo run --release --no-default-features --example embed -- model.safetensors < rows.csv`
//!
//! One instance a line, its features separated by commas; an empty line ends a bag. Prints the probability of
//! each class for each bag and the number of its highest-scored instance.

use bagrad::device::{Device, DeviceChoice};
use bagrad::model::Model;
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::training::predict;
use bagrad::{Bags, Features};

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
    let mut bags = Bags::packed(Features::F32(values), model.spec().width, &sizes)?;

    // A model that was trained on standardised features wants them here too.
    if let Some(standardisation) = &model.standardisation {
        standardisation.apply(&mut bags)?;
    }
    let classes = model.spec().classes.clone();
    let opened = Device::open(&DeviceChoice::from_env()?)?;
    let mut session = Session::new(&opened.device, model, Storage::F32)?;
    let all: Vec<usize> = (0..bags.len()).collect();
    let predictions = predict(&mut session, &bags, &all, None)?;
    for bag in all {
        let rows = bags.rows(bag);
        let scores = &predictions.scores[rows.clone()];
        let highest = (0..rows.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).expect("no bag is empty");
        let probabilities = classes.iter().zip(predictions.bag(bag)).map(|(class, p)| format!("{class} {p:.3}"));
        println!("bag {bag}: {}; highest instance {highest}", probabilities.collect::<Vec<_>>().join(", "));
    }
    Ok(())
}
