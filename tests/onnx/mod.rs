//! Exported graphs, computed by an interpreter of their own, against the engine in f64: every method with small models, and
//! every fixture with its settings and targets.

mod interpreter;

use super::{Fixture, common, error, fixtures};
use bagrad::device::Device;
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::onnx::proto::{Message, ModelProto};
use bagrad::session::Session;
use bagrad::standardise::Standardiser;
use bagrad::tape::Storage;
use bagrad::target::{Cox, Hazards, Number, NumberLoss};
use bagrad::{Bags, Features, Target, onnx};
use interpreter::Tensor;
use std::collections::{BTreeMap, HashSet};

/// Constants and parameters are f32 in both; all else is f64, rounded once.
const TOLERANCE: f64 = 2e-6;
/// Of what is said by logits, which were rounded before.
const SAID: f64 = 2e-5;

fn tensor(bags: &Bags, bag: usize) -> Vec<(&'static str, Tensor)> {
    let (rows, width) = (bags.rows(bag), bags.width);
    let features = bags.features.slice(rows.start * width..rows.end * width).to_f32();
    let features = features.iter().map(|&v| f64::from(v)).collect();
    let mut inputs = vec![("features", Tensor::new(&[rows.len(), width], features))];
    if let Some(coords) = &bags.coords {
        let places = coords[rows.clone()].iter().flatten().map(|&v| f64::from(v)).collect();
        inputs.push(("coordinates", Tensor::new(&[rows.len(), 2], places)));
    }
    inputs
}

/// Holds the graph of a model against the engine for each of these bags alone.
fn agrees(what: &str, model: &Model, bags: &Bags) {
    let exported = onnx::export(model).unwrap_or_else(|e| panic!("{what}: {e}"));
    let mut standardised = bags.clone();
    if let Some(statistics) = &model.standardisation {
        statistics.apply(&mut standardised).unwrap();
    }
    let mut session = Session::new(&Device::oracle(), model.clone(), Storage::F32).unwrap();
    let mut predictor = model.clone().on(&Device::oracle()).unwrap();
    // Of all bags together: a single score near 0 is the rest of a sum whose digits have gone.
    let mut all: BTreeMap<String, [Vec<f64>; 2]> = BTreeMap::new();
    for bag in 0..bags.len() {
        let found = interpreter::run(&exported.bytes, &tensor(bags, bag));
        let wanted = session.outputs(&standardised, &[bag], None).unwrap();
        let alone = bags.select(&[bag]).unwrap();
        let said = predictor.predict(&alone).unwrap();
        for output in &exported.outputs {
            let name = output.name.as_str();
            let wanted = match name {
                "logits" => &wanted["bag_logits"],
                "probabilities" => &said.probabilities,
                "predicted" | "risk" => &said.values,
                "survival" => &said.survival,
                name => &wanted[name],
            };
            let found = found.get(name).unwrap_or_else(|| panic!("{what}: no {name}"));
            assert_eq!(found.values.len(), wanted.len(), "{what}: {name} of bag {bag}");
            assert_eq!(found.dims[0], if output.of == "bag" { 1 } else { alone.instances() }, "{what}: {name}");
            assert!([0, found.dims[1]].contains(&output.columns.len()), "{what}: columns of {name}");
            let [all_found, all_wanted] = all.entry(name.to_owned()).or_default();
            all_found.extend(&found.values);
            all_wanted.extend(wanted.iter().map(|&v| f64::from(v)));
        }
        let names: HashSet<&str> = exported.outputs.iter().map(|o| o.name.as_str()).collect();
        assert_eq!(names, found.keys().map(String::as_str).collect(), "{what}");
    }
    for (name, [found, wanted]) in &all {
        let said = matches!(name.as_str(), "probabilities" | "predicted" | "risk" | "survival");
        let e = error(found, wanted);
        assert!(e < if said { SAID } else { TOLERANCE }, "{what}, {name}: error {e:.2e}");
    }
}

/// Bags of awkward sizes; of the last every second instance is the one before again.
fn bags(width: usize) -> Bags {
    let sizes = [1usize, 2, 3, 17, 65, 24];
    let mut random = bagrad::random::Random::new(3, 0);
    let total: usize = sizes.iter().sum();
    let mut rows: Vec<f32> = (0..total * width).map(|_| 0.5 + 1.5 * random.normal() as f32).collect();
    for row in ((total - 23)..total).step_by(2) {
        rows.copy_within((row - 1) * width..row * width, row * width);
    }
    let mut bags = Bags::packed(Features::F32(rows), width, &sizes).unwrap();
    bags.coords = Some((0..total).map(|_| [0, 0].map(|_| 200.0 * random.uniform() as f32)).collect());
    bags
}

fn model(method: Method, target: Target, classes: usize, width: usize) -> bagrad::Result<Model> {
    let mut spec = Spec { target, ..Spec::new(method, width, classes) };
    if !spec.target.has_classes() {
        spec.classes.clear();
    }
    let mut model = Model::new(spec, 7)?;
    // Running statistics and what is made of another model are not as they start.
    let untrained: Vec<_> = model.parameters().iter().filter(|p| !p.trained).cloned().collect();
    for (n, info) in untrained.iter().enumerate() {
        let mut random = bagrad::random::Random::new(11, n as u64);
        let values: Vec<f32> = (0..info.len()).map(|_| 0.6 + 0.3 * random.uniform() as f32).collect();
        model.set_parameter(&info.name, &values)?;
    }
    Ok(model)
}

fn targets() -> Vec<(&'static str, Target, usize)> {
    let number = Number { loss: NumberLoss::Squared, center: 3.5, scale: 2.0 };
    vec![
        ("two classes", Target::Classes, 2),
        ("three classes", Target::Classes, 3),
        ("label sets", Target::LabelSets, 3),
        ("an order", Target::Ordered, 4),
        ("a number", Target::Number(number), 0),
        ("hazards", Target::Hazards(Hazards { edges: vec![1.5, 2.0, 7.25], alpha: 0.0 }), 0),
        ("a log-risk", Target::Cox(Cox::default()), 0),
    ]
}

#[test]
fn every_method_gives_what_the_engine_gives() {
    let (width, mut checked) = (9, 0);
    let bags = bags(width);
    for method in Method::all() {
        let method = common::small::small(method.name());
        for (target_name, target, classes) in targets() {
            if !method.learns(&target, classes) {
                continue;
            }
            let mut model = model(method.clone(), target, classes, width).unwrap();
            if classes == 3 {
                model.standardisation = Some(Standardiser::fit(&bags, &[3, 4]).unwrap());
            }
            agrees(&format!("{} of {target_name}", method.name()), &model, &bags);
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} models");
}

/// The fixtures have every setting that changes a network, and weights that are far from those at the start.
#[test]
fn every_fixture_gives_what_the_engine_gives() {
    let mut checked = 0;
    for fixture in fixtures().iter().filter(|f: &&Fixture| f.metadata["kind"] == "forward") {
        let bags = fixture.bags();
        let short: Vec<usize> = (0..bags.len()).filter(|&bag| bags.rows(bag).len() <= 70).take(3).collect();
        if short.is_empty() || bags.width > 800 {
            continue;
        }
        agrees(&fixture.name, &fixture.model(bags.width), &bags.select(&short).unwrap());
        checked += 1;
    }
    assert!(checked > 150, "only {checked} fixtures");
}

/// All methods as they are by default, at the width of an encoder: names follow the parameters, and the file is what
/// runtimes expect.
#[test]
fn every_method_exports_as_it_is_by_default() {
    for method in Method::all() {
        let width = if method.settings().contains_key("codec") { 784 } else { 512 };
        let model = model(method.clone(), Target::Classes, 2, width).unwrap();
        let exported = onnx::export(&model).unwrap_or_else(|e| panic!("{e}"));
        let file = ModelProto::decode(&exported.bytes[..]).unwrap();
        assert_eq!((file.ir_version, file.opset_import[0].version), (Some(8), Some(17)));
        let graph = file.graph.unwrap();
        let parameters: HashSet<&str> = model.parameters().iter().map(|p| p.name.as_str()).collect();
        let mut names = HashSet::new();
        for tensor in &graph.initializer {
            let name = tensor.name.as_deref().unwrap();
            assert!(parameters.contains(name) || name.starts_with("constant/"), "{}: {name}", method.name());
            let count: i64 = tensor.dims.iter().product();
            let size = if tensor.data_type == Some(1) { 4 } else { 8 };
            assert_eq!(tensor.raw_data.as_ref().unwrap().len() as i64, count * size, "{name}");
            if let Ok(values) = model.parameter(name) {
                assert_eq!(bytemuck::cast_slice::<f32, u8>(values), &tensor.raw_data.as_ref().unwrap()[..], "{name}");
            }
            assert!(names.insert(name.to_owned()), "{name} twice");
        }
        names.extend(graph.input.iter().filter_map(|i| i.name.clone()));
        for node in &graph.node {
            node.input.iter().for_each(|i| assert!(names.contains(i), "{}: {i} before it is made", method.name()));
            node.output.iter().for_each(|o| assert!(names.insert(o.clone()), "{}: {o} twice", method.name()));
        }
        let value = |key: &str| {
            let found = file.metadata_props.iter().find(|entry| entry.key.as_deref() == Some(key));
            found.and_then(|entry| entry.value.clone()).unwrap_or_else(|| panic!("no {key}"))
        };
        assert_eq!((value("method"), value("width")), (method.name().into(), width.to_string()));
        assert_eq!(serde_json::from_str::<Vec<String>>(&value("classes")).unwrap(), ["0", "1"]);
    }
}

/// An operation from outside of this crate has no translation: the refusal names it.
#[test]
fn what_has_no_form_is_refused_with_a_reason() {
    use bagrad::methods::MilMethod;
    use bagrad::methods::layers::{Columns, Network, Pool};
    use bagrad::ops::sort::SegmentShuffle;
    use serde::{Deserialize, Serialize};
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    struct Shuffled {}
    impl MilMethod for Shuffled {
        const NAME: &'static str = "shuffled";
        fn record(&self, net: &mut Network) -> bagrad::Result<()> {
            let order = net.tape.push1(SegmentShuffle { site: 0 }, &net.tables())?;
            let rows = net.tape.push1(bagrad::ops::rows::GatherRows, &[net.features, order])?;
            let outputs = net.outputs();
            let scores = net.linear("head", rows, outputs, Default::default())?;
            let logits = net.pool(scores, Pool::Mean)?;
            let link = net.one_of_all();
            let loss = net.bag_loss(logits, link, 0.0)?;
            net.finish((logits, link), (scores, Columns::Classes), loss)
        }
    }
    let model = model(Shuffled {}.into(), Target::Classes, 2, 5).unwrap();
    let refusal = onnx::export(&model).unwrap_err().to_string();
    assert!(refusal.contains("\"segment shuffle\" draws an order at random"), "{refusal}");
    assert!(refusal.contains("shuffled has no form in ONNX"), "{refusal}");
}
