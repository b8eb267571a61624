// Reductions and softmax over bags, column by column. A tile is (bag, first row, rows, -); tiles never cross a
// bag. A workgroup handles 64 columns of one tile, or 64 (bag, column) pairs.
#import common/grid

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(0) var<storage, read> index0: array<u32>;
@group(0) @binding(1) var<storage, read> x1: array<f32>;
@group(0) @binding(1) var<storage, read> tiles1: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> table1: array<u32>;
@group(0) @binding(2) var<storage, read> x2: array<f32>;
@group(0) @binding(2) var<storage, read> tiles2: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> table2: array<u32>;
@group(0) @binding(2) var<storage, read_write> y2: array<f32>;
@group(0) @binding(3) var<storage, read> table3: array<u32>;
@group(0) @binding(3) var<storage, read> tiles3: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y3: array<f32>;
@group(0) @binding(3) var<storage, read_write> index3: array<u32>;
@group(0) @binding(4) var<storage, read> table4: array<u32>;
@group(0) @binding(4) var<storage, read_write> y4: array<f32>;
@group(0) @binding(4) var<storage, read_write> index4: array<u32>;
@group(0) @binding(5) var<storage, read_write> y5: array<f32>;

struct Sizes { count: u32, cols: u32 }
var<immediate> s: Sizes;
struct Flagged { count: u32, cols: u32, flag: u32 }
var<immediate> f: Flagged;
struct Grad { count: u32, cols: u32, mean: u32, accumulate: u32 }
var<immediate> gr: Grad;

// y2, index3 [tile, c] = the largest x of the tile and the row it is in; of equals the first.
@compute @workgroup_size(64)
fn max_part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, s.cols);
    if at.x >= s.count || at.y >= s.cols {
        return;
    }
    let tile = tiles1[at.x];
    let end = tile.y + tile.z;
    var best = tile.y;
    var largest = x[best * s.cols + at.y];
    for (var r = tile.y + 1u; r < end; r++) {
        let value = x[r * s.cols + at.y];
        if value > largest {
            largest = value;
            best = r;
        }
    }
    y2[at.x * s.cols + at.y] = largest;
    index3[at.x * s.cols + at.y] = best;
}

// y3, index4 [bag, c] = the largest of the bag's tiles (x) and its row (table1).
@compute @workgroup_size(64)
fn max_end(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= s.count * s.cols {
        return;
    }
    let bag = i / s.cols;
    let c = i % s.cols;
    var best = table2[bag] * s.cols + c;
    for (var t = table2[bag] + 1u; t < table2[bag + 1u]; t++) {
        if x[t * s.cols + c] > x[best] {
            best = t * s.cols + c;
        }
    }
    y3[i] = x[best];
    index4[i] = table1[best];
}

// y3[r, c] (+)= x1[bag, c] where index0[bag, c] is r, nothing elsewhere.
@compute @workgroup_size(64)
fn max_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, gr.cols);
    if at.x >= gr.count || at.y >= gr.cols {
        return;
    }
    let tile = tiles2[at.x];
    let end = tile.y + tile.z;
    let owner = index0[tile.x * gr.cols + at.y];
    let gradient = x1[tile.x * gr.cols + at.y];
    for (var r = tile.y; r < end; r++) {
        let o = r * gr.cols + at.y;
        let old = select(0.0, y3[o], gr.accumulate != 0u);
        y3[o] = old + select(0.0, gradient, r == owner);
    }
}

// y2[bag, c] = x[r, c], r the row of the bag and column in table1.
@compute @workgroup_size(64)
fn pick(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i < s.count * s.cols {
        y2[i] = x[table1[i] * s.cols + i % s.cols];
    }
}

// y3[tile, c] = the sum over the tile of x, or of x x1 with the flag.
@compute @workgroup_size(64)
fn sum_part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, f.cols);
    if at.x >= f.count || at.y >= f.cols {
        return;
    }
    let tile = tiles2[at.x];
    let end = tile.y + tile.z;
    var total = 0.0;
    for (var r = tile.y; r < end; r++) {
        let o = r * f.cols + at.y;
        total += x[o] * select(1.0, x1[o], f.flag != 0u);
    }
    y3[at.x * f.cols + at.y] = total;
}

// y3[bag, c] = the sum over the bag's tiles (x), divided by its instances with the flag.
@compute @workgroup_size(64)
fn sum_end(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= f.count * f.cols {
        return;
    }
    let bag = i / f.cols;
    let c = i % f.cols;
    var total = 0.0;
    for (var t = table1[bag]; t < table1[bag + 1u]; t++) {
        total += x[t * f.cols + c];
    }
    let rows = f32(table2[bag + 1u] - table2[bag]);
    y3[i] = total / select(1.0, rows, f.flag != 0u);
}

// y3[r, c] (+)= x[bag, c], divided by the bag's instances for a mean.
@compute @workgroup_size(64)
fn sum_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, gr.cols);
    if at.x >= gr.count || at.y >= gr.cols {
        return;
    }
    let tile = tiles1[at.x];
    let end = tile.y + tile.z;
    let rows = f32(table2[tile.x + 1u] - table2[tile.x]);
    let gradient = x[tile.x * gr.cols + at.y] / select(1.0, rows, gr.mean != 0u);
    for (var r = tile.y; r < end; r++) {
        let o = r * gr.cols + at.y;
        y3[o] = select(0.0, y3[o], gr.accumulate != 0u) + gradient;
    }
}

// y2 [tile, c] = the largest x of the tile, y3 = the sum of e^(x - largest).
@compute @workgroup_size(64)
fn lse_part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, s.cols);
    if at.x >= s.count || at.y >= s.cols {
        return;
    }
    let tile = tiles1[at.x];
    let end = tile.y + tile.z;
    var largest = x[tile.y * s.cols + at.y];
    for (var r = tile.y + 1u; r < end; r++) {
        largest = max(largest, x[r * s.cols + at.y]);
    }
    var total = 0.0;
    for (var r = tile.y; r < end; r++) {
        total += exp(x[r * s.cols + at.y] - largest);
    }
    y2[at.x * s.cols + at.y] = largest;
    y3[at.x * s.cols + at.y] = total;
}

// y4[bag, c] = ln of the sum of e^x from the tiles' largest (x) and sums (x1); of the mean with the flag.
@compute @workgroup_size(64)
fn lse_end(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= f.count * f.cols {
        return;
    }
    let bag = i / f.cols;
    let c = i % f.cols;
    var largest = x[table2[bag] * f.cols + c];
    for (var t = table2[bag] + 1u; t < table2[bag + 1u]; t++) {
        largest = max(largest, x[t * f.cols + c]);
    }
    var total = 0.0;
    for (var t = table2[bag]; t < table2[bag + 1u]; t++) {
        total += x1[t * f.cols + c] * exp(x[t * f.cols + c] - largest);
    }
    let rows = f32(table3[bag + 1u] - table3[bag]);
    y4[i] = largest + log(total / select(1.0, rows, f.flag != 0u));
}

// y5[r, c] (+)= x2[bag, c] e^(x - x1[bag, c]) / instances: the gradient of the log-mean-exp x1.
@compute @workgroup_size(64)
fn lse_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, gr.cols);
    if at.x >= gr.count || at.y >= gr.cols {
        return;
    }
    let tile = tiles3[at.x];
    let end = tile.y + tile.z;
    let i = tile.x * gr.cols + at.y;
    let gradient = x2[i] / f32(table4[tile.x + 1u] - table4[tile.x]);
    for (var r = tile.y; r < end; r++) {
        let o = r * gr.cols + at.y;
        y5[o] = select(0.0, y5[o], gr.accumulate != 0u) + gradient * exp(x[o] - x1[i]);
    }
}

// y3[r, c] = e^(x[r, c] - x1[bag, c]), x1 the log-sum-exp of the bag.
@compute @workgroup_size(64)
fn softmax(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, s.cols);
    if at.x >= s.count || at.y >= s.cols {
        return;
    }
    let tile = tiles2[at.x];
    let end = tile.y + tile.z;
    let lse = x1[tile.x * s.cols + at.y];
    for (var r = tile.y; r < end; r++) {
        let o = r * s.cols + at.y;
        y3[o] = exp(x[o] - lse);
    }
}

// y4[r, c] (+)= x (x1 - x2[bag, c]); x the softmax, x1 its gradient, x2 their inner product.
@compute @workgroup_size(64)
fn softmax_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, f.cols);
    if at.x >= f.count || at.y >= f.cols {
        return;
    }
    let tile = tiles3[at.x];
    let end = tile.y + tile.z;
    let inner = x2[tile.x * f.cols + at.y];
    for (var r = tile.y; r < end; r++) {
        let o = r * f.cols + at.y;
        y4[o] = select(0.0, y4[o], f.flag != 0u) + x[o] * (x1[o] - inner);
    }
}
