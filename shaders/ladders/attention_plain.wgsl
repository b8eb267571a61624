// Softmax attention in three launches, with all N x N energies in memory between them. Rows of q, k, v and out are `line`
// numbers apart; beyond d they hold zeros.
struct Sizes { n: u32, d: u32, line: u32, scale: f32 }
var<immediate> p: Sizes;

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read_write> energies: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

// energies[i, j] = scale <q_i, k_j>.
@compute @workgroup_size(16, 16)
fn energy(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.n || id.y >= p.n {
        return;
    }
    var sum = 0.0;
    for (var c = 0u; c < p.d; c++) {
        sum += q[id.y * p.line + c] * k[id.x * p.line + c];
    }
    energies[id.y * p.n + id.x] = p.scale * sum;
}

// The softmax of each row, in its place.
@compute @workgroup_size(64)
fn softmax(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.n {
        return;
    }
    let row = id.x * p.n;
    var largest = energies[row];
    for (var j = 1u; j < p.n; j++) {
        largest = max(largest, energies[row + j]);
    }
    var total = 0.0;
    for (var j = 0u; j < p.n; j++) {
        let a = exp(energies[row + j] - largest);
        energies[row + j] = a;
        total += a;
    }
    for (var j = 0u; j < p.n; j++) {
        energies[row + j] /= total;
    }
}

// out_i = the sum over j of energies[i, j] v_j.
@compute @workgroup_size(16, 16)
fn values(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.d || id.y >= p.n {
        return;
    }
    var sum = 0.0;
    for (var j = 0u; j < p.n; j++) {
        sum += energies[id.y * p.n + j] * v[j * p.line + id.x];
    }
    out[id.y * p.line + id.x] = sum;
}
