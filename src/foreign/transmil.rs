//! TransMIL (szc19990412/TransMIL), whose weights lie under `model.` in the file of a Lightning training, and that of MIL-Lab,
//! the same with other names.

use super::clam::size;
use super::keys::Keys;
use super::layout::{Entry, Of, layer_norm, linear, softmax_head, whole};
use super::mil_lab::{only_classes, outputs};
use super::{Asked, Found, Origin, Written, of_classes};
use crate::methods::transmil::TransMil;
use crate::model::Spec;
use crate::target::Target;

pub(super) const ORIGIN: Origin = Origin {
    title: "TransMIL",
    known_by: "cls_token, _fc1.0, layer1.attn.to_qkv, pos_layer.proj, _fc2",
    is: |keys| (keys.any("pos_layer.") || keys.any("_fc1.")) && !keys.any("patch_embed."),
    read: |keys, asked| read(keys, asked, &AUTHORS),
    write,
};

/// What MIL-Lab trains; [`ORIGIN`] writes.
pub(super) const MIL_LAB: Origin = Origin {
    title: "MIL-Lab's TransMIL",
    known_by: "cls_token, patch_embed.0, blocks.0.attention.to_qkv, pos_layer.proj, classifier",
    is: |keys| keys.any("pos_layer.") && keys.any("patch_embed.") && !keys.any("encoder."),
    read: read_mil_lab,
    write: |_| None,
};

/// What its parts are called.
struct Names {
    first: &'static str,
    layers: [&'static str; 2],
    attention: &'static str,
    head: &'static str,
}

const AUTHORS: Names = Names { first: "_fc1.0", layers: ["layer1", "layer2"], attention: "attn", head: "_fc2" };
const OF_MIL_LAB: Names =
    Names { first: "patch_embed.0", layers: ["blocks.0", "blocks.1"], attention: "attention", head: "classifier" };

/// What the keys and shapes of a TransMIL tell.
#[derive(Clone, Copy)]
struct Shape {
    features: usize,
    width: usize,
    heads: usize,
    taps: usize,
    classes: usize,
}

impl Shape {
    fn entries(&self, names: &Names) -> Vec<Entry> {
        let Self { features, width, heads, taps, classes } = *self;
        let mut all: Vec<Entry> = linear(names.first, "fc", [width, features]).into();
        all.push(whole("cls_token", "class_token.weight", &[1, 1, width]));
        for (key, layer) in names.layers.iter().zip(["layer1", "layer2"]) {
            let attention = format!("{key}.{}", names.attention);
            all.extend(layer_norm(&format!("{key}.norm"), &format!("{layer}.norm"), width));
            let parts = ["query", "key", "value"].map(|part| format!("{layer}.{part}.weight")).into();
            let (key, shape) = (format!("{attention}.to_qkv.weight"), vec![3 * width, width]);
            all.push(Entry { key, shape, of: Of::Parameters(parts) });
            all.extend(linear(&format!("{attention}.to_out.0"), &format!("{layer}.out"), [width, width]));
            let key = format!("{attention}.res_conv.weight");
            all.push(whole(key, format!("{layer}.residual.weight"), &[heads, 1, taps, 1]));
        }
        for (part, side) in [("proj", 7), ("proj1", 5), ("proj2", 3)] {
            let [weight, bias] =
                ["weight", "bias"].map(|of| (format!("pos_layer.{part}.{of}"), format!("position{side}.{of}")));
            all.push(whole(weight.0, weight.1, &[width, 1, side, side]));
            all.push(whole(bias.0, bias.1, &[width]));
        }
        all.extend(layer_norm("norm", "norm", width));
        all.extend(softmax_head(names.head, "head", classes, width));
        all
    }
}

/// The same with as many layers as the authors' program has.
fn read_mil_lab(keys: &Keys, asked: &Asked) -> Result<Found, String> {
    for (start, wanted) in [("patch_embed.", &[0][..]), ("blocks.", &[0, 1])] {
        let found: Vec<usize> = keys.numbers(start).into_iter().collect();
        if found != wanted {
            return Err(format!(
                "there are layers {found:?} of {}, and transmil has {wanted:?}: one layer in front and two of attention, the \
                 convolutions between them",
                start.trim_end_matches('.')
            ));
        }
    }
    read(keys, asked, &OF_MIL_LAB)
}

fn read(keys: &Keys, asked: &Asked, names: &Names) -> Result<Found, String> {
    let [width, features] = keys.layer(names.first)?;
    let key = format!("{}.{}.res_conv.weight", names.layers[0], names.attention);
    let (heads, taps) = match *keys.shape(&key)? {
        [heads, 1, taps, 1] if heads > 0 => (heads, taps),
        ref shape => return Err(format!("{key}: expected [heads, 1, taps, 1], found {shape:?}")),
    };
    let (found, classes) = outputs(keys, names.head, asked)?;
    if !asked.settings.contains_key("legacy_shift") {
        return Err("these weights are the same under every version of nystrom-attention and results are not: 0.0.9, which the \
                    authors' requirements name, shifts what tokens attend to. --set legacy_shift=true says that they were \
                    trained with it, --set legacy_shift=false with 0.0.11 or later"
            .into());
    }
    let shape = Shape { features, width, heads, taps, classes: found };
    let method = TransMil {
        width: size(width)?,
        heads: size(heads)?,
        landmarks: size(width / 2)?,
        residual: size(taps)?,
        ..TransMil::default()
    };
    let mut assumed = of_classes(asked, classes == 2);
    if found == 1 {
        let head = names.head;
        assumed.push(format!("{head} has one output: the logit of the second class against the first, by sigmoid"));
    }
    assumed.push(format!(
        "landmarks ({}, half of the width) and iterations (6) are those of the published class, as is the dropout of 0.1, which \
         does not act in predictions: none is in the weights",
        method.landmarks
    ));
    assumed
        .push(format!("a ReLU follows {}, and softmax goes over the classes, as in the published class", names.first));
    let (unused, entries) = (Vec::new(), shape.entries(names));
    Ok(Found { method: method.into(), width: features, classes, target: Target::Classes, entries, unused, assumed })
}

fn write(spec: &Spec) -> Option<Result<Written, String>> {
    spec.method.get::<TransMil>().map(|s| written(s, spec))
}

fn written(s: &TransMil, spec: &Spec) -> Result<Written, String> {
    only_classes(spec, "TransMIL")?;
    let (width, classes) = (s.width as usize, spec.classes.len());
    let shape = Shape { features: spec.width, width, heads: s.heads as usize, taps: s.residual as usize, classes };
    let version = if s.legacy_shift { "0.0.9" } else { "0.0.11 or later" };
    let mut remarks = vec![format!("it says the same with nystrom-attention {version}")];
    let published = [("width", s.width, 512), ("features", size(spec.width)?, 1024), ("heads", s.heads, 8)];
    let attention =
        [("landmarks", s.landmarks, s.width / 2), ("iterations", s.iterations, 6), ("taps", s.residual, 33)];
    for (name, ours, theirs) in published.into_iter().chain(attention) {
        if ours != theirs {
            remarks.push(format!("{name}: {ours}, and {theirs} in its code"));
        }
    }
    let class = format!("TransMIL(n_classes={classes})");
    Ok(Written { entries: shape.entries(&AUTHORS), class, first: vec!["fc"], remarks })
}
