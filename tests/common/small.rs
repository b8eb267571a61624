//! Small bags and small models of every method.

use bagrad::device::Device;
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::random::Random;
use bagrad::{Bags, Features};

/// Bags of random instances; a positive bag has an instance far along the first axis.
pub fn bags(count: usize, width: usize, seed: u64) -> Bags {
    let mut random = Random::new(seed, 0);
    let sizes: Vec<usize> = (0..count).map(|_| 1 + random.below(90)).collect();
    let mut features = Vec::new();
    let mut labels = Vec::new();
    for (bag, &size) in sizes.iter().enumerate() {
        let label = (bag % 2) as u32;
        let key = random.below(size);
        for i in 0..size {
            let shift = if label == 1 && i == key { 4.0 } else { 0.0 };
            features.extend((0..width).map(|c| random.normal() as f32 + if c == 0 { shift } else { 0.0 }));
        }
        labels.push(label);
    }
    let mut bags = Bags::packed(Features::F32(features), width, &sizes).unwrap().with_labels(labels).unwrap();
    let mut random = Random::new(seed, 1);
    let mut coordinate = || 256.0 * random.uniform() as f32;
    bags.coords = Some((0..bags.instances()).map(|_| [coordinate(), coordinate()]).collect());
    bags
}

/// Every method, small, with dropout.
pub fn small(method: &str) -> Method {
    let settings = match method {
        "transmil" | "mhim-transmil" => {
            serde_json::json!({ "width": 12, "heads": 2, "landmarks": 5, "iterations": 2, "dropout": 0.25 })
        }
        "transformer" => {
            serde_json::json!({ "width": 12, "heads": 2, "attention": 9, "dropout": 0.25, "attention_dropout": 0.25 })
        }
        "ibmil" => serde_json::json!({
            "base": { "method": "attention", "embed": [16, 12], "dropout": 0.25, "attention": 20 },
            "clusters": 3, "hidden": 7, "dropout": 0.25,
        }),
        "mhim" => serde_json::json!({
            "base": { "method": "gated-attention", "embed": [16, 12], "dropout": 0.25, "attention": 20, "heads": 2 },
        }),
        _ => serde_json::json!({
            "embed": [16, 12], "dropout": 0.25, "code": 12, "latent": 5, "classifier": [12], "prior": 8,
            "classification": 1.0, "projection": 12,
        }),
    };
    let mut settings = settings.as_object().unwrap().clone();
    if method == "mi-net-rc" {
        settings.insert("embed".into(), serde_json::json!([12, 12]));
    }
    if method == "certainty-pooling" {
        settings.extend([("passes".into(), 4.into()), ("head".into(), serde_json::json!([9]))]);
    }
    if method == "gnn-mil" {
        settings.extend([("clusters".into(), 2.into()), ("eta".into(), 5.0.into()), ("entropy".into(), 0.1.into())]);
    }
    if method.contains("attention") {
        settings.insert("attention".into(), 20.into());
    }
    if matches!(method, "attention" | "gated-attention") {
        settings.insert("heads".into(), 2.into());
    }
    let method = Method::named(method).unwrap();
    settings.retain(|name, _| method.settings().contains_key(name));
    method.with(&settings).unwrap()
}

/// True of methods whose loss has a mean over all instances of a batch: it is no sum of what its bags have by themselves.
pub fn averages_instances(method: &Method) -> bool {
    matches!(method.name(), "focus-mil" | "mivae")
}

/// A model of one.
pub fn model(method: &str, bags: &Bags) -> Model {
    Model::new(Spec::new(small(method), bags.width, bags.classes()), 5).unwrap()
}

/// The host, and a GPU where there is one.
pub fn devices() -> Vec<Device> {
    let mut devices = vec![Device::host()];
    devices.extend(super::gpu());
    devices
}
