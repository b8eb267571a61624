//! Attention over pictures: the whole model against finite differences and the oracle.

use crate::common;
use crate::common::check::{Along, compare, hold_slopes};
use crate::common::harness::{Numbers, run};
use bagrad::Error;
use bagrad::device::Device;
use bagrad::methods::{BAG_LOGITS, Method};
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape};

fn method(image: [u32; 3]) -> Method {
    let settings = serde_json::json!({ "embedder": "lenet", "image": image, "attention": 16 });
    Method::named("gated-attention").unwrap().with(settings.as_object().unwrap()).unwrap()
}

fn tape(image: [u32; 3]) -> Tape {
    method(image).record(image.iter().product::<u32>() as usize, 2, Storage::F32, true).unwrap()
}

#[test]
fn parameters_have_the_names_and_sizes_of_the_paper() {
    let settings = serde_json::json!({ "embedder": "lenet", "image": [28, 28, 1] });
    for (name, expected) in [("attention", 490_828), ("gated-attention", 554_956)] {
        let method = Method::named(name).unwrap().with(settings.as_object().unwrap()).unwrap();
        let tape = method.record(784, 2, Storage::F32, false).unwrap();
        assert_eq!(tape.params.iter().map(|p| p.rows * p.cols).sum::<u32>(), expected, "{name}");
        let names: Vec<&str> = tape.params.iter().map(|p| p.name.as_str()).take(6).collect();
        let layers = ["embed.conv0", "embed.conv1", "embed.fc"];
        let expected: Vec<String> = layers.iter().flat_map(|l| [format!("{l}.weight"), format!("{l}.bias")]).collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn every_pool_takes_pictures_and_the_small_encoder_is_that_of_das_mil() {
    let count = |name: &str, embedder: &str| {
        let settings = serde_json::json!({ "embedder": embedder, "dropout": 0.5 });
        let method = Method::named(name).unwrap().with(settings.as_object().unwrap()).unwrap();
        let tape = method.record(784, 2, Storage::F32, false)?;
        Ok::<_, Error>(tape.params.iter().map(|p| p.rows * p.cols).sum::<u32>())
    };
    assert_eq!(count("das-mil", "lenet-small").unwrap(), 17_355, "of the authors' network");
    for name in ["mi-net", "mi-net-bag"] {
        assert_eq!(count(name, "lenet").unwrap(), 426_571, "{name}");
        assert_eq!(count(name, "lenet-small").unwrap(), 260 + 5_020 + 320 * 32 + 32 + 33, "{name}");
    }
    for name in ["mi-net-ds", "mi-net-rc"] {
        let message = count(name, "lenet").unwrap_err().to_string();
        assert!(message.contains("setting embedder: this form pools several layers"), "{message}");
    }
}

/// The bag logits along random directions of each parameter, and of the pictures.
#[test]
fn backward_agrees_with_finite_differences() {
    for image in [[16, 17, 1], [18, 16, 2]] {
        let mut tape = tape(image);
        tape.outputs.retain(|o| o.name == BAG_LOGITS);
        let width = image.iter().product::<u32>() as usize;
        let parameters = (0..tape.params.len()).map(Along::Parameter);
        for along in parameters.chain([Along::Features]) {
            let draw = |seed| Numbers::random(&tape, &[3, 1, 2], width, 2, seed);
            hold_slopes(&format!("{image:?}"), &tape, along, draw);
        }
    }
}

#[test]
fn devices_agree_with_the_oracle() {
    let tape = tape([28, 28, 1]);
    let mut devices = vec![Device::host()];
    devices.extend(common::gpu());
    for (sizes, spare) in [(vec![1], false), (vec![7, 3], true), (vec![70], false)] {
        let numbers = Numbers::random(&tape, &sizes, 784, 2, 4);
        let purpose = Purpose::Gradients { dropout: false };
        let wanted = run(&Device::oracle(), &tape, purpose, &numbers, false);
        for device in &devices {
            let found = run(device, &tape, purpose, &numbers, spare);
            // A tie of the oracle that rounding breaks sends a gradient to the position next to it, so the
            // gradients may differ by a few values; the logits may not.
            compare(&format!("{sizes:?} on {}", device.name()), &found, &wanted, 1e-3);
            assert!(common::error(&found.outputs[0].1, &wanted.outputs[0].1) < 1e-5);
        }
    }
}

#[test]
fn pictures_that_do_not_fit_are_refused() {
    for (image, width) in [([28, 28, 1], 783), ([15, 28, 1], 420), ([4, 4, 1], 16), ([0, 28, 1], 28)] {
        let error = method(image).record(width, 2, Storage::F32, false).unwrap_err();
        assert!(matches!(&error, Error::Setting { .. }), "{error}");
    }
}
