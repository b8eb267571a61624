use super::*;
use crate::bag::Features;
use crate::methods::Method;
use crate::model::Spec;
use crate::ops::update::Optimiser;
use crate::training::metrics::Metric;

/// Bags of three instances; those of class 1 have one that stands out.
fn bags(count: usize) -> Bags {
    let mut random = Random::new(4, 0);
    let mut features: Vec<f32> = (0..count * 3 * 4).map(|_| random.normal() as f32).collect();
    (1..count).step_by(2).for_each(|bag| features[bag * 12] += 6.0);
    let labels = (0..count).map(|bag| (bag % 2) as u32).collect();
    Bags::packed(Features::F32(features), 4, &vec![3; count]).unwrap().with_labels(labels).unwrap()
}

fn trained(change: impl FnOnce(&mut Settings), validation: &[usize]) -> Result<Outcome> {
    let set = serde_json::json!({ "embed": [8], "attention": 4, "dropout": 0.0 });
    let method = Method::named("gated-attention")?.with(set.as_object().unwrap())?;
    let mut settings = Settings { epochs: 12, learning_rate: 3e-3, ..Settings::for_method(&method) };
    change(&mut settings);
    let model = Model::new(Spec::new(method, 4, 2), 1)?;
    let training: Vec<usize> = (0..40).collect();
    train(&Device::host(), model, &settings, &bags(60), &training, validation, &mut ())
}

/// What only decay moves ends at 0 and not among the subnormal numbers, with which CPUs compute slowly.
#[test]
fn weights_that_nothing_feeds_are_never_subnormal() {
    // The last feature is 0 throughout, so the loss says nothing of its weights.
    let mut bags = bags(4);
    let Features::F32(values) = &mut bags.features else { unreachable!("made in f32") };
    values.iter_mut().skip(3).step_by(4).for_each(|value| *value = 0.0);
    let set = serde_json::json!({ "embed": [3], "attention": 2, "dropout": 0.0 });
    let method = Method::named("attention").unwrap().with(set.as_object().unwrap()).unwrap();
    for optimiser in [Optimiser::adamw(1.0), Optimiser::radam(1.0), Optimiser::nesterov(0.9, 1.0)] {
        // Each update takes a tenth or a fifth of such a weight.
        let settings = Settings { epochs: 300, learning_rate: 0.1, optimiser, ..Settings::for_method(&method) };
        let model = Model::new(Spec::new(method.clone(), 4, 2), 1).unwrap();
        let outcome = train(&Device::host(), model, &settings, &bags, &[0, 1, 2, 3], &[], &mut ()).unwrap();
        let weights = outcome.model.parameter("embed.0.weight").unwrap();
        assert_eq!(weights.iter().skip(3).step_by(4).copied().collect::<Vec<_>>(), [0.0; 3], "{optimiser:?}");
    }
}

/// As many instances as bags have are all of them.
#[test]
fn drawing_all_instances_changes_nothing() {
    let bytes = |instances: Option<usize>| trained(|s| s.instances = instances, &[]).unwrap().model.to_bytes();
    let all = bytes(None);
    assert!(bytes(Some(3)) == all && bytes(Some(2)) != all);
    let refused = trained(|s| (s.instances, s.cache) = (Some(2), Cache::Device), &[]).err().unwrap().to_string();
    assert!(refused.contains("cannot stay on the device"), "{refused}");
    assert!(trained(|s| s.instances = Some(0), &[]).err().unwrap().to_string().contains("instances"));
    // Of three instances a dropout of a third takes one.
    let dropped = trained(|s| s.instance_dropout = 0.34, &[]).unwrap().model.to_bytes();
    assert!(dropped == bytes(Some(2)));
}

/// Features that are left out, and bags that are mixed: other weights, the same for the same seed, and as good.
#[test]
fn bags_are_learnt_from_parts_and_mixtures() {
    let run = |change: &dyn Fn(&mut Settings)| {
        let outcome = trained(|s| change(s), &(40..60).collect::<Vec<_>>()).unwrap();
        let auc = outcome.epochs.last().unwrap().validation.as_ref().unwrap().get(Metric::Auc).unwrap();
        (outcome.model.to_bytes(), auc)
    };
    let (plain, _) = run(&|_| ());
    for change in [
        (|s| s.feature_dropout = 0.25) as fn(&mut Settings),
        |s| s.mixup = 0.4,
        |s| (s.mixup, s.feature_dropout, s.instance_dropout) = (1.0, 0.5, 0.34),
        |s| (s.mixup, s.batch) = (0.4, 8),
    ] {
        let (bytes, auc) = run(&change);
        assert!(bytes != plain && auc > 0.9, "{auc}");
        assert!(bytes == run(&change).0, "one seed, the same bits");
    }
    // As many features as a share of none takes are all.
    assert!(run(&|s| s.feature_dropout = 0.2).0 == plain, "a fifth of four is none");
    // Batches that add up see what one batch sees.
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let ends = [(8, 1), (2, 4)].map(|(batch, accumulate)| {
        let change = |s: &mut Settings| {
            (s.batch, s.accumulate, s.mixup, s.feature_dropout, s.epochs) = (batch, accumulate, 0.4, 0.25, 2);
            s.class_weights = crate::training::ClassWeights::Given(vec![1.0, 3.0]);
        };
        trained(change, &[]).unwrap().model.values
    });
    assert!(distance(&ends[0], &ends[1]) < 1e-4, "{}", distance(&ends[0], &ends[1]));
    let refused = |change: fn(&mut Settings)| trained(change, &[]).err().unwrap().to_string();
    assert!(refused(|s| s.feature_dropout = 1.0).contains("feature_dropout"));
    assert!(refused(|s| s.mixup = 3.0).contains("mixup"));
    let of = |name: &str| {
        let method = Method::named(name).unwrap();
        let settings = Settings { mixup: 0.4, ..Settings::for_method(&method) };
        settings.check(&Spec::new(method, 4, 2)).err().map(|error| error.to_string())
    };
    assert_eq!(of("dsmil"), None);
    let told = of("clam-sb").unwrap();
    assert!(told.contains("mixup") && told.contains("of its own beside"), "{told}");
}

#[test]
fn a_saturated_score_does_not_keep_an_early_epoch() {
    let outcome = trained(|s| s.monitor = Metric::Auc, &[50, 51, 52, 53]).unwrap();
    let scores: Vec<_> =
        outcome.epochs.iter().map(|e| (e.validation.as_ref().unwrap().get(Metric::Auc), e.validation_loss)).collect();
    let best = scores.iter().filter_map(|(auc, _)| *auc).fold(0.0, f64::max);
    let mut at_best = scores.iter().enumerate().filter(|(_, (auc, _))| *auc == Some(best));
    let (first, _) = at_best.clone().next().unwrap();
    let lowest = at_best.clone().map(|(_, (_, loss))| loss.unwrap()).fold(f64::INFINITY, f64::min);
    let (kept, _) = at_best.find(|(_, (_, loss))| *loss == Some(lowest)).unwrap();
    assert_eq!(outcome.kept as usize, kept, "{scores:?}");
    assert!(kept > first, "{scores:?}");
}

#[test]
fn validation_bags_have_to_define_what_decides() {
    let message = trained(|s| s.monitor = Metric::Auc, &[51, 53]).err().unwrap().to_string();
    assert!(message.contains("auc is not defined") && message.contains("2 of class 1"), "{message}");
    let message = trained(|s| s.patience = Some(3), &[]).err().unwrap().to_string();
    assert!(message.contains("patience") && message.contains("validation bags"), "{message}");
}
