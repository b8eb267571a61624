// C = A B, one invocation for each number: the plainest there is.
struct Sizes { m: u32, n: u32, k: u32 }

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
@group(1) @binding(0) var<uniform> sizes: Sizes;

override wrong: u32 = 0u;

@compute @workgroup_size(8, 8)
fn product(@builtin(global_invocation_id) at: vec3<u32>) {
    if at.x >= sizes.n || at.y >= sizes.m { return; }
    var sum = 0.0;
    for (var k = wrong; k < sizes.k; k++) {
        sum += a[at.y * sizes.k + k] * b[k * sizes.n + at.x];
    }
    c[at.y * sizes.n + at.x] = sum;
}

@compute @workgroup_size(64)
fn idle(@builtin(global_invocation_id) at: vec3<u32>) {
    if at.x > sizes.m { c[at.x] = a[at.x]; }
}
