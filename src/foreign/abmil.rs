//! Attention MIL by its authors (AMLab-Amsterdam/AttentionDeepMIL): LeNet over pictures, attention, one sigmoid.

use super::clam::size;
use super::keys::Keys;
use super::layout::{Entry, linear, whole};
use super::mil_lab::only_classes;
use super::{Asked, Found, Origin, Written, of_classes};
use crate::methods::attention::Settings;
use crate::methods::image::Embedder;
use crate::methods::{Attention, GatedAttention};
use crate::model::Spec;
use crate::target::Target;

pub(super) const ORIGIN: Origin = Origin {
    title: "Attention MIL (AttentionDeepMIL, Attention and GatedAttention)",
    known_by: "feature_extractor_part1.0, feature_extractor_part2.0, attention.0 or attention_V.0, classifier.0",
    is: |keys| keys.any("feature_extractor_part"),
    read,
    write,
};

/// Channels of the two convolutions and the width of the embedding, which the method has as they are.
const SIZES: [usize; 3] = [20, 50, 500];
/// Side of their kernels.
const SIDE: usize = 5;

/// What the keys and shapes tell.
struct Shape<'a> {
    channels: usize,
    /// Side of what the convolutions leave of a picture.
    left: usize,
    hidden: usize,
    gated: bool,
    /// The key of the last layer of gated attention.
    last: &'a str,
}

impl Shape<'_> {
    fn entries(&self) -> Vec<Entry> {
        let ([first, second, width], hidden) = (SIZES, self.hidden);
        let conv = |key: &str, parameter: &str, shape: [usize; 4]| {
            [("weight", &shape[..]), ("bias", &shape[..1])]
                .map(|(part, shape)| whole(format!("{key}.{part}"), format!("{parameter}.{part}"), shape))
        };
        let mut all: Vec<Entry> = Vec::new();
        all.extend(conv("feature_extractor_part1.0", "embed.conv0", [first, self.channels, SIDE, SIDE]));
        all.extend(conv("feature_extractor_part1.3", "embed.conv1", [second, first, SIDE, SIDE]));
        all.extend(linear("feature_extractor_part2.0", "embed.fc", [width, second * self.left * self.left]));
        if self.gated {
            all.extend(linear("attention_V.0", "attention.v", [hidden, width]));
            all.extend(linear("attention_U.0", "attention.u", [hidden, width]));
            all.extend(linear(self.last, "attention.w", [1, hidden]));
        } else {
            all.extend(linear("attention.0", "attention.v", [hidden, width]));
            all.extend(linear("attention.2", "attention.w", [1, hidden]));
        }
        all.extend(linear("classifier.0", "head", [1, width]));
        all
    }

    /// Height and width of the smallest picture of which the convolutions leave that.
    fn picture(&self) -> usize {
        4 * self.left + 12
    }
}

fn read(keys: &Keys, asked: &Asked) -> Result<Found, String> {
    let key = "feature_extractor_part1.0.weight";
    let [_, channels, ..] = *keys.shape(key)? else {
        return Err(format!("{key}: expected [{}, channels, {SIDE}, {SIDE}]", SIZES[0]));
    };
    let gated = keys.any("attention_V.");
    let last = if keys.has("attention_weights.weight") { "attention_weights" } else { "attention_w" };
    let [hidden, _] = keys.layer(if gated { "attention_V.0" } else { "attention.0" })?;
    let branches = keys.layer(if gated { last } else { "attention.2" })?[0];
    let outputs = keys.layer("classifier.0")?[0];
    if branches != 1 || outputs != 1 {
        return Err(format!(
            "{branches} branches of attention and {outputs} outputs; the published classes have one of each, and do not say \
             how several would be joined"
        ));
    }
    let [_, flat] = keys.layer("feature_extractor_part2.0")?;
    let left = (flat / SIZES[1]).isqrt();
    if left == 0 || left * left * SIZES[1] != flat {
        return Err(format!(
            "feature_extractor_part2.0 has {flat} inputs; expected {} channels of a square, of pictures that are one",
            SIZES[1]
        ));
    }
    let shape = Shape { channels, left, hidden, gated, last };
    let side = shape.picture();
    let mut assumed = of_classes(asked, true);
    assumed.push(format!(
        "instances are pictures of {side} x {side} pixels and {channels} channels, one channel behind the other (of up to {} a \
         side, what the convolutions leave would be the same)",
        side + 3
    ));
    assumed.push(
        "activations are those of the published class: ReLU, tanh (and sigmoid), sigmoid of the output; pixels are scaled as \
         its loader does"
            .to_owned(),
    );
    let method = match gated {
        true => GatedAttention::from_shape(&shape)?.into(),
        false => Attention::from_shape(&shape)?.into(),
    };
    let width = side * side * channels;
    let (target, entries, unused) = (Target::Classes, shape.entries(), Vec::new());
    Ok(Found { method, width, classes: 2, target, entries, unused, assumed })
}

impl<const GATED: bool> Settings<GATED> {
    fn from_shape(shape: &Shape) -> Result<Self, String> {
        let side = size(shape.picture())?;
        let image = [side, side, size(shape.channels)?];
        let (embed, dropout, attention) = (Vec::new(), 0.0, size(shape.hidden)?);
        Ok(Self { embedder: Embedder::Lenet, image, embed, dropout, attention, ..Self::default() })
    }
}

fn write(spec: &Spec) -> Option<Result<Written, String>> {
    let plain = spec.method.get::<Attention>().filter(|s| s.embedder != Embedder::Dense);
    let gated = spec.method.get::<GatedAttention>().filter(|s| s.embedder != Embedder::Dense);
    plain.map(|s| written(s, spec)).or_else(|| gated.map(|s| written(s, spec)))
}

fn written<const GATED: bool>(s: &Settings<GATED>, spec: &Spec) -> Result<Written, String> {
    only_classes(spec, "AttentionDeepMIL")?;
    let [height, wide, channels] = s.image.map(|side| side as usize);
    if s.embedder != Embedder::Lenet {
        return Err("its convolutions are other ones than those of lenet-small".into());
    }
    if s.heads != 1 || spec.classes.len() != 2 || height != wide {
        return Err(format!(
            "it has one branch of attention, two classes and square pictures, and this model {} heads, {} classes and \
             pictures of {height} x {wide}",
            s.heads,
            spec.classes.len()
        ));
    }
    let left = ((height - 4) / 2 - 4) / 2;
    let shape = Shape { channels, left, hidden: s.attention as usize, gated: GATED, last: "attention_w" };
    let mut remarks = Vec::new();
    for (name, ours, theirs) in [("channels", channels, 1), ("what is left of a side", left, 4)] {
        if ours != theirs {
            remarks.push(format!("{name}: {ours}, and {theirs} in its code"));
        }
    }
    let class = if GATED { "GatedAttention()" } else { "Attention()" }.to_owned();
    // Pixels are standardised one by one, which no convolution can take in.
    Ok(Written { entries: shape.entries(), class, first: Vec::new(), remarks })
}
