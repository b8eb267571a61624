//! Attention of rows to rows. Where the engine never holds all pairs, the graph does: it takes memory as the square of the
//! instances, of one head at a time where heads do not share anything between pairs.

use super::graph::Name;
use super::translation::{At, Done};
use crate::ops::graph::GraphProduct;
use crate::ops::self_attention::{Energy, SelfAttention};

/// Columns of heads as matrices of heads: `[R, H d]` to `[H, R, d]`.
pub fn by_head(at: &mut At, x: &str, heads: u32, cols: u32) -> Name {
    let split = at.reshape(x, &[-1, i64::from(heads), i64::from(cols / heads)]);
    at.transpose(&split, &[1, 0, 2])
}

/// The way back.
pub fn side_by_side(at: &mut At, x: &str, cols: u32) -> Name {
    let rows = at.transpose(x, &[1, 0, 2]);
    at.reshape(&rows, &[-1, i64::from(cols)])
}

/// x y^T of each head.
pub fn products(at: &mut At, x: &str, y: &str) -> Name {
    let turned = at.transpose(y, &[0, 2, 1]);
    at.op("MatMul", &[x, &turned])
}

/// A column of a number for each row and head, `[H, N, 1]`, as rows `[N, H]`.
pub fn as_rows(at: &mut At, x: &str, heads: u32) -> Name {
    let flat = at.reshape(x, &[i64::from(heads), -1]);
    at.transpose(&flat, &[1, 0])
}

pub fn self_attention(at: &mut At, of: &SelfAttention) -> Done {
    let (heads, values) = (of.heads, at.cols(2));
    at.t.pairs = true;
    let [q, k, v] = [0, 1, 2].map(|n| at.x(n));
    let (q, k, v) = (q?, k?, v?);
    let wide = at.cols(0);
    let [q, k] = [q, k].map(|x| by_head(at, &x, heads, wide));
    let v = by_head(at, &v, heads, values);
    if heads > 1 && !matches!(of.energy, Energy::Distance { .. } | Energy::Binned { .. }) {
        return head_by_head(at, of, [&q, &k, &v], values);
    }
    let mut shares = Vec::new();
    let energies = match of.energy {
        Energy::Distance { scale, unit } => near_and_far(at, heads, (scale, unit), [&q, &k], &mut shares)?,
        Energy::Binned { scale, unit, bins } => binned(at, heads, (scale, unit, bins), [&q, &k], &mut shares)?,
        _ => plain(at, of, [&q, &k], None)?,
    };
    let weights = at.softmax(&energies, 2);
    let out = at.op("MatMul", &[&weights, &v]);
    let mut out = side_by_side(at, &out, values);
    let lse = at.log_sum_exp(&energies, 2);
    let lse = as_rows(at, &lse, heads);
    // What parts of the pairs weigh in each row: `[N, parts H]`, of bins `[N, H bins]`.
    if !shares.is_empty() {
        let each: Vec<Name> = shares
            .iter()
            .map(|part| {
                let weighed = at.op("Mul", &[&weights, part]);
                let sums = at.reduce("ReduceSum", &weighed, 2);
                as_rows(at, &sums, heads)
            })
            .collect();
        if let Energy::Distance { .. } = of.energy {
            for (part, share) in each.iter().enumerate() {
                out = with_prototypes(at, &out, share, part as i64, (heads, values))?;
            }
        }
        let each: Vec<&str> = each.iter().map(String::as_str).collect();
        let mut all = at.concat(&each, 1);
        if let Energy::Binned { bins, .. } = of.energy {
            // A head's bins lie side by side.
            let split = at.reshape(&all, &[-1, i64::from(bins), i64::from(heads)]);
            let turned = at.transpose(&split, &[0, 2, 1]);
            all = at.reshape(&turned, &[-1, i64::from(bins * heads)]);
        }
        at.give(2, all);
    }
    at.give(0, out);
    at.give(1, lse);
    Ok(())
}

/// One head after the other, so that a runtime holds all pairs of one of them.
fn head_by_head(at: &mut At, of: &SelfAttention, [q, k, v]: [&str; 3], values: u32) -> Done {
    let (mut outs, mut lses) = (Vec::new(), Vec::new());
    for head in 0..i64::from(of.heads) {
        let [q, k, v] = [q, k, v].map(|x| at.slice(x, 0, head, head + 1));
        let energies = plain(at, of, [&q, &k], Some(head))?;
        let weights = at.softmax(&energies, 2);
        outs.push(at.op("MatMul", &[&weights, &v]));
        lses.push(at.log_sum_exp(&energies, 2));
    }
    let [out, lse] = [outs, lses].map(|of| {
        let all: Vec<&str> = of.iter().map(String::as_str).collect();
        at.concat(&all, 0)
    });
    let out = side_by_side(at, &out, values);
    let lse = as_rows(at, &lse, of.heads);
    at.give(0, out);
    at.give(1, lse);
    Ok(())
}

/// Energies of queries and keys alone, of all heads or of this one.
fn plain(at: &mut At, of: &SelfAttention, [q, k]: [&str; 2], head: Option<i64>) -> Done<Name> {
    Ok(match of.energy {
        Energy::Laplace => {
            let sums = absolute(at, q, k, None);
            at.op("Neg", &[&sums])
        }
        Energy::Module => absolute(at, q, k, Some(None)),
        Energy::ModulePower => {
            let alpha = alpha(at, of.heads, head)?;
            let alpha = at.with_axis(&alpha, 3);
            absolute(at, q, k, Some(Some(&alpha)))
        }
        Energy::Dot { scale } => {
            let products = products(at, q, k);
            at.times(&products, scale)
        }
        _ => by_distance(at, of, [q, k], head)?,
    })
}

/// The exponents of the heads, or of one, at least 0.
fn alpha(at: &mut At, heads: u32, head: Option<i64>) -> Done<Name> {
    let alpha = at.x(3)?;
    let alpha = at.op("Relu", &[&alpha]);
    let alpha = at.reshape(&alpha, &[i64::from(heads), 1, 1]);
    Ok(head.map_or(alpha.clone(), |head| at.slice(&alpha, 0, head, head + 1)))
}

/// Energies by the squared distance of a query and a key. Both are taken from the mean of the keys, so that the digits of
/// what they have in common are not lost.
fn by_distance(at: &mut At, of: &SelfAttention, [q, k]: [&str; 2], head: Option<i64>) -> Done<Name> {
    let mean = at.reduce("ReduceMean", k, 1);
    let [q, k] = [q, k].map(|x| at.op("Sub", &[x, &mean]));
    let [mine, theirs] = [&q, &k].map(|x| {
        let squares = at.op("Mul", &[x, x]);
        at.reduce("ReduceSum", &squares, 2)
    });
    let theirs = at.transpose(&theirs, &[0, 2, 1]);
    let both = at.op("Add", &[&mine, &theirs]);
    let inner = products(at, &q, &k);
    let inner = at.times(&inner, 2.0);
    let squares = at.op("Sub", &[&both, &inner]);
    let squares = at.op("Relu", &[&squares]);
    Ok(match of.energy {
        Energy::Near { limit } => {
            let limit = at.number(limit * limit);
            let is_near = at.op("Less", &[&squares, &limit]);
            let (none, never) = (at.number(0.0), at.number(-1e30));
            at.op("Where", &[&is_near, &none, &never])
        }
        Energy::Rbf => {
            let alpha = alpha(at, of.heads, head)?;
            let scaled = at.op("Mul", &[&squares, &alpha]);
            let less = at.op("Neg", &[&scaled]);
            at.op("Exp", &[&less])
        }
        _ => {
            let alpha = alpha(at, of.heads, head)?;
            let scaled = at.op("Mul", &[&squares, &alpha]);
            let more = at.plus(&scaled, 1.0);
            at.op("Reciprocal", &[&more])
        }
    })
}

/// Sums over the columns of |x - y|, less |x| and |y| of modules, each to a power where there is one. All pairs of all
/// columns are held at once.
fn absolute(at: &mut At, q: &str, k: &str, module: Option<Option<&str>>) -> Name {
    let (own, other) = (at.with_axis(q, 2), at.with_axis(k, 1));
    let size = |at: &mut At, x: &str| {
        let size = at.op("Abs", &[x]);
        match module {
            // 0 to any power is 0 here, also to the power of 0.
            Some(Some(alpha)) => {
                let power = at.op("Pow", &[&size, alpha]);
                let none = at.number(0.0);
                let is_more = at.op("Greater", &[&size, &none]);
                at.op("Where", &[&is_more, &power, &none])
            }
            _ => size,
        }
    };
    let apart = at.op("Sub", &[&own, &other]);
    let apart = size(at, &apart);
    let mut terms = apart;
    if module.is_some() {
        for side in [&own, &other] {
            let size = size(at, side);
            terms = at.op("Sub", &[&terms, &size]);
        }
    }
    at.sum_away(&terms, 3)
}

/// How far the places of all pairs are apart, times a unit: `[N, N]`; and 0 on the diagonal, 1 elsewhere.
fn apart(at: &mut At, places: usize, unit: f32) -> Done<[Name; 2]> {
    let places = at.x(places)?;
    let (own, other) = (at.with_axis(&places, 1), at.with_axis(&places, 0));
    let between = at.op("Sub", &[&own, &other]);
    let squares = at.op("Mul", &[&between, &between]);
    let square = at.sum_away(&squares, 2);
    let length = at.op("Sqrt", &[&square]);
    let length = at.times(&length, unit);
    let count = at.instances();
    let count = at.scalar(&count);
    let numbers = at.range(&count);
    let (row, column) = (at.reshape(&numbers, &[1, -1]), at.reshape(&numbers, &[-1, 1]));
    let same = at.op("Equal", &[&row, &column]);
    let (one, none) = (at.number(1.0), at.number(0.0));
    let others = at.op("Where", &[&same, &none, &one]);
    Ok([length, others])
}

/// scale (q k^T + far (q u_K + k u_Q) + near (q v_K + k v_Q)), where far is the sigmoid of beta (distance - theta).
fn near_and_far(
    at: &mut At,
    heads: u32,
    (scale, unit): (f32, f32),
    [q, k]: [&str; 2],
    shares: &mut Vec<Name>,
) -> Done<Name> {
    let [length, others] = apart(at, 7, unit)?;
    let curve = at.x(6)?;
    let per_head = i64::from(heads);
    let [beta, theta] = [0, 1].map(|row| {
        let row = at.slice(&curve, 0, row, row + 1);
        at.reshape(&row, &[per_head, 1, 1])
    });
    let beyond = at.op("Sub", &[&length, &theta]);
    let z = at.op("Mul", &[&beyond, &beta]);
    let less = at.op("Neg", &[&z]);
    let mut energies = products(at, q, k);
    let wide = at.cols(0);
    for (part, z) in [z, less].iter().enumerate() {
        let share = at.op("Sigmoid", &[z]);
        let share = at.op("Mul", &[&share, &others]);
        let mut bias: Option<Name> = None;
        // The prototypes of keys are seen by queries, and the other way round.
        for (side, rows, turned) in [(3, q, false), (4, k, true)] {
            let prototypes = at.x(side)?;
            let own = at.slice(&prototypes, 0, part as i64, part as i64 + 1);
            let own = at.reshape(&own, &[per_head, i64::from(wide / heads), 1]);
            let mut seen = at.op("MatMul", &[rows, &own]);
            if turned {
                seen = at.transpose(&seen, &[0, 2, 1]);
            }
            bias = Some(match bias {
                None => seen,
                Some(before) => at.op("Add", &[&before, &seen]),
            });
        }
        let bias = bias.expect("two sides");
        let bias = at.op("Mul", &[&share, &bias]);
        energies = at.op("Add", &[&energies, &bias]);
        shares.push(share);
    }
    Ok(at.times(&energies, scale))
}

/// What rows attend to has a prototype as well, by the share `[N, H]` of the part.
fn with_prototypes(at: &mut At, out: &str, share: &str, part: i64, (heads, values): (u32, u32)) -> Done<Name> {
    let prototypes = at.x(5)?;
    let own = at.slice(&prototypes, 0, part, part + 1);
    let own = at.reshape(&own, &[1, i64::from(heads), i64::from(values / heads)]);
    let share = at.reshape(share, &[-1, i64::from(heads), 1]);
    let more = at.op("Mul", &[&share, &own]);
    let more = at.reshape(&more, &[-1, i64::from(values)]);
    Ok(at.op("Add", &[out, &more]))
}

/// scale (q k^T + what both rows have for the bin of their distance).
fn binned(
    at: &mut At,
    heads: u32,
    (scale, unit, bins): (f32, f32, u32),
    [q, k]: [&str; 2],
    shares: &mut Vec<Name>,
) -> Done<Name> {
    let last = (bins - 1) as f32;
    let [length, others] = apart(at, 5, unit * last)?;
    let number = at.op("Round", &[&length]);
    let number = at.at_most(&number, last);
    let [own, other] = [3, 4].map(|side| at.x(side));
    let (own, other) = (own?, other?);
    let [own, other] = [own, other].map(|side| by_head(at, &side, heads, heads * bins));
    let mut energies = products(at, q, k);
    for bin in 0..bins {
        let this = at.number(bin as f32);
        let is = at.op("Equal", &[&number, &this]);
        let none = at.number(0.0);
        let share = at.op("Where", &[&is, &others, &none]);
        let (first, end) = (i64::from(bin), i64::from(bin) + 1);
        let mine = at.slice(&own, 2, first, end);
        let theirs = at.slice(&other, 2, first, end);
        let theirs = at.transpose(&theirs, &[0, 2, 1]);
        let both = at.op("Add", &[&mine, &theirs]);
        let bias = at.op("Mul", &[&share, &both]);
        energies = at.op("Add", &[&energies, &bias]);
        shares.push(share);
    }
    Ok(at.times(&energies, scale))
}

/// Weights between nodes times the nodes, over graphs of as many nodes for every bag, or of all instances.
pub fn graph_product(at: &mut At, of: &GraphProduct) -> Done {
    let (weights, v) = (at.x(0)?, at.x(1)?);
    let cols = at.cols(1);
    at.t.pairs |= of.uniform == 0;
    let nodes = if of.uniform > 0 { at.reshape(&v, &[i64::from(of.uniform), -1]) } else { v };
    let count = at.size(&nodes, 0);
    let shape = at.concat(&[&count, &count], 0);
    let mut weights = at.op("Reshape", &[&weights, &shape]);
    if of.with_self {
        let number = at.scalar(&count);
        let numbers = at.range(&number);
        let (row, column) = (at.reshape(&numbers, &[1, -1]), at.reshape(&numbers, &[-1, 1]));
        let same = at.op("Equal", &[&row, &column]);
        let one = at.number(1.0);
        weights = at.op("Where", &[&same, &one, &weights]);
    }
    let mut y = at.op("MatMul", &[&weights, &nodes]);
    let mut factors = None;
    if of.mean {
        let total = at.reduce("ReduceSum", &weights, 1);
        let total = at.at_least(&total, 1.0);
        let factor = at.op("Reciprocal", &[&total]);
        y = at.op("Mul", &[&y, &factor]);
        factors = Some(factor);
    }
    let y = if of.uniform > 0 { at.reshape(&y, &[1, i64::from(cols)]) } else { y };
    at.give(0, y);
    if let Some(factors) = factors {
        let factors = if of.uniform > 0 { at.reshape(&factors, &[1, -1]) } else { factors };
        at.give(1, factors);
    }
    Ok(())
}
