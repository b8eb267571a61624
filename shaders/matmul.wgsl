#if NATIVE_F16
enable f16;
#endif
// C[M,N] (+)= act(op(A) op(B) + bias), f32 accumulation.
//
// REGISTER (CPU drivers): 8 invocations side by side hold ROWS x (8 * COLS vec4) outputs in
//   registers. Every A value is the same for the whole workgroup, nothing is shared through memory.
// otherwise (GPUs): 256 invocations, a 64 x 64 tile in workgroup memory, 16 k at a time; TALL doubles
//   its rows, WIDE its columns: 4x4, 8x4, 4x8 or 8x8 outputs each.
//
// A_T: A is [K,M]. B_T: B is [N,K]. A_F16, B_F16: packed halves, with NATIVE_F16 array<f16>.
// A_VEC, B_VEC, C_VEC: bound as vectors of four, allowed when the leading dimension is a multiple of
// four (C_VEC: n and split_stride too). What is read beyond a matrix never reaches a valid output.
// SUBGROUP8 (REGISTER only): invocations pass A around by shuffles; the subgroup must be of size 8.

struct Params {
    m: u32, n: u32, k: u32,
    lda: u32, ldb: u32, ldc: u32,
    flags: u32,        // 1: C += instead of C =, 2: add bias[n]
    act: u32,          // 0 none, 1 relu, 2 leaky relu, 3 tanh, 4 sigmoid, 5 softplus
    slope: f32,
    k_chunk: u32,      // workgroup z takes k in [z * k_chunk, (z + 1) * k_chunk)
    split_stride: u32, // elements from one part of C to the next
    groups_x: u32,     // workgroups along x; tile = x + y * groups_x
}
var<immediate> p: Params;

#if A_F16
#if NATIVE_F16
#if A_VEC
@group(0) @binding(0) var<storage, read> a: array<vec4<f16>>;
#else
@group(0) @binding(0) var<storage, read> a: array<f16>;
#endif
#else
#if A_VEC
@group(0) @binding(0) var<storage, read> a: array<vec2<u32>>;
#else
@group(0) @binding(0) var<storage, read> a: array<u32>;
#endif
#endif
#else
#if A_VEC
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
#else
@group(0) @binding(0) var<storage, read> a: array<f32>;
#endif
#endif
#if B_F16
#if NATIVE_F16
#if B_VEC
@group(0) @binding(1) var<storage, read> b: array<vec4<f16>>;
#else
@group(0) @binding(1) var<storage, read> b: array<f16>;
#endif
#else
#if B_VEC
@group(0) @binding(1) var<storage, read> b: array<vec2<u32>>;
#else
@group(0) @binding(1) var<storage, read> b: array<u32>;
#endif
#endif
#else
#if B_VEC
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
#else
@group(0) @binding(1) var<storage, read> b: array<f32>;
#endif
#endif
@group(0) @binding(2) var<storage, read> bias: array<f32>;
#if C_VEC
@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>;
#else
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
#endif

const FOUR = vec4<u32>(0u, 1u, 2u, 3u);

// One element of A by its index in the buffer.
fn a1(i: u32) -> f32 {
#if A_F16
#if NATIVE_F16
#if A_VEC
    return f32(a[i / 4u][i % 4u]);
#else
    return f32(a[i]);
#endif
#else
#if A_VEC
    return unpack2x16float(a[i / 4u][(i / 2u) % 2u])[i % 2u];
#else
    return unpack2x16float(a[i / 2u])[i % 2u];
#endif
#endif
#else
#if A_VEC
    return a[i / 4u][i % 4u];
#else
    return a[i];
#endif
#endif
}

// Four neighbours of A from `i` in a line that starts at `line` and whose last valid place is `last`
// (i <= last). Places beyond `last` hold anything.
fn a4(line: u32, i: u32, last: u32) -> vec4<f32> {
#if A_VEC
    let at = (line + i) / 4u;
#if A_F16
#if NATIVE_F16
    return vec4<f32>(a[at]);
#else
    let raw = a[at];
    return vec4(unpack2x16float(raw.x), unpack2x16float(raw.y));
#endif
#else
    return a[at];
#endif
#else
    let at = line + min(vec4(i) + FOUR, vec4(last));
    return vec4(a1(at.x), a1(at.y), a1(at.z), a1(at.w));
#endif
}

fn b1(i: u32) -> f32 {
#if B_F16
#if NATIVE_F16
#if B_VEC
    return f32(b[i / 4u][i % 4u]);
#else
    return f32(b[i]);
#endif
#else
#if B_VEC
    return unpack2x16float(b[i / 4u][(i / 2u) % 2u])[i % 2u];
#else
    return unpack2x16float(b[i / 2u])[i % 2u];
#endif
#endif
#else
#if B_VEC
    return b[i / 4u][i % 4u];
#else
    return b[i];
#endif
#endif
}

fn b4(line: u32, i: u32, last: u32) -> vec4<f32> {
#if B_VEC
    let at = (line + i) / 4u;
#if B_F16
#if NATIVE_F16
    return vec4<f32>(b[at]);
#else
    let raw = b[at];
    return vec4(unpack2x16float(raw.x), unpack2x16float(raw.y));
#endif
#else
    return b[at];
#endif
#else
    let at = line + min(vec4(i) + FOUR, vec4(last));
    return vec4(b1(at.x), b1(at.y), b1(at.z), b1(at.w));
#endif
}

fn activate(x: vec4<f32>) -> vec4<f32> {
    switch p.act {
        case 1u: { return max(x, vec4(0.0)); }
        case 2u: { return select(p.slope * x, x, x > vec4(0.0)); }
        case 3u: {
            // exp(-2|x|) cannot overflow; near zero 1 - e cancels, so the series there.
            let e = exp(-2.0 * abs(x));
            let y = x * x;
            let near = x * (1.0 - y * (1.0 / 3.0 - y * (2.0 / 15.0 - y * (17.0 / 315.0))));
            return select(sign(x) * (1.0 - e) / (1.0 + e), near, abs(x) < vec4(0.25));
        }
        case 4u: {
            let e = exp(-abs(x));
            return select(e, vec4(1.0), x >= vec4(0.0)) / (1.0 + e);
        }
        case 5u: {
            // max(x, 0) + log1p(exp(-|x|)); the series keeps the digits that 1 + e would lose.
            let e = exp(-abs(x));
            let near = e * (1.0 - e * (0.5 - e * (1.0 / 3.0 - e * 0.25)));
            return max(x, vec4(0.0)) + select(log(1.0 + e), near, e < vec4(0.05));
        }
        default: { return x; }
    }
}

// Bias, activation and the write of C[row, col..col+4] in part `part` of a split.
fn store(part: u32, row: u32, col: u32, sum: vec4<f32>) {
    if row >= p.m || col >= p.n { return; }
    var v = sum;
    if (p.flags & 2u) != 0u {
        let at = min(vec4(col) + FOUR, vec4(p.n - 1u));
        v += vec4(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
    }
    v = activate(v);
    let at = part * p.split_stride + row * p.ldc + col;
#if C_VEC
    if (p.flags & 1u) != 0u { v += c[at / 4u]; }
    c[at / 4u] = v;
#else
    let count = min(p.n - col, 4u);
    for (var i = 0u; i < count; i++) {
        var x = v[i];
        if (p.flags & 1u) != 0u { x += c[at + i]; }
        c[at + i] = x;
    }
#endif
}

#if REGISTER

const ROWS = ${ROWS}u; // a multiple of four (of eight with SUBGROUP8)
const COLS = ${COLS}u; // vec4 columns of one invocation
const LANES = 8u;

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

@compute @workgroup_size(LANES)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let wide = LANES * 4u * COLS;
    let tiles_n = (p.n + wide - 1u) / wide;
    let tiles_m = (p.m + ROWS - 1u) / ROWS;
    let tile = group.x + group.y * p.groups_x;
    if tile >= tiles_n * tiles_m { return; }
    let row = (tile / tiles_n) * ROWS;
    let col = (tile % tiles_n) * wide + lane * 4u;
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
    // The 8 invocations hold 32 values of A: ROWS rows at 32 / ROWS places along k.
    let quad = min(row + (lane % (ROWS / 4u)) * 4u, last_row / 4u * 4u);
    for (; k + 32u / ROWS <= k_end; k += 32u / ROWS) {
        let own = a4((k + lane / (ROWS / 4u)) * p.lda, quad, last_row);
        for (var e = 0u; e < 32u / ROWS; e++) {
            var line = b_line(k + e, cols);
            for (var r = 0u; r < ROWS; r++) {
                let v = subgroupShuffle(own[r % 4u], e * (ROWS / 4u) + r / 4u);
                for (var j = 0u; j < COLS; j++) { sums[r][j] = fma(vec4(v), line[j], sums[r][j]); }
            }
        }
    }
#endif
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
#else
    for (; k + 4u <= k_end; k += 4u) {
#if SUBGROUP8
        // Invocation i holds the rows i, i + 8, ...; a broadcast is cheaper than a load here.
        var own: array<vec4<f32>, ROWS / 8u>;
        for (var i = 0u; i < ROWS / 8u; i++) { own[i] = a4(min(row + i * 8u + lane, last_row) * p.lda, k, p.k - 1u); }
#else
        var x: array<vec4<f32>, ROWS>;
        for (var r = 0u; r < ROWS; r++) { x[r] = a4(min(row + r, last_row) * p.lda, k, p.k - 1u); }
#endif
#if B_T
        var block: array<mat4x4<f32>, COLS>;
        for (var j = 0u; j < COLS; j++) {
            let at = min(vec4(cols[j]) + FOUR, vec4(p.n - 1u)) * p.ldb;
            block[j] = transpose(mat4x4(b4(at.x, k, p.k - 1u), b4(at.y, k, p.k - 1u), b4(at.z, k, p.k - 1u), b4(at.w, k, p.k - 1u)));
        }
#endif
        for (var e = 0u; e < 4u; e++) {
#if B_T
            var line: Line;
            for (var j = 0u; j < COLS; j++) { line[j] = block[j][e]; }
#else
            var line = b_line(k + e, cols);
#endif
            for (var r = 0u; r < ROWS; r++) {
#if SUBGROUP8
                let v = subgroupShuffle(own[r / 8u][e], r % 8u);
#else
                let v = x[r][e];
#endif
                for (var j = 0u; j < COLS; j++) { sums[r][j] = fma(vec4(v), line[j], sums[r][j]); }
            }
        }
    }
    for (; k < k_end; k++) {
        var line = b_line(k, cols);
        for (var r = 0u; r < ROWS; r++) {
            let v = a1(min(row + r, last_row) * p.lda + k);
            for (var j = 0u; j < COLS; j++) { sums[r][j] = fma(vec4(v), line[j], sums[r][j]); }
        }
    }
#endif

    // Through memory so that the epilogue is compiled once: unrolled, or over an array in registers,
    // it costs seconds of compilation. Every invocation reads only what it wrote.
    for (var r = 0u; r < ROWS; r++) { for (var j = 0u; j < COLS; j++) { done[(r * COLS + j) * LANES + lane] = sums[r][j]; } }
    let count = min(ROWS, p.m - row) * COLS;
    for (var i = 0u; i < count; i++) { store(group.z, row + i / COLS, col + (i % COLS) * LANES * 4u, done[i * LANES + lane]); }
}

#else

#if TALL
const BM = 128u;
#else
const BM = 64u;
#endif
#if WIDE
const BN = 128u;
#else
const BN = 64u;
#endif
const BK = 16u;

// [BK][BM] and [BK][BN] in quads. An operand that lies along k in memory is turned on the way: an
// invocation gathers four lines at one k (16 neighbours read 64 bytes of a line), and the quads of a
// row are exchanged by `turn`, so that the writes of 8 neighbours fall into 32 different banks.
// No vector is ever written by two invocations: WGSL calls that a race even on separate components.
var<workgroup> a_tile: array<vec4<f32>, BK * BM / 4u>;
var<workgroup> b_tile: array<vec4<f32>, BK * BN / 4u>;

fn turn(k: u32) -> u32 { return k % 8u; }

// What invocation `t` brings of the tile of A at (row, k), half `h` of 64 rows; zero outside.
fn fetch_a(row: u32, k: u32, k_end: u32, h: u32, t: u32) -> vec4<f32> {
#if A_T
    let at = row + h * 64u + (t % 16u) * 4u;
    let kk = k + t / 16u;
    if at >= p.m || kk >= k_end { return vec4(0.0); }
    return a4(kk * p.lda, at, p.m - 1u);
#else
    let at = row + h * 64u + (t / 16u) * 4u;
    let kk = k + t % 16u;
    if at >= p.m || kk >= k_end { return vec4(0.0); }
    let line = min(vec4(at) + FOUR, vec4(p.m - 1u)) * p.lda + kk;
    return vec4(a1(line.x), a1(line.y), a1(line.z), a1(line.w));
#endif
}

fn fetch_b(col: u32, k: u32, k_end: u32, h: u32, t: u32) -> vec4<f32> {
#if B_T
    let at = col + h * 64u + (t / 16u) * 4u;
    let kk = k + t % 16u;
    if at >= p.n || kk >= k_end { return vec4(0.0); }
    let line = min(vec4(at) + FOUR, vec4(p.n - 1u)) * p.ldb + kk;
    return vec4(b1(line.x), b1(line.y), b1(line.z), b1(line.w));
#else
    let at = col + h * 64u + (t % 16u) * 4u;
    let kk = k + t / 16u;
    if at >= p.n || kk >= k_end { return vec4(0.0); }
    return b4(kk * p.ldb, at, p.n - 1u);
#endif
}

fn put_a(v: vec4<f32>, h: u32, t: u32) {
#if A_T
    a_tile[(t / 16u) * (BM / 4u) + h * 16u + t % 16u] = v;
#else
    let k = t % 16u;
    a_tile[k * (BM / 4u) + h * 16u + ((t / 16u) ^ turn(k))] = v;
#endif
}

fn put_b(v: vec4<f32>, h: u32, t: u32) {
#if B_T
    let k = t % 16u;
    b_tile[k * (BN / 4u) + h * 16u + ((t / 16u) ^ turn(k))] = v;
#else
    b_tile[(t / 16u) * (BN / 4u) + h * 16u + t % 16u] = v;
#endif
}

@compute @workgroup_size(256)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
    let tiles_n = (p.n + BN - 1u) / BN;
    let tiles_m = (p.m + BM - 1u) / BM;
    let tile = group.x + group.y * p.groups_x;
    if tile < tiles_n * tiles_m {
        let row = (tile / tiles_n) * BM;
        let col = (tile % tiles_n) * BN;
        let k_begin = group.z * p.k_chunk;
        let k_end = min(p.k, k_begin + p.k_chunk);
        let ty = t / 16u;
        let tx = t % 16u;

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
        var a_next = fetch_a(row, k_begin, k_end, 0u, t);
        var b_next = fetch_b(col, k_begin, k_end, 0u, t);
#if TALL
        var a_more = fetch_a(row, k_begin, k_end, 1u, t);
#endif
#if WIDE
        var b_more = fetch_b(col, k_begin, k_end, 1u, t);
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
            a_next = fetch_a(row, k + BK, k_end, 0u, t);
            b_next = fetch_b(col, k + BK, k_end, 0u, t);
#if TALL
            a_more = fetch_a(row, k + BK, k_end, 1u, t);
#endif
#if WIDE
            b_more = fetch_b(col, k + BK, k_end, 1u, t);
#endif
            for (var i = 0u; i < BK; i++) {
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
                let y = a_tile[at + 16u];
                s40 = fma(vec4(y.x), v, s40); s50 = fma(vec4(y.y), v, s50);
                s60 = fma(vec4(y.z), v, s60); s70 = fma(vec4(y.w), v, s70);
#endif
#if WIDE
                let w = b_tile[bt + 16u];
                s01 = fma(vec4(x.x), w, s01); s11 = fma(vec4(x.y), w, s11);
                s21 = fma(vec4(x.z), w, s21); s31 = fma(vec4(x.w), w, s31);
#if TALL
                s41 = fma(vec4(y.x), w, s41); s51 = fma(vec4(y.y), w, s51);
                s61 = fma(vec4(y.z), w, s61); s71 = fma(vec4(y.w), w, s71);
#endif
#endif
            }
        }

        let r = row + ty * 4u;
        let q = col + tx * 4u;
        store(group.z, r, q, s00); store(group.z, r + 1u, q, s10);
        store(group.z, r + 2u, q, s20); store(group.z, r + 3u, q, s30);
#if TALL
        store(group.z, r + 64u, q, s40); store(group.z, r + 65u, q, s50);
        store(group.z, r + 66u, q, s60); store(group.z, r + 67u, q, s70);
#endif
#if WIDE
        store(group.z, r, q + 64u, s01); store(group.z, r + 1u, q + 64u, s11);
        store(group.z, r + 2u, q + 64u, s21); store(group.z, r + 3u, q + 64u, s31);
#if TALL
        store(group.z, r + 64u, q + 64u, s41); store(group.z, r + 65u, q + 64u, s51);
        store(group.z, r + 66u, q + 64u, s61); store(group.z, r + 67u, q + 64u, s71);
#endif
#endif
    }
}
#endif
