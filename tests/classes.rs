//! What is planned for each class of device and each size of it, run with numbers on whatever driver there is: tiles,
//! long inner sums in parts, their way out. Decisions are enumerated over all classes; what two of them decide alike
//! runs once.

mod common;

use bagrad::device::{Device, GpuDevice};
use bagrad::kernels::launch::Extent;
use bagrad::ops::Op;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::Activation;
use bagrad::plan::{self, Class, Family, PlanAs, Program, Purpose, Target};
use bagrad::precision::LossScale;
use bagrad::tape::{Storage, Tape};
use common::check::{compare, param};
use common::harness::{self, Numbers};
use std::collections::BTreeSet;

/// Every family of GPUs from 2 units to 200.
fn plans() -> Vec<PlanAs> {
    let sizes = [2, 16, 60, 132, 200];
    Family::ALL.into_iter().flat_map(|family| sizes.map(|units| PlanAs::gpu(family, units))).collect()
}

/// What the device would be planned for as `plan`; cooperative matrices where it has them.
fn target(device: &GpuDevice, plan: PlanAs, mixed: bool) -> Target {
    let coop = if mixed && plan.class == Class::Gpu { device.cooperative().usable() } else { None };
    Target { class: plan.class, family: plan.family, units: plan.units, coop, ..device.target() }
}

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
            let y = tape.push1(Op::Linear(Linear { activation: self.activation }), &inputs).unwrap();
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
        let mut done = Vec::new();
        for plan_as in plans() {
            let target = target(gpu, plan_as, product.mixed);
            let extent = Extent::of(product.rows.iter().map(|&n| n as u32));
            let program = plan::plan(&tape, Purpose::Upstream, target, extent).unwrap();
            seen.extend(ways(&program));
            let launches = format!("{:?}", program.launches);
            if done.contains(&launches) {
                continue;
            }
            done.push(launches);
            runs += 1;
            let found = harness::run_on(&device, target, &tape, Purpose::Upstream, &numbers, runs % 2 == 0);
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
