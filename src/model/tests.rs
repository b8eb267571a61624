//! What a model file, or a caller's settings, can say wrong.

use super::*;
use crate::standardise::QUANTILES;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

fn method(name: &str, settings: Value) -> Result<Method> {
    let settings: Map<String, Value> = settings.as_object().unwrap().clone();
    Method::named(name).unwrap().with(&settings)
}

fn small() -> Model {
    let method = method("attention", json!({ "embed": [4], "attention": 3 })).unwrap();
    let mut model = Model::new(Spec::new(method, 5, 2), 1).unwrap();
    model.standardisation = Some(Standardiser { mean: vec![0.5; 5], std: vec![2.0; 5] });
    model
}

/// The bytes of a model with values of a tensor replaced, and with another text in the metadata.
fn file(model: &Model, change: impl Fn(&str, &mut Vec<f32>), text: impl Fn(String) -> String) -> Vec<u8> {
    let bytes = model.to_bytes();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let described = text(header.metadata().clone().unwrap()["bagrad"].clone());
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let all: Vec<(String, Vec<usize>, Vec<f32>)> = tensors
        .iter()
        .map(|(name, view)| {
            let mut values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
            change(name, &mut values);
            (name.to_string(), view.shape().to_vec(), values)
        })
        .collect();
    let views = all.iter().map(|(name, shape, values)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values)).unwrap())
    });
    safetensors::serialize(views, Some(HashMap::from([("bagrad".to_string(), described)]))).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    Model::from_bytes(bytes).expect_err("an error")
}

#[test]
fn a_model_comes_back_with_its_statistics() {
    let mut model = small();
    model.seen = Some(Standardiser { mean: vec![1.0; 5], std: vec![3.0; 5] });
    let back = Model::from_bytes(&model.to_bytes()).unwrap();
    assert_eq!((&back.values, &back.standardisation, &back.seen), (&model.values, &model.standardisation, &model.seen));
    assert_eq!(back.statistics(), model.standardisation.as_ref());
    model.standardisation = None;
    let back = Model::from_bytes(&model.to_bytes()).unwrap();
    assert_eq!((back.standardisation.as_ref(), back.statistics()), (None, model.seen.as_ref()));
}

/// Files from before distances of bags were kept have none; those with them are read whole or not at all.
#[test]
fn a_model_comes_back_with_the_distances_of_its_bags() {
    let mut model = small();
    let older = model.to_bytes();
    assert_eq!(Model::from_bytes(&older).unwrap().distances, None);
    let rising = |from: f32| (0..QUANTILES).map(|at| from + at as f32 / 64.0).collect::<Vec<_>>();
    let found = Distances { mean: vec![0.25; 5], std: vec![0.5; 5], quantiles: rising(0.5), bags: [12.0, 0.125] };
    model.distances = Some(found.clone());
    let bytes = model.to_bytes();
    let back = Model::from_bytes(&bytes).unwrap();
    assert_eq!((&back.distances, &back.values, back.to_bytes()), (&Some(found.clone()), &model.values, bytes.clone()));
    // What else the file says is as it was.
    assert_eq!(super::file::description(&bytes).unwrap(), super::file::description(&older).unwrap());
    let with = |tensor: &'static str, change: fn(&mut Vec<f32>)| {
        refused(&file(
            &model,
            move |name, values| {
                if name == tensor {
                    change(values);
                }
            },
            |text| text,
        ))
    };
    assert!(with("distances.std", |v| v[2] = -1.0).contains("deviations above 0"));
    assert!(with("distances.mean", |v| v[2] = f32::INFINITY).contains("finite"));
    assert!(with("distances.quantiles", |v| v[9] = 7.0).contains("rise"));
    assert!(with("distances.bags", |v| v[0] = 0.0).contains("0 training bags"));
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let views = tensors.iter().filter(|(name, _)| *name != "distances.mean");
    let views: Vec<(String, TensorView)> = views.map(|(name, view)| (name.to_owned(), view)).collect();
    let lost = super::file::serialised(views, super::file::description(&bytes).unwrap());
    assert!(refused(&lost).contains("distances.mean\" is missing"), "{}", refused(&lost));
    // One that would be refused is not written.
    model.distances = Some(Distances { mean: vec![0.0; 4], ..found });
    let dir = tempfile::tempdir().unwrap();
    let message = model.save(dir.path().join("m.safetensors")).unwrap_err().to_string();
    assert!(message.contains("expected 5 means, 5 deviations and 101 quantiles"), "{message}");
}

#[test]
fn a_model_keeps_how_it_came_about() {
    let mut model = small();
    let plain = model.to_bytes();
    model.record = Record {
        data: Some("slides".into()),
        bags: BTreeMap::from([("train".into(), 8), ("test".into(), 2)]),
        scores: BTreeMap::from([("test_auc".into(), 0.1 + 0.2)]),
        seed: Some(u64::MAX),
        licence: Some("CC BY 4.0, \"with\" quotes\nand lines".into()),
    };
    let bytes = model.to_bytes();
    let back = Model::from_bytes(&bytes).unwrap();
    assert_eq!(back.record, model.record);
    assert_eq!(back.to_bytes(), bytes);
    // A file without says nothing of it, and nothing is read that is no record.
    assert!(Model::from_bytes(&plain).unwrap().record.is_empty());
    let with = |record: &str| {
        file(&model, |_, _| (), |text| text.replace(r#""record":{"#, &format!(r#""record":{record},"x":{{"#)))
    };
    assert!(refused(&with(r#"{"licence":7}"#)).contains("record"));
    assert!(refused(&with(r#"{"terms":"mine"}"#)).contains("record: unknown field `terms`"));
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let model = small();
    let with = |tensor: &str, value: f32| {
        let tensor = tensor.to_string();
        file(
            &model,
            move |name, values| {
                if name == tensor {
                    values[1] = value;
                }
            },
            |text| text,
        )
    };
    assert!(Model::from_bytes(&with("standardisation.std", 0.5)).is_ok());
    assert!(refused(&with("embed.0.weight", f32::NAN)).contains("embed.0.weight"), "{:?}", model.parameters());
    for (value, said) in [(0.0, "is 0"), (-1.0, "is -1"), (f32::INFINITY, "is inf"), (f32::NAN, "is NaN")] {
        let error = refused(&with("standardisation.std", value));
        assert!(error.contains("deviation of feature 1") && error.contains(said), "{error}");
    }
    assert!(refused(&with("standardisation.mean", f32::NAN)).contains("mean of feature 1 is NaN"));
    // A model that would be refused is not written.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let mut model = small();
    model.standardisation.as_mut().unwrap().std[4] = 0.0;
    assert!(model.save(&path).unwrap_err().to_string().contains("deviation of feature 4"));
    model.standardisation = Some(Standardiser { mean: vec![0.0; 4], std: vec![1.0; 4] });
    assert!(model.save(&path).unwrap_err().to_string().contains("statistics of 5 features, found 4"));
    assert!(!path.exists());
}

/// What the description asks for is compared with the tensors before memory is taken for it.
#[test]
fn a_description_cannot_ask_for_more_than_the_file_has() {
    let model = small();
    let said = |from: &'static str, to: &'static str| {
        let changed = file(
            &model,
            |_, _| {},
            |text| {
                assert!(text.contains(from), "{text}");
                text.replace(from, to)
            },
        );
        refused(&changed)
    };
    let error = said("\"width\":5", "\"width\":65536");
    assert!(error.contains("expected F32 [4, 65536], found F32 [4, 5]"), "{error}");
    assert!(said("\"embed\":[4]", "\"embed\":[65536,65536]").contains("size of a model"));
    assert!(said("\"embed\":[4]", "\"embed\":[4,9]").contains("missing"));
    assert!(said("\"width\":5", "\"width\":18446744073709551615").contains("width"));
    assert!(said("\"embed\":[4]", "\"embed\":[4294967295]").contains("embed"));
    assert!(said("\"width\":5", "\"width\":0").contains("width"));
    assert!(said("[\"0\",\"1\"]", "[\"0\"]").contains("classes"));
}

/// Three classes, unless a method is for two.
fn most_classes(method: &Method) -> usize {
    if method.name() == "mirel" { 2 } else { 3 }
}

/// Sizes from 2 to the largest that a setting may have: an error that names the limit, or a model; no panic, no
/// product that overflows, and no memory beyond the bound.
#[test]
fn settings_of_any_size_end_in_a_model_or_an_error() {
    let numbers = [0u64, 1, 2, 255, 65_535, 65_536, 65_537, 1 << 20, u32::MAX as u64];
    let encoder = Method::from(crate::methods::encoder::Encoder::default());
    for listed in Method::all().iter().cloned().chain([encoder]) {
        let Ok(Value::Object(settings)) = serde_json::to_value(&listed) else { panic!("settings are an object") };
        for ((name, default), number) in settings.iter().flat_map(|s| numbers.map(|n| (s, n))) {
            let value = match default {
                Value::Array(all) if all.iter().all(Value::is_u64) => json!(vec![number; all.len().max(1)]),
                Value::Number(n) if n.is_u64() => json!(number),
                _ => continue,
            };
            let changed = settings.iter().map(|(k, v)| (k.clone(), if k == name { value.clone() } else { v.clone() }));
            let Ok(method) = serde_json::from_value::<Method>(Value::Object(changed.collect())) else { continue };
            for width in [3usize, 1 << 16, 3 << 16] {
                match outline(&Spec::new(method.clone(), width, most_classes(&listed))) {
                    Ok((_, layout, _)) => assert!(layout.total as u64 * 4 <= MOST_BYTES, "{name} of {number}"),
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
        }
    }
    let heads = method("das-mil", json!({ "heads": 65536, "key": 65536 })).unwrap();
    assert!(outline(&Spec::new(heads, 10, 2)).unwrap_err().to_string().contains("65536 heads of 65536"));
    let large = method("attention", json!({ "embed": [65536, 65536] })).unwrap();
    let error = Model::new(Spec::new(large, 10, 2), 1).unwrap_err();
    assert!(matches!(error, Error::Limit { possible: MOST_BYTES, .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("size of a model") && error.contains("17") && error.contains("2147483648"), "{error}");
}

/// What files of every method say stays as it was, byte by byte, and is read: `descriptions.txt` has a line of each.
#[test]
fn descriptions_stay_as_they_are() {
    let lines: Vec<&str> = include_str!("descriptions.txt").lines().collect();
    let encoder = Method::from(crate::methods::encoder::Encoder::default());
    let methods: Vec<Method> = Method::all().into_iter().chain([encoder]).collect();
    assert_eq!(lines.len(), methods.len());
    for (line, method) in lines.into_iter().zip(methods) {
        let width = if method.name() == "encoder" { 3072 } else { 7 };
        let classes = most_classes(&method);
        let model = Model::new(Spec::new(method, width, classes), 1).unwrap();
        let bytes = model.to_bytes();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().clone().unwrap()["bagrad"], line);
        let back = Model::from_bytes(&bytes).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!((back.spec(), &back.values), (model.spec(), &model.values));
    }
}

#[test]
fn a_description_says_everything_once() {
    let model = small();
    let said = |from: &'static str, to: &'static str| {
        refused(&file(&model, |_, _| {}, |text| text.replace(from, to))).replace("metadata \"bagrad\": ", "")
    };
    assert_eq!(said("\"heads\":1", "\"heads\":1,\"heads\":2"), "duplicate field `heads`");
    assert_eq!(said("\"classes\":", "\"names\":"), "missing field `classes`");
    assert!(said("\"heads\":1", "\"haeds\":1").contains("unknown setting `haeds`; attention has: attention, dropout"));
    assert!(said("\"method\":\"attention\"", "\"method\":\"atention\"").contains("there are: mi-net, mi-net-bag"));
    assert!(said("\"format_version\":1", "\"format_version\":9").contains("format version 9"));
    assert!(said("\"format_version\":1", "\"format_version\":\"1\"").starts_with("format_version: invalid type"));
    // What the file does not name is as it is by default, and the order of the names does not matter.
    let changed = file(&model, |_, _| {}, |text| text.replace("\"heads\":1,", "").replace("{\"format", "{ \"format"));
    assert_eq!(Model::from_bytes(&changed).unwrap().spec(), model.spec());
}
