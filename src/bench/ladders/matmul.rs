//! The product of a layer, y = x wᵀ.

use super::problem::{Buffer, Launch, Problem, Step, Way, groups, normal, parameters};
use crate::bench::cases;
use crate::error::Result;
use crate::tape::feature_stride;

const PLAIN: &str = include_str!("../../../shaders/ladders/product_plain.wgsl");
const TILED: &str = include_str!("../../../shaders/ladders/product_tiled.wgsl");
const REGISTERS: &str = include_str!("../../../shaders/ladders/product_registers.wgsl");
const VECTORS: &str = include_str!("../../../shaders/ladders/product_vectors.wgsl");

/// x `[m, k]`, w `[n, k]`.
pub(super) fn problem([m, k, n]: [usize; 3]) -> Result<Problem> {
    let (x, w) = (normal(m, k, 1.0, 0), normal(n, k, 1.0 / (k as f64).sqrt(), 1));
    let case = cases::product([m, k, n], false)?;
    let params = parameters(&case, &[&w]);
    let words = [m, n, k, feature_stride(k)];
    let shader = |name, text: &str, side| {
        let launch = Launch::new(text, "product", words, [groups(n, side), groups(m, side)]);
        Step { name, way: Way::Shaders(vec![launch]) }
    };
    let steps = vec![
        shader("plain", PLAIN, 16),
        shader("tiled", TILED, 16),
        shader("registers", REGISTERS, 64),
        shader("vectors", &vectors(4), 64),
        shader("wide", &vectors(8), 128),
        Step { name: "engine", way: Way::Engine },
        Step { name: "engine-mixed", way: Way::Mixed(Box::new(cases::product([m, k, n], true)?)) },
    ];
    let buffers = vec![
        Buffer { name: "x", count: x.len(), values: Some(x.clone()) },
        Buffer { name: "w", count: w.len(), values: Some(w) },
        Buffer { name: "y", count: m * n, values: None },
    ];
    Ok(Problem { buffers, steps, result: "y", rows: m, cols: n, line: n, case, features: x, params, counted: &[] })
}

/// Tiles with `each` x `each` outputs an invocation, as deep as the memory of a workgroup has room for.
pub(super) fn vectors(each: usize) -> String {
    VECTORS.replace("${EACH}", &each.to_string()).replace("${QUADS}", &(16 / each).to_string())
}
