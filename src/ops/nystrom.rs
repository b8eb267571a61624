//! What Nyström attention is made of (Xiong et al. 2021, arXiv 2102.03902): products of the small matrices of
//! each bag and head, and the iterative pseudo-inverse. Attention itself is in [`super::cross_attention`].

use super::{Rule, expect};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid, Word};
use crate::kernels::nystrom as k;
use crate::planner::{GradTarget, Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// How the matrices of the heads of a bag lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heads {
    /// One under the other: `[B H r, c]`.
    Stacked,
    /// Side by side: `[B r, H c]`.
    Columns,
}

/// Rows of a value for each bag.
pub(crate) fn rows_per_bag(rows: Dim) -> Option<u32> {
    match rows {
        Dim::Bags => Some(1),
        Dim::BagRows(n) => Some(n),
        _ => None,
    }
}

impl Heads {
    /// Rows and columns of one head of a value.
    fn split(self, shape: Shape, heads: u32) -> Option<[u32; 2]> {
        let rows = rows_per_bag(shape.rows)?;
        let (all, one) = if self == Heads::Stacked { (rows, shape.cols) } else { (shape.cols, rows) };
        if heads == 0 || !all.is_multiple_of(heads) {
            return None;
        }
        Some(if self == Heads::Stacked { [all / heads, one] } else { [one, all / heads] })
    }

    fn join(self, [rows, cols]: [u32; 2], heads: u32) -> Shape {
        let (rows, cols) = if self == Heads::Stacked { (rows * heads, cols) } else { (rows, cols * heads) };
        Shape::new(if rows == 1 { Dim::Bags } else { Dim::BagRows(rows) }, cols)
    }
}

/// A factor or the result of a product: where it is, how its heads lie, and whether it is turned first.
#[derive(Clone, Copy)]
struct Side {
    at: Operand,
    heads: Heads,
    turned: bool,
}

impl Side {
    fn stacked(value: ValueId, turned: bool) -> Self {
        Self { at: value.into(), heads: Heads::Stacked, turned }
    }
}

/// alpha a b + beta e + gamma I.
struct Terms {
    alpha: f32,
    e: Option<(ValueId, f32)>,
    gamma: f32,
}

impl Terms {
    fn product(alpha: f32) -> Self {
        Self { alpha, e: None, gamma: 0.0 }
    }
}

/// c (+)= the terms; a is `[m, k]` and b `[k, n]` after turning.
fn product(p: &mut Planner, heads: u32, sizes: [u32; 3], [a, b]: [Side; 2], terms: Terms, c: (GradTarget, Heads)) {
    let [m, n, inner] = sizes;
    let (target, layout) = c;
    let mark = |on: bool, bit: u32| on as u32 * bit;
    let flags = mark(target.accumulate, k::ACCUMULATE)
        | mark(a.turned, k::A_T)
        | mark(b.turned, k::B_T)
        | mark(terms.e.is_some(), k::WITH_E)
        | mark(a.heads == Heads::Columns, k::A_COLUMNS)
        | mark(b.heads == Heads::Columns, k::B_COLUMNS)
        | mark(layout == Heads::Columns, k::C_COLUMNS);
    let (e, beta) = terms.e.map_or((a.at, 0.0), |(e, beta)| (e.into(), beta));
    let layers = Dim::BagRows(heads);
    let words: [Word; 9] = [
        m.into(),
        n.into(),
        inner.into(),
        heads.into(),
        flags.into(),
        terms.alpha.into(),
        beta.into(),
        terms.gamma.into(),
        layers.into(),
    ];
    let tiles = m.div_ceil(k::SIDE) * n.div_ceil(k::SIDE);
    let grid = Grid::line(Count { dim: layers, times: tiles, per: 1 });
    p.launch(&k::PRODUCT, &[a.at, b.at, e, target.to], &words, grid);
}

/// scale op(a) op(b) of each bag and head. Inputs: a and b, whose heads lie as `a` and `b` say, after op `[m, k]`
/// and `[k, n]` a head. Output: the products, whose heads lie as `c` says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadProduct {
    /// Heads H.
    pub heads: u32,
    /// Factor.
    pub scale: f32,
    /// How the heads of a lie, and whether a is stored transposed.
    pub a: (Heads, bool),
    /// The same of b.
    pub b: (Heads, bool),
    /// How the heads of the result lie.
    pub c: Heads,
}

impl HeadProduct {
    /// m, n and k.
    fn sizes(&self, a: Shape, b: Shape) -> Option<[u32; 3]> {
        let op = |of: (Heads, bool), shape| {
            let [rows, cols] = of.0.split(shape, self.heads)?;
            Some(if of.1 { [cols, rows] } else { [rows, cols] })
        };
        let ([m, k], [k2, n]) = (op(self.a, a)?, op(self.b, b)?);
        (k == k2 && m > 0 && n > 0 && k > 0).then_some([m, n, k])
    }

    fn side(of: (Heads, bool), value: ValueId, other_way: bool) -> Side {
        Side { at: value.into(), heads: of.0, turned: of.1 != other_way }
    }
}

impl Rule for HeadProduct {
    fn name(&self) -> &'static str {
        "head product"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let sizes = match inputs {
            [a, b] => self.sizes(a.shape, b.shape),
            _ => None,
        };
        expect(sizes.is_some(), self.name(), "two matrices a bag and head whose inner sizes agree", inputs)?;
        let [m, n, _] = sizes.unwrap_or_default();
        Ok(vec![(self.c.join([m, n], self.heads), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let [a, b] = node.inputs[..] else { panic!("two factors") };
        let sizes = self.sizes(p.value(a).shape, p.value(b).shape).expect("checked shapes");
        let sides = [Self::side(self.a, a, false), Self::side(self.b, b, false)];
        let target = GradTarget { to: node.outputs[0].into(), accumulate: false };
        product(p, self.heads, sizes, sides, Terms::product(self.scale), (target, self.c));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let [a, b] = node.inputs[..] else { panic!("two factors") };
        let [m, n, k] = self.sizes(p.value(a).shape, p.value(b).shape).expect("checked shapes");
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let upstream = |turned| Side { at: g.into(), heads: self.c, turned };
        if let Some(target) = p.grad(a) {
            // dA = dC op(B)^T, or its transpose when A is stored transposed.
            let (sizes, sides) = match self.a.1 {
                false => ([m, k, n], [upstream(false), Self::side(self.b, b, true)]),
                true => ([k, m, n], [Self::side(self.b, b, false), upstream(true)]),
            };
            product(p, self.heads, sizes, sides, Terms::product(self.scale), (target, self.a.0));
        }
        if let Some(target) = p.grad(b) {
            let (sizes, sides) = match self.b.1 {
                false => ([k, n, m], [Self::side(self.a, a, true), upstream(false)]),
                true => ([n, k, m], [upstream(true), Self::side(self.a, a, false)]),
            };
            product(p, self.heads, sizes, sides, Terms::product(self.scale), (target, self.b.0));
        }
    }
}

/// The iteration to the Moore-Penrose inverse of each bag and head (Razavi et al. 2014, as in Nyströmformer):
/// Z <- Z (13 I - Y (15 I - Y (7 I - Y))) / 4 with Y = A Z, from Z = A^T / (r c). r and c are the largest sums of
/// absolute values of a row and a column over all heads of the bag: a bag's result does not depend on its batch
/// mates, and is that of a batch of one of the published code, which takes them over the batch. Gradients pass
/// the iteration and both largest sums.
///
/// Input: A `[B H m, m]`, heads stacked. Outputs: Z `[B H m, m]`, then what backward needs: the largest sums
/// `[B H, 4]` and four matrices as large as A an iteration (no gradients of their own).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PseudoInverse {
    /// Heads H.
    pub heads: u32,
    /// Rounds; six in the papers.
    pub iterations: u32,
}

/// What a round of the iteration keeps: Z, Y = A Z, Q = 15 I - Y (7 I - Y) and R = 13 I - Y Q.
struct Round {
    z: ValueId,
    y: ValueId,
    q: ValueId,
    r: ValueId,
}

impl PseudoInverse {
    fn rounds(node: Io) -> Vec<Round> {
        node.outputs[2..].chunks_exact(4).map(|o| Round { z: o[0], y: o[1], q: o[2], r: o[3] }).collect()
    }

    fn words(&self, side: u32, accumulate: bool) -> [Word; 4] {
        [Dim::BagRows(self.heads).into(), self.heads.into(), side.into(), accumulate.into()]
    }

    /// One workgroup a matrix, and one invocation a value.
    fn grids(&self, side: u32) -> [Grid; 2] {
        let layers = Dim::BagRows(self.heads);
        [Grid::line(Count::each(layers)), Grid::line(Count::per(layers, side * side, LANES))]
    }
}

impl Rule for PseudoInverse {
    fn name(&self) -> &'static str {
        "pseudo-inverse"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let square = match inputs {
            [a] => Heads::Stacked.split(a.shape, self.heads).is_some_and(|[rows, cols]| rows == cols && rows > 0),
            _ => false,
        };
        expect(square && self.iterations > 0, self.name(), "square matrices of each head, and a round", inputs)?;
        let matrix = (inputs[0].shape, Storage::F32);
        let sums = (Shape::new(Dim::BagRows(self.heads), 4), Storage::F32);
        let kept = std::iter::repeat_n(matrix, 4 * self.iterations as usize);
        Ok([matrix, sums].into_iter().chain(kept).collect())
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (a, sums, rounds) = (node.inputs[0], node.outputs[1], Self::rounds(node));
        let m = p.cols(a);
        let [layers, values] = self.grids(m);
        p.launch(&k::SUMS, &[a.into(), sums.into()], &self.words(m, false), layers);
        p.launch(&k::START, &[a, sums, rounds[0].z].map(Operand::Value), &self.words(m, false), values);
        for (i, Round { z, y, q, r }) in rounds.iter().enumerate() {
            let next = rounds.get(i + 1).map_or(node.outputs[0], |r| r.z);
            let mut step = |left: ValueId, right: ValueId, terms: Terms, to: ValueId| {
                let sides = [Side::stacked(left, false), Side::stacked(right, false)];
                let target = GradTarget { to: to.into(), accumulate: false };
                product(p, self.heads, [m; 3], sides, terms, (target, Heads::Stacked));
            };
            step(a, *z, Terms::product(1.0), *y);
            step(*y, *y, Terms { alpha: 1.0, e: Some((*y, -7.0)), gamma: 15.0 }, *q);
            step(*y, *q, Terms { alpha: -1.0, e: None, gamma: 13.0 }, *r);
            step(*z, *r, Terms::product(0.25), next);
        }
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let (a, sums, rounds) = (node.inputs[0], node.outputs[1], Self::rounds(node));
        let Some(mut g) = p.upstream(node.outputs[0]) else { return };
        let Some(target) = p.grad(a) else { return };
        let (m, rows) = (p.cols(a), p.rows(a));
        let da = p.temp(rows, m);
        for (i, Round { z, y, q, r }) in rounds.iter().enumerate().rev() {
            let [dr, dz, dq, dy] = [0; 4].map(|_| p.temp(rows, m));
            let mut step =
                |left: (ValueId, bool), right: (ValueId, bool), terms: Terms, to: ValueId, accumulate: bool| {
                    let sides = [Side::stacked(left.0, left.1), Side::stacked(right.0, right.1)];
                    let target = GradTarget { to: to.into(), accumulate };
                    product(p, self.heads, [m; 3], sides, terms, (target, Heads::Stacked));
                };
            let [plain, minus] = [1.0, -1.0].map(|alpha| move || Terms::product(alpha));
            // Through Z R / 4, R = 13 I - Y Q, Q = 15 I - 7 Y + Y Y and Y = A Z, in turn.
            step((*z, true), (g, false), Terms::product(0.25), dr, false);
            step((g, false), (*r, true), Terms::product(0.25), dz, false);
            step((*y, true), (dr, false), minus(), dq, false);
            step((dr, false), (*q, true), Terms { alpha: -1.0, e: Some((dq, -7.0)), gamma: 0.0 }, dy, false);
            step((dq, false), (*y, true), plain(), dy, true);
            step((*y, true), (dq, false), plain(), dy, true);
            step((a, true), (dy, false), plain(), dz, true);
            step((dy, false), (*z, true), plain(), da, i + 1 < rounds.len());
            g = dz;
        }
        let dots = p.temp(Dim::BagRows(self.heads), 1);
        let [layers, values] = self.grids(m);
        p.launch(&k::DOTS, &[g, rounds[0].z, dots].map(Operand::Value), &self.words(m, false), layers);
        let operands = [a.into(), sums.into(), da.into(), g.into(), dots.into(), target.to];
        p.launch(&k::END, &operands, &self.words(m, target.accumulate), values);
    }
}
