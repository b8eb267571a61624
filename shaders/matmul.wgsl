// C[M,N] (+)= act(op(A) op(B) + bias), f32 accumulation.
//
// REGISTER (CPU drivers): 8 invocations side by side hold ROWS x (8 * COLS vec4) outputs in
//   registers. Every A value is the same for the whole workgroup, nothing is shared through memory.
// otherwise (GPUs): SIDE x SIDE invocations, a tile of 4 SIDE x 4 SIDE in workgroup memory, SIDE of k at a time; TALL
//   doubles its rows, WIDE its columns: 4x4, 8x4, 4x8 or 8x8 outputs each.
//
// SUBGROUP8 (REGISTER only): invocations pass A around by shuffles; the subgroup must be of size 8.
// BY_ROW (SUBGROUP8 without A_T): four k are taken row by row of C, so that a sum is fetched and put back once for them;
//   with A_T it is always so.
// SINGLE (SUBGROUP8 with B_T): one k at a time instead of four: a quarter of the code to compile.
// SMALL (CPU drivers): four outputs for each of 64 invocations, and the flags tell what is transposed, so that one
//   pipeline serves the products that are not worth compiling tiles for.
#import common/product

#if SMALL

@compute @workgroup_size(64)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tiles_n = (p.n + 31u) / 32u;
    let tile = group.x + group.y * p.groups_x;
    let row = (tile / tiles_n) * 8u + lane / 8u;
    let col = (tile % tiles_n) * 32u + lane % 8u * 4u;
    if row >= p.m || col >= p.n { return; }
    let cols = min(vec4(col) + FOUR, vec4(p.n - 1u));
    let a_t = (p.flags & A_TURNED) != 0u;
    let b_t = (p.flags & B_TURNED) != 0u;
    let first_a = select(row * p.lda, row, a_t);
    let first_b = select(cols, cols * p.ldb, b_t);
    let step_a = select(1u, p.lda, a_t);
    let step_b = select(p.ldb, 1u, b_t);
    var sum = vec4(0.0);
    for (var k = 0u; k < p.k; k++) {
        let at = first_b + k * step_b;
        sum = fma(vec4(a1(first_a + k * step_a)), vec4(b1(at.x), b1(at.y), b1(at.z), b1(at.w)), sum);
    }
    store(0u, row, col, sum);
}

#else

#if REGISTER

const ROWS = ${ROWS}u; // a multiple of four (of eight with SUBGROUP8)
const COLS = ${COLS}u; // vec4 columns of one invocation
const LANES = 8u;
#if SUBGROUP8
const HELD = ROWS / 8u; // rows whose values of A an invocation loads: i, i + 8, ... of invocation i
#else
const HELD = ROWS;
#endif

// Sums are indexed by constants after unrolling, so they live in registers.
alias Sums = array<array<vec4<f32>, COLS>, ROWS>;
alias Line = array<vec4<f32>, COLS>;
var<workgroup> done: array<vec4<f32>, ROWS * COLS * LANES>;

// B[k, its columns].
fn b_line(k: u32, cols: array<u32, COLS>) -> Line {
    var line: Line;
    for (var j = 0u; j < COLS; j++) {
#if B_T
        let at = min(vec4(cols[j]) + FOUR, vec4(p.n - 1u)) * p.ldb + k;
        line[j] = vec4(b1(at.x), b1(at.y), b1(at.z), b1(at.w));
#else
        line[j] = b4(k * p.ldb, cols[j], p.n - 1u);
#endif
    }
    return line;
}

#if SUBGROUP8
// With A_T: quads of rows, and places along k that eight invocations have for them.
const QUADS = ROWS / 4u;
const PLACES = min(8u / QUADS, 4u);

// B at four k, the last of them at most `last`.
fn four_lines(k: u32, last: u32, cols: array<u32, COLS>) -> array<Line, 4> {
    var lines: array<Line, 4>;
    for (var e = 0u; e < 4u; e++) { lines[e] = b_line(min(k + e, last), cols); }
    return lines;
}

fn add_four(v: vec4<f32>, lines: array<Line, 4>, j: u32, sum: vec4<f32>) -> vec4<f32> {
    var all = sum;
    for (var e = 0u; e < 4u; e++) { all = fma(vec4(v[e]), lines[e][j], all); }
    return all;
}
#endif

@compute @workgroup_size(LANES)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let wide = LANES * 4u * COLS;
    let tiles_n = (p.n + wide - 1u) / wide;
    let tiles_m = (p.m + ROWS - 1u) / ROWS;
    let tile = group.x + group.y * p.groups_x;
    if tile >= tiles_n * tiles_m { return; }
#if A_T
    // The columns of B, the longer way, stay in the cache while those of A pass.
    let row = (tile % tiles_m) * ROWS;
    let col = (tile / tiles_m) * wide + lane * 4u;
#else
    let row = (tile / tiles_n) * ROWS;
    let col = (tile % tiles_n) * wide + lane * 4u;
#endif
    let last_row = p.m - 1u;
    var cols: array<u32, COLS>;
    for (var j = 0u; j < COLS; j++) { cols[j] = min(col + j * LANES * 4u, (p.n - 1u) / 4u * 4u); }

    var sums: Sums;
    for (var r = 0u; r < ROWS; r++) { for (var j = 0u; j < COLS; j++) { sums[r][j] = vec4(0.0); } }

    let k_begin = group.z * p.k_chunk;
    let k_end = min(p.k, k_begin + p.k_chunk);
    var k = k_begin;
#if A_T
#if SUBGROUP8
    // The 8 invocations hold quads of all rows at PLACES places along k, a few times over: four k in all.
    let quad = min(row + lane % QUADS * 4u, last_row / 4u * 4u);
    for (; k < k_end; k += 4u) {
        var own: array<vec4<f32>, 4u / PLACES>;
        for (var i = 0u; i < 4u / PLACES; i++) {
            let at = k + i * PLACES + lane / QUADS;
            own[i] = a4(min(at, k_end - 1u) * p.lda, quad, last_row);
            // Beyond the last k its rows are read again; what counts is that the factor is 0.
            if k + 4u > k_end { own[i] = select(vec4(0.0), own[i], at < k_end); }
        }
        let lines = four_lines(k, k_end - 1u, cols);
        for (var r = 0u; r < ROWS; r++) {
            var v: vec4<f32>;
            for (var e = 0u; e < 4u; e++) {
                v[e] = subgroupShuffle(own[e / PLACES][r % 4u], e % PLACES * QUADS + r / 4u);
            }
            for (var j = 0u; j < COLS; j++) { sums[r][j] = add_four(v, lines, j, sums[r][j]); }
        }
    }
#else
    for (; k < k_end; k++) {
        var line = b_line(k, cols);
        for (var q = 0u; q < ROWS; q += 4u) {
            let x = a4(k * p.lda, min(row + q, last_row / 4u * 4u), last_row);
            for (var j = 0u; j < COLS; j++) {
                sums[q][j] = fma(vec4(x.x), line[j], sums[q][j]);
                sums[q + 1u][j] = fma(vec4(x.y), line[j], sums[q + 1u][j]);
                sums[q + 2u][j] = fma(vec4(x.z), line[j], sums[q + 2u][j]);
                sums[q + 3u][j] = fma(vec4(x.w), line[j], sums[q + 3u][j]);
            }
        }
    }
#endif
#else
    // Where the rows of A start; a broadcast is cheaper than a load here.
    var lines: array<u32, HELD>;
#if SUBGROUP8
    for (var i = 0u; i < HELD; i++) { lines[i] = min(row + i * 8u + lane, last_row) * p.lda; }
#else
    for (var i = 0u; i < HELD; i++) { lines[i] = min(row + i, last_row) * p.lda; }
#endif
#if SINGLE
    for (; k < k_end; k++) {
        var own: array<f32, HELD>;
        for (var i = 0u; i < HELD; i++) { own[i] = a1(lines[i] + k); }
        var line = b_line(k, cols);
        for (var r = 0u; r < ROWS; r++) {
            let v = subgroupShuffle(own[r / 8u], r % 8u);
            for (var j = 0u; j < COLS; j++) { sums[r][j] = fma(vec4(v), line[j], sums[r][j]); }
        }
    }
#else
    for (; k < k_end; k += 4u) {
        var own: array<vec4<f32>, HELD>;
        for (var i = 0u; i < HELD; i++) { own[i] = a4(lines[i], k, p.k - 1u); }
#if B_T
        var block: array<mat4x4<f32>, COLS>;
        for (var j = 0u; j < COLS; j++) {
            let at = min(vec4(cols[j]) + FOUR, vec4(p.n - 1u)) * p.ldb;
            block[j] = transpose(mat4x4(b4(at.x, k, p.k - 1u), b4(at.y, k, p.k - 1u), b4(at.z, k, p.k - 1u), b4(at.w, k, p.k - 1u)));
        }
#endif
        // What was read beyond the last k may be anything; a loop of its own for it would be compiled as well.
        if k + 4u > k_end {
            let inside = vec4(k) + FOUR < vec4(k_end);
            for (var i = 0u; i < HELD; i++) { own[i] = select(vec4(0.0), own[i], inside); }
#if B_T
            for (var j = 0u; j < COLS; j++) {
                for (var e = 0u; e < 4u; e++) { block[j][e] = select(vec4(0.0), block[j][e], inside[e]); }
            }
#endif
        }
#if BY_ROW
#if B_T
        var lines: array<Line, 4>;
        for (var e = 0u; e < 4u; e++) { for (var j = 0u; j < COLS; j++) { lines[e][j] = block[j][e]; } }
#else
        let lines = four_lines(k, k_end - 1u, cols);
#endif
        for (var r = 0u; r < ROWS; r++) {
            let v = subgroupShuffle(own[r / 8u], r % 8u);
            for (var j = 0u; j < COLS; j++) { sums[r][j] = add_four(v, lines, j, sums[r][j]); }
        }
#else
        for (var e = 0u; e < 4u; e++) {
#if B_T
            var line: Line;
            for (var j = 0u; j < COLS; j++) { line[j] = block[j][e]; }
#else
            var line = b_line(min(k + e, k_end - 1u), cols);
#endif
            for (var r = 0u; r < ROWS; r++) {
#if SUBGROUP8
                let v = subgroupShuffle(own[r / 8u][e], r % 8u);
#else
                let v = own[r][e];
#endif
                for (var j = 0u; j < COLS; j++) { sums[r][j] = fma(vec4(v), line[j], sums[r][j]); }
            }
        }
#endif
    }
#endif
#endif

    // Through memory so that the epilogue is compiled once: unrolled, or over an array in registers,
    // it costs seconds of compilation. Every invocation reads only what it wrote.
    for (var r = 0u; r < ROWS; r++) { for (var j = 0u; j < COLS; j++) { done[(r * COLS + j) * LANES + lane] = sums[r][j]; } }
    let count = min(ROWS, p.m - row) * COLS;
    for (var i = 0u; i < count; i++) { store(group.z, row + i / COLS, col + (i % COLS) * LANES * 4u, done[i * LANES + lane]); }
}

#else

const SIDE = ${SIDE}u; // 16 or 8: SIDE x SIDE invocations
const HALF = 4u * SIDE;
const QUADS = SIDE; // quads of a half
#if TALL
const BM = 2u * HALF;
#else
const BM = HALF;
#endif
#if WIDE
const BN = 2u * HALF;
#else
const BN = HALF;
#endif
const BK = SIDE;

// [BK][BM] and [BK][BN] in quads. An operand that lies along k in memory is turned on the way: an
// invocation gathers four lines at one k (SIDE neighbours read one stretch of a line), and the quads of a
// row are exchanged by `turn`, so that the writes of 8 neighbours fall into 32 different banks.
// No vector is ever written by two invocations: WGSL calls that a race even on separate components.
var<workgroup> a_tile: array<vec4<f32>, BK * BM / 4u>;
var<workgroup> b_tile: array<vec4<f32>, BK * BN / 4u>;

fn turn(k: u32) -> u32 { return k % 8u; }

// Where invocation `t` reads in half `h` of the tile of A, the same for all k: starts of four lines, or the quad of a
// line. Beyond the last row of C that row is read again: nothing of it is stored.
fn place_a(row: u32, h: u32, t: u32) -> vec4<u32> {
#if A_T
    return vec4(min(row + h * HALF + (t % SIDE) * 4u, (p.m - 1u) / 4u * 4u));
#else
    return min(vec4(row + h * HALF + (t / SIDE) * 4u) + FOUR, vec4(p.m - 1u)) * p.lda;
#endif
}

// What it brings from there at k; zero beyond the sum.
fn fetch_a(place: vec4<u32>, k: u32, k_end: u32, t: u32) -> vec4<f32> {
#if A_T
    let kk = k + t / SIDE;
    if kk >= k_end { return vec4(0.0); }
    return a4(kk * p.lda, place.x, p.m - 1u);
#else
    let kk = k + t % SIDE;
    if kk >= k_end { return vec4(0.0); }
    let at = place + kk;
    return vec4(a1(at.x), a1(at.y), a1(at.z), a1(at.w));
#endif
}

fn place_b(col: u32, h: u32, t: u32) -> vec4<u32> {
#if B_T
    return min(vec4(col + h * HALF + (t / SIDE) * 4u) + FOUR, vec4(p.n - 1u)) * p.ldb;
#else
    return vec4(min(col + h * HALF + (t % SIDE) * 4u, (p.n - 1u) / 4u * 4u));
#endif
}

fn fetch_b(place: vec4<u32>, k: u32, k_end: u32, t: u32) -> vec4<f32> {
#if B_T
    let kk = k + t % SIDE;
    if kk >= k_end { return vec4(0.0); }
    let at = place + kk;
    return vec4(b1(at.x), b1(at.y), b1(at.z), b1(at.w));
#else
    let kk = k + t / SIDE;
    if kk >= k_end { return vec4(0.0); }
    return b4(kk * p.ldb, place.x, p.n - 1u);
#endif
}

fn put_a(v: vec4<f32>, h: u32, t: u32) {
#if A_T
    a_tile[(t / SIDE) * (BM / 4u) + h * QUADS + t % SIDE] = v;
#else
    let k = t % SIDE;
    a_tile[k * (BM / 4u) + h * QUADS + ((t / SIDE) ^ turn(k))] = v;
#endif
}

fn put_b(v: vec4<f32>, h: u32, t: u32) {
#if B_T
    let k = t % SIDE;
    b_tile[k * (BN / 4u) + h * QUADS + ((t / SIDE) ^ turn(k))] = v;
#else
    b_tile[(t / SIDE) * (BN / 4u) + h * QUADS + t % SIDE] = v;
#endif
}

@compute @workgroup_size(SIDE * SIDE)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let tiles_n = (p.n + BN - 1u) / BN;
    let tiles_m = (p.m + BM - 1u) / BM;
    let tile = group.x + group.y * p.groups_x;
    if tile < tiles_n * tiles_m {
        let row = (tile / tiles_n) * BM;
        let col = (tile % tiles_n) * BN;
        let k_begin = group.z * p.k_chunk;
        let k_end = min(p.k, k_begin + p.k_chunk);
        let ty = t / SIDE;
        let tx = t % SIDE;

        var s00 = vec4(0.0); var s10 = vec4(0.0); var s20 = vec4(0.0); var s30 = vec4(0.0);
#if TALL
        var s40 = vec4(0.0); var s50 = vec4(0.0); var s60 = vec4(0.0); var s70 = vec4(0.0);
#endif
#if WIDE
        var s01 = vec4(0.0); var s11 = vec4(0.0); var s21 = vec4(0.0); var s31 = vec4(0.0);
#if TALL
        var s41 = vec4(0.0); var s51 = vec4(0.0); var s61 = vec4(0.0); var s71 = vec4(0.0);
#endif
#endif

        // The next tile travels to registers while this one is multiplied.
        let a_place = place_a(row, 0u, t);
        let b_place = place_b(col, 0u, t);
        var a_next = fetch_a(a_place, k_begin, k_end, t);
        var b_next = fetch_b(b_place, k_begin, k_end, t);
#if TALL
        let a_place_more = place_a(row, 1u, t);
        var a_more = fetch_a(a_place_more, k_begin, k_end, t);
#endif
#if WIDE
        let b_place_more = place_b(col, 1u, t);
        var b_more = fetch_b(b_place_more, k_begin, k_end, t);
#endif
        for (var k = k_begin; k < k_end; k += BK) {
            workgroupBarrier();
            put_a(a_next, 0u, t);
            put_b(b_next, 0u, t);
#if TALL
            put_a(a_more, 1u, t);
#endif
#if WIDE
            put_b(b_more, 1u, t);
#endif
            workgroupBarrier();
            a_next = fetch_a(a_place, k + BK, k_end, t);
            b_next = fetch_b(b_place, k + BK, k_end, t);
#if TALL
            a_more = fetch_a(a_place_more, k + BK, k_end, t);
#endif
#if WIDE
            b_more = fetch_b(b_place_more, k + BK, k_end, t);
#endif
            for (var four = 0u; four < BK; four += 4u) { for (var e = 0u; e < 4u; e++) {
                let i = four + e;
#if A_T
                let at = i * (BM / 4u) + ty;
#else
                let at = i * (BM / 4u) + (ty ^ turn(i));
#endif
#if B_T
                let bt = i * (BN / 4u) + (tx ^ turn(i));
#else
                let bt = i * (BN / 4u) + tx;
#endif
                let x = a_tile[at];
                let v = b_tile[bt];
                s00 = fma(vec4(x.x), v, s00); s10 = fma(vec4(x.y), v, s10);
                s20 = fma(vec4(x.z), v, s20); s30 = fma(vec4(x.w), v, s30);
#if TALL
                let y = a_tile[at + QUADS];
                s40 = fma(vec4(y.x), v, s40); s50 = fma(vec4(y.y), v, s50);
                s60 = fma(vec4(y.z), v, s60); s70 = fma(vec4(y.w), v, s70);
#endif
#if WIDE
                let w = b_tile[bt + QUADS];
                s01 = fma(vec4(x.x), w, s01); s11 = fma(vec4(x.y), w, s11);
                s21 = fma(vec4(x.z), w, s21); s31 = fma(vec4(x.w), w, s31);
#if TALL
                s41 = fma(vec4(y.x), w, s41); s51 = fma(vec4(y.y), w, s51);
                s61 = fma(vec4(y.z), w, s61); s71 = fma(vec4(y.w), w, s71);
#endif
#endif
            } }
        }

        let r = row + ty * 4u;
        let q = col + tx * 4u;
        store(group.z, r, q, s00); store(group.z, r + 1u, q, s10);
        store(group.z, r + 2u, q, s20); store(group.z, r + 3u, q, s30);
#if TALL
        store(group.z, r + HALF, q, s40); store(group.z, r + HALF + 1u, q, s50);
        store(group.z, r + HALF + 2u, q, s60); store(group.z, r + HALF + 3u, q, s70);
#endif
#if WIDE
        store(group.z, r, q + HALF, s01); store(group.z, r + 1u, q + HALF, s11);
        store(group.z, r + 2u, q + HALF, s21); store(group.z, r + 3u, q + HALF, s31);
#if TALL
        store(group.z, r + HALF, q + HALF, s41); store(group.z, r + HALF + 1u, q + HALF, s51);
        store(group.z, r + HALF + 2u, q + HALF, s61); store(group.z, r + HALF + 3u, q + HALF, s71);
#endif
#endif
    }
}
#endif
#endif
