//! Additive MIL (Javed and others 2022): the logits of a bag are a sum over its instances.
//!
//! t_n = pointer(h_n), a = softmax of t over the bag, g_n = psi(a_n h_n), and the bag's logits are the sum (or mean) of
//! the g_n. What an instance contributed to a class is g_nc and nothing else.

use super::checks::check_widths;
use super::layers::{Meaning, Network, Pool, Start};
use super::{About, Level, MilMethod, Recipe};
use crate::error::Result;
use crate::ops::pointwise::Activation;
use crate::ops::segment::{BagSoftmax, SegmentLogSumExp};
use crate::ops::update::Optimiser;
use crate::ops::weighting::RowScale;
use crate::tape::{Columns, ValueId};
use serde::{Deserialize, Serialize};

/// What the logits of a bag are of the contributions of its instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Total {
    /// Their sum.
    #[default]
    Sum,
    /// Their mean: what psi gives for an empty instance does not add up with the size of a bag.
    Mean,
}

/// Additive MIL; the defaults are those of its authors' published form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Additive {
    /// Widths of the fully connected layers in front; none takes the features themselves.
    pub embed: Vec<u32>,
    /// Dropout after each of them.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Widths of the hidden layers of the network that scores instances for the attention.
    pub pointer: Vec<u32>,
    /// Widths of the hidden layers of the network that makes contributions.
    pub psi: Vec<u32>,
    /// Sum or mean of the contributions.
    pub pool: Total,
    /// Biases in the layers that make contributions.
    pub bias: bool,
    /// Batch norm in the hidden layers of the attention, over all instances of a batch.
    pub batch_norm: bool,
    /// How weights start.
    pub init: Start,
}

impl Default for Additive {
    fn default() -> Self {
        Self {
            embed: Vec::new(),
            dropout: 0.0,
            pointer: vec![256, 256],
            psi: vec![256, 256],
            pool: Total::Sum,
            bias: true,
            batch_norm: true,
            init: Start::Torch,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers in front; [] for none"),
    ("dropout", "dropout after each of these layers"),
    ("pointer", "widths of the hidden layers that score instances for the attention; [] for none"),
    ("psi", "widths of the hidden layers that make contributions of weighted instances; [] for none"),
    ("pool", "the bag's logits are the sum or the mean of the contributions"),
    ("bias", "biases in the layers that make contributions, which count for every instance whatever its weight"),
    ("batch_norm", "batch norm in the hidden layers of the attention, over all instances of a batch"),
    ("init", "start of the weights: torch or glorot"),
];

/// Slope below zero of the attention's hidden layers.
const SLOPE: f32 = 0.2;

impl MilMethod for Additive {
    const NAME: &'static str = "additive";

    fn about() -> About {
        let paper = "Javed, Juyal, Padigela, Taylor-Weiner, Yu, Prakash: Additive MIL: Intrinsically Interpretable \
                     Multiple Instance Learning for Pathology, 2022 (arXiv 2206.01794)";
        About { title: "Additive MIL", paper, level: Level::Instance }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        HELP.to_vec()
    }

    /// The paper trains on patches; on features a recipe is ours.
    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adam(0.0), learning_rate: 1e-4, time_decay: 0.0, epochs: 100, bags: 1 }
    }

    /// More than two classes: softmax over a column of contributions a class.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a width of 0 or a dropout rate out of range.
    fn record(&self, net: &mut Network) -> Result<()> {
        net.start = self.init;
        let h = net.embed_with_dropout(net.features, &self.embed, self.dropout)?;
        let t = pointer(net, h, &self.pointer, self.batch_norm)?;
        // In two steps, so that psi may read it while a bag is in windows.
        let [tiles, bag_tiles, offsets] = net.tables();
        let log_sum = net.tape.push1(SegmentLogSumExp, &[t, tiles, bag_tiles, offsets])?;
        let attention = net.tape.push1(BagSoftmax, &[t, log_sum, tiles, bag_tiles, offsets])?;
        let weighted = net.tape.push1(RowScale, &[h, attention])?;
        let contributions = psi(net, weighted, self)?;
        let pool = if self.pool == Total::Sum { Pool::Sum } else { Pool::Mean };
        let logits = net.pool(contributions, pool)?;
        let link = net.one_of_all();
        let loss = net.bag_loss(logits, link, 0.0)?;
        net.finish((logits, link), (contributions, Columns::Classes), loss)?;
        net.scores_are(Meaning::Contribution);
        net.attention(attention, Columns::Heads);
        Ok(())
    }
}

/// A score for each instance: hidden layers with batch norm and leaky ReLU.
fn pointer(net: &mut Network, h: ValueId, widths: &[u32], norm: bool) -> Result<ValueId> {
    check_widths("pointer", widths)?;
    let mut x = h;
    for (i, &width) in widths.iter().enumerate() {
        let leaky = Activation::LeakyRelu(SLOPE);
        x = match norm {
            true => {
                // The norm would take a bias away again.
                let pre = net.unbiased(&format!("attention.{i}"), x, width)?;
                let normed = net.batch_norm(&format!("attention.{i}.norm"), "gain", pre, width)?;
                net.activate(normed, leaky)?
            }
            false => net.linear(&format!("attention.{i}"), x, width, leaky)?,
        };
    }
    net.linear("attention.w", x, 1, Activation::None)
}

/// A number for each output, of any sign.
fn psi(net: &mut Network, x: ValueId, settings: &Additive) -> Result<ValueId> {
    check_widths("psi", &settings.psi)?;
    let outputs = net.outputs();
    let mut x = x;
    for (i, width) in settings.psi.iter().copied().chain([outputs]).enumerate() {
        let activation = if i < settings.psi.len() { Activation::Relu } else { Activation::None };
        let name = format!("psi.{i}");
        x = match settings.bias {
            true => net.linear(&name, x, width, activation)?,
            false => {
                let pre = net.unbiased(&name, x, width)?;
                if activation == Activation::None { pre } else { net.activate(pre, activation)? }
            }
        };
    }
    Ok(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::{Bags, Features};
    use crate::device::Device;
    use crate::methods::Method;
    use crate::model::{Model, Spec};
    use crate::session::Session;
    use crate::tape::{Meaning, Storage};
    use crate::training::predict;

    /// Contributions add up to the logit whose probability is told, for every class.
    #[test]
    fn contributions_add_up() {
        for (classes, pool) in [(2, Total::Sum), (3, Total::Sum), (3, Total::Mean)] {
            let method = Method::from(Additive { pool, pointer: vec![5], psi: vec![6], ..Additive::default() });
            let model = Model::new(Spec::new(method, 3, classes), 4).unwrap();
            let values = (0..30).map(|i| ((i * 37 % 19) as f32 - 9.0) / 4.0).collect();
            let bags = Bags::packed(Features::F32(values), 3, &[7, 1, 2]).unwrap();
            let mut session = Session::new(&Device::host(), model, Storage::F32).unwrap();
            let found = predict(&mut session, &bags, &[0, 1, 2], None).unwrap();
            assert_eq!(found.scores_are, Meaning::Contribution);
            let columns = if classes == 2 { 1 } else { classes };
            let all = found.class_scores.as_ref().unwrap_or(&found.scores);
            for bag in 0..3 {
                let rows = found.offsets[bag]..found.offsets[bag + 1];
                let count = if pool == Total::Mean { rows.len() as f64 } else { 1.0 };
                let sum = |c: usize| rows.clone().map(|r| f64::from(all[r * columns + c])).sum::<f64>() / count;
                let logits: Vec<f64> = if classes == 2 { vec![0.0, sum(0)] } else { (0..classes).map(sum).collect() };
                let total: f64 = logits.iter().map(|l| l.exp()).sum();
                for (logit, p) in logits.iter().zip(found.bag(bag)) {
                    assert!((logit.exp() / total - f64::from(*p)).abs() < 1e-6, "{logit} {p}");
                }
            }
        }
    }

    #[test]
    fn layers_of_no_width_are_refused() {
        let refused = |method: Additive| Model::new(Spec::new(method.into(), 3, 2), 1).unwrap_err().to_string();
        let message = refused(Additive { pointer: vec![4, 0], ..Additive::default() });
        assert!(message.contains("pointer") && message.contains("layer 1 has width 0"), "{message}");
        assert!(refused(Additive { psi: vec![0], ..Additive::default() }).contains("layer 0 has width 0"));
    }
}
