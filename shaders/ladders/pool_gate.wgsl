// scores_i = <tanh(left half of pre_i) sigmoid(right half), vector> in one launch, 16 rows a workgroup and 16 invocations a
// row.
struct Sizes { n: u32, hidden: u32, inner: u32, line: u32 }
var<immediate> p: Sizes;

@group(0) @binding(0) var<storage, read> pre: array<f32>;
@group(0) @binding(1) var<storage, read> vector: array<f32>;
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;

var<workgroup> parts: array<f32, 256>;

@compute @workgroup_size(16, 16)
fn score(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) own: vec3<u32>) {
    let start = min(id.y, p.n - 1u) * 2u * p.inner;
    var sum = 0.0;
    for (var l = own.x; l < p.inner; l += 16u) {
        sum += vector[l] * tanh(pre[start + l]) / (1.0 + exp(-pre[start + p.inner + l]));
    }
    parts[own.y * 16u + own.x] = sum;
    workgroupBarrier();
    if own.x == 0u && id.y < p.n {
        var total = 0.0;
        for (var i = 0u; i < 16u; i++) {
            total += parts[own.y * 16u + i];
        }
        scores[id.y] = total;
    }
}
