//! Costs of graphs, clusters, evidential and pseudo-label losses and the other small pieces.

use super::Cost;
use crate::kernels::launch::{Extent, Launch};

/// The cost of a kernel of these families; `w` are its parameter words. What trigamma and the like take depends on
/// their argument: the most there is, counted in tens.
pub(super) fn cost(launch: &Launch, extent: &Extent, w: &dyn Fn(usize) -> u64) -> Option<Cost> {
    let name = launch.kernel.name;
    let [n, b, t, p] = [extent.instances, extent.bags, extent.tiles, extent.pairs].map(u64::from);
    let (rows, c) = (w(0), w(1));
    let matrix = format!("{rows}x{c}");
    let (shape, values, flops) = match name {
        "affine" => (format!("{rows}"), 2 * rows, 2 * rows),
        "below" => (format!("{rows}"), 2 * rows, rows),
        "batch_running" => (format!("{rows}"), 3 * rows, (3 + w(3)) * rows),
        "dropout_channels" => (format!("{rows} by {}", w(8)), (2 + w(7)) * rows, rows),
        "evidential_loss" => {
            let given = (w(2) >= c) as u64;
            let divergence = if c > 2 { 90 } else { 0 };
            (matrix, rows * (c + 1 + given) + 4, rows * (c + 1) * (60 + divergence))
        }
        "evidential_grad" => {
            let (given, added) = ((w(2) >= c) as u64, w(3) >> 1 & 1);
            (matrix, rows * (c * (2 + added) + 1 + given) + 4, rows * (c + 1) * 180)
        }
        "dirichlet_uncertainty" => (matrix, rows * (c + 3), rows * (c + 1) * 150),
        "instance_pseudo" => (format!("{rows}"), 2 * rows, 3 * rows),
        "instance_pseudo_grad" => (format!("{rows}"), (3 + w(1)) * rows, (6 + w(1)) * rows),
        "bag_pseudo" => (matrix, rows * (4 * c + 2), rows * (9 * c + 2)),
        "bag_pseudo_grad" => (matrix, rows * (c * (4 + w(4)) + 1) + 1, rows * c * (8 + w(4))),
        "gaussian_log" => (matrix, rows * (c + w(2) + w(3) + 1), rows * (6 * c + 2)),
        "gaussian_log_grad" => {
            let out = [c, w(2), w(3)][(w(4) as usize).min(2)];
            (matrix, rows * (c + w(2) + w(3) + 1 + out * (1 + w(5))), rows * 8 * c)
        }
        "cluster_assign" => (format!("{matrix} K={}", w(2)), rows * (c + 2) + w(2) * c, 3 * rows * c * w(2)),
        "cluster_count" => (format!("{rows} K={c}"), rows + c, rows),
        // As long as no cluster is empty.
        "cluster_fill" => (format!("{rows} K={c}"), c, 0),
        "cluster_part" => {
            let chunks = rows.div_ceil(w(3).max(1));
            (format!("{matrix} K={}", w(2)), rows * (c + 1) + chunks * w(2) * c, rows * c)
        }
        "cluster_mean" => (format!("K={}", w(2)), w(2) * (3 * c + 1), w(2) * c),
        _ => {
            // Graphs of as many nodes for every bag hold less than the bags' own.
            let held = |i: usize| launch.places.get(i).map_or(u64::MAX, |place| place.bytes / 4);
            let same = |i: usize, j: usize| launch.places.get(i) == launch.places.get(j);
            let pairs = |i: usize| p.min(held(i));
            let nodes = |i: usize| (n * c).min(held(i));
            let (values, flops) = match name {
                "graph_spans" => (4 * rows + b + 1, 0),
                "graph_pairs" => {
                    let (p, sides) = (pairs(3), if same(0, 1) { 1 } else { 2 });
                    (sides * nodes(0) + p, p * (c * if w(2) == 0 { 2 } else { 3 } + (w(2) == 2) as u64))
                }
                "graph_pairs_grad" => {
                    let (p, sides, added) = (pairs(2), if same(0, 1) { 1 } else { 2 }, w(3) >> 1 & 1);
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
                    let (p, v, added) = (pairs(0), nodes(1), w(2) >> 2 & 1);
                    (p + (2 + added) * v + v / c.max(1), 2 * p * c + v)
                }
                "graph_weights_grad" => {
                    let (p, added) = (pairs(0), w(2) >> 2 & 1);
                    ((2 + added) * p + 2 * n.min(held(1)), 2 * p)
                }
                "link_part" => (p + n * c + t, p * (2 * c + 3)),
                "link_end" => (t + b, t + 2 * b),
                "link_grad" => (p + n * c * (2 + w(3)) + 2 * b, p * (6 * c + 3)),
                "link_weights_grad" => (p * (2 + w(3)) + n * c + 2 * b, p * (2 * c + 2)),
                _ => return None,
            };
            (format!("P={p} C={c}"), values, flops)
        }
    };
    Some(Cost { shape, bytes: 4 * values, flops })
}
