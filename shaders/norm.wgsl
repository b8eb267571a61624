// Normalisation of runs of values: a row of a matrix, or one channel of one image. A workgroup handles one run.
#import common/grid
#import common/lanes

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> x1: array<f32>;
@group(0) @binding(1) var<storage, read_write> y1: array<f32>;
@group(0) @binding(2) var<storage, read> x2: array<f32>;
@group(0) @binding(2) var<storage, read_write> y2: array<f32>;
@group(0) @binding(3) var<storage, read> x3: array<f32>;
@group(0) @binding(3) var<storage, read_write> y3: array<f32>;
@group(0) @binding(4) var<storage, read_write> y4: array<f32>;

struct NormParams { rows: u32, cols: u32, eps: f32, affine: u32 }
var<immediate> no: NormParams;
struct NormGradParams { rows: u32, cols: u32, affine: u32, accumulate: u32 }
var<immediate> ng: NormGradParams;
struct UnitParams { rows: u32, cols: u32, eps: f32 }
var<immediate> un: UnitParams;
struct UnitGradParams { rows: u32, cols: u32, eps: f32, accumulate: u32 }
var<immediate> ug: UnitGradParams;

// y3 = (x - mean) / sqrt(variance + eps) (times x1 plus x2); y4[r] = mean, 1 / sqrt(variance + eps).
@compute @workgroup_size(64)
fn norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups);
    // A workgroup behind the end has nothing to do but takes part in the barriers.
    let cols = select(0u, no.cols, r < no.rows);
    let start = r * no.cols;
    var total = 0.0;
    for (var c = lane; c < cols; c += 64u) {
        total += x[start + c];
    }
    let mean = sum_lanes(lane, total) / f32(no.cols);
    var squares = 0.0;
    for (var c = lane; c < cols; c += 64u) {
        let d = x[start + c] - mean;
        squares += d * d;
    }
    let inverse = 1.0 / sqrt(sum_lanes(lane, squares) / f32(no.cols) + no.eps);
    for (var c = lane; c < cols; c += 64u) {
        var value = (x[start + c] - mean) * inverse;
        if no.affine != 0u {
            value = value * x1[c] + x2[c];
        }
        y3[start + c] = value;
    }
    if lane == 0u && r < no.rows {
        y4[2u * r] = mean;
        y4[2u * r + 1u] = inverse;
    }
}

// y4 (+)= the gradient of the input: x the input, x1 its mean and inverse deviation, x2 the gradient of the
// output, x3 the gain.
@compute @workgroup_size(64)
fn norm_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups);
    let cols = select(0u, ng.cols, r < ng.rows);
    let start = r * ng.cols;
    let at = min(r, ng.rows - 1u);
    let mean = x1[2u * at];
    let inverse = x1[2u * at + 1u];
    var sums = vec2(0.0);
    for (var c = lane; c < cols; c += 64u) {
        let g = x2[start + c] * gain_of(c);
        sums += vec2(g, g * (x[start + c] - mean) * inverse);
    }
    sums = sum_lanes2(lane, sums) / f32(ng.cols);
    for (var c = lane; c < cols; c += 64u) {
        let hat = (x[start + c] - mean) * inverse;
        var value = inverse * (x2[start + c] * gain_of(c) - sums.x - hat * sums.y);
        if ng.accumulate != 0u {
            value += y4[start + c];
        }
        y4[start + c] = value;
    }
}

fn gain_of(c: u32) -> f32 {
    if ng.affine != 0u {
        return x3[c];
    }
    return 1.0;
}

// y3 = x2 (x - mean) / deviation: what the gradient of the gain sums over the rows.
@compute @workgroup_size(64)
fn norm_hat(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= ng.rows * ng.cols {
        return;
    }
    let r = i / ng.cols;
    y3[i] = x2[i] * (x[i] - x1[2u * r]) * x1[2u * r + 1u];
}

// y1 = x / max(|x|, eps) row by row; y2[r] = |x|.
@compute @workgroup_size(64)
fn unit(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups);
    let cols = select(0u, un.cols, r < un.rows);
    let start = r * un.cols;
    var squares = 0.0;
    for (var c = lane; c < cols; c += 64u) {
        squares += x[start + c] * x[start + c];
    }
    let length = sqrt(sum_lanes(lane, squares));
    for (var c = lane; c < cols; c += 64u) {
        y1[start + c] = x[start + c] / max(length, un.eps);
    }
    if lane == 0u && r < un.rows {
        y2[r] = length;
    }
}

// y3 (+)= (x2 - x <x, x2>) / |input|; x the unit rows, x1 the lengths, x2 the gradient. Rows shorter than eps
// were divided by eps, a constant.
@compute @workgroup_size(64)
fn unit_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups);
    let cols = select(0u, ug.cols, r < ug.rows);
    let start = r * ug.cols;
    let length = x1[min(r, ug.rows - 1u)];
    var inner = 0.0;
    for (var c = lane; c < cols; c += 64u) {
        inner += x[start + c] * x2[start + c];
    }
    inner = sum_lanes(lane, inner) * select(0.0, 1.0, length > ug.eps);
    for (var c = lane; c < cols; c += 64u) {
        var value = (x2[start + c] - x[start + c] * inner) / max(length, ug.eps);
        if ug.accumulate != 0u {
            value += y3[start + c];
        }
        y3[start + c] = value;
    }
}
