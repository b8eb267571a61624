//! Costs of graphs and clusters.

use super::{At, Cost};

pub(super) fn cost(at: &At) -> Option<Cost> {
    let w = |i: usize| at.word(i);
    let (rows, c) = (w(0), w(1));
    let matrix = format!("{rows}x{c}");
    Some(Cost::of(match at.name() {
        "cluster_assign" => (rows * (c + 2) + w(2) * c, 3 * rows * c * w(2), format!("{matrix} K={}", w(2))),
        "cluster_count" => (rows + c, rows, format!("{rows} K={c}")),
        // As long as no cluster is empty.
        "cluster_fill" => (c, 0, format!("{rows} K={c}")),
        "cluster_part" => {
            let chunks = rows.div_ceil(w(3).max(1));
            (rows * (c + 1) + chunks * w(2) * c, rows * c, format!("{matrix} K={}", w(2)))
        }
        "cluster_mean" => (w(2) * (3 * c + 1), w(2) * c, format!("K={}", w(2))),
        _ => return graph(at),
    }))
}

/// Graphs of as many nodes for every bag hold less than the bags' own.
fn graph(at: &At) -> Option<Cost> {
    let w = |i: usize| at.word(i);
    let [n, b, t] = at.batch();
    let (rows, c, p) = (w(0), w(1), at.extent.pairs as u64);
    let pairs = |i: usize| p.min(at.held(i));
    let nodes = |i: usize| (n * c).min(at.held(i));
    let (values, flops) = match at.name() {
        "graph_spans" => (4 * rows + b + 1, 0),
        "graph_pairs" => {
            let (p, sides) = (pairs(3), if at.same(0, 1) { 1 } else { 2 });
            (sides * nodes(0) + p, p * (c * if w(2) == 0 { 2 } else { 3 } + (w(2) == 2) as u64))
        }
        "graph_pairs_grad" => {
            let (p, sides, added) = (pairs(2), if at.same(0, 1) { 1 } else { 2 }, at.bit(3, 1));
            let distances = (w(2) == 2) as u64;
            (
                (sides + 1 + added) * nodes(0) + (1 + distances) * p,
                p * (c * if w(2) == 0 { 2 } else { 3 } + (w(2) == 1 || w(2) == 2) as u64),
            )
        }
        "graph_product" => {
            let (p, v) = (pairs(0), nodes(1));
            (p + 2 * v + v / c.max(1), p * (2 * c + 1) + v)
        }
        "graph_product_grad" => {
            let (p, v, added) = (pairs(0), nodes(1), at.bit(2, 2));
            (p + (2 + added) * v + v / c.max(1), 2 * p * c + v)
        }
        "graph_weights_grad" => {
            let (p, added) = (pairs(0), at.bit(2, 2));
            ((2 + added) * p + 2 * n.min(at.held(1)), 2 * p)
        }
        "link_part" => (p + n * c + t, p * (2 * c + 3)),
        "link_end" => (t + b, t + 2 * b),
        "link_grad" => (p + n * c * (2 + w(3)) + 2 * b, p * (6 * c + 3)),
        "link_weights_grad" => (p * (2 + w(3)) + n * c + 2 * b, p * (2 * c + 2)),
        _ => return None,
    };
    Some(Cost::of((values, flops, format!("P={p} C={c}"))))
}
