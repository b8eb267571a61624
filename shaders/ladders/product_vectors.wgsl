// y = x w^T by tiles of 16 EACH x 16 EACH outputs, EACH x EACH of them in the registers of each of 16 x 16 invocations. Four
// numbers along k travel together, from memory to workgroup memory and from there to registers.
struct Sizes { m: u32, n: u32, k: u32, line: u32 }
var<immediate> p: Sizes;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

const EACH = ${EACH}u;
const QUADS = ${QUADS}u; // of k at a time
const SIDE = 16u * EACH;
const LINE = QUADS + 1u;
var<workgroup> xs: array<vec4<f32>, SIDE * LINE>;
var<workgroup> ws: array<vec4<f32>, SIDE * LINE>;

@compute @workgroup_size(16, 16)
fn product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) own: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.y * SIDE;
    let col = group.x * SIDE;
    let quads = p.line / 4u; // The numbers beyond k are zeros.
    var sums: array<array<f32, EACH>, EACH>;
    for (var first = 0u; first < quads; first += QUADS) {
        for (var at = lane; at < SIDE * QUADS; at += 256u) {
            let line = at / QUADS;
            let quad = first + at % QUADS;
            let from_x = min(row + line, p.m - 1u) * quads + min(quad, quads - 1u);
            let from_w = min(col + line, p.n - 1u) * quads + min(quad, quads - 1u);
            xs[line * LINE + at % QUADS] = select(vec4(0.0), x[from_x], quad < quads);
            ws[line * LINE + at % QUADS] = select(vec4(0.0), w[from_w], quad < quads);
        }
        workgroupBarrier();
        for (var e = 0u; e < QUADS; e++) {
            var b: array<vec4<f32>, EACH>;
            for (var j = 0u; j < EACH; j++) {
                b[j] = ws[(own.x + 16u * j) * LINE + e];
            }
            for (var i = 0u; i < EACH; i++) {
                let a = xs[(own.y + 16u * i) * LINE + e];
                for (var j = 0u; j < EACH; j++) {
                    sums[i][j] += dot(a, b[j]);
                }
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < EACH; i++) {
        for (var j = 0u; j < EACH; j++) {
            let r = row + own.y + 16u * i;
            let c = col + own.x + 16u * j;
            if r < p.m && c < p.n {
                y[r * p.n + c] = sums[i][j];
            }
        }
    }
}
