// y = x w^T, an output for each invocation, which reads all its factors from memory. Rows of x and w are `line` numbers
// apart; beyond k they hold zeros.
struct Sizes { m: u32, n: u32, k: u32, line: u32 }
var<immediate> p: Sizes;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(16, 16)
fn product(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.y >= p.m || id.x >= p.n {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < p.k; k++) {
        sum += x[id.y * p.line + k] * w[id.x * p.line + k];
    }
    y[id.y * p.n + id.x] = sum;
}
