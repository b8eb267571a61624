//! The front door: `Trainer`, `Predictor`, methods from outside, and what callers can do to them.

#[path = "../common/mod.rs"]
mod common;
mod hardship;
#[path = "../../examples/own_method.rs"]
mod own_method;
mod predicting;
mod training;

use bagrad::device::Device;
use bagrad::methods::{GatedAttention, Method};
use bagrad::random::Random;
use bagrad::{Bags, Features, Trainer};

/// The host, and a GPU where there is one.
fn devices() -> Vec<Device> {
    [Some(Device::host()), common::gpu()].into_iter().flatten().collect()
}

fn method() -> Method {
    GatedAttention { embed: vec![8], attention: 4, ..Default::default() }.into()
}

/// Bags of 3 to 9 instances with 5 features around 100; those of class 1 have one that stands out.
fn bags(count: usize, seed: u64) -> Bags {
    let mut random = Random::new(seed, 0);
    let (mut values, mut sizes) = (Vec::new(), Vec::new());
    for bag in 0..count {
        let size = 3 + random.below(7);
        for instance in 0..size {
            let away = if bag % 2 == 1 && instance == 1 { 40.0 } else { 0.0 };
            values.extend((0..5).map(|c| (100.0 + 10.0 * random.normal() + if c == 2 { away } else { 0.0 }) as f32));
        }
        sizes.push(size);
    }
    let labels = (0..count).map(|bag| (bag % 2) as u32).collect();
    let mut bags = Bags::packed(Features::F32(values), 5, &sizes).unwrap().with_labels(labels).unwrap();
    bags.class_names = vec!["normal".into(), "tumour".into()];
    bags.columns = Some(["a", "b", "c", "d", "e"].map(str::to_owned).to_vec());
    bags
}

fn trainer<'a>(device: &Device) -> Trainer<'a> {
    Trainer::new(method()).epochs(6).learning_rate(5e-3).validation(0.25).seed(3).device(device)
}

fn said<T>(result: bagrad::Result<T>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn a_method_from_outside_is_like_the_others() {
    for device in devices() {
        let auc = own_method::run(&device).unwrap();
        assert!(auc > 0.9, "AUC {auc} on {}", device.name());
        #[cfg(feature = "cli")]
        assert!(own_method::time(&device).unwrap() > 0.0);
    }
    // A step of it has the gradients that its formula has, on every device as in f64.
    let data = bags(12, 1);
    let settings = own_method::MarginAttention { embed: 6, margin: 0.8 };
    let spec = bagrad::model::Spec::of(settings.into(), &data);
    let model = bagrad::model::Model::new(spec, 1).unwrap();
    let gradients = |device: &Device| {
        let mut session = bagrad::session::Session::new(device, model.clone(), bagrad::tape::Storage::F32).unwrap();
        session.gradients(&data, None).unwrap()
    };
    let wanted = gradients(&Device::oracle());
    assert!(wanted.parameters.len() == 6 && wanted.loss > 0.0, "{wanted:?}");
    for device in devices() {
        // All together: the bias of the scores has none, as the softmax does not see it.
        let all =
            |of: &bagrad::session::Gradients| of.parameters.values().flat_map(|t| t.values.clone()).collect::<Vec<_>>();
        let error = common::error(&all(&gradients(&device)), &all(&wanted));
        assert!(error < 1e-4, "{error} on {}", device.name());
    }
}
