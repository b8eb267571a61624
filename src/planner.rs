//! What the rules of operations write launches into, and what they ask of it: values, scratch, and where gradients go.
//! It knows nothing of operations, tapes and purposes; [`crate::plan`] drives it.

use crate::kernels::Kernel;
use crate::kernels::elementwise::{LANES, UNPACK};
use crate::kernels::launch::{BufferKey, Count, Dim, Extent, Grid, Variant, Word};
use crate::kernels::matmul::half_variant;
use crate::kernels::target::Target;
use crate::value::{Shape, Source, Storage, Value, ValueId};

/// A launch whose bindings are still values.
pub(crate) struct Draft {
    pub kernel: &'static Kernel,
    pub variant: Variant,
    pub operands: Vec<Operand>,
    pub words: Vec<Word>,
    pub grid: Grid,
}

/// What a launch binds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand {
    /// A value, whole.
    Value(ValueId),
    /// Rows of a value: the first, and how many at most.
    Rows(ValueId, u32, u32),
    /// The gradient segment of parameter n.
    ParamGrad(u32),
    /// A flat buffer, whole.
    Flat(BufferKey),
}

impl From<ValueId> for Operand {
    fn from(v: ValueId) -> Self {
        Operand::Value(v)
    }
}

impl Operand {
    /// The value, of one that is bound whole.
    pub(crate) fn value(self) -> Option<ValueId> {
        if let Operand::Value(v) = self { Some(v) } else { None }
    }
}

/// Where a backward rule writes a gradient.
#[derive(Clone, Copy, Debug)]
pub struct GradTarget {
    /// The buffer.
    pub to: Operand,
    /// True when something is there already and must be added to.
    pub accumulate: bool,
}

/// How a purpose runs the operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// True when dropout masks are drawn.
    pub dropout: bool,
    /// True when the model learns: running statistics then follow the batch.
    pub training: bool,
    /// True when the factors of products are rounded to f16.
    pub rounds: bool,
}

/// What operation rules write launches into.
pub struct Planner {
    /// The device planned for.
    pub target: Target,
    /// How operations run.
    pub mode: Mode,
    /// The capacity planned for.
    pub capacity: Extent,
    pub(crate) values: Vec<Value>,
    pub(crate) drafts: Vec<Draft>,
    /// Gradient of each value, once something was written to it.
    pub(crate) grads: Vec<Option<ValueId>>,
    /// Values of each parameter, and whether a launch has written its gradient.
    pub(crate) params: Vec<(u32, bool)>,
    /// Inputs whose gradient the rule that goes backward has asked for.
    pub(crate) asked: Vec<ValueId>,
    /// The first operation that was asked for a gradient of an input, and gives none.
    pub(crate) dropped: Option<(&'static str, usize)>,
    dense: Vec<Option<ValueId>>,
    /// Values that are another value under a new name (dropout that is off).
    pub(crate) alias: Vec<(ValueId, ValueId)>,
}

impl Planner {
    /// One for these values and for parameters with as many values each.
    pub(crate) fn new(values: &[Value], params: Vec<u32>, mode: Mode, target: Target, capacity: Extent) -> Self {
        Self {
            target,
            mode,
            capacity,
            values: values.to_vec(),
            drafts: Vec::new(),
            grads: vec![None; values.len()],
            params: params.into_iter().map(|len| (len, false)).collect(),
            asked: Vec::new(),
            dropped: None,
            dense: vec![None; values.len()],
            alias: Vec::new(),
        }
    }

    /// Description of a value.
    pub fn value(&self, id: ValueId) -> Value {
        self.values[id.index()]
    }

    /// Lets `output` stand for `input`: nothing is computed or copied.
    pub fn alias(&mut self, output: ValueId, input: ValueId) {
        let input = self.resolve(input);
        let (shape, storage, stride) = {
            let v = self.value(input);
            (v.shape, v.storage, v.stride)
        };
        let value = &mut self.values[output.index()];
        (value.shape, value.storage, value.stride) = (shape, storage, stride);
        self.alias.push((output, input));
    }

    pub(crate) fn resolve(&self, id: ValueId) -> ValueId {
        self.alias.iter().find(|(o, _)| *o == id).map_or(id, |(_, i)| *i)
    }

    /// Rows of a value.
    pub fn rows(&self, id: ValueId) -> Dim {
        self.value(id).shape.rows
    }

    /// Columns of a value.
    pub fn cols(&self, id: ValueId) -> u32 {
        self.value(id).shape.cols
    }

    /// Rows of a value that one binding holds, a multiple of 64 so that every window of as many starts where a binding
    /// may; `None` where it holds all of them, or not even that many.
    pub(crate) fn rows_in_binding(&self, operand: Operand) -> Option<u32> {
        let value = self.value(operand.value()?);
        let row = value.row_bytes();
        let most = (self.target.max_binding / row.max(1)) as u32 / 64 * 64;
        (most > 0 && value.shape.rows.of(&self.capacity) as u64 * row > self.target.max_binding).then_some(most)
    }

    /// Scratch of the given shape; its memory is returned to the pool after its last use.
    pub fn temp(&mut self, rows: Dim, cols: u32) -> ValueId {
        self.push_value(Shape::new(rows, cols), Storage::F32)
    }

    /// Scratch for indices.
    pub fn temp_index(&mut self, rows: Dim, cols: u32) -> ValueId {
        self.push_value(Shape::new(rows, cols), Storage::U32)
    }

    pub(crate) fn push_value(&mut self, shape: Shape, storage: Storage) -> ValueId {
        self.push_from(shape, storage, Source::Node)
    }

    pub(crate) fn push_from(&mut self, shape: Shape, storage: Storage, source: Source) -> ValueId {
        self.values.push(Value { shape, storage, stride: shape.cols, source, needs_grad: false });
        self.grads.push(None);
        self.dense.push(None);
        ValueId(self.values.len() as u32 - 1)
    }

    /// Adds a launch.
    pub fn launch(&mut self, kernel: &'static Kernel, operands: &[Operand], words: &[Word], grid: Grid) {
        self.launch_variant(kernel, Vec::new(), operands, words, grid);
    }

    /// Adds a launch of a variant.
    pub fn launch_variant(
        &mut self,
        kernel: &'static Kernel,
        mut variant: Variant,
        operands: &[Operand],
        words: &[Word],
        grid: Grid,
    ) {
        variant.extend(self.target.reduces_in_subgroups(kernel).then_some(("SUBGROUPS", 1)));
        assert_eq!(operands.len(), kernel.bindings.len(), "{}: number of bindings", kernel.name);
        assert_eq!(words.len(), kernel.words, "{}: number of parameter words", kernel.name);
        let operands = operands.iter().map(|o| match *o {
            Operand::Value(v) => Operand::Value(self.resolve(v)),
            Operand::Rows(v, first, count) => Operand::Rows(self.resolve(v), first, count),
            other => other,
        });
        let operands = operands.collect();
        self.drafts.push(Draft { kernel, variant, operands, words: words.to_vec(), grid });
    }

    /// The gradient that reached an output of a node, if any did.
    pub fn upstream(&self, output: ValueId) -> Option<ValueId> {
        self.grads[output.index()]
    }

    /// Where to write the gradient of `input`; `None` when nobody needs it.
    pub fn grad(&mut self, input: ValueId) -> Option<GradTarget> {
        let value = self.value(input);
        if !value.needs_grad {
            return None;
        }
        self.asked.push(input);
        if let Source::Param(index) = value.source {
            let accumulate = std::mem::replace(&mut self.params[index as usize].1, true);
            return Some(GradTarget { to: Operand::ParamGrad(index), accumulate });
        }
        if let Some(grad) = self.grads[input.index()] {
            return Some(GradTarget { to: grad.into(), accumulate: true });
        }
        let source = match value.source {
            Source::Kept(BufferKey::Carry(n)) => Source::Kept(BufferKey::CarryGrad(n)),
            _ => Source::Node,
        };
        let grad = self.push_from(value.shape, Storage::F32, source);
        self.grads[input.index()] = Some(grad);
        Some(GradTarget { to: grad.into(), accumulate: false })
    }

    /// Says that the gradient of `input` is zero, so that nothing has to be written.
    pub fn zero_grad(&mut self, input: ValueId) {
        self.asked.push(input);
    }

    /// True when some gradient of `input` is wanted.
    pub fn wants(&self, input: ValueId) -> bool {
        self.value(input).needs_grad
    }

    /// `value` as dense f32 rows; features in f16 or at a stride are unpacked once.
    pub fn dense(&mut self, value: ValueId) -> ValueId {
        let value = self.resolve(value);
        let described = self.value(value);
        if described.storage != Storage::F16 && described.stride == described.shape.cols {
            return value;
        }
        if let Some(dense) = self.dense[value.index()] {
            return dense;
        }
        let dense = self.temp(described.shape.rows, described.shape.cols);
        let (shape, half) = (described.shape, described.storage == Storage::F16);
        let variant = half_variant(&self.target, half);
        let words = [shape.rows.into(), shape.cols.into(), described.stride.into()];
        let grid = Grid::line(Count::per(shape.rows, shape.cols, LANES));
        self.launch_variant(&UNPACK, variant, &[value.into(), dense.into()], &words, grid);
        self.dense[value.index()] = Some(dense);
        dense
    }

    /// Parameters no launch has written a gradient of (unused ones, or frozen by the graph), and their values.
    pub(crate) fn unwritten_params(&self) -> Vec<(u32, u32)> {
        let numbered = (0..).zip(&self.params);
        numbered.filter(|(_, (_, written))| !written).map(|(n, (len, _))| (n, *len)).collect()
    }

    /// Takes all gradients of parameters for written: what comes is added to them.
    pub(crate) fn add_to_all_params(&mut self) {
        self.params.iter_mut().for_each(|(_, written)| *written = true);
    }

    /// Starts the inputs' gradients of one operation.
    pub(crate) fn start_backward(&mut self) {
        self.asked.clear();
    }

    /// A gradient that is wanted is given or refused, never dropped: keeps the name of an operation that did.
    pub(crate) fn end_backward(&mut self, name: &'static str, inputs: &[ValueId]) {
        let dropped = |v: &ValueId| self.wants(*v) && !self.asked.contains(v);
        if let Some(input) = inputs.iter().position(dropped) {
            self.dropped.get_or_insert((name, input));
        }
    }
}
