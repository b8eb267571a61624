//! Self-attention within each bag, with exchangeable energies, in memory linear in the instances.
//!
//! a_ij = softmax over the rows j of the bag of E(q_i, k_j); out_i = sum of a_ij v_j. Forward keeps the output
//! and each row's log-sum-exp; backward computes energies and weights again, block by block: one launch owned
//! by queries, one by keys, one for the values. Nothing of the size of the pairs is ever stored.
//!
//! With G = dL/dout, D_i = <out_i, G_i> less the gradient of the log-sum-exp:
//! dE_ij = a_ij (<G_i, v_j> - D_i), dv_j = sum of a_ij G_i, and dq, dk, dalpha follow from each energy.
//!
//! Dropout takes weights out behind the softmax: with m_ij = 0 or 1 / (1 - rate), out_i = sum of m_ij a_ij v_j,
//! dE_ij = a_ij (m_ij <G_i, v_j> - D_i) and dv_j = sum of m_ij a_ij G_i. D_i stays as it is, since out_i has the masks,
//! and so does the log-sum-exp, which is that of all pairs. Masks are drawn again wherever they are needed.

use super::columns::{Run, Splitter};
use super::dropout::{Dropout, Part};
use super::segment::{Tables, over_bags};
use super::{Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::distance_attention as distance;
use crate::kernels::launch::{Count, Dim, Grid, Scalar, Word, bits};
use crate::kernels::self_attention as k;
use crate::planner::{GradTarget, Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

pub use k::{Energy, MOST_BINS};

/// Inputs: q `[N, H d]`, k `[N, H d]`, v `[N, H e]`; alpha `[1, H]` for energies that have one; for the
/// distance-aware energy (uK, vK) `[2, H d]`, (uQ, vQ) `[2, H d]`, (uV, vV) `[2, H e]`, (beta, theta) `[2, H]`
/// and the places `[N, 2]`; for that with bins A and B `[N, H bins]` and the places; tables.
/// Outputs: `[N, H e]`, log-sum-exp of the energies `[N, H]`, for the distance-aware energy the weights that
/// uV and vV have in each row, `[N, 2 H]` (without a gradient of their own), and with bins the weights of these,
/// `[N, H bins]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SelfAttention {
    /// Heads H, side by side in the columns.
    pub heads: u32,
    /// Energy of a query and a key.
    pub energy: Energy,
    /// Dropout of the weights, with a rate known to 16 bits; none at a rate of 0 and in prediction.
    pub dropout: Dropout,
}

/// Sizes and values that all launches of a node share.
struct Attending {
    q: ValueId,
    k: ValueId,
    v: ValueId,
    /// Columns of a head of q and k, and of v.
    dims: u32,
    values: u32,
    spans: ValueId,
}

impl Rule for SelfAttention {
    fn name(&self) -> &'static str {
        "self-attention"
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let [q, key, v] = [0, 1, 2].map(|n| node.inputs[n]);
        let cols = [s.cols(q), s.cols(v)];
        let before = node.inputs.len() - 3;
        // The shares of the distance-aware energy are for its own backward pass.
        let outputs = if let Energy::Binned { .. } = self.energy { 3 } else { 2 };
        s.by_head(node, outputs, self.heads, cols, |s, heads, [of_key, of_value]| {
            let mut inputs = vec![s.take(q, of_key)?, s.take(key, of_key)?, s.take(v, of_value)?];
            let more: &[Run] = match self.energy {
                Energy::Distance { .. } => &[of_key, of_key, of_value, heads],
                Energy::Binned { bins, .. } => {
                    let of_bins = Run { first: heads.first * bins, count: heads.count * bins };
                    &[of_bins, of_bins]
                }
                _ => &[heads],
            };
            for (n, run) in (3..before).zip(more) {
                inputs.push(s.take(node.inputs[n], *run)?);
            }
            // The places are for all heads.
            inputs.extend((3..before).skip(more.len()).map(|n| s.name(node.inputs[n])));
            let dropout = self.dropout.heads_of(heads.first, self.heads);
            let op = Self { heads: heads.count, dropout, ..*self };
            s.push(op, &[&inputs, &node.inputs[before..]].concat())
        })
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let before = match self.energy {
            Energy::Distance { .. } => 8,
            Energy::Binned { .. } => 6,
            _ => 3 + self.energy.learned() as usize,
        };
        let (heads, bins) = (self.heads, self.energy.bins());
        expect((0.0..1.0).contains(&self.dropout.rate), self.name(), "a rate of dropout in [0, 1)", inputs)?;
        let near = if let Energy::Near { limit } = self.energy { limit > 0.0 } else { true };
        let ok = heads > 0
            && near
            && over_bags(inputs, before)
            && inputs[1].shape == inputs[0].shape
            && inputs[2].shape.rows == Dim::Instances
            && inputs[..3].iter().all(|v| v.shape.cols > 0 && v.shape.cols.is_multiple_of(heads))
            && match inputs[3..before] {
                [k, q, v, curve, places] => {
                    let pair = |x: &Value, cols: u32| x.shape == Shape::new(Dim::Fixed(2), cols);
                    let (dims, values) = (inputs[0].shape.cols, inputs[2].shape.cols);
                    pair(&k, dims)
                        && pair(&q, dims)
                        && pair(&v, values)
                        && pair(&curve, heads)
                        && places.shape == Shape::new(Dim::Instances, 2)
                }
                [query, key, places] => {
                    let by_bin = bins.checked_mul(heads).map(|cols| Shape::new(Dim::Instances, cols));
                    (1..=MOST_BINS).contains(&bins)
                        && [query, key].iter().all(|x| Some(x.shape) == by_bin)
                        && places.shape == Shape::new(Dim::Instances, 2)
                }
                [alpha] => alpha.shape == Shape::new(Dim::Fixed(1), heads),
                _ => true,
            };
        let expected = match self.energy {
            Energy::Binned { .. } => &format!(
                "q and k [N, heads d], v [N, heads e], two [N, heads bins] of 1 to {MOST_BINS} bins, places [N, 2]"
            ),
            Energy::Near { .. } => "q and k [N, heads d], v [N, heads e], and a limit above 0",
            _ => "q and k [N, heads d], v [N, heads e], and alpha [1, heads] where there is one",
        };
        expect(ok, self.name(), expected, inputs)?;
        let mut outputs = vec![(inputs[2].shape, Storage::F32), (Shape::new(Dim::Instances, heads), Storage::F32)];
        let shares = if let Energy::Distance { .. } = self.energy { 2 } else { bins };
        if shares > 0 {
            outputs.push((Shape::new(Dim::Instances, shares * heads), Storage::F32));
        }
        Ok(outputs)
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let at = self.attending(p, node);
        let (out, lse) = (node.outputs[0], node.outputs[1]);
        // Without a record to read any buffer does.
        let record = match self.energy {
            Energy::Dot { .. } | Energy::Laplace | Energy::Module | Energy::Near { .. } => at.q,
            _ => self.record(p, node, &at, None),
        };
        let shares = node.outputs.get(2).copied().unwrap_or_else(|| p.temp(Dim::Fixed(1), 1));
        let operands = [at.q, at.k, at.v, out, record, at.spans, lse, shares].map(Operand::Value);
        self.launch(p, &k::FORWARD, &at, &operands, 0, at.values);
        if let Energy::Distance { .. } = self.energy {
            self.fold(p, shares, 0, node.inputs[5], out.into(), at.values);
        }
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let at = self.attending(p, node);
        let (out, lse) = (node.outputs[0], node.outputs[1]);
        let g = p.upstream(out).unwrap_or_else(|| {
            let zero = p.temp(Dim::Instances, p.cols(out));
            super::pointwise::fill(p, zero, 0.0);
            zero
        });
        let record = self.record(p, node, &at, Some((out, g, lse)));
        if let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[2]) {
            let operands = [at.k.into(), at.q.into(), g.into(), to, record.into(), at.spans.into()];
            self.launch(p, &k::VALUES, &at, &operands, accumulate as u32 * k::ACCUMULATE, at.values);
        }
        match self.energy {
            Energy::Distance { .. } => return self.distance_back(p, node, &at, record, g),
            Energy::Binned { .. } => return self.binned_back(p, node, &at, record, g),
            _ => {}
        }
        let alpha = if self.energy.learned() { p.grad(node.inputs[3]) } else { None };
        let q_grad = p.grad(node.inputs[0]);
        if q_grad.is_some() || alpha.is_some() {
            let shares = match alpha {
                Some(_) => p.temp(Dim::Instances, self.heads * k::share_len(&self.energy)),
                None => p.temp(Dim::Fixed(1), 1),
            };
            let flags = if alpha.is_some() { k::SHARES } else { 0 };
            let to = q_grad.unwrap_or_else(|| unused(p, &at, self.heads));
            self.back(p, &at, [at.q, at.k, g, at.v], record, to, shares.into(), flags);
            if let Some(target) = alpha {
                self.add_alpha(p, node.inputs[3], shares, target);
            }
        }
        if let Some(to) = p.grad(node.inputs[1]) {
            let shares = p.temp(Dim::Fixed(1), 1);
            self.back(p, &at, [at.k, at.q, at.v, g], record, to, shares.into(), k::FLIP);
        }
    }
}

/// Launches over pairs of rows: tiles of rows, each with a range of others (see the spans of the shader).
pub(crate) struct Pairs {
    /// Tiles of own rows.
    pub tiles: Dim,
    /// Heads, side by side in the columns.
    pub heads: u32,
    /// Columns of a head of what the energy compares.
    pub dims: u32,
    /// Columns of a head of the values.
    pub values: u32,
    /// The energy.
    pub energy: Energy,
    /// Dropout of the weights, where it is on.
    pub dropout: Option<Dropout>,
}

impl Pairs {
    /// The variant of all kernels over these pairs.
    pub(crate) fn variant(&self) -> crate::kernels::launch::Variant {
        k::variant(&self.energy, self.dims, self.values, self.dropout.is_some())
    }

    /// Launches a kernel whose result has `width` columns a head.
    pub(crate) fn launch(
        &self,
        p: &mut Planner,
        kernel: &'static crate::kernels::Kernel,
        operands: &[Operand],
        flags: u32,
        width: u32,
    ) {
        // Pairs are told apart by 16 bits; what is kept makes up for what the rounded rate drops.
        let (threshold, site) = self.dropout.map_or((0, 0), |d| ((d.rate as f64 * 65536.0) as u32, d.site));
        let keep = 65536.0 / (65536 - threshold) as f32;
        let part = self.dropout.and_then(|d| d.part).unwrap_or(Part { first: 0, total: self.heads });
        let words: [Word; 16] = [
            self.tiles.into(),
            self.heads.into(),
            self.dims.into(),
            self.values.into(),
            self.energy.scale().into(),
            self.energy.unit().into(),
            flags.into(),
            k::kind(&self.energy).into(),
            self.energy.bins().into(),
            threshold.into(),
            keep.into(),
            site.into(),
            Scalar::SeedLow.into(),
            Scalar::SeedHigh.into(),
            Scalar::Step.into(),
            (part.total << 16 | part.first).into(),
        ];
        let each = Count::each(Dim::Fixed(self.heads * width.div_ceil(k::CHUNK)));
        let mut variant = self.variant();
        variant.retain(|(name, _)| *name != "OWN");
        let vectors = k::vectors(self.dims, self.values);
        variant.push(("OWN", k::own_rows(kernel, &self.energy, vectors, &p.target)));
        p.launch_variant(kernel, variant, operands, &words, Grid::plane(Count::each(self.tiles), each));
    }
}

/// A place for a gradient that nobody asked for.
fn unused(p: &mut Planner, at: &Attending, heads: u32) -> GradTarget {
    GradTarget { to: p.temp(Dim::Instances, heads * at.dims).into(), accumulate: false }
}

impl SelfAttention {
    fn attending(&self, p: &mut Planner, node: Io) -> Attending {
        let [q, key, v] = [0, 1, 2].map(|i| p.dense(node.inputs[i]));
        let (dims, values, t) = (p.cols(q) / self.heads, p.cols(v) / self.heads, Tables::of(node));
        let spans = p.temp_index(Dim::Tiles, 4);
        let at = Attending { q, k: key, v, dims, values, spans };
        let operands = [t.tiles.into(), t.offsets.into(), spans.into()];
        let grid = Grid::line(Count::per(Dim::Tiles, 1, 64));
        p.launch_variant(&k::SPANS, self.variant(&at), &operands, &[Dim::Tiles.into()], grid);
        at
    }

    fn variant(&self, at: &Attending) -> crate::kernels::launch::Variant {
        k::variant(&self.energy, at.dims, at.values, false)
    }

    /// What the pairs need of each row; `of` is output, gradient and log-sum-exp, in backward.
    fn record(&self, p: &mut Planner, node: Io, at: &Attending, of: Option<(ValueId, ValueId, ValueId)>) -> ValueId {
        let record = p.temp(Dim::Instances, self.heads * k::record_len(&self.energy));
        let any = at.q;
        let (out, g, lse) = of.unwrap_or((any, any, any));
        let lse_grad = of.and_then(|(.., lse)| p.upstream(lse));
        let learned = self.energy.learned();
        let distance = matches!(self.energy, Energy::Distance { .. });
        let extra = match (learned, distance) {
            (true, _) => node.inputs[3],
            (_, true) => node.inputs[5],
            _ => any,
        };
        let values = p.cols(node.inputs[2]) / self.heads;
        let flags = bits([(k::OF_LSE, lse_grad.is_some()), (k::BACKWARD, of.is_some()), (k::WITH_ALPHA, learned)]);
        let operands = [out, g, lse_grad.unwrap_or(lse), lse, extra, record].map(Operand::Value);
        let (kind, length) = (k::kind(&self.energy), k::record_len(&self.energy));
        let words: [Word; 6] =
            [Dim::Instances.into(), self.heads.into(), values.into(), flags.into(), kind.into(), length.into()];
        let grid = Grid::line(Count::per(Dim::Instances, self.heads, 64));
        // Before there are gradients, records of energies that know places need only their later parts.
        let bins = self.energy.bins();
        if of.is_some() || !(distance || bins > 0) {
            p.launch_variant(&k::RECORD, self.variant(at), &operands, &words, grid);
        }
        if distance {
            let [for_q, for_k, curve, places] = [3, 4, 6, 7].map(|i| node.inputs[i]);
            let operands = [at.q, at.k, for_q, for_k, places, curve, record].map(Operand::Value);
            let words = [Dim::Instances.into(), self.heads.into(), at.dims.into()];
            p.launch(&distance::RECORD, &operands, &words, grid);
        }
        if bins > 0 {
            let [for_q, for_k, places] = [3, 4, 5].map(|i| p.dense(node.inputs[i]));
            // What the shares of bins get back, once there are gradients.
            let shares = node.outputs[2];
            let grad = of.and_then(|_| p.upstream(shares));
            let flags = of.map_or(0, |_| distance::STARTED) | grad.map_or(0, |_| distance::BACK);
            let with = if grad.is_some() { shares } else { any };
            let operands = [for_q, for_k, places, with, grad.unwrap_or(any), record].map(Operand::Value);
            let words = [Dim::Instances.into(), self.heads.into(), bins.into(), flags.into()];
            p.launch(&distance::BINNED_RECORD, &operands, &words, grid);
        }
        record
    }

    fn launch(
        &self,
        p: &mut Planner,
        kernel: &'static crate::kernels::Kernel,
        at: &Attending,
        operands: &[Operand],
        flags: u32,
        width: u32,
    ) {
        let dropout = self.dropout.active(p).then_some(self.dropout);
        let (heads, dims, values, energy) = (self.heads, at.dims, at.values, self.energy);
        let pairs = Pairs { tiles: Dim::Tiles, heads, dims, values, energy, dropout };
        pairs.launch(p, kernel, operands, flags, width);
    }

    /// The gradient of queries, or of keys with the flag: own and other rows, and their values.
    #[allow(clippy::too_many_arguments, reason = "one for each binding that differs")]
    fn back(
        &self,
        p: &mut Planner,
        at: &Attending,
        [x, y, xg, yg]: [ValueId; 4],
        record: ValueId,
        to: GradTarget,
        shares: Operand,
        flags: u32,
    ) {
        let operands = [x.into(), y.into(), xg.into(), yg.into(), record.into(), at.spans.into(), to.to, shares];
        let flags = flags | (to.accumulate as u32 * k::ACCUMULATE);
        self.launch(p, &k::BACK, at, &operands, flags, at.dims);
    }

    /// Queries, keys and everything around them when the energy is distance-aware: the pairs' launches give the
    /// products of attention alone and each row's shares of the biases; the rest is linear in the rows.
    fn distance_back(&self, p: &mut Planner, node: Io, at: &Attending, record: ValueId, g: ValueId) {
        let heads = self.heads;
        if let Some(target) = p.grad(node.inputs[5]) {
            self.prototypes(p, node, (g, node.outputs[2]), 0, at.values, target);
        }
        for (side, flags) in [(0, 0), (1, k::FLIP)] {
            let prototypes = node.inputs[3 + side];
            // Rows of shares: those of beta, of theta, of u and of v.
            let shares = p.temp(Dim::Instances, 4 * heads);
            let asked = p.grad(node.inputs[side]);
            let to = asked.unwrap_or_else(|| unused(p, at, heads));
            let (rows, operands) = match side {
                0 => (at.q, [at.q, at.k, g, at.v]),
                _ => (at.k, [at.k, at.q, at.v, g]),
            };
            self.back(p, at, operands, record, to, shares.into(), flags | k::SHARES);
            if asked.is_some() {
                self.fold(p, shares, 2 * heads, prototypes, to.to, at.dims);
            }
            if let Some(target) = p.grad(prototypes) {
                self.prototypes(p, node, (rows, shares), 2 * heads, at.dims, target);
            }
            if side == 0
                && let Some(target) = p.grad(node.inputs[6])
            {
                reduce::add_rows(p, shares, 0, 2 * heads, 1.0, target);
            }
        }
    }

    /// Queries, keys and what both add to energies by bin.
    fn binned_back(&self, p: &mut Planner, node: Io, at: &Attending, record: ValueId, g: ValueId) {
        let sides = [(0, [at.q, at.k, g, at.v], 0), (1, [at.k, at.q, at.v, g], k::FLIP)];
        for (side, operands, flip) in sides {
            let (rows, by_bin) = (p.grad(node.inputs[side]), p.grad(node.inputs[3 + side]));
            if rows.is_none() && by_bin.is_none() {
                continue;
            }
            let to = rows.unwrap_or_else(|| unused(p, at, self.heads));
            // One launch cannot write twice to what is both.
            let both = node.inputs[side] == node.inputs[3 + side];
            let (shares, flags) = match by_bin {
                Some(_) if both => (p.temp(Dim::Instances, self.heads * self.energy.bins()).into(), k::SHARES),
                Some(GradTarget { to, accumulate }) => (to, k::SHARES | (accumulate as u32 * k::ADD_SHARES)),
                None => (p.temp(Dim::Fixed(1), 1).into(), 0),
            };
            self.back(p, at, operands, record, to, shares, flags | flip);
            if let (true, Operand::Value(shares)) = (both, shares) {
                super::pointwise::add_to(p, shares, 1.0, GradTarget { to: to.to, accumulate: true });
            }
        }
    }

    /// rows += the prototypes times their shares, which start in column `first`.
    fn fold(&self, p: &mut Planner, shares: ValueId, first: u32, prototypes: ValueId, rows: Operand, cols: u32) {
        let stride = p.cols(shares);
        let words: [Word; 5] = [Dim::Instances.into(), self.heads.into(), cols.into(), stride.into(), first.into()];
        let grid = Grid::line(Count::per(Dim::Instances, self.heads * cols, 64));
        p.launch(&distance::FOLD, &[shares.into(), prototypes.into(), rows], &words, grid);
    }

    /// The gradient of prototypes: shares times rows, summed over the rows.
    fn prototypes(
        &self,
        p: &mut Planner,
        node: Io,
        (rows, shares): (ValueId, ValueId),
        first: u32,
        cols: u32,
        target: GradTarget,
    ) {
        let (width, stride) = (2 * self.heads * cols, p.cols(shares));
        let parts = p.temp(Dim::Tiles, width);
        let words: [Word; 5] = [Dim::Tiles.into(), self.heads.into(), cols.into(), stride.into(), first.into()];
        let operands = [rows.into(), shares.into(), Tables::of(node).tiles.into(), parts.into()];
        let grid = Grid::plane(Count::each(Dim::Tiles), Count::per(Dim::Fixed(width), 1, 64));
        p.launch(&distance::PROTOTYPES, &operands, &words, grid);
        reduce::add_rows(p, parts, 0, width, 1.0, target);
    }

    /// Adds up the rows' shares of the gradient of relu(alpha), and passes relu.
    fn add_alpha(&self, p: &mut Planner, alpha: ValueId, shares: ValueId, target: GradTarget) {
        let sums = p.temp(Dim::Fixed(1), self.heads);
        reduce::add_rows(p, shares, 0, self.heads, 1.0, GradTarget { to: sums.into(), accumulate: false });
        let words = [self.heads.into(), target.accumulate.into()];
        p.launch_variant(
            &k::ALPHA,
            self.variant_of_one(),
            &[alpha.into(), sums.into(), target.to],
            &words,
            Grid::line(Count::per(Dim::Fixed(self.heads), 1, 64)),
        );
    }

    fn variant_of_one(&self) -> crate::kernels::launch::Variant {
        k::variant(&self.energy, 1, 1, false)
    }
}
