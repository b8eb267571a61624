// y = x w^T by tiles of 16 x 16 outputs: a workgroup brings 16 x 16 factors of each side into its memory, neighbours from
// neighbouring places, and each is used 16 times.
struct Sizes { m: u32, n: u32, k: u32, line: u32 }
var<immediate> p: Sizes;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

const LINE = 17u; // One more than a tile, so that what is written along k falls into other banks.
var<workgroup> xs: array<f32, 16 * LINE>;
var<workgroup> ws: array<f32, 16 * LINE>;

@compute @workgroup_size(16, 16)
fn product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) own: vec3<u32>,
) {
    let row = group.y * 16u + own.y;
    let col = group.x * 16u + own.x;
    // Beyond the last row that row is read again: nothing of it is stored.
    let from_x = min(row, p.m - 1u) * p.line;
    let from_w = min(group.x * 16u + own.y, p.n - 1u) * p.line;
    var sum = 0.0;
    for (var first = 0u; first < p.k; first += 16u) {
        let k = first + own.x;
        xs[own.x * LINE + own.y] = select(0.0, x[from_x + min(k, p.k - 1u)], k < p.k);
        ws[own.x * LINE + own.y] = select(0.0, w[from_w + min(k, p.k - 1u)], k < p.k);
        workgroupBarrier();
        for (var i = 0u; i < 16u; i++) {
            sum += xs[i * LINE + own.y] * ws[i * LINE + own.x];
        }
        workgroupBarrier();
    }
    if row < p.m && col < p.n {
        y[row * p.n + col] = sum;
    }
}
