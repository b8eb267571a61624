//! What methods are built from: layers with named parameters, pools, heads and losses.

use super::base::{BagFeatures, Hook, Ranking};
use super::checks::check_widths;
use super::{ATTENTION_WEIGHTS, BAG_FEATURES, BAG_LOGITS, SCORES};
use crate::error::{Error, Result};
use crate::kernels::launch::{Dim, Input};
pub use crate::objectives::Weight;
use crate::ops::Rule;
use crate::ops::attention_pool::AttentionPool;
use crate::ops::batch_norm::RunningBatchNorm;
use crate::ops::dropout::{ChannelDropout, Dropout};
use crate::ops::loss::Soft;
use crate::ops::matmul::Linear;
pub use crate::ops::pointwise::Activation;
use crate::ops::pointwise::{Activate, AddScaled, Affine, Logit, Multiply};
use crate::ops::reduce::{ColumnSum, RowSum};
use crate::ops::routing::{BagDot, Squash};
use crate::ops::rows::Concat;
pub use crate::ops::segment::Pool;
use crate::ops::segment::{SegmentReduce, SegmentSoftmax, Tables};
use crate::ops::sharp_pool::{DivideBy, SharpLogMeanExp};
pub use crate::ops::target_loss::Distance;
use crate::ops::target_loss::TargetLoss;
use crate::ops::weighting::WeightedSum;
pub use crate::tape::{Columns, Link, Meaning, ValueId};
use crate::tape::{Init, Param, Role, Storage, Tape};
use crate::target::Target;
use serde::{Deserialize, Serialize};

/// How the weights of a layer start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// PyTorch's default: weights and biases uniform in 1 / sqrt(inputs).
    #[default]
    Torch,
    /// Glorot uniform weights, zero biases (Keras' default).
    Glorot,
    /// Glorot normal weights, zero biases.
    GlorotNormal,
    /// LeCun uniform weights, zero biases.
    Lecun,
}

impl Start {
    /// How a weight matrix starts.
    fn weights(self, inputs: u32, outputs: u32) -> Init {
        let fans = (inputs + outputs) as f32;
        match self {
            Start::Torch => Init::Uniform(1.0 / (inputs as f32).sqrt()),
            Start::Glorot => Init::Uniform((6.0 / fans).sqrt()),
            Start::GlorotNormal => Init::Normal((2.0 / fans).sqrt()),
            Start::Lecun => Init::Uniform((3.0 / inputs as f32).sqrt()),
        }
    }
}

/// Writes an f32 with the digits that a person gave it (0.1, not 0.10000000149011612).
pub(crate) fn shortest<S: serde::Serializer>(value: &f32, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_f64(value.to_string().parse().expect("a number prints as a number"))
}

/// Columns that tables of bags and instances have anyway.
const RESERVED: [&str; 10] =
    ["bag", "instance", "split", "label", "predicted", "p", "x", "y", "score", "probabilities"];

/// What dynamic routing gives.
#[derive(Clone, Copy, Debug)]
pub struct Routed {
    /// The capsule of each bag, `[B, C]`.
    pub row: ValueId,
    /// Its length `[B, 1]`, in [0, 1).
    pub length: ValueId,
    /// What was squashed to it, `[B, C]`.
    pub sum: ValueId,
    /// The weights of the instances in that sum, `[N, 1]`.
    pub weights: ValueId,
}

/// A model being recorded.
pub struct Network {
    /// The tape so far.
    pub tape: Tape,
    /// The instance features.
    pub features: ValueId,
    /// Classes of the bags; none where a number or a time is learnt.
    pub classes: usize,
    /// How weights start.
    pub start: Start,
    /// What is learnt.
    pub(super) target: Target,
    /// How targets of classes are softened in the losses of bags.
    pub(super) soft: Soft,
    /// Losses of bags' logits, which alone know what bags have.
    pub(super) bag_losses: Vec<ValueId>,
    tables: [ValueId; 3],
    /// What this network says of itself to a method around its own, and what that one wants.
    pub(super) around: Around,
}

/// Between a network and a method around its method.
#[derive(Default)]
pub(super) struct Around {
    /// Makes of the features of bags what is classified.
    pub hook: Option<Hook>,
    /// A method is around.
    pub taken: bool,
    /// It may want to know by what instances are ranked.
    pub asks: bool,
    /// The features of the bags.
    pub features: Option<BagFeatures>,
    /// What instances are ranked by, where it is not what the network gives anyway.
    pub ranking: Option<Ranking>,
}

impl Network {
    /// A tape with nothing but its inputs.
    pub fn new(width: usize, classes: usize, storage: Storage, instance_grads: bool) -> Self {
        let mut tape = Tape::new();
        let features = tape.features(width, storage, instance_grads);
        Self::on(tape, features, classes)
    }

    /// More layers on a tape that has features.
    pub fn on(mut tape: Tape, features: ValueId, classes: usize) -> Self {
        let tables = Tables::on(&mut tape);
        let around = Around::default();
        Self {
            tape,
            features,
            classes,
            start: Start::Torch,
            target: Target::Classes,
            soft: Soft::default(),
            bag_losses: Vec::new(),
            tables,
            around,
        }
    }

    /// A weight matrix `[outputs, inputs]` and its bias, made of `parts` rows under names of their own
    /// when the parts are multiplied together.
    fn parameters(&mut self, name: &str, parts: &[(&str, u32)], inputs: u32) -> [ValueId; 2] {
        let outputs: u32 = parts.iter().map(|p| p.1).sum();
        // Parts are separate layers: their fans are their own.
        let weight = self.start.weights(inputs, parts[0].1);
        let bias = match self.start {
            Start::Torch => weight,
            Start::Glorot | Start::GlorotNormal | Start::Lecun => Init::Constant(0.0),
        };
        let named = |suffix: &str| match parts {
            [_] => Vec::new(),
            _ => parts.iter().map(|(part, rows)| (format!("{part}.{suffix}"), *rows)).collect(),
        };
        let weight = Param {
            name: format!("{name}.weight"),
            rows: outputs,
            cols: inputs,
            init: weight,
            decays: true,
            parts: named("weight"),
        };
        // A bias is one row; its parts are runs of values, so it is kept as a column.
        let bias = Param {
            name: format!("{name}.bias"),
            rows: 1,
            cols: outputs,
            init: bias,
            decays: false,
            parts: named("bias"),
        };
        [self.tape.param(weight), self.tape.param(bias)]
    }

    /// act(x W^T + b) with parameters `name.weight` and `name.bias`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn linear(&mut self, name: &str, x: ValueId, outputs: u32, activation: Activation) -> Result<ValueId> {
        let inputs = self.tape.cols(x);
        let [w, b] = self.parameters(name, &[(name, outputs)], inputs);
        self.tape.push1(Linear { activation }, &[x, w, b])
    }

    /// x W^T with the parameter `name.weight` and no bias.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn unbiased(&mut self, name: &str, x: ValueId, outputs: u32) -> Result<ValueId> {
        let inputs = self.tape.cols(x);
        let init = self.start.weights(inputs, outputs);
        let (name, parts) = (format!("{name}.weight"), Vec::new());
        let weight = self.tape.param(Param { name, rows: outputs, cols: inputs, init, decays: true, parts });
        self.tape.push1(Linear { activation: Activation::None }, &[x, weight])
    }

    /// Several layers over the same x as one product; columns in the order of `parts`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn linear_parts(&mut self, name: &str, parts: &[(&str, u32)], x: ValueId) -> Result<ValueId> {
        let inputs = self.tape.cols(x);
        let [w, b] = self.parameters(name, parts, inputs);
        self.tape.push1(Linear { activation: Activation::None }, &[x, w, b])
    }

    /// Parameters of a layer without its product, for operations that multiply themselves.
    pub fn weights(&mut self, name: &str, inputs: u32, outputs: u32) -> [ValueId; 2] {
        self.parameters(name, &[(name, outputs)], inputs)
    }

    /// The layer that gave `like` applied to something else.
    ///
    /// # Errors
    /// [`Error::Setting`] when `like` is no output of a layer with weights and a bias.
    pub fn linear_shared(&mut self, x: ValueId, like: ValueId) -> Result<ValueId> {
        self.shared(x, like, 3)
    }

    /// The same without its bias.
    ///
    /// # Errors
    /// As [`Network::linear_shared`].
    pub fn weights_shared(&mut self, x: ValueId, like: ValueId) -> Result<ValueId> {
        self.shared(x, like, 2)
    }

    fn shared(&mut self, x: ValueId, like: ValueId, inputs: usize) -> Result<ValueId> {
        let node = self.tape.nodes.iter().find(|n| n.outputs.first() == Some(&like));
        let Some((op, &[_, w, b])) = node.map(|node| (node.op.clone(), &node.inputs[..])) else {
            return Err(Error::setting("network", "only the output of a layer with a bias tells of a layer to share"));
        };
        self.tape.push1(op, &[x, w, b][..inputs])
    }

    /// Dropout, when the rate is above 0.
    ///
    /// # Errors
    /// [`Error::Setting`] for a rate outside of [0, 1).
    pub fn dropout(&mut self, x: ValueId, rate: f32) -> Result<ValueId> {
        self.drop(x, rate, |dropout| dropout)
    }

    /// Dropout of whole channels of pictures with `positions` places each, when the rate is above 0.
    ///
    /// # Errors
    /// [`Error::Setting`] for a rate outside of [0, 1).
    pub fn channel_dropout(&mut self, x: ValueId, rate: f32, positions: u32) -> Result<ValueId> {
        self.drop(x, rate, |dropout| ChannelDropout { dropout, positions })
    }

    fn drop<R: Rule>(&mut self, x: ValueId, rate: f32, op: impl FnOnce(Dropout) -> R) -> Result<ValueId> {
        if !(0.0..1.0).contains(&rate) {
            return Err(Error::setting("dropout", format!("must be at least 0 and below 1, found {rate}")));
        }
        if rate == 0.0 {
            return Ok(x);
        }
        let site = self.tape.next_random_site();
        self.tape.push1(op(Dropout::new(rate, site)), &[x])
    }

    /// Fully connected layers `embed.0`, `embed.1`, ... with ReLU, each followed by dropout; every layer's
    /// output before dropout.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn embed(&mut self, x: ValueId, widths: &[u32]) -> Result<Vec<ValueId>> {
        let mut layers = Vec::new();
        let mut h = x;
        check_widths("embed", widths)?;
        for (i, &width) in widths.iter().enumerate() {
            h = self.linear(&format!("embed.{i}"), h, width, Activation::Relu)?;
            layers.push(h);
        }
        Ok(layers)
    }

    /// Fully connected layers with ReLU and dropout after each.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn embed_with_dropout(&mut self, x: ValueId, widths: &[u32], rate: f32) -> Result<ValueId> {
        let mut h = x;
        check_widths("embed", widths)?;
        for (i, &width) in widths.iter().enumerate() {
            h = self.linear(&format!("embed.{i}"), h, width, Activation::Relu)?;
            h = self.dropout(h, rate)?;
        }
        Ok(h)
    }

    /// Values with the same rows, side by side.
    ///
    /// # Errors
    /// [`Error::Setting`] for none, [`Error::Shape`] for what does not fit together.
    pub fn beside(&mut self, values: &[ValueId]) -> Result<ValueId> {
        let [first, others @ ..] = values else { return Err(Error::setting("network", "nothing to put side by side")) };
        others.iter().try_fold(*first, |all, value| self.tape.push1(Concat, &[all, *value]))
    }

    /// A pool over each bag.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn pool(&mut self, x: ValueId, pool: Pool) -> Result<ValueId> {
        let [tiles, bag_tiles, offsets] = self.tables;
        self.tape.push1(SegmentReduce(pool), &[x, tiles, bag_tiles, offsets])
    }

    /// Log-mean-exp over each bag with a sharpness: 1/r ln of the mean of e^(r x), r `[1, 1]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when x has no row for each instance, or r is not one number.
    pub fn sharp_pool(&mut self, x: ValueId, sharpness: ValueId) -> Result<ValueId> {
        let [tiles, bag_tiles, offsets] = self.tables;
        let pooled = self.tape.push1(SharpLogMeanExp, &[x, sharpness, tiles, bag_tiles, offsets])?;
        self.tape.push1(DivideBy, &[pooled, sharpness])
    }

    /// A positive number that is learnt, `[1, 1]`: softplus of the parameter `name`, which starts where that is 1.
    ///
    /// # Errors
    /// None that a name can cause.
    pub fn positive(&mut self, name: &str) -> Result<ValueId> {
        // ln(e - 1)
        let init = Init::Constant(0.541_324_86);
        let param = Param { name: name.into(), rows: 1, cols: 1, init, decays: false, parts: Vec::new() };
        let param = self.tape.param(param);
        self.tape.push1(Activate(Activation::Softplus), &[param])
    }

    /// A number for each output, `[1, outputs]`, all starting alike, that does not decay as weights do and may be learnt.
    pub fn for_each_output(&mut self, name: &str, start: f32, learnt: bool) -> ValueId {
        let (name, cols, init) = (name.into(), self.outputs(), Init::Constant(start));
        let param = Param { name, rows: 1, cols, init, decays: false, parts: Vec::new() };
        if learnt { self.tape.param(param) } else { self.tape.constant(param) }
    }

    /// Dynamic routing of the rows of each bag to one capsule. The logits of the routing start at zero, so the first
    /// round is a mean; gradients pass all rounds.
    ///
    /// # Errors
    /// [`Error::Setting`] for no rounds.
    pub fn route(&mut self, x: ValueId, rounds: u32) -> Result<Routed> {
        if rounds == 0 {
            return Err(Error::setting("rounds", "routing takes at least one round"));
        }
        let [tiles, bag_tiles, offsets] = self.tables;
        let mut sum = self.pool(x, Pool::Mean)?;
        let (mut logits, mut weights) = (None, None);
        for _ in 1..rounds {
            let capsule = self.tape.push(Squash, &[sum])?[0];
            let agreement = self.tape.push1(BagDot, &[x, capsule, tiles, bag_tiles, offsets])?;
            let b = match logits {
                None => agreement,
                Some(before) => self.add(before, agreement, 1.0, 1.0)?,
            };
            logits = Some(b);
            let c = self.tape.push1(SegmentSoftmax, &[b, tiles, bag_tiles, offsets])?;
            let op = WeightedSum { mean: false };
            sum = self.tape.push1(op, &[x, c, tiles, bag_tiles, offsets])?;
            weights = Some(c);
        }
        let weights = match weights {
            Some(weights) => weights,
            None => {
                let each = self.tape.push1(RowSum, &[x])?;
                let zeros = self.tape.push1(Affine { factor: 0.0, offset: 0.0 }, &[each])?;
                self.softmax_over_bags(zeros)?
            }
        };
        let capsule = self.tape.push(Squash, &[sum])?;
        Ok(Routed { row: capsule[0], length: capsule[1], sum, weights })
    }

    /// Every value by itself.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn activate(&mut self, x: ValueId, activation: Activation) -> Result<ValueId> {
        self.tape.push1(Activate(activation), &[x])
    }

    /// Softmax over the instances of each bag, column by column.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn softmax_over_bags(&mut self, x: ValueId) -> Result<ValueId> {
        let [tiles, bag_tiles, offsets] = self.tables;
        self.tape.push1(SegmentSoftmax, &[x, tiles, bag_tiles, offsets])
    }

    /// The sum over each bag of its rows `[N, C]` times their `weights` `[N, 1]`: `[B, C]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn weighted_sum(&mut self, x: ValueId, weights: ValueId) -> Result<ValueId> {
        let [tiles, bag_tiles, offsets] = self.tables;
        let op = WeightedSum { mean: false };
        self.tape.push1(op, &[x, weights, tiles, bag_tiles, offsets])
    }

    /// A loss: how far columns of the bags `[B, outputs]` are from their targets, 1 where a bag has the class of a column
    /// and else 0, by the weights of the bags; of bags that have any subset of the classes by those of their labels.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of columns.
    pub fn distance_to_targets(&mut self, x: ValueId, distance: Distance, scale: f32) -> Result<ValueId> {
        let [targets, weights] = self.targets(self.outputs());
        self.tape.push1(TargetLoss { distance, scale }, &[x, targets, weights])
    }

    /// Attention over each bag with `heads` heads of a hidden width, plain or gated: the weighted means of the rows of h
    /// `[B, heads H]`, and the scores of the instances `[N, heads]`, whose softmax over the bag the weights are.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn attention_pool(&mut self, h: ValueId, gated: bool, hidden: u32, heads: u32) -> Result<[ValueId; 2]> {
        self.attention_pool_over("attention", self.tables, h, (gated, hidden, heads))
    }

    /// The same with a name for its parameters, over the segments of rows that these tables tell.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn attention_pool_over(
        &mut self,
        name: &str,
        tables: [ValueId; 3],
        h: ValueId,
        (gated, hidden, heads): (bool, u32, u32),
    ) -> Result<[ValueId; 2]> {
        let named = |part: &str| format!("{name}.{part}");
        let pre = match gated {
            true => self.linear_parts(&named("vu"), &[(&named("v"), hidden), (&named("u"), hidden)], h)?,
            false => self.linear(&named("v"), h, hidden, Activation::None)?,
        };
        let [w, b] = self.weights(&named("w"), hidden, heads);
        let [tiles, bag_tiles, offsets] = tables;
        let pooled = self.tape.push(AttentionPool { gated }, &[pre, h, w, b, tiles, bag_tiles, offsets])?;
        Ok([pooled[0], pooled[1]])
    }

    /// Batch norm with the running statistics of PyTorch, of each of `channels` over all rows and places: parameters
    /// `name` with the part `gain` and with `bias`, and what runs under `name.mean` and `name.variance`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn batch_norm(&mut self, name: &str, gain: &str, x: ValueId, channels: u32) -> Result<ValueId> {
        self.norm(name, gain, x, channels, false)
    }

    /// The same over all nodes of graphs, which have their `channels` side by side: `[B, nodes channels]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn batch_norm_of_nodes(&mut self, name: &str, gain: &str, x: ValueId, channels: u32) -> Result<ValueId> {
        self.norm(name, gain, x, channels, true)
    }

    fn norm(&mut self, name: &str, gain: &str, x: ValueId, channels: u32, last: bool) -> Result<ValueId> {
        let [gain, bias] = [(gain, 1.0), ("bias", 0.0)].map(|(part, start)| {
            let (name, init) = (format!("{name}.{part}"), Init::Constant(start));
            self.tape.param(Param { name, rows: 1, cols: channels, init, decays: false, parts: Vec::new() })
        });
        let [mean, variance] = [("mean", 0.0), ("variance", 1.0)]
            .map(|(part, start)| self.tape.buffer(&format!("{name}.{part}"), channels, start));
        let norm = RunningBatchNorm { channels, eps: 1e-5, momentum: 0.1, last };
        self.tape.push1(norm, &[x, gain, bias, mean, variance])
    }

    /// The sum over bags of their weights times x `[B, 1]`: what a loss of the bags is, `[1, 1]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn weighted_over_bags(&mut self, x: ValueId) -> Result<ValueId> {
        let weights = self.tape.batch(Input::Weights, 1);
        let products = self.tape.push1(Multiply, &[x, weights])?;
        self.tape.push1(ColumnSum, &[products])
    }

    /// The tables of the batch, for operations over bags.
    pub fn tables(&self) -> [ValueId; 3] {
        self.tables
    }

    /// a x + b y.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn add(&mut self, x: ValueId, y: ValueId, a: f32, b: f32) -> Result<ValueId> {
        self.tape.push1(AddScaled { a, b }, &[x, y])
    }

    /// ln(p / (1 - p)), p clipped.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn logit(&mut self, p: ValueId, clip: f32) -> Result<ValueId> {
        self.tape.push1(Logit { clip }, &[p])
    }

    /// Says what the features of the bags are that the last layer is to classify, `[B, parts width]`: as many rows side by
    /// side as there are parts. Answers what it is to classify, which is another value where a method is around this one
    /// (see [`crate::methods::Ibmil`]). `prefix` is what names of parameters of the same part of the network begin with.
    ///
    /// # Errors
    /// [`Error::Setting`] when they have been told already, [`Error::Shape`] for what has no row for each bag, or no
    /// columns for all parts.
    pub fn bag_features(&mut self, value: ValueId, parts: u32, prefix: &'static str) -> Result<ValueId> {
        let found = self.tape.shape(value);
        if found.rows != Dim::Bags || parts == 0 || !found.cols.is_multiple_of(parts) {
            let expected = format!("a row for each bag, of {parts} parts");
            return Err(Error::Shape { operation: "bag features", expected, found: found.to_string() });
        }
        let features = BagFeatures { value, parts, prefix };
        if self.around.features.replace(features.clone()).is_some() {
            return Err(Error::setting("network", "the features of the bags have been told already"));
        }
        self.tape.output_as(BAG_FEATURES, value, Role::Features);
        match self.around.hook.take() {
            Some(hook) => hook(self, &features),
            None => Ok(value),
        }
    }

    /// True when a method around this one may want to know by what instances are ranked.
    pub fn is_asked_for_ranking(&self) -> bool {
        self.around.asks
    }

    /// Says what ranks instances, where that is not the attention or the scores.
    pub fn instances_rank_by(&mut self, ranking: Ranking) {
        self.around.ranking = Some(ranking);
    }

    /// Names what every method gives: the logits of the bags and how they become probabilities, and the scores of the
    /// instances and what their columns are, and the first term of the loss.
    ///
    /// # Errors
    /// As for [`Tape::objective`](crate::tape::Tape::objective).
    pub fn finish(&mut self, logits: (ValueId, Link), scores: (ValueId, Columns), loss: ValueId) -> Result<()> {
        self.tape.output_as(BAG_LOGITS, logits.0, Role::Logits(logits.1));
        self.tape.output_as(SCORES, scores.0, Role::Scores(scores.1, Meaning::default()));
        self.tape.objective("bags", loss, Weight::Fixed(1.0))
    }

    /// Says what the scores of the instances are, after [`finish`](Network::finish); else they are known to rank alone.
    ///
    /// A probability of a class is only that where classes are learnt; else scores rank.
    pub fn scores_are(&mut self, meaning: Meaning) {
        if !self.learns_classes() && matches!(meaning, Meaning::Logit | Meaning::Probability | Meaning::Evidence) {
            return;
        }
        for output in &mut self.tape.outputs {
            if let Role::Scores(_, of) = &mut output.role {
                *of = meaning;
            }
        }
    }

    /// Names more that is known of each instance, `[Instances, K]`: tables of instances get `name`, or a column for each
    /// class or number.
    ///
    /// # Errors
    /// [`Error::Setting`] for a name that is none or taken, [`Error::Shape`] for a value that is not of instances.
    pub fn tell_of_instances(&mut self, name: &str, value: ValueId, meaning: Meaning) -> Result<()> {
        self.tell(name, value, Dim::Instances, Role::OfInstances(meaning))
    }

    /// Names more that is known of each bag, `[Bags, K]`, as [`tell_of_instances`](Network::tell_of_instances).
    ///
    /// # Errors
    /// [`Error::Setting`] for a name that is none or taken, [`Error::Shape`] for a value that is not of bags.
    pub fn tell_of_bags(&mut self, name: &str, value: ValueId, meaning: Meaning) -> Result<()> {
        self.tell(name, value, Dim::Bags, Role::OfBags(meaning))
    }

    fn tell(&mut self, name: &str, value: ValueId, of: Dim, role: Role) -> Result<()> {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(letters) || RESERVED.contains(&name) {
            let message = format!(
                "{name:?} is no name for a column: lower-case letters, digits and dashes, and none of {}",
                RESERVED.join(", ")
            );
            return Err(Error::setting("network", message));
        }
        if self.tape.outputs.iter().any(|o| o.name == name) {
            return Err(Error::setting("network", format!("there is an output {name:?} already")));
        }
        let found = self.tape.shape(value);
        if found.rows != of {
            let expected = if of == Dim::Bags { "a row for each bag" } else { "a row for each instance" };
            return Err(Error::Shape { operation: "told", expected: expected.into(), found: found.to_string() });
        }
        self.tape.output_as(name, value, role);
        Ok(())
    }

    /// Adds a term to the loss, after [`finish`](Network::finish).
    ///
    /// # Errors
    /// As for [`Tape::objective`](crate::tape::Tape::objective).
    pub fn objective(&mut self, name: &str, value: ValueId, weight: Weight) -> Result<()> {
        self.tape.objective(name, value, weight)
    }

    /// Names the attention of the instances and what its columns are.
    pub fn attention(&mut self, weights: ValueId, columns: Columns) {
        self.tape.output_as(ATTENTION_WEIGHTS, weights, Role::Attention(columns));
    }
}
