//! Matrix products and the fully connected layer.

use super::columns::Splitter;
use super::pointwise::{self, Activation};
use super::{Locality, Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::elementwise;
use crate::kernels::launch::{Count, Dim, Grid, Word, bits};
use crate::kernels::matmul::{self as k, Form};
use crate::kernels::parts::ADD_PARTS;
use crate::planner::{GradTarget, Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// One side of a product: a matrix as it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    operand: Operand,
    rows: Dim,
    cols: u32,
    stride: u32,
    half: bool,
    transposed: bool,
}

impl Side {
    fn of(p: &Planner, id: ValueId, transposed: bool) -> Self {
        let v = p.value(id);
        Self {
            operand: id.into(),
            rows: v.shape.rows,
            cols: v.shape.cols,
            stride: v.stride,
            half: v.storage == Storage::F16,
            transposed,
        }
    }

    /// (rows, columns) of the factor, after transposition.
    fn shape(&self) -> (Dim, Dim) {
        match self.transposed {
            false => (self.rows, Dim::Fixed(self.cols)),
            true => (Dim::Fixed(self.cols), self.rows),
        }
    }
}

/// What happens to the product on its way out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Epilogue {
    bias: Option<ValueId>,
    activation: Activation,
    accumulate: bool,
}

/// to (+)= act(left right + bias).
pub(crate) fn product(p: &mut Planner, left: Side, right: Side, to: Operand, ldc: u32, epilogue: Epilogue) {
    let (m, inner) = left.shape();
    let (inner2, n) = right.shape();
    debug_assert_eq!(inner.of(&p.capacity), inner2.of(&p.capacity), "inner sizes of a product");
    let (target, capacity) = (p.target, p.capacity);
    let (rows, columns, length) = (m.of(&capacity), n.of(&capacity), inner.of(&capacity));
    let form = Form {
        a_t: left.transposed,
        b_t: right.transposed,
        a_half: left.half,
        b_half: right.half,
        rounded: p.mode.rounds,
    };
    let usual = || k::choose(&target, &form, rows, columns, [left.stride, right.stride, ldc]);
    let mut tile = k::small(&target, &form, rows, columns, length).unwrap_or_else(usual);
    let act = epilogue.activation.code();
    let splits = k::splits(&target, &tile, rows, columns, length);
    if splits == 1 {
        tile.variant.extend((act.0 > 2).then_some(("CURVED", 1)));
    }
    let way_out = |accumulate: bool| bits([(k::ADD, accumulate), (k::BIAS, epilogue.bias.is_some())]);
    let words = |m: Dim, inner: Dim, ldc: u32, way_out: u32, act: (u32, f32), [chunk, stride]: [u32; 2]| {
        let flags = way_out | bits([(k::A_TURNED, form.a_t), (k::B_TURNED, form.b_t), (k::ROUNDED, form.rounded)]);
        [
            m.into(),
            n.into(),
            inner.into(),
            left.stride.into(),
            right.stride.into(),
            ldc.into(),
            flags.into(),
            act.0.into(),
            act.1.into(),
            chunk.into(),
            stride.into(),
            Word::GroupsX,
        ]
    };
    let whole = |m: Dim, inner: Dim, accumulate: bool| words(m, inner, ldc, way_out(accumulate), act, [u32::MAX, 0]);
    let bias = epilogue.bias.map_or(right.operand, Operand::Value);
    let mut grid = Grid::plane(Count::per(m, 1, tile.rows), Count::per(n, 1, tile.cols));
    let plain = epilogue.bias.is_none() && act.0 == 0;
    // Instances that one binding does not hold are bound in windows of rows: of the sum, or of the result.
    let bindable = |operands: [Operand; 2]| operands.into_iter().filter_map(|o| p.rows_in_binding(o)).min();
    let window = k::window(&target, &form, length).into_iter().chain(bindable([left.operand, right.operand])).min();
    if let (Some(size), Some(x), Some(y)) = (window, left.operand.value(), right.operand.value())
        && inner == Dim::Instances
        && plain
    {
        for start in (0..length).step_by(size as usize) {
            let inner = Dim::InstanceWindow { start, size };
            // The first window always runs: it is the one that replaces what was there.
            let used = if start == 0 { Dim::Fixed(1) } else { inner };
            grid.z = Count::per(used, 1, size);
            let words = whole(m, inner, epilogue.accumulate || start > 0);
            let (x, y) = (Operand::Rows(x, start, size), Operand::Rows(y, start, size));
            p.launch_variant(tile.kernel, tile.variant.clone(), &[x, y, y, to], &words, grid);
        }
        return;
    }
    if let (Some(size), Some(x), Some(z)) = (bindable([left.operand, to]), left.operand.value(), to.value())
        && m == Dim::Instances
    {
        for start in (0..rows).step_by(size as usize) {
            let m = Dim::InstanceWindow { start, size };
            grid.a = Count::per(m, 1, tile.rows);
            let words = whole(m, inner, epilogue.accumulate);
            let operands = [Operand::Rows(x, start, size), right.operand, bias, Operand::Rows(z, start, size)];
            p.launch_variant(tile.kernel, tile.variant.clone(), &operands, &words, grid);
        }
        return;
    }
    if splits <= 1 {
        let words = whole(m, inner, epilogue.accumulate);
        p.launch_variant(tile.kernel, tile.variant, &[left.operand, right.operand, bias, to], &words, grid);
        return;
    }
    // A long sum with few outputs: parts in parallel, then added in a fixed order on the way out.
    let parts = p.temp(Dim::Fixed(splits), rows * columns);
    grid.z = Count::each(Dim::Fixed(splits));
    let chunk = length.div_ceil(splits).next_multiple_of(16);
    let words = words(m, inner, columns, 0, (0, 0.0), [chunk, rows * columns]);
    let operands = [left.operand, right.operand, right.operand, parts.into()];
    p.launch_variant(tile.kernel, tile.variant, &operands, &words, grid);
    let bias = epilogue.bias.unwrap_or(parts);
    let words = [
        m.into(),
        n.into(),
        ldc.into(),
        way_out(epilogue.accumulate).into(),
        act.0.into(),
        act.1.into(),
        splits.into(),
        (rows * columns).into(),
    ];
    let grid = Grid::line(Count::per(m, columns, elementwise::LANES));
    p.launch(&ADD_PARTS, &[parts.into(), bias.into(), to], &words, grid);
}

/// act(x W^T + b): the layer of every network here. Inputs x `[R, I]`, W `[O, I]`, optionally b `[1, O]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// What follows.
    pub activation: Activation,
}

impl Rule for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let (x, w, bias) = (node.inputs[0], node.inputs[1], node.inputs.get(2).copied());
        // A block of columns of the result is the sum over blocks of x, in their order.
        let (plain, mut results) = (Linear { activation: Activation::None }, Vec::new());
        for run in s.blocks(node.outputs[0]) {
            let rows = s.take_rows(w, run)?;
            let mut bias = bias.map(|b| s.take(b, run)).transpose()?;
            if !s.wide(x) {
                let x = s.name(x);
                results.push(s.push1(*self, &[&[x, rows], bias.as_slice()].concat())?);
                continue;
            }
            // It is added with the first product.
            let products = s.of_blocks(x, |s, part, run| {
                let weights = s.slice(rows, run)?;
                s.push1(plain, &[&[part, weights], bias.take().as_slice()].concat())
            })?;
            let sum = s.sum(&products)?;
            results.push(match self.activation {
                Activation::None => sum,
                activation => s.push1(pointwise::Activate(activation), &[sum])?,
            });
        }
        s.give(node.outputs[0], results)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let known = self.activation.code().0 <= Activation::Softplus.code().0;
        expect(known, self.name(), "no activation, relu, leaky relu, tanh, sigmoid or softplus", inputs)?;
        let ok = inputs.len() >= 2
            && inputs[0].shape.cols == inputs[1].shape.cols
            && matches!(inputs[1].shape.rows, Dim::Fixed(_))
            && inputs.get(2).is_none_or(|b| Dim::Fixed(b.shape.cols) == inputs[1].shape.rows);
        expect(ok, self.name(), "x [R, I], W [O, I] and b [1, O]", inputs)?;
        let Dim::Fixed(outputs) = inputs[1].shape.rows else { unreachable!() };
        Ok(vec![(Shape::new(inputs[0].shape.rows, outputs), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, w) = (Side::of(p, node.inputs[0], false), Side::of(p, node.inputs[1], true));
        let epilogue = Epilogue { bias: node.inputs.get(2).copied(), activation: self.activation, accumulate: false };
        let ldc = p.cols(node.outputs[0]);
        product(p, x, w, node.outputs[0].into(), ldc, epilogue);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let y = node.outputs[0];
        let g = p.upstream(y).expect("a gradient");
        pointwise::through(p, self.activation, y, g);
        let (x, w) = (node.inputs[0], node.inputs[1]);
        if let Some(GradTarget { to, accumulate }) = p.grad(x) {
            let (left, right) = (Side::of(p, g, false), Side::of(p, w, false));
            let ldc = p.cols(x);
            product(p, left, right, to, ldc, Epilogue { accumulate, ..Default::default() });
        }
        if let Some(GradTarget { to, accumulate }) = p.grad(w) {
            let (left, right) = (Side::of(p, g, true), Side::of(p, x, false));
            let ldc = p.cols(w);
            product(p, left, right, to, ldc, Epilogue { accumulate, ..Default::default() });
        }
        if let Some(&b) = node.inputs.get(2)
            && let Some(target) = p.grad(b)
        {
            reduce::column_sums(p, g, target);
        }
    }
}

/// op(A) op(B) for two values, each as stored or transposed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matmul {
    /// A is stored transposed.
    pub a_t: bool,
    /// B is stored transposed.
    pub b_t: bool,
}

impl Rule for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        if self.a_t || self.b_t || s.wide(node.inputs[0]) {
            return Err(s.refused());
        }
        s.each(*self, node, node.outputs[0], 1..2)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let expected = "two matrices whose inner sizes agree, with a fixed number of columns in the result";
        expect(inputs.len() == 2, self.name(), expected, inputs)?;
        let side = |v: &Value, t: bool| match t {
            false => (v.shape.rows, Dim::Fixed(v.shape.cols)),
            true => (Dim::Fixed(v.shape.cols), v.shape.rows),
        };
        let ((m, k1), (k2, n)) = (side(&inputs[0], self.a_t), side(&inputs[1], self.b_t));
        let cols = if let Dim::Fixed(n) = n { Some(n) } else { None };
        expect(k1 == k2 && cols.is_some(), self.name(), expected, inputs)?;
        Ok(vec![(Shape::new(m, cols.unwrap()), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (a, b) = (Side::of(p, node.inputs[0], self.a_t), Side::of(p, node.inputs[1], self.b_t));
        let ldc = p.cols(node.outputs[0]);
        product(p, a, b, node.outputs[0].into(), ldc, Epilogue::default());
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let (a, b) = (node.inputs[0], node.inputs[1]);
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        if let Some(GradTarget { to, accumulate }) = p.grad(a) {
            // dA = dC op(B)^T, or its transpose when A is stored transposed.
            let (left, right) = match self.a_t {
                false => (Side::of(p, g, false), Side::of(p, b, !self.b_t)),
                true => (Side::of(p, b, self.b_t), Side::of(p, g, true)),
            };
            let ldc = p.cols(a);
            product(p, left, right, to, ldc, Epilogue { accumulate, ..Default::default() });
        }
        if let Some(GradTarget { to, accumulate }) = p.grad(b) {
            let (left, right) = match self.b_t {
                false => (Side::of(p, a, !self.a_t), Side::of(p, g, false)),
                true => (Side::of(p, g, true), Side::of(p, a, self.a_t)),
            };
            let ldc = p.cols(b);
            product(p, left, right, to, ldc, Epilogue { accumulate, ..Default::default() });
        }
    }
}
