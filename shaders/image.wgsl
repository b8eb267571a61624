// Pools, padding and up-sampling of images, one a row, channel first. A "plane" is one channel of one image;
// every kernel treats all planes alike. An invocation computes one value; gradients gather, so nothing is
// written twice.
#import common/grid

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> index1: array<u32>;
@group(0) @binding(1) var<storage, read_write> y1: array<f32>;
@group(0) @binding(2) var<storage, read_write> y2: array<f32>;
@group(0) @binding(2) var<storage, read_write> index2: array<u32>;

// The large image is the one that is pooled.
struct PoolParams {
    planes: u32, large_h: u32, large_w: u32, small_h: u32, small_w: u32,
    kh: u32, kw: u32, stride: u32, pad_y: u32, pad_x: u32, accumulate: u32,
}
var<immediate> po: PoolParams;
struct MeanParams { planes: u32, positions: u32, accumulate: u32 }
var<immediate> me: MeanParams;
struct UpParams { planes: u32, height: u32, width: u32, factor: u32, accumulate: u32 }
var<immediate> up: UpParams;
struct PadParams {
    planes: u32, from_h: u32, from_w: u32, to_h: u32, to_w: u32, top: u32, left: u32, edge: u32, accumulate: u32,
}
var<immediate> pa: PadParams;

// y1 = the largest value of each window, index2 = its position in the plane; of equals the first. Outside of
// the plane there is nothing.
@compute @workgroup_size(64)
fn max_pool(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    let positions = po.small_h * po.small_w;
    if i >= po.planes * positions {
        return;
    }
    let start = i / positions * po.large_h * po.large_w;
    let oy = i % positions / po.small_w * po.stride;
    let ox = i % po.small_w * po.stride;
    let top = max(oy, po.pad_y) - po.pad_y;
    let left = max(ox, po.pad_x) - po.pad_x;
    let bottom = min(oy + po.kh - po.pad_y, po.large_h);
    let right = min(ox + po.kw - po.pad_x, po.large_w);
    var best = top * po.large_w + left;
    var largest = x[start + best];
    for (var iy = top; iy < bottom; iy++) {
        for (var ix = left; ix < right; ix++) {
            let value = x[start + iy * po.large_w + ix];
            if value > largest {
                largest = value;
                best = iy * po.large_w + ix;
            }
        }
    }
    y1[i] = largest;
    index2[i] = best;
}

// y2 (+)= the sum of x over the windows whose largest value is here (index1).
@compute @workgroup_size(64)
fn max_pool_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    let area = po.large_h * po.large_w;
    if i >= po.planes * area {
        return;
    }
    let here = i % area;
    let start = i / area * po.small_h * po.small_w;
    let iy = here / po.large_w + po.pad_y;
    let ix = here % po.large_w + po.pad_x;
    // Windows that cover this position.
    let top = (max(iy + 1u, po.kh) - po.kh + po.stride - 1u) / po.stride;
    let left = (max(ix + 1u, po.kw) - po.kw + po.stride - 1u) / po.stride;
    let bottom = min(iy / po.stride + 1u, po.small_h);
    let right = min(ix / po.stride + 1u, po.small_w);
    var total = 0.0;
    for (var oy = top; oy < bottom; oy++) {
        for (var ox = left; ox < right; ox++) {
            let o = start + oy * po.small_w + ox;
            if index1[o] == here {
                total += x[o];
            }
        }
    }
    if po.accumulate != 0u {
        total += y2[i];
    }
    y2[i] = total;
}

// y1[plane] = the mean of the plane.
@compute @workgroup_size(64)
fn plane_mean(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let plane = group_of(group, groups) * 64u + lane;
    if plane >= me.planes {
        return;
    }
    var total = 0.0;
    for (var i = 0u; i < me.positions; i++) {
        total += x[plane * me.positions + i];
    }
    y1[plane] = total / f32(me.positions);
}

// y1 (+)= x[plane] / positions.
@compute @workgroup_size(64)
fn plane_mean_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= me.planes * me.positions {
        return;
    }
    var value = x[i / me.positions] / f32(me.positions);
    if me.accumulate != 0u {
        value += y1[i];
    }
    y1[i] = value;
}

// y1 = every value of x, factor by factor times; height and width are those of x.
@compute @workgroup_size(64)
fn upsample(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    let area = up.height * up.width * up.factor * up.factor;
    if i >= up.planes * area {
        return;
    }
    let width = up.width * up.factor;
    let iy = i % area / width / up.factor;
    y1[i] = x[(i / area * up.height + iy) * up.width + i % width / up.factor];
}

// y1 (+)= the sum of the values of x that came from here.
@compute @workgroup_size(64)
fn upsample_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= up.planes * up.height * up.width {
        return;
    }
    let width = up.width * up.factor;
    let first = i / up.width * up.factor * width + i % up.width * up.factor;
    var total = 0.0;
    for (var dy = 0u; dy < up.factor; dy++) {
        for (var dx = 0u; dx < up.factor; dx++) {
            total += x[first + dy * width + dx];
        }
    }
    if up.accumulate != 0u {
        total += y1[i];
    }
    y1[i] = total;
}

// y1 = x with a border of zeros, or of its edge values.
@compute @workgroup_size(64)
fn pad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    let area = pa.to_h * pa.to_w;
    if i >= pa.planes * area {
        return;
    }
    let oy = i % area / pa.to_w;
    let ox = i % pa.to_w;
    let iy = min(max(oy, pa.top) - pa.top, pa.from_h - 1u);
    let ix = min(max(ox, pa.left) - pa.left, pa.from_w - 1u);
    let inside = iy + pa.top == oy && ix + pa.left == ox;
    var value = 0.0;
    if inside || pa.edge != 0u {
        value = x[(i / area * pa.from_h + iy) * pa.from_w + ix];
    }
    y1[i] = value;
}

// y1 (+)= the gradient of what came from here: of the value itself, and at an edge of its copies.
@compute @workgroup_size(64)
fn pad_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    let area = pa.from_h * pa.from_w;
    if i >= pa.planes * area {
        return;
    }
    let iy = i % area / pa.from_w;
    let ix = i % pa.from_w;
    let edge = pa.edge != 0u;
    let top = select(iy + pa.top, 0u, edge && iy == 0u);
    let left = select(ix + pa.left, 0u, edge && ix == 0u);
    let bottom = select(iy + pa.top + 1u, pa.to_h, edge && iy + 1u == pa.from_h);
    let right = select(ix + pa.left + 1u, pa.to_w, edge && ix + 1u == pa.from_w);
    var total = 0.0;
    for (var oy = top; oy < bottom; oy++) {
        for (var ox = left; ox < right; ox++) {
            total += x[(i / area * pa.to_h + oy) * pa.to_w + ox];
        }
    }
    if pa.accumulate != 0u {
        total += y1[i];
    }
    y1[i] = total;
}
