//! The CLAM of MIL-Lab (mahmoodlab/MIL-Lab, `CLAMSB`): the layers and the attention of its ABMIL, and classifiers of
//! instances.

use super::keys::Keys;
use super::layout::{Entry, linear};
use super::mil_lab::{Front, layers_of, only_classes};
use super::{Asked, Found, Origin, Written, of_classes};
use crate::methods::ClamSb;
use crate::methods::clam::Loss;
use crate::model::Spec;
use crate::target::Target;

pub(super) const ORIGIN: Origin = Origin {
    title: "MIL-Lab's CLAM",
    known_by: "patch_embed.0, global_attn.attention_a.0 or global_attn.module.0, classifier, instance_classifiers.0",
    is: |keys| keys.any("global_attn.") && keys.any("instance_classifiers."),
    read,
    write,
};

fn entries(front: &Front, classes: usize) -> Vec<Entry> {
    let (mut all, embed) = (front.entries(), front.outputs());
    all.extend(linear("classifier", "head", [classes, embed]));
    for class in 0..classes {
        all.extend(linear(&format!("instance_classifiers.{class}"), &format!("instances.{class}"), [2, embed]));
    }
    all
}

fn read(keys: &Keys, asked: &Asked) -> Result<Found, String> {
    let front = Front::of(keys)?;
    let [classes, _] = keys.layer("classifier")?;
    if classes < 2 || front.heads != 1 {
        return Err(format!(
            "{classes} outputs and {} branches of attention; expected at least 2 outputs and one branch",
            front.heads
        ));
    }
    let unused: Vec<(String, String)> = keys
        .all()
        .filter(|key| key.starts_with("instance_loss_fn"))
        .map(|key| (key.to_owned(), "of the loss of instances, which computes no prediction".to_owned()))
        .collect();
    let inst_loss = if unused.is_empty() { Loss::Ce } else { Loss::Svm };
    let mut assumed = of_classes(asked, classes == 2);
    assumed.push(
        "activations are those of the published class: ReLU, tanh (and sigmoid), softmax over the classes; dropout of 0.25, which \
         keys do not tell, does not act in predictions"
            .to_owned(),
    );
    assumed.push(format!(
        "k (8), subtyping (false), bag_weight (0.7) and bag_loss (ce) are the defaults of MIL-Lab, inst_loss is {}: none is in the \
         weights, and none acts in predictions",
        if inst_loss == Loss::Svm { "svm, as it has left a buffer" } else { "ce" },
    ));
    let method = ClamSb {
        embed: front.widths()?,
        attention: front.attention()?,
        gated: front.gated,
        dropout: 0.25,
        inst_loss,
        ..ClamSb::default()
    };
    let (width, entries) = (front.width, entries(&front, classes));
    Ok(Found { method: method.into(), width, classes, target: Target::Classes, entries, unused, assumed })
}

/// Of several layers in front, which CLAM by its authors has not.
fn write(spec: &Spec) -> Option<Result<Written, String>> {
    let s = spec.method.get::<ClamSb>().filter(|s| is_deep(&s.embed) && s.cluster)?;
    Some(only_classes(spec, "CLAM").map(|()| {
        let (hidden, classes) = (s.attention as usize, spec.classes.len());
        let front =
            Front { embed: layers_of(&s.embed), width: spec.width, gated: s.gated, second: 3, hidden, heads: 1 };
        let class = format!(
            "CLAMSB(in_dim={}, embed_dim={}, n_fc_layers={}, gate={}, attention_dim={hidden}, num_classes={classes})",
            spec.width,
            front.outputs(),
            s.embed.len(),
            if s.gated { "True" } else { "False" },
        );
        Written { entries: entries(&front, classes), class, first: vec!["embed.0"], remarks: Vec::new() }
    }))
}

/// Several layers, all of one width.
pub(super) fn is_deep(embed: &[u32]) -> bool {
    embed.len() > 1 && embed.iter().all(|width| *width == embed[0])
}
