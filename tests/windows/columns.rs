//! Methods that need whole bags, whose values exceed a binding: in blocks of columns, with the results of the values
//! in one piece.

use super::common::{error, is_thin};
use super::{assert_same, devices};
use bagrad::device::Device;
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::ops::update::Optimiser;
use bagrad::random::Random;
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::training::predict::predict;
use bagrad::{Bags, Error, Features};

const WIDTH: usize = 40;
const SIZES: [usize; 7] = [1, 250, 64, 3, 200, 400, 400];
/// Columns of a value with a row for each instance that one binding holds, of 1318 instances or some more tokens.
const HELD: usize = 32;

fn bags(seed: u64) -> Bags {
    let mut random = Random::new(seed, 0);
    let rows = SIZES.iter().sum::<usize>();
    let features = (0..rows * WIDTH).map(|_| random.normal() as f32).collect();
    let labels = (0..SIZES.len() as u32).map(|b| b % 2).collect();
    let mut bags = Bags::packed(Features::F32(features), WIDTH, &SIZES).unwrap().with_labels(labels).unwrap();
    bags.coords = Some((0..rows).map(|_| [random.uniform() as f32 * 90.0, random.uniform() as f32 * 90.0]).collect());
    bags
}

/// A small network of each method that needs whole bags; all have values of more than 32 columns.
fn methods(dropout: f64) -> Vec<Method> {
    let transformer = serde_json::json!({
        "width": 64, "heads": 4, "landmarks": 4, "residual": 5, "iterations": 4, "dropout": dropout
    });
    let mut all = vec![("transmil", transformer.clone())];
    // Places as layers and none at all have nothing of their own that is drawn.
    let positions = ["distance", "discrete", "absolute", "none"];
    for position in positions.into_iter().take(if dropout > 0.0 { 2 } else { 4 }) {
        let settings = serde_json::json!({
            "embed": [36], "key": 8, "value": 12, "heads": 3, "position": position, "bins": 4,
            "dropout": dropout, "attention_dropout": dropout
        });
        all.push(("das-mil", settings));
    }
    // Attention to the features themselves, and another pool.
    let settings = serde_json::json!({
        "embed": [], "key": 8, "value": 8, "heads": 5, "pool": "mean", "attention_dropout": dropout
    });
    all.push(("das-mil", settings));
    all.push(("mhim-attention", serde_json::json!({"embed": [68], "attention": 8, "dropout": dropout})));
    all.push((
        "mhim-attention",
        serde_json::json!({"embed": [40, 36], "attention": 12, "gated": true, "dropout": 0.0}),
    ));
    for rounds in [1, 3] {
        all.push(("dp-minn", serde_json::json!({"embed": [68], "rounds": rounds, "dropout": dropout})));
    }
    all.push((
        "mhim-dsmil",
        serde_json::json!({"embed": [36], "query": 8, "dropout": dropout, "value_dropout": dropout}),
    ));
    for name in ["clam-sb", "clam-mb"] {
        let settings = serde_json::json!({"embed": [40], "attention": 36, "k": 5, "dropout": dropout});
        all.push((name, settings));
    }
    let mut masked = transformer;
    masked["row_dropout"] = dropout.into();
    all.push(("mhim-transmil", masked));
    let named = |(name, settings): (&str, serde_json::Value)| {
        Method::named(name).unwrap().with(settings.as_object().unwrap()).unwrap()
    };
    all.into_iter().map(named).collect()
}

/// Those to try on a device: on a slow one the first of each name.
fn methods_on(device: &Device, dropout: f64) -> Vec<Method> {
    let mut all = methods(dropout);
    if matches!(device, Device::Gpu(_)) && is_thin() {
        let mut names = Vec::new();
        all.retain(|method| {
            let first = !names.contains(&method.name());
            names.push(method.name());
            first
        });
    }
    all
}

fn model(method: &Method) -> Model {
    Model::new(Spec::new(method.clone(), WIDTH, 2), 5).unwrap()
}

/// Bytes of this many columns of the row of each token; sizes are rounded up to 256.
fn bytes(columns: usize) -> Option<u64> {
    let tokens: usize = SIZES.iter().map(|n| 1 + (1..).find(|s| s * s >= *n).unwrap().pow(2)).sum();
    Some(((tokens * columns * 4) as u64).next_multiple_of(256))
}

/// A session that may bind `columns` columns of each instance's or token's row at once.
fn narrow(mut session: Session, columns: usize) -> Session {
    session.limit_bindings(bytes(columns));
    session
}

#[test]
fn gradients_are_those_of_values_in_one_piece() {
    let bags = bags(1);
    for (device, most) in devices() {
        for method in methods_on(&device, 0.0) {
            // Features reach all methods through the same layer.
            let storages = [Storage::F32, Storage::F16];
            for storage in storages.into_iter().take(if method.name() == "mhim-attention" { 2 } else { 1 }) {
                let session = || Session::with_instance_gradients(&device, model(&method), storage, true).unwrap();
                let wanted = session().gradients(&bags, None).unwrap();
                let mut split = narrow(session(), HELD);
                for _ in 0..2 {
                    split.executor().poison().unwrap();
                    let found = split.gradients(&bags, None).unwrap();
                    // The pseudo-inverse enlarges the error of what goes in.
                    let most = if method.name().contains("transmil") { 40.0 * most } else { most };
                    assert_same(&found, &wanted, most, &format!("{} on {device:?}", method.name()));
                }
            }
        }
    }
}

/// Blocks that are too wide for a larger batch are split once more.
#[test]
fn blocks_may_be_split_again() {
    for (device, most) in devices() {
        let method = &methods(0.0)[0];
        let session = || Session::with_instance_gradients(&device, model(method), Storage::F32, true).unwrap();
        let wanted = session().gradients(&bags(1), None).unwrap();
        let mut split = narrow(session(), HELD);
        split.gradients(&bags(1).select(&[1, 4, 5]).unwrap(), None).unwrap();
        split.limit_bindings(bytes(HELD - 8));
        let found = split.gradients(&bags(1), None).unwrap();
        assert_same(&found, &wanted, 40.0 * most, method.name());
    }
}

/// Dropout draws the same bits, a teacher masks the same rows.
#[test]
fn training_is_that_of_values_in_one_piece() {
    let bags = bags(2);
    let all: Vec<usize> = (0..bags.len()).collect();
    let optimiser = Optimiser { clip_norm: Some(0.5), ..Optimiser::adam(1e-3) };
    let even = vec![1.0 / bags.len() as f32; bags.len()];
    for (device, most) in devices() {
        for method in methods_on(&device, 0.25) {
            let train = |session: &mut Session| {
                session.set_seed(7);
                session.executor().reserve_history(2).unwrap();
                for step in 0..2 {
                    session.train_step(&bags, &all, &even, None, (&optimiser, 1e-2), Some(step)).unwrap();
                }
                session.executor().history(2).unwrap().into_iter().map(f64::from).collect::<Vec<_>>()
            };
            let session = || Session::new(&device, model(&method), Storage::F32).unwrap();
            let wanted = train(&mut session());
            let found = train(&mut narrow(session(), HELD));
            let e = error(&found, &wanted);
            assert!(e < most * 100.0, "{} on {device:?}: {e:.1e} {found:?} {wanted:?}", method.name());
        }
    }
}

#[test]
fn predictions_are_those_of_values_in_one_piece() {
    let bags = bags(3);
    let all: Vec<usize> = (0..bags.len()).collect();
    let wide = |v: &[f32]| v.iter().map(|v| *v as f64).collect::<Vec<_>>();
    for (device, _) in devices() {
        for method in methods_on(&device, 0.25) {
            let session = || Session::new(&device, model(&method), Storage::F32).unwrap();
            let wanted = predict(&mut session(), &bags, &all, None).unwrap();
            let found = predict(&mut narrow(session(), HELD), &bags, &all, None).unwrap();
            let what = format!("{} on {device:?}", method.name());
            assert!(error(&wide(&found.probabilities), &wide(&wanted.probabilities)) < 1e-4, "{what}");
            assert!(error(&wide(&found.scores), &wide(&wanted.scores)) < 1e-3, "{what}");
            let attention = found.attention.as_deref().zip(wanted.attention.as_deref());
            assert!(attention.is_none_or(|(a, b)| error(&wide(a), &wide(b)) < 1e-3), "{what}");
        }
    }
}

/// A transformer adds the features themselves to its rows, so these have to fit; what it makes of them may be wider.
#[test]
fn a_transformer_runs_over_features_that_fit() {
    const FEATURES: usize = 24;
    let wide = bags(1);
    let all = wide.features.slice(0..wide.instances() * WIDTH).to_f32();
    let features = all.chunks_exact(WIDTH).flat_map(|row| &row[..FEATURES]).copied().collect();
    let bags = Bags::packed(Features::F32(features), FEATURES, &SIZES).unwrap();
    let bags = bags.with_labels(wide.labels.clone().unwrap()).unwrap();
    let settings = serde_json::json!({"width": 64, "heads": 4, "attention": 36, "gated": true});
    let method = Method::named("transformer").unwrap().with(settings.as_object().unwrap()).unwrap();
    for (device, most) in devices() {
        let model = || Model::new(Spec::new(method.clone(), FEATURES, 2), 5).unwrap();
        let session = || Session::with_instance_gradients(&device, model(), Storage::F32, true).unwrap();
        let wanted = session().gradients(&bags, None).unwrap();
        let mut split = narrow(session(), HELD);
        split.executor().poison().unwrap();
        let found = split.gradients(&bags, None).unwrap();
        assert_same(&found, &wanted, most, &format!("{} on {device:?}", method.name()));
    }
}

/// What no block is small enough for.
#[test]
fn a_limit_that_blocks_do_not_help_is_named() {
    for (device, _) in devices() {
        let method = &methods(0.0)[0];
        let mut session = narrow(Session::new(&device, model(method), Storage::F32).unwrap(), 1);
        match session.gradients(&bags(4), None) {
            Err(Error::Limit { limit, .. }) => assert_eq!(limit, "max_storage_buffer_binding_size"),
            other => panic!("expected a limit, found {:?}", other.map(|_| ())),
        }
        // Bags that fit still run, whole.
        session.limit_bindings(Some(1 << 20));
        session.gradients(&bags(4), None).unwrap();
    }
}
