//! The ABMIL of MIL-Lab (mahmoodlab/MIL-Lab): layers with ReLU, attention with any number of heads, softmax.

use super::clam::size;
use super::keys::Keys;
use super::layout::{Entry, linear, softmax_head};
use super::{Asked, Found, Origin, Written, of_classes};
use crate::methods::attention::Settings;
use crate::methods::{Attention, GatedAttention};
use crate::model::Spec;
use crate::target::Target;

pub(super) const ORIGIN: Origin = Origin {
    title: "MIL-Lab's ABMIL",
    known_by: "patch_embed.0, global_attn.attention_a.0 or global_attn.module.0, classifier",
    is: |keys| keys.any("global_attn.") && !keys.any("instance_classifiers."),
    read,
    write,
};

/// What the keys and shapes tell of the layers and the attention.
pub(super) struct Front {
    /// Where the layers stand in the Sequential, and their outputs.
    pub embed: Vec<(usize, usize)>,
    pub width: usize,
    pub gated: bool,
    /// The number of the second layer of plain attention.
    pub second: usize,
    pub hidden: usize,
    pub heads: usize,
}

/// Where layers of these widths stand, with dropout behind each.
pub(super) fn layers_of(widths: &[u32]) -> Vec<(usize, usize)> {
    widths.iter().enumerate().map(|(at, &width)| (3 * at, width as usize)).collect()
}

impl Front {
    pub fn of(keys: &Keys) -> Result<Self, String> {
        let numbers: Vec<usize> = keys.numbers("patch_embed.").into_iter().collect();
        let steps: Vec<usize> = numbers.windows(2).map(|pair| pair[1] - pair[0]).collect();
        if numbers.first() != Some(&0) || !steps.iter().all(|&s| s == 3) && !steps.iter().all(|&s| s == 2) {
            return Err(format!(
                "expected the layers of patch_embed at 0, 3, 6, .. (or 0, 2, 4, .. without dropout), found {numbers:?}"
            ));
        }
        let layers = numbers.iter().map(|&number| Ok((number, keys.layer(&format!("patch_embed.{number}"))?[0])));
        let embed = layers.collect::<Result<Vec<_>, String>>()?;
        let [_, width] = keys.layer("patch_embed.0")?;
        let gated = keys.any("global_attn.attention_a.");
        let second = keys.numbers("global_attn.module.").into_iter().find(|&n| n != 0).unwrap_or(3);
        if !gated && !matches!(second, 2 | 3) {
            return Err(format!(
                "expected the second layer of the attention at global_attn.module.3 or .2, found .{second}"
            ));
        }
        let [hidden, _] = keys.layer(if gated { "global_attn.attention_a.0" } else { "global_attn.module.0" })?;
        let last = if gated { "global_attn.attention_c".to_owned() } else { format!("global_attn.module.{second}") };
        let [heads, _] = keys.layer(&last)?;
        Ok(Self { embed, width, gated, second, hidden, heads })
    }

    /// Width of the rows that are pooled.
    pub fn outputs(&self) -> usize {
        self.embed.last().map_or(self.width, |&(_, outputs)| outputs)
    }

    /// Widths of the layers, as a setting.
    pub fn widths(&self) -> Result<Vec<u32>, String> {
        self.embed.iter().map(|&(_, outputs)| size(outputs)).collect()
    }

    /// Hidden width of the attention, as a setting.
    pub fn attention(&self) -> Result<u32, String> {
        size(self.hidden)
    }

    pub fn entries(&self) -> Vec<Entry> {
        let (mut all, mut inputs) = (Vec::new(), self.width);
        for (at, &(number, outputs)) in self.embed.iter().enumerate() {
            all.extend(linear(&format!("patch_embed.{number}"), &format!("embed.{at}"), [outputs, inputs]));
            inputs = outputs;
        }
        let (hidden, heads) = (self.hidden, self.heads);
        if self.gated {
            all.extend(linear("global_attn.attention_a.0", "attention.v", [hidden, inputs]));
            all.extend(linear("global_attn.attention_b.0", "attention.u", [hidden, inputs]));
            all.extend(linear("global_attn.attention_c", "attention.w", [heads, hidden]));
        } else {
            all.extend(linear("global_attn.module.0", "attention.v", [hidden, inputs]));
            all.extend(linear(&format!("global_attn.module.{}", self.second), "attention.w", [heads, hidden]));
        }
        all
    }
}

fn entries(front: &Front, classes: usize) -> Vec<Entry> {
    let mut all = front.entries();
    all.extend(softmax_head("classifier", "head", classes, front.heads * front.outputs()));
    all
}

/// Outputs of the layer `name`, which softmax follows, and how many classes that are. One output is a sigmoid where the
/// caller names two classes.
pub(super) fn outputs(keys: &Keys, name: &str, asked: &Asked) -> Result<(usize, usize), String> {
    let [outputs, _] = keys.layer(name)?;
    match (outputs, asked.classes.as_ref().map(Vec::len)) {
        (1, Some(2)) => Ok((1, 2)),
        (1, _) => Err(format!(
            "{name} has one output, where the published class has one of each class for softmax; if it is a logit of one class \
             against another, name both (--classes NEGATIVE,POSITIVE)"
        )),
        _ => Ok((outputs, outputs)),
    }
}

fn read(keys: &Keys, asked: &Asked) -> Result<Found, String> {
    if !keys.has("classifier.weight") {
        return Err("classifier.weight is missing: these weights make features of slides and classify nothing".into());
    }
    let front = Front::of(keys)?;
    let (found, classes) = outputs(keys, "classifier", asked)?;
    let mut assumed = of_classes(asked, classes == 2);
    if found == 1 {
        assumed
            .push("classifier has one output: the logit of the second class against the first, by sigmoid".to_owned());
    }
    assumed.push(
        "activations are those of the published class: ReLU, tanh (and sigmoid), softmax over the classes; dropout of 0.25, which \
         keys do not tell, does not act in predictions"
            .to_owned(),
    );
    let method = match front.gated {
        true => of::<true>(&front)?.into(),
        false => of::<false>(&front)?.into(),
    };
    let (target, width, entries, unused) = (Target::Classes, front.width, entries(&front, found), Vec::new());
    Ok(Found { method, width, classes, target, entries, unused, assumed })
}

fn of<const GATED: bool>(front: &Front) -> Result<Settings<GATED>, String> {
    let (embed, attention, heads) = (front.widths()?, front.attention()?, size(front.heads)?);
    Ok(Settings { embed, attention, heads, dropout: 0.25, ..Settings::default() })
}

/// Refuses what is no class of several.
pub(super) fn only_classes(spec: &Spec, program: &str) -> Result<(), String> {
    match &spec.target {
        Target::Classes => Ok(()),
        other => Err(format!("its bags have {}, those of {program} one of several classes", other.wants())),
    }
}

fn write(spec: &Spec) -> Option<Result<Written, String>> {
    let plain = spec.method.get::<Attention>().map(|s| written(s, spec));
    plain.or_else(|| spec.method.get::<GatedAttention>().map(|s| written(s, spec)))
}

fn written<const GATED: bool>(s: &Settings<GATED>, spec: &Spec) -> Result<Written, String> {
    only_classes(spec, "ABMIL")?;
    let embed = layers_of(&s.embed);
    let Some(&(_, outputs)) = embed.first().filter(|first| embed.iter().all(|(_, width)| *width == first.1)) else {
        return Err(format!("its layers in front are {:?}; ABMIL has at least one, all of one width", s.embed));
    };
    let (hidden, heads, classes) = (s.attention as usize, s.heads as usize, spec.classes.len());
    let front = Front { embed, width: spec.width, gated: GATED, second: 3, hidden, heads };
    let class = format!(
        "ABMIL(in_dim={}, embed_dim={outputs}, num_fc_layers={}, attn_dim={hidden}, gate={}, num_classes={classes}, \
         num_heads={heads})",
        spec.width,
        s.embed.len(),
        if GATED { "True" } else { "False" },
    );
    let remarks = if heads > 1 { vec!["versions before num_heads have one head".to_owned()] } else { Vec::new() };
    Ok(Written { entries: entries(&front, classes), class, first: vec!["embed.0"], remarks })
}
