//! CLAM's baseline (mahmoodlab/CLAM, `MIL_fc`): a layer, ReLU, two outputs for each instance; the instance whose softmax has
//! the most of the second class answers for its bag. With one logit for two classes that is `mi-net` with the largest.

use super::clam::{size, within};
use super::keys::Keys;
use super::layout::{Entry, linear, softmax_head};
use super::{Asked, Found, Origin, Written, of_classes};
use crate::methods::MiNet;
use crate::methods::image::Embedder;
use crate::model::Spec;
use crate::ops::segment::Pool;
use crate::target::Target;

pub(super) const ORIGIN: Origin = Origin {
    title: "CLAM's baseline of one instance (MIL_fc)",
    known_by: "fc.0 and classifier, or classifier.0 and classifier.3",
    is,
    read,
    write,
};

/// The layer of older programs, within a wrapper for several GPUs or not.
fn sequence(keys: &Keys) -> &'static str {
    within(keys, "classifier", "classifier.module.")
}

fn is(keys: &Keys) -> bool {
    let older = sequence(keys);
    let sequence = || keys.any(&format!("{older}.0.")) && ["2", "3"].iter().any(|n| keys.any(&format!("{older}.{n}.")));
    let other = ["attention", "feature_extractor_part"].iter().any(|start| keys.any(start));
    !other && (keys.any("fc.0.") && (keys.any("classifier.") || keys.any("classifiers.")) || sequence())
}

fn entries(first: &str, last: &str, [embed, width]: [usize; 2]) -> Vec<Entry> {
    linear(first, "embed.0", [embed, width]).into_iter().chain(softmax_head(last, "score", 2, embed)).collect()
}

fn read(keys: &Keys, asked: &Asked) -> Result<Found, String> {
    if keys.any("classifiers.") {
        return Err(
            "classifiers are those of several classes (MIL_fc_mc), where the one instance that is surest of any class answers for \
             all of them; mi-net takes the largest of each class by itself, and no method here computes that"
                .into(),
        );
    }
    let older = sequence(keys);
    let third = keys.any(&format!("{older}.3."));
    let (first, last, dropout) = match (keys.any("fc.0."), third) {
        // A dropout behind fc.0 leaves no trace in its keys.
        (true, _) => ("fc.0".to_owned(), "classifier".to_owned(), 0.0),
        (false, true) => (format!("{older}.0"), format!("{older}.3"), 0.25),
        (false, false) => (format!("{older}.0"), format!("{older}.2"), 0.0),
    };
    let layer = keys.layer(&first)?;
    let [outputs, _] = keys.layer(&last)?;
    if outputs != 2 {
        return Err(format!("{last} has {outputs} outputs; MIL_fc has two"));
    }
    let mut assumed = of_classes(asked, true);
    assumed.push(
        "a bag is what its instance with the largest probability of the second class is (top_k of 1), a ReLU follows the first layer, \
         and softmax goes over the two outputs, as in the published class"
            .to_owned(),
    );
    let method = MiNet { embed: vec![size(layer[0])?], dropout, pool: Pool::Max, ..MiNet::default() };
    let (target, entries, unused) = (Target::Classes, entries(&first, &last, layer), Vec::new());
    Ok(Found { method: method.into(), width: layer[1], classes: 2, target, entries, unused, assumed })
}

/// As the authors' program has been since 2024; `None` for what it has not.
fn write(spec: &Spec) -> Option<Result<Written, String>> {
    let s = spec.method.get::<MiNet>()?;
    let ([embed], Embedder::Dense, Pool::Max) = (&s.embed[..], s.embedder, s.pool) else { return None };
    let embed = *embed as usize;
    if spec.target != Target::Classes || spec.classes.len() != 2 {
        return None;
    }
    let remarks =
        if embed == 512 { Vec::new() } else { vec![format!("its layer has {embed} outputs, and 512 in its code")] };
    let class = format!("MIL_fc(n_classes=2, embed_dim={})", spec.width);
    let entries = entries("fc.0", "classifier", [embed, spec.width]);
    Some(Ok(Written { entries, class, first: vec!["embed.0"], remarks }))
}
