//! DTFD-MIL (hrzhang1123/DTFD-MIL): four modules whose state dicts lie side by side in a file.

use super::clam::size;
use super::keys::Keys;
use super::layout::{Entry, linear, softmax_head, whole};
use super::mil_lab::{only_classes, outputs};
use super::{Asked, Found, Origin, Written, of_classes};
use crate::methods::Dtfd;
use crate::model::Spec;
use crate::target::Target;

pub(super) const ORIGIN: Origin = Origin {
    title: "DTFD-MIL",
    known_by: "dim_reduction.fc1, attention.attention_V.0, classifier.fc, att_classifier.attention.attention_V.0",
    is: |keys| keys.any("dim_reduction.") || keys.any("att_classifier."),
    read,
    write,
};

/// What the keys and shapes tell.
struct Shape {
    features: usize,
    width: usize,
    hidden: usize,
    outputs: usize,
}

impl Shape {
    fn entries(&self) -> Vec<Entry> {
        let Self { features, width, hidden, outputs } = *self;
        let mut all = vec![whole("dim_reduction.fc1.weight", "reduce.weight", &[width, features])];
        for (attention, head, tier) in [
            ("attention", "classifier.fc", "tier1"),
            ("att_classifier.attention", "att_classifier.classifier.fc", "tier2"),
        ] {
            all.extend(linear(&format!("{attention}.attention_V.0"), &format!("{tier}.attention.v"), [hidden, width]));
            all.extend(linear(&format!("{attention}.attention_U.0"), &format!("{tier}.attention.u"), [hidden, width]));
            all.extend(linear(&format!("{attention}.attention_weights"), &format!("{tier}.attention.w"), [1, hidden]));
            all.extend(softmax_head(head, &format!("{tier}.head"), outputs, width));
        }
        all
    }
}

fn read(keys: &Keys, asked: &Asked) -> Result<Found, String> {
    let [width, features] = keys.layer("dim_reduction.fc1")?;
    if keys.any("dim_reduction.resBlocks.") {
        return Err(
            "dim_reduction.resBlocks are residual layers behind the first one, which no method here computes".into()
        );
    }
    if keys.any("attention.attention.") {
        return Err("attention.attention is without a gate, which the authors' program never trains".into());
    }
    let [hidden, _] = keys.layer("attention.attention_V.0")?;
    let (found, classes) = outputs(keys, "att_classifier.classifier.fc", asked)?;
    let method = Dtfd { reduce: size(width)?, attention: size(hidden)?, ..Dtfd::default() };
    let mut assumed = of_classes(asked, classes == 2);
    if found == 1 {
        assumed.push("there is one output: the logit of the second class against the first, by sigmoid".to_owned());
    }
    let of = |name: &str, default: &str| {
        asked
            .settings
            .get(name)
            .map_or_else(|| default.to_owned(), |value| value.to_string().trim_matches('"').to_owned())
    };
    assumed.push(format!(
        "pseudo_bags ({}), distil ({}) and instances ({}) are not in the weights: 4, afs and 1 are the defaults of the authors' \
         program (numGroup, distill_type, total_instance over numGroup)",
        of("pseudo_bags", "4"),
        of("distil", "afs"),
        of("instances", "1"),
    ));
    assumed.push(
        "predictions deal instances out to the pseudo-bags in turn; the authors' program draws at random there, so its results differ \
         from call to call"
            .to_owned(),
    );
    assumed.push(
        "activations are those of the published classes: ReLU, tanh and sigmoid, softmax over the classes".to_owned(),
    );
    let entries = Shape { features, width, hidden, outputs: found }.entries();
    let (target, unused) = (Target::Classes, Vec::new());
    Ok(Found { method: method.into(), width: features, classes, target, entries, unused, assumed })
}

fn write(spec: &Spec) -> Option<Result<Written, String>> {
    spec.method.get::<Dtfd>().map(|s| written(s, spec))
}

fn written(s: &Dtfd, spec: &Spec) -> Result<Written, String> {
    only_classes(spec, "DTFD-MIL")?;
    if !s.gated {
        return Err("its attention has no gate; that of the authors' program has one".into());
    }
    let (width, hidden, classes) = (s.reduce as usize, s.attention as usize, spec.classes.len());
    let shape = Shape { features: spec.width, width, hidden, outputs: classes };
    let class = format!(
        "DimReduction({}, {width}) as dim_reduction, Attention_Gated({width}, {hidden}) as attention, Classifier_1fc({width}, \
         {classes}) as classifier, Attention_with_Classifier({width}, {hidden}, 1, {classes}) as att_classifier",
        spec.width
    );
    let remarks = vec![
        "each of the four modules takes the keys that begin with its name and a dot, without these".to_owned(),
        format!(
            "its options are numGroup={}, distill_type as {}; it cuts bags at random in predictions too",
            s.pseudo_bags,
            serde_json::to_value(s.distil).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
        ),
    ];
    // The first layer has no bias, which a standardisation would need.
    Ok(Written { entries: shape.entries(), class, first: Vec::new(), remarks })
}
