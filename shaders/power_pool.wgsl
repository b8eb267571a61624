// Pools of probabilities with an exponent a class, which is learnt: the generalised mean
// (mean q^r)^(1/r) and power pooling sum q^(n+1) / sum q^n. Everything is computed from a = ln q.
// A workgroup handles 64 columns of one tile, or 64 (bag, column) pairs.
#import common/grid
#import common/activation
#import common/precise

struct Sizes { count: u32, cols: u32 }
var<immediate> s: Sizes;
const WANTED = 1u; // The gradient of the logits is wanted.
const ADD = 2u; // It is added to what is there.
struct Grad { count: u32, cols: u32, flags: u32 }
var<immediate> g: Grad;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> exponent: array<f32>;

// ln sigmoid(x).
fn ln_sigmoid(logit: f32) -> f32 {
    return -softplus(vec4(-logit)).x;
}

fn sigmoid_of(logit: f32) -> f32 {
    return safe_sigmoid(vec4(logit)).x;
}

// Where r |a - mean a| stays below this the mean of e^(r (a - mean a)) - 1 is taken, which keeps its digits
// for small r; beyond, that of e^(r (a - max a)).
const CENTRED = 5.0;

@group(0) @binding(1) var<storage, read> tiles1: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> parts2: array<vec4<f32>>;

// parts2[tile, c] = sum, smallest and largest a.
@compute @workgroup_size(64)
fn mean_stats_part(
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
    var sum = 0.0;
    var low = ln_sigmoid(x[tile.y * s.cols + at.y]);
    var high = low;
    for (var r = tile.y; r < end; r++) {
        let a = ln_sigmoid(x[r * s.cols + at.y]);
        sum += a;
        low = min(low, a);
        high = max(high, a);
    }
    parts2[at.x * s.cols + at.y] = vec4(sum, low, high, 0.0);
}

@group(0) @binding(0) var<storage, read> parts0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> bag_tiles1: array<u32>;
@group(0) @binding(2) var<storage, read> offsets2: array<u32>;
@group(0) @binding(3) var<storage, read_write> stats3: array<vec4<f32>>;

// stats3[bag, c] = mean a, largest distance from it, largest a.
@compute @workgroup_size(64)
fn mean_stats_end(
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
    let first = bag_tiles1[bag];
    var sum = 0.0;
    var low = parts0[first * s.cols + c].y;
    var high = parts0[first * s.cols + c].z;
    for (var t = first; t < bag_tiles1[bag + 1u]; t++) {
        let part = parts0[t * s.cols + c];
        sum += part.x;
        low = min(low, part.y);
        high = max(high, part.z);
    }
    let mean = sum / f32(offsets2[bag + 1u] - offsets2[bag]);
    stats3[i] = vec4(mean, max(high - mean, mean - low), high, 0.0);
}

@group(0) @binding(2) var<storage, read> stats2: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> tiles3: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> sums4: array<f32>;

// sums4[tile, c] = the sum of e^(r (a - mean a)) - 1, or of e^(r (a - max a)).
@compute @workgroup_size(64)
fn mean_part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, s.cols);
    if at.x >= s.count || at.y >= s.cols {
        return;
    }
    let tile = tiles3[at.x];
    let end = tile.y + tile.z;
    let stats = stats2[tile.x * s.cols + at.y];
    let power = exponent[at.y];
    let centred = power * stats.y <= CENTRED;
    var sum = 0.0;
    for (var r = tile.y; r < end; r++) {
        let a = ln_sigmoid(x[r * s.cols + at.y]);
        if centred {
            sum += expm1_of(power * (a - stats.x));
        } else {
            sum += exp(power * (a - stats.z));
        }
    }
    sums4[at.x * s.cols + at.y] = sum;
}

@group(0) @binding(0) var<storage, read> sums0: array<f32>;
@group(0) @binding(2) var<storage, read_write> stats2_out: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bag_tiles3: array<u32>;
@group(0) @binding(4) var<storage, read> offsets4: array<u32>;
@group(0) @binding(5) var<storage, read_write> out5: array<f32>;

// out5[bag, c] = ln of the generalised mean. The last of the statistics becomes the mean G of the centred
// terms, or this result, whichever backward needs.
@compute @workgroup_size(64)
fn mean_end(
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
    var sum = 0.0;
    for (var t = bag_tiles3[bag]; t < bag_tiles3[bag + 1u]; t++) {
        sum += sums0[t * s.cols + c];
    }
    let mean = sum / f32(offsets4[bag + 1u] - offsets4[bag]);
    let stats = stats2_out[i];
    let power = exponent[c];
    if power * stats.y <= CENTRED {
        out5[i] = stats.x + log1p_of(mean) / power;
        stats2_out[i].w = mean;
    } else {
        let value = stats.z + log(mean) / power;
        out5[i] = value;
        stats2_out[i].w = value;
    }
}

// (1 + t) ln(1 + t) - t, for t >= -1.
fn phi(t: f32) -> f32 {
    if abs(t) < 0.25 {
        return t * t * (0.5 + t * (-0.166666667 + t * (0.0833333333 + t * (-0.05 + t * (0.0333333333
            + t * (-0.0238095238 + t * (0.0178571429 - t * 0.0138888889)))))));
    }
    if t <= -1.0 {
        return 1.0;
    }
    return (1.0 + t) * log(1.0 + t) - t;
}

@group(0) @binding(3) var<storage, read> gradient: array<f32>;
@group(0) @binding(4) var<storage, read> tiles4: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> offsets5: array<u32>;
@group(0) @binding(6) var<storage, read_write> x_grad6: array<f32>;
@group(0) @binding(7) var<storage, read_write> parts7: array<f32>;

// x gets g w (1 - q) with w = (1 + t) / instances the share of a term of the mean; parts7[tile, c] = the
// tile's part of the exponent's gradient, g / (instances r^2) times the sum of phi(t).
@compute @workgroup_size(64)
fn mean_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, g.cols);
    if at.x >= g.count || at.y >= g.cols {
        return;
    }
    let tile = tiles4[at.x];
    let end = tile.y + tile.z;
    let i = tile.x * g.cols + at.y;
    let stats = stats2[i];
    let power = exponent[at.y];
    let share = gradient[i] / f32(offsets5[tile.x + 1u] - offsets5[tile.x]);
    let centred = power * stats.y <= CENTRED;
    var sum = 0.0;
    for (var r = tile.y; r < end; r++) {
        let o = r * g.cols + at.y;
        let logit = x[o];
        let a = ln_sigmoid(logit);
        var t = 0.0;
        if centred {
            t = (expm1_of(power * (a - stats.x)) - stats.w) / (1.0 + stats.w);
        } else {
            t = expm1_of(power * (a - stats.w));
        }
        sum += phi(t);
        if (g.flags & WANTED) != 0u {
            let old = select(0.0, x_grad6[o], (g.flags & ADD) != 0u);
            x_grad6[o] = old + share * (1.0 + t) * sigmoid_of(-logit);
        }
    }
    parts7[at.x * g.cols + at.y] = sum * share / (power * power);
}

@group(0) @binding(2) var<storage, read> tiles2: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> parts3: array<vec4<f32>>;

// parts3[tile, c] = largest a, and with e = e^(n (a - largest)) the sums of e, q e and (a - largest) e.
@compute @workgroup_size(64)
fn power_part(
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
    let power = exponent[at.y];
    var high = ln_sigmoid(x[tile.y * s.cols + at.y]);
    for (var r = tile.y + 1u; r < end; r++) {
        high = max(high, ln_sigmoid(x[r * s.cols + at.y]));
    }
    var sums = vec3(0.0);
    for (var r = tile.y; r < end; r++) {
        let logit = x[r * s.cols + at.y];
        let below = ln_sigmoid(logit) - high;
        sums += exp(power * below) * vec3(1.0, sigmoid_of(logit), below);
    }
    parts3[at.x * s.cols + at.y] = vec4(high, sums);
}

@group(0) @binding(2) var<storage, read> bag_tiles2: array<u32>;
@group(0) @binding(3) var<storage, read_write> out3: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats4: array<vec4<f32>>;

// out3[bag, c] = P; stats4 = (largest a, sum of e, P, mean of a under the weights).
@compute @workgroup_size(64)
fn power_end(
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
    let power = exponent[c];
    let first = bag_tiles2[bag];
    var high = parts0[first * s.cols + c].x;
    for (var t = first + 1u; t < bag_tiles2[bag + 1u]; t++) {
        high = max(high, parts0[t * s.cols + c].x);
    }
    var sums = vec3(0.0);
    for (var t = first; t < bag_tiles2[bag + 1u]; t++) {
        let part = parts0[t * s.cols + c];
        let below = part.x - high;
        sums += exp(power * below) * vec3(part.y, part.z, part.w + below * part.y);
    }
    let value = sums.y / sums.x;
    out3[i] = value;
    stats4[i] = vec4(high, sums.x, value, high + sums.z / sums.x);
}

@group(0) @binding(5) var<storage, read_write> x_grad5: array<f32>;
@group(0) @binding(6) var<storage, read_write> parts6: array<f32>;

// x gets g w (1 - q) ((n + 1) q - n P); parts6[tile, c] = the tile's part of the exponent's gradient, g times
// the covariance of q and a under the weights w.
@compute @workgroup_size(64)
fn power_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, g.cols);
    if at.x >= g.count || at.y >= g.cols {
        return;
    }
    let tile = tiles4[at.x];
    let end = tile.y + tile.z;
    let i = tile.x * g.cols + at.y;
    let stats = stats2[i];
    let power = exponent[at.y];
    var sum = 0.0;
    for (var r = tile.y; r < end; r++) {
        let o = r * g.cols + at.y;
        let logit = x[o];
        let a = ln_sigmoid(logit);
        let q = sigmoid_of(logit);
        let w = exp(power * (a - stats.x)) / stats.y * gradient[i];
        sum += w * (q - stats.z) * (a - stats.w);
        if (g.flags & WANTED) != 0u {
            let old = select(0.0, x_grad5[o], (g.flags & ADD) != 0u);
            x_grad5[o] = old + w * sigmoid_of(-logit) * (q + power * (q - stats.z));
        }
    }
    parts6[at.x * g.cols + at.y] = sum;
}
