//! Weights of other people's programs: what tools/make_fixtures_foreign.py saved with their keys is recognised, says what
//! PyTorch says, and goes back into the same keys; what is not whole is refused in words.

#[path = "../common/mod.rs"]
mod common;
mod export;
mod refusals;

use bagrad::device::Device;
use bagrad::foreign::{Asked, Imported, import};
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::{Bags, Features, Model, Target};
use common::error;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/fixtures").join(name)
}

/// The tensors of a safetensors file.
fn tensors(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f64>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &TensorView| -> Vec<f64> {
        let data = view.data();
        match view.dtype() {
            Dtype::F64 => data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
            Dtype::F16 => data.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).into()).collect(),
            Dtype::I64 => data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
            other => panic!("{other:?}"),
        }
    };
    file.tensors().into_iter().map(|(name, view)| (name, (view.shape().to_vec(), values(&view)))).collect()
}

/// A safetensors file of these tensors.
fn save(path: &Path, all: &BTreeMap<String, (Vec<usize>, Vec<f32>)>) {
    let views = all.iter().map(|(name, (shape, values))| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values)).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// What a test asks for.
struct Case {
    name: &'static str,
    /// The name and settings of the method that it has to become.
    method: &'static str,
    settings: Value,
    asked: Asked,
    /// Each bag's logit for two classes is the second less the first.
    one_logit: bool,
}

fn case(name: &'static str, method: &'static str, settings: Value) -> Case {
    Case { name, method, settings, asked: Asked::default(), one_logit: false }
}

fn named(names: &[&str]) -> Asked {
    Asked { classes: Some(names.iter().map(|name| (*name).to_owned()).collect()), ..Asked::default() }
}

fn cases() -> Vec<Case> {
    let one = |case: Case| Case { one_logit: true, ..case };
    let clam =
        json!({ "embed": [6], "attention": 5, "dropout": 0.25, "gated": true, "cluster": true, "inst_loss": "ce" });
    let with = |changed: Value| {
        let mut all = clam.clone();
        all.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        all
    };
    let shift = |case: Case| {
        let settings = Map::from_iter([("legacy_shift".to_owned(), json!(false))]);
        Case { asked: Asked { settings, ..case.asked.clone() }, ..case }
    };
    let set = |settings: Value| Asked { settings: settings.as_object().unwrap().clone(), ..Asked::default() };
    let clam_of = |embed: &[u32], more: Value| {
        let mut all = with(json!({ "embed": embed }));
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let l_value = json!({ "variant": "l", "value_layer": true });
    vec![
        case("clam-sb.pt", "clam-sb", clam.clone()),
        case("clam-sb-no-dropout.pt", "clam-sb", with(json!({ "dropout": 0.0 }))),
        case("clam-sb-plain.safetensors", "clam-sb", with(json!({ "gated": false }))),
        case("clam-sb-plain-no-dropout.safetensors", "clam-sb", with(json!({ "gated": false, "dropout": 0.0 }))),
        case("clam-mb.safetensors", "clam-mb", clam.clone()),
        case("clam-mb-old.pt", "clam-mb", with(json!({ "inst_loss": "svm" }))),
        case("clam-mb-plain.safetensors", "clam-mb", with(json!({ "gated": false }))),
        case("dsmil-h.pt", "dsmil", json!({ "variant": "h", "query": 5, "value_layer": false, "negative": false })),
        case("dsmil-h-value.pt", "dsmil", json!({ "variant": "h", "value_layer": true })),
        case("dsmil-h-multi.safetensors", "dsmil", json!({ "variant": "h", "negative": false })),
        Case {
            asked: named(&["none", "a", "b", "c"]),
            ..case("dsmil-h-multi.safetensors", "dsmil", json!({ "variant": "h", "negative": true }))
        },
        Case {
            asked: Asked { multi_label: true, ..named(&["a", "b", "c"]) },
            ..case("dsmil-h-multi.safetensors", "dsmil", json!({ "variant": "h", "negative": false }))
        },
        case("dsmil-p.safetensors", "dsmil", json!({ "variant": "p" })),
        case("dsmil-l.safetensors", "dsmil", json!({ "variant": "l", "value_layer": false })),
        // The keys are those of variant p, so a caller has to say it.
        Case {
            asked: Asked { settings: l_value.as_object().unwrap().clone(), ..Asked::default() },
            ..case("dsmil-l-value.safetensors", "dsmil", l_value.clone())
        },
        one(shift(case("transmil.pt", "transmil", json!({ "width": 8, "heads": 2, "landmarks": 4, "residual": 5 })))),
        shift(case(
            "transmil-multi.safetensors",
            "transmil",
            json!({ "width": 12, "heads": 4, "landmarks": 6, "residual": 33 }),
        )),
        one(case("mil-lab.safetensors", "gated-attention", json!({ "embed": [6], "attention": 5, "heads": 1 }))),
        case("mil-lab-deep.pt", "gated-attention", json!({ "embed": [6, 6, 6], "attention": 5, "heads": 2 })),
        case("mil-lab-plain.pt", "attention", json!({ "embed": [6, 6], "attention": 5, "heads": 1 })),
        case("dsmil-lin.safetensors", "dsmil", json!({ "variant": "lin", "query": 5, "answer": "bag" })),
        case("mil-lab-clam.safetensors", "clam-sb", clam_of(&[6, 6], json!({}))),
        case("mil-lab-clam-plain.pt", "clam-sb", clam_of(&[6], json!({ "gated": false, "inst_loss": "svm" }))),
        shift(case(
            "mil-lab-transmil.pt",
            "transmil",
            json!({ "width": 8, "heads": 2, "landmarks": 4, "residual": 5 }),
        )),
        one(case("clam-mil.safetensors", "mi-net", json!({ "embed": [6], "pool": "max", "dropout": 0.0 }))),
        one(case("clam-mil-old.pt", "mi-net", json!({ "embed": [6], "pool": "max", "dropout": 0.25 }))),
        Case {
            asked: Asked { edges: Some(vec![10.0, 20.0, 32.5]), ..Asked::default() },
            ..case("porpoise.safetensors", "gated-attention", json!({ "embed": [6], "attention": 5, "heads": 1 }))
        },
        one(case("dtfd.pt", "dtfd", json!({ "reduce": 6, "attention": 5, "pseudo_bags": 4, "distil": "afs" }))),
        Case {
            asked: set(json!({ "pseudo_bags": 2 })),
            ..case("dtfd-multi.safetensors", "dtfd", json!({ "reduce": 6, "pseudo_bags": 2 }))
        },
        Case {
            asked: set(json!({ "heads": 2 })),
            ..case(
                "torchmil.safetensors",
                "transformer",
                json!({ "width": 8, "layers": 1, "heads": 2, "mlp": true, "gated": false, "add_self": true }),
            )
        },
        Case {
            asked: set(json!({ "heads": 4, "add_self": false })),
            ..case(
                "torchmil-deep.pt",
                "transformer",
                json!({ "width": 8, "layers": 2, "heads": 4, "mlp": false, "gated": true, "add_self": false }),
            )
        },
    ]
}

/// The bags of a fixture.
fn bags_of(found: &BTreeMap<String, (Vec<usize>, Vec<f64>)>) -> Bags {
    let (shape, x) = &found["x"];
    let sizes: Vec<usize> = found["offsets"].1.windows(2).map(|w| (w[1] - w[0]) as usize).collect();
    Bags::packed(Features::F32(x.iter().map(|&v| v as f32).collect()), shape[1], &sizes).unwrap()
}

/// Logits and attention of the model against those of PyTorch, on the oracle in f64 and on the host in f32.
fn compare(name: &str, model: &Model, out: &str, one_logit: bool) {
    let wanted = tensors(&fixture(out));
    let bags = bags_of(&wanted);
    let logits: Vec<f64> = match one_logit {
        true => wanted["logits"].1.chunks_exact(2).map(|z| z[1] - z[0]).collect(),
        false => wanted["logits"].1.clone(),
    };
    let all: Vec<usize> = (0..bags.len()).collect();
    for (device, tolerance) in [(Device::oracle(), 2e-6), (Device::host(), 3e-5)] {
        let mut session = Session::new(&device, model.clone(), Storage::F32).unwrap();
        let found = session.outputs(&bags, &all, None).unwrap();
        let wide = |name: &str| found[name].iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let off = error(&wide("bag_logits"), &logits);
        assert!(off < tolerance, "{name}: logits {off:.2e} on {}", device.name());
        if let Some((_, attention)) = wanted.get("attention") {
            let off = error(&wide("attention"), attention);
            assert!(off < tolerance, "{name}: attention {off:.2e} on {}", device.name());
        }
    }
}

fn imported(name: &str, asked: &Asked) -> Imported {
    import(fixture(name), asked).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn state_dicts_are_recognised_and_say_what_pytorch_says() {
    for case in cases() {
        let found = imported(case.name, &case.asked);
        let (spec, name) = (found.model.spec(), case.name);
        assert_eq!(spec.method.name(), case.method, "{name}");
        let settings = spec.method.settings();
        for (setting, value) in case.settings.as_object().unwrap() {
            assert_eq!(&settings[setting], value, "{name}: {setting}");
        }
        let stem = name.rsplit_once('.').unwrap().0;
        compare(name, &found.model, &format!("{stem}.out.safetensors"), case.one_logit);
        // Every tensor is used or told of, and every parameter comes from one.
        let parameters = found.read.iter().flat_map(|read| &read.parameters).count();
        assert_eq!(parameters, found.model.parameters().len(), "{name}");
        // What is kept in the file is what was told.
        let again = Model::from_bytes(&found.model.to_bytes()).unwrap();
        assert!(again.remarks[0].starts_with(&format!("imported from {name}, weights of ")), "{name}");
        assert_eq!(again.remarks[1..], found.assumed[..], "{name}");
        assert_eq!(again.spec(), found.model.spec());
    }
}

/// The weights of tools/make_fixtures_foreign.py that are made of a formula.
fn by_formula(shapes: &[(&str, &[usize])]) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let mut sorted = shapes.to_vec();
    sorted.sort_unstable();
    let tensor = |(number, (name, shape)): (usize, &(&str, &[usize]))| {
        let count: usize = shape.iter().product();
        let of_a_row = if shape.len() > 1 { count / shape[0] } else { 1 };
        let scale = 2.0 / (of_a_row.max(4) as f64).sqrt();
        let value = |index: usize| ((index + 1000 * (number + 1)) * 40503 % 65536) as f64 / 65536.0 - 0.5;
        let values = (0..count).map(|index| (value(index) * scale) as f32).collect();
        ((*name).to_owned(), (shape.to_vec(), values))
    };
    sorted.iter().enumerate().map(tensor).collect()
}

const LENET: [(&str, &[usize]); 8] = [
    ("feature_extractor_part1.0.weight", &[20, 1, 5, 5]),
    ("feature_extractor_part1.0.bias", &[20]),
    ("feature_extractor_part1.3.weight", &[50, 20, 5, 5]),
    ("feature_extractor_part1.3.bias", &[50]),
    ("feature_extractor_part2.0.weight", &[500, 50]),
    ("feature_extractor_part2.0.bias", &[500]),
    ("classifier.0.weight", &[1, 500]),
    ("classifier.0.bias", &[1]),
];
const PLAIN: [(&str, &[usize]); 4] = [
    ("attention.0.weight", &[6, 500]),
    ("attention.0.bias", &[6]),
    ("attention.2.weight", &[1, 6]),
    ("attention.2.bias", &[1]),
];
const GATED: [(&str, &[usize]); 6] = [
    ("attention_V.0.weight", &[6, 500]),
    ("attention_V.0.bias", &[6]),
    ("attention_U.0.weight", &[6, 500]),
    ("attention_U.0.bias", &[6]),
    ("attention_w.weight", &[1, 6]),
    ("attention_w.bias", &[1]),
];

#[test]
fn attention_over_pictures_says_what_pytorch_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    for (name, attention, method) in [("ilse", &PLAIN[..], "attention"), ("ilse-gated", &GATED[..], "gated-attention")]
    {
        let mut weights = by_formula(&[&LENET[..], attention].concat());
        save(&path, &weights);
        let found = import(&path, &named(&["no nine", "nine"])).unwrap();
        let spec = found.model.spec();
        assert_eq!((spec.method.name(), spec.width, &spec.classes[1][..]), (method, 256, "nine"));
        assert_eq!(spec.method.settings()["image"], json!([16, 16, 1]));
        compare(name, &found.model, &format!("{name}.out.safetensors"), false);
        // As the last layer was called before 2020.
        if method == "gated-attention" {
            for part in ["weight", "bias"] {
                let tensor = weights.remove(&format!("attention_w.{part}")).unwrap();
                weights.insert(format!("attention_weights.{part}"), tensor);
            }
            save(&path, &weights);
            let older = import(&path, &named(&["no nine", "nine"])).unwrap();
            assert_eq!(
                older.model.parameter("attention.w.weight").unwrap(),
                found.model.parameter("attention.w.weight").unwrap()
            );
        }
    }
}

/// The authors' scripts report the stream of attention, the paper the mean of both.
#[test]
fn both_answers_of_dsmil_are_those_of_pytorch() {
    for (name, value_layer) in [("dsmil-h.pt", false), ("dsmil-p.safetensors", false), ("dsmil-h-value.pt", true)] {
        let settings = Map::from_iter([("answer".to_owned(), json!("both"))]);
        let found = imported(name, &Asked { settings, ..Asked::default() });
        assert_eq!(found.model.spec().method.settings()["value_layer"], json!(value_layer));
        let wanted = tensors(&fixture(&format!("{}.out.safetensors", name.split('.').next().unwrap())));
        let mut session = Session::new(&Device::oracle(), found.model, Storage::F32).unwrap();
        let logits = session.outputs(&bags_of(&wanted), &[0, 1, 2], None).unwrap().remove("bag_logits").unwrap();
        let off = error(&logits.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>(), &wanted["mean"].1);
        assert!(off < 2e-6, "{name}: {off:.2e}");
    }
}

/// Hazards of intervals of time, whose edges no weights have.
#[test]
fn outputs_of_survival_need_their_intervals() {
    let found = imported("porpoise.safetensors", &Asked { edges: Some(vec![1.0, 2.0, 4.0]), ..Asked::default() });
    let Target::Hazards(hazards) = &found.model.spec().target else { panic!("{:?}", found.model.spec()) };
    assert_eq!((&hazards.edges[..], found.model.spec().classes.len()), (&[1.0, 2.0, 4.0][..], 0));
    assert!(found.assumed[0].contains("the logit of the hazard of an interval"), "{:?}", found.assumed);
    let refused = |name: &str, asked: &Asked| import(fixture(name), asked).map(|f| f.origin).unwrap_err().to_string();
    let edges = |edges: &[f32]| Asked { edges: Some(edges.to_vec()), ..Asked::default() };
    let neither = refused("porpoise.safetensors", &Asked::default());
    assert!(neither.contains("classifier has 4 outputs") && neither.contains("--edges TIME,.."), "{neither}");
    let few = refused("porpoise.safetensors", &edges(&[1.0, 2.0]));
    assert!(few.contains("which meet at 3 times; found 2"), "{few}");
    let falling = refused("porpoise.safetensors", &edges(&[1.0, 3.0, 2.0]));
    assert!(falling.contains("rising"), "{falling}");
    let both = refused("porpoise.safetensors", &Asked { classes: named(&["a", "b"]).classes, ..edges(&[1.0]) });
    assert!(both.contains("not both"), "{both}");
    let clam = refused("clam-sb.pt", &edges(&[1.0]));
    assert!(clam.contains("edges: intervals of time are for outputs that are hazards"), "{clam}");
    // The same outputs as classes.
    let classes = imported("porpoise.safetensors", &named(&["a", "b", "c", "d"]));
    assert_eq!((&classes.model.spec().target, classes.model.spec().classes.len()), (&Target::Classes, 4));
}

#[test]
fn what_weights_do_not_tell_is_told() {
    let told = |name: &str, asked: &Asked| imported(name, asked).assumed.join("\n");
    let clam = told("clam-sb.pt", &Asked::default());
    for part in ["called by their numbers", "the second, 1, is taken for the positive one", "dropout", "k (8)"] {
        assert!(clam.contains(part), "{part}: {clam}");
    }
    let clam = told("clam-mb-old.pt", &named(&["normal", "tumour"]));
    assert!(clam.contains("the second, tumour, is taken") && clam.contains("inst_loss is svm"), "{clam}");
    assert!(!clam.contains("numbers"), "{clam}");
    let dtfd = imported("dtfd.pt", &Asked::default());
    assert!(dtfd.assumed.join("\n").contains("pseudo_bags (4), distil (afs)"), "{:?}", dtfd.assumed);
    assert!(
        dtfd.remarks[0].contains("several dicts, by whose names theirs begin: dim_reduction, "),
        "{:?}",
        dtfd.remarks
    );
    let heads = told("torchmil.safetensors", &Asked::default());
    assert!(heads.contains("heads (8) and add_self"), "{heads}");
    let unused = imported("clam-mb-old.pt", &Asked::default()).unused;
    assert_eq!(unused[0].0, "instance_loss_fn.labels");
    let p = told("dsmil-p.safetensors", &Asked::default());
    assert!(p.contains("--set variant=l --set value_layer=true"), "{p}");
    assert!(p.contains("two labels of which a bag has none, one or both"), "{p}");
    let message = import(fixture("transmil.pt"), &Asked::default()).map(|found| found.origin).unwrap_err().to_string();
    assert!(message.contains("--set legacy_shift=true says that they were trained with it"), "{message}");
    let shift = |shift: bool| Map::from_iter([("legacy_shift".to_owned(), json!(shift))]);
    let transmil = imported("transmil.pt", &Asked { settings: shift(false), ..Asked::default() });
    let read = transmil.remarks.join("\n");
    assert!(read.contains("the tensors are those under \"state_dict\"; not read: epoch, global_step"), "{read}");
    assert!(read.contains("objects (argparse.Namespace), of which nothing was read or executed"), "{read}");
    let how = transmil.read.iter().find(|read| read.key == "model._fc2.weight").unwrap().how.unwrap();
    assert!(how.contains("softmax over two outputs is sigmoid of their difference"), "{how}");
    let legacy = imported("transmil.pt", &Asked { settings: shift(true), ..Asked::default() });
    assert_eq!(legacy.model.spec().method.settings()["legacy_shift"], json!(true));
}
