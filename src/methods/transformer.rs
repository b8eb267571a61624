//! A transformer over the instances of a bag, and attention pooling of what comes out of it (torchmil's
//! `TransformerABMIL`; Castro-Macias and others 2024 compare with it).
//!
//! A layer has Y = S Y + A(LN Y), with A the exact self-attention of all instances and no layer behind it, then Y = Y +
//! MLP(LN Y); S is the identity, or a layer where the width changes. After each layer the features are added once more. Of
//! the normalised rows h_n, f_n = w . tanh(V h_n), z = sum of softmax(f)_n h_n, and a linear head classifies z.
//! There are no places and no class token, so the order of instances does not matter.

use super::layers::{Network, Start};
use super::transmil::norm;
use super::{About, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::ops::dropout::Dropout;
use crate::ops::pointwise::{Activation, Gelu, Multiply};
use crate::ops::self_attention::{Energy, SelfAttention};
use crate::ops::update::Optimiser;
use crate::tape::{Columns, ValueId};
use serde::{Deserialize, Serialize};

/// A transformer with attention pooling; the defaults are those of the library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Transformer {
    /// Width of the layers: queries, keys and values of all heads.
    pub width: u32,
    /// Heads of the self-attention.
    pub heads: u32,
    /// Layers.
    pub layers: u32,
    /// The features are added to what comes out of each layer.
    pub add_self: bool,
    /// Layers have a network of two layers behind their attention.
    pub mlp: bool,
    /// Dropout in that network.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Dropout of the weights of the self-attention.
    #[serde(serialize_with = "super::layers::shortest")]
    pub attention_dropout: f32,
    /// Hidden width of the attention that pools.
    pub attention: u32,
    /// That attention is gated.
    pub gated: bool,
    /// How weights start.
    pub init: Start,
}

impl Default for Transformer {
    fn default() -> Self {
        Self {
            width: 512,
            heads: 8,
            layers: 1,
            add_self: true,
            mlp: true,
            dropout: 0.0,
            attention_dropout: 0.0,
            attention: 128,
            gated: false,
            init: Start::Torch,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("width", "width of the layers: queries, keys and values of all heads; a multiple of heads"),
    ("heads", "heads of the self-attention"),
    ("layers", "layers"),
    ("add_self", "add the features to what comes out of each layer; several layers then have the features' width"),
    ("mlp", "a network of four times the width behind each attention"),
    ("dropout", "dropout in that network, behind each of its two layers"),
    ("attention_dropout", "dropout of the weights of the self-attention"),
    ("attention", "hidden width of the attention that pools"),
    ("gated", "that attention is gated"),
    ("init", "start of the weights: torch or glorot"),
];

impl MilMethod for Transformer {
    const NAME: &'static str = "transformer";

    fn about() -> About {
        let paper = "Castro-Macias, Morales-Alvarez, Wu, Molina, Katsaggelos: Sm: enhanced localization in Multiple Instance \
                     Learning for medical imaging classification, 2024 (arXiv 2410.03276), as a baseline";
        About { title: "Transformer with attention pooling", paper, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        HELP.to_vec()
    }

    /// The library has no recipe; this is that of its example with CT scans, but for its batches of 64 bags.
    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adam(0.0), learning_rate: 5e-5, time_decay: 0.0, epochs: 10, bags: 8 }
    }

    /// More than two classes: softmax over a logit for each.
    ///
    /// # Errors
    /// [`Error::Setting`] for nothing where there must be something, a width that is no multiple of the heads, several
    /// layers to which features of another width would be added, or a dropout rate out of range.
    fn record(&self, net: &mut Network) -> Result<()> {
        self.check(net.tape.cols(net.features))?;
        net.start = self.init;
        let mut y = net.features;
        for number in 0..self.layers {
            y = self.layer(net, number, y)?;
        }
        let h = norm(net, "norm", y)?;
        let mut hidden = net.linear("attention.v", h, self.attention, Activation::Tanh)?;
        if self.gated {
            let gate = net.linear("attention.u", h, self.attention, Activation::Sigmoid)?;
            hidden = net.tape.push1(Multiply, &[hidden, gate])?;
        }
        let f = net.unbiased("attention.w", hidden, 1)?;
        let a = net.softmax_over_bags(f)?;
        let z = net.weighted_sum(h, a)?;
        let outputs = net.outputs();
        let z = net.bag_features(z, 1, "")?;
        let logits = net.linear("head", z, outputs, Activation::None)?;
        let link = net.one_of_all();
        let loss = net.bag_loss(logits, link, 0.0)?;
        net.finish((logits, link), (f, Columns::Heads), loss)?;
        net.attention(a, Columns::Heads);
        Ok(())
    }
}

impl Transformer {
    fn check(&self, features: u32) -> Result<()> {
        let sizes =
            [("width", self.width), ("heads", self.heads), ("layers", self.layers), ("attention", self.attention)];
        for (name, size) in sizes {
            if size == 0 {
                return Err(Error::setting(name, "must be above 0"));
            }
        }
        if !self.width.is_multiple_of(self.heads) {
            let message = format!("must be a multiple of the {} heads, found {}", self.heads, self.width);
            return Err(Error::setting("width", message));
        }
        if self.add_self && self.layers > 1 && self.width != features {
            let message = format!(
                "the {features} features of an instance cannot be added to rows of {} between {} layers; set width to \
                 {features}, or add_self to false",
                self.width, self.layers
            );
            return Err(Error::setting("add_self", message));
        }
        if !(0.0..1.0).contains(&self.attention_dropout) {
            let message = format!("must be at least 0 and below 1, found {}", self.attention_dropout);
            return Err(Error::setting("attention_dropout", message));
        }
        Ok(())
    }

    /// Layer `number` of y; the last one ends in the width of the features.
    fn layer(&self, net: &mut Network, number: u32, y: ValueId) -> Result<ValueId> {
        let name = |part: &str| format!("layer.{number}.{part}");
        let (width, features) = (self.width, net.tape.cols(net.features));
        let x = norm(net, &name("norm1"), y)?;
        let mut rows = Vec::new();
        for part in ["query", "key", "value"] {
            rows.push(net.unbiased(&name(part), x, width)?);
        }
        let dropout = match self.attention_dropout {
            0.0 => Dropout::default(),
            rate => Dropout::new(rate, net.tape.next_random_site()),
        };
        let scale = 1.0 / ((width / self.heads) as f32).sqrt();
        let op = SelfAttention { heads: self.heads, energy: Energy::Dot { scale }, dropout };
        let attended = net.tape.push(op, &[&rows, &net.tables()[..]].concat())?[0];
        let skipped = match net.tape.cols(y) == width {
            true => y,
            false => net.linear(&name("skip"), y, width, Activation::None)?,
        };
        let mut z = net.add(skipped, attended, 1.0, 1.0)?;
        if self.mlp {
            let x = norm(net, &name("norm2"), z)?;
            let x = net.linear(&name("mlp.0"), x, 4 * width, Activation::None)?;
            let x = net.tape.push1(Gelu, &[x])?;
            let x = net.dropout(x, self.dropout)?;
            let x = net.linear(&name("mlp.1"), x, width, Activation::None)?;
            let x = net.dropout(x, self.dropout)?;
            z = net.add(z, x, 1.0, 1.0)?;
        }
        if number + 1 == self.layers && features != width {
            z = net.linear(&name("out"), z, features, Activation::None)?;
        }
        match self.add_self {
            true => net.add(z, net.features, 1.0, 1.0),
            false => Ok(z),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, ParamInfo, Spec};

    fn model(method: Transformer, width: usize) -> Result<Model> {
        Model::new(Spec::new(method.into(), width, 2), 1)
    }

    /// As many parameters as the library's models have.
    #[test]
    fn sizes_of_the_library() {
        let count = |width| model(Transformer::default(), width).unwrap().parameters().iter().map(ParamInfo::len).sum();
        let counts: [usize; 2] = [512, 1024].map(count);
        assert_eq!(counts, [2_955_521, 4_860_161]);
    }

    #[test]
    fn shapes_that_clash_are_refused() {
        let base = || Transformer { width: 8, heads: 2, attention: 3, ..Transformer::default() };
        let refused = |method: Transformer| model(method, 6).unwrap_err().to_string();
        let message = refused(Transformer { layers: 2, ..base() });
        assert!(message.contains("6 features") && message.contains("set width to 6"), "{message}");
        model(Transformer { layers: 2, add_self: false, ..base() }, 6).unwrap();
        model(Transformer { layers: 2, ..base() }, 8).unwrap();
        assert!(refused(Transformer { heads: 3, ..base() }).contains("multiple of the 3 heads, found 8"));
        assert!(refused(Transformer { layers: 0, ..base() }).contains("layers: must be above 0"));
        assert!(refused(Transformer { attention_dropout: 1.0, ..base() }).contains("attention_dropout"));
        assert!(refused(Transformer { dropout: -0.5, ..base() }).contains("found -0.5"));
    }
}
