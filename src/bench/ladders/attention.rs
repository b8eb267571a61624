//! Softmax attention of each row with all rows, out = softmax(q kᵀ / √d) v.

use super::problem::{Buffer, Launch, Problem, Step, Way, groups, normal, parameters};
use crate::bench::cases;
use crate::error::Result;
use crate::tape::feature_stride;

const PLAIN: &str = include_str!("../../../shaders/ladders/attention_plain.wgsl");
const ONLINE: &str = include_str!("../../../shaders/ladders/attention_online.wgsl");
const BLOCKS: &str = include_str!("../../../shaders/ladders/attention_blocks.wgsl");

/// q, k and v of `n` rows and `d` columns.
pub(super) fn problem([n, d]: [usize; 2]) -> Result<Problem> {
    let line = feature_stride(d);
    let parts = [0, 1, 2].map(|stream| normal(n, d, 1.0, stream));
    // For the engine they lie side by side.
    let stride = feature_stride(3 * d);
    let mut features = vec![0.0; n * stride];
    for (row, to) in features.chunks_exact_mut(stride).enumerate() {
        for (part, from) in parts.iter().enumerate() {
            to[part * d..(part + 1) * d].copy_from_slice(&from[row * line..row * line + d]);
        }
    }
    let scale = (1.0 / (d as f32).sqrt()).to_bits() as usize;
    let words = [n, d, line, scale];
    let launch = |text: &str, entry, grid| Launch::new(text, entry, words, grid);
    let of_rows = [groups(n, 64), 1];
    let sized = |text: &str| text.replace("${QUADS}", &(line / 4).to_string());
    let plain = vec![
        launch(PLAIN, "energy", [groups(n, 16), groups(n, 16)]),
        launch(PLAIN, "softmax", of_rows).in_place(),
        launch(PLAIN, "values", [groups(d, 16), groups(n, 16)]),
    ];
    let steps = vec![
        Step { name: "plain", way: Way::Shaders(plain) },
        Step { name: "online", way: Way::Shaders(vec![launch(&sized(ONLINE), "attend", of_rows)]) },
        Step { name: "blocks", way: Way::Shaders(vec![launch(&sized(BLOCKS), "attend", of_rows)]) },
        Step { name: "engine", way: Way::Engine },
    ];
    let written = |name, count| Buffer { name, count, values: None };
    let mut buffers = vec![written("energies", n * n), written("out", n * line)];
    for (name, part) in ["q", "k", "v"].into_iter().zip(parts) {
        buffers.push(Buffer { name, count: part.len(), values: Some(part) });
    }
    let case = cases::self_attention(n, d as u32)?;
    let params = parameters(&case, &[]);
    // Slicing the features is not part of it.
    let counted = &["attention_forward"];
    Ok(Problem { buffers, steps, result: "out", rows: n, cols: d, line, case, features, params, counted })
}
