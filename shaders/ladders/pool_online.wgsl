// Softmax and weighted sum in one pass over h: 64 rows a workgroup give their largest score, the sum of exponentials and the
// sum of h with these; a second launch puts the parts together.
struct Sizes { n: u32, hidden: u32, inner: u32, line: u32 } // Rows of h are `line` numbers apart.
var<immediate> p: Sizes;

@group(0) @binding(0) var<storage, read> scores: array<f32>;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<vec2<f32>>; // Largest score and sum of exponentials.
@group(0) @binding(4) var<storage, read_write> z: array<f32>;

var<workgroup> weights: array<f32, 64>;

@compute @workgroup_size(64)
fn pool_part(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * 64u;
    let count = min(64u, p.n - first);
    weights[lane] = scores[min(first + lane, p.n - 1u)];
    workgroupBarrier();
    var largest = weights[0];
    for (var i = 1u; i < count; i++) {
        largest = max(largest, weights[i]);
    }
    let own = exp(weights[lane] - largest);
    workgroupBarrier();
    weights[lane] = own;
    workgroupBarrier();
    if lane == 0u {
        var total = 0.0;
        for (var i = 0u; i < count; i++) {
            total += weights[i];
        }
        sums[group.x] = vec2(largest, total);
    }
    for (var c = lane; c < p.hidden; c += 64u) {
        var sum = 0.0;
        for (var i = 0u; i < count; i++) {
            sum += weights[i] * h[(first + i) * p.line + c];
        }
        parts[group.x * p.hidden + c] = sum;
    }
}

@compute @workgroup_size(64)
fn pool_end(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.hidden {
        return;
    }
    let count = (p.n + 63u) / 64u;
    var largest = sums[0].x;
    for (var i = 1u; i < count; i++) {
        largest = max(largest, sums[i].x);
    }
    var total = 0.0;
    var sum = 0.0;
    for (var i = 0u; i < count; i++) {
        let factor = exp(sums[i].x - largest);
        total += factor * sums[i].y;
        sum += factor * parts[i * p.hidden + id.x];
    }
    z[id.x] = sum / total;
}
