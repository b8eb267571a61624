//! Encoder, projection, losses and updates against an independent implementation, from files that
//! tools/make_fixtures_simclr.py writes with PyTorch.

use crate::common::{self, error};
use bagrad::device::Device;
use bagrad::methods::encoder::{EMBEDDING, Encoder};
use bagrad::model::{Model, Spec};
use bagrad::ops::update::Optimiser;
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::{Bags, Features};
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::Path;

struct Fixture {
    metadata: HashMap<String, String>,
    tensors: HashMap<String, Vec<f64>>,
}

const NAMES: [&str; 3] = ["encoder-contrast", "encoder-deep", "encoder-classes"];

fn read(name: &str) -> Fixture {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let bytes = std::fs::read(folder.join(format!("{name}.safetensors"))).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors().into_iter().map(|(name, t)| {
        let values = match t.dtype() {
            Dtype::F64 => t.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::F32 => t.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
            Dtype::I64 => t.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
            other => panic!("{name}: {other:?}"),
        };
        (name, values)
    });
    Fixture { tensors: tensors.collect(), metadata: header.metadata().clone().unwrap() }
}

impl Fixture {
    fn f32(&self, name: &str) -> Vec<f32> {
        self.tensors[name].iter().map(|&v| v as f32).collect()
    }

    fn settings(&self) -> Encoder {
        serde_json::from_str(&self.metadata["settings"]).unwrap()
    }

    fn model(&self) -> Model {
        let settings = self.settings();
        let (width, classes) = (settings.values(), self.metadata["classes"].parse().unwrap());
        let mut model = Model::new(Spec::new(settings.into(), width, classes), 0).unwrap();
        let names: Vec<String> = model.parameters().iter().map(|p| p.name.clone()).collect();
        for name in names {
            model.set_parameter(&name, &self.f32(&format!("param/{name}"))).unwrap();
        }
        model
    }

    /// Bags of two views, or of one patch with its class, and their weights in the loss.
    fn batch(&self) -> (Bags, Vec<f32>) {
        let (x, width) = (self.f32("x"), self.settings().values());
        let rows = x.len() / width;
        let (labels, weights, each) = match self.tensors.get("labels") {
            Some(labels) => (labels.iter().map(|&l| l as u32).collect(), self.f32("weights"), 1),
            None => (vec![0; rows / 2], vec![1.0; rows / 2], 2),
        };
        let bags = Bags::packed(Features::F32(x), width, &vec![each; rows / each]).unwrap();
        (bags.with_labels(labels).unwrap(), weights)
    }
}

fn compare(device: &Device, forward: f64, trained: f64) {
    for name in NAMES {
        let fixture = read(name);
        let (bags, weights) = fixture.batch();
        let check = |what: &str, found: &[f64], tolerance: f64| {
            let e = error(found, &fixture.tensors[what]);
            assert!(e < tolerance, "{name} {what}: error {e:.2e} on {}", device.name());
        };
        let mut session = Session::with_instance_gradients(device, fixture.model(), Storage::F32, true).unwrap();
        session.executor().poison().unwrap();
        let found = session.gradients(&bags, Some(&weights)).unwrap();
        check("loss", &[found.loss], forward);
        check("embedding", &found.outputs[EMBEDDING].values, forward);
        check("grad/x", &found.instances.unwrap().values, forward);
        assert_eq!(found.parameters.len(), fixture.tensors.keys().filter(|k| k.starts_with("param/")).count());
        for (parameter, gradient) in &found.parameters {
            check(&format!("grad/{parameter}"), &gradient.values, forward);
        }

        let optimizer: serde_json::Value = serde_json::from_str(&fixture.metadata["optimizer"]).unwrap();
        let adam = Optimiser::adam(optimizer["weight_decay"].as_f64().unwrap() as f32);
        let rate = optimizer["lr"].as_f64().unwrap();
        let mut session = Session::new(device, fixture.model(), Storage::F32).unwrap();
        session.executor().poison().unwrap();
        let (steps, all) = (fixture.tensors["losses"].len(), (0..bags.len()).collect::<Vec<_>>());
        session.executor().reserve_history(steps).unwrap();
        for step in 0..steps {
            session.train_step(&bags, &all, &weights, None, (&adam, rate), Some(step as u32)).unwrap();
        }
        let losses = session.executor().history(steps).unwrap();
        check("losses", &losses.iter().map(|&l| l as f64).collect::<Vec<_>>(), trained);
        let model = session.model().unwrap();
        for p in model.parameters() {
            let values: Vec<f64> = model.parameter(&p.name).unwrap().iter().map(|&v| v as f64).collect();
            check(&format!("final/{}", p.name), &values, trained);
        }
    }
}

#[test]
fn oracle_agrees_with_pytorch() {
    compare(&Device::oracle(), 1e-6, 1e-5);
}

#[test]
fn host_agrees_with_pytorch() {
    compare(&Device::host(), 3e-5, 1e-4);
}

#[test]
fn gpu_agrees_with_pytorch() {
    if let Some(gpu) = common::gpu() {
        compare(&gpu, 5e-5, 1e-4);
    }
}
