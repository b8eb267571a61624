//! Holds this engine against another implementation: parameters by name, a packed batch, every gradient.
//!
//! `cargo run --release --example hold_against -- FOLDER [DEVICE]` writes `model.safetensors`, `batch.json`
//! and `found.json`; `python tools/hold_against.py FOLDER` computes the same in PyTorch and compares. The text
//! beside it is docs/against-another-implementation.md.

use bagrad::device::{Device, DeviceChoice};
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::random::Random;
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::{Bags, Features};
use serde_json::json;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: hold_against FOLDER [DEVICE]")?);
    let choice: DeviceChoice = std::env::args().nth(2).unwrap_or_else(|| "host".into()).parse()?;
    std::fs::create_dir_all(&folder)?;

    // A small gated attention network over 6 features. Dropout is off in `gradients` whatever it is here.
    let settings = json!({ "embed": [8, 5], "attention": 4 });
    let method = Method::named("gated-attention")?.with(settings.as_object().expect("an object"))?;
    let mut model = Model::new(Spec::new(method, 6, 2), 1)?;

    // Parameters are listed, read and replaced by name.
    for parameter in model.parameters() {
        println!("{:24} {:?}", parameter.name, parameter.shape);
    }
    let doubled: Vec<f32> = model.parameter("attention.w.weight")?.iter().map(|w| 2.0 * w).collect();
    model.set_parameter("attention.w.weight", &doubled)?;
    model.save(folder.join("model.safetensors"))?;

    // Four bags of 3, 1, 70 and 12 instances, packed into one matrix.
    let sizes = [3, 1, 70, 12];
    let mut random = Random::new(7, 0);
    let features: Vec<f32> = (0..sizes.iter().sum::<usize>() * 6).map(|_| random.normal() as f32).collect();
    let labels = vec![1, 0, 1, 0];
    let weights = [0.5, 0.25, 0.125, 0.125];
    let bags = Bags::packed(Features::F32(features.clone()), 6, &sizes)?.with_labels(labels.clone())?;
    let batch = json!({ "features": features, "sizes": sizes, "labels": labels, "weights": weights });
    std::fs::write(folder.join("batch.json"), batch.to_string())?;

    // One forward and backward pass: loss = sum over bags of weight times cross-entropy.
    let device = Device::open(&choice)?.device;
    let mut session = Session::with_instance_gradients(&device, model, Storage::F32, true)?;
    let found = session.gradients(&bags, Some(&weights))?;
    println!("loss {:.6} on {}", found.loss, device.description());
    let values = |tensors: &std::collections::BTreeMap<String, bagrad::session::Tensor>| {
        tensors.iter().map(|(name, t)| (name.clone(), json!(t.values))).collect::<serde_json::Map<_, _>>()
    };
    let result = json!({
        "loss": found.loss,
        "outputs": values(&found.outputs),
        "parameters": values(&found.parameters),
        "instances": found.instances.expect("asked for").values,
    });
    std::fs::write(folder.join("found.json"), result.to_string())?;
    Ok(())
}
