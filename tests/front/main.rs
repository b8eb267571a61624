//! The front door: `Trainer`, `Predictor`, methods from outside, and what callers can do to them.

#[path = "../common/mod.rs"]
mod common;
mod ensembles;
mod hardship;
#[path = "../../examples/own_method.rs"]
mod own_method;
mod predicting;
mod training;

use bagrad::device::Device;
use bagrad::methods::{GatedAttention, Method};
use bagrad::random::Random;
use bagrad::{Bags, Features, Trainer};

/// The host, and a GPU where there is one.
fn devices() -> Vec<Device> {
    [Some(Device::host()), common::gpu()].into_iter().flatten().collect()
}

fn method() -> Method {
    GatedAttention { embed: vec![8], attention: 4, ..Default::default() }.into()
}

/// Bags of 3 to 9 instances with 5 features around 100; those of class 1 have one that stands out.
fn bags(count: usize, seed: u64) -> Bags {
    let mut random = Random::new(seed, 0);
    let (mut values, mut sizes) = (Vec::new(), Vec::new());
    for bag in 0..count {
        let size = 3 + random.below(7);
        for instance in 0..size {
            let away = if bag % 2 == 1 && instance == 1 { 40.0 } else { 0.0 };
            values.extend((0..5).map(|c| (100.0 + 10.0 * random.normal() + if c == 2 { away } else { 0.0 }) as f32));
        }
        sizes.push(size);
    }
    let labels = (0..count).map(|bag| (bag % 2) as u32).collect();
    let mut bags = Bags::packed(Features::F32(values), 5, &sizes).unwrap().with_labels(labels).unwrap();
    bags.class_names = vec!["normal".into(), "tumour".into()];
    bags.columns = Some(["a", "b", "c", "d", "e"].map(str::to_owned).to_vec());
    bags
}

fn trainer<'a>(device: &Device) -> Trainer<'a> {
    Trainer::new(method()).epochs(6).learning_rate(5e-3).validation(0.25).seed(3).device(device)
}

fn said<T>(result: bagrad::Result<T>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn a_method_from_outside_is_like_the_others() {
    for device in devices() {
        let auc = own_method::run(&device).unwrap();
        assert!(auc > 0.9, "AUC {auc} on {}", device.name());
        #[cfg(feature = "cli")]
        assert!(own_method::time(&device).unwrap() > 0.0);
    }
    // A step of it has the gradients that its formula has, on every device as in f64.
    let data = bags(12, 1);
    let settings = own_method::MarginAttention { embed: 6, margin: 0.8 };
    let spec = bagrad::model::Spec::of(settings.into(), &data);
    let model = bagrad::model::Model::new(spec, 1).unwrap();
    let gradients = |device: &Device| {
        let mut session =
            bagrad::engine::session::Session::new(device, model.clone(), bagrad::engine::tape::Storage::F32).unwrap();
        session.gradients(&data, None).unwrap()
    };
    let wanted = gradients(&Device::oracle());
    assert!(wanted.parameters.len() == 6 && wanted.loss > 0.0, "{wanted:?}");
    for device in devices() {
        // All together: the bias of the scores has none, as the softmax does not see it.
        let all = |of: &bagrad::engine::session::Gradients| {
            of.parameters.values().flat_map(|t| t.values.clone()).collect::<Vec<_>>()
        };
        let error = common::error(&all(&gradients(&device)), &all(&wanted));
        assert!(error < 1e-4, "{error} on {}", device.name());
    }
}

/// A network that was not finished, or is put together wrongly, is an error wherever it is used.
#[test]
fn a_network_that_cannot_be_is_an_error() {
    use bagrad::methods::MilMethod;
    use bagrad::methods::layers::{Activation, Columns, Meaning, Network, Weight};
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    struct Wrong {
        how: String,
    }

    impl MilMethod for Wrong {
        const NAME: &'static str = "wrong";
        fn record(&self, net: &mut Network) -> bagrad::Result<()> {
            let pooled = net.pool(net.features, bagrad::methods::layers::Pool::Mean)?;
            let outputs = net.outputs();
            let logits = net.linear("head", pooled, outputs, Activation::None)?;
            let scores = net.linear_shared(net.features, logits)?;
            let link = net.one_of_all();
            let loss = net.bag_loss(logits, link, 0.0)?;
            match self.how.as_str() {
                "no end" => Ok(()),
                "no layer to share" => net.linear_shared(pooled, pooled).map(drop),
                "rows of other sizes" => net.add(pooled, net.features, 1.0, 1.0).map(drop),
                "mean of nothing" => net.mean_of_probabilities(&[], link).map(drop),
                "loss of many values" => net.finish((logits, link), (scores, Columns::Classes), scores),
                "scores of bags" => net.finish((logits, link), (logits, Columns::Classes), loss),
                "logits of instances" => net.finish((scores, link), (scores, Columns::Classes), loss),
                "logits of no classes" => net.finish((pooled, link), (scores, Columns::Classes), loss),
                "attention of bags" => {
                    net.attention(pooled, Columns::Heads);
                    net.finish((logits, link), (scores, Columns::Classes), loss)
                }
                "told of a reserved name" => net.tell_of_bags("label", logits, Meaning::Score),
                "told of a name with spaces" => net.tell_of_bags("my score", logits, Meaning::Score),
                "told of bags as instances" => net.tell_of_instances("mean", pooled, Meaning::Score),
                "told of instances as bags" => net.tell_of_bags("mean", scores, Meaning::Score),
                "told twice" => {
                    net.tell_of_bags("mean", pooled, Meaning::Score)?;
                    net.tell_of_instances("mean", scores, Meaning::Score)
                }
                "a term twice" => {
                    net.finish((logits, link), (scores, Columns::Classes), loss)?;
                    net.objective("bags", loss, Weight::Fixed(1.0))
                }
                _ => net.finish((logits, link), (scores, Columns::Classes), loss),
            }
        }
    }

    let device = Device::host();
    let data = bags(12, 1);
    let fit = |how: &str| Trainer::new(Wrong { how: how.into() }).epochs(1).device(&device).fit(&data);
    assert!(fit("nothing wrong").is_ok());
    for (how, expected) in [
        ("no end", "loss"),
        ("no layer to share", "output of a layer"),
        ("rows of other sizes", "two matrices of one shape"),
        ("mean of nothing", "no probabilities"),
        ("loss of many values", "the loss: expected one number"),
        ("scores of bags", "scores: expected a row for each instance"),
        ("logits of instances", "bag_logits: expected a row for each bag"),
        ("logits of no classes", "columns for 2 classes"),
        ("attention of bags", "attention: expected a row for each instance"),
        ("told of a reserved name", "\"label\" is no name for a column"),
        ("told of a name with spaces", "lower-case letters"),
        ("told of bags as instances", "a row for each instance"),
        ("told of instances as bags", "a row for each bag"),
        ("told twice", "there is an output \"mean\" already"),
        ("a term twice", "another term has this name"),
    ] {
        let message = said(fit(how));
        assert!(message.contains(expected), "{how}: {message}");
        let spec = bagrad::model::Spec::of(Wrong { how: how.into() }.into(), &data);
        assert!(bagrad::model::Model::new(spec, 1).and_then(|model| model.on(&device)).is_err(), "{how}");
    }
}
