// Softmax attention by blocks: a workgroup of 64 rows brings 16 keys and values into its memory, where all its rows read
// them, and a row scales what it has once for 16 keys.
struct Sizes { n: u32, d: u32, line: u32, scale: f32 }
var<immediate> p: Sizes;

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

const QUADS = ${QUADS}u; // of a row
const KEYS = 16u;
const LOWEST = -3.0e38;
var<workgroup> ks: array<vec4<f32>, KEYS * QUADS>;
var<workgroup> vs: array<vec4<f32>, KEYS * QUADS>;

@compute @workgroup_size(64)
fn attend(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = min(id.x, p.n - 1u);
    var own: array<vec4<f32>, QUADS>;
    var sums: array<vec4<f32>, QUADS>;
    for (var c = 0u; c < QUADS; c++) {
        own[c] = q[row * QUADS + c];
    }
    var largest = LOWEST;
    var total = 0.0;
    for (var first = 0u; first < p.n; first += KEYS) {
        let last = p.n * QUADS - 1u;
        for (var at = lane; at < KEYS * QUADS; at += 64u) {
            ks[at] = k[min(first * QUADS + at, last)];
            vs[at] = v[min(first * QUADS + at, last)];
        }
        workgroupBarrier();
        var energies: array<f32, KEYS>;
        var now = largest;
        for (var j = 0u; j < KEYS; j++) {
            var sum = 0.0;
            for (var c = 0u; c < QUADS; c++) {
                sum += dot(own[c], ks[j * QUADS + c]);
            }
            energies[j] = select(LOWEST, p.scale * sum, first + j < p.n);
            now = max(now, energies[j]);
        }
        let old = exp(largest - now);
        largest = now;
        total *= old;
        for (var c = 0u; c < QUADS; c++) {
            sums[c] *= old;
        }
        for (var j = 0u; j < KEYS; j++) {
            let a = exp(energies[j] - now);
            total += a;
            for (var c = 0u; c < QUADS; c++) {
                sums[c] += a * vs[j * QUADS + c];
            }
        }
        workgroupBarrier();
    }
    if id.x < p.n {
        for (var c = 0u; c < QUADS; c++) {
            out[id.x * QUADS + c] = sums[c] / total;
        }
    }
}
