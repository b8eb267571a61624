//! Host twins of `shaders/sort.wgsl`.

use super::cost::At;
use super::declared::sort::{EndParams, KeyParams, RandomKeys, ScanParams, SortParams, TopParams};
use super::host::{Shared, parallel};
use super::segment::tile;
use super::{Args, Real, kernels};
use crate::random::philox;

kernels! {
    sort {
        /// Keys that ascend as scores descend.
        SORT_KEYS = sort_keys, |&At { n, .. }| (2 * n, 0, format!("{n}"));
        /// Random keys.
        RANDOM_KEYS = random_keys, |&At { n, .. }| (n, 0, format!("{n}"));
        /// Sorted rows of each tile.
        SORT_TILE = sort_tile, |&At { n, .. }| (2 * n, 0, format!("{n}"));
        /// Neighbouring sorted runs merged.
        SORT_MERGE = sort_merge, |&At { n, c, .. }| (3 * n, 0, format!("{n} in runs of {c}"));
        /// First or last rows of each bag's order.
        SORT_TOP = sort_top, |&At { b, c, .. }| (2 * b * c, 0, format!("{c} of {b}"));
        /// First rows of each bag in two orders.
        SORT_ENDS = sort_ends, |&At { b, c, .. }| (4 * b * c, 0, format!("{c} of {b}"));
        /// Number of rows that each tile keeps.
        KEEP_COUNT = keep_count, |&At { n, t, .. }| (n + t, 0, format!("{n}"));
        /// Kept rows before each tile and each bag.
        KEEP_SCAN = keep_scan, |&At { b, t, .. }| (2 * t + b + 1, 0, format!("{t}"));
        /// List of the kept rows.
        // All rows kept: the most there is to write.
        KEEP_ROWS = keep_rows, |&At { n, t, .. }| (2 * n + t, 0, format!("{n}"));
    }
}

fn sort_keys<T: Real>(a: &Args<T>) {
    let p: KeyParams = a.params();
    let (scores, keys) = (a.read(0), a.write_indices(1));
    for (i, key) in keys.iter_mut().enumerate().take(p.count as usize) {
        // The oracle sorts by the numbers a device has, so that both break the same ties.
        let bits = (scores[i * p.cols as usize + p.column as usize].f64() as f32).to_bits();
        let size = bits & 0x7fff_ffff;
        *key = match bits > 0x8000_0000 {
            _ if size > 0x7f80_0000 => u32::MAX,
            true => 0x8000_0000 + size,
            false => 0x7fff_ffff - size,
        };
    }
}

fn random_keys<T: Real>(a: &Args<T>) {
    let p: RandomKeys = a.params();
    for (i, key) in a.write_indices(0).iter_mut().enumerate().take(p.count as usize) {
        *key = philox([i as u32, p.site, p.step, 1], [p.seed_low, p.seed_high])[0];
    }
}

fn sort_tile<T: Real>(a: &Args<T>) {
    let p: SortParams = a.params();
    let (keys, tiles, order) = (a.indices(0), a.indices(1), a.write_indices(2));
    for t in 0..p.tiles as usize {
        let (_, rows) = tile(tiles, t);
        let order = &mut order[rows.clone()];
        order.iter_mut().zip(rows).for_each(|(o, row)| *o = row as u32);
        order.sort_unstable_by_key(|&row| (keys[row as usize], row));
    }
}

fn sort_merge<T: Real>(a: &Args<T>) {
    let p: SortParams = a.params();
    let width = p.width as usize;
    let (keys, from, tiles, offsets) = (a.indices(0), a.indices(1), a.indices(2), a.indices(3));
    let to = Shared::new(a.write_indices(4));
    let bags = tiles[..4 * p.tiles as usize].chunks_exact(4).last().map_or(0, |t| t[0] as usize + 1);
    let key = |row: u32| (keys[row as usize], row);
    let rows = if bags == 0 { 0 } else { offsets[bags] as usize };
    parallel(bags, 8 * rows.div_ceil(bags.max(1)), |range| {
        for bag in range {
            let (start, end) = (offsets[bag] as usize, offsets[bag + 1] as usize);
            // SAFETY: bags are disjoint, and each is visited once.
            let to = unsafe { to.part(start..end) };
            for (from, to) in from[start..end].chunks(2 * width).zip(to.chunks_mut(2 * width)) {
                let (mut left, mut right) = from.split_at(width.min(from.len()));
                for to in to {
                    let take_left = match (left.first(), right.first()) {
                        (Some(&l), Some(&r)) => key(l) < key(r),
                        (l, _) => l.is_some(),
                    };
                    let side = if take_left { &mut left } else { &mut right };
                    *to = side[0];
                    *side = &side[1..];
                }
            }
        }
    });
}

fn sort_top<T: Real>(a: &Args<T>) {
    let p: TopParams = a.params();
    let (order, offsets, top) = (a.indices(0), a.indices(1), a.write_indices(2));
    for (bag, top) in top.chunks_exact_mut(p.k as usize).enumerate().take(p.bags as usize) {
        let order = &order[offsets[bag] as usize..offsets[bag + 1] as usize];
        for (place, top) in top.iter_mut().enumerate() {
            let row = if p.last != 0 { order.iter().rev().nth(place) } else { order.get(place) };
            *top = row.copied().unwrap_or(u32::MAX);
        }
    }
}

fn sort_ends<T: Real>(a: &Args<T>) {
    let p: EndParams = a.params();
    let (orders, offsets, ends) = ([a.indices(0), a.indices(1)], a.indices(2), a.write_indices(3));
    let k = p.k as usize;
    for (bag, ends) in ends.chunks_exact_mut(2 * k).enumerate().take(p.bags as usize) {
        let rows = offsets[bag] as usize..offsets[bag + 1] as usize;
        let count = if p.apart != 0 { rows.len() / 2 } else { rows.len() };
        for (order, ends) in orders.iter().zip(ends.chunks_exact_mut(k)) {
            let first = &order[rows.clone()][..count];
            ends.iter_mut().enumerate().for_each(|(place, end)| *end = first.get(place).copied().unwrap_or(u32::MAX));
        }
    }
}

fn keep_count<T: Real>(a: &Args<T>) {
    let p: SortParams = a.params();
    let (mask, tiles, counts) = (a.read(0), a.indices(1), a.write_indices(2));
    for (t, count) in counts.iter_mut().enumerate().take(p.tiles as usize) {
        *count = mask[tile(tiles, t).1].iter().filter(|m| **m != T::ZERO).count() as u32;
    }
}

fn keep_scan<T: Real>(a: &Args<T>) {
    let p: ScanParams = a.params();
    let (counts, bag_tiles, starts, offsets) = (a.indices(0), a.indices(1), a.write_indices(2), a.write_indices(3));
    let mut total = 0;
    for (start, count) in starts.iter_mut().zip(counts).take(p.tiles as usize) {
        *start = total;
        total += count;
    }
    for (offset, &tile) in offsets.iter_mut().zip(bag_tiles).take(p.bags as usize + 1) {
        *offset = if tile < p.tiles { starts[tile as usize] } else { total };
    }
}

fn keep_rows<T: Real>(a: &Args<T>) {
    let p: SortParams = a.params();
    let (mask, tiles, starts, kept) = (a.read(0), a.indices(1), a.indices(2), a.write_indices(3));
    for t in 0..p.tiles as usize {
        let rows = tile(tiles, t).1.filter(|&row| mask[row] != T::ZERO);
        rows.zip(&mut kept[starts[t] as usize..]).for_each(|(row, kept)| *kept = row as u32);
    }
}
