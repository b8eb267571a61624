//! Loss-Attention (Shi, Xing, Xie, Zhang, Cui, Yang 2020): one classifier for instances and bag, and attention that is
//! what the loss of the instances is made of.
//!
//! Z_n = W h_n + b, l_n = ln of the sum over the classes of e^Z, a = softmax of l over the bag, and the bag's logits are
//! the sum of a_n Z_n, which is the classifier of the sum of a_n h_n since the weights sum to 1. So nothing as wide as an
//! embedding is pooled. Each instance is classified by the label of its bag, too, and counts as much as its weight.

use super::checks::check_least;
use super::image::Embedder;
use super::layers::{Meaning, Network, Pool, Start, Weight};
use super::{About, Level, MilMethod, Recipe};
use crate::error::Result;
use crate::kernels::launch::Input;
use crate::ops::pointwise::{Activation, Affine, Multiply};
use crate::ops::reduce::{RowLogSoftmax, RowSum};
use crate::ops::segment::{BagSoftmax, SegmentLogSumExp};
use crate::ops::update::Optimiser;
use crate::ops::weighting::RowScale;
use crate::tape::{Columns, Link, ValueId};
use serde::{Deserialize, Serialize};

/// Loss-Attention; the defaults are the paper's for feature vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossAttention {
    /// What embeds an instance: the layers of `embed`, or two convolutions in their place.
    pub embedder: Embedder,
    /// Height, width and channels of the pictures that LeNet reads.
    pub image: [u32; 3],
    /// Widths of the fully connected layers in front; none takes the features themselves.
    pub embed: Vec<u32>,
    /// Dropout after each of them or after LeNet, or inside of the small LeNet.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Weight of the loss of the instances.
    #[serde(serialize_with = "super::layers::shortest")]
    pub lambda: f32,
    /// Divide the loss of the instances by their number, as the authors' code does; else their weighted sum.
    pub mean_over_instances: bool,
    /// How weights start.
    pub init: Start,
}

impl Default for LossAttention {
    fn default() -> Self {
        Self {
            embedder: Embedder::Dense,
            image: [28, 28, 1],
            embed: vec![256, 128, 64],
            dropout: 0.5,
            lambda: 0.1,
            mean_over_instances: false,
            init: Start::Torch,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers in front; [] for none"),
    ("dropout", "dropout after each of these layers or after lenet; inside of lenet-small"),
    ("lambda", "weight of the loss of the instances, each classified by the label of its bag; 0 for none"),
    ("mean_over_instances", "divide the loss of the instances by their number, as the authors' code does"),
    ("init", "start of the weights: torch or glorot"),
];

impl MilMethod for LossAttention {
    const NAME: &'static str = "loss-attention";

    fn about() -> About {
        let paper = "Shi, Xing, Xie, Zhang, Cui, Yang: Loss-Based Attention for Deep Multiple Instance Learning, \
                     AAAI 2020 (doi 10.1609/aaai.v34i04.6030)";
        About { title: "Loss-Attention", paper, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [HELP, super::image::HELP].concat()
    }

    /// The paper also keeps the weights of the lowest validation error.
    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adam(5e-4), learning_rate: 1e-4, time_decay: 0.0, epochs: 100, bags: 1 }
    }

    /// A column and a softmax for two classes too: attention looks at the logits of all classes.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a negative weight, a width of 0 or a bad dropout rate.
    fn record(&self, net: &mut Network) -> Result<()> {
        check_least("lambda", self.lambda, 0.0)?;
        net.start = self.init;
        let features = net.features;
        let h = match self.embedder.record(net, self.image, self.dropout)? {
            Some(h) => net.dropout(h, self.embedder.dropout_behind(self.dropout))?,
            None => net.embed_with_dropout(features, &self.embed, self.dropout)?,
        };
        net.only_classes(Self::NAME, "instances weigh by the loss of their class")?;
        let z = net.linear("head", h, net.classes as u32, Activation::None)?;
        let rows = net.tape.push(RowLogSoftmax, &[z])?;
        let (logs, energy) = (rows[0], rows[1]);
        let [tiles, bag_tiles, offsets] = net.tables();
        // In two steps, so that weighted rows may read it while a bag is in windows.
        let log_sum = net.tape.push1(SegmentLogSumExp, &[energy, tiles, bag_tiles, offsets])?;
        let attention = net.tape.push1(BagSoftmax, &[energy, log_sum, tiles, bag_tiles, offsets])?;
        let weighted = net.tape.push1(RowScale, &[z, attention])?;
        let logits = net.pool(weighted, Pool::Sum)?;
        let loss = net.bag_loss(logits, Link::Softmax, 0.0)?;
        net.finish((logits, Link::Softmax), (attention, Columns::Heads), loss)?;
        net.scores_are(Meaning::Weight);
        net.attention(attention, Columns::Heads);
        if self.lambda > 0.0 {
            let of_instances = self.of_instances(net, logs, attention)?;
            net.objective("instances", of_instances, Weight::Fixed(self.lambda))?;
        }
        let probabilities = net.activate(logs, Activation::Exp)?;
        net.tell_of_instances("class-probability", probabilities, Meaning::Probability)
    }
}

impl LossAttention {
    /// The cross-entropy of each instance with its bag's label, weighted by the attention.
    fn of_instances(&self, net: &mut Network, logs: ValueId, attention: ValueId) -> Result<ValueId> {
        let weighted = net.tape.push1(RowScale, &[logs, attention])?;
        let pooled = net.pool(weighted, if self.mean_over_instances { Pool::Mean } else { Pool::Sum })?;
        let targets = net.tape.batch(Input::Targets, net.classes as u32);
        let of_label = net.tape.push1(Multiply, &[pooled, targets])?;
        let of_label = net.tape.push1(RowSum, &[of_label])?;
        let of_label = net.tape.push1(Affine { factor: -1.0, offset: 0.0 }, &[of_label])?;
        net.weighted_over_bags(of_label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::{Bags, Features};
    use crate::device::Device;
    use crate::model::{Model, Spec};
    use crate::session::Session;
    use crate::tape::Storage;
    use crate::training::predict;

    /// The bag's probabilities are those of the classifier on the weighted mean of what instances are embedded to, and
    /// what is told of instances are the probabilities of that classifier.
    #[test]
    fn one_classifier_for_bags_and_instances() {
        let settings = LossAttention { embed: Vec::new(), ..LossAttention::default() };
        let model = Model::new(Spec::new(settings.into(), 3, 2), 4).unwrap();
        let (w, b) = (model.parameter("head.weight").unwrap().to_vec(), model.parameter("head.bias").unwrap().to_vec());
        let values: Vec<f32> = (0..30).map(|i| ((i * 37 % 19) as f32 - 9.0) / 4.0).collect();
        let bags = Bags::packed(Features::F32(values.clone()), 3, &[7, 1, 2]).unwrap();
        let mut session = Session::new(&Device::host(), model, Storage::F32).unwrap();
        let found = predict(&mut session, &bags, &[0, 1, 2], None).unwrap();
        let classify = |x: &[f64]| -> Vec<f64> {
            let of =
                |c: usize| f64::from(b[c]) + x.iter().zip(&w[3 * c..]).map(|(x, w)| x * f64::from(*w)).sum::<f64>();
            let exps = [0, 1].map(|c| of(c).exp());
            exps.map(|e| e / (exps[0] + exps[1])).to_vec()
        };
        let told = found.of_instances.iter().find(|t| t.name == "class-probability").unwrap();
        let weights = found.attention.as_ref().unwrap();
        assert_eq!(&found.scores, weights);
        for bag in 0..3 {
            let rows = found.offsets[bag]..found.offsets[bag + 1];
            assert!((rows.clone().map(|r| f64::from(weights[r])).sum::<f64>() - 1.0).abs() < 1e-6);
            let mut mean = [0.0; 3];
            for r in rows {
                let x: Vec<f64> = values[3 * r..3 * r + 3].iter().map(|v| f64::from(*v)).collect();
                mean.iter_mut().zip(&x).for_each(|(m, x)| *m += f64::from(weights[r]) * x);
                for (p, found) in classify(&x).iter().zip(told.row(r)) {
                    assert!((p - f64::from(*found)).abs() < 1e-6, "{p} {found}");
                }
            }
            for (p, found) in classify(&mean).iter().zip(found.bag(bag)) {
                assert!((p - f64::from(*found)).abs() < 1e-6, "{p} {found}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused =
            |settings: LossAttention| Model::new(Spec::new(settings.into(), 3, 2), 1).unwrap_err().to_string();
        assert!(refused(LossAttention { lambda: -1.0, ..LossAttention::default() }).contains("at least 0"));
        assert!(refused(LossAttention { embed: vec![0], ..LossAttention::default() }).contains("width 0"));
        assert!(refused(LossAttention { dropout: 1.0, ..LossAttention::default() }).contains("below 1"));
    }
}
