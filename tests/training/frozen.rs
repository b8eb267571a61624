//! A frozen front that is computed once: what is found and learnt behind it is what the whole model finds and learns.

use crate::common::error;
use crate::common::small::{bags, devices};
use bagrad::device::Device;
use bagrad::methods::{Extreme, Method};
use bagrad::model::{Model, Spec};
use bagrad::ops::update::Optimiser;
use bagrad::random::Random;
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::training::{Cache, Settings, train};
use bagrad::{Bags, Features};

fn model(bags: &Bags) -> Model {
    let settings = Extreme { projection: 10, head: vec![4], dropout: 0.25, ..Extreme::default() };
    Model::new(Spec::of(Method::from(settings), bags), 3).unwrap()
}

/// Bags of one row and of more than one batch of the front has.
fn uneven() -> Bags {
    let sizes = [3, 20_000, 1, 64, 17_000];
    let mut random = Random::new(5, 0);
    let features = (0..sizes.iter().sum::<usize>() * 6).map(|_| random.normal() as f32).collect();
    Bags::packed(Features::F32(features), 6, &sizes).unwrap().with_labels(vec![0, 1, 1, 0, 1]).unwrap()
}

#[test]
fn outputs_and_updates_are_those_of_the_whole() {
    let optimiser = Optimiser::adam(0.1);
    for bags in [bags(9, 6, 8), uneven()] {
        let all: Vec<usize> = (0..bags.len()).collect();
        let even = vec![1.0 / bags.len() as f32; bags.len()];
        for device in devices().into_iter().chain([Device::Oracle]) {
            for (storage, budget) in [(Storage::F32, None), (Storage::F16, None), (Storage::F32, Some(1 << 20))] {
                let session = || {
                    let mut session = Session::new(&device, model(&bags), storage).unwrap();
                    session.set_budget(budget);
                    session
                };
                let what = format!("{} instances, {storage:?}, {budget:?} on {device:?}", bags.instances());
                let (mut whole, mut rest) = (session(), session());
                let before = rest.keep(&bags).unwrap();
                let passed = rest.pass_front(&bags).unwrap().expect("a front");
                if let Some(before) = before {
                    let said = rest.outputs(&passed, &all, Some(&before)).unwrap_err().to_string();
                    assert!(said.contains("another session or of other bags"), "{said}");
                }
                assert_eq!((passed.width, passed.instances()), (10, bags.instances()));
                assert_eq!(passed.labels, bags.labels);
                // Nothing in front of it is left.
                assert!(rest.pass_front(&passed).unwrap().is_none());
                for step in 0..4 {
                    let (wanted, loss) = whole.outputs_and_loss(&bags, &all, &even, None).unwrap();
                    let (found, found_loss) = rest.outputs_and_loss(&passed, &all, &even, None).unwrap();
                    assert!((loss - found_loss).abs() < 1e-5 * loss, "{what}: {loss} {found_loss}");
                    for (name, wanted) in &wanted {
                        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
                        let e = error(&wide(&found[name]), &wide(wanted));
                        assert!(e < 5e-5, "{what}, step {step}: {name} {e:.1e}");
                    }
                    for (session, bags) in [(&mut whole, &bags), (&mut rest, &passed)] {
                        let resident = if step > 1 && budget.is_none() { session.keep(bags).unwrap() } else { None };
                        session.train_step(bags, &all, &even, resident.as_ref(), (&optimiser, 1e-2), None).unwrap();
                    }
                }
                let values =
                    |session: &mut Session| session.snapshot().unwrap().into_iter().map(f64::from).collect::<Vec<_>>();
                let e = error(&values(&mut rest), &values(&mut whole));
                assert!(e < 1e-3, "{what}: parameters {e:.1e}");
                let said = rest.outputs(&bags, &all, None).unwrap_err().to_string();
                assert!(said.contains("10 features") && said.contains("found 6"), "{said}");
            }
        }
    }
}

/// A training that passes the front ends where one ends that computes it in each step, and gives the whole model.
#[test]
fn trainings_end_alike() {
    let bags = bags(24, 6, 4);
    let (training, validation): (Vec<usize>, Vec<usize>) = (0..24).partition(|bag| bag % 4 < 3);
    let start = model(&bags);
    for device in devices() {
        let trained = |cache| {
            let settings = Settings { epochs: 4, batch: 3, cache, ..Settings::for_method(&start.spec().method) };
            train(&device, start.clone(), &settings, &bags, &training, &validation, &mut ()).unwrap()
        };
        let (found, wanted) = (trained(Cache::Auto), trained(Cache::None));
        for (found, wanted) in found.epochs.iter().zip(&wanted.epochs) {
            assert!((found.loss - wanted.loss).abs() < 1e-4, "{} {}", found.loss, wanted.loss);
            let losses = [found, wanted].map(|epoch| epoch.validation_loss.unwrap());
            assert!((losses[0] - losses[1]).abs() < 1e-4, "{losses:?}");
        }
        assert_eq!(found.model.spec(), start.spec());
        let projection = |model: &Model| model.parameter("projection.weight").unwrap().to_vec();
        assert_eq!(projection(&found.model), projection(&start));
        for info in start.parameters() {
            let wide = |model: &Model| -> Vec<f64> {
                model.parameter(&info.name).unwrap().iter().map(|v| f64::from(*v)).collect()
            };
            let e = error(&wide(&found.model), &wide(&wanted.model));
            assert!(e < 1e-3, "{}: {e:.1e}", info.name);
        }
    }
}
