//! Gated attention pooling, z = Σ aᵢ hᵢ with a = softmax(wᵀ (tanh(V hᵢ) ⊙ sigmoid(U hᵢ))).

use super::matmul::vectors;
use super::problem::{Buffer, Launch, Problem, Step, Way, groups, normal, parameters};
use crate::bench::cases;
use crate::error::Result;
use crate::tape::feature_stride;

const PLAIN: &str = include_str!("../../../shaders/ladders/pool_plain.wgsl");
const GATE: &str = include_str!("../../../shaders/ladders/pool_gate.wgsl");
const ONLINE: &str = include_str!("../../../shaders/ladders/pool_online.wgsl");
const SUBGROUPS: &str = include_str!("../../../shaders/ladders/pool_subgroups.wgsl");
const GATED_PRODUCT: &str = include_str!("../../../shaders/ladders/pool_gated_product.wgsl");

/// h of `n` rows and `hidden` columns, V and U of `inner` rows.
pub(super) fn problem([n, hidden, inner]: [usize; 3]) -> Result<Problem> {
    let line = feature_stride(hidden);
    let h = normal(n, hidden, 1.0, 0);
    let weights = normal(2 * inner, hidden, 1.0 / (hidden as f64).sqrt(), 1);
    let vector = normal(1, inner, 2.0 / (inner as f64).sqrt(), 2);
    let case = cases::gated_attention(n, hidden as u32, inner as u32)?;
    // The bias of the scores changes nothing behind a softmax: it is 0.
    let params = parameters(&case, &[&weights, &vector, &[0.0; 4]]);

    // Products by the same shader in every step, so that only what follows them differs.
    let product = vectors(4);
    let multiply = |w, y, cols: usize| {
        let launch = Launch::new(&product, "product", [n, cols, hidden, line], [groups(cols, 64), groups(n, 64)]);
        launch.named(&[("x", "h"), ("w", w), ("y", y)])
    };
    let launch = |text, entry, grid| Launch::new(text, entry, [n, hidden, inner, line], grid);
    let elementwise = |entry| launch(PLAIN, entry, [groups(inner, 16), groups(n, 16)]).in_place();
    let softmax = || launch(PLAIN, "softmax", [1, 1]).in_place();
    let weighted_sum = || launch(PLAIN, "weighted_sum", [groups(hidden, 64), 1]);
    let gate = || launch(GATE, "score", [1, groups(n, 16)]);
    let pool =
        || [launch(ONLINE, "pool_part", [groups(n, 64), 1]), launch(ONLINE, "pool_end", [groups(hidden, 64), 1])];

    let separate = vec![
        multiply("v", "left", inner),
        multiply("u", "right", inner),
        elementwise("tanh_all"),
        elementwise("sigmoid_all"),
        elementwise("multiply"),
        launch(PLAIN, "score", [groups(n, 64), 1]),
        softmax(),
        weighted_sum(),
    ];
    let joined = vec![multiply("weights", "pre", 2 * inner), gate(), softmax(), weighted_sum()];
    let online = [vec![multiply("weights", "pre", 2 * inner), gate()], pool().into()].concat();
    let gated = launch(GATED_PRODUCT, "score", [groups(n, 64), 1]);
    let fused = [vec![gated.clone()], pool().into()].concat();
    let [_, end] = pool();
    let subgroups = vec![gated, launch(SUBGROUPS, "pool_part", [groups(n, 64), 1]), end];
    let shaders = |name, launches| Step { name, way: Way::Shaders(launches) };
    let steps = vec![
        shaders("separate", separate),
        shaders("joined", joined),
        shaders("online", online),
        shaders("fused", fused),
        Step { name: "subgroups", way: Way::Subgroups(subgroups) },
        Step { name: "engine", way: Way::Engine },
    ];
    let (v, u) = weights.split_at(inner * line);
    let given = |name, values: &[f32]| Buffer { name, count: values.len(), values: Some(values.to_vec()) };
    let written = |name, count| Buffer { name, count, values: None };
    let tiles = n.div_ceil(64);
    let buffers = vec![
        given("h", &h),
        given("weights", &weights),
        given("v", v),
        given("u", u),
        given("vector", &vector),
        written("left", n * inner),
        written("right", n * inner),
        written("pre", 2 * n * inner),
        written("scores", n),
        written("parts", tiles * hidden),
        written("sums", tiles * 2),
        written("z", hidden),
    ];
    let (rows, cols) = (1, hidden);
    Ok(Problem { buffers, steps, result: "z", rows, cols, line: cols, case, features: h, params, counted: &[] })
}
