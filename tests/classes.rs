//! What is planned for each class of device and each size of it, run with numbers on whatever driver there is: tiles,
//! long inner sums in parts, their way out, and a step of every method at the widths of encoders. Decisions are
//! enumerated over all classes; what two of them decide alike runs once.

mod common;

use bagrad::device::Device;
use bagrad::kernels::launch::Extent;
use bagrad::methods::Method;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::Activation;
use bagrad::plan::{self, Program, Purpose};
use bagrad::precision::LossScale;
use bagrad::tape::{Storage, Tape};
use common::check::{compare, compare_beside, param};
use common::error;
use common::harness::{self, Numbers};
use std::collections::BTreeSet;

/// A product of features, and what happens to it.
struct Product {
    /// Sizes of the bags.
    rows: &'static [usize],
    width: u32,
    outputs: u32,
    activation: Activation,
    bias: bool,
    storage: Storage,
    mixed: bool,
    /// Over the same parameters once more, so that all gradients are added to.
    twice: bool,
}

impl Product {
    const fn new(rows: &'static [usize], width: u32, outputs: u32, activation: Activation) -> Self {
        let (bias, storage, mixed, twice) = (true, Storage::F32, false, false);
        Self { rows, width, outputs, activation, bias, storage, mixed, twice }
    }

    const fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    const fn half(self) -> Self {
        Self { storage: Storage::F16, ..self }
    }

    const fn mixed(self) -> Self {
        Self { mixed: true, ..self }
    }

    const fn twice(self) -> Self {
        Self { twice: true, ..self }
    }

    fn name(&self) -> String {
        let Self { rows, width, outputs, activation, bias, storage, mixed, twice } = self;
        let rows: usize = rows.iter().sum();
        format!("{rows} x {width} x {outputs} {activation:?} bias {bias} {storage:?} mixed {mixed} twice {twice}")
    }

    fn tape(&self) -> Tape {
        let mut tape = Tape::new();
        tape.mixed = self.mixed.then(LossScale::default);
        let x = tape.features(self.width as usize, self.storage, self.storage == Storage::F32);
        let mut inputs = vec![x, param(&mut tape, self.outputs, self.width)];
        inputs.extend(self.bias.then(|| param(&mut tape, 1, self.outputs)));
        for name in ["y", "z"].iter().take(1 + self.twice as usize) {
            let y = tape.push1(Linear { activation: self.activation }, &inputs).unwrap();
            tape.output(name, y);
        }
        tape
    }
}

/// Widths of encoders and odd ones; one bag of one instance and thousands; 1, 2, 3, 30 and many outputs. The gradient
/// of the features has the outputs as its inner sum, that of the weights the instances.
fn products() -> Vec<Product> {
    use Activation::{LeakyRelu, None, Relu, Sigmoid, Softplus, Tanh};
    let new = Product::new;
    vec![
        new(&[1], 1024, 1, Sigmoid),
        new(&[1], 1024, 512, Relu).twice(),
        new(&[3, 1], 1536, 2, Tanh).twice(),
        new(&[2], 1100, 30, None),
        new(&[130], 1027, 3, Softplus),
        new(&[5], 4608, 30, Relu).half(),
        new(&[7, 2], 2560, 33, LeakyRelu(0.2)).without_bias(),
        new(&[64, 3], 4609, 65, Tanh).half().mixed(),
        new(&[65], 1536, 130, Sigmoid).mixed().twice(),
        new(&[9], 30, 1536, Relu).twice(),
        new(&[9], 31, 1027, None).mixed(),
        new(&[300, 41], 768, 128, Relu),
        new(&[300], 1025, 384, Tanh).half(),
        new(&[1500], 384, 2, None).twice(),
        new(&[3001, 1], 33, 30, Relu).half().twice(),
        new(&[2600], 12, 3, Tanh).mixed(),
        new(&[100_000], 3, 1, Relu).without_bias(),
    ]
}

/// How an inner sum leaves: whole or in parts, and with what.
fn ways(program: &Program) -> BTreeSet<String> {
    let resolved =
        program.launches.iter().map(|l| (l.kernel.name, l.resolve(&program.capacity, &Default::default(), 0)));
    let seen = resolved.filter_map(|(name, words)| match name {
        "add_parts" => {
            let has = |bit: u32, what: &'static str| (words[3] & bit != 0).then_some(what);
            let act = (words[4] != 0).then_some("activation");
            let way: Vec<&str> = [has(2, "bias"), act, has(1, "accumulate")].into_iter().flatten().collect();
            Some(format!("parts: {}", way.join(" ")))
        }
        "matmul" | "matmul_coop" => Some("whole".to_string()),
        _ => None,
    });
    seen.collect()
}

/// Products of every form on every class, forward and backward, against the oracle.
#[test]
fn products_of_every_class_agree_with_the_oracle() {
    let Some(device) = common::gpu() else { return };
    let Device::Gpu(gpu) = &device else { unreachable!() };
    let (mut seen, mut runs) = (BTreeSet::new(), 0);
    for product in products() {
        if common::is_thin() && product.rows.iter().sum::<usize>() > 400 {
            continue;
        }
        let tape = product.tape();
        let numbers = Numbers::random(&tape, product.rows, product.width as usize, 2, 17);
        let wanted = harness::run(&Device::oracle(), &tape, Purpose::Upstream, &numbers, false);
        let extent = Extent::of(product.rows.iter().map(|&n| n as u32));
        let own = device.target_for(product.mixed);
        seen.extend(ways(&plan::plan(&tape, Purpose::Upstream, own, extent).unwrap()));
        for (plan_as, target) in harness::other_plans(
            gpu,
            &tape,
            Purpose::Upstream,
            product.rows,
            &[2, 16, 60, 132, 200],
            harness::every_launch,
        ) {
            seen.extend(ways(&plan::plan(&tape, Purpose::Upstream, target, extent).unwrap()));
            runs += 1;
            let found = harness::run_on(&device, target, &tape, Purpose::Upstream, &numbers, runs % 2 == 0).unwrap();
            // A gradient that lies between two values of f16 may be rounded to either.
            let tolerance = if product.mixed { 2e-4 } else { 1e-5 };
            compare(&format!("{} as {plan_as} on {device:?}", product.name()), &found, &wanted, tolerance);
        }
    }
    for way in ["parts: ", "parts: bias", "parts: activation", "parts: bias activation", "parts: accumulate", "whole"] {
        assert!(seen.contains(way), "no product of this test leaves by {way:?}, only {seen:?}");
    }
    eprintln!("{runs} programs on {device:?}");
}

/// Inner sums of some thousand terms with the device's own tiles, in shaders as a release compiles them.
#[test]
fn long_sums_of_the_device_itself_agree_with_the_oracle() {
    let Some(device) = common::gpu_as_released() else { return };
    for product in [
        Product::new(&[9], 2560, 33, Activation::None),
        Product::new(&[33], 4608, 30, Activation::Tanh),
        Product::new(&[33], 40_001, 3, Activation::None).without_bias(),
    ] {
        let tape = product.tape();
        let numbers = Numbers::random(&tape, product.rows, product.width as usize, 2, 23);
        let wanted = harness::run(&Device::oracle(), &tape, Purpose::Predict, &numbers, false);
        let found = harness::run(&device, &tape, Purpose::Predict, &numbers, false);
        let e = error(&found.outputs[0].1, &wanted.outputs[0].1);
        assert!(e < 1e-5, "{} on {device:?}: error {e:.2e}", product.name());
    }
}

/// A driver that would end loops early without a word gets an error in its place.
#[test]
fn sums_longer_than_a_driver_goes_through_are_refused() {
    let Some(device) = common::gpu_as_released() else { return };
    let product = Product::new(&[33], 70_000, 3, Activation::None);
    let tape = product.tape();
    let numbers = Numbers::random(&tape, product.rows, 70_000, 2, 23);
    let found = harness::run_on(&device, device.target(), &tape, Purpose::Predict, &numbers, false);
    match found {
        Ok(found) => {
            assert!(!device.name().contains("llvmpipe"), "llvmpipe goes through 65,535 rounds");
            let wanted = harness::run(&Device::oracle(), &tape, Purpose::Predict, &numbers, false);
            assert!(error(&found.outputs[0].1, &wanted.outputs[0].1) < 1e-5);
        }
        Err(e) => assert!(e.to_string().contains("kernel matmul") && e.to_string().contains("--device host"), "{e}"),
    }
}

/// Bags and the width of their features: what encoders write and an odd one, bags of one instance and of many.
const STEPS: [(u32, &[usize], usize); 8] = [
    (384, &[1], 2),
    (512, &[60, 3], 3),
    (768, &[130, 1], 2),
    (1024, &[5, 40], 30),
    (1536, &[64], 2),
    (2560, &[9, 2], 3),
    (4608, &[33], 2),
    (1027, &[50, 7], 2),
];

/// A method with its defaults, but for landmarks, passes and the width of graphs and transformers: all of them take a driver on the CPU a minute.
fn method_to_run(method: &Method) -> Method {
    if method.name() == "certainty-pooling" {
        return method.with(serde_json::json!({ "passes": 4 }).as_object().unwrap()).unwrap();
    }
    if let Some(width) =
        [("gnn-mil", "hidden"), ("transformer", "width")].iter().find(|(name, _)| *name == method.name())
    {
        return method.with(serde_json::json!({ width.1: 128 }).as_object().unwrap()).unwrap();
    }
    if !method.name().contains("transmil") {
        return method.clone();
    }
    let few = serde_json::json!({ "landmarks": 16, "iterations": 2, "width": 128 });
    method.with(few.as_object().unwrap()).unwrap()
}

/// Loss, outputs and gradients of every method without a teacher (fixtures hold those) at the widths of encoders, as every class plans them.
#[test]
fn a_step_of_every_method_agrees_with_the_oracle_on_every_class() {
    let Some(device) = common::gpu() else { return };
    let Device::Gpu(gpu) = &device else { unreachable!() };
    let purpose = Purpose::Gradients { dropout: false };
    let (mut runs, mut methods, mut widths) = (0, BTreeSet::new(), BTreeSet::new());
    let all: Vec<Method> = Method::all().iter().filter(|m| !m.name().starts_with("mhim")).map(method_to_run).collect();
    for (m, method) in all.iter().enumerate() {
        for (s, (width, sizes, classes)) in STEPS.into_iter().enumerate() {
            // Each method at every third width, each width with every third method; and a draw of the residual form whose
            // loss is small, 5e-3, so that the rounding of probabilities near 1 shows in it.
            let small = method.name() == "mi-net-rc" && width == 1027;
            if (m + s) % 3 != 0 && !small || (common::is_thin() && sizes[0] > 100) {
                continue;
            }
            let storage = if s % 2 == 0 { Storage::F32 } else { Storage::F16 };
            let classes = if method.name() == "mirel" { 2 } else { classes };
            let tape = method.record(width as usize, classes, storage, storage == Storage::F32).unwrap();
            // What takes a GPU a millisecond takes a driver on the CPU a minute.
            if tape.param_layout().total > 3 << 20 {
                continue;
            }
            methods.insert(m);
            widths.insert(s);
            let numbers =
                Numbers::random(&tape, sizes, width as usize, classes as u32, if small { 39 } else { 31 + s as u64 });
            let wanted = harness::run(&Device::oracle(), &tape, purpose, &numbers, false);
            // What rounding does to this step, by the host in f32.
            let host = harness::run(&Device::host(), &tape, purpose, &numbers, false);
            for (plan_as, target) in harness::other_plans(gpu, &tape, purpose, sizes, &[2, 200], harness::every_launch)
            {
                runs += 1;
                let found = harness::run_on(&device, target, &tape, purpose, &numbers, runs % 2 == 0).unwrap();
                let name = format!("{} of {width} features, bags {sizes:?}, as {plan_as}", method.name());
                compare_beside(&name, &found, &wanted, &host);
            }
        }
    }
    assert!(common::is_thin() || (methods.len(), widths.len()) == (all.len(), STEPS.len()));
    eprintln!("{runs} programs on {device:?}");
}
