//! Small tapes that between them launch every kernel, at sizes as multiple instance learning has them.

mod layers;
mod primitives;
mod single;

pub use single::{copy, gated_attention, product, self_attention};

use crate::device::Device;
use crate::error::{Error, Result};
use crate::groups::Group;
use crate::kernels::launch::{Dim, Extent, Input};
use crate::ops::Op;
use crate::ops::attention_pool::AttentionPool;
use crate::ops::contrast::NtXent;
use crate::ops::critical_attention::{CriticalAttention, CriticalRows, CriticalValues};
use crate::ops::cross_attention::{Between, CrossAttention, Received};
use crate::ops::depthwise::{GridConv, MergeKernels, SequenceConv};
use crate::ops::dropout::Dropout;
use crate::ops::gaussian::{GaussianKl, Reparameterise};
use crate::ops::loss::{SigmoidCrossEntropy, SmoothHinge, Soft, SoftmaxCrossEntropy};
use crate::ops::matmul::Linear;
use crate::ops::nystrom::{HeadProduct, Heads, PseudoInverse};
use crate::ops::pointwise::{Activate, Activation, AddScaled, Gelu, Logit, Multiply};
use crate::ops::positions::AddPositions;
use crate::ops::power_pool::{GeneralisedMean, PowerMean};
use crate::ops::reduce::{ColumnSum, RowLogSoftmax, RowSoftmax, RowSum};
use crate::ops::routing::{BagDot, Squash};
use crate::ops::segment::{Pool, SegmentReduce, SegmentSoftmax, Tables};
use crate::ops::sharp_pool::{DivideBy, SharpLogMeanExp};
use crate::ops::survival::{CoxLoss, DiscreteSurvival};
use crate::ops::target_loss::{Distance, TargetLoss};
use crate::ops::tokens::{LandmarkMeans, Square, TokenScores, TokenTables};
use crate::ops::update::{Average, Optimiser, UpdateRule};

use crate::ops::weighting::{RowScale, WeightedSum};
use crate::plan::windows::{Part, Windowed};
use crate::plan::{self, Program, Purpose};
use crate::precision::LossScale;
use crate::tape::{Init, Param, Storage, Tape, ValueId};
use std::str::FromStr;

/// Which sizes kernels run at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sizes {
    /// Bags of a dozen instances with few features, as in the classical benchmarks: launches dominate.
    Small,
    /// A slide: 10,000 instances of 1024 features.
    #[default]
    Mil,
    /// A large slide: 100,000 of them.
    Large,
    /// A slide of so many.
    Instances(usize),
}

impl FromStr for Sizes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "small" => Ok(Sizes::Small),
            "mil" => Ok(Sizes::Mil),
            "large" => Ok(Sizes::Large),
            number => match number.parse() {
                Ok(n) if (1..=1 << 24).contains(&n) => Ok(Sizes::Instances(n)),
                _ => {
                    let expected = "expected small, mil, large or the instances of a bag, at most 16777216";
                    Err(Error::setting("sizes", format!("{text:?}: {expected}")))
                }
            },
        }
    }
}

/// The widths a case is made with.
#[derive(Clone, Copy, Debug)]
struct Widths {
    bags: usize,
    instances: usize,
    features: usize,
    hidden: u32,
    attention: u32,
    classes: u32,
}

impl Sizes {
    fn widths(self) -> Widths {
        let large = Widths { bags: 1, instances: 100_000, features: 1024, hidden: 512, attention: 256, classes: 10 };
        match self {
            Sizes::Small => Widths { bags: 32, instances: 12, features: 166, hidden: 128, attention: 64, classes: 10 },
            Sizes::Mil => Widths { instances: 10_000, ..large },
            Sizes::Large => large,
            Sizes::Instances(instances) => Widths { instances, ..large },
        }
    }
}

/// A tape and the batch it runs over.
#[derive(Debug)]
pub struct Case {
    /// What it is.
    pub name: &'static str,
    /// The computation.
    pub tape: Tape,
    /// What is run of it.
    pub purpose: Purpose,
    /// The part of a batch in windows, where only that is run.
    pub part: Option<Part>,
    /// Features of an instance.
    pub width: usize,
    /// Instances of each bag.
    pub bags: Vec<usize>,
}

/// A tape with its features.
struct Start {
    tape: Tape,
    x: ValueId,
    tables: [ValueId; 3],
}

impl Start {
    fn new(width: usize, storage: Storage, needs_grad: bool) -> Self {
        let mut tape = Tape::new();
        let x = tape.features(width, storage, needs_grad);
        let tables = Tables::on(&mut tape);
        Self { tape, x, tables }
    }

    fn param(&mut self, rows: u32, cols: u32) -> ValueId {
        let (name, init) = (format!("p{}", self.tape.params.len()), Init::Uniform(1.0 / (cols as f32).sqrt()));
        self.tape.param(Param { name, rows, cols, init, decays: true, parts: Vec::new() })
    }

    fn push(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
        self.tape.push1(op, inputs)
    }

    fn linear(&mut self, x: ValueId, outputs: u32, activation: Activation) -> Result<ValueId> {
        let inputs = self.tape.cols(x);
        let (w, b) = (self.param(outputs, inputs), self.param(1, outputs));
        self.push(Linear { activation }, &[x, w, b])
    }

    /// `inputs` and the tables of the batch.
    fn over_bags(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
        let inputs = [inputs, &self.tables].concat();
        self.push(op, &inputs)
    }

    fn output(&mut self, value: ValueId) {
        self.tape.output(&format!("y{}", self.tape.outputs.len()), value);
    }
}

/// Cases that launch every kernel that operations use.
///
/// # Errors
/// None in practice.
pub fn all(sizes: Sizes) -> Result<Vec<Case>> {
    let w = sizes.widths();
    let mut cases = Vec::new();
    let mut add = |name, tape, purpose, width: usize| {
        cases.push(Case { name, tape, purpose, part: None, width, bags: vec![w.instances; w.bags] });
    };

    // Layers: products forward and backward, activations on the way, sums of bias gradients.
    for (name, storage) in [("linear", Storage::F32), ("linear f16", Storage::F16)] {
        let mut s = Start::new(w.features, storage, false);
        let h = s.linear(s.x, w.hidden, Activation::Relu)?;
        let y = s.linear(h, 2 * w.attention, Activation::None)?;
        s.output(y);
        add(name, s.tape, Purpose::Upstream, w.features);
    }

    // The same in mixed precision: on matrix units where they passed their test.
    let mut s = Start::new(w.features, Storage::F32, false);
    s.tape.mixed = Some(LossScale::default());
    let h = s.linear(s.x, w.hidden, Activation::Relu)?;
    let y = s.linear(h, 2 * w.attention, Activation::None)?;
    s.output(y);
    add("linear mixed", s.tape, Purpose::Upstream, w.features);

    // Gated attention: forward and backward.
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    let pre = s.linear(s.x, 2 * w.attention, Activation::None)?;
    let (vector, bias) = (s.param(1, w.attention), s.param(1, 1));
    let z = s.over_bags(AttentionPool { gated: true }, &[pre, s.x, vector, bias])?;
    s.output(z);
    add("gated attention", s.tape, Purpose::Upstream, w.hidden as usize);

    // Pools over bags.
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    for pool in [Pool::Max, Pool::Mean, Pool::LogMeanExp] {
        let y = s.over_bags(SegmentReduce(pool), &[s.x])?;
        s.output(y);
    }
    add("pools", s.tape, Purpose::Upstream, w.hidden as usize);
    let mut s = Start::new(w.hidden as usize, Storage::F16, false);
    let y = s.over_bags(SegmentReduce(Pool::Mean), &[s.x])?;
    s.output(y);
    add("f16 pool", s.tape, Purpose::Predict, w.hidden as usize);

    // Softmax over bags and over classes, on scores.
    let mut s = Start::new(w.classes as usize, Storage::F32, true);
    // The features are kept at a stride; a copy is dense.
    let x = s.push(Activate(Activation::None), &[s.x])?;
    let y = s.over_bags(SegmentSoftmax, &[x])?;
    s.output(y);
    let y = s.push(RowSoftmax, &[x])?;
    s.output(y);
    for y in s.tape.push(RowLogSoftmax, &[x])? {
        s.output(y);
    }
    let y = s.push(Activate(Activation::Sigmoid), &[x])?;
    let y = s.push(Logit { clip: 1e-6 }, &[y])?;
    s.output(y);
    add("scores", s.tape, Purpose::Upstream, w.classes as usize);

    // Pointwise, and sums over rows and columns, on embeddings.
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    let y = s.push(Activate(Activation::Tanh), &[s.x])?;
    let y = s.push(Multiply, &[y, s.x])?;
    let y = s.push(Gelu, &[y])?;
    let y = s.push(AddScaled { a: 0.5, b: 0.5 }, &[y, s.x])?;
    let sums = s.push(RowSum, &[y])?;
    s.output(sums);
    let sums = s.push(ColumnSum, &[y])?;
    s.output(sums);
    add("pointwise", s.tape, Purpose::Upstream, w.hidden as usize);

    // Dropout and the binary loss. A second use of the parameter leaves one without a gradient to fill.
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    let y = s.push(Dropout::new(0.5, 0), &[s.x])?;
    let y = s.over_bags(SegmentReduce(Pool::Mean), &[y])?;
    let y = s.linear(y, 1, Activation::None)?;
    let (targets, weights) = (s.tape.batch(Input::Targets, 1), s.tape.batch(Input::Weights, 1));
    let loss = SigmoidCrossEntropy { clamp: 1e-5, soft: Soft::default(), scale: 1.0 };
    s.tape.loss = Some(s.push(loss, &[y, targets, weights])?);
    add("dropout", s.tape, Purpose::Gradients { dropout: true }, w.hidden as usize);

    // Attention to the critical instance, forward and backward.
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    let scores = s.linear(s.x, 1, Activation::None)?;
    let inputs = [&[scores][..], &s.tables].concat();
    let critical = s.tape.push(SegmentReduce(Pool::Max), &inputs)?[1];
    let q = s.linear(s.x, w.attention, Activation::None)?;
    let keys = s.push(CriticalRows, &[q, critical])?;
    let z = s.over_bags(CriticalAttention, &[q, s.x, keys])?;
    s.output(z);
    let values = s.over_bags(CriticalValues, &[scores, critical])?;
    s.output(values);
    add("critical attention", s.tape, Purpose::Upstream, w.hidden as usize);

    // A layer with Nyström attention and the convolutions of a square, and the scores that come of it.
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    let (y, scores) = nystrom(&mut s, w.hidden)?;
    s.output(y);
    s.output(scores);
    add("nystrom attention", s.tape, Purpose::Upstream, w.hidden as usize);

    // Rows with a weight each and with their places, and two rounds of routing to a capsule.
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    let weight = s.linear(s.x, 1, Activation::Sigmoid)?;
    let y = s.push(RowScale, &[s.x, weight])?;
    s.output(y);
    let z = s.over_bags(WeightedSum { mean: true }, &[s.x, weight])?;
    let placed = s.over_bags(AddPositions::new(w.hidden), &[s.x])?;
    s.output(placed);
    let capsule = s.push(Squash, &[z])?;
    let agreement = s.over_bags(BagDot, &[s.x, capsule])?;
    s.output(agreement);
    add("weights and routing", s.tape, Purpose::Upstream, w.hidden as usize);

    // Pools with exponents, of scores.
    let mut s = Start::new(w.classes as usize, Storage::F32, true);
    let x = s.push(Activate(Activation::None), &[s.x])?;
    let exponent = s.param(1, w.classes);
    let exponent = s.push(Activate(Activation::Softplus), &[exponent])?;
    for op in [Op::from(GeneralisedMean), PowerMean.into()] {
        let y = s.over_bags(op, &[x, exponent])?;
        s.output(y);
    }
    add("exponent pools", s.tape, Purpose::Upstream, w.classes as usize);

    // The pool with a sharpness, of embeddings.
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    let sharpness = s.param(1, 1);
    let sharpness = s.push(Activate(Activation::Softplus), &[sharpness])?;
    let y = s.over_bags(SharpLogMeanExp, &[s.x, sharpness])?;
    let z = s.push(DivideBy, &[y, sharpness])?;
    s.output(z);
    add("sharp pool", s.tape, Purpose::Upstream, w.hidden as usize);

    // Losses on the outputs of bags, and between instances and their reconstruction.
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    let y = s.linear(s.x, w.hidden, Activation::Tanh)?;
    let squared = TargetLoss { distance: Distance::Squared, scale: 1.0 };
    let loss = s.push(squared, &[y, s.x])?;
    s.output(loss);
    let z = s.over_bags(SegmentReduce(Pool::Mean), &[s.x])?;
    let [labels, times, events, weights] =
        [Input::Labels, Input::Times, Input::Events, Input::Weights].map(|input| s.tape.batch(input, 1));
    let hazards = s.linear(z, 4, Activation::None)?;
    let discrete = DiscreteSurvival { alpha: 0.0, scale: 1.0 };
    let loss = s.push(discrete, &[hazards, labels, events, weights])?;
    s.output(loss);
    let loss = s.push(SmoothHinge::new(1.0), &[hazards, labels, weights])?;
    s.output(loss);
    let risk = s.linear(z, 1, Activation::None)?;
    let loss = s.push(CoxLoss { efron: true, scale: 1.0 }, &[risk, times, events])?;
    s.output(loss);
    let loss = s.push(NtXent { temperature: 0.5, scale: 1.0 }, &[z])?;
    s.output(loss);
    add("losses", s.tape, Purpose::Upstream, w.hidden as usize);

    // Samples of a Gaussian for each instance, and its divergence.
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    let (mean, v) = (s.linear(s.x, w.attention, Activation::None)?, s.linear(s.x, w.attention, Activation::None)?);
    let z = s.push(Reparameterise { site: 0 }, &[mean, v])?;
    let squared = s.push(squared, &[z, mean])?;
    let divergence = s.push(GaussianKl { scale: 1.0 }, &[mean, v])?;
    s.tape.loss = Some(s.push(AddScaled { a: 1.0, b: 1.0 }, &[squared, divergence])?);
    add("gaussian", s.tape, Purpose::Gradients { dropout: true }, w.hidden as usize);

    // Pools of a batch in windows, merged, and the share of a window in their gradients.
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    let h = s.linear(s.x, w.attention, Activation::None)?;
    let (vector, bias) = (s.param(1, w.attention), s.param(1, 1));
    let z = s.over_bags(AttentionPool { gated: false }, &[h, h, vector, bias])?;
    let mut sum = z;
    for pool in [Pool::Max, Pool::Mean, Pool::LogMeanExp] {
        let y = s.over_bags(SegmentReduce(pool), &[h])?;
        sum = s.push(AddScaled { a: 1.0, b: 1.0 }, &[sum, y])?;
    }
    let scores = s.linear(s.x, 1, Activation::None)?;
    let inputs = [&[scores][..], &s.tables].concat();
    let critical = s.tape.push(SegmentReduce(Pool::Max), &inputs)?[1];
    let keys = s.push(CriticalRows, &[h, critical])?;
    let y = s.over_bags(CriticalAttention, &[h, h, keys])?;
    sum = s.push(AddScaled { a: 1.0, b: 1.0 }, &[sum, y])?;
    let y = s.linear(sum, 1, Activation::None)?;
    let (targets, weights) = (s.tape.batch(Input::Targets, 1), s.tape.batch(Input::Weights, 1));
    s.tape.loss =
        Some(s.push(SigmoidCrossEntropy { clamp: 0.0, soft: Soft::default(), scale: 1.0 }, &[y, targets, weights])?);
    for part in [Part::Rows(0), Part::Rows(1), Part::RowsBackward(1), Part::RowsBackward(0)] {
        let purpose = Purpose::Gradients { dropout: false };
        let (tape, bags) = (s.tape.clone(), vec![w.instances; w.bags]);
        cases.push(Case { name: "windows", tape, purpose, part: Some(part), width: w.hidden as usize, bags });
    }
    cases.extend(primitives::cases(w)?);

    // Updates of about a million parameters, with the loss over classes in front.
    let momentum = UpdateRule::Nesterov { momentum: 0.9 };
    let clipped = Optimiser { clip_norm: Some(1.0), ..Optimiser::adam(1e-4) };
    let averaged =
        Optimiser { average: Some(Average { momentum: 0.999, cosine_over: None }), ..Optimiser::radam(1e-4) };
    let optimisers = [
        ("adam", clipped),
        ("nesterov", Optimiser { rule: momentum, ..Optimiser::adam(1e-4) }),
        ("radam", averaged.with_lookahead(5, 0.5)),
        ("adam mixed", Optimiser::adam(1e-4)),
    ];
    for (name, optimiser) in optimisers {
        let mut s = Start::new(1024, Storage::F32, false);
        s.tape.mixed = (name == "adam mixed").then(LossScale::default);
        let y = s.over_bags(SegmentReduce(Pool::Max), &[s.x])?;
        let (weight, bias) = (s.param(1024, 1024), s.param(1, 1024));
        // One update ends in a projection.
        if name == "nesterov" {
            s.tape.keep_above(bias, 0.0);
        }
        let y = s.push(Linear { activation: Activation::Relu }, &[y, weight, bias])?;
        let y = s.linear(y, w.classes, Activation::None)?;
        let (labels, weights) = (s.tape.batch(Input::Labels, 1), s.tape.batch(Input::Weights, 1));
        let loss = SoftmaxCrossEntropy { soft: Soft::default(), scale: 1.0 };
        s.tape.loss = Some(s.push(loss, &[y, labels, weights])?);
        if name == "radam" {
            // One parameter with a norm of its own.
            s.tape.set_groups(&[Group { clip_norm: Some(1.0), ..Group::of(["p0"]) }])?;
        }
        let purpose = Purpose::Train(optimiser);
        cases.push(Case { name, tape: s.tape, purpose, part: None, width: 1024, bags: vec![12; 32] });
    }
    cases.extend(layers::all(sizes)?);
    Ok(cases)
}

/// Tokens of `width` columns through one Nyström attention of 8 heads and 256 landmarks and the convolutions.
fn nystrom(s: &mut Start, width: u32) -> Result<(ValueId, ValueId)> {
    const HEADS: u32 = 8;
    let scale = 1.0 / ((width / HEADS) as f32).sqrt();
    let [tiles, _, offsets] = s.tables;
    let tokens = TokenTables::on(&mut s.tape);
    let with_tokens = |values: &[ValueId]| [values, &tokens].concat();
    let class = s.param(1, width);
    let x = s.push(Square, &with_tokens(&[s.x, class, tiles, offsets]))?;
    let few = s.push(LandmarkMeans { landmarks: 256 }, &with_tokens(&[x]))?;
    let product = |a, b, c| HeadProduct { heads: HEADS, scale, a, b, c };
    let (stacked, columns) = ((Heads::Stacked, false), (Heads::Columns, false));
    let energies = s.push(product(columns, (Heads::Columns, true), Heads::Stacked), &[few, few])?;
    let weights = s.push(RowSoftmax, &[energies])?;
    let inverse = s.push(PseudoInverse { heads: HEADS, iterations: 6 }, &with_tokens(&[weights]))?;
    let attend = |between| CrossAttention { heads: HEADS, scale, between };
    let seen = s.tape.push(attend(Between::LandmarksAndTokens), &with_tokens(&[few, x, x]))?;
    let mixed = s.push(product(stacked, columns, Heads::Columns), &[inverse, seen[0]])?;
    let attended = s.push(attend(Between::TokensAndLandmarks), &with_tokens(&[x, few, mixed]))?;
    let taps = s.param(HEADS, 33);
    let y = s.push(SequenceConv { first: false, landmarks: 0 }, &with_tokens(&[attended, taps]))?;
    let kernels = [49, 25, 9].map(|area| s.param(width, area));
    let kernel = s.push(MergeKernels { side: 7 }, &kernels)?;
    let bias = s.param(1, width);
    let y = s.push(GridConv { side: 7 }, &with_tokens(&[y, kernel, bias]))?;
    let received = Received { heads: HEADS, scale };
    let scores = s.push(received, &with_tokens(&[seen[1], few, x, seen[1]]))?;
    let scores = s.push(TokenScores, &with_tokens(&[scores, tiles, offsets]))?;
    Ok((y, scores))
}

impl Case {
    /// The program of it on a device.
    ///
    /// # Errors
    /// As [`plan::plan`].
    pub fn plan(&self, device: &Device, capacity: Extent) -> Result<Program> {
        let target = device.target_for(self.tape.mixed.is_some());
        match self.part {
            None => plan::plan(&self.tape, self.purpose, target, capacity),
            Some(part) => Windowed::of(&self.tape)?.plan(part, self.purpose, target, capacity),
        }
    }

    /// Columns of the loss's targets; 1 when there are none.
    pub(super) fn target_columns(&self) -> u32 {
        let columns = |v: &crate::tape::Value| (v.shape.rows == Dim::Bags).then_some(v.shape.cols);
        let targets =
            self.tape.values.iter().filter(|v| matches!(v.source, crate::tape::Source::Input(Input::Targets)));
        targets.filter_map(columns).max().unwrap_or(1)
    }

    /// How features are stored.
    pub(super) fn half(&self) -> bool {
        self.tape.values.iter().any(|v| v.storage == Storage::F16)
    }
}
