//! Where an instance stands in its bag, for bags that are series (Vaswani and others 2017).

use super::columns::Splitter;
use super::pointwise::add_to;
use super::segment::{Tables, over_bags, tile_grid};
use super::{Op, Rule, expect};
use crate::error::Result;
use crate::kernels::launch::Dim;
use crate::kernels::positions as k;
use crate::planner::Planner;
use crate::value::{Io, Shape, Storage, Value};

/// x plus, for the row at place p of its bag (from 0), sin(p w_k) in column 2 k and cos(p w_k) in column 2 k + 1, with
/// w_k = 10000^(-2 k / width). Inputs: x `[N, C]`, tables. Output: `[N, C]`. There is no last place.
///
/// Within 1e-5 up to place 5000 and a width of 256 on every device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AddPositions {
    /// Columns of the whole, an even number.
    pub width: u32,
    /// The first of these columns among them.
    pub first: u32,
}

impl AddPositions {
    /// For all columns of a value that has `width`.
    pub const fn new(width: u32) -> Self {
        Self { width, first: 0 }
    }
}

impl Rule for AddPositions {
    fn name(&self) -> &'static str {
        "add positions"
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let part =
            |_: &Splitter, run: super::columns::Run| Ok(Op::from(Self { first: self.first + run.first, ..*self }));
        s.each_as(part, node, node.inputs[0], 0..1)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let fits = |v: &Value| self.first.checked_add(v.shape.cols).is_some_and(|end| end <= self.width);
        let ok = over_bags(inputs, 1) && self.width > 0 && self.width.is_multiple_of(2) && fits(&inputs[0]);
        expect(ok, self.name(), "instance rows [N, C] of an even number of columns", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, t) = (p.dense(node.inputs[0]), Tables::of(node));
        let cols = p.cols(x);
        let operands = [x.into(), t.tiles.into(), t.offsets.into(), node.outputs[0].into()];
        let words = [Dim::Tiles.into(), cols.into(), self.first.into(), k::ratio(self.width).into()];
        p.launch(&k::ADD_POSITIONS, &operands, &words, tile_grid(cols));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        if let Some(target) = p.grad(node.inputs[0]) {
            add_to(p, g, 1.0, target);
        }
    }
}
