//! What Nyström attention is made of: attention between tokens and landmarks, products of the heads' small matrices, and the
//! pseudo-inverse.

use super::attention::{as_rows, by_head, products, side_by_side};
use super::graph::Name;
use super::tokens;
use super::translation::{At, Done};
use crate::kernels::launch::Dim;
use crate::ops::cross_attention::{CrossAttention, Received};
use crate::ops::nystrom::{HeadProduct, Heads, PseudoInverse};

/// Tokens behind the rows of zeros that make them a multiple of the landmarks, which are rows of input `landmarks`.
fn padded(at: &mut At, tokens: &str, landmarks: usize, cols: u32) -> Done<Name> {
    let landmarks = at.fixed_rows(landmarks)?;
    let missing = tokens::missing(at, landmarks);
    Ok(tokens::padded(at, tokens, &missing, cols))
}

pub fn cross_attention(at: &mut At, of: &CrossAttention) -> Done {
    let (q, mut k, mut v) = (at.x(0)?, at.x(1)?, at.x(2)?);
    let (wide, values) = (at.cols(0), at.cols(2));
    if at.rows(1) == Dim::Tokens {
        k = padded(at, &k, 0, wide)?;
        v = padded(at, &v, 0, values)?;
    }
    let [q, k] = [q, k].map(|x| by_head(at, &x, of.heads, wide));
    let v = by_head(at, &v, of.heads, values);
    let energies = products(at, &q, &k);
    let energies = at.times(&energies, of.scale);
    let weights = at.softmax(&energies, 2);
    let out = at.op("MatMul", &[&weights, &v]);
    let out = side_by_side(at, &out, values);
    let lse = at.log_sum_exp(&energies, 2);
    let lse = as_rows(at, &lse, of.heads);
    at.give(0, out);
    at.give(1, lse);
    Ok(())
}

/// The sum over the landmarks of their weights for a token times g.
pub fn received(at: &mut At, of: &Received) -> Done {
    let (g, q, k, lse) = (at.x(0)?, at.x(1)?, at.x(2)?, at.x(3)?);
    let wide = at.cols(1);
    let [q, k] = [q, k].map(|x| by_head(at, &x, of.heads, wide));
    let [g, lse] = [g, lse].map(|x| by_head(at, &x, of.heads, of.heads));
    let energies = products(at, &q, &k);
    let energies = at.times(&energies, of.scale);
    let below = at.op("Sub", &[&energies, &lse]);
    let weights = at.op("Exp", &[&below]);
    let weighed = at.op("Mul", &[&weights, &g]);
    let sums = at.reduce("ReduceSum", &weighed, 1);
    let y = as_rows(at, &sums, of.heads);
    at.give(0, y);
    Ok(())
}

/// The matrices of the heads of a value: `[H, r, c]`.
fn matrices(at: &mut At, x: &str, n: usize, lie: Heads, heads: u32) -> Done<Name> {
    let (rows, cols) = (at.fixed_rows(n)?, at.cols(n));
    Ok(match lie {
        Heads::Stacked => at.reshape(x, &[i64::from(heads), i64::from(rows / heads), i64::from(cols)]),
        Heads::Columns => by_head(at, x, heads, cols),
    })
}

/// The way back to `cols` columns.
fn joined(at: &mut At, x: &str, lie: Heads, cols: u32) -> Name {
    match lie {
        Heads::Stacked => at.reshape(x, &[-1, i64::from(cols)]),
        Heads::Columns => side_by_side(at, x, cols),
    }
}

pub fn head_product(at: &mut At, of: &HeadProduct) -> Done {
    let mut sides = Vec::new();
    for (n, (lie, turned)) in [of.a, of.b].into_iter().enumerate() {
        let x = at.x(n)?;
        let x = matrices(at, &x, n, lie, of.heads)?;
        sides.push(if turned { at.transpose(&x, &[0, 2, 1]) } else { x });
    }
    let product = at.op("MatMul", &[&sides[0], &sides[1]]);
    let product = at.times(&product, of.scale);
    let cols = at.out_cols(0);
    let y = joined(at, &product, of.c, cols);
    at.give(0, y);
    Ok(())
}

/// The iteration, unrolled.
pub fn pseudo_inverse(at: &mut At, of: &PseudoInverse) -> Done {
    let (x, side) = (at.x(0)?, at.cols(0));
    let a = matrices(at, &x, 0, Heads::Stacked, of.heads)?;
    let sizes = at.op("Abs", &[&a]);
    let [rows, columns] = [2, 1].map(|axis| {
        let sums = at.reduce("ReduceSum", &sizes, axis);
        at.with("ReduceMax", &[&sums], Vec::new())
    });
    let both = at.op("Mul", &[&rows, &columns]);
    let turned = at.transpose(&a, &[0, 2, 1]);
    let mut z = at.op("Div", &[&turned, &both]);
    let side = side as usize;
    let identity: Vec<f32> = (0..side * side).map(|i| f32::from(i % (side + 1) == 0)).collect();
    let dims = [1, side as i64, side as i64];
    let of_identity = |at: &mut At, factor: f32| {
        let values: Vec<f32> = identity.iter().map(|v| v * factor).collect();
        at.numbers(&dims, &values)
    };
    let identities = [7.0, 15.0, 13.0].map(|factor| of_identity(at, factor));
    for _ in 0..of.iterations {
        let y = at.op("MatMul", &[&a, &z]);
        let mut inner = at.op("Sub", &[&identities[0], &y]);
        for identity in &identities[1..] {
            let product = at.op("MatMul", &[&y, &inner]);
            inner = at.op("Sub", &[identity, &product]);
        }
        let product = at.op("MatMul", &[&z, &inner]);
        z = at.times(&product, 0.25);
    }
    let y = joined(at, &z, Heads::Stacked, side as u32);
    at.give(0, y);
    Ok(())
}
