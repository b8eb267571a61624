// Softmax attention in one launch, a row for each invocation: the largest energy, the sum of exponentials and the sum of
// values go along with the keys and are scaled down when a larger energy comes (online softmax). Nothing of N x N is stored.
struct Sizes { n: u32, d: u32, line: u32, scale: f32 }
var<immediate> p: Sizes;

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

const QUADS = ${QUADS}u; // of a row
const LOWEST = -3.0e38;

@compute @workgroup_size(64)
fn attend(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= p.n {
        return;
    }
    var own: array<vec4<f32>, QUADS>;
    var sums: array<vec4<f32>, QUADS>;
    for (var c = 0u; c < QUADS; c++) {
        own[c] = q[id.x * QUADS + c];
    }
    var largest = LOWEST;
    var total = 0.0;
    for (var j = 0u; j < p.n; j++) {
        var energy = 0.0;
        for (var c = 0u; c < QUADS; c++) {
            energy += dot(own[c], k[j * QUADS + c]);
        }
        energy *= p.scale;
        let now = max(largest, energy);
        let old = exp(largest - now);
        let a = exp(energy - now);
        total = total * old + a;
        for (var c = 0u; c < QUADS; c++) {
            sums[c] = sums[c] * old + a * v[j * QUADS + c];
        }
        largest = now;
    }
    for (var c = 0u; c < QUADS; c++) {
        out[id.x * QUADS + c] = sums[c] / total;
    }
}
