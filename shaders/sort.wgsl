// Sorting rows within bags, and what is built on it. Nothing here has a gradient.
//
// Sorting is a merge sort by ranks: a row counts how many others of its run precede it, first in tiles, then,
// as runs double, by a search in the neighbouring run. Keys with ties broken by the row are a total order, so
// ranks are a permutation and nothing depends on the order in which invocations run. Runs start at the bag's
// first row and never leave the bag.
#import common/grid
#import common/philox

struct KeyParams { count: u32, cols: u32, column: u32 }
var<immediate> k: KeyParams;
struct RandomKeys { count: u32, site: u32, seed_low: u32, seed_high: u32, step: u32 }
var<immediate> r: RandomKeys;
struct SortParams { tiles: u32, width: u32 }
var<immediate> s: SortParams;
struct TopParams { bags: u32, k: u32, last: u32 }
var<immediate> t: TopParams;
struct EndParams { bags: u32, k: u32, apart: u32 }
var<immediate> e: EndParams;
struct ScanParams { tiles: u32, bags: u32 }
var<immediate> c: ScanParams;

@group(0) @binding(0) var<storage, read> scores: array<f32>;
@group(0) @binding(1) var<storage, read_write> keys_out: array<u32>;
@group(0) @binding(0) var<storage, read_write> random_out: array<u32>;

@group(0) @binding(0) var<storage, read> keys: array<u32>;
@group(0) @binding(1) var<storage, read> tiles1: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> order2: array<u32>;

@group(0) @binding(1) var<storage, read> order1: array<u32>;
@group(0) @binding(2) var<storage, read> tiles2: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> offsets3: array<u32>;
@group(0) @binding(4) var<storage, read_write> order4: array<u32>;

@group(0) @binding(0) var<storage, read> order0: array<u32>;
@group(0) @binding(1) var<storage, read> offsets1: array<u32>;
@group(0) @binding(2) var<storage, read_write> top2: array<u32>;
@group(0) @binding(2) var<storage, read> offsets2: array<u32>;
@group(0) @binding(3) var<storage, read_write> ends3: array<u32>;

@group(0) @binding(2) var<storage, read_write> counts2: array<u32>;
@group(0) @binding(0) var<storage, read> counts0: array<u32>;
@group(0) @binding(1) var<storage, read> bag_tiles1: array<u32>;
@group(0) @binding(2) var<storage, read_write> starts2: array<u32>;
@group(0) @binding(3) var<storage, read_write> offsets_out3: array<u32>;
@group(0) @binding(2) var<storage, read> starts_in2: array<u32>;
@group(0) @binding(3) var<storage, read_write> rows3: array<u32>;

// Keys that ascend as scores descend. Both zeros are one key; NaN comes last.
@compute @workgroup_size(64)
fn sort_keys(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= k.count {
        return;
    }
    let bits = bitcast<u32>(scores[i * k.cols + k.column]);
    let size = bits & 0x7fffffffu;
    var key = select(0x7fffffffu - size, 0x80000000u + size, bits > 0x80000000u);
    if size > 0x7f800000u {
        key = 0xffffffffu;
    }
    keys_out[i] = key;
}

@compute @workgroup_size(64)
fn random_keys(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i < r.count {
        // The last word of the counter keeps these apart from the draws of dropout.
        random_out[i] = philox(vec4(i, r.site, r.step, 1u), vec2(r.seed_low, r.seed_high)).x;
    }
}

fn precedes(key: u32, row: u32, other_key: u32, other: u32) -> bool {
    return key < other_key || (key == other_key && row < other);
}

// Sorts the rows of each tile.
@compute @workgroup_size(64)
fn sort_tile(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = group_of(group, groups);
    if at >= s.tiles {
        return;
    }
    let tile = tiles1[at];
    if lane >= tile.z {
        return;
    }
    let row = tile.y + lane;
    let key = keys[row];
    var rank = 0u;
    for (var other = tile.y; other < tile.y + tile.z; other++) {
        rank += select(0u, 1u, precedes(keys[other], other, key, row));
    }
    order2[tile.y + rank] = row;
}

// Merges neighbouring runs of `width` places; a run without a neighbour stays where it is.
@compute @workgroup_size(64)
fn sort_merge(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = group_of(group, groups);
    if at >= s.tiles {
        return;
    }
    let tile = tiles2[at];
    if lane >= tile.z {
        return;
    }
    let start = offsets3[tile.x];
    let size = offsets3[tile.x + 1u] - start;
    let place = tile.y + lane - start;
    let run = place / s.width;
    let row = order1[start + place];
    let key = keys[row];
    // How many of the neighbour precede: a binary search. Both ends stay within the bag.
    let first = min((run ^ 1u) * s.width, size);
    var low = first;
    var high = min(first + s.width, size);
    while low < high {
        let middle = (low + high) / 2u;
        let other = order1[start + middle];
        if precedes(keys[other], other, key, row) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    order4[start + (run & ~1u) * s.width + place % s.width + low - first] = row;
}

// The first k rows of each bag's order, or the last k from the end on; 0xffffffff beyond the bag.
@compute @workgroup_size(64)
fn sort_top(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= t.bags * t.k {
        return;
    }
    let bag = i / t.k;
    let place = i % t.k;
    let start = offsets1[bag];
    let end = offsets1[bag + 1u];
    var row = 0xffffffffu;
    if place < end - start {
        row = order0[select(start + place, end - 1u - place, t.last != 0u)];
    }
    top2[i] = row;
}

// The first k rows of each bag in one order, then the first k in another; 0xffffffff beyond the bag. Where they are to
// be apart, each has half of a bag of fewer than 2 k.
@compute @workgroup_size(64)
fn sort_ends(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= 2u * e.bags * e.k {
        return;
    }
    let bag = i / (2u * e.k);
    let place = i % e.k;
    let start = offsets2[bag];
    let size = offsets2[bag + 1u] - start;
    var row = 0xffffffffu;
    if place < select(size, size / 2u, e.apart != 0u) {
        if i / e.k % 2u == 0u {
            row = order0[start + place];
        } else {
            row = order1[start + place];
        }
    }
    ends3[i] = row;
}

// Rows of each tile that are kept: those whose mask is not zero.
@compute @workgroup_size(64)
fn keep_count(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = group_of(group, groups) * 64u + lane;
    if at >= s.tiles {
        return;
    }
    let tile = tiles1[at];
    var count = 0u;
    for (var row = tile.y; row < tile.y + tile.z; row++) {
        count += select(0u, 1u, scores[row] != 0.0);
    }
    counts2[at] = count;
}

var<workgroup> sums: array<u32, 256>;

// Kept rows before each tile, and before each bag. One workgroup: each lane has a stretch of tiles.
@compute @workgroup_size(256)
fn keep_scan(@builtin(local_invocation_index) lane: u32) {
    let each = (c.tiles + 255u) / 256u;
    let first = min(lane * each, c.tiles);
    let end = min(first + each, c.tiles);
    var sum = 0u;
    for (var i = first; i < end; i++) {
        sum += counts0[i];
    }
    sums[lane] = sum;
    workgroupBarrier();
    var before = 0u;
    for (var i = 0u; i < lane; i++) {
        before += sums[i];
    }
    for (var i = first; i < end; i++) {
        starts2[i] = before;
        before += counts0[i];
    }
    storageBarrier();
    workgroupBarrier();
    var total = 0u;
    for (var i = 0u; i < 256u; i++) {
        total += sums[i];
    }
    for (var bag = lane; bag <= c.bags; bag += 256u) {
        let tile = bag_tiles1[bag];
        offsets_out3[bag] = total;
        if tile < c.tiles {
            offsets_out3[bag] = starts2[tile];
        }
    }
}

// The list of kept rows, in their order.
@compute @workgroup_size(64)
fn keep_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = group_of(group, groups);
    if at >= s.tiles {
        return;
    }
    let tile = tiles1[at];
    if lane >= tile.z || scores[tile.y + lane] == 0.0 {
        return;
    }
    var place = starts_in2[at];
    for (var row = tile.y; row < tile.y + lane; row++) {
        place += select(0u, 1u, scores[row] != 0.0);
    }
    rows3[place] = tile.y + lane;
}
