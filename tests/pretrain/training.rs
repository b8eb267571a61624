//! Pretraining and embedding through the library, on the host and on a GPU.

use crate::common;
use bagrad::data::{Patches, Textures};
use bagrad::device::Device;
use bagrad::methods::encoder::{self, Objective};
use bagrad::model::Model;
use bagrad::pretrain::{Augmentation, Pretrained, Settings, embed, pretrain};

fn patches() -> Patches {
    let textures = Textures { side: 12, mean: 6.0, spread: 0.0, train: 10, test: 2, rate: 0.5, ..Textures::default() };
    textures.patches().unwrap()
}

fn network(objective: Objective) -> encoder::Encoder {
    encoder::Encoder { widths: vec![6, 8], blocks: vec![1, 1], projection: [8, 8], objective, ..Default::default() }
}

fn trained(device: &Device, objective: Objective, settings: Settings) -> Pretrained {
    pretrain(device, network(objective), &settings, &patches(), &mut ()).unwrap()
}

/// Few epochs of views that are much alike.
fn short() -> Settings {
    let augmentation =
        Augmentation { area: [0.7, 1.0], jitter_chance: 0.1, grey: 0.1, blur: 0.1, ..Default::default() };
    Settings { epochs: 4, batch: 16, learning_rate: 1e-2, augmentation, ..Settings::default() }
}

fn values(model: &Model) -> Vec<f64> {
    let all = model.parameters().iter().flat_map(|p| model.parameter(&p.name).unwrap());
    all.map(|&v| f64::from(v)).collect()
}

#[test]
fn the_loss_falls_and_the_best_epoch_is_kept() {
    let settings = Settings { epochs: 25, ..short() };
    let done = trained(&Device::host(), Objective::Contrast, settings);
    assert_eq!((done.training, done.validation, done.epochs.len()), (54, 6, 25));
    let first = done.epochs.first().unwrap().loss;
    let last = done.epochs.last().unwrap().loss;
    // Of 32 views, 31 are to be told apart: chance is ln 31 = 3.43.
    assert!(first < 3.7 && last < first - 0.05, "{first} to {last}");
    let losses: Vec<f64> = done.epochs.iter().map(|e| e.validation_loss.unwrap()).collect();
    let best = (0..25).fold(0, |best, e| if losses[e] < losses[best] { e } else { best });
    assert_eq!(done.kept, Some(best as u32));
    assert!(done.model.parameters().iter().all(|p| !p.name.starts_with('l') || p.name.starts_with("layer")));
}

#[test]
fn a_seed_gives_the_same_bits_and_devices_agree() {
    let host = trained(&Device::host(), Objective::Contrast, short());
    let again = trained(&Device::host(), Objective::Contrast, short());
    assert_eq!(host.model.to_bytes(), again.model.to_bytes());
    let other = trained(&Device::host(), Objective::Contrast, Settings { seed: 2, ..short() });
    assert_ne!(host.model.to_bytes(), other.model.to_bytes());
    if let Some(gpu) = common::gpu() {
        let found = trained(&gpu, Objective::Contrast, short());
        let e = common::error(&values(&found.model), &values(&host.model));
        assert!(e < 1e-3, "parameters after training: {e:.2e}");
        let features = |device: &Device| {
            let set = embed(device, &host.model, &patches(), 7, &mut |_| ()).unwrap();
            set.bags.features.to_f32().into_iter().map(f64::from).collect::<Vec<_>>()
        };
        let e = common::error(&features(&gpu), &features(&Device::host()));
        assert!(e < 1e-5, "features: {e:.2e}");
    }
}

#[test]
fn classes_of_patches_are_learnt() {
    let settings = Settings { epochs: 60, validation: 0.0, ..short() };
    let done = trained(&Device::host(), Objective::Classes, settings);
    assert_eq!((done.training, done.validation, done.kept), (60, 0, Some(59)));
    let (first, last) = (done.epochs[0].loss, done.epochs[59].loss);
    assert!(last < 0.8 * first, "{first} to {last}");
    let with = trained(&Device::host(), Objective::Classes, short());
    assert!(with.epochs.iter().all(|e| e.validation_loss.is_some() && e.validation_accuracy.is_some()));
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let refused = |objective, settings: Settings, patches: &Patches| {
        pretrain(&Device::host(), network(objective), &settings, patches, &mut ()).unwrap_err().to_string()
    };
    assert!(refused(Objective::None, short(), &patches()).starts_with("setting objective"));
    let one = Textures { side: 12, mean: 1.0, spread: 0.0, train: 1, test: 0, ..Textures::default() };
    assert!(refused(Objective::Contrast, short(), &one.patches().unwrap()).contains("at least two patches"));
    assert!(refused(Objective::Contrast, Settings { validation: 1.0, ..short() }, &patches()).contains("validation"));
    let wild = Settings { learning_rate: 1e30, ..short() };
    let message = refused(Objective::Contrast, wild, &patches());
    assert!(message.contains("the loss is"), "{message}");
}
