//! The least that a program needs to predict with a model that `bagrad train` wrote.
//!
//!     cargo run --release --example predict -- RUN/model.safetensors BAGS

use bagrad::data::Dataset;
use bagrad::{Device, Model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, data] = &arguments[..] else { return Err("expected a model file and the data of bags".into()) };
    let bags = Dataset::open(data)?.bags;
    let device = Device::open(&"auto".parse()?)?.device;
    let model = Model::load(model)?;
    let classes = model.spec().classes.clone();
    let found = model.on(&device)?.predict(&bags)?;
    for (bag, name) in bags.names.iter().enumerate() {
        println!("{name}: {} ({:?})", classes[found.class(bag)], found.bag(bag));
    }
    Ok(())
}
