// Dynamic routing of a bag's instances to a capsule (Yan and others 2018): the squashed row, and the agreement
// of each instance with its bag's row. Softmax and weighted sum of a round are kernels of their own.
#import common/grid

struct Rows { rows: u32, cols: u32 }
var<immediate> s: Rows;
// flags: 1 a gradient of the row, 2 one of the length, 4 add.
const OF_ROW = 1u; // The rows have a gradient.
const OF_LENGTH = 2u; // Their lengths have one.
const ADD = 4u; // The result is added to what is there.
struct RowsGrad { rows: u32, cols: u32, flags: u32 }
var<immediate> sg: RowsGrad;
struct Agree { tiles: u32, cols: u32, accumulate: u32 }
var<immediate> a: Agree;

@group(0) @binding(0) var<storage, read> x0: array<f32>;
@group(0) @binding(1) var<storage, read> x1: array<f32>;
@group(0) @binding(1) var<storage, read_write> y1: array<f32>;
@group(0) @binding(2) var<storage, read> x2: array<f32>;
@group(0) @binding(2) var<storage, read> tiles2: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y2: array<f32>;
@group(0) @binding(3) var<storage, read_write> y3: array<f32>;

fn squared_length(r: u32, cols: u32) -> f32 {
    var sum = 0.0;
    for (var c = 0u; c < cols; c++) {
        sum += x0[r * cols + c] * x0[r * cols + c];
    }
    return sum;
}

// y1 = s |s| / (1 + |s|^2), y2 = its length |s|^2 / (1 + |s|^2).
@compute @workgroup_size(64)
fn squash(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= s.rows {
        return;
    }
    let square = squared_length(r, s.cols);
    let factor = sqrt(square) / (1.0 + square);
    for (var c = 0u; c < s.cols; c++) {
        y1[r * s.cols + c] = factor * x0[r * s.cols + c];
    }
    y2[r] = square / (1.0 + square);
}

// y3 (+)= the gradient of s (x0) from those of the row (x1) and the length (x2).
@compute @workgroup_size(64)
fn squash_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= sg.rows {
        return;
    }
    let square = squared_length(r, sg.cols);
    let length = sqrt(square);
    let more = 1.0 + square;
    let of_row = (sg.flags & OF_ROW) != 0u;
    var along = 0.0;
    if of_row && length > 0.0 {
        for (var c = 0u; c < sg.cols; c++) {
            along += x0[r * sg.cols + c] * x1[r * sg.cols + c];
        }
        along *= (1.0 - square) / (length * more * more);
    }
    if (sg.flags & OF_LENGTH) != 0u {
        along += 2.0 * x2[r] / (more * more);
    }
    for (var c = 0u; c < sg.cols; c++) {
        let o = r * sg.cols + c;
        var value = along * x0[o];
        if of_row {
            value += length / more * x1[o];
        }
        if (sg.flags & ADD) != 0u {
            value += y3[o];
        }
        y3[o] = value;
    }
}

// y3[n] = x0[n] . x1[bag of n].
@compute @workgroup_size(64)
fn bag_dot(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    if number >= a.tiles {
        return;
    }
    let tile = tiles2[number];
    if lane >= tile.z {
        return;
    }
    let r = tile.y + lane;
    var sum = 0.0;
    for (var c = 0u; c < a.cols; c++) {
        sum += x0[r * a.cols + c] * x1[tile.x * a.cols + c];
    }
    y3[r] = sum;
}

// y3[n] (+)= x0[n] x1[bag of n], x0 one gradient for each instance.
@compute @workgroup_size(64)
fn bag_dot_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    if number >= a.tiles {
        return;
    }
    let tile = tiles2[number];
    for (var c = lane; c < a.cols; c += 64u) {
        let v = x1[tile.x * a.cols + c];
        for (var r = tile.y; r < tile.y + tile.z; r++) {
            let o = r * a.cols + c;
            y3[o] = x0[r] * v + select(0.0, y3[o], a.accumulate != 0u);
        }
    }
}
