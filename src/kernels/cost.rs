//! What a launch costs at least: the bytes it has to move and the operations it has to do.
//!
//! Every value a kernel reads or writes counts once, however often the kernel touches it: what is read
//! again should come from a cache. An exponential, a root or a division counts as one operation. Parameters
//! of the launch and the tables of tiles count nothing.

mod bags;
mod layers;
mod primitives;

use super::launch::{BufferKey, Extent, Input, Launch, Scalars};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The sizes, for people.
    pub shape: String,
    /// Bytes read and written.
    pub bytes: u64,
    /// Operations on numbers.
    pub flops: u64,
}

/// The cost of `launch` over a batch; `half` when instance features are in f16. (A test holds that every
/// kernel has one; one that lacked it would count its bindings.)
pub fn cost(launch: &Launch, extent: &Extent, half: bool) -> Cost {
    known(launch, extent, half).unwrap_or_else(|| Cost {
        shape: format!("N={}", extent.instances),
        bytes: launch.places.iter().map(|p| p.bytes).sum(),
        flops: 0,
    })
}

fn known(launch: &Launch, extent: &Extent, half: bool) -> Option<Cost> {
    let words = launch.resolve(extent, &Scalars::default(), 0);
    let w = |i: usize| words[i] as u64;
    // Bytes of a feature more or less than of a number, for binding i.
    let features = |i: usize| half && launch.places[i].buffer == BufferKey::Input(Input::Features);
    let [n, b, t] = [extent.instances, extent.bags, extent.tiles].map(u64::from);
    let line = |values: u64, flops: u64| (format!("{}", w(0)), values * 4, flops);
    let (shape, bytes, flops) = match launch.kernel.name {
        "matmul" | "matmul_coop" => {
            let (m, cols, k, flags) = (w(0), w(1), w(2), w(6));
            let layers = k.div_ceil(w(9).max(1)).max(1);
            let bias = flags >> 1 & 1;
            let sides = m * k * if features(0) { 2 } else { 4 } + k * cols * if features(1) { 2 } else { 4 };
            let out = 4 * (m * cols * layers * (1 + (flags & 1)) + bias * cols);
            let mark = |bit: u64| if flags & bit != 0 { "^T" } else { "" };
            let rounded = if flags & 16 != 0 { " mixed" } else { "" };
            let shape = format!("[{m}x{k}]{} [{k}x{cols}]{}{rounded}", mark(4), mark(8));
            (shape, sides + out, m * cols * (2 * k + bias + (w(7) != 0) as u64))
        }
        "transpose" => (format!("{}x{}", w(0), w(1)), 8 * w(0) * w(1), 0),
        "activate" => line(2 * w(0), w(0) * (w(1) != 0) as u64),
        "activate_through" => line(3 * w(0), 2 * w(0)),
        "activate_grad" => line((3 + w(3)) * w(0), 2 * w(0)),
        "logit" => line(2 * w(0), 3 * w(0)),
        "logit_grad" => line((3 + w(2)) * w(0), 3 * w(0)),
        "add_scaled" => line(3 * w(0), 3 * w(0)),
        "add_to" => line((2 + w(2)) * w(0), (1 + w(2)) * w(0)),
        "multiply" => line((3 + w(1)) * w(0), (1 + w(1)) * w(0)),
        "fill" => line(w(0), 0),
        "dropout" => line((2 + w(7)) * w(0), w(0)),
        "adam" => line(7 * w(0), 14 * w(0)),
        "nesterov" => line(5 * w(0), 7 * w(0)),
        "scale_seed" => ("1".into(), 8, 0),
        "unscale" => (format!("{}", w(0)), 8 * w(0) + 4 * w(0).div_ceil(super::scaling::PART as u64) + 4, w(0)),
        "scale_judge" => (format!("{} parts", w(0)), 4 * (w(0) + 2 * w(1)) + 24, 1),
        "clip_factor" => ("1".into(), 8, 3),
        "squares" => line(w(0) + w(0).div_ceil(w(1).max(1)), 2 * w(0)),
        _ => {
            let (rows, c) = (w(0), w(1));
            let (values, flops) = match launch.kernel.name {
                "unpack" => {
                    let read = if features(0) { 2 } else { 4 };
                    return Some(Cost { shape: format!("{rows}x{c}"), bytes: rows * c * (read + 4), flops: 0 });
                }
                "sum_rows" => {
                    let parts = rows.div_ceil(w(4).clamp(1, rows.max(1)));
                    (rows * c + parts * c * (1 + w(6)), rows * c)
                }
                "row_sum" => (rows * c + rows, rows * c),
                "spread" => (rows * c * (1 + w(4)) + if w(2) == 0 { c } else { rows }, rows * c * w(4)),
                "row_softmax" => (2 * rows * c, 4 * rows * c),
                "row_softmax_grad" => ((3 + w(2)) * rows * c, 4 * rows * c),
                "max_part" => (n * c + 2 * t * c, n * c),
                "max_end" => (2 * t * c + 2 * b * c, t * c),
                "max_grad" => (n * c * (1 + w(3)) + 2 * b * c, 0),
                "sum_part" => (n * c * (1 + w(2)) + t * c, n * c * (1 + w(2))),
                "sum_end" => (t * c + b * c, t * c),
                "sum_grad" => (n * c * (1 + w(3)) + b * c, n * c),
                "lse_part" => (n * c + 2 * t * c, 4 * n * c),
                "lse_end" => (2 * t * c + b * c, 4 * t * c),
                "lse_grad" => (n * c * (2 + w(3)) + 2 * b * c, 4 * n * c),
                "softmax" => (2 * n * c + b * c, 2 * n * c),
                "softmax_grad" => (n * c * (3 + w(2)) + b * c, 2 * n * c),
                "sigmoid_loss" => (2 * rows * c + rows + 1, 6 * rows * c),
                "sigmoid_loss_grad" => ((3 + w(4)) * rows * c + rows + 1, 4 * rows * c),
                "softmax_loss" => (rows * c + 2 * rows + 1, 4 * rows * c),
                "softmax_loss_grad" => ((2 + w(3)) * rows * c + 2 * rows + 1, 6 * rows * c),
                name => {
                    let found = pooling(name, &w, [n, b, t]).or_else(|| bags::cost(name, &w, [n, b, t]));
                    let found = found.or_else(|| layers::cost(name, &w, [n, b, t]));
                    return match found {
                        Some((values, flops, shape)) => Some(Cost { shape, bytes: 4 * values, flops }),
                        None => tokens(name, &w, extent).or_else(|| primitives::cost(launch, extent, &w)),
                    };
                }
            };
            (format!("{rows}x{c}"), values * 4, flops)
        }
    };
    Some(Cost { shape, bytes, flops })
}

/// Attention pooling; h stands for hidden, l for inner, k for heads.
fn pooling(name: &str, w: &dyn Fn(usize) -> u64, [n, b, t]: [u64; 3]) -> Option<(u64, u64, String)> {
    let (values, flops, shape) = match name {
        "pool_part" => {
            let (h, l, k, gated) = (w(1), w(2), w(3), w(4));
            let pre = l * (1 + gated);
            let values = n * (pre + h + k) + k * l + k + t * k * (h + 2);
            (values, n * (pre + gated * l + 2 * k * (l + h + 1)), [h, l, k])
        }
        "pool_end" => {
            let (h, k) = (w(1), w(2));
            ((t + b) * k * (h + 2), 2 * t * k * (h + 1), [h, 0, k])
        }
        "pool_grad" => {
            let (h, k, kept, wanted, added) = (w(1), w(2), w(3) & 1, w(3) >> 1 & 1, w(3) >> 2 & 1);
            let values = n * h + b * k * (2 * h + 1) + n * k * (2 + kept) + wanted * n * h * (1 + added);
            (values, n * k * (2 * h + 4 + wanted * 2 * h), [h, 0, k])
        }
        "score_back" => {
            let (l, k, gated, wanted, added) = (w(1), w(2), w(3), w(4) & 1, w(4) >> 1 & 1);
            let pre = l * (1 + gated);
            let values = n * (pre + k) + k * l + wanted * n * pre * (1 + added) + t * k * (l + 1);
            (values, n * (pre * (1 + 4 * wanted) + k * l * (5 + gated)), [0, l, k])
        }
        _ => return None,
    };
    let named: Vec<String> =
        ["H", "L", "K"].iter().zip(shape).filter(|(_, v)| *v > 0).map(|(s, v)| format!("{s}={v}")).collect();
    Some((values, flops, format!("N={n} {}", named.join(" "))))
}

/// Tokens, depthwise convolutions and Nyström attention. Convolutions count every tap, also where it reaches
/// over an edge.
fn tokens(name: &str, w: &dyn Fn(usize) -> u64, extent: &Extent) -> Option<Cost> {
    let [n, b, t] = [extent.instances, extent.bags, extent.tokens].map(u64::from);
    let c = w(1);
    // Results of a convolution along the tokens, and the taps that reach anything.
    let along = |first: bool| if first { (b, w(2) / 2 + 1) } else { (t, w(2)) };
    let (values, flops, shape) = match name {
        "square" => (c * (n + 1 + t), 0, format!("N={n} C={c}")),
        "square_grad" => (c * (t + n * (1 + w(2))), c * (t - b), format!("N={n} C={c}")),
        "landmark_means" => (c * (t + w(0)), c * (t + w(0)), format!("{t}x{c}")),
        "landmark_grad" => (c * (b * w(2) + t * (1 + w(3))), c * t, format!("{t}x{c}")),
        "token_scores" => (n * (c + 1), n * (c + 1), format!("N={n} K={c}")),
        "token_scores_grad" => (n + t * c * (1 + w(3)), n, format!("N={n} K={c}")),
        "sequence_conv" | "sequence_back" | "sequence_weights" => {
            let first = w(4) & 2 != 0;
            let ((results, taps), heads) = (along(first), c / w(3).max(1));
            let seen = if first { b * taps } else { t };
            let values = match name {
                "sequence_conv" => c * (seen + results) + heads * w(2),
                "sequence_back" => c * (results + t * (1 + (w(4) & 1))) + heads * w(2),
                _ => c * (seen + results) + w(0) * heads * w(2),
            };
            (values, 2 * taps * results * c, format!("{t}x{c} taps={}", w(2)))
        }
        "grid_conv" => {
            let (area, flip) = (w(2) * w(2), w(3) >> 1 & 1);
            let values = c * (t * (2 + (w(3) & 1)) + area + 1 - flip);
            (values, 2 * area * (t - b) * c, format!("{t}x{c} side={}", w(2)))
        }
        "grid_weights" => {
            let (area, parts) = (w(2) * w(2), w(0).div_ceil(w(3).max(1)));
            (c * (2 * t + parts * (area + 1)), (2 * area + 1) * (t - b) * c, format!("{t}x{c} side={}", w(2)))
        }
        "merge_kernels" => {
            let area = |less: u64| w(1).saturating_sub(less).pow(2);
            let narrow = area(2) + area(4);
            (w(0) * (2 * area(0) + narrow), w(0) * (1 + narrow), format!("C={} side={}", w(0), w(1)))
        }
        "crop_kernels" => {
            let values = w(0) * w(2) * w(2);
            (values * (2 + w(3)), values * w(3), format!("C={} side={}", w(0), w(2)))
        }
        "head_product" => {
            let ([m, n, k, layers], flags) = ([w(0), w(1), w(2), w(8)], w(4));
            let third = flags >> 3 & 1;
            let values = m * k + k * n + m * n * (1 + (flags & 1) + third);
            let flops = m * n * (2 * k + 1 + 2 * third + (flags & 1));
            (layers * values, layers * flops, format!("{layers} x [{m}x{k}] [{k}x{n}]"))
        }
        "inverse_sums" | "inverse_start" | "inverse_dots" | "inverse_end" => {
            let (layers, area) = (w(0), w(2) * w(2));
            let (values, flops) = match name {
                "inverse_sums" => (area + 4, 4 * area),
                "inverse_start" => (2 * area + 4, area),
                "inverse_dots" => (2 * area + 1, 2 * area),
                _ => (area * (3 + w(3)) + 2 * w(2) + 5, area * (2 + w(3)) + 4 * w(2)),
            };
            (layers * values, layers * flops, format!("{layers} x {}x{}", w(2), w(2)))
        }
        "cross_spans" => (4 * w(0), 0, format!("{}", w(0))),
        "zero_keys" => {
            let rows = w(0) * w(1);
            (2 * rows * (1 + w(2)), rows * (w(2) + 8), format!("{rows}x{}", w(2)))
        }
        _ => return None,
    };
    Some(Cost { shape, bytes: 4 * values, flops })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::launch::{Count, Dim, Grid, Place, Word};

    #[test]
    fn every_kernel_has_a_cost() {
        let place = Place { buffer: BufferKey::Slot(0), offset: 0, bytes: 4 };
        let extent = Extent::of([2, 2]);
        for kernel in crate::kernels::all() {
            let launch = Launch {
                kernel,
                variant: Vec::new(),
                places: vec![place; kernel.bindings.len()],
                words: vec![Word::U(1); kernel.words],
                grid: Grid::line(Count::each(Dim::Fixed(1))),
            };
            let cost = known(&launch, &extent, false).unwrap_or_else(|| panic!("{kernel:?} has no cost"));
            assert!(cost.bytes > 0, "{kernel:?} moves nothing");
        }
    }
}
