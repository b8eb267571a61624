//! Host twins of `shaders/sort.wgsl`.

use super::host::{Shared, parallel};
use super::segment::tile;
use super::{Args, Kernel, Real, kernel};
use crate::random::philox;
use bytemuck::{Pod, Zeroable};

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct KeyParams {
    count: u32,
    cols: u32,
    column: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct RandomKeys {
    count: u32,
    site: u32,
    seed_low: u32,
    seed_high: u32,
    step: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct SortParams {
    tiles: u32,
    width: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct TopParams {
    bags: u32,
    k: u32,
    last: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct ScanParams {
    tiles: u32,
    bags: u32,
}

kernel!(/// Keys that ascend as scores descend.
    SORT_KEYS, "sort", sort_keys, KeyParams, [Read, WriteIndex]);
kernel!(/// Random keys.
    RANDOM_KEYS, "sort", random_keys, RandomKeys, [WriteIndex]);
kernel!(/// Sorted rows of each tile.
    SORT_TILE, "sort", sort_tile, SortParams, [ReadIndex, ReadIndex, WriteIndex]);
kernel!(/// Neighbouring sorted runs merged.
    SORT_MERGE, "sort", sort_merge, SortParams, [ReadIndex, ReadIndex, ReadIndex, ReadIndex, WriteIndex]);
kernel!(/// First or last rows of each bag's order.
    SORT_TOP, "sort", sort_top, TopParams, [ReadIndex, ReadIndex, WriteIndex]);
kernel!(/// Number of rows that each tile keeps.
    KEEP_COUNT, "sort", keep_count, SortParams, [Read, ReadIndex, WriteIndex]);
kernel!(/// Kept rows before each tile and each bag.
    KEEP_SCAN, "sort", keep_scan, ScanParams, [ReadIndex, ReadIndex, WriteIndex, WriteIndex]);
kernel!(/// List of the kept rows.
    KEEP_ROWS, "sort", keep_rows, SortParams, [Read, ReadIndex, ReadIndex, WriteIndex]);

/// All kernels of this file.
pub const KERNELS: &[&Kernel] =
    &[&SORT_KEYS, &RANDOM_KEYS, &SORT_TILE, &SORT_MERGE, &SORT_TOP, &KEEP_COUNT, &KEEP_SCAN, &KEEP_ROWS];

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
