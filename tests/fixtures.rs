//! Every method against an independent implementation: loss, outputs and every gradient, from files that
//! tools/make_fixtures.py and tools/make_fixtures_optimisers.py write with PyTorch.

mod common;
#[cfg(feature = "onnx")]
mod onnx;

use bagrad::device::Device;
use bagrad::groups::Group;
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::ops::loss::Soft;
use bagrad::ops::update::Optimiser;
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::{Bags, Features, LabelSets, Responses, Target};
use common::{check::largest, error};
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::PathBuf;

struct Fixture {
    name: String,
    metadata: HashMap<String, String>,
    tensors: HashMap<String, Vec<f64>>,
}

fn fixtures() -> Vec<Fixture> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "safetensors"));
    paths.sort();
    assert!(paths.len() >= 40, "only {} fixtures", paths.len());
    paths.iter().map(|p| read(p)).collect()
}

fn read(path: &std::path::Path) -> Fixture {
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().map(|(name, t)| {
        let data = t.data();
        let values = match t.dtype() {
            Dtype::F64 => data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
            Dtype::BF16 => data
                .chunks_exact(2)
                .map(|b| f32::from_bits((u16::from_le_bytes(b.try_into().unwrap()) as u32) << 16) as f64)
                .collect(),
            Dtype::I64 => data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
            other => panic!("{name}: {other:?}"),
        };
        (name, values)
    });
    Fixture {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        metadata: header.metadata().clone().unwrap(),
        tensors: tensors.collect(),
    }
}

impl Fixture {
    fn f32(&self, name: &str) -> Vec<f32> {
        self.tensors[name].iter().map(|&v| v as f32).collect()
    }

    fn bags(&self) -> Bags {
        let offsets = &self.tensors["offsets"];
        let sizes: Vec<usize> = offsets.windows(2).map(|w| (w[1] - w[0]) as usize).collect();
        let x = self.f32("x");
        let width = x.len() / sizes.iter().sum::<usize>();
        let labels = self.tensors["labels"].iter();
        let target = self.target();
        let mut bags = Bags::packed(Features::F32(x), width, &sizes).unwrap();
        bags.class_names = (0..self.classes()).map(|c| c.to_string()).collect();
        if let Some(numbers) = self.tensors.get("numbers") {
            bags.class_names.clear();
            bags.responses = Some(Responses::Numbers(numbers.iter().map(|&v| v as f32).collect()));
        } else if let Some(times) = self.tensors.get("times") {
            bags.class_names.clear();
            let events = self.tensors["events"].iter().map(|&e| e == 1.0).collect();
            bags.responses = Some(Responses::Survival { times: times.iter().map(|&t| t as f32).collect(), events });
        } else if target.is_label_sets() {
            let sets = labels.map(|&l| (l >= 0.0).then_some(l == 1.0)).collect();
            bags.label_sets = Some(LabelSets::new(self.classes(), sets).unwrap());
        } else {
            bags.labels = Some(labels.map(|&l| l as u32).collect());
        }
        let places = self.tensors.get("places");
        bags.coords = places.map(|p| p.chunks_exact(2).map(|xy| [xy[0] as f32, xy[1] as f32]).collect());
        bags.validate().unwrap();
        bags
    }

    /// The files count outputs; one output separates two classes, and of classes in an order the first has none.
    fn classes(&self) -> usize {
        let outputs = self.metadata["classes"].parse::<usize>().unwrap();
        if self.target() == Target::Ordered { outputs + 1 } else { outputs.max(2) }
    }

    /// What is learnt, as a model file says it.
    fn target(&self) -> Target {
        let Some(text) = self.metadata.get("target") else {
            return if self.multi_label() { Target::LabelSets } else { Target::Classes };
        };
        let mut target: serde_json::Value = serde_json::from_str(text).unwrap();
        let (name, of) = target.as_object_mut().unwrap().iter_mut().next().unwrap();
        let of = of.take();
        match name.as_str() {
            "classes" => Target::Classes,
            "ordered" => Target::Ordered,
            "number" => Target::Number(serde_json::from_value(of).unwrap()),
            "hazards" => Target::Hazards(serde_json::from_value(of).unwrap()),
            "cox" => Target::Cox(serde_json::from_value(of).unwrap()),
            other => panic!("{other}"),
        }
    }

    /// How the targets of classes are softened.
    fn soft(&self) -> Soft {
        let number = |text: &str| self.metadata.get(text).map_or(0.0, |number| number.parse().unwrap());
        Soft { smoothing: number("smoothing"), focusing: number("focusing") }
    }

    /// The epoch of all steps, which weights of terms of the loss follow.
    fn epoch(&self) -> Option<u32> {
        self.metadata.get("epoch").map(|epoch| epoch.parse().unwrap())
    }

    fn multi_label(&self) -> bool {
        self.metadata.contains_key("multi_label")
    }

    fn model(&self, width: usize) -> Model {
        let mut settings: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&self.metadata["settings"]).unwrap();
        let method = Method::named(&self.metadata["method"]).unwrap();
        if method.settings().contains_key("dropout") {
            settings.entry("dropout").or_insert(0.0.into());
        }
        if settings.get("pool").is_some_and(|p| p == "lse") {
            settings.insert("pool".into(), "log-mean-exp".into());
        }
        let method = method.with(&settings).unwrap();
        let spec = Spec { target: self.target(), ..Spec::new(method, width, self.classes()) };
        let classes = if spec.target.has_classes() { spec.classes } else { Vec::new() };
        let spec = Spec { classes, ..spec };
        self.parameters(Model::new(spec, 0).unwrap(), "param")
    }

    /// The model with the parameters that the file has under `kind`.
    fn parameters(&self, mut model: Model, kind: &str) -> Model {
        let names: Vec<String> = model.parameters().iter().map(|p| p.name.clone()).collect();
        for name in names {
            model.set_parameter(&name, &self.f32(&format!("{kind}/{name}"))).unwrap();
        }
        model
    }

    /// A session of the student, whose teacher starts as the file says.
    fn student(&self, device: &Device, bags: &Bags) -> Session {
        let model = self.model(bags.width);
        let (mut student, teacher) = (model.clone(), self.parameters(model, "teacher"));
        student.start_from(&teacher).unwrap();
        let student = self.parameters(student, "param");
        let mut session = Session::with_instance_gradients(device, student, Storage::F32, true).unwrap();
        session.set_seed(self.metadata["seed"].parse().unwrap());
        session
    }
}

/// Gradients that are zero in theory are rounding noise: compared with the size of the others.
fn or_zeros(wanted: &[f64]) -> Vec<f64> {
    if largest(wanted) < 1e-12 { vec![0.0; wanted.len()] } else { wanted.to_vec() }
}

fn compare(device: &Device, storage: Storage, tolerance: f64) {
    let (mut checked, mut of_labels, mut of_targets) = (0, 0, 0);
    for fixture in fixtures().iter().filter(|f| f.metadata["kind"] == "forward") {
        let bags = fixture.bags();
        let model = fixture.model(bags.width);
        let shapes: HashMap<String, Vec<usize>> =
            model.parameters().iter().map(|p| (p.name.clone(), p.shape.clone())).collect();
        let mut session = Session::softened(device, model, storage, true, fixture.soft()).unwrap();
        session.executor().poison().unwrap();
        session.set_epoch(fixture.epoch());
        let found = session.gradients(&bags, Some(&fixture.f32("weights"))).unwrap();
        let check = |what: &str, found: &[f64], wanted: &[f64]| {
            let e = error(found, &or_zeros(wanted));
            assert!(e < tolerance, "{} {what}: error {e:.2e} on {}", fixture.name, device.name());
        };
        check("loss", &[found.loss], &fixture.tensors["loss"]);
        check("bag logits", &found.outputs["bag_logits"].values, &fixture.tensors["logits"]);
        check("scores", &found.outputs["scores"].values, &fixture.tensors["scores"]);
        for name in
            ["attention", "reconstruction", "deviation", "selection", "evidence", "pseudo-bag-attention", "context"]
        {
            if let Some(wanted) = fixture.tensors.get(name) {
                check(name, &found.outputs[name].values, wanted);
            }
        }
        for (name, wanted) in &fixture.tensors {
            let Some((kind, param)) = name.split_once('/') else { continue };
            let gradient = || &found.parameters[param].values;
            let cols = || shapes[param][1];
            match kind {
                "grad" if param == "x" => check("grad x", &found.instances.as_ref().unwrap().values, wanted),
                "grad" => check(name, gradient(), wanted),
                "gradrow" => {
                    check(name, &gradient().chunks_exact(cols()).map(|r| r.iter().sum()).collect::<Vec<_>>(), wanted);
                }
                "gradcol" => {
                    let sum = |c: usize| gradient().iter().skip(c).step_by(cols()).sum();
                    check(name, &(0..cols()).map(sum).collect::<Vec<f64>>(), wanted);
                }
                _ => {}
            }
        }
        checked += 1;
        of_labels += usize::from(fixture.multi_label());
        of_targets += usize::from(fixture.metadata.contains_key("target"));
    }
    assert!(checked >= 40 && of_labels >= 2, "only {checked} fixtures, {of_labels} of several labels a bag");
    assert!(of_targets >= 12, "only {of_targets} fixtures of other targets");
}

#[test]
fn oracle_agrees_with_pytorch() {
    compare(&Device::oracle(), Storage::F32, 1e-6);
}

#[test]
fn host_agrees_with_pytorch() {
    compare(&Device::host(), Storage::F32, 3e-5);
}

#[test]
fn gpu_agrees_with_pytorch() {
    if let Some(gpu) = common::gpu() {
        common::as_other_gpus(&gpu).iter().for_each(|gpu| compare(gpu, Storage::F32, 5e-5));
    }
}

/// Runs the recorded training, bag by bag or by as many as the file says, and compares the losses on the way and the parameters at the end.
fn train(device: &Device, tolerance: f64) {
    let mut checked = 0;
    for fixture in fixtures().iter().filter(|f| f.metadata["kind"] == "train") {
        let bags = fixture.bags();
        let optimizer: serde_json::Value = serde_json::from_str(&fixture.metadata["optimizer"]).unwrap();
        let number = |name: &str| optimizer[name].as_f64().unwrap_or_else(|| panic!("{name} in {optimizer}"));
        let (optimiser, decay) = match fixture.name.rsplit('-').next().unwrap() {
            "adam" => (Optimiser::adam(number("weight_decay") as f32), 0.0),
            "adamw" => (Optimiser::adamw(number("weight_decay") as f32), 0.0),
            "radam" => (Optimiser::radam(number("weight_decay") as f32), 0.0),
            "lookahead" => {
                let rule = Optimiser::radam(number("weight_decay") as f32);
                (rule.with_lookahead(number("every") as u32, number("alpha") as f32), 0.0)
            }
            "keras" => (Optimiser::nesterov(number("momentum") as f32, number("l2") as f32), number("decay")),
            other => panic!("{other}"),
        };
        let model = fixture.model(bags.width);
        let mut session = Session::softened(device, model, Storage::F32, false, fixture.soft()).unwrap();
        let factors = optimizer.get("groups").and_then(|g| g.as_object()).into_iter().flatten();
        let groups = factors.map(|(name, f)| Group { rate: f.as_f64().unwrap() as f32, ..Group::of([name]) });
        let own = session.model().unwrap().spec().method.groups();
        session.set_groups(&groups.chain(own).collect::<Vec<_>>()).unwrap();
        session.set_epoch(fixture.epoch());
        let wanted = &fixture.tensors["losses"];
        session.executor().reserve_history(wanted.len()).unwrap();
        let count = fixture.metadata.get("bags").map_or(1, |bags| bags.parse().unwrap());
        let even = vec![1.0 / count as f32; count];
        for step in 0..wanted.len() {
            let rate = number("lr") / (1.0 + decay * step as f64);
            let batch: Vec<usize> = (0..count).map(|k| (step * count + k) % bags.len()).collect();
            session.train_step(&bags, &batch, &even, None, (&optimiser, rate), Some(step as u32)).unwrap();
        }
        let losses: Vec<f64> = session.executor().history(wanted.len()).unwrap().iter().map(|&l| l as f64).collect();
        let e = error(&losses, wanted);
        assert!(e < tolerance, "{}: losses {e:.2e}", fixture.name);
        let model = session.model().unwrap();
        for p in model.parameters() {
            // Its gradient is zero in theory (softmax ignores a shift), so Adam moves it by rounding noise.
            // So does the softmax over contexts, and the likelihood of Cox a shift of the log-risks.
            let cox = matches!(model.spec().target, Target::Cox(_)) && p.name == "head.bias";
            if p.name.ends_with("attention.w.bias") || p.name.ends_with("context.key.bias") || cox {
                assert!(model.parameter(&p.name).unwrap().iter().all(|v| v.is_finite()), "{}", fixture.name);
                continue;
            }
            let found: Vec<f64> = model.parameter(&p.name).unwrap().iter().map(|&v| v as f64).collect();
            let e = error(&found, &fixture.tensors[&format!("final/{}", p.name)]);
            assert!(e < tolerance, "{} {}: {e:.2e}", fixture.name, p.name);
        }
        checked += 1;
    }
    assert!(checked >= 6, "only {checked} fixtures");
}

#[test]
fn host_trains_as_pytorch_does() {
    train(&Device::host(), 1e-4);
    train(&Device::oracle(), 1e-5);
}

#[test]
fn gpu_trains_as_pytorch_does() {
    if let Some(gpu) = common::gpu() {
        common::as_other_gpus(&gpu).iter().for_each(|gpu| train(gpu, 1e-4));
    }
}

/// Students of teachers: what is masked, and loss, outputs and every gradient of what is left.
fn compare_masked(device: &Device, tolerance: f64) {
    let mut checked = 0;
    for fixture in fixtures().iter().filter(|f| f.metadata["kind"] == "masked") {
        let bags = fixture.bags();
        let mut session = fixture.student(device, &bags);
        session.executor().poison().unwrap();
        let (found, kept) = session.masked_gradients(&bags, Some(&fixture.f32("weights"))).unwrap();
        let mut flags = vec![0.0; bags.instances()];
        for (bag, rows) in kept.unwrap().iter().enumerate() {
            rows.iter().for_each(|row| flags[bags.offsets[bag] + row] = 1.0);
        }
        assert_eq!(flags, fixture.tensors["kept"], "{}: rows kept on {}", fixture.name, device.name());
        let check = |what: &str, found: &[f64], wanted: &[f64]| {
            let e = error(found, &or_zeros(wanted));
            assert!(e < tolerance, "{} {what}: error {e:.2e} on {}", fixture.name, device.name());
        };
        check("loss", &[found.loss], &fixture.tensors["loss"]);
        check("bag logits", &found.outputs["bag_logits"].values, &fixture.tensors["logits"]);
        check("scores", &found.outputs["scores"].values, &fixture.tensors["scores"]);
        check("grad x", &found.instances.as_ref().unwrap().values, &fixture.tensors["grad/x"]);
        for (name, gradient) in &found.parameters {
            check(name, &gradient.values, &fixture.tensors[&format!("grad/{name}")]);
        }
        checked += 1;
    }
    assert!(checked >= 8, "only {checked} fixtures");
}

/// A hundred steps of student and teacher.
fn train_masked(device: &Device, tolerance: f64) {
    let mut checked = 0;
    for fixture in fixtures().iter().filter(|f| f.metadata["kind"] == "masked-train") {
        let bags = fixture.bags();
        let optimizer: serde_json::Value = serde_json::from_str(&fixture.metadata["optimizer"]).unwrap();
        let number = |name: &str| optimizer[name].as_f64().unwrap_or_else(|| panic!("{name} in {optimizer}"));
        let optimiser = Optimiser::adam(number("weight_decay") as f32);
        let mut session = fixture.student(device, &bags);
        let wanted = &fixture.tensors["losses"];
        session.set_planned(Some(wanted.len() as u64));
        session.executor().reserve_history(wanted.len()).unwrap();
        for step in 0..wanted.len() {
            let rule = (&optimiser, number("lr"));
            session.train_step(&bags, &[step % bags.len()], &[1.0], None, rule, Some(step as u32)).unwrap();
        }
        let losses: Vec<f64> = session.executor().history(wanted.len()).unwrap().iter().map(|&l| l as f64).collect();
        let e = error(&losses, wanted);
        assert!(e < tolerance, "{}: losses {e:.2e} on {}", fixture.name, device.name());
        let (teacher, student) = (session.follower().unwrap().unwrap(), session.into_model().unwrap());
        for (kind, model) in [("final", student), ("followed", teacher)] {
            // Adam moves by rounding noise what has no gradient in theory.
            for p in model.parameters().iter().filter(|p| !p.name.ends_with("attention.w.bias")) {
                let found: Vec<f64> = model.parameter(&p.name).unwrap().iter().map(|&v| v as f64).collect();
                let e = error(&found, &fixture.tensors[&format!("{kind}/{}", p.name)]);
                assert!(e < tolerance, "{} {kind} {}: {e:.2e} on {}", fixture.name, p.name, device.name());
            }
        }
        checked += 1;
    }
    assert!(checked >= 3, "only {checked} fixtures");
}

#[test]
fn students_and_teachers_agree_with_pytorch() {
    compare_masked(&Device::oracle(), 1e-6);
    compare_masked(&Device::host(), 3e-5);
    train_masked(&Device::oracle(), 1e-5);
    train_masked(&Device::host(), 1e-4);
}

#[test]
fn students_and_teachers_agree_with_pytorch_on_the_gpu() {
    if let Some(gpu) = common::gpu() {
        common::as_other_gpus(&gpu).iter().for_each(|gpu| compare_masked(gpu, 5e-5));
        train_masked(&gpu, 1e-4);
    }
}
