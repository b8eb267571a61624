// Convolutions of tokens, each column for itself: along the sequence with one kernel for the columns of a head,
// and over the square of a bag with one kernel for each column. Nothing reaches over the end of a bag.
#import common/grid

// flags: 1 accumulate, 2 only the first token of each bag has a result (tiles are bags then), 4 the weights are 1.
// landmarks: results are late by the zeros that would make the tokens a multiple of so many; 0 for on time.
struct Sequence { tiles: u32, cols: u32, taps: u32, width: u32, flags: u32, landmarks: u32 }
var<immediate> se: Sequence;
// flags: 1 accumulate, 2 the transposed convolution, without bias.
struct Grid2 { tiles: u32, cols: u32, side: u32, flags: u32 }
var<immediate> gr: Grid2;
struct GridWeights { tiles: u32, cols: u32, side: u32, chunk: u32 }
var<immediate> gw: GridWeights;
struct Merge { channels: u32, side: u32 }
var<immediate> me: Merge;
struct Crop { channels: u32, side: u32, inner: u32, accumulate: u32 }
var<immediate> cr: Crop;

const ACCUMULATE = 1u;
const FIRST = 2u;
const FLIP = 2u;
const ONES = 4u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> offsets2: array<u32>;
@group(0) @binding(3) var<storage, read> offsets3: array<u32>;
@group(0) @binding(3) var<storage, read> tiles3: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> tiles4: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> out1: array<f32>;
@group(0) @binding(3) var<storage, read_write> out3: array<f32>;
@group(0) @binding(4) var<storage, read_write> out4: array<f32>;
@group(0) @binding(5) var<storage, read_write> out5: array<f32>;

// (bag, first row of the result, rows, first token) of a tile of results.
fn results_of(tile: u32) -> vec4<u32> {
    if (se.flags & FIRST) != 0u {
        return vec4(tile, tile, 1u, offsets2[tile]);
    }
    let t = tiles3[tile];
    return vec4(t.x, t.y, t.z, t.y);
}

// How late the results of a bag with so many tokens are.
fn delay_of(tokens: i32) -> i32 {
    let landmarks = i32(max(se.landmarks, 1u));
    return (landmarks - tokens % landmarks) % landmarks;
}

fn weight_of(at: u32) -> f32 {
    return select(y[at], 1.0, (se.flags & ONES) != 0u);
}

// out4[row] = the sum over t of y[head, t] x[token - delay + t - taps / 2].
@compute @workgroup_size(64)
fn sequence_conv(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, se.cols);
    if at.x >= se.tiles || at.y >= se.cols {
        return;
    }
    let tile = results_of(at.x);
    let start = i32(offsets2[tile.x]);
    let end = i32(offsets2[tile.x + 1u]);
    let weights = at.y / se.width * se.taps;
    for (var r = 0u; r < tile.z; r++) {
        let origin = i32(tile.w + r) - delay_of(end - start) - i32(se.taps / 2u);
        var sum = 0.0;
        for (var t = max(0, start - origin); t < min(i32(se.taps), end - origin); t++) {
            sum += weight_of(weights + u32(t)) * x[u32(origin + t) * se.cols + at.y];
        }
        out4[(tile.y + r) * se.cols + at.y] = sum;
    }
}

// out4[token] (+)= the sum over t of y[head, t] x[result of the token + delay - t + taps / 2], x the gradient.
@compute @workgroup_size(64)
fn sequence_back(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, se.cols);
    if at.x >= se.tiles || at.y >= se.cols {
        return;
    }
    let tile = tiles3[at.x];
    let bag = i32(offsets2[tile.x]);
    var start = bag;
    var results = i32(offsets2[tile.x + 1u]) - bag;
    let delay = delay_of(results);
    if (se.flags & FIRST) != 0u {
        start = i32(tile.x);
        results = 1;
    }
    let weights = at.y / se.width * se.taps;
    for (var r = tile.y; r < tile.y + tile.z; r++) {
        // Result number `last - t` of the bag is multiplied by weight t.
        let last = i32(r) - bag + delay + i32(se.taps / 2u);
        var sum = 0.0;
        for (var t = max(0, last - results + 1); t < min(i32(se.taps), last + 1); t++) {
            sum += weight_of(weights + u32(t)) * x[u32(start + last - t) * se.cols + at.y];
        }
        let o = r * se.cols + at.y;
        out4[o] = sum + select(0.0, out4[o], (se.flags & ACCUMULATE) != 0u);
    }
}

// out4[tile, head, t] = the sum over the rows of a tile and the columns of a head of y times the shifted x, y
// the gradient; an invocation has a weight.
@compute @workgroup_size(64)
fn sequence_weights(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let weights = se.cols / se.width * se.taps;
    let at = tile_and_column(group_of(group, groups), lane, weights);
    if at.x >= se.tiles || at.y >= weights {
        return;
    }
    let tile = results_of(at.x);
    let start = i32(offsets2[tile.x]);
    let end = i32(offsets2[tile.x + 1u]);
    let shift = i32(at.y % se.taps) - i32(se.taps / 2u) - delay_of(end - start);
    let first = at.y / se.taps * se.width;
    var sum = 0.0;
    for (var r = 0u; r < tile.z; r++) {
        let origin = i32(tile.w + r) + shift;
        if origin >= start && origin < end {
            let a = u32(origin) * se.cols + first;
            let b = (tile.y + r) * se.cols + first;
            for (var c = 0u; c < se.width; c++) {
                sum += x[a + c] * y[b + c];
            }
        }
    }
    out4[at.x * weights + at.y] = sum;
}

fn side_of(tokens: u32) -> u32 {
    return u32(round(sqrt(f32(tokens - 1u))));
}

// out5[token] (+)= z + the sum over the kernel y[column] of x around the token; the class token is copied.
@compute @workgroup_size(64)
fn grid_conv(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, gr.cols);
    if at.x >= gr.tiles || at.y >= gr.cols {
        return;
    }
    let tile = tiles4[at.x];
    let start = offsets3[tile.x];
    let length = i32(side_of(offsets3[tile.x + 1u] - start));
    let reach = i32(gr.side / 2u);
    let flip = (gr.flags & FLIP) != 0u;
    let kernel = at.y * gr.side * gr.side;
    for (var r = tile.y; r < tile.y + tile.z; r++) {
        let o = r * gr.cols + at.y;
        var sum = 0.0;
        if r == start {
            sum = x[o];
        } else {
            let row = i32(r - start - 1u) / length;
            let col = i32(r - start - 1u) % length;
            sum = select(z[at.y], 0.0, flip);
            for (var v = max(-reach, -row); v <= min(reach, length - 1 - row); v++) {
                for (var h = max(-reach, -col); h <= min(reach, length - 1 - col); h++) {
                    let origin = start + 1u + u32((row + v) * length + col + h);
                    let tap = select((reach + v) * i32(gr.side) + reach + h, (reach - v) * i32(gr.side) + reach - h, flip);
                    sum += y[kernel + u32(tap)] * x[origin * gr.cols + at.y];
                }
            }
        }
        out5[o] = sum + select(0.0, out5[o], (gr.flags & ACCUMULATE) != 0u);
    }
}

// Parts of the gradients of kernel (out4) and bias (out5) over `chunk` tiles each: x the input, y the gradient.
// A layer of the grid has a row of the kernel.
@compute @workgroup_size(64)
fn grid_weights(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(vec3(group.xy, 0u), groups), lane, gw.cols);
    if at.x * gw.chunk >= gw.tiles || at.y >= gw.cols {
        return;
    }
    let reach = i32(gw.side / 2u);
    let v = i32(group.z) - reach;
    var sums = array<f32, 7>();
    var bias = 0.0;
    for (var i = at.x * gw.chunk; i < min(gw.tiles, (at.x + 1u) * gw.chunk); i++) {
        let tile = tiles3[i];
        let start = offsets2[tile.x];
        let length = i32(side_of(offsets2[tile.x + 1u] - start));
        for (var r = max(tile.y, start + 1u); r < tile.y + tile.z; r++) {
            let row = i32(r - start - 1u) / length;
            let col = i32(r - start - 1u) % length;
            let g = y[r * gw.cols + at.y];
            bias += g;
            if row + v >= 0 && row + v < length {
                // As many rounds as there are sums, so that these are registers.
                for (var h = 0; h < 7; h++) {
                    let origin = col + h - reach;
                    if h < i32(gw.side) && origin >= 0 && origin < length {
                        sums[h] += g * x[(start + 1u + u32((row + v) * length + origin)) * gw.cols + at.y];
                    }
                }
            }
        }
    }
    let o = ((at.x * gw.cols + at.y) * gw.side + group.z) * gw.side;
    for (var h = 0u; h < 7u; h++) {
        if h < gw.side {
            out4[o + h] = sums[h];
        }
    }
    if group.z == 0u {
        out5[at.x * gw.cols + at.y] = bias;
    }
}

// Where entry i of a kernel of this side lies in one that is `inner` wide and centred; inner^2 outside of it.
fn inside(i: u32, side: u32, inner: u32) -> u32 {
    let edge = (side - inner) / 2u;
    let row = i / side - edge;
    let col = i % side - edge;
    return select(inner * inner, row * inner + col, row < inner && col < inner);
}

// out3 = one kernel in place of three, 2 entries narrower each, and of the identity.
@compute @workgroup_size(64)
fn merge_kernels(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    let area = me.side * me.side;
    if i >= me.channels * area {
        return;
    }
    let channel = i / area;
    var sum = x[i] + select(0.0, 1.0, i % area == area / 2u);
    let second = (me.side - 2u) * (me.side - 2u);
    let third = (me.side - 4u) * (me.side - 4u);
    let b = inside(i % area, me.side, me.side - 2u);
    let c = inside(i % area, me.side, me.side - 4u);
    if b < second {
        sum += y[channel * second + b];
    }
    if c < third {
        sum += z[channel * third + c];
    }
    out3[i] = sum;
}

// out1 (+)= the centre of the kernels x.
@compute @workgroup_size(64)
fn crop_kernels(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    let area = cr.inner * cr.inner;
    if i >= cr.channels * area {
        return;
    }
    let edge = (cr.side - cr.inner) / 2u;
    let at = (i / area * cr.side + i % area / cr.inner + edge) * cr.side + i % cr.inner + edge;
    out1[i] = x[at] + select(0.0, out1[i], cr.accumulate != 0u);
}
