//! DSMIL (binli123/dsmil-wsi): `MILNet`, whose attention changed three times.
//!
//! Until January 2022 queries and values were linear (`q`, `v.1`); from February to September 2022 a layer stood in front of
//! both (`lin.0`), and queries had tanh (`q.0`); since then queries are two layers (`q.0`, `q.2`), or one where `nonlinear` is off, and values the features
//! themselves, or with `passing_v` a layer with ReLU (`v.1`).

use super::clam::size;
use super::keys::Keys;
use super::layout::{Entry, linear, whole};
use super::{Asked, Found, Origin, Written, of_classes};
use crate::methods::dsmil::{Answer, Dsmil, Variant};
use crate::model::Spec;
use crate::target::Target;

pub(super) const ORIGIN: Origin = Origin {
    title: "DSMIL (MILNet)",
    known_by: "i_classifier.fc.0, b_classifier.q or b_classifier.q.0 and .2, b_classifier.v.1, b_classifier.lin.0, \
               b_classifier.fcc",
    is: |keys| (keys.any("b_classifier.") || keys.any("i_classifier.")) && !keys.any("patch_embed."),
    read,
    write,
};

/// What the keys and shapes of a DSMIL tell.
struct Shape<'a> {
    /// The key of the classifier of instances.
    classifier: &'a str,
    variant: Variant,
    value: bool,
    width: usize,
    query: usize,
    outputs: usize,
}

impl Shape<'_> {
    fn entries(&self) -> Vec<Entry> {
        let Self { width, query, outputs, .. } = *self;
        let mut all = vec![linear(self.classifier, "score", [outputs, width])];
        match self.variant {
            Variant::P | Variant::L => all.push(linear("b_classifier.q", "query", [query, width])),
            Variant::H => {
                all.push(linear("b_classifier.q.0", "query.0", [query, width]));
                all.push(linear("b_classifier.q.2", "query.1", [query, query]));
            }
            Variant::Lin => {
                all.push(linear("b_classifier.lin.0", "front", [width, width]));
                all.push(linear("b_classifier.q.0", "query", [query, width]));
            }
        }
        if self.value {
            all.push(linear("b_classifier.v.1", "value", [width, width]));
        }
        // A convolution of full length over the features of each class: [outputs, classes, width].
        let fcc = [
            whole("b_classifier.fcc.weight", "head.weight", &[outputs, outputs, width]),
            whole("b_classifier.fcc.bias", "head.bias", &[outputs]),
        ];
        all.into_iter().flatten().chain(fcc).collect()
    }
}

fn read(keys: &Keys, asked: &Asked) -> Result<Found, String> {
    let classifier = if keys.has("i_classifier.fc.weight") { "i_classifier.fc" } else { "i_classifier.fc.0" };
    let [outputs, width] = keys.layer(classifier)?;
    let value = keys.any("b_classifier.v.");
    let (variant, query) = match keys.has("b_classifier.q.weight") {
        _ if keys.any("b_classifier.lin.") => (Variant::Lin, keys.layer("b_classifier.q.0")?[0]),
        true => (if value { Variant::P } else { Variant::L }, keys.layer("b_classifier.q")?[0]),
        false => (Variant::H, keys.layer("b_classifier.q.0")?[0]),
    };
    let encoder = |key: &&str| key.starts_with("i_classifier.feature_extractor");
    let why = "of the encoder of patches; bags have to hold its features";
    let unused: Vec<_> = keys.all().filter(encoder).map(|key| (key.to_owned(), why.to_owned())).collect();
    let value = value || variant == Variant::Lin;
    let shape = Shape { classifier, variant, value, width, query, outputs };
    let mut assumed = Vec::new();
    match (variant, value) {
        (Variant::P, _) => assumed.push(
            "b_classifier.v.1 is taken for linear, as in the authors' program until January 2022; if it is of a later one \
             with nonlinear off and passing_v on, a ReLU follows it: --set variant=l --set value_layer=true"
                .to_owned(),
        ),
        (Variant::Lin, _) => assumed.push(
            "a ReLU follows b_classifier.lin.0 and tanh b_classifier.q.0, and b_classifier.v.1 is linear, as in the authors' program \
             of February to September 2022"
                .to_owned(),
        ),
        (Variant::H, true) => assumed.push("a ReLU follows b_classifier.v.1, as in the authors' program".to_owned()),
        _ => {}
    }
    let named = asked.classes.as_ref().map(Vec::len);
    let negative = !asked.multi_label && outputs > 1 && named == Some(outputs + 1);
    let (classes, target) = match outputs {
        1 => (2, Target::Classes),
        _ if negative => (outputs + 1, Target::Classes),
        2 => (2, Target::LabelSets),
        _ if asked.multi_label => (outputs, Target::LabelSets),
        _ => (outputs, Target::Classes),
    };
    if asked.multi_label && outputs == 1 {
        return Err("there is one output, of one class against the other; several labels a bag need several".into());
    }
    assumed.push("each output has a sigmoid of its own, as in the authors' program".to_owned());
    match (&target, negative) {
        (Target::LabelSets, _) if outputs == 2 && !asked.multi_label => assumed.push(
            "two outputs, each with its own sigmoid, are two labels of which a bag has none, one or both; with three names of \
             classes the first is that of bags with none"
                .to_owned(),
        ),
        (Target::Classes, true) => assumed.push("the first class is of bags that show none of the others".to_owned()),
        (Target::Classes, false) if outputs > 2 => assumed.push(
            "a bag has exactly one of the classes; with one name more the first is that of bags with none, and \
             --multi-label lets a bag have any number"
                .to_owned(),
        ),
        _ => {}
    }
    assumed.extend(of_classes(asked, outputs == 1));
    assumed.push(
        "a bag's logit is that of its attention alone, as the authors' scripts report it; the paper's mean of both streams is --set \
         answer=both"
            .to_owned(),
    );
    let value_layer = variant == Variant::H && value;
    let method = Dsmil { variant, query: size(query)?, value_layer, negative, answer: Answer::Bag, ..Dsmil::default() };
    Ok(Found { method: method.into(), width, classes, target, entries: shape.entries(), unused, assumed })
}

fn write(spec: &Spec) -> Option<Result<Written, String>> {
    spec.method.get::<Dsmil>().map(|s| written(s, spec))
}

fn written(s: &Dsmil, spec: &Spec) -> Result<Written, String> {
    let classes = spec.classes.len();
    let outputs = match &spec.target {
        Target::Classes if classes == 2 => 1,
        Target::Classes if s.negative => classes - 1,
        Target::Classes | Target::LabelSets => classes,
        other => return Err(format!("its bags have {}, those of MILNet classes or labels", other.wants())),
    };
    if !s.embed.is_empty() {
        return Err(format!("there are {} layers in front; MILNet has none", s.embed.len()));
    }
    let value = matches!(s.variant, Variant::P | Variant::Lin) || s.value_layer;
    let (width, query) = (spec.width, s.query as usize);
    let shape = Shape { classifier: "i_classifier.fc.0", variant: s.variant, value, width, query, outputs };
    let mut remarks = Vec::new();
    if s.answer == Answer::Both {
        remarks.push(
            "a bag's logit is the mean of both streams' here; MILNet gives them one by one: the largest of classes, and \
             prediction_bag"
                .to_owned(),
        );
    }
    if query != 128 {
        remarks.push(format!("queries have {query} values, and 128 in its code"));
    }
    let form = match s.variant {
        Variant::P => "as before 2022, with linear q and v".to_owned(),
        Variant::Lin => "as from February to September 2022, with lin".to_owned(),
        Variant::H => format!("nonlinear=True, passing_v={}", if value { "True" } else { "False" }),
        Variant::L => format!("nonlinear=False, passing_v={}", if value { "True" } else { "False" }),
    };
    let class = format!("MILNet(FCLayer({width}, {outputs}), BClassifier({width}, {outputs}; {form}))");
    // Where features are the values, their weighted sums reach the last layer, and the weights add up to 1.
    let query = if s.variant == Variant::H { "query.0" } else { "query" };
    let first = match s.variant {
        Variant::Lin => vec!["score", "front"],
        _ => vec!["score", query, if value { "value" } else { "head" }],
    };
    Ok(Written { entries: shape.entries(), class, first, remarks })
}
