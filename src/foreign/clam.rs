//! CLAM (mahmoodlab/CLAM): `CLAM_SB` and `CLAM_MB`, gated or plain, of any size.
//!
//! `attention_net` is a Sequential: a layer, ReLU, dropout where there is any, and the attention; so dropout moves the number
//! of the attention from 2 to 3, and in plain attention that of its second layer. Programs before 2021 wrapped it for several
//! GPUs (`attention_net.module.`); plain attention has a part called `module` of its own.

use super::keys::Keys;
use super::layout::{Entry, linear};
use super::mil_lab_clam::is_deep;
use super::{Asked, Found, Origin, Written, of_classes, porpoise};
use crate::methods::clam::{ClamMb, ClamSb, Loss, Settings};
use crate::model::Spec;
use crate::target::Target;

pub(super) const ORIGIN: Origin = Origin {
    title: "CLAM (CLAM_SB, CLAM_MB)",
    known_by: "attention_net.0, attention_net.3.attention_a.0 or attention_net.3.module.0, classifiers, \
               instance_classifiers.0",
    is: |keys| keys.any("attention_net.") && !porpoise::is(keys),
    read,
    write,
};

/// What the keys and shapes of a CLAM tell.
#[derive(Clone, Debug)]
struct Shape {
    /// `attention_net`, or that within a wrapper.
    net: &'static str,
    /// `classifiers`, or that within a wrapper.
    head: &'static str,
    /// The number of the attention.
    attention: usize,
    /// The number of the second layer of plain attention.
    second: usize,
    gated: bool,
    multi: bool,
    width: usize,
    embed: usize,
    hidden: usize,
    classes: usize,
    cluster: bool,
}

impl Shape {
    fn entries(&self) -> Vec<Entry> {
        let Self { net, head, classes, embed, hidden, .. } = *self;
        let block = format!("{net}.{}", self.attention);
        let columns = if self.multi { classes } else { 1 };
        let mut all = vec![linear(&format!("{net}.0"), "embed.0", [embed, self.width])];
        if self.gated {
            all.push(linear(&format!("{block}.attention_a.0"), "attention.v", [hidden, embed]));
            all.push(linear(&format!("{block}.attention_b.0"), "attention.u", [hidden, embed]));
            all.push(linear(&format!("{block}.attention_c"), "attention.w", [columns, hidden]));
        } else {
            all.push(linear(&format!("{block}.module.0"), "attention.v", [hidden, embed]));
            all.push(linear(&format!("{block}.module.{}", self.second), "attention.w", [columns, hidden]));
        }
        if self.multi {
            all.extend((0..classes).map(|c| linear(&format!("{head}.{c}"), &format!("head.{c}"), [1, embed])));
        } else {
            all.push(linear(head, "head", [classes, embed]));
        }
        if self.cluster {
            let key = |c| format!("instance_classifiers.{c}");
            all.extend((0..classes).map(|c| linear(&key(c), &format!("instances.{c}"), [2, embed])));
        }
        all.into_iter().flatten().collect()
    }
}

/// The name of a part, or that of what a wrapper has in it.
pub(super) fn within(keys: &Keys, name: &'static str, wrapped: &'static str) -> &'static str {
    if keys.any(wrapped) { wrapped.trim_end_matches('.') } else { name }
}

fn read(keys: &Keys, asked: &Asked) -> Result<Found, String> {
    let net = within(keys, "attention_net", "attention_net.module.");
    let head = within(keys, "classifiers", "classifiers.module.");
    let [embed, width] = keys.layer(&format!("{net}.0"))?;
    let numbers: Vec<usize> = keys.numbers(&format!("{net}.")).into_iter().filter(|&n| n != 0).collect();
    let [attention @ (2 | 3)] = numbers[..] else {
        return Err(format!(
            "expected the attention at {net}.2, or at {net}.3 behind dropout, and nothing else with weights behind {net}.0; found \
             parts {numbers:?}"
        ));
    };
    let block = format!("{net}.{attention}");
    let gated = keys.any(&format!("{block}.attention_a."));
    let second = keys.numbers(&format!("{block}.module.")).into_iter().find(|&n| n != 0).unwrap_or(3);
    if !gated && !matches!(second, 2 | 3) {
        return Err(format!("expected the second layer of the attention at {block}.module.2 or .3, found .{second}"));
    }
    let (first, last) = match gated {
        true => (format!("{block}.attention_a.0"), format!("{block}.attention_c")),
        false => (format!("{block}.module.0"), format!("{block}.module.{second}")),
    };
    let [hidden, _] = keys.layer(&first)?;
    let [columns, _] = keys.layer(&last)?;
    let multi = keys.has(&format!("{head}.0.weight"));
    let classes = match multi {
        true => keys.numbers(&format!("{head}.")).len(),
        false => {
            let missing = |e| format!("{e} (CLAM_SB has {head}.weight, CLAM_MB {head}.0.weight and so on)");
            keys.layer(head).map_err(missing)?[0]
        }
    };
    if classes < 2 || columns != if multi { classes } else { 1 } {
        let of = if multi { "CLAM_MB has as many" } else { "CLAM_SB has one" };
        return Err(format!("{classes} classes and {columns} branches of attention; expected at least 2, and {of}"));
    }
    let cluster = keys.any("instance_classifiers.");
    let shape = Shape { net, head, attention, second, gated, multi, width, embed, hidden, classes, cluster };
    let loss = |key: &&str| key.starts_with("instance_loss_fn");
    let unused: Vec<(String, String)> = keys
        .all()
        .filter(loss)
        .map(|key| (key.to_owned(), "of the loss of instances, which computes no prediction".to_owned()))
        .collect();
    let hinge = !unused.is_empty();
    let rate = if attention == 3 { 0.25 } else { 0.0 };
    let mut assumed = of_classes(asked, classes == 2);
    assumed
        .push("activations are those of the published class: ReLU, tanh and sigmoid, softmax over the classes".into());
    if attention == 3 {
        assumed.push(format!(
            "{net}.2 is dropout, whose rate keys do not tell: {rate} is assumed, which does not act in predictions"
        ));
    }
    let of_loss = if hinge { "svm, as it has left a buffer" } else { "ce" };
    assumed.push(if cluster {
        format!(
            "k (8), subtyping (false), bag_weight (0.7) and bag_loss (ce) are the authors' defaults, inst_loss is {of_loss}: \
             none is in the weights, and none acts in predictions"
        )
    } else {
        "there are no instance_classifiers: cluster is false, and there is no evidence of instances".into()
    });
    let inst_loss = if hinge { Loss::Svm } else { Loss::Ce };
    let method = match multi {
        true => ClamMb { inst_loss, ..settings(&shape, rate)? }.into(),
        false => ClamSb { inst_loss, ..settings(&shape, rate)? }.into(),
    };
    Ok(Found { method, width, classes, target: Target::Classes, entries: shape.entries(), unused, assumed })
}

fn settings<const MULTI: bool>(shape: &Shape, dropout: f32) -> Result<Settings<MULTI>, String> {
    Ok(Settings {
        embed: vec![size(shape.embed)?],
        attention: size(shape.hidden)?,
        dropout,
        gated: shape.gated,
        cluster: shape.cluster,
        ..Settings::default()
    })
}

/// A width as a setting.
pub(super) fn size(width: usize) -> Result<u32, String> {
    u32::try_from(width).map_err(|_| format!("a layer of {width} outputs is beyond what is computed"))
}

/// As the authors' program has been since 2024, with dropout in front of the attention and inside of it.
fn write(spec: &Spec) -> Option<Result<Written, String>> {
    // Several layers in front are MIL-Lab's.
    let one = spec.method.get::<ClamSb>().filter(|s| !(is_deep(&s.embed) && s.cluster));
    let each = spec.method.get::<ClamMb>();
    one.map(|s| written(s, spec)).or_else(|| each.map(|s| written(s, spec)))
}

fn written<const MULTI: bool>(s: &Settings<MULTI>, spec: &Spec) -> Result<Written, String> {
    let [embed] = s.embed[..] else {
        return Err(format!("there are {} layers in front of the attention; CLAM has one", s.embed.len()));
    };
    let (embed, hidden, classes, width) = (embed as usize, s.attention as usize, spec.classes.len(), spec.width);
    let (net, head, cluster) = ("attention_net", "classifiers", s.cluster);
    let shape = Shape {
        net,
        head,
        attention: 3,
        second: 3,
        gated: s.gated,
        multi: MULTI,
        width,
        embed,
        hidden,
        classes,
        cluster,
    };
    let (class, gate) = (if MULTI { "CLAM_MB" } else { "CLAM_SB" }, if s.gated { "True" } else { "False" });
    let class = format!("{class}(gate={gate}, n_classes={classes}, embed_dim={width})");
    let mut remarks = Vec::new();
    match (embed, hidden) {
        (512, 256) => {}
        (512, 384) => remarks.push("this is the big model: size_arg=\"big\"".to_owned()),
        _ => remarks.push(format!("its size_dict needs an entry [{width}, {embed}, {hidden}]")),
    }
    if !cluster {
        remarks.push("there are no instance_classifiers: load_state_dict(.., strict=False)".to_owned());
    }
    Ok(Written { entries: shape.entries(), class, first: vec!["embed.0"], remarks })
}
