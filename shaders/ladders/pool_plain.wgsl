// What follows the two products of gated attention pooling, a launch for each operation.
struct Sizes { n: u32, hidden: u32, inner: u32, line: u32 } // Rows of h are `line` numbers apart.
var<immediate> p: Sizes;

@group(0) @binding(0) var<storage, read_write> left: array<f32>;
@group(0) @binding(1) var<storage, read_write> right: array<f32>;
@group(0) @binding(2) var<storage, read> vector: array<f32>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@group(0) @binding(4) var<storage, read> h: array<f32>;
@group(0) @binding(5) var<storage, read_write> z: array<f32>;

fn place(id: vec3<u32>) -> u32 {
    return id.y * p.inner + id.x;
}
fn is_inside(id: vec3<u32>) -> bool {
    return id.x < p.inner && id.y < p.n;
}

@compute @workgroup_size(16, 16)
fn tanh_all(@builtin(global_invocation_id) id: vec3<u32>) {
    if is_inside(id) {
        left[place(id)] = tanh(left[place(id)]);
    }
}

@compute @workgroup_size(16, 16)
fn sigmoid_all(@builtin(global_invocation_id) id: vec3<u32>) {
    if is_inside(id) {
        right[place(id)] = 1.0 / (1.0 + exp(-right[place(id)]));
    }
}

@compute @workgroup_size(16, 16)
fn multiply(@builtin(global_invocation_id) id: vec3<u32>) {
    if is_inside(id) {
        left[place(id)] *= right[place(id)];
    }
}

// scores_i = <left_i, vector>.
@compute @workgroup_size(64)
fn score(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.n {
        return;
    }
    var sum = 0.0;
    for (var l = 0u; l < p.inner; l++) {
        sum += left[id.x * p.inner + l] * vector[l];
    }
    scores[id.x] = sum;
}

var<workgroup> shared_: array<f32, 256>;

// The softmax of all scores, in their place, by one workgroup.
@compute @workgroup_size(256)
fn softmax(@builtin(local_invocation_index) lane: u32) {
    var largest = scores[0];
    for (var i = lane; i < p.n; i += 256u) {
        largest = max(largest, scores[i]);
    }
    shared_[lane] = largest;
    workgroupBarrier();
    for (var i = 0u; i < 256u; i++) {
        largest = max(largest, shared_[i]);
    }
    workgroupBarrier();
    var own = 0.0;
    for (var i = lane; i < p.n; i += 256u) {
        let a = exp(scores[i] - largest);
        scores[i] = a;
        own += a;
    }
    shared_[lane] = own;
    workgroupBarrier();
    var total = 0.0;
    for (var i = 0u; i < 256u; i++) {
        total += shared_[i];
    }
    for (var i = lane; i < p.n; i += 256u) {
        scores[i] /= total;
    }
}

// z = the sum of scores_i h_i, a column for each invocation.
@compute @workgroup_size(64)
fn weighted_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.hidden {
        return;
    }
    var sum = 0.0;
    for (var i = 0u; i < p.n; i++) {
        sum += scores[i] * h[i * p.line + id.x];
    }
    z[id.x] = sum;
}
