//! What Nyström attention is made of (Xiong et al. 2021, arXiv 2102.03902): products of the small matrices of
//! each bag and head, and the iterative pseudo-inverse. Attention itself is in [`super::cross_attention`].

use super::tokens::over_tokens;
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

/// c (+)= the terms; a is `[m, k]` and b `[k, n]` after turning. With first tokens of bags: of folded matrices.
fn product(
    p: &mut Planner,
    (heads, tokens): (u32, Option<ValueId>),
    sizes: [u32; 3],
    [a, b]: [Side; 2],
    terms: Terms,
    c: (GradTarget, Heads),
) {
    let [m, n, inner] = sizes;
    let (target, layout) = c;
    let (offsets, folded) = offsets(p, tokens);
    let mark = |on: bool, bit: u32| on as u32 * bit;
    let flags = mark(target.accumulate, k::ACCUMULATE)
        | mark(a.turned, k::A_T)
        | mark(b.turned, k::B_T)
        | mark(terms.e.is_some(), k::WITH_E)
        | mark(a.heads == Heads::Columns, k::A_COLUMNS)
        | mark(b.heads == Heads::Columns, k::B_COLUMNS)
        | mark(layout == Heads::Columns, k::C_COLUMNS)
        | folded;
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
    p.launch(&k::PRODUCT, &[a.at, b.at, e, target.to, offsets.into()], &words, grid);
}

/// What is bound as the first tokens of bags, and the flag that they are.
fn offsets(p: &mut Planner, tokens: Option<ValueId>) -> (ValueId, u32) {
    match tokens {
        Some(offsets) => (offsets, k::FOLDED),
        None => (p.temp_index(Dim::Fixed(1), 1), 0),
    }
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
        product(p, (self.heads, None), sizes, sides, Terms::product(self.scale), (target, self.c));
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
            product(p, (self.heads, None), sizes, sides, Terms::product(self.scale), (target, self.a.0));
        }
        if let Some(target) = p.grad(b) {
            let (sizes, sides) = match self.b.1 {
                false => ([k, n, m], [Self::side(self.a, a, true), upstream(false)]),
                true => ([n, k, m], [upstream(true), Self::side(self.a, a, false)]),
            };
            product(p, (self.heads, None), sizes, sides, Terms::product(self.scale), (target, self.b.0));
        }
    }
}

/// The iteration to the Moore-Penrose inverse of each bag and head (Razavi et al. 2014, as in Nyströmformer):
/// Z <- Z (13 I - Y (15 I - Y (7 I - Y))) / 4 with Y = A Z, from Z = A^T / (r c). r and c are the largest sums of
/// absolute values of a row and a column over all heads of the bag: a bag's result does not depend on its batch
/// mates, and is that of a batch of one of the published code, which takes them over the batch. Gradients pass
/// the iteration and both largest sums.
///
/// Inputs: A `[B H m, m]`, heads stacked; the tables of the tokens, when A is of landmarks that are
/// [means](super::tokens::LandmarkMeans) of tokens. Of these, the first ones of a bag with few tokens are means of nothing
/// but zeros, and their rows and columns of A are alike: with the tables, the iteration has one in their place, which gives
/// the same Z with fewer operations (those of a bag of 38 tokens and 256 landmarks are 1/280), and gradients of what is alike
/// are shared evenly.
///
/// Outputs: Z `[B H m, m]`, then what backward needs: the largest sums `[B H, 4]`, with the tables A with one in place of all
/// that are alike, and four matrices as large as A an iteration (no gradients of their own).
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

/// The values of a node.
struct Iteration {
    heads: u32,
    /// A as it came.
    a: ValueId,
    /// A as the rounds have it.
    folded: ValueId,
    sums: ValueId,
    rounds: Vec<Round>,
    /// First tokens of the bags, where landmarks are folded.
    tokens: Option<ValueId>,
    side: u32,
}

impl Iteration {
    fn of(p: &Planner, node: Io, heads: u32) -> Self {
        let a = node.inputs[0];
        let tokens = node.inputs.get(1).copied();
        let (folded, kept) = match tokens {
            Some(_) => (node.outputs[2], 3),
            None => (a, 2),
        };
        let rounds = node.outputs[kept..].chunks_exact(4).map(|o| Round { z: o[0], y: o[1], q: o[2], r: o[3] });
        Self { heads, a, folded, sums: node.outputs[1], rounds: rounds.collect(), tokens, side: p.cols(a) }
    }

    fn words(&self, flags: u32) -> [Word; 4] {
        [Dim::BagRows(self.heads).into(), self.heads.into(), self.side.into(), flags.into()]
    }

    /// One workgroup a matrix, and one invocation a value.
    fn grids(&self) -> [Grid; 2] {
        let layers = Dim::BagRows(self.heads);
        [Grid::line(Count::each(layers)), Grid::line(Count::per(layers, self.side * self.side, LANES))]
    }

    fn fold(&self, p: &mut Planner, how: u32, from: ValueId, to: ValueId, tokens: ValueId) {
        p.launch(&k::FOLDING, &[from, to, tokens].map(Operand::Value), &self.words(how), self.grids()[1]);
    }

    /// to (+)= the terms, of matrices that are turned where it says so.
    fn step(&self, p: &mut Planner, of: [(ValueId, bool); 2], terms: Terms, to: ValueId, accumulate: bool) {
        let sides = of.map(|(value, turned)| Side::stacked(value, turned));
        let target = GradTarget { to: to.into(), accumulate };
        product(p, (self.heads, self.tokens), [self.side; 3], sides, terms, (target, Heads::Stacked));
    }
}

impl Rule for PseudoInverse {
    fn name(&self) -> &'static str {
        "pseudo-inverse"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = self.iterations > 0
            && (inputs.len() == 1 || over_tokens(inputs, 1))
            && Heads::Stacked.split(inputs[0].shape, self.heads).is_some_and(|[rows, cols]| rows == cols && rows > 0);
        expect(ok, self.name(), "square matrices of each head, tables of tokens or none, and a round", inputs)?;
        let matrix = (inputs[0].shape, Storage::F32);
        let sums = (Shape::new(Dim::BagRows(self.heads), 4), Storage::F32);
        let kept = 4 * self.iterations as usize + usize::from(inputs.len() > 1);
        Ok([matrix, sums].into_iter().chain(std::iter::repeat_n(matrix, kept)).collect())
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let of = Iteration::of(p, node, self.heads);
        let [layers, values] = of.grids();
        p.launch(&k::SUMS, &[of.a.into(), of.sums.into()], &of.words(0), layers);
        if let Some(tokens) = of.tokens {
            of.fold(p, k::FOLD, of.a, of.folded, tokens);
        }
        let (offsets, folded) = offsets(p, of.tokens);
        let operands = [of.a, of.sums, of.rounds[0].z, offsets].map(Operand::Value);
        p.launch(&k::START, &operands, &of.words(folded), values);
        let last = match of.tokens {
            Some(_) => p.temp(p.rows(of.a), of.side),
            None => node.outputs[0],
        };
        for (i, Round { z, y, q, r }) in of.rounds.iter().enumerate() {
            let next = of.rounds.get(i + 1).map_or(last, |r| r.z);
            let plain = |a: ValueId, b: ValueId| [(a, false), (b, false)];
            of.step(p, plain(of.folded, *z), Terms::product(1.0), *y, false);
            of.step(p, plain(*y, *y), Terms { alpha: 1.0, e: Some((*y, -7.0)), gamma: 15.0 }, *q, false);
            of.step(p, plain(*y, *q), Terms { alpha: -1.0, e: None, gamma: 13.0 }, *r, false);
            of.step(p, plain(*z, *r), Terms::product(0.25), next, false);
        }
        if let Some(tokens) = of.tokens {
            of.fold(p, k::SPREAD, last, node.outputs[0], tokens);
        }
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let of = Iteration::of(p, node, self.heads);
        let Some(mut g) = p.upstream(node.outputs[0]) else { return };
        let Some(target) = p.grad(of.a) else { return };
        let (m, rows) = (of.side, p.rows(of.a));
        if let Some(tokens) = of.tokens {
            let [columns, folded] = [0; 2].map(|_| p.temp(rows, m));
            of.fold(p, k::COLUMNS, g, columns, tokens);
            of.fold(p, k::ROWS, columns, folded, tokens);
            g = folded;
        }
        let da = p.temp(rows, m);
        for (i, Round { z, y, q, r }) in of.rounds.iter().enumerate().rev() {
            let [dr, dz, dq, dy] = [0; 4].map(|_| p.temp(rows, m));
            let [plain, minus] = [1.0, -1.0].map(|alpha| move || Terms::product(alpha));
            // Through Z R / 4, R = 13 I - Y Q, Q = 15 I - 7 Y + Y Y and Y = A Z, in turn.
            of.step(p, [(*z, true), (g, false)], Terms::product(0.25), dr, false);
            of.step(p, [(g, false), (*r, true)], Terms::product(0.25), dz, false);
            of.step(p, [(*y, true), (dr, false)], minus(), dq, false);
            of.step(p, [(dr, false), (*q, true)], Terms { alpha: -1.0, e: Some((dq, -7.0)), gamma: 0.0 }, dy, false);
            of.step(p, [(dq, false), (*y, true)], plain(), dy, true);
            of.step(p, [(*y, true), (dq, false)], plain(), dy, true);
            of.step(p, [(of.folded, true), (dy, false)], plain(), dz, true);
            of.step(p, [(dy, false), (*z, true)], plain(), da, i + 1 < of.rounds.len());
            g = dz;
        }
        let dots = p.temp(Dim::BagRows(self.heads), 1);
        let [layers, values] = of.grids();
        let (offsets, folded) = offsets(p, of.tokens);
        let operands = [g, of.rounds[0].z, dots, offsets].map(Operand::Value);
        p.launch(&k::DOTS, &operands, &of.words(folded), layers);
        let operands = [of.a, of.sums, da, g, dots].map(Operand::Value);
        let operands = [&operands[..], &[target.to, offsets.into()]].concat();
        let flags = folded | (target.accumulate as u32 * k::ACCUMULATE);
        p.launch(&k::END, &operands, &of.words(flags), values);
    }
}
