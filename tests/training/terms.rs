//! Terms of the loss whose weights move with the epochs.

use crate::common::error;
use crate::common::small::{bags, devices};
use bagrad::device::Device;
use bagrad::methods::layers::Network;
use bagrad::methods::{Method, MilMethod};
use bagrad::model::{Model, Spec};
use bagrad::objectives::Weight;
use bagrad::ops::pointwise::Activation;
use bagrad::ops::segment::Pool;
use bagrad::session::Session;
use bagrad::tape::{Columns, Storage};
use bagrad::training::{Settings, train};
use serde::{Deserialize, Serialize};

/// Two classifiers of the mean of a bag; the second one's loss counts more and more.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Two {
    epochs: u32,
}

impl MilMethod for Two {
    const NAME: &'static str = "two";

    fn record(&self, net: &mut Network) -> bagrad::Result<()> {
        let h = net.linear("embed", net.features, 5, Activation::Tanh)?;
        let mean = net.pool(h, Pool::Mean)?;
        let outputs = net.outputs();
        let (link, mut losses, mut heads) = (net.one_of_all(), Vec::new(), Vec::new());
        for name in ["a", "b", "c"] {
            let logits = net.linear(name, mean, outputs, Activation::None)?;
            losses.push(net.bag_loss(logits, link, 0.0)?);
            heads.push(logits);
        }
        let scores = net.linear_shared(h, heads[0])?;
        net.finish((heads[0], link), (scores, Columns::Classes), losses[0])?;
        net.objective("second", losses[1], Weight::Rises { to: 0.8, epochs: self.epochs, begun: 1 })?;
        net.objective("third", losses[2], Weight::After { to: 0.5, epochs: 2 })
    }
}

fn session(device: &Device, bags: &bagrad::Bags) -> Session {
    let model = Model::new(Spec::of(Method::from(Two { epochs: 4 }), bags), 3).unwrap();
    Session::new(device, model, Storage::F32).unwrap()
}

/// Gradients follow the weights of the epoch; an evaluation has those of the end, and every term by its name.
#[test]
fn gradients_follow_the_epoch() {
    let bags = bags(7, 6, 8);
    let all: Vec<usize> = (0..7).collect();
    let even = [1.0 / 7.0; 7];
    for device in devices().into_iter().chain([Device::Oracle]) {
        for windows in [None, Some(2 << 10)] {
            let mut session = session(&device, &bags);
            session.limit_bindings(windows);
            let tolerance = if matches!(device, Device::Oracle) { 1e-6 } else { 1e-4 };
            let end = session.gradients(&bags, None).unwrap();
            let (outputs, loss) = session.outputs_and_loss(&bags, &all, &even, None).unwrap();
            let [second, third] = ["loss: second", "loss: third"].map(|name| f64::from(outputs[name][0]));
            assert!((loss - end.loss).abs() < 1e-5 && second > 0.1 && third > 0.1, "{loss} {}", end.loss);
            for (epoch, [b, c]) in [(0, [0.2, 0.0]), (1, [0.4, 0.0]), (2, [0.6, 0.5]), (9, [0.8, 0.5])] {
                session.set_epoch(Some(epoch));
                let found = session.gradients(&bags, None).unwrap();
                let wanted = end.loss - (0.8 - b) * second - (0.5 - c) * third;
                assert!((found.loss - wanted).abs() < 1e-5, "{}: {} {wanted}", device.name(), found.loss);
                for (name, share) in [("a.weight", 1.0), ("b.weight", b / 0.8), ("c.weight", c / 0.5)] {
                    let wanted: Vec<f64> = end.parameters[name].values.iter().map(|g| g * share).collect();
                    let distance = error(&found.parameters[name].values, &wanted);
                    assert!(distance < tolerance, "{name} in epoch {epoch} on {}: {distance:e}", device.name());
                }
                let (_, again) = session.outputs_and_loss(&bags, &all, &even, None).unwrap();
                assert_eq!(again, loss, "an evaluation does not move with the epochs");
            }
        }
    }
}

/// Training tells the session its epochs: the classifier that begins late has not moved before.
#[test]
fn training_moves_weights() {
    let bags = bags(12, 6, 9);
    let all: Vec<usize> = (0..12).collect();
    let trained = |epochs: u32| {
        let method = Method::from(Two { epochs: 4 });
        let settings = Settings { epochs, learning_rate: 1e-2, ..Settings::for_method(&method) };
        let model = Model::new(Spec::of(method, &bags), 3).unwrap();
        let start = model.parameter("c.weight").unwrap().to_vec();
        let settings = Settings { optimiser: bagrad::ops::update::Optimiser::nesterov(0.0, 0.0), ..settings };
        let model = train(&Device::host(), model, &settings, &bags, &all, &[], &mut ()).unwrap().model;
        let end = model.parameter("c.weight").unwrap().to_vec();
        (start, end, model.parameter("b.weight").unwrap().to_vec())
    };
    let outcome = {
        let method = Method::from(Two { epochs: 4 });
        let settings = Settings { epochs: 2, ..Settings::for_method(&method) };
        let model = Model::new(Spec::of(method, &bags), 3).unwrap();
        train(&Device::host(), model, &settings, &bags, &all[..8], &all[8..], &mut ()).unwrap()
    };
    for epoch in &outcome.epochs {
        let of = |name: &str| epoch.validation_terms[name];
        let total = of("bags") + 0.8 * of("second") + 0.5 * of("third");
        assert!((epoch.validation_loss.unwrap() - total).abs() < 1e-5, "{epoch:?}");
    }
    let (start, two, second) = trained(2);
    assert_eq!(start, two);
    let (_, three, _) = trained(3);
    assert_ne!(start, three);
    assert_ne!(second, trained(1).2);
}
