// Pointwise kernels: an invocation handles four values. The last four may be partial; what lies behind the
// end stays as it was, because a buffer may be a segment of a larger one.
#import common/grid
#import common/activation
#import common/half

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(0) var<storage, read_write> y0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y1: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y2: array<vec4<f32>>;

struct ActivateParams { count: u32, kind: u32, slope: f32, accumulate: u32 }
var<immediate> act: ActivateParams;

struct LogitParams { count: u32, clip: f32, accumulate: u32 }
var<immediate> lo: LogitParams;

struct FillParams { count: u32, value: f32 }
var<immediate> fi: FillParams;

struct AddParams { count: u32, a: f32, b: f32 }
var<immediate> ad: AddParams;

struct AddToParams { count: u32, factor: f32, accumulate: u32 }
var<immediate> at: AddToParams;

struct MultiplyParams { count: u32, accumulate: u32 }
var<immediate> mu: MultiplyParams;

struct GeluParams { count: u32, accumulate: u32 }
var<immediate> ge: GeluParams;

struct AffineParams { count: u32, factor: f32, offset: f32 }
var<immediate> af: AffineParams;

struct UnpackParams { rows: u32, cols: u32, stride: u32 }
var<immediate> un: UnpackParams;
@group(0) @binding(1) var<storage, read_write> dense: array<f32>;

// The new values before the end, the old ones behind it.
fn tail(before: vec4<f32>, after: vec4<f32>, i: u32, count: u32) -> vec4<f32> {
    return select(before, after, vec4(0u, 1u, 2u, 3u) + i * 4u < vec4(count));
}

// y1 = f(x).
@compute @workgroup_size(64)
fn activate(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u < act.count {
        y1[i] = tail(y1[i], activation(act.kind, act.slope, x[i]), i, act.count);
    }
}

// y1 <- y1 f'(x), the derivative taken from the activation's output, bound as x.
@compute @workgroup_size(64)
fn activate_through(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u < act.count {
        y1[i] = tail(y1[i], y1[i] * slope_of(act.kind, act.slope, x[i]), i, act.count);
    }
}

// y2 (+)= g f'(x), the derivative taken from the activation's output, bound as x.
@compute @workgroup_size(64)
fn activate_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u < act.count {
        let r = g[i] * slope_of(act.kind, act.slope, x[i]);
        y2[i] = tail(y2[i], select(r, r + y2[i], act.accumulate != 0u), i, act.count);
    }
}

// y1 = x times the share of a standard normal below x.
@compute @workgroup_size(64)
fn gelu(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u < ge.count {
        y1[i] = tail(y1[i], x[i] * normal_share(x[i]), i, ge.count);
    }
}

// y2 (+)= g times its derivative, the share and x times the density.
@compute @workgroup_size(64)
fn gelu_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u < ge.count {
        let density = 0.39894228040 * exp(-0.5 * x[i] * x[i]);
        let r = g[i] * (normal_share(x[i]) + x[i] * density);
        y2[i] = tail(y2[i], select(r, r + y2[i], ge.accumulate != 0u), i, ge.count);
    }
}

// y1 = ln(x / (1 - x)), x clipped to [clip, 1 - clip].
@compute @workgroup_size(64)
fn logit(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u < lo.count {
        let q = clamp(x[i], vec4(lo.clip), vec4(1.0 - lo.clip));
        y1[i] = tail(y1[i], log(q / (1.0 - q)), i, lo.count);
    }
}

// y2 (+)= g / (x (1 - x)), nothing where x is clipped.
@compute @workgroup_size(64)
fn logit_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u < lo.count {
        let q = clamp(x[i], vec4(lo.clip), vec4(1.0 - lo.clip));
        let r = select(vec4(0.0), g[i] / (q * (1.0 - q)), q == x[i]);
        y2[i] = tail(y2[i], select(r, r + y2[i], lo.accumulate != 0u), i, lo.count);
    }
}

// y2 = a x + b g.
@compute @workgroup_size(64)
fn add_scaled(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u < ad.count {
        y2[i] = tail(y2[i], ad.a * x[i] + ad.b * g[i], i, ad.count);
    }
}

// y1 (+)= factor x.
@compute @workgroup_size(64)
fn add_to(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u < at.count {
        let r = at.factor * x[i];
        y1[i] = tail(y1[i], select(r, r + y1[i], at.accumulate != 0u), i, at.count);
    }
}

// y2 (+)= x g.
@compute @workgroup_size(64)
fn multiply(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u < mu.count {
        let r = x[i] * g[i];
        y2[i] = tail(y2[i], select(r, r + y2[i], mu.accumulate != 0u), i, mu.count);
    }
}

// y0 = value.
@compute @workgroup_size(64)
fn fill(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u < fi.count {
        y0[i] = tail(y0[i], vec4(fi.value), i, fi.count);
    }
}

// y0 = the larger of y0 and value.
@compute @workgroup_size(64)
fn raise(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u < fi.count {
        y0[i] = tail(y0[i], max(y0[i], vec4(fi.value)), i, fi.count);
    }
}

// Features in f16 or at a stride, as dense f32 rows.
@compute @workgroup_size(64)
fn unpack(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i < un.rows * un.cols {
        dense[i] = feature((i / un.cols) * un.stride + i % un.cols);
    }
}

// y1 = factor x + offset.
@compute @workgroup_size(64)
fn affine(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u < af.count {
        y1[i] = tail(y1[i], af.factor * x[i] + af.offset, i, af.count);
    }
}

// y1 = 1 where x < value, else 0.
@compute @workgroup_size(64)
fn below(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u < fi.count {
        y1[i] = tail(y1[i], select(vec4(0.0), vec4(1.0), x[i] < vec4(fi.value)), i, fi.count);
    }
}
