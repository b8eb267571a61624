// Attention of every instance to the critical one of its bag (DSMIL, Li, Li, Eliceiri 2021), for each class:
// e_nc = scale q_n . k_bc with k_bc the critical instance's query, softmax over the bag, weighted sum of v. One
// pass over tiles of at most 64 rows; the tiles are combined, and v and the scores get their gradients, by the
// kernels of attention_pool.
#import common/grid
#import common/lanes

// Four columns at a time where the widths allow it.
#if VEC
alias V = vec4<f32>;
const WIDTH = 4u;
fn total(v: V) -> f32 { return dot(v, vec4(1.0)); }
#else
alias V = f32;
const WIDTH = 1u;
fn total(v: V) -> f32 { return v; }
#endif

struct Part { tiles: u32, hidden: u32, inner: u32, classes: u32, scale: f32 }
var<immediate> p: Part;
struct Grad { tiles: u32, inner: u32, classes: u32, scale: f32, accumulate: u32 }
var<immediate> g: Grad;
struct End { bags: u32, inner: u32, classes: u32, scale: f32, accumulate: u32 }
var<immediate> e: End;
struct Rows { bags: u32, inner: u32, classes: u32 }
var<immediate> r: Rows;

@group(0) @binding(0) var<storage, read> q: array<V>;
@group(0) @binding(1) var<storage, read> v: array<V>;
@group(0) @binding(2) var<storage, read> keys: array<V>;
@group(0) @binding(3) var<storage, read> tiles: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> scores: array<f32>;
@group(0) @binding(5) var<storage, read_write> parts: array<V>;
@group(0) @binding(6) var<storage, read_write> sums: array<vec2<f32>>;

var<workgroup> weight_of: array<f32, 64>;

// Scores of one tile and class, their largest, the sum of exponentials, and the weighted sum of v.
@compute @workgroup_size(64)
fn critical_part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    if number >= p.tiles * p.classes {
        return;
    }
    let class_of = number % p.classes;
    let tile = tiles[number / p.classes];
    let inner = p.inner / WIDTH;
    let hidden = p.hidden / WIDTH;
    let row = tile.y + lane;
    var score = LOWEST;
    if lane < tile.z {
        let start = (tile.x * p.classes + class_of) * inner;
        var sum = V(0.0);
        for (var l = 0u; l < inner; l++) {
            sum += q[row * inner + l] * keys[start + l];
        }
        score = total(sum) * p.scale;
        scores[row * p.classes + class_of] = score;
    }
    let largest = max_lanes(lane, score);
    let weight = select(0.0, exp(score - largest), lane < tile.z);
    weight_of[lane] = weight;
    // Waits for all weights, too.
    let total_weight = sum_lanes(lane, weight);
    if lane == 0u {
        sums[number] = vec2(largest, total_weight);
    }
    for (var c = lane; c < hidden; c += 64u) {
        var sum = V(0.0);
        for (var r = 0u; r < tile.z; r++) {
            sum += weight_of[r] * v[(tile.y + r) * hidden + c];
        }
        parts[number * hidden + c] = sum;
    }
}

@group(0) @binding(1) var<storage, read> keys1: array<V>;
@group(0) @binding(2) var<storage, read> score_grad: array<f32>;
@group(0) @binding(4) var<storage, read_write> q_grad: array<V>;
@group(0) @binding(5) var<storage, read_write> q_parts: array<V>;

// q_n gets scale times the sum over classes of its score's gradient times k_bc; q_parts[tile, c] = the tile's
// sum of gradient times q_n, which is what k_bc gets.
@compute @workgroup_size(64)
fn critical_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    if number >= g.tiles {
        return;
    }
    let tile = tiles[number];
    let inner = g.inner / WIDTH;
    let first = tile.x * g.classes * inner;
    for (var l = lane; l < inner; l += 64u) {
        for (var r = 0u; r < tile.z; r++) {
            let row = tile.y + r;
            var sum = V(0.0);
            for (var c = 0u; c < g.classes; c++) {
                sum += score_grad[row * g.classes + c] * keys1[first + c * inner + l];
            }
            let o = row * inner + l;
            q_grad[o] = g.scale * sum + select(V(0.0), q_grad[o], g.accumulate != 0u);
        }
        for (var c = 0u; c < g.classes; c++) {
            var sum = V(0.0);
            for (var r = 0u; r < tile.z; r++) {
                let row = tile.y + r;
                sum += score_grad[row * g.classes + c] * q[row * inner + l];
            }
            q_parts[(number * g.classes + c) * inner + l] = sum;
        }
    }
}

@group(0) @binding(0) var<storage, read> q_parts_in: array<V>;
@group(0) @binding(1) var<storage, read> bag_tiles: array<u32>;
@group(0) @binding(2) var<storage, read_write> keys_grad: array<V>;

// What the tiles of a bag have for k_bc.
@compute @workgroup_size(64)
fn critical_end(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let bag = group_of(group, groups);
    if bag >= e.bags {
        return;
    }
    let width = e.classes * e.inner / WIDTH;
    for (var l = lane; l < width; l += 64u) {
        var sum = V(0.0);
        for (var t = bag_tiles[bag]; t < bag_tiles[bag + 1u]; t++) {
            sum += q_parts_in[t * width + l];
        }
        let o = bag * width + l;
        keys_grad[o] = e.scale * sum + select(V(0.0), keys_grad[o], e.accumulate != 0u);
    }
}

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> critical: array<u32>;
@group(0) @binding(2) var<storage, read_write> picked: array<V>;

// The rows of the critical instances, those of a bag's classes side by side.
@compute @workgroup_size(64)
fn critical_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    if number >= r.bags * r.classes {
        return;
    }
    let inner = r.inner / WIDTH;
    let row = critical[number];
    for (var l = lane; l < inner; l += 64u) {
        picked[number * inner + l] = x[row * inner + l];
    }
}

@group(0) @binding(0) var<storage, read> picked_grad: array<V>;
@group(0) @binding(2) var<storage, read_write> x_grad: array<V>;

// Their gradient, added. Classes may share a critical row: one invocation adds them all, one after the other.
@compute @workgroup_size(64)
fn critical_rows_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let bag = group_of(group, groups);
    if bag >= r.bags {
        return;
    }
    let inner = r.inner / WIDTH;
    for (var l = lane; l < inner; l += 64u) {
        for (var c = 0u; c < r.classes; c++) {
            let number = bag * r.classes + c;
            let o = critical[number] * inner + l;
            x_grad[o] = x_grad[o] + picked_grad[number * inner + l];
        }
    }
}
