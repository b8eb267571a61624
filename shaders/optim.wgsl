// Optimisers over the flat parameter buffer: one dispatch for all parameters of a rule. Each run of 64 values
// belongs to one parameter; groups[run] is 2 * group, plus 1 for weight matrices.
//
// A group has two rows in its table: factor of the learning rate (0 freezes), factor of the decay (both as bits),
// number of the norm that the gradient is clipped by, 1 for groups of the second rule; then factors of the two
// corrections (bits), 1 where the group has no gradient in this step, and nothing.
#import common/grid

// flags: 1 scale by the clip factor, 2 decay biases too, 4 decoupled decay, 8 this is the second rule.
const CLIPPED = 1u; // Gradients are clipped.
const DECAY_ALL = 2u; // Decay acts on biases too.
const DECOUPLED = 4u; // Decay is not part of the gradient.
const SECOND = 8u; // The rule of the groups that are marked.
struct Adam {
    count: u32, flags: u32, rate: f32, beta1: f32, beta2: f32, epsilon: f32, decay: f32,
    correction1: f32, correction2: f32,
}
var<immediate> a: Adam;
struct Nesterov { count: u32, flags: u32, rate: f32, momentum: f32, decay: f32 }
var<immediate> n: Nesterov;
struct Lookahead { count: u32, mode: u32, alpha: f32 }
var<immediate> l: Lookahead;
struct Average { count: u32, weight: f32 }
var<immediate> e: Average;
struct Clip { limit: f32 }
var<immediate> c: Clip;
struct RunSquares { runs: u32 }
var<immediate> r: RunSquares;
struct NormFactor { runs: u32, norm: u32, limit: f32 }
var<immediate> f: NormFactor;

@group(0) @binding(0) var<storage, read_write> params: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> copy1: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> first: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> second: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> groups2: array<u32>;
@group(0) @binding(3) var<storage, read> groups3: array<u32>;
@group(0) @binding(3) var<storage, read> table3: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> groups4: array<u32>;
@group(0) @binding(4) var<storage, read> factor4: array<f32>;
@group(0) @binding(5) var<storage, read> factor5: array<f32>;
@group(0) @binding(5) var<storage, read> table5: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> table6: array<vec4<u32>>;

@group(0) @binding(0) var<storage, read> values_in: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> factor_out: array<f32>;

@group(0) @binding(0) var<storage, read> squares_in: array<f32>;
@group(0) @binding(1) var<storage, read> groups1: array<u32>;
@group(0) @binding(2) var<storage, read> table2: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> factors_out: array<f32>;

// Frozen, the other rule's, or without a gradient in this step.
fn skipped(row: vec4<u32>, more: vec4<u32>, flags: u32) -> bool {
    return bitcast<f32>(row.x) == 0.0 || row.w != u32((flags & SECOND) != 0u) || more.z != 0u;
}

// Factor of the decay: none on biases unless the flag says so.
fn decays(group: u32, row: vec4<u32>, flags: u32) -> f32 {
    return select(0.0, bitcast<f32>(row.y), (group & 1u) != 0u || (flags & DECAY_ALL) != 0u);
}

@compute @workgroup_size(64)
fn adam(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u >= a.count {
        return;
    }
    let own = groups4[i / 16u];
    let row = table6[own & ~1u];
    let more = table6[own | 1u];
    if skipped(row, more, a.flags) {
        return;
    }
    let rate = a.rate * bitcast<f32>(row.x);
    var g = grads[i];
    if (a.flags & CLIPPED) != 0u {
        g *= factor5[row.z];
    }
    let decay = a.decay * decays(own, row, a.flags);
    var p = params[i];
    if (a.flags & DECOUPLED) != 0u {
        p *= 1.0 - rate * decay;
    } else {
        g += decay * p;
    }
    let m = a.beta1 * first[i] + (1.0 - a.beta1) * g;
    let v = a.beta2 * second[i] + (1.0 - a.beta2) * g * g;
    first[i] = m;
    second[i] = v;
    let corrections = vec2(a.correction1, a.correction2) * bitcast<vec2<f32>>(more.xy);
    params[i] = p - rate / corrections.x * m / (sqrt(v / corrections.y) + a.epsilon);
}

// Rectified Adam. correction1 multiplies the rate (rectification and bias correction in one number);
// correction2 is 0 while the variance of the second moment is still too large to divide by it.
@compute @workgroup_size(64)
fn radam(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u >= a.count {
        return;
    }
    let own = groups4[i / 16u];
    let row = table6[own & ~1u];
    let more = table6[own | 1u];
    if skipped(row, more, a.flags) {
        return;
    }
    let rate = a.rate * bitcast<f32>(row.x);
    var g = grads[i];
    if (a.flags & CLIPPED) != 0u {
        g *= factor5[row.z];
    }
    let p = params[i] * (1.0 - rate * a.decay * decays(own, row, a.flags));
    let m = a.beta1 * first[i] + (1.0 - a.beta1) * g;
    let v = a.beta2 * second[i] + (1.0 - a.beta2) * g * g;
    first[i] = m;
    second[i] = v;
    let corrections = vec2(a.correction1, a.correction2) * bitcast<vec2<f32>>(more.xy);
    let step = rate * corrections.x;
    params[i] = p - select(step * m, step * m / (sqrt(v) + a.epsilon), corrections.y != 0.0);
}

@compute @workgroup_size(64)
fn nesterov(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u >= n.count {
        return;
    }
    let own = groups3[i / 16u];
    let row = table5[own & ~1u];
    if skipped(row, table5[own | 1u], n.flags) {
        return;
    }
    let rate = n.rate * bitcast<f32>(row.x);
    var g = grads[i];
    if (n.flags & CLIPPED) != 0u {
        g *= factor4[row.z];
    }
    g += n.decay * decays(own, row, n.flags) * params[i];
    let v = n.momentum * first[i] - rate * g;
    first[i] = v;
    params[i] += n.momentum * v - rate * g;
}

// Mode 0: nothing; 1: the slow copy is made; 2: the slow copy moves to the parameters and they to it.
@compute @workgroup_size(64)
fn lookahead(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if l.mode == 0u || i * 4u >= l.count {
        return;
    }
    // What does not learn, running statistics among it, has no slow copy to return to.
    if bitcast<f32>(table3[groups2[i / 16u] & ~1u].x) == 0.0 {
        return;
    }
    let fast = params[i];
    if l.mode == 1u {
        copy1[i] = fast;
        return;
    }
    let slow = copy1[i] + l.alpha * (fast - copy1[i]);
    copy1[i] = slow;
    params[i] = slow;
}

@compute @workgroup_size(64)
fn average(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u >= e.count {
        return;
    }
    copy1[i] += e.weight * (values_in[i] - copy1[i]);
}

// factor = min(1, limit / (norm + 1e-6)).
@compute @workgroup_size(1)
fn clip_factor() {
    factor_out[0] = min(1.0, c.limit / (sqrt(squares_in[0]) + 1e-6));
}

// Sum of the squares of each run of 64 values.
@compute @workgroup_size(64)
fn run_squares(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let run = group_of(group, groups) * 64u + lane;
    if run >= r.runs {
        return;
    }
    var sum = vec4(0.0);
    for (var i = run * 16u; i < run * 16u + 16u; i++) {
        sum += values_in[i] * values_in[i];
    }
    factor_out[run] = (sum.x + sum.y) + (sum.z + sum.w);
}

var<workgroup> partial: array<f32, 256>;

// Clip factor of one norm, over the runs of all groups that share it. The order of the sum is fixed.
@compute @workgroup_size(256)
fn norm_factor(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var run = lane; run < f.runs; run += 256u) {
        if table2[groups1[run] & ~1u].z == f.norm {
            sum += squares_in[run];
        }
    }
    partial[lane] = sum;
    for (var step = 128u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step {
            partial[lane] += partial[lane + step];
        }
    }
    if lane == 0u {
        factors_out[f.norm] = select(1.0, min(1.0, f.limit / (sqrt(partial[0]) + 1e-6)), f.limit > 0.0);
    }
}
