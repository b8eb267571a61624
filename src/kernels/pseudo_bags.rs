//! Host twins of `shaders/pseudo_bags.wgsl`.

use super::cost::At;
use super::declared::pseudo_bags::{DealParams, DistilParams, InvertParams};
use super::segment::tile;
use super::{Args, Real, kernels};

kernels! {
    pseudo_bags {
        /// The rows of each bag dealt out to its pseudo-bags.
        DEAL_ROWS = deal_rows, |&At { n, .. }| (n, 0, format!("{n}"));
        /// The place of each row in an order.
        INVERT_ORDER = invert_order, |&At { n, .. }| (2 * n, 0, format!("{n}"));
        /// The rows that are distilled from pseudo-bags.
        DISTIL_ROWS = distil_rows, |&At { b, .. }| (2 * b, 0, format!("{b} bags"));
    }
}

/// Where the pseudo-bags of a bag lie: how many there are, their rows, and how many of them have one row more.
fn parts_of(parts: u32, size: usize) -> [usize; 3] {
    let parts = (parts as usize).min(size);
    [parts, size / parts.max(1), size % parts.max(1)]
}

fn deal_rows<T: Real>(a: &Args<T>) {
    let p: DealParams = a.params();
    let (tiles, offsets, order) = (a.indices(0), a.indices(1), a.write_indices(2));
    for t in 0..p.tiles as usize {
        let (bag, rows) = tile(tiles, t);
        let (start, end) = (offsets[bag] as usize, offsets[bag + 1] as usize);
        let [parts, short, longer] = parts_of(p.parts, end - start);
        for row in rows {
            let (part, turn) = ((row - start) % parts, (row - start) / parts);
            order[start + part * short + part.min(longer) + turn] = row as u32;
        }
    }
}

fn invert_order<T: Real>(a: &Args<T>) {
    let p: InvertParams = a.params();
    let (order, inverse) = (a.indices(0), a.write_indices(1));
    for (place, row) in order.iter().enumerate().take(p.count as usize) {
        inverse[*row as usize] = place as u32;
    }
}

fn distil_rows<T: Real>(a: &Args<T>) {
    let p: DistilParams = a.params();
    let (order, offsets, distilled, rows) = (a.indices(0), a.indices(1), a.indices(2), a.write_indices(3));
    for bag in 0..p.bags as usize {
        let (start, end) = (offsets[bag] as usize, offsets[bag + 1] as usize);
        let [parts, short, longer] = parts_of(p.parts, end - start);
        let mut place = distilled[bag] as usize;
        for rank in 0..p.rows as usize {
            for part in 0..parts {
                let (first, own) = (start + part * short + part.min(longer), short + usize::from(part < longer));
                if rank < own {
                    rows[place] = order[first + rank];
                    if p.sides == 2 {
                        rows[place + 1] = order[first + own - 1 - rank];
                    }
                    place += p.sides as usize;
                }
            }
        }
    }
}
