//! CLAM (Lu, Williamson, Chen, Chen, Barbieri, Mahmood 2021): attention whose ends teach a classifier of instances.
//!
//! Instances are embedded, h_n; e = W (tanh(V h_n) * sigmoid(U h_n)), a = softmax of e over the bag, z = sum of a_n h_n, and
//! a linear head classifies z. With several branches each class has a column of e, a z and a head of its own. While it
//! trains, the instances with the highest and the lowest e are labelled by the class of their bag, for a classifier of
//! each class that tells its evidence from the rest.

use super::checks::check_widths;
use super::layers::{Network, Start};
use super::{About, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::kernels::launch::Input;
use crate::objectives::Weight;
use crate::ops::loss::{SmoothHinge, Soft, SoftmaxCrossEntropy};
use crate::ops::matmul::Linear;
use crate::ops::pointwise::{Activation, Affine, Multiply};
use crate::ops::pseudo_label::EndLabels;
use crate::ops::reduce::RowSoftmax;
use crate::ops::rows::{GatherRows, SliceColumns};
use crate::ops::sort::{SegmentEnds, SegmentSort};
use crate::ops::update::Optimiser;
use crate::tape::{Columns, Link, Meaning, ValueId};
use serde::{Deserialize, Serialize};

/// What a wrong class costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Cross-entropy.
    #[default]
    Ce,
    /// The smooth top-1 hinge loss.
    Svm,
}

/// Settings of either form; the defaults are those of the authors' program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default = "Default::default")]
pub struct Settings<const MULTI: bool> {
    /// Widths of the fully connected layers in front; none takes the features themselves.
    pub embed: Vec<u32>,
    /// Dropout after each of them; above 0 there is one of 0.25 in the attention, too.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Hidden width of the attention.
    pub attention: u32,
    /// The hidden layer of the attention is gated.
    pub gated: bool,
    /// Classifiers of instances are trained.
    pub cluster: bool,
    /// Instances at each end that are labelled.
    pub k: u32,
    /// No instance is labelled twice.
    pub disjoint: bool,
    /// The classes exclude each other, so the highest instances of a bag are none of another class.
    pub subtyping: bool,
    /// Weight of the bag's loss; what is left to 1 is that of the instances'.
    #[serde(serialize_with = "super::layers::shortest")]
    pub bag_weight: f32,
    /// The loss of bags.
    pub bag_loss: Loss,
    /// The loss of instances.
    pub inst_loss: Loss,
    /// How weights start.
    pub init: Start,
}

/// CLAM with one branch.
pub type ClamSb = Settings<false>;
/// CLAM with a branch for each class.
pub type ClamMb = Settings<true>;

impl<const MULTI: bool> Default for Settings<MULTI> {
    fn default() -> Self {
        Self {
            embed: vec![512],
            dropout: 0.25,
            attention: 256,
            gated: true,
            cluster: true,
            k: 8,
            disjoint: false,
            subtyping: false,
            bag_weight: 0.7,
            bag_loss: Loss::Ce,
            inst_loss: Loss::Ce,
            init: Start::Torch,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers in front; [] for none"),
    ("dropout", "dropout after each of these layers; above 0 there is one of 0.25 in the attention, too"),
    ("attention", "hidden width of the attention; 384 is the authors' big model"),
    ("gated", "gated attention; false for plain"),
    ("cluster", "train a classifier of instances for each class; false for the loss of bags alone"),
    ("k", "instances with the highest and with the lowest attention that are labelled; a smaller bag has all in both"),
    ("disjoint", "no instance is labelled twice: of a bag of fewer than 2 k each end has half"),
    ("subtyping", "classes exclude each other: the highest instances of a bag are none of another class"),
    ("bag_weight", "weight of the bags' loss, 0 to 1; the instances' has the rest"),
    ("bag_loss", "loss of bags: ce or svm"),
    ("inst_loss", "loss of instances: ce or svm, as in the authors' commands"),
    ("init", "start of the weights: torch or glorot"),
];

/// Dropout of the attention's hidden layers where there is any, whatever the rate after the embedding.
const ATTENTION_DROPOUT: f32 = 0.25;

impl<const MULTI: bool> MilMethod for Settings<MULTI> {
    const NAME: &'static str = if MULTI { "clam-mb" } else { "clam-sb" };

    fn about() -> About {
        let paper = "Lu, Williamson, Chen, Chen, Barbieri, Mahmood: Data-efficient and weakly supervised computational \
                     pathology on whole-slide images, 2021 (arXiv 2004.09666)";
        About { title: if MULTI { "CLAM-MB" } else { "CLAM-SB" }, paper, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        HELP.to_vec()
    }

    /// The authors' commands have twice this rate.
    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adam(1e-5), learning_rate: 1e-4, time_decay: 0.0, epochs: 200, bags: 1 }
    }

    /// Softmax over the classes, of two of them too, as the hinge loss compares scores of classes.
    ///
    /// # Errors
    /// [`Error::Setting`] for a width of 0, no instances to label, a weight outside of 0 to 1, or a bad dropout rate.
    fn record(&self, net: &mut Network) -> Result<()> {
        self.check()?;
        net.only_classes(Self::NAME, "it labels instances by the class of their bag")?;
        net.start = self.init;
        let h = net.embed_with_dropout(net.features, &self.embed, self.dropout)?;
        let e = self.score(net, h)?;
        let a = net.softmax_over_bags(e)?;
        let logits = self.classify(net, h, a)?;
        let bag_weight = if self.cluster { self.bag_weight } else { 1.0 };
        let [labels, weights] = [net.tape.batch(Input::Labels, 1), net.tape.batch(Input::Weights, 1)];
        let loss = self.bag_loss.record(net, [logits, labels, weights], bag_weight)?;
        let columns = if MULTI { Columns::Classes } else { Columns::Heads };
        net.finish((logits, Link::Softmax), (e, columns), loss)?;
        net.attention(a, columns);
        if !self.cluster {
            return Ok(());
        }
        let (instances, evidence) = self.cluster(net, h, e, [labels, weights])?;
        // What the bags leave, rounded once.
        let rest = (1.0 - f64::from(self.bag_weight)) as f32;
        net.objective("instances", instances, Weight::Fixed(rest))?;
        net.tell_of_instances("evidence", evidence, Meaning::Probability)
    }
}

impl Loss {
    /// This loss of scores, labels and weights of rows.
    fn record(self, net: &mut Network, inputs: [ValueId; 3], scale: f32) -> Result<ValueId> {
        match self {
            Loss::Ce => net.tape.push1(SoftmaxCrossEntropy { soft: Soft::default(), scale }, &inputs),
            Loss::Svm => net.tape.push1(SmoothHinge::new(scale), &inputs),
        }
    }
}

impl<const MULTI: bool> Settings<MULTI> {
    fn check(&self) -> Result<()> {
        let wrong = |name: &str, message: String| Err(Error::setting(name, message));
        check_widths("embed", &self.embed)?;
        if self.attention == 0 {
            return wrong("attention", "the hidden width must be above 0".into());
        }
        if self.k == 0 {
            return wrong("k", "must be at least 1; set cluster to false for no classifiers of instances".into());
        }
        if !(0.0..=1.0).contains(&self.bag_weight) {
            return wrong("bag_weight", format!("must be 0 to 1, found {}", self.bag_weight));
        }
        Ok(())
    }

    /// e: a column, or one for each class.
    fn score(&self, net: &mut Network, h: ValueId) -> Result<ValueId> {
        let dropout = if self.dropout > 0.0 { ATTENTION_DROPOUT } else { 0.0 };
        let hidden = net.linear("attention.v", h, self.attention, Activation::Tanh)?;
        let mut hidden = net.dropout(hidden, dropout)?;
        if self.gated {
            let gate = net.linear("attention.u", h, self.attention, Activation::Sigmoid)?;
            let gate = net.dropout(gate, dropout)?;
            hidden = net.tape.push1(Multiply, &[hidden, gate])?;
        }
        let columns = if MULTI { net.classes as u32 } else { 1 };
        net.linear("attention.w", hidden, columns, Activation::None)
    }

    /// A column of logits for each class.
    fn classify(&self, net: &mut Network, h: ValueId, a: ValueId) -> Result<ValueId> {
        if !MULTI {
            let z = net.weighted_sum(h, a)?;
            let z = net.bag_features(z, 1, "")?;
            return net.linear("head", z, net.classes as u32, Activation::None);
        }
        let mut columns = Vec::new();
        for class in 0..net.classes as u32 {
            let weights = net.tape.push1(SliceColumns { first: class, count: 1 }, &[a])?;
            let z = net.weighted_sum(h, weights)?;
            columns.push(net.linear(&format!("head.{class}"), z, 1, Activation::None)?);
        }
        net.beside(&columns)
    }

    /// The loss of the instances, and for each of them the evidence of each class.
    fn cluster(
        &self,
        net: &mut Network,
        h: ValueId,
        e: ValueId,
        [labels, weights]: [ValueId; 2],
    ) -> Result<(ValueId, ValueId)> {
        let (classes, width) = (net.classes as u32, net.tape.cols(h));
        let (k, apart) = (self.k, self.disjoint);
        // Of classes that exclude each other every classifier has its share, of others that of the bag's class alone.
        let (own, others) = if self.subtyping { (1.0 / classes as f32, 1.0 / classes as f32) } else { (1.0, 0.0) };
        // The softmax of e ranks as e does until it underflows.
        let lowest = net.tape.push1(Affine { factor: -1.0, offset: 0.0 }, &[e])?;
        let tables = net.tables();
        let over = |values: &[ValueId]| [values, &tables].concat();
        let (mut ends, mut total, mut evidence) = (None, None, Vec::new());
        for class in 0..classes {
            let chosen = match ends.filter(|_| !MULTI) {
                Some(chosen) => chosen,
                None => {
                    let column = if MULTI { class } else { 0 };
                    let [first, last] = [e, lowest].map(|by| net.tape.push1(SegmentSort { column }, &over(&[by])));
                    let rows = net.tape.push1(SegmentEnds { k, apart }, &over(&[first?, last?]))?;
                    net.tape.push1(GatherRows, &[h, rows])?
                }
            };
            ends = Some(chosen);
            let parameters = net.weights(&format!("instances.{class}"), width, 2);
            if !self.subtyping {
                parameters.into_iter().for_each(|parameter| net.tape.learn_from(parameter, class));
            }
            let linear = Linear { activation: Activation::None };
            let classify = |net: &mut Network, x| net.tape.push1(linear, &[&[x][..], &parameters].concat());
            let scores = classify(net, chosen)?;
            let labels = net.tape.push(EndLabels { k, apart, class, own, others }, &over(&[labels, weights]))?;
            let loss = self.inst_loss.record(net, [scores, labels[0], labels[1]], 1.0)?;
            total = Some(match total {
                None => loss,
                Some(sum) => net.add(sum, loss, 1.0, 1.0)?,
            });
            let scores = classify(net, h)?;
            let shares = net.tape.push1(RowSoftmax, &[scores])?;
            evidence.push(net.tape.push1(SliceColumns { first: 1, count: 1 }, &[shares])?);
        }
        let evidence = net.beside(&evidence)?;
        Ok((total.expect("there are at least two classes"), evidence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, ParamInfo, Spec};

    fn parameters(method: impl Into<crate::methods::Method>, width: usize, classes: usize) -> usize {
        let model = Model::new(Spec::new(method.into(), width, classes), 1).unwrap();
        model.parameters().iter().map(ParamInfo::len).sum()
    }

    /// As many as the authors' models have.
    #[test]
    fn sizes_of_the_published_models() {
        let (sb, mb) = (ClamSb::default(), ClamMb::default());
        let wide = ClamSb { attention: 384, ..sb.clone() };
        let plain = ClamSb { gated: false, ..sb.clone() };
        assert_eq!([2, 3].map(|c| parameters(sb.clone(), 1024, c)), [790_791, 792_330]);
        assert_eq!([2, 3].map(|c| parameters(wide.clone(), 1024, c)), [922_247, 923_786]);
        assert_eq!([2, 3].map(|c| parameters(plain.clone(), 1024, c)), [659_463, 661_002]);
        assert_eq!([2, 3].map(|c| parameters(mb.clone(), 1024, c)), [791_048, 792_844]);
        let plain = ClamMb { gated: false, attention: 384, ..mb };
        assert_eq!([2, 3].map(|c| parameters(plain.clone(), 1024, c)), [725_640, 727_564]);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let refused = |method: ClamMb| Model::new(Spec::new(method.into(), 3, 2), 1).unwrap_err().to_string();
        assert!(refused(ClamMb { k: 0, ..ClamMb::default() }).contains("cluster to false"));
        assert!(refused(ClamMb { bag_weight: 1.5, ..ClamMb::default() }).contains("0 to 1, found 1.5"));
        refused(ClamMb { bag_weight: f32::NAN, ..ClamMb::default() });
        assert!(refused(ClamMb { attention: 0, ..ClamMb::default() }).contains("above 0"));
        assert!(refused(ClamMb { embed: vec![0], ..ClamMb::default() }).contains("layer 0 has width 0"));
        assert!(refused(ClamMb { dropout: 1.0, ..ClamMb::default() }).contains("below 1"));
    }
}
