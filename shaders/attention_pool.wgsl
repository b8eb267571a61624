// Attention pooling over packed bags, plain and gated (Ilse et al. 2018): scores, softmax over the bag and
// weighted sum, as one pass over tiles of at most 64 rows and one combination for each bag.
//
// e_nk = w_k . u_n + b_k, u = tanh(pre) or tanh(left half of pre) sigmoid(right half).
#import common/grid
#import common/lanes
#import common/activation

// Four columns at a time where the widths allow it.
#if VEC
alias V = vec4<f32>;
const WIDTH = 4u;
fn total(v: V) -> f32 { return dot(v, vec4(1.0)); }
fn tanh_of(v: V) -> V { return safe_tanh(v); }
fn sigmoid_of(v: V) -> V { return safe_sigmoid(v); }
#else
alias V = f32;
const WIDTH = 1u;
fn total(v: V) -> f32 { return v; }
fn tanh_of(v: V) -> V { return safe_tanh(vec4(v)).x; }
fn sigmoid_of(v: V) -> V { return safe_sigmoid(vec4(v)).x; }
#endif

struct Part { tiles: u32, hidden: u32, inner: u32, heads: u32, gated: u32 }
var<immediate> p: Part;
struct End { bags: u32, hidden: u32, heads: u32 }
var<immediate> e: End;
// flags: 1 a gradient of the scores is there already, 2 the gradient of h is wanted, 4 and added to.
const OUTSIDE = 1u; // Scores have a gradient of their own, which is there.
const WANTED = 2u; // The gradient of the embeddings is wanted.
const ADD = 4u; // It is added to what is there.
struct Grad { tiles: u32, hidden: u32, heads: u32, flags: u32 }
var<immediate> g: Grad;
// flags: 1 the gradient of pre is wanted, 2 and added to.
const PRE_WANTED = 1u; // The gradient of the pre-activations is wanted.
const PRE_ADD = 2u; // It is added to what is there.
struct ScoreGrad { tiles: u32, inner: u32, heads: u32, gated: u32, flags: u32 }
var<immediate> sg: ScoreGrad;

@group(0) @binding(0) var<storage, read> pre: array<V>;
@group(0) @binding(1) var<storage, read> h: array<V>;
@group(0) @binding(2) var<storage, read> w: array<V>;
@group(0) @binding(3) var<storage, read> b: array<f32>;
@group(0) @binding(4) var<storage, read> tiles: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> scores: array<f32>;
@group(0) @binding(6) var<storage, read_write> parts: array<V>;
@group(0) @binding(7) var<storage, read_write> sums: array<vec2<f32>>;

var<workgroup> weight_of: array<f32, 64>;

// Scores of one tile and head, their largest, the sum of exponentials, and the weighted sum of h.
@compute @workgroup_size(64)
fn pool_part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    if number >= p.tiles * p.heads {
        return;
    }
    let head = number % p.heads;
    let tile = tiles[number / p.heads];
    let inner = p.inner / WIDTH;
    let hidden = p.hidden / WIDTH;
    let row = tile.y + lane;
    var score = LOWEST;
    if lane < tile.z {
        var sum = V(0.0);
        if p.gated != 0u {
            let start = row * 2u * inner;
            for (var l = 0u; l < inner; l++) {
                sum += w[head * inner + l] * tanh_of(pre[start + l]) * sigmoid_of(pre[start + inner + l]);
            }
        } else {
            for (var l = 0u; l < inner; l++) {
                sum += w[head * inner + l] * tanh_of(pre[row * inner + l]);
            }
        }
        score = total(sum) + b[head];
        scores[row * p.heads + head] = score;
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
            sum += weight_of[r] * h[(tile.y + r) * hidden + c];
        }
        parts[number * hidden + c] = sum;
    }
}

@group(0) @binding(0) var<storage, read> parts_in: array<V>;
@group(0) @binding(1) var<storage, read> sums_in: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> bag_tiles: array<u32>;
@group(0) @binding(3) var<storage, read_write> pooled: array<V>;
@group(0) @binding(4) var<storage, read_write> lse_out: array<f32>;

// The tiles of one bag and head, combined.
@compute @workgroup_size(64)
fn pool_end(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    if number >= e.bags * e.heads {
        return;
    }
    let bag = number / e.heads;
    let head = number % e.heads;
    let hidden = e.hidden / WIDTH;
    let first = bag_tiles[bag];
    let end = bag_tiles[bag + 1u];
    var largest = sums_in[first * e.heads + head].x;
    for (var t = first + 1u; t < end; t++) {
        largest = max(largest, sums_in[t * e.heads + head].x);
    }
    var sum = 0.0;
    for (var t = first; t < end; t++) {
        let part = sums_in[t * e.heads + head];
        sum += part.y * exp(part.x - largest);
    }
    if lane == 0u {
        lse_out[number] = largest + log(sum);
    }
    for (var c = lane; c < hidden; c += 64u) {
        var z = V(0.0);
        for (var t = first; t < end; t++) {
            let i = t * e.heads + head;
            z += parts_in[i * hidden + c] * exp(sums_in[i].x - largest);
        }
        pooled[number * hidden + c] = z / sum;
    }
}

@group(0) @binding(0) var<storage, read> h0: array<V>;
@group(0) @binding(1) var<storage, read> z1: array<V>;
@group(0) @binding(2) var<storage, read> dz: array<V>;
@group(0) @binding(3) var<storage, read> scores_in: array<f32>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> tiles5: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> score_grad: array<f32>;
@group(0) @binding(7) var<storage, read_write> h_grad: array<V>;

// With a = softmax of the scores and r_n = h_n . dz: the scores get a (r - z . dz), h gets a dz.
@compute @workgroup_size(64)
fn pool_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    if number >= g.tiles {
        return;
    }
    let tile = tiles5[number];
    let hidden = g.hidden / WIDTH;
    let row = tile.y + lane;
    for (var head = 0u; head < g.heads; head++) {
        let start = (tile.x * g.heads + head) * hidden;
        var part = V(0.0);
        for (var c = lane; c < hidden; c += 64u) {
            part += z1[start + c] * dz[start + c];
        }
        // Waits for those that read the weights of the head before, too.
        let inner = sum_lanes(lane, total(part));
        if lane < tile.z {
            var r = V(0.0);
            for (var c = 0u; c < hidden; c++) {
                r += h0[row * hidden + c] * dz[start + c];
            }
            let i = row * g.heads + head;
            let a = exp(scores_in[i] - lse[tile.x * g.heads + head]);
            weight_of[lane] = a;
            let gradient = a * (total(r) - inner);
            score_grad[i] = gradient + select(0.0, score_grad[i], (g.flags & OUTSIDE) != 0u);
        }
        workgroupBarrier();
        if (g.flags & WANTED) != 0u {
            let add = head > 0u || (g.flags & ADD) != 0u;
            for (var c = lane; c < hidden; c += 64u) {
                let d = dz[start + c];
                for (var r = 0u; r < tile.z; r++) {
                    let o = (tile.y + r) * hidden + c;
                    h_grad[o] = weight_of[r] * d + select(V(0.0), h_grad[o], add);
                }
            }
        }
    }
}

@group(0) @binding(1) var<storage, read> w1: array<V>;
@group(0) @binding(2) var<storage, read> score_grad_in: array<f32>;
@group(0) @binding(3) var<storage, read> tiles3: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> pre_grad: array<V>;
@group(0) @binding(5) var<storage, read_write> w_parts: array<V>;
@group(0) @binding(6) var<storage, read_write> b_parts: array<f32>;

// From the gradient of the scores to those of pre, and the tile's share of those of w and b.
@compute @workgroup_size(64)
fn score_back(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    if number >= sg.tiles {
        return;
    }
    let tile = tiles3[number];
    let inner = sg.inner / WIDTH;
    let gated = sg.gated != 0u;
    let stride = select(inner, 2u * inner, gated);
    let wanted = (sg.flags & PRE_WANTED) != 0u;
    let add = (sg.flags & PRE_ADD) != 0u;
    for (var l = lane; l < inner; l += 64u) {
        for (var head = 0u; head < sg.heads; head++) {
            var w_sum = V(0.0);
            for (var r = 0u; r < tile.z; r++) {
                let row = tile.y + r;
                let o = row * stride + l;
                let t = tanh_of(pre[o]);
                var s = V(1.0);
                if gated {
                    s = sigmoid_of(pre[o + inner]);
                }
                w_sum += score_grad_in[row * sg.heads + head] * t * s;
                // The first head's turn writes what comes back from all heads.
                if wanted && head == 0u {
                    var d = V(0.0);
                    for (var k = 0u; k < sg.heads; k++) {
                        d += score_grad_in[row * sg.heads + k] * w1[k * inner + l];
                    }
                    pre_grad[o] = d * s * (1.0 - t * t) + select(V(0.0), pre_grad[o], add);
                    if gated {
                        let o2 = o + inner;
                        pre_grad[o2] = d * t * s * (1.0 - s) + select(V(0.0), pre_grad[o2], add);
                    }
                }
            }
            w_parts[(number * sg.heads + head) * inner + l] = w_sum;
        }
    }
    for (var head = lane; head < sg.heads; head += 64u) {
        var sum = 0.0;
        for (var r = 0u; r < tile.z; r++) {
            sum += score_grad_in[(tile.y + r) * sg.heads + head];
        }
        b_parts[number * sg.heads + head] = sum;
    }
}
