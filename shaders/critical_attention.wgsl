// Attention of every instance to the critical one of its bag (DSMIL, Li, Li, Eliceiri 2021), for each class:
// e_nc = scale q_n . q_m(c), softmax over the bag, weighted sum of v. One pass over tiles of at most 64 rows;
// the tiles are combined, and v and the scores get their gradients, by the kernels of attention_pool.
#import common/grid

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
struct Critical { bags: u32, inner: u32, classes: u32, scale: f32 }
var<immediate> cr: Critical;

@group(0) @binding(0) var<storage, read> q: array<V>;
@group(0) @binding(1) var<storage, read> v: array<V>;
@group(0) @binding(2) var<storage, read> critical: array<u32>;
@group(0) @binding(3) var<storage, read> tiles: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> scores: array<f32>;
@group(0) @binding(5) var<storage, read_write> parts: array<V>;
@group(0) @binding(6) var<storage, read_write> sums: array<vec2<f32>>;

var<workgroup> score_of: array<f32, 64>;
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
    if lane < tile.z {
        let start = critical[tile.x * p.classes + class_of] * inner;
        var sum = V(0.0);
        for (var l = 0u; l < inner; l++) {
            sum += q[row * inner + l] * q[start + l];
        }
        let score = total(sum) * p.scale;
        score_of[lane] = score;
        scores[row * p.classes + class_of] = score;
    }
    workgroupBarrier();
    var largest = score_of[0];
    for (var r = 1u; r < tile.z; r++) {
        largest = max(largest, score_of[r]);
    }
    if lane < tile.z {
        weight_of[lane] = exp(score_of[lane] - largest);
    }
    workgroupBarrier();
    if lane == 0u {
        var sum = 0.0;
        for (var r = 0u; r < tile.z; r++) {
            sum += weight_of[r];
        }
        sums[number] = vec2(largest, sum);
    }
    for (var c = lane; c < hidden; c += 64u) {
        var sum = V(0.0);
        for (var r = 0u; r < tile.z; r++) {
            sum += weight_of[r] * v[(tile.y + r) * hidden + c];
        }
        parts[number * hidden + c] = sum;
    }
}

@group(0) @binding(1) var<storage, read> critical1: array<u32>;
@group(0) @binding(2) var<storage, read> score_grad: array<f32>;
@group(0) @binding(4) var<storage, read_write> q_grad: array<V>;
@group(0) @binding(5) var<storage, read_write> q_parts: array<V>;

// q_n gets scale times the sum over classes of its score's gradient times q_m; q_parts[tile, c] = the tile's
// sum of gradient times q_n, which is what the critical instance gets for being compared with.
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
    let first = tile.x * g.classes;
    for (var l = lane; l < inner; l += 64u) {
        for (var r = 0u; r < tile.z; r++) {
            let row = tile.y + r;
            var sum = V(0.0);
            for (var c = 0u; c < g.classes; c++) {
                sum += score_grad[row * g.classes + c] * q[critical1[first + c] * inner + l];
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
@group(0) @binding(2) var<storage, read> bag_tiles: array<u32>;
@group(0) @binding(3) var<storage, read_write> q_grad3: array<V>;

// The second part of the critical rows' gradient. Classes may share a critical row: one invocation adds them
// all, one after the other.
@compute @workgroup_size(64)
fn critical_end(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let bag = group_of(group, groups);
    if bag >= cr.bags {
        return;
    }
    let inner = cr.inner / WIDTH;
    for (var l = lane; l < inner; l += 64u) {
        for (var c = 0u; c < cr.classes; c++) {
            var sum = V(0.0);
            for (var t = bag_tiles[bag]; t < bag_tiles[bag + 1u]; t++) {
                sum += q_parts_in[(t * cr.classes + c) * inner + l];
            }
            let o = critical1[bag * cr.classes + c] * inner + l;
            q_grad3[o] = q_grad3[o] + cr.scale * sum;
        }
    }
}
