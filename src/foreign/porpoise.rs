//! Porpoise's attention MIL of slides alone (mahmoodlab/PORPOISE, `PorpoiseAMIL`): the attention of CLAM and a classifier of
//! hazards of intervals of time, or of classes.

use super::clam::{size, within};
use super::keys::Keys;
use super::layout::{Entry, linear, softmax_head};
use super::{Asked, Found, Origin, Written, of_classes};
use crate::methods::GatedAttention;
use crate::methods::image::Embedder;
use crate::model::Spec;
use crate::target::{Hazards, Target};

pub(super) const ORIGIN: Origin = Origin {
    title: "Porpoise (PorpoiseAMIL)",
    known_by: "attention_net.0, attention_net.3.attention_a.0, classifier",
    is,
    read,
    write,
};

/// Parts of its relatives, which no method here computes, and what they are.
const OTHERS: [(&str, &str); 4] = [
    ("fc_omic.", "a network of molecular features"),
    ("mm.", "a fusion with molecular features"),
    ("classifier_mm.", "the classifier of a fusion with molecular features"),
    ("rho.", "a layer with ReLU between the attention and the classifier (MIL_Attention_FC_surv)"),
];

pub(super) fn is(keys: &Keys) -> bool {
    let of_it = |start| keys.any(start);
    keys.any("attention_net.") && (of_it("classifier.") || OTHERS.iter().any(|(start, _)| of_it(start)))
}

/// What the keys and shapes tell.
struct Shape {
    net: &'static str,
    width: usize,
    embed: usize,
    hidden: usize,
    outputs: usize,
    hazards: bool,
}

impl Shape {
    fn entries(&self) -> Vec<Entry> {
        let Self { net, width, embed, hidden, outputs, .. } = *self;
        let block = format!("{net}.3");
        let mut all: Vec<Entry> = linear(&format!("{net}.0"), "embed.0", [embed, width]).into();
        all.extend(linear(&format!("{block}.attention_a.0"), "attention.v", [hidden, embed]));
        all.extend(linear(&format!("{block}.attention_b.0"), "attention.u", [hidden, embed]));
        all.extend(linear(&format!("{block}.attention_c"), "attention.w", [1, hidden]));
        all.extend(match self.hazards {
            true => linear("classifier", "head", [outputs, embed]),
            false => softmax_head("classifier", "head", outputs, embed),
        });
        all
    }
}

fn read(keys: &Keys, asked: &Asked) -> Result<Found, String> {
    let found: Vec<String> = OTHERS
        .iter()
        .filter(|(start, _)| keys.any(start))
        .map(|(start, what)| format!("{}, {what}", start.trim_end_matches('.')))
        .collect();
    if !found.is_empty() {
        return Err(format!("there are {}; no method here computes that", found.join("; ")));
    }
    let net = within(keys, "attention_net", "attention_net.module.");
    let [embed, width] = keys.layer(&format!("{net}.0"))?;
    let [hidden, _] = keys.layer(&format!("{net}.3.attention_a.0"))?;
    let [outputs, _] = keys.layer("classifier")?;
    let mut assumed = Vec::new();
    let (classes, target) = match (&asked.edges, &asked.classes) {
        (Some(edges), None) if edges.len() + 1 == outputs => {
            let hazards = Target::Hazards(Hazards { edges: edges.clone(), alpha: 0.0 }).checked();
            (0, hazards.map_err(|e| e.to_string())?)
        }
        (Some(edges), None) => {
            return Err(format!(
                "classifier has {outputs} outputs, hazards of as many intervals of time, which meet at {} times; found {}",
                outputs - 1,
                edges.len()
            ));
        }
        (None, Some(_)) if outputs > 1 => (outputs, Target::Classes),
        (Some(_), Some(_)) => return Err("its outputs are hazards of intervals (edges) or classes, not both".into()),
        _ => {
            return Err(format!(
                "classifier has {outputs} outputs, which are hazards of as many intervals of time, or classes; the weights do not \
                 tell. --edges TIME,.. says where intervals meet ({} times, in the unit of the training's), --classes NAME,.. that \
                 they are classes",
                outputs.saturating_sub(1)
            ));
        }
    };
    let hazards = matches!(target, Target::Hazards(_));
    if hazards {
        assumed.push(
            "each output is the logit of the hazard of an interval of time, as in the authors' scripts; where intervals meet was given, \
             and alpha (0) acts in no prediction"
                .to_owned(),
        );
    } else {
        assumed.extend(of_classes(asked, classes == 2));
        assumed.push("softmax goes over the outputs".to_owned());
    }
    assumed.push(
        "activations are those of the published class: ReLU, tanh and sigmoid; its dropout of 0.25 does not act in predictions"
            .to_owned(),
    );
    let method = GatedAttention {
        embed: vec![size(embed)?],
        attention: size(hidden)?,
        dropout: 0.25,
        ..GatedAttention::default()
    };
    let entries = Shape { net, width, embed, hidden, outputs, hazards }.entries();
    Ok(Found { method: method.into(), width, classes, target, entries, unused: Vec::new(), assumed })
}

/// Of hazards alone: with classes it is what MIL-Lab's ABMIL is.
fn write(spec: &Spec) -> Option<Result<Written, String>> {
    let s = spec.method.get::<GatedAttention>().filter(|s| s.embedder == Embedder::Dense)?;
    let Target::Hazards(hazards) = &spec.target else { return None };
    let ([embed], 1) = (&s.embed[..], s.heads) else {
        let (layers, heads) = (s.embed.len(), s.heads);
        return Some(Err(format!("it has one layer in front and one head, and this model {layers} and {heads}")));
    };
    let (embed, hidden, outputs) = (*embed as usize, s.attention as usize, hazards.edges.len() + 1);
    let mut remarks = Vec::new();
    if (spec.width, embed, hidden) != (1024, 512, 256) {
        remarks.push(format!("its size_dict needs an entry [{}, {embed}, {hidden}]", spec.width));
    }
    let edges: Vec<String> = hazards.edges.iter().map(f32::to_string).collect();
    remarks.push(format!("outputs are logits of hazards of intervals that meet at {}", edges.join(", ")));
    let shape = Shape { net: "attention_net", width: spec.width, embed, hidden, outputs, hazards: true };
    let class = format!("PorpoiseAMIL(n_classes={outputs})");
    Some(Ok(Written { entries: shape.entries(), class, first: vec!["embed.0"], remarks }))
}
