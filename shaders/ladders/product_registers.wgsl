// y = x w^T by tiles of 64 x 64 outputs, 4 x 4 of them in the registers of each of 16 x 16 invocations: what is read from
// workgroup memory is used four times.
struct Sizes { m: u32, n: u32, k: u32, line: u32 }
var<immediate> p: Sizes;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

const LINE = 65u;
var<workgroup> xs: array<f32, 16 * LINE>;
var<workgroup> ws: array<f32, 16 * LINE>;

@compute @workgroup_size(16, 16)
fn product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) own: vec3<u32>,
) {
    let row = group.y * 64u;
    let col = group.x * 64u;
    var sums: array<array<f32, 4>, 4>;
    for (var first = 0u; first < p.k; first += 16u) {
        let k = first + own.x;
        for (var i = 0u; i < 4u; i++) {
            let line = own.y + 16u * i;
            let from_x = min(row + line, p.m - 1u) * p.line + min(k, p.k - 1u);
            let from_w = min(col + line, p.n - 1u) * p.line + min(k, p.k - 1u);
            xs[own.x * LINE + line] = select(0.0, x[from_x], k < p.k);
            ws[own.x * LINE + line] = select(0.0, w[from_w], k < p.k);
        }
        workgroupBarrier();
        for (var e = 0u; e < 16u; e++) {
            var b: array<f32, 4>;
            for (var j = 0u; j < 4u; j++) {
                b[j] = ws[e * LINE + own.x + 16u * j];
            }
            for (var i = 0u; i < 4u; i++) {
                let a = xs[e * LINE + own.y + 16u * i];
                for (var j = 0u; j < 4u; j++) {
                    sums[i][j] += a * b[j];
                }
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            let r = row + own.y + 16u * i;
            let c = col + own.x + 16u * j;
            if r < p.m && c < p.n {
                y[r * p.n + c] = sums[i][j];
            }
        }
    }
}
