//! MILLET (Early and others 2024): pools of series that say which of their instances speak for which class.
//!
//! Instances are embedded, z_n; what encodes their places in the bag is added. a_n = sigmoid(w . tanh(V z_n)), of each
//! instance by itself, and y_n = W z_n + b. Conjunctive pooling has the mean of a_n y_n for logits; its siblings are the
//! mean of y_n, the classifier of the mean of a_n z_n, the mean of the classifier of a_n z_n, and that of the mean of z_n.

use super::layers::{Meaning, Network, Start};
use super::{About, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::ops::pointwise::Activation;
use crate::ops::positions::AddPositions;
use crate::ops::segment;
use crate::ops::update::Optimiser;
use crate::ops::weighting::RowScale;
use crate::tape::{Columns, ValueId};
use serde::{Deserialize, Serialize};

/// What the logits of a bag are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// The mean of a_n y_n.
    #[default]
    Conjunctive,
    /// The mean of the classifier of a_n z_n.
    Additive,
    /// The mean of y_n.
    Instance,
    /// The classifier of the mean of a_n z_n.
    Attention,
    /// The classifier of the mean of z_n, without places and dropout.
    Gap,
}

/// MILLET; the defaults are the paper's, with a layer in the place of its networks for series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Millet {
    /// Widths of the fully connected layers in front; none takes the features themselves.
    pub embed: Vec<u32>,
    /// What pools.
    pub pool: Pool,
    /// Width of the attention's hidden layer.
    pub attention: u32,
    /// Sines and cosines of an instance's place in its bag are added to its embedding.
    pub positions: bool,
    /// Dropout of the embedding, in front of attention and classifier alike.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// How weights start.
    pub init: Start,
}

impl Default for Millet {
    fn default() -> Self {
        Self {
            embed: vec![128],
            pool: Pool::Conjunctive,
            attention: 8,
            positions: true,
            dropout: 0.1,
            init: Start::Torch,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers in front; [] for none"),
    ("pool", "conjunctive, additive, instance, attention or gap (the mean of the embeddings)"),
    ("attention", "width of the attention's hidden layer"),
    ("positions", "add where in its bag an instance stands; false for bags that have no order. Not for gap"),
    ("dropout", "dropout of the embedding, in front of attention and classifier alike. Not for gap"),
    ("init", "start of the weights: torch or glorot"),
];

impl MilMethod for Millet {
    const NAME: &'static str = "millet";

    fn about() -> About {
        let paper = "Early, Cheung, Cutajar, Xie, Kandola, Twomey: Inherently Interpretable Time Series Classification \
                     via Multiple Instance Learning, 2024 (arXiv 2311.10049)";
        About { title: "MILLET", paper, level: Level::Instance }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        HELP.to_vec()
    }

    /// The paper takes 2 to 16 series an update, a tenth of all, and keeps the weights of the lowest training loss.
    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adam(0.0), learning_rate: 1e-3, time_decay: 0.0, epochs: 1500, bags: 16 }
    }

    /// Softmax over the classes; two of them have one logit, which is the difference of the paper's two.
    ///
    /// # Errors
    /// [`Error::Setting`] for a width of 0, an odd one with places, or a dropout rate out of range.
    fn record(&self, net: &mut Network) -> Result<()> {
        if self.attention == 0 {
            return Err(Error::setting("attention", "the hidden width must be above 0"));
        }
        net.start = self.init;
        let embedded = net.embed_with_dropout(net.features, &self.embed, 0.0)?;
        let z = if self.pool == Pool::Gap { embedded } else { self.placed(net, embedded)? };
        let read = self.read(net, z)?;
        let link = net.one_of_all();
        let loss = net.bag_loss(read.logits, link, 0.0)?;
        net.finish((read.logits, link), (read.map, read.columns), loss)?;
        match read.weights {
            Some(weights) if weights == read.map => net.scores_are(Meaning::Weight),
            Some(weights) => {
                net.scores_are(Meaning::Contribution);
                net.tell_of_instances("weight", weights, Meaning::Weight)?;
            }
            None => net.scores_are(Meaning::Contribution),
        }
        Ok(())
    }
}

/// What a pool says of bags and instances.
struct Read {
    logits: ValueId,
    /// What the paper shows of instances, and what its columns are.
    map: ValueId,
    columns: Columns,
    /// How much each instance counts, where that is learnt.
    weights: Option<ValueId>,
}

impl Millet {
    /// Embeddings that know their place, after dropout.
    fn placed(&self, net: &mut Network, z: ValueId) -> Result<ValueId> {
        if !self.positions {
            return net.dropout(z, self.dropout);
        }
        let width = net.tape.cols(z);
        if !width.is_multiple_of(2) {
            let message = format!(
                "places are pairs of a sine and a cosine, and the embedding has {width} columns, an odd number; give embed an \
                 even last width, or set positions to false"
            );
            return Err(Error::setting("positions", message));
        }
        let [tiles, bag_tiles, offsets] = net.tables();
        let z = net.tape.push1(AddPositions::new(width), &[z, tiles, bag_tiles, offsets])?;
        net.dropout(z, self.dropout)
    }

    fn attend(&self, net: &mut Network, z: ValueId) -> Result<ValueId> {
        let inner = net.linear("attention.v", z, self.attention, Activation::Tanh)?;
        net.linear("attention.w", inner, 1, Activation::Sigmoid)
    }

    fn read(&self, net: &mut Network, z: ValueId) -> Result<Read> {
        let outputs = net.outputs();
        let classify = |net: &mut Network, x: ValueId| net.linear("head", x, outputs, Activation::None);
        let mean = |net: &mut Network, x: ValueId| net.pool(x, segment::Pool::Mean);
        let signed =
            |logits: ValueId, map: ValueId, weights| Ok(Read { logits, map, columns: Columns::Classes, weights });
        match self.pool {
            Pool::Conjunctive => {
                let weights = self.attend(net, z)?;
                let each = classify(net, z)?;
                let map = net.tape.push1(RowScale, &[each, weights])?;
                signed(mean(net, map)?, map, Some(weights))
            }
            Pool::Additive => {
                let weights = self.attend(net, z)?;
                let weighted = net.tape.push1(RowScale, &[z, weights])?;
                let each = classify(net, weighted)?;
                // In its map the paper weights a second time.
                let map = net.tape.push1(RowScale, &[each, weights])?;
                signed(mean(net, each)?, map, Some(weights))
            }
            Pool::Instance => {
                let each = classify(net, z)?;
                signed(mean(net, each)?, each, None)
            }
            Pool::Attention => {
                let weights = self.attend(net, z)?;
                let weighted = net.tape.push1(RowScale, &[z, weights])?;
                let pooled = mean(net, weighted)?;
                let logits = classify(net, pooled)?;
                Ok(Read { logits, map: weights, columns: Columns::Heads, weights: Some(weights) })
            }
            Pool::Gap => {
                let pooled = mean(net, z)?;
                let logits = classify(net, pooled)?;
                // The class activation map: the classifier without its bias.
                let map = net.weights_shared(z, logits)?;
                signed(logits, map, None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, Spec};

    #[test]
    fn odd_embeddings_have_no_places() {
        let model = |settings: Millet| Model::new(Spec::new(settings.into(), 3, 2), 1).map(|_| ());
        let message = model(Millet { embed: vec![7], ..Millet::default() }).unwrap_err().to_string();
        assert!(message.contains("7 columns, an odd number") && message.contains("positions to false"), "{message}");
        model(Millet { embed: vec![7], positions: false, ..Millet::default() }).unwrap();
        model(Millet { embed: vec![7], pool: Pool::Gap, ..Millet::default() }).unwrap();
        assert!(model(Millet { attention: 0, ..Millet::default() }).unwrap_err().to_string().contains("above 0"));
    }
}
