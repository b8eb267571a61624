//! Kernels that reduce over a workgroup, within subgroups: every one of them. The tests of operations go through more sizes.

use crate::common::check::compare_beside;
use crate::common::harness::{self, Numbers};
use crate::common::{self, is_thin};
use bagrad::bench::cases::{self, Sizes};
use bagrad::device::{Device, GpuOptions};
use bagrad::kernels;
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::ops::update::Optimiser;
use bagrad::plan::{self, Purpose, Reductions};
use bagrad::random::Random;
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::{Bags, Features};
use std::collections::BTreeSet;

/// One instance, a tile more or less, several tiles.
const SIZES: [usize; 6] = [1, 63, 65, 3, 64, 130];

/// Forward and backward against the oracle, over poisoned slots, and twice with the same bits.
#[test]
fn every_reduction_within_subgroups_is_right_and_repeats_itself() {
    let Some(device) = common::gpu() else { return };
    let Device::Gpu(gpu) = &device else { unreachable!() };
    let sizes = if is_thin() { &SIZES[..4] } else { &SIZES[..] };
    let mut seen = BTreeSet::new();
    for case in cases::all(Sizes::Small).unwrap() {
        let tape = &case.tape;
        let purpose = if tape.loss.is_some() { Purpose::Gradients { dropout: false } } else { case.purpose };
        // Factors in f16 may be rounded to either of two values.
        if tape.mixed.is_some() {
            continue;
        }
        let Some(target) = harness::in_subgroups(gpu, tape, purpose, sizes) else { continue };
        let program = plan::plan(tape, purpose, target, harness::extent_for(tape, sizes)).unwrap();
        let within = program.launches.iter().filter(|l| l.variant.contains(&("SUBGROUPS", 1)));
        let names: Vec<&str> = within.map(|l| l.kernel.name).collect();
        if names.iter().all(|name| seen.contains(name)) {
            continue;
        }
        seen.extend(names);
        let numbers = Numbers::random(tape, sizes, case.width, 2, 41);
        let [wanted, host] =
            [Device::oracle(), Device::host()].map(|d| harness::run(&d, tape, purpose, &numbers, false));
        let [found, again] = [0, 1].map(|_| harness::run_on(&device, target, tape, purpose, &numbers, true).unwrap());
        compare_beside(&format!("{} within subgroups on {device:?}", case.name), &found, &wanted, &host);
        assert_eq!(format!("{found:?}"), format!("{again:?}"), "{}", case.name);
    }
    if device.target().reductions == Reductions::Workgroup {
        eprintln!("{device:?} has no operations of subgroups: THIS TEST DID NOT RUN");
        return;
    }
    // The norm of all gradients is that of an update, below.
    let all = kernels::all().into_iter().filter(|k| k.reduces && k.name != "squares").map(|k| k.name);
    assert_eq!(seen, all.collect());
    gpu.check_subgroups().unwrap();
}

/// Updates that are clipped by the norm of all gradients, in a session: as on the host, and twice with the same bits.
#[test]
fn training_within_subgroups_is_that_of_the_host_and_repeats_itself() {
    let options = GpuOptions { in_subgroups: Some(true), ..Default::default() };
    let Some(plain) = common::gpu() else { return };
    if plain.target().reductions == Reductions::Workgroup {
        return;
    }
    let device = common::gpu_with(options).unwrap();
    let mut random = Random::new(22, 0);
    let (sizes, width) = ([5, 1, 70, 12], 7);
    let features = (0..sizes.iter().sum::<usize>() * width).map(|_| random.normal() as f32).collect();
    let bags = Bags::packed(Features::F32(features), width, &sizes).unwrap().with_labels(vec![0, 1, 1, 0]).unwrap();
    let optimiser = Optimiser { clip_norm: Some(0.02), ..Optimiser::nesterov(0.0, 0.0) };
    let trained = |device: &Device| {
        let model = Model::new(Spec::new(Method::named("gated-attention").unwrap(), width, 2), 5).unwrap();
        let mut session = Session::new(device, model, Storage::F32).unwrap();
        for _ in 0..2 {
            session.train_step(&bags, &[0, 1, 2, 3], &[0.25; 4], None, (&optimiser, 0.05), None).unwrap();
        }
        let id = session.prepare(Purpose::Train(optimiser)).unwrap();
        let launches = &session.executor().program(id).launches;
        let squares = launches.iter().find(|l| l.kernel.name == "squares").expect("a norm of all gradients");
        let within = squares.variant.contains(&("SUBGROUPS", 1));
        let model = session.model().unwrap();
        let values = model.parameters().iter().flat_map(|p| model.parameter(&p.name).unwrap().to_vec());
        (within, values.collect::<Vec<f32>>())
    };
    let [(_, wanted), (within, found), (_, again)] = [&Device::host(), &device, &device].map(trained);
    let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let e = common::error(&wide(&found), &wide(&wanted));
    assert!(within && e < 1e-5 && found == again, "within subgroups {within}, {e:.1e} off on {device:?}");
}

/// Where kernels reduce is what was measured unless somebody says otherwise.
#[test]
fn nothing_reduces_within_subgroups_before_it_was_measured() {
    let Some(device) = common::gpu() else { return };
    let Device::Gpu(gpu) = &device else { unreachable!() };
    if std::env::var_os("BAGRAD_SUBGROUPS").is_some() || device.target().reductions == Reductions::Workgroup {
        return;
    }
    assert_eq!(device.target().reductions, Reductions::AsMeasured);
    let norm = kernels::all().into_iter().find(|k| k.name == "norm").unwrap();
    assert!(norm.reduces && !device.target().reduces_in_subgroups(norm));
    for (asked, wanted) in [(true, Reductions::Subgroups), (false, Reductions::Workgroup)] {
        let options = GpuOptions { in_subgroups: Some(asked), ..gpu.options() };
        let target = common::gpu_with(options).unwrap().target();
        assert_eq!((target.reductions, target.reduces_in_subgroups(norm)), (wanted, asked));
    }
}
