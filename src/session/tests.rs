//! What a caller can get wrong at the session's door.

use super::*;
use crate::Features;
use crate::device::{GpuDevice, GpuOptions};
use crate::methods::Method;
use crate::model::Spec;

fn bags(width: usize) -> Bags {
    let values = (0..6 * width).map(|i| (i % 7) as f32 - 3.0).collect();
    Bags::packed(Features::F32(values), width, &[1, 2, 3]).unwrap().with_labels(vec![0, 1, 1]).unwrap()
}

fn model(width: usize) -> Model {
    let settings = serde_json::json!({ "embed": [8], "attention": 8 });
    let method = Method::named("attention").unwrap().with(settings.as_object().unwrap()).unwrap();
    Model::new(Spec::new(method, width, 2), 1).unwrap()
}

fn devices() -> Vec<Device> {
    let noop = cfg!(feature = "gpu").then(|| Device::Gpu(GpuDevice::noop(GpuOptions::default()).unwrap()));
    [Device::host()].into_iter().chain(noop).collect()
}

fn said<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_step_needs_bags_that_are_there_and_a_weight_for_each() {
    for device in devices() {
        let bags = bags(3);
        let mut session = Session::new(&device, model(3), Storage::F32).unwrap();
        let mut step = |bags: &Bags, indices: &[usize], weights: &[f32]| {
            session.train_step(bags, indices, weights, None, (&Optimiser::adam(0.0), 1e-3), None)
        };
        step(&bags, &[0, 1], &[0.5, 0.5]).unwrap();
        assert!(said(step(&bags, &[0, 1], &[0.5])).contains("a weight for each of 2 bags, found 1 weights"));
        assert!(said(step(&bags, &[0], &[0.5, 0.5])).contains("found 2 weights"));
        assert!(said(step(&bags, &[1], &[f32::NAN])).contains("weight of bag 1 is NaN"));
        assert!(said(step(&bags, &[], &[])).contains("at least one bag"));
        assert!(said(step(&bags, &[3], &[1.0])).contains("no bag 3; there are 0 to 2"));
        let mut wrong = bags.clone();
        wrong.offsets[3] = 60;
        assert!(said(step(&wrong, &[2], &[1.0])).contains("bag 2 is rows 3 to 60"));
        wrong.offsets = vec![0, 3, 2, 6];
        assert!(said(step(&wrong, &[1], &[1.0])).contains("bag 1 is rows 3 to 2"));
        wrong.offsets = Vec::new();
        assert!(said(step(&wrong, &[0], &[1.0])).contains("no bag 0; there are none"));
        let mut wrong = bags.clone();
        wrong.labels = Some(vec![0]);
        assert!(said(step(&wrong, &[0], &[1.0])).contains("expected 3 labels, found 1"));
        let mut wrong = bags.clone();
        wrong.width = 0;
        assert!(said(step(&wrong, &[0], &[1.0])).contains("instances of 3 features"));
        // After all of these the session goes on.
        step(&bags, &[2], &[1.0]).unwrap();
        assert!(said(session.outputs(&bags, &[7], None)).contains("no bag 7"));
        assert!(said(session.outputs(&bags, &[], None)).contains("at least one bag"));
        assert!(said(session.gradients(&bags, Some(&[1.0]))).contains("found 1 weights"));
        assert!(said(session.gradients(&bags.select(&[]).unwrap(), None)).contains("at least one bag"));
    }
}

#[test]
fn bags_that_there_are_not_are_errors() {
    let bags = bags(3);
    assert!(said(bags.select(&[0, 3])).contains("there is no bag 3; there are 0 to 2"));
    assert!(said(extent_of(&bags, &[3])).contains("there is no bag 3"));
    assert_eq!(bags.label(3), None);
    let wrong = Bags { names: Vec::new(), ..bags.clone() };
    assert!(said(wrong.select(&[0])).contains("expected 3 names, found 0"));
    let wrong = Bags { instance_labels: Some(vec![1]), ..bags.clone() };
    assert!(said(wrong.select(&[0])).contains("instance labels, found 1"));
}

#[test]
fn rates_places_and_steps_that_cannot_be_are_refused() {
    for device in devices() {
        let bags = bags(3);
        let mut session = Session::new(&device, model(3), Storage::F32).unwrap();
        assert!(said(session.repeat_step(&Optimiser::adam(0.0), 1e-3)).contains("no step to repeat"));
        let mut step =
            |rate: f64, keep| session.train_step(&bags, &[0], &[1.0], None, (&Optimiser::adam(0.0), rate), keep);
        assert!(said(step(f64::NAN, None)).contains("learning_rate"));
        assert!(said(step(-1.0, None)).contains("learning_rate"));
        assert!(said(step(1e-3, Some(0))).contains("place 0 is not among the 0"));
        session.executor().reserve_history(1).unwrap();
        session.train_step(&bags, &[0], &[1.0], None, (&Optimiser::adam(0.0), 1e-3), Some(0)).unwrap();
    }
}

#[test]
#[cfg(feature = "gpu")]
fn features_that_stay_serve_their_session_and_bags_alone() {
    let gpu = devices().remove(1);
    let (all, part) = (bags(3), bags(3).select(&[1, 0, 2]).unwrap());
    let mut session = Session::new(&gpu, model(3), Storage::F32).unwrap();
    let resident = session.keep(&all).unwrap().expect("room");
    session.outputs(&all, &[1], Some(&resident)).unwrap();
    let refused = |found: Result<_>| assert!(said(found).contains("another session or of other bags"));
    refused(session.outputs(&part, &[0], Some(&resident)));
    let mut other = Session::new(&gpu, model(3), Storage::F32).unwrap();
    refused(other.outputs(&all, &[1], Some(&resident)));
}

#[test]
fn snapshots_and_parameters_are_looked_at() {
    for device in devices() {
        let mut session = Session::new(&device, model(3), Storage::F32).unwrap();
        let mut snapshot = session.snapshot().unwrap();
        session.restore(&snapshot).unwrap();
        assert!(said(session.restore(&snapshot[1..])).contains("a snapshot of this model"));
        snapshot[0] = f32::NAN;
        let error = said(session.restore(&snapshot));
        assert!(error.contains("embed") && error.contains("finite"), "{error}");
        let name = session.model().unwrap().parameters()[0].name.clone();
        let count = session.model().unwrap().parameters()[0].len();
        assert!(said(session.set_parameter(&name, &vec![f32::INFINITY; count])).contains("value 0 is inf"));
        let mut broken = model(3);
        broken.values[0] = f32::NAN;
        assert!(said(Session::new(&device, broken, Storage::F32).map(|_| ())).contains("finite"));
    }
}

/// What f16 cannot hold is told with its place, before a device takes it for infinite; whole, in windows, and where
/// features stay on the device.
#[test]
fn values_beyond_f16_are_refused_with_their_place() {
    for device in devices() {
        let mut bags = bags(3);
        let Features::F32(values) = &mut bags.features else { unreachable!() };
        values[4 * 3 + 2] = 65_520.0;
        let mut session = Session::new(&device, model(3), Storage::F16).unwrap();
        session.outputs(&bags, &[0, 1], None).unwrap();
        let told = |error: String| {
            let place = "row 4, column 2 (0-based; bag 2) is 65520";
            assert!(error.contains(place) && error.contains("float16 (65504 at most)"), "{error}");
        };
        told(said(session.outputs(&bags, &[2], None)));
        told(said(session.train_step(&bags, &[0, 2], &[0.5; 2], None, (&Optimiser::adam(0.0), 1e-3), None)));
        told(said(bags.check_f16()));
        if let Device::Gpu(_) = device {
            told(said(session.keep(&bags).map(|_| ())));
        }
        session.outputs(&bags, &[0], None).unwrap();
        // The largest that rounds to a number is fine.
        let Features::F32(values) = &mut bags.features else { unreachable!() };
        values[4 * 3 + 2] = 65_519.0;
        session.outputs(&bags, &[2], None).unwrap();
    }
}

/// An encoder that learns nothing has no loss; asking for its gradients is a mistake that is told.
#[test]
fn what_has_no_loss_is_not_trained() {
    let settings = crate::methods::encoder::Encoder { image: [8, 8, 1], ..Default::default() };
    let settings = crate::methods::encoder::Encoder { widths: vec![2], blocks: vec![1], ..settings };
    let model = Model::new(Spec::new(settings.into(), 64, 2), 1).unwrap();
    let mut session = Session::new(&Device::host(), model, Storage::F32).unwrap();
    let bags = bags(64);
    assert!(said(session.gradients(&bags, None)).contains("no loss"));
    let rule = (&Optimiser::adam(0.0), 1e-3);
    assert!(said(session.train_step(&bags, &[0], &[1.0], None, rule, None)).contains("no loss"));
    session.outputs(&bags, &[0], None).unwrap();
}

/// Sizes that no device holds are limits, not products that overflow; the session goes on after them.
#[test]
fn sizes_that_no_device_holds_are_limits() {
    for device in devices() {
        let bags = bags(3);
        let mut session = Session::new(&device, model(3), Storage::F32).unwrap();
        session.outputs(&bags, &[0], None).unwrap();
        for extent in
            [Extent::of([u32::MAX, u32::MAX]), Extent::of([1 << 31]), Extent { bags: u32::MAX, ..Extent::of([1]) }]
        {
            let error = session.reserve(extent).expect_err("a limit");
            assert!(matches!(error, Error::Limit { .. }), "{extent:?}: {error}");
        }
        session.outputs(&bags, &[0, 1, 2], None).unwrap();
        let mut small = Session::new(&device, model(3), Storage::F32).unwrap();
        small.limit_bindings(Some(0));
        assert!(matches!(small.outputs(&bags, &[0], None), Err(Error::Limit { .. })));
        let mut small = Session::new(&device, model(3), Storage::F32).unwrap();
        small.set_budget(Some(0));
        assert!(matches!(small.outputs(&bags, &[0], None), Err(Error::Limit { .. })));
        assert!(said(Session::new(&device, model(3), Storage::U32).map(|_| ())).contains("storage"));
        let state = crate::precision::ScaleState { scale: f32::NAN, good: 0, skipped: 0, overflowed: false };
        assert!(said(small.set_loss_scale(&state)).contains("scale above 0"));
    }
}
