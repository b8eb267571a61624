// Pseudo-bags: the rows of each bag dealt out to groups of nearly equal size, and the rows that are distilled from each of
// them. Of a bag of n rows the first n mod m of m = min(parts, n) pseudo-bags have one row more. Nothing here has a
// gradient: all of it is indices.
#import common/grid

struct DealParams { tiles: u32, parts: u32 }
var<immediate> d: DealParams;
struct InvertParams { count: u32 }
var<immediate> v: InvertParams;
struct DistilParams { bags: u32, parts: u32, rows: u32, sides: u32 }
var<immediate> s: DistilParams;

@group(0) @binding(0) var<storage, read> tiles0: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> offsets1: array<u32>;
@group(0) @binding(2) var<storage, read_write> order2: array<u32>;

@group(0) @binding(0) var<storage, read> order0: array<u32>;
@group(0) @binding(1) var<storage, read_write> inverse1: array<u32>;

@group(0) @binding(2) var<storage, read> distilled2: array<u32>;
@group(0) @binding(3) var<storage, read_write> rows3: array<u32>;

// Deals the rows of each bag out like cards: row i goes to pseudo-bag i mod m.
@compute @workgroup_size(64)
fn deal_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = group_of(group, groups);
    if at >= d.tiles {
        return;
    }
    let tile = tiles0[at];
    if lane >= tile.z {
        return;
    }
    let start = offsets1[tile.x];
    let size = offsets1[tile.x + 1u] - start;
    let parts = min(d.parts, size);
    let i = tile.y + lane - start;
    let part = i % parts;
    order2[start + part * (size / parts) + min(part, size % parts) + i / parts] = start + i;
}

// The place of each row in an order of all rows.
@compute @workgroup_size(64)
fn invert_order(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i < v.count {
        inverse1[order0[i]] = i;
    }
}

// The first rows of each pseudo-bag's order, or the first and the last, bag after bag. Within a bag the first rows of all
// pseudo-bags come before all second ones, so that what short pseudo-bags lack leaves no gap.
@compute @workgroup_size(64)
fn distil_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    let each = s.parts * s.rows * s.sides;
    if i >= s.bags * each {
        return;
    }
    let bag = i / each;
    let side = i % s.sides;
    let part = i / s.sides % s.parts;
    let rank = i % each / (s.sides * s.parts);
    let start = offsets1[bag];
    let size = offsets1[bag + 1u] - start;
    let parts = min(s.parts, size);
    if part >= parts {
        return;
    }
    let short = size / parts;
    let longer = size % parts;
    let own = short + select(0u, 1u, part < longer);
    if rank >= own {
        return;
    }
    let first = start + part * short + min(part, longer);
    // All have `short` ranks, the longer ones one more.
    let before = min(rank, short) * parts + select(0u, longer, rank > short);
    let place = (before + part) * s.sides + side;
    rows3[distilled2[bag] + place] = order0[select(first + rank, first + own - 1u - rank, side == 1u)];
}
