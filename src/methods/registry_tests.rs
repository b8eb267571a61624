//! Methods that are added to a list, and what of them is refused.

use super::*;
use crate::methods::layers::Network;
use crate::model::{Model, Spec};
use crate::ops::loss::Soft;
use crate::ops::pointwise::Activation;
use crate::ops::segment::Pool;
use crate::tape::{Columns, Storage};
use crate::target::Target;
use serde::{Deserialize, Serialize};

/// Classifies the mean of a bag. It has settings that are called as keys of a model file are.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
struct Mean {
    width: u32,
    columns: u32,
    share: f32,
    multi_label: bool,
}

fn record(net: &mut Network) -> Result<()> {
    let mean = net.pool(net.features, Pool::Mean)?;
    let outputs = net.outputs();
    let logits = net.linear("head", mean, outputs, Activation::None)?;
    let scores = net.linear_shared(net.features, logits)?;
    let link = net.one_of_all();
    let loss = net.bag_loss(logits, link, 0.0)?;
    net.finish((logits, link), (scores, Columns::Classes), loss)?;
    Ok(())
}

impl MilMethod for Mean {
    const NAME: &'static str = "mean";
    fn record(&self, net: &mut Network) -> Result<()> {
        record(net)
    }
}

#[test]
fn a_method_from_outside_is_saved_and_loaded() {
    let methods = Methods::default().with::<Mean>().unwrap().with::<Mean>().unwrap();
    assert_eq!(methods.all().len(), Methods::default().all().len() + 1);
    let mean = Mean { width: 3, columns: 2, share: 0.1, multi_label: true };
    assert_eq!(methods.named("mean").unwrap().get::<Mean>(), Some(&Mean::default()));
    for columns in [None, Some(vec!["a".to_string(), "b".into()])] {
        let mut model = Model::new(Spec::new(mean.clone().into(), 2, 2), 1).unwrap();
        model.columns = columns;
        let bytes = model.to_bytes();
        let back = Model::from_bytes_with(&bytes, &methods).unwrap();
        assert_eq!((back.spec(), &back.columns), (model.spec(), &model.columns));
        assert_eq!(back.spec().method.get::<Mean>(), Some(&mean));
        let unknown = Model::from_bytes(&bytes).unwrap_err();
        assert!(unknown.contains("no method \"mean\"") && unknown.contains("mhim-transmil"), "{unknown}");
    }
    assert!(Method::named("mean").is_err() && Method::from(mean) != Method::named("attention").unwrap());
}

#[test]
fn names_are_given_once() {
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    struct Other<const ENCODER: bool> {}
    impl<const ENCODER: bool> MilMethod for Other<ENCODER> {
        const NAME: &'static str = if ENCODER { "encoder" } else { "attention" };
        fn record(&self, net: &mut Network) -> Result<()> {
            record(net)
        }
    }
    let taken = |e: Error| assert!(e.to_string().contains("already"), "{e}");
    taken(Methods::default().with::<Other<false>>().unwrap_err());
    taken(Methods::default().with::<Other<true>>().unwrap_err());
    let message = Methods::default().read("nothing", &Map::new()).unwrap_err().to_string();
    assert!(message.contains("there are: mi-net, ") && !message.contains("encoder"), "{message}");
}

#[test]
fn settings_that_a_file_cannot_hold_are_refused() {
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    struct Text(String);
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    struct Named {
        method: String,
    }
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    struct Forgets {
        #[serde(skip_deserializing)]
        kept: u32,
    }
    macro_rules! method {
        ($type:ident) => {
            impl MilMethod for $type {
                const NAME: &'static str = stringify!($type);
                fn record(&self, net: &mut Network) -> Result<()> {
                    record(net)
                }
            }
        };
    }
    method!(Text);
    method!(Named);
    method!(Forgets);
    let refused = |method: Method| Model::new(Spec::new(method, 2, 2), 1).unwrap_err().to_string();
    assert!(refused(Text::default().into()).contains("settings are no object"));
    assert!(refused(Named::default().into()).contains("no setting may be called so"));
    assert!(refused(Forgets { kept: 3 }.into()).contains("change on their way"));
    for share in [f32::INFINITY, f32::NAN] {
        assert!(refused(Mean { share, ..Mean::default() }.into()).starts_with("setting mean: settings"));
    }
    assert!(refused(Mean { width: 70_000, ..Mean::default() }.into()).contains("at most 65536"));
    assert_eq!(refused_settings(&Mean::default().into()), 4);
}

/// Number of settings that `with` refuses to be text.
fn refused_settings(method: &Method) -> usize {
    let text = |name: &String| Map::from_iter([(name.clone(), Value::from("text"))]);
    method.settings().keys().filter(|name| method.with(&text(name)).is_err()).count()
}

/// A method learns softened targets where all that reads labels is the loss of bags, and says else what is in the way.
#[test]
fn softened_targets_are_learnt_whole_or_refused() {
    let soft = Soft { smoothing: 0.1, focusing: 2.0 };
    let mut refusing = Vec::new();
    for method in Method::all() {
        if let Err(error) = method.record_soft(&Target::Classes, soft, [9, 2], Storage::F32, false) {
            let told = error.to_string();
            assert!(told.contains("label_smoothing") && told.contains(" of its own beside"), "{told}");
            refusing.push(method.name());
        }
    }
    let own = ["adaptive-pooling", "clam-mb", "clam-sb", "dp-minn", "dtfd", "loss-attention", "mirel", "mivae"];
    refusing.sort_unstable();
    assert_eq!(refusing, own);
    let attention = Method::named("attention").unwrap();
    let refused = |target: &Target, soft| {
        let sizes = [9, if target.has_classes() { 2 } else { 0 }];
        attention.record_soft(target, soft, sizes, Storage::F32, false).err().map(|e| e.to_string())
    };
    assert_eq!(refused(&Target::Ordered, soft), None);
    let told = refused(&Target::Cox(Default::default()), Soft { focusing: 1.0, ..Soft::default() }).unwrap();
    assert!(told.contains("focal") && told.contains("a number or a time"), "{told}");
    for (smoothing, focusing, name) in
        [(1.0, 0.0, "label_smoothing"), (f32::NAN, 0.0, "label_smoothing"), (0.0, -1.0, "focal")]
    {
        let told = refused(&Target::Classes, Soft { smoothing, focusing }).unwrap();
        assert!(told.contains(name), "{told}");
    }
}
