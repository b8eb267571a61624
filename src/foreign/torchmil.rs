//! torchmil's `TransformerABMIL` (Franblueee/torchmil).

use super::clam::size;
use super::keys::Keys;
use super::layout::{Entry, Of, layer_norm, linear, softmax_head, whole};
use super::mil_lab::only_classes;
use super::{Asked, Found, Origin, Written, of_classes};
use crate::methods::Transformer;
use crate::model::Spec;
use crate::target::Target;

pub(super) const ORIGIN: Origin = Origin {
    title: "torchmil's TransformerABMIL",
    known_by: "transformer_encoder.layers.0.att_module.qkv_nn, pool.fc1.module, last_layer",
    is: |keys| keys.any("transformer_encoder."),
    read,
    write,
};

/// What the keys and shapes tell.
struct Shape {
    features: usize,
    width: usize,
    layers: usize,
    mlp: bool,
    attention: usize,
    gated: bool,
    outputs: usize,
}

impl Shape {
    fn entries(&self) -> Vec<Entry> {
        let Self { features, width, attention, .. } = *self;
        let mut all = Vec::new();
        let mut inputs = features;
        for number in 0..self.layers {
            let key = |part: &str| format!("transformer_encoder.layers.{number}.{part}");
            let parameter = |part: &str| format!("layer.{number}.{part}");
            all.extend(layer_norm(&key("norm1"), &parameter("norm1"), inputs));
            let parts = ["query", "key", "value"].map(|part| parameter(&format!("{part}.weight"))).into();
            let (qkv, shape) = (key("att_module.qkv_nn.weight"), vec![3 * width, inputs]);
            all.push(Entry { key: qkv, shape, of: Of::Parameters(parts) });
            if inputs != width {
                all.extend(linear(&key("att_proj"), &parameter("skip"), [width, inputs]));
            }
            if self.mlp {
                all.extend(layer_norm(&key("norm2"), &parameter("norm2"), width));
                all.extend(linear(&key("mlp_module.0"), &parameter("mlp.0"), [4 * width, width]));
                all.extend(linear(&key("mlp_module.3"), &parameter("mlp.1"), [width, 4 * width]));
            }
            if number + 1 == self.layers && features != width {
                all.extend(linear(&key("out_proj"), &parameter("out"), [features, width]));
            }
            inputs = width;
        }
        all.extend(layer_norm("transformer_encoder.norm", "norm", features));
        all.extend(linear("pool.fc1.module", "attention.v", [attention, features]));
        if self.gated {
            all.extend(linear("pool.fc_gated.module", "attention.u", [attention, features]));
        }
        all.push(whole("pool.fc2.weight", "attention.w.weight", &[1, attention]));
        all.extend(softmax_head("last_layer", "head", self.outputs, features));
        all
    }
}

fn read(keys: &Keys, asked: &Asked) -> Result<Found, String> {
    let numbers: Vec<usize> = keys.numbers("transformer_encoder.layers.").into_iter().collect();
    if numbers.is_empty() || !numbers.iter().copied().eq(0..numbers.len()) {
        return Err(format!("expected transformer_encoder.layers.0, .1 and so on, found {numbers:?}"));
    }
    let first = "transformer_encoder.layers.0.att_module.qkv_nn";
    let [rows, features] = keys.layer(first)?;
    if !rows.is_multiple_of(3) {
        return Err(format!("{first}.weight: expected rows for queries, keys and values alike, found {rows}"));
    }
    if keys.any("feat_ext.") {
        return Err(
            "feat_ext makes the features of instances; bags here have to hold them, and the weights none of it".into(),
        );
    }
    let [attention, _] = keys.layer("pool.fc1.module")?;
    let [outputs, _] = keys.layer("last_layer")?;
    let shape = Shape {
        features,
        width: rows / 3,
        layers: numbers.len(),
        mlp: keys.any("transformer_encoder.layers.0.mlp_module."),
        attention,
        gated: keys.any("pool.fc_gated."),
        outputs,
    };
    let method = Transformer {
        width: size(shape.width)?,
        layers: size(shape.layers)?,
        mlp: shape.mlp,
        attention: size(attention)?,
        gated: shape.gated,
        ..Transformer::default()
    };
    let classes = outputs.max(2);
    let mut assumed = of_classes(asked, classes == 2);
    assumed.push(if outputs == 1 {
        "last_layer has one output: the logit of the second class against the first, by sigmoid".to_owned()
    } else {
        "softmax goes over the outputs, as in the published class".to_owned()
    });
    let heads = asked.settings.get("heads").map_or_else(|| method.heads.to_string(), ToString::to_string);
    assumed.push(format!(
        "heads ({heads}) and add_self (true unless it was set) are not in the weights: those of the published class are 8 and true \
         (--set heads=.., --set add_self=false)"
    ));
    assumed.push(
        "the attention that pools has tanh (pool_act), and gelu is the exact one; dropout does not act in predictions"
            .to_owned(),
    );
    let (entries, unused) = (shape.entries(), Vec::new());
    Ok(Found { method: method.into(), width: features, classes, target: Target::Classes, entries, unused, assumed })
}

fn write(spec: &Spec) -> Option<Result<Written, String>> {
    spec.method.get::<Transformer>().map(|s| written(s, spec))
}

fn written(s: &Transformer, spec: &Spec) -> Result<Written, String> {
    only_classes(spec, "TransformerABMIL")?;
    let classes = spec.classes.len();
    let outputs = if classes == 2 { 1 } else { classes };
    let shape = Shape {
        features: spec.width,
        width: s.width as usize,
        layers: s.layers as usize,
        mlp: s.mlp,
        attention: s.attention as usize,
        gated: s.gated,
        outputs,
    };
    let word = |yes: bool| if yes { "True" } else { "False" };
    let class = format!(
        "TransformerABMIL(in_shape=({},), pool_att_dim={}, pool_gated={}, transf_att_dim={}, transf_n_layers={}, \
         transf_n_heads={}, transf_use_mlp={}, transf_add_self={}, n_outputs={outputs})",
        spec.width,
        s.attention,
        word(s.gated),
        s.width,
        s.layers,
        s.heads,
        word(s.mlp),
        word(s.add_self),
    );
    let remarks = match outputs {
        1 => vec!["versions before n_outputs have one output, as this model".to_owned()],
        _ => vec!["versions before n_outputs have one output alone".to_owned()],
    };
    // Features are added to what comes out of each layer, and normalised by themselves.
    Ok(Written { entries: shape.entries(), class, first: Vec::new(), remarks })
}
