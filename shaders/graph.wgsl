// Graphs over the instances of each bag, as dense matrices of their pairs: row by row, bag after bag. A span says of
// a tile of rows: where the pairs of its first row start, its first row, the first row of its bag, rows of the bag.
// Bags may also be as many graphs of `nodes` nodes each.
#import common/grid
#import common/lanes
#import common/block

struct Spans { tiles: u32, nodes: u32 }
var<immediate> sp: Spans;
// kind as in common/block. flags: 1 pairs are read transposed, 2 adds to what is there.
const TRANSPOSED = 1u; // Flag of `Pairs`: pairs are read transposed.
const ADD_PAIRS = 2u; // Flag of `Pairs`: adds to what is there.
const SELF = 1u; // Flag of `Product`: a node is its own neighbour with weight 1.
const MEAN = 2u; // Flag of `Product`: mean instead of sum.
const ADD = 4u; // Flag of `Product`: adds to what is there.
struct Pairs { tiles: u32, cols: u32, kind: u32, flags: u32 }
var<immediate> pr: Pairs;
// flags: 1 a node is its own neighbour with weight 1, 2 mean instead of sum, 4 adds to what is there.
struct Product { tiles: u32, cols: u32, flags: u32 }
var<immediate> pd: Product;
struct Link { tiles: u32, cols: u32, mean: u32, accumulate: u32 }
var<immediate> li: Link;

@group(0) @binding(0) var<storage, read> index0: array<u32>;
@group(0) @binding(1) var<storage, read> index1: array<u32>;
@group(0) @binding(2) var<storage, read> index2: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> spans_out: array<vec4<u32>>;
@group(0) @binding(0) var<storage, read> a0: array<f32>;
@group(0) @binding(1) var<storage, read> a1: array<f32>;
@group(0) @binding(2) var<storage, read> a2: array<f32>;
@group(0) @binding(2) var<storage, read> index2_flat: array<u32>;
@group(0) @binding(3) var<storage, read> a3: array<f32>;
@group(0) @binding(3) var<storage, read> index3: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> a4: array<f32>;
@group(0) @binding(4) var<storage, read> index4: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y3: array<f32>;
@group(0) @binding(4) var<storage, read_write> y4: array<f32>;
@group(0) @binding(5) var<storage, read_write> y5: array<f32>;
@group(0) @binding(5) var<storage, read> index5: array<u32>;
@group(0) @binding(6) var<storage, read_write> y6: array<f32>;

@compute @workgroup_size(64)
fn graph_spans(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group_of(group, groups) * 64u + lane;
    if tile >= sp.tiles {
        return;
    }
    if sp.nodes != 0u {
        let first = tile * sp.nodes;
        spans_out[tile] = vec4(first * sp.nodes, first, first, sp.nodes);
        return;
    }
    let bag = index0[4u * tile];
    let first = index0[4u * tile + 1u];
    var pairs = 0u;
    for (var b = 0u; b < bag; b++) {
        let rows = index1[b + 1u] - index1[b];
        pairs += rows * rows;
    }
    let start = index1[bag];
    let rows = index1[bag + 1u] - start;
    spans_out[tile] = vec4(pairs + (first - start) * rows, first, start, rows);
}

// Rows of the tile of a span.
fn rows_of(span: vec4<u32>) -> u32 {
    return min(64u, span.z + span.w - span.y);
}

fn row_cols() -> u32 {
    return pr.cols;
}

fn own_value(row: u32, col: u32) -> f32 {
    return a0[row * pr.cols + col];
}

fn other_value(row: u32, col: u32) -> f32 {
    return a1[row * pr.cols + col];
}

// y3[pair (i, j)] = a0[i] with a1[j], after `kind`. Layers take turns at the others.
@compute @workgroup_size(64)
fn graph_pairs(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group_of(group, groups);
    if tile >= pr.tiles {
        return;
    }
    let span = index2[tile];
    let end = span.z + span.w;
    for (var j = OTHERS * group.z; j < span.w; j += OTHERS * groups.z) {
        let sums = block(pr.kind, lane, span.y, span.y + rows_of(span), span.z + j, end);
        if lane < rows_of(span) {
            for (var o = 0u; o < min(OTHERS, span.w - j); o++) {
                y3[span.x + lane * span.w + j + o] = sums[o];
            }
        }
    }
}

// y5[i] (+)= the sum over j of a2[pair] times the derivative of kind(a0[i], a1[j]) for a0[i]; a3 holds the distances.
// Layers are runs of 16 columns.
@compute @workgroup_size(64)
fn graph_pairs_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group_of(group, groups);
    if tile >= pr.tiles {
        return;
    }
    let span = index4[tile];
    let inside = lane < rows_of(span);
    let local = span.y - span.z + lane;
    let pairs = span.x - (span.y - span.z) * span.w;
    let first = 16u * group.z;
    let count = min(16u, pr.cols - first);
    var own: array<f32, 16>;
    var sums: array<f32, 16>;
    if inside {
        for (var c = 0u; c < count; c++) {
            own[c] = a0[(span.y + lane) * pr.cols + first + c];
        }
    }
    for (var j = 0u; j < span.w; j += OTHERS) {
        for (var i = lane; i < OTHERS * 16u; i += 64u) {
            let row = j + i / 16u;
            var value = 0.0;
            if row < span.w && i % 16u < count {
                value = a1[(span.z + row) * pr.cols + first + i % 16u];
            }
            other_tile[i / 16u][i % 16u] = value;
        }
        workgroupBarrier();
        if inside {
            for (var o = 0u; o < min(OTHERS, span.w - j); o++) {
                let at = pairs + select(local * span.w + j + o, (j + o) * span.w + local, (pr.flags & TRANSPOSED) != 0u);
                var factor = a2[at];
                if pr.kind == 1u {
                    factor *= 2.0;
                } else if pr.kind == 2u {
                    let distance = a3[at];
                    factor = select(0.0, factor / distance, distance > 0.0);
                }
                for (var c = 0u; c < 16u; c++) {
                    let b = other_tile[o][c];
                    let difference = own[c] - b;
                    sums[c] += factor * select(select(difference, sign(difference), pr.kind == 3u), b, pr.kind == 0u);
                }
            }
        }
        workgroupBarrier();
    }
    if inside {
        for (var c = 0u; c < count; c++) {
            let at = (span.y + lane) * pr.cols + first + c;
            y5[at] = select(sums[c], sums[c] + y5[at], (pr.flags & ADD_PAIRS) != 0u);
        }
    }
}

fn weight_at(at: u32, diagonal: bool) -> f32 {
    return select(a0[at], 1.0, diagonal && (pd.flags & SELF) != 0u);
}

// y3[i] = the sum over j of a0[i, j] a1[j], or their mean: over the sum of the weights, where that is above 1.
// y4[i] = 1, or 1 over that sum.
@compute @workgroup_size(64)
fn graph_product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group_of(group, groups);
    if tile >= pd.tiles {
        return;
    }
    let span = index2[tile];
    let inside = lane < rows_of(span);
    let local = span.y - span.z + lane;
    let first = 16u * group.z;
    let count = min(16u, pd.cols - first);
    var sums: array<f32, 16>;
    var total = 0.0;
    for (var j = 0u; j < span.w; j += OTHERS) {
        for (var i = lane; i < OTHERS * 16u; i += 64u) {
            let row = j + i / 16u;
            var value = 0.0;
            if row < span.w && i % 16u < count {
                value = a1[(span.z + row) * pd.cols + first + i % 16u];
            }
            other_tile[i / 16u][i % 16u] = value;
        }
        workgroupBarrier();
        if inside {
            for (var o = 0u; o < min(OTHERS, span.w - j); o++) {
                let weight = weight_at(span.x + lane * span.w + j + o, j + o == local);
                total += weight;
                for (var c = 0u; c < 16u; c++) {
                    sums[c] += weight * other_tile[o][c];
                }
            }
        }
        workgroupBarrier();
    }
    if !inside {
        return;
    }
    var share = 1.0;
    if (pd.flags & MEAN) != 0u {
        share = 1.0 / max(total, 1.0);
    }
    for (var c = 0u; c < count; c++) {
        y3[(span.y + lane) * pd.cols + first + c] = share * sums[c];
    }
    if group.z == 0u {
        y4[span.y + lane] = share;
    }
}

// y4[j] (+)= the sum over i of a0[i, j] a2[i] a1[i]: a1 the gradient of the product, a2 what it was divided by.
@compute @workgroup_size(64)
fn graph_product_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group_of(group, groups);
    if tile >= pd.tiles {
        return;
    }
    let span = index3[tile];
    let inside = lane < rows_of(span);
    let local = span.y - span.z + lane;
    let pairs = span.x - (span.y - span.z) * span.w;
    let first = 16u * group.z;
    let count = min(16u, pd.cols - first);
    var sums: array<f32, 16>;
    for (var j = 0u; j < span.w; j += OTHERS) {
        for (var i = lane; i < OTHERS * 16u; i += 64u) {
            let row = span.z + j + i / 16u;
            var value = 0.0;
            if j + i / 16u < span.w && i % 16u < count {
                value = a2[row] * a1[row * pd.cols + first + i % 16u];
            }
            other_tile[i / 16u][i % 16u] = value;
        }
        workgroupBarrier();
        if inside {
            for (var o = 0u; o < min(OTHERS, span.w - j); o++) {
                let weight = weight_at(pairs + (j + o) * span.w + local, j + o == local);
                for (var c = 0u; c < 16u; c++) {
                    sums[c] += weight * other_tile[o][c];
                }
            }
        }
        workgroupBarrier();
    }
    if inside {
        for (var c = 0u; c < count; c++) {
            let at = (span.y + lane) * pd.cols + first + c;
            y4[at] = select(sums[c], sums[c] + y4[at], (pd.flags & ADD) != 0u);
        }
    }
}

// y4[pair (i, j)] (+)= a2[i] (a0[pair] - a1[i]), the gradient of the weights: a0 the products of the gradient of row i
// with the values of row j, a1 that with row i of the result, which only counts where the weights' sum was above 1.
@compute @workgroup_size(64)
fn graph_weights_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group_of(group, groups);
    if tile >= pd.tiles {
        return;
    }
    let span = index3[tile];
    for (var i = lane; i < rows_of(span) * span.w; i += 64u) {
        let row = span.y + i / span.w;
        let own = (pd.flags & SELF) != 0u && row == span.z + i % span.w;
        let share = a2[row];
        let value = select(share * (a0[span.x + i] - select(0.0, a1[row], share < 1.0)), 0.0, own);
        let at = span.x + i;
        y4[at] = select(value, value + y4[at], (pd.flags & ADD) != 0u);
    }
}

// a0[pair] - a1[row] . a1[other].
fn rest_of(at: u32, row: u32, other: u32) -> f32 {
    var dot = 0.0;
    for (var c = 0u; c < li.cols; c++) {
        dot += a1[row * li.cols + c] * a1[other * li.cols + c];
    }
    return a0[at] - dot;
}

// y3[tile] = the sum over the tile's pairs of (a0 - a1 a1^T)^2.
@compute @workgroup_size(64)
fn link_part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group_of(group, groups);
    if tile >= li.tiles {
        return;
    }
    let span = index2[tile];
    var sum = 0.0;
    for (var i = lane; i < rows_of(span) * span.w; i += 64u) {
        let rest = rest_of(span.x + i, span.y + i / span.w, span.z + i % span.w);
        sum += rest * rest;
    }
    let all = sum_lanes(lane, sum);
    if lane == 0u {
        y3[tile] = all;
    }
}

// y3[bag] = the root of the sum of a0 over its tiles, over its pairs when `mean`. li.tiles counts bags here; index1
// holds the first tile of each bag, index2 its first row.
@compute @workgroup_size(64)
fn link_end(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let bag = group_of(group, groups) * 64u + lane;
    if bag >= li.tiles {
        return;
    }
    var sum = 0.0;
    for (var t = index1[bag]; t < index1[bag + 1u]; t++) {
        sum += a0[t];
    }
    let rows = f32(index2_flat[bag + 1u] - index2_flat[bag]);
    y3[bag] = sqrt(sum) / select(1.0, rows * rows, li.mean != 0u);
}

// What a pair's rest is multiplied by in gradients: that of the loss a2 of the tile's bag, by a3, over its root.
fn slope_of_tile(tile: u32, rows: u32) -> f32 {
    let bag = index5[4u * tile];
    let pairs = select(1.0, f32(rows) * f32(rows), li.mean != 0u);
    let norm = a2[bag] * pairs;
    return select(0.0, a3[bag] / (norm * pairs), norm > 0.0);
}

// y6[i] (+)= -slope times the sum over j of (rest_ij + rest_ji) a1[j]. Layers are runs of 16 columns.
@compute @workgroup_size(64)
fn link_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group_of(group, groups);
    if tile >= li.tiles {
        return;
    }
    let span = index4[tile];
    if lane >= rows_of(span) {
        return;
    }
    let row = span.y + lane;
    let local = row - span.z;
    let pairs = span.x - (span.y - span.z) * span.w;
    let first = 16u * group.z;
    let count = min(16u, li.cols - first);
    var sums: array<f32, 16>;
    for (var j = 0u; j < span.w; j++) {
        let other = span.z + j;
        let rest = rest_of(pairs + local * span.w + j, row, other) + rest_of(pairs + j * span.w + local, row, other);
        for (var c = 0u; c < count; c++) {
            sums[c] += rest * a1[other * li.cols + first + c];
        }
    }
    let slope = slope_of_tile(tile, span.w);
    for (var c = 0u; c < count; c++) {
        let at = row * li.cols + first + c;
        y6[at] = select(0.0, y6[at], li.accumulate != 0u) - slope * sums[c];
    }
}

// y6[pair] (+)= slope times its rest: the gradient of a0.
@compute @workgroup_size(64)
fn link_weights_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group_of(group, groups);
    if tile >= li.tiles {
        return;
    }
    let span = index4[tile];
    let slope = slope_of_tile(tile, span.w);
    for (var i = lane; i < rows_of(span) * span.w; i += 64u) {
        let at = span.x + i;
        let value = slope * rest_of(at, span.y + i / span.w, span.z + i % span.w);
        y6[at] = select(value, value + y6[at], li.accumulate != 0u);
    }
}
