// One weight for each row: rows scaled by it, and the sum or mean of the scaled rows over a bag.
#import common/grid

struct Scale { rows: u32, cols: u32, accumulate: u32, one: u32 }
var<immediate> s: Scale;
struct Dot { rows: u32, cols: u32, accumulate: u32 }
var<immediate> d: Dot;
struct Part { tiles: u32, cols: u32 }
var<immediate> p: Part;
// flags: 1 the gradient of x is wanted, 2 and added to, 4 that of the weight is wanted, 8 and added to,
// 16 the bag's value is a mean.
const WANTED = 1u; // The gradient of x is wanted,
const ADD = 2u; // and added to what is there;
const WEIGHT_WANTED = 4u; // that of the weights is wanted,
const WEIGHT_ADD = 8u; // and added to what is there.
const MEAN = 16u; // A mean instead of a sum.
struct Grad { tiles: u32, cols: u32, flags: u32 }
var<immediate> g: Grad;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(1) var<storage, read> y1: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// out[r, c] (+)= x[r, c] weight[r], or weight[0] where `one` number is for all rows.
@compute @workgroup_size(64)
fn scale_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i < s.rows * s.cols {
        let weight = weight[select(i / s.cols, 0u, s.one != 0u)];
        out[i] = x[i] * weight + select(0.0, out[i], s.accumulate != 0u);
    }
}

// out[r] (+)= x[r] . y1[r].
@compute @workgroup_size(64)
fn row_dot(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= d.rows {
        return;
    }
    var sum = 0.0;
    for (var c = 0u; c < d.cols; c++) {
        sum += x[r * d.cols + c] * y1[r * d.cols + c];
    }
    out[r] = sum + select(0.0, out[r], d.accumulate != 0u);
}

@group(0) @binding(2) var<storage, read> tiles: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> parts: array<f32>;

// parts[tile, c] = the sum over the tile of x[r, c] weight[r].
@compute @workgroup_size(64)
fn weighted_part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    if number >= p.tiles {
        return;
    }
    let tile = tiles[number];
    let end = tile.y + tile.z;
    for (var c = lane; c < p.cols; c += 64u) {
        var sum = 0.0;
        for (var r = tile.y; r < end; r++) {
            sum += x[r * p.cols + c] * weight[r];
        }
        parts[number * p.cols + c] = sum;
    }
}

@group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read> tiles3: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> offsets: array<u32>;
@group(0) @binding(5) var<storage, read_write> x_grad: array<f32>;
@group(0) @binding(6) var<storage, read_write> weight_grad: array<f32>;

// With d the bag's gradient (divided by its instances for a mean): x gets weight d, the weight gets x . d.
@compute @workgroup_size(64)
fn weighted_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    if number >= g.tiles {
        return;
    }
    let tile = tiles3[number];
    let end = tile.y + tile.z;
    let start = tile.x * g.cols;
    let instances = f32(offsets[tile.x + 1u] - offsets[tile.x]);
    let share = select(1.0, 1.0 / instances, (g.flags & MEAN) != 0u);
    if (g.flags & WANTED) != 0u {
        let add = (g.flags & ADD) != 0u;
        for (var c = lane; c < g.cols; c += 64u) {
            let d = gradient[start + c] * share;
            for (var r = tile.y; r < end; r++) {
                let o = r * g.cols + c;
                x_grad[o] = weight[r] * d + select(0.0, x_grad[o], add);
            }
        }
    }
    if (g.flags & WEIGHT_WANTED) != 0u && lane < tile.z {
        let r = tile.y + lane;
        var sum = 0.0;
        for (var c = 0u; c < g.cols; c++) {
            sum += x[r * g.cols + c] * gradient[start + c];
        }
        weight_grad[r] = sum * share + select(0.0, weight_grad[r], (g.flags & WEIGHT_ADD) != 0u);
    }
}
