// Distances, or products, of 64 own rows and 16 other rows at a time: a lane holds one own row against all 16. The
// file that imports this says how long rows are and where their values come from: row_cols(), own_value(row, col),
// other_value(row, col). kind: 0 product, 1 squared distance, 2 distance, 3 sum of absolute differences.

const OTHERS = 16u;
const DEPTH = 16u;
var<workgroup> own_tile: array<array<f32, 17>, 64>;
var<workgroup> other_tile: array<array<f32, 16>, 16>;

// Rows own .. own_end against others other .. other_end; this lane's own row is own + lane. All lanes call it.
fn block(kind: u32, lane: u32, own: u32, own_end: u32, other: u32, other_end: u32) -> array<f32, 16> {
    var sums: array<f32, 16>;
    for (var start = 0u; start < row_cols(); start += DEPTH) {
        for (var i = lane; i < 64u * DEPTH; i += 64u) {
            let row = own + i / DEPTH;
            let col = start + i % DEPTH;
            var value = 0.0;
            if row < own_end && col < row_cols() {
                value = own_value(row, col);
            }
            own_tile[i / DEPTH][i % DEPTH] = value;
        }
        for (var i = lane; i < OTHERS * DEPTH; i += 64u) {
            let row = other + i / DEPTH;
            let col = start + i % DEPTH;
            var value = 0.0;
            if row < other_end && col < row_cols() {
                value = other_value(row, col);
            }
            other_tile[i / DEPTH][i % DEPTH] = value;
        }
        workgroupBarrier();
        for (var d = 0u; d < DEPTH; d++) {
            let a = own_tile[lane][d];
            for (var o = 0u; o < OTHERS; o++) {
                let b = other_tile[o][d];
                let difference = a - b;
                sums[o] += select(select(difference * difference, abs(difference), kind == 3u), a * b, kind == 0u);
            }
        }
        workgroupBarrier();
    }
    if kind == 2u {
        for (var o = 0u; o < OTHERS; o++) {
            sums[o] = sqrt(sums[o]);
        }
    }
    return sums;
}
