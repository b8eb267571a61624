// The end of a product whose inner sum was split: its parts are added in their order, and the way out is that of
// a product in one piece (common/product).
#import common/grid
#import common/activation
#import common/way_out

struct Params {
    m: u32, n: u32, ldc: u32,
    flags: u32,  // ADD, BIAS of common/way_out
    act: u32,    // as in common/activation
    slope: f32,
    count: u32,  // of parts
    stride: u32, // elements from one part to the next; a part is dense
}
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

// C[m, n] (+)= act(the sum of its parts + bias[n]).
@compute @workgroup_size(64)
fn add_parts(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= p.m * p.n {
        return;
    }
    let col = i % p.n;
    var sum = parts[i];
    for (var part = 1u; part < p.count; part++) {
        sum += parts[part * p.stride + i];
    }
    if (p.flags & BIAS) != 0u {
        sum += bias[col];
    }
    if p.act != 0u {
        sum = activation(p.act, p.slope, vec4(sum)).x;
    }
    let at = i / p.n * p.ldc + col;
    if (p.flags & ADD) != 0u {
        sum += c[at];
    }
    c[at] = sum;
}
