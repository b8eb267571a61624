//! Differentiable operations: for each its shape rule, and its forward and backward as launches.

pub mod attention_pool;
pub mod batch_norm;
pub mod cluster;
pub mod columns;
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
pub mod moments;
pub mod norm;
pub mod nystrom;
pub mod pointwise;
pub mod positions;
pub mod power_pool;
pub mod pseudo_bags;
pub mod pseudo_label;
pub mod reduce;
pub mod routing;
pub mod rows;
pub(crate) mod scaling;
pub mod schedule;
pub mod segment;
pub mod self_attention;
pub mod sharp_pool;
pub mod sort;
pub mod survival;
pub mod target_loss;
pub mod tokens;
pub mod update;
pub mod weighting;

use crate::error::{Error, Result};
use crate::kernels::launch::Input;
use crate::planner::Planner;
use crate::value::{Io, Shape, Storage, Value, ValueId};
use columns::Splitter;
use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// A differentiable operation with its settings, on a tape.
///
/// It is a shared handle of anything that is a [`Rule`], so an operation of one's own is one like any other, inside of
/// this crate and outside. Settings never change, so a clone costs a count; printing shows the settings.
#[derive(Clone)]
pub struct Op(Arc<dyn Rule>);

impl Op {
    /// The rule of this operation: what planning goes through.
    pub fn rule(&self) -> &dyn Rule {
        &*self.0
    }

    /// The operation with its settings, when it is an `R`: for what translates tapes to other languages.
    pub fn get<R: Rule>(&self) -> Option<&R> {
        (self.rule() as &dyn Any).downcast_ref()
    }
}

impl<R: Rule> From<R> for Op {
    fn from(rule: R) -> Self {
        Self(Arc::new(rule))
    }
}

impl From<&Op> for Op {
    fn from(op: &Op) -> Self {
        op.clone()
    }
}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where operations are recorded: a tape, to what is below it.
pub trait Recorder {
    /// A table of the batch; asking twice gives the same value.
    fn batch(&mut self, input: Input, cols: u32) -> ValueId;

    /// Description of a value.
    fn value(&self, id: ValueId) -> Value;

    /// Pushes an operation and returns its outputs.
    ///
    /// # Errors
    /// [`Error::Shape`] when the operation does not accept these inputs.
    fn record(&mut self, op: Op, inputs: &[ValueId]) -> Result<Vec<ValueId>>;
}

/// What of its inputs a row of an operation's outputs depends on. By this `plan::windows` runs a batch in windows of
/// rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locality {
    /// The same row, and parameters.
    Row,
    /// The rows of a bag, which can be put together from pieces of the bag like this.
    Pool(Merge),
    /// The same, but only after an earlier pool of the same rows, whose result for the bag is the input of this number.
    PoolAfter(Merge, usize),
    /// The same row, and the row of its bag that an earlier pool of the same rows gave, which is the input of this number.
    RowAfter(usize),
    /// Those rows of a bag that an earlier maximum chose: input 1 has their numbers.
    Pick,
    /// The row and the bag's log-sum-exp: a softmax over each bag, which can be left to whoever reads it.
    Softmax,
    /// Rows of a bag that have to be there together.
    Bag,
}

/// How a pooled row of a bag is put together from those of pieces of the bag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The larger; output 1 is the row it came from.
    Max,
    /// Their sum.
    Sum,
    /// Their mean, weighted by the rows of each piece.
    Mean,
    /// ln of the mean of e^x, weighted by the rows of each piece.
    LogMeanExp,
    /// ln of the sum of e^x.
    LogSumExp,
    /// A mean weighted by e^s; output 2 is s, the log-sum-exp of each head.
    Softmax,
}

/// An operation: what the planner asks of it.
pub trait Rule: Any + Debug + Send + Sync {
    /// Name in errors.
    fn name(&self) -> &'static str;

    /// How far a row of the outputs looks: what decides whether a batch can run in windows of rows.
    fn locality(&self) -> Locality {
        Locality::Bag
    }

    /// Records the same on blocks of columns, where a value is too wide for one binding: what the splitter has of the
    /// inputs goes in, what it is given stands for the outputs. It is asked only where an input or output is split.
    ///
    /// # Errors
    /// [`Error::Setting`] where its columns cannot be parted, which is so unless an operation says otherwise.
    fn split(&self, splitter: &mut Splitter, _node: Io) -> Result<()> {
        Err(splitter.refused())
    }

    /// Shapes and storage of the outputs for these inputs.
    ///
    /// # Errors
    /// [`Error::Shape`] quoting both shapes when the inputs do not fit.
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>>;

    /// Inputs that no gradient is computed for: targets of losses, weights of bags. A tape refuses them where
    /// they want one.
    fn constants(&self) -> &'static [usize] {
        &[]
    }

    /// False when the outputs are constants to whoever uses them.
    fn passes_gradient(&self) -> bool {
        true
    }

    /// Launches that compute the outputs.
    fn forward(&self, planner: &mut Planner, node: Io);

    /// Launches that add the gradients of the inputs. The gradient of an output, once all its consumers
    /// have added theirs, belongs to this rule: it may be overwritten.
    fn backward(&self, planner: &mut Planner, node: Io);
}

/// An [`Error::Shape`] when `ok` is false.
pub(crate) fn expect(ok: bool, operation: &'static str, expected: &str, inputs: &[Value]) -> Result<()> {
    if ok {
        return Ok(());
    }
    let found: Vec<String> = inputs.iter().map(|v| v.shape.to_string()).collect();
    Err(Error::Shape { operation, expected: expected.to_string(), found: found.join(", ") })
}
