// Optimisers over the flat parameter buffer: one dispatch for all parameters. Each run of 64 values belongs to
// one parameter; groups[run] is 1 for weight matrices and 0 for biases.
#import common/grid

// flags: 1 scale by the clip factor, 2 decay biases too, 4 decoupled decay.
struct Adam {
    count: u32, flags: u32, rate: f32, beta1: f32, beta2: f32, epsilon: f32, decay: f32,
    correction1: f32, correction2: f32,
}
var<immediate> a: Adam;
struct Nesterov { count: u32, flags: u32, rate: f32, momentum: f32, decay: f32 }
var<immediate> n: Nesterov;
struct Clip { limit: f32 }
var<immediate> c: Clip;

@group(0) @binding(0) var<storage, read_write> params: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> first: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> second: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> groups3: array<u32>;
@group(0) @binding(4) var<storage, read> groups4: array<u32>;
@group(0) @binding(4) var<storage, read> factor4: array<f32>;
@group(0) @binding(5) var<storage, read> factor5: array<f32>;

@group(0) @binding(0) var<storage, read> squares_in: array<f32>;
@group(0) @binding(1) var<storage, read_write> factor_out: array<f32>;

fn decays(group: u32, flags: u32) -> f32 {
    return select(0.0, 1.0, group != 0u || (flags & 2u) != 0u);
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
    var g = grads[i];
    if (a.flags & 1u) != 0u {
        g *= factor5[0];
    }
    let decay = a.decay * decays(groups4[i / 16u], a.flags);
    var p = params[i];
    if (a.flags & 4u) != 0u {
        p *= 1.0 - a.rate * decay;
    } else {
        g += decay * p;
    }
    let m = a.beta1 * first[i] + (1.0 - a.beta1) * g;
    let v = a.beta2 * second[i] + (1.0 - a.beta2) * g * g;
    first[i] = m;
    second[i] = v;
    params[i] = p - a.rate / a.correction1 * m / (sqrt(v / a.correction2) + a.epsilon);
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
    var g = grads[i];
    if (n.flags & 1u) != 0u {
        g *= factor4[0];
    }
    g += n.decay * decays(groups3[i / 16u], n.flags) * params[i];
    let v = n.momentum * first[i] - n.rate * g;
    first[i] = v;
    params[i] += n.momentum * v - n.rate * g;
}

// factor = min(1, limit / (norm + 1e-6)).
@compute @workgroup_size(1)
fn clip_factor() {
    factor_out[0] = min(1.0, c.limit / (sqrt(squares_in[0]) + 1e-6));
}
