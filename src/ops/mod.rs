//! Differentiable operations: for each its shape rule, and its forward and backward as launches.

pub mod attention_pool;
pub mod batch_norm;
pub mod cluster;
pub mod contrast;
pub mod conv;
pub mod critical_attention;
pub mod cross_attention;
pub mod depthwise;
pub mod dropout;
pub mod evidential;
pub mod gaussian;
pub mod graph;
pub mod image;
pub mod loss;
pub mod matmul;
pub mod norm;
pub mod nystrom;
pub mod pointwise;
pub mod power_pool;
pub mod pseudo_label;
pub mod reduce;
pub mod routing;
pub mod rows;
pub(crate) mod scaling;
pub mod schedule;
pub mod segment;
pub mod self_attention;
pub mod sort;
pub mod survival;
pub mod target_loss;
pub mod tokens;
pub mod update;
pub mod weighting;

use crate::error::{Error, Result};
use crate::plan::Planner;
use crate::tape::{Node, Shape, Storage, Value};

/// A differentiable operation with its settings. Plain data: a tape can be printed and compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Fully connected layer.
    Linear(matmul::Linear),
    /// Product of two matrices in any transposed form.
    Matmul(matmul::Matmul),
    /// Pointwise function.
    Activate(pointwise::Activate),
    /// ln(p / (1 - p)) of a probability.
    Logit(pointwise::Logit),
    /// a x + b y.
    AddScaled(pointwise::AddScaled),
    /// See [`pointwise::AddTerm`].
    AddTerm(pointwise::AddTerm),
    /// x y, element by element.
    Multiply(pointwise::Multiply),
    /// factor x + offset.
    Affine(pointwise::Affine),
    /// 1 where x is below a limit.
    Below(pointwise::Below),
    /// A constant from here on.
    StopGradient(pointwise::StopGradient),
    /// Sum over the columns of each row.
    RowSum(reduce::RowSum),
    /// Sum over the rows of each column.
    ColumnSum(reduce::ColumnSum),
    /// Softmax over the columns of each row.
    RowSoftmax(reduce::RowSoftmax),
    /// Sum, mean, log-mean-exp or maximum over each bag.
    SegmentReduce(segment::SegmentReduce),
    /// Softmax over each bag, column by column.
    SegmentSoftmax(segment::SegmentSoftmax),
    /// Rows of each bag by descending score.
    SegmentSort(sort::SegmentSort),
    /// Rows of each bag in a random order.
    SegmentShuffle(sort::SegmentShuffle),
    /// First or last places of an order.
    SegmentTop(sort::SegmentTop),
    /// Rows under a mask, without gaps.
    SegmentKeep(sort::SegmentKeep),
    /// Attention pooling, plain or gated.
    AttentionPool(attention_pool::AttentionPool),
    /// Self-attention within each bag.
    SelfAttention(self_attention::SelfAttention),
    /// Rows of the critical instance of each class.
    CriticalRows(critical_attention::CriticalRows),
    /// Attention to them.
    CriticalAttention(critical_attention::CriticalAttention),
    /// Attention between tokens and landmarks.
    CrossAttention(cross_attention::CrossAttention),
    /// Weights that tokens get from landmarks.
    Received(cross_attention::Received),
    /// Products of the small matrices of each bag and head.
    HeadProduct(nystrom::HeadProduct),
    /// Iterative pseudo-inverse of each bag and head.
    PseudoInverse(nystrom::PseudoInverse),
    /// Instances as a square behind a class token.
    Square(tokens::Square),
    /// Means of runs of tokens.
    LandmarkMeans(tokens::LandmarkMeans),
    /// Scores of instances from those of tokens.
    TokenScores(tokens::TokenScores),
    /// Convolution along the tokens.
    SequenceConv(depthwise::SequenceConv),
    /// See [`depthwise::ShiftTokens`].
    ShiftTokens(depthwise::ShiftTokens),
    /// Convolution over the square of tokens.
    GridConv(depthwise::GridConv),
    /// Three kernels and the identity as one.
    MergeKernels(depthwise::MergeKernels),
    /// Rows times a weight each.
    RowScale(weighting::RowScale),
    /// Sum or mean over each bag of rows times a weight each.
    WeightedSum(weighting::WeightedSum),
    /// Generalised mean of probabilities over each bag.
    GeneralisedMean(power_pool::GeneralisedMean),
    /// Power pooling of probabilities over each bag.
    PowerMean(power_pool::PowerMean),
    /// Loss against real targets: squared error, margin, soft-target cross-entropy.
    TargetLoss(target_loss::TargetLoss),
    /// Discrete-time survival likelihood over bags.
    DiscreteSurvival(survival::DiscreteSurvival),
    /// Cox partial likelihood over bags.
    CoxLoss(survival::CoxLoss),
    /// Contrastive loss of pairs of rows.
    NtXent(contrast::NtXent),
    /// Sample of a diagonal Gaussian.
    Reparameterise(gaussian::Reparameterise),
    /// Divergence of diagonal Gaussians from the standard one.
    GaussianKl(gaussian::GaussianKl),
    /// Squashed rows and their lengths.
    Squash(routing::Squash),
    /// Agreement of instances with a row of their bag.
    BagDot(routing::BagDot),
    /// Evidential loss of rows of evidence.
    EvidentialLoss(evidential::EvidentialLoss),
    /// Uncertainty of rows of evidence.
    DirichletUncertainty(evidential::DirichletUncertainty),
    /// Pseudo-label loss of instances.
    InstancePseudoLoss(pseudo_label::InstancePseudoLoss),
    /// Loss of bags with pseudo-labelled instances.
    BagPseudoLoss(pseudo_label::BagPseudoLoss),
    /// Products or distances of all pairs of a bag.
    PairMatrix(graph::PairMatrix),
    /// Sums or means over neighbours.
    GraphProduct(graph::GraphProduct),
    /// What soft assignments leave of a graph.
    LinkLoss(graph::LinkLoss),
    /// Nearest centroids.
    ClusterAssign(cluster::ClusterAssign),
    /// Means of clusters.
    ClusterMeans(cluster::ClusterMeans),
    /// The row of the bag for each instance.
    BagBroadcast(segment::BagBroadcast),
    /// Logarithm of a Gaussian density.
    GaussianLogDensity(gaussian::GaussianLogDensity),
    /// Dropout.
    Dropout(dropout::Dropout),
    /// Dropout of whole channels.
    ChannelDropout(dropout::ChannelDropout),
    /// Rows picked by an index.
    GatherRows(rows::GatherRows),
    /// Two matrices side by side.
    Concat(rows::Concat),
    /// A run of columns.
    SliceColumns(rows::SliceColumns),
    /// Rows of a matrix.
    SliceRows(rows::SliceRows),
    /// Rows with mean 0 and deviation 1, gain and bias.
    LayerNorm(norm::LayerNorm),
    /// Channels of images with mean 0 and deviation 1.
    InstanceNorm(norm::InstanceNorm),
    /// Rows of length 1.
    UnitRows(norm::UnitRows),
    /// Convolution of images.
    Conv2d(conv::Conv2d),
    /// Transposed convolution of images.
    ConvTranspose2d(conv::ConvTranspose2d),
    /// Largest value of each window of images.
    MaxPool(image::MaxPool),
    /// Mean of each channel of images.
    ChannelMean(image::ChannelMean),
    /// Images with every value several times.
    Upsample(image::Upsample),
    /// Images with a border.
    Pad(image::Pad),
    /// Channels with mean 0 and deviation 1 over the batch.
    BatchNorm(batch_norm::BatchNorm),
    /// The same with running statistics.
    RunningBatchNorm(batch_norm::RunningBatchNorm),
    /// Binary cross-entropy over bags.
    SigmoidCrossEntropy(loss::SigmoidCrossEntropy),
    /// Cross-entropy over the classes of bags.
    SoftmaxCrossEntropy(loss::SoftmaxCrossEntropy),
}

impl Op {
    /// The rule of this operation: the one table that planning goes through.
    pub fn rule(&self) -> &dyn Rule {
        match self {
            Op::Linear(r) => r,
            Op::Matmul(r) => r,
            Op::Activate(r) => r,
            Op::Logit(r) => r,
            Op::AddScaled(r) => r,
            Op::AddTerm(r) => r,
            Op::Multiply(r) => r,
            Op::Affine(r) => r,
            Op::Below(r) => r,
            Op::StopGradient(r) => r,
            Op::RowSum(r) => r,
            Op::ColumnSum(r) => r,
            Op::RowSoftmax(r) => r,
            Op::SegmentReduce(r) => r,
            Op::SegmentSoftmax(r) => r,
            Op::SegmentSort(r) => r,
            Op::SegmentShuffle(r) => r,
            Op::SegmentTop(r) => r,
            Op::SegmentKeep(r) => r,
            Op::AttentionPool(r) => r,
            Op::SelfAttention(r) => r,
            Op::CriticalRows(r) => r,
            Op::CriticalAttention(r) => r,
            Op::CrossAttention(r) => r,
            Op::Received(r) => r,
            Op::HeadProduct(r) => r,
            Op::PseudoInverse(r) => r,
            Op::Square(r) => r,
            Op::LandmarkMeans(r) => r,
            Op::TokenScores(r) => r,
            Op::SequenceConv(r) => r,
            Op::ShiftTokens(r) => r,
            Op::GridConv(r) => r,
            Op::MergeKernels(r) => r,
            Op::RowScale(r) => r,
            Op::WeightedSum(r) => r,
            Op::GeneralisedMean(r) => r,
            Op::PowerMean(r) => r,
            Op::TargetLoss(r) => r,
            Op::DiscreteSurvival(r) => r,
            Op::CoxLoss(r) => r,
            Op::NtXent(r) => r,
            Op::Reparameterise(r) => r,
            Op::GaussianKl(r) => r,
            Op::Squash(r) => r,
            Op::BagDot(r) => r,
            Op::EvidentialLoss(r) => r,
            Op::DirichletUncertainty(r) => r,
            Op::InstancePseudoLoss(r) => r,
            Op::BagPseudoLoss(r) => r,
            Op::PairMatrix(r) => r,
            Op::GraphProduct(r) => r,
            Op::LinkLoss(r) => r,
            Op::ClusterAssign(r) => r,
            Op::ClusterMeans(r) => r,
            Op::BagBroadcast(r) => r,
            Op::GaussianLogDensity(r) => r,
            Op::Dropout(r) => r,
            Op::ChannelDropout(r) => r,
            Op::GatherRows(r) => r,
            Op::Concat(r) => r,
            Op::SliceColumns(r) => r,
            Op::SliceRows(r) => r,
            Op::LayerNorm(r) => r,
            Op::InstanceNorm(r) => r,
            Op::UnitRows(r) => r,
            Op::Conv2d(r) => r,
            Op::ConvTranspose2d(r) => r,
            Op::MaxPool(r) => r,
            Op::ChannelMean(r) => r,
            Op::Upsample(r) => r,
            Op::Pad(r) => r,
            Op::BatchNorm(r) => r,
            Op::RunningBatchNorm(r) => r,
            Op::SigmoidCrossEntropy(r) => r,
            Op::SoftmaxCrossEntropy(r) => r,
        }
    }
}

/// What of its inputs a row of an operation's outputs depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locality {
    /// The same row, and parameters.
    Row,
    /// The rows of a bag, from pieces of which it can be put together (`plan::windows`).
    Pool,
    /// Rows of a bag that have to be there together.
    Bag,
}

/// What the planner asks of an operation.
pub trait Rule {
    /// Name in errors.
    fn name(&self) -> &'static str;

    /// How far a row of the outputs looks: what decides whether a batch can run in windows of rows.
    fn locality(&self) -> Locality {
        Locality::Bag
    }

    /// Shapes and storage of the outputs for these inputs.
    ///
    /// # Errors
    /// [`Error::Shape`] quoting both shapes when the inputs do not fit.
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>>;

    /// Inputs that no gradient is computed for: targets of losses, weights of bags. [`Tape::push`] refuses them where
    /// they want one.
    ///
    /// [`Tape::push`]: crate::tape::Tape::push
    fn constants(&self) -> &'static [usize] {
        &[]
    }

    /// False when the outputs are constants to whoever uses them.
    fn passes_gradient(&self) -> bool {
        true
    }

    /// Launches that compute the outputs.
    fn forward(&self, planner: &mut Planner, node: &Node);

    /// Launches that add the gradients of the inputs. The gradient of an output, once all its consumers
    /// have added theirs, belongs to this rule: it may be overwritten.
    fn backward(&self, planner: &mut Planner, node: &Node);
}

/// An [`Error::Shape`] when `ok` is false.
pub(crate) fn expect(ok: bool, operation: &'static str, expected: &str, inputs: &[Value]) -> Result<()> {
    if ok {
        return Ok(());
    }
    let found: Vec<String> = inputs.iter().map(|v| v.shape.to_string()).collect();
    Err(Error::Shape { operation, expected: expected.to_string(), found: found.join(", ") })
}
