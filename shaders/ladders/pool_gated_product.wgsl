// scores_i = <tanh(V h_i) sigmoid(U h_i), vector> without the products in memory: a workgroup holds 64 rows by 32 columns of
// both in registers, gates them where they are, and goes on to the next 32.
struct Sizes { n: u32, hidden: u32, inner: u32, line: u32 } // Rows of h and weights are `line` numbers apart.
var<immediate> p: Sizes;

@group(0) @binding(0) var<storage, read> h: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>; // V above U.
@group(0) @binding(2) var<storage, read> vector: array<f32>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;

const QUADS = 4u; // of the inner sum at a time
const LINE = QUADS + 1u;
var<workgroup> hs: array<vec4<f32>, 64 * LINE>;
var<workgroup> ws: array<vec4<f32>, 64 * LINE>; // 32 rows of V, 32 of U.
var<workgroup> parts: array<f32, 64 * 17>;

@compute @workgroup_size(16, 16)
fn score(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) own: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x * 64u;
    let quads = p.line / 4u;
    // What this invocation brings: one quad of one row of each side.
    let line = lane / QUADS;
    let from_h = min(row + line, p.n - 1u) * quads;
    var found: array<f32, 4>;
    for (var col = 0u; col < p.inner; col += 32u) {
        let of_w = min(col + line % 32u, p.inner - 1u) + select(0u, p.inner, line >= 32u);
        var sums: array<array<f32, 4>, 4>; // Of each row two columns of V and two of U.
        for (var first = 0u; first < quads; first += QUADS) {
            let quad = first + lane % QUADS;
            let at = min(quad, quads - 1u);
            hs[line * LINE + lane % QUADS] = select(vec4(0.0), h[from_h + at], quad < quads);
            ws[line * LINE + lane % QUADS] = select(vec4(0.0), weights[of_w * quads + at], quad < quads);
            workgroupBarrier();
            for (var e = 0u; e < QUADS; e++) {
                var b: array<vec4<f32>, 4>;
                for (var j = 0u; j < 4u; j++) {
                    b[j] = ws[(own.x + 16u * j) * LINE + e];
                }
                for (var i = 0u; i < 4u; i++) {
                    let a = hs[(own.y + 16u * i) * LINE + e];
                    for (var j = 0u; j < 4u; j++) {
                        sums[i][j] += dot(a, b[j]);
                    }
                }
            }
            workgroupBarrier();
        }
        for (var j = 0u; j < 2u; j++) {
            let l = col + own.x + 16u * j;
            let weight = select(0.0, vector[min(l, p.inner - 1u)], l < p.inner);
            for (var i = 0u; i < 4u; i++) {
                found[i] += weight * tanh(sums[i][j]) / (1.0 + exp(-sums[i][j + 2u]));
            }
        }
    }
    for (var i = 0u; i < 4u; i++) {
        parts[(own.y + 16u * i) * 17u + own.x] = found[i];
    }
    workgroupBarrier();
    if lane < 64u && row + lane < p.n {
        var total = 0.0;
        for (var i = 0u; i < 16u; i++) {
            total += parts[lane * 17u + i];
        }
        scores[row + lane] = total;
    }
}
