//! What a tape is made of: values, and which of them an operation reads and makes.

use crate::kernels::launch::{BufferKey, Dim, Input};

/// A value on a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) u32);

impl ValueId {
    /// Position in [`crate::tape::Tape::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// How a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// Four bytes (eight in the oracle).
    F32,
    /// Two bytes; only instance features.
    F16,
    /// Unsigned indices.
    U32,
}

/// Rows and columns; rows may depend on the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows.
    pub rows: Dim,
    /// Columns.
    pub cols: u32,
}

impl Shape {
    /// `rows` by `cols`.
    pub fn new(rows: Dim, cols: u32) -> Self {
        Self { rows, cols }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.rows {
            Dim::Fixed(n) => write!(f, "[{n}, {}]", self.cols),
            dim => write!(f, "[{dim:?}, {}]", self.cols),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The batch.
    Input(Input),
    /// Parameter number n of the tape.
    Param(u32),
    /// A node.
    Node,
    /// A buffer that outlives the program, whole.
    Kept(BufferKey),
}

/// A value: shape, storage, origin, and whether a gradient is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    /// Rows and columns.
    pub shape: Shape,
    /// Storage of an element.
    pub storage: Storage,
    /// Elements from one row to the next; more than the columns only for instance features.
    pub stride: u32,
    /// Where it comes from.
    pub source: Source,
    /// True when a gradient flows into it.
    pub needs_grad: bool,
}

impl Value {
    /// Bytes from one row to the next.
    pub(crate) fn row_bytes(&self) -> u64 {
        let element = if self.storage == Storage::F16 { 2 } else { 4 };
        self.stride as u64 * element
    }
}

/// The values that an operation reads and makes.
#[derive(Clone, Copy, Debug)]
pub struct Io<'a> {
    /// Values read.
    pub inputs: &'a [ValueId],
    /// Values made; the first is the main one.
    pub outputs: &'a [ValueId],
}
