//! Features that are left out, and mixed bags, on every device.

use crate::common::error;
use crate::common::small::{bags, devices, small};
use bagrad::device::Device;
use bagrad::{Bags, LabelSets, TargetChoice, Trainer};

/// Updates of a small method from bags whose features are left out and mixed, one label each or several.
fn moved(device: &Device, bags: &Bags, method: &str) -> Vec<f64> {
    let trainer = Trainer::new(small(method)).target(TargetChoice::Auto).batch(4).epochs(2).seed(3).device(device);
    let model = trainer.feature_dropout(0.3).mixup(0.4).fit(bags).unwrap().model;
    let of = |name: &str| model.parameter(name).unwrap().iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    model.parameters().iter().flat_map(|parameter| of(&parameter.name)).collect()
}

#[test]
fn every_device_learns_from_the_same_parts_and_mixtures() {
    let of_classes = bags(9, 10, 3);
    let has = (0..18).map(|at| [Some(true), Some(false), None][at % 3]).collect();
    let several = of_classes.clone().with_label_sets(LabelSets::new(2, has).unwrap(), vec!["a".into(), "b".into()]);
    let several = several.unwrap();
    for (method, bags) in [("gated-attention", &of_classes), ("dsmil", &of_classes), ("power-pooling", &several)] {
        let wanted = moved(&Device::host(), bags, method);
        for device in devices() {
            let found = error(&moved(&device, bags, method), &wanted);
            assert!(found < 1e-3, "{method} on {}: {found:e}", device.name());
        }
    }
}
