enable f16;
enable wgpu_cooperative_matrix;
// C[M,N] (+)= act(op(A) op(B) + bias) on matrix units: both factors in f16, sums in f32.
//
// Four subgroups, two by two; each holds 2 x 2 squares of SIDE (LARGE: 4 x 4) of C. SPLIT: where a driver chooses the
// size of subgroups, the LANES invocations are four of the largest, or up to SPLIT times as many smaller ones. Then
// each four of them take their share of the inner sum, and the shares are added up on the way out.
// Factors go through workgroup memory: converted there, and zero outside of the matrices, so that no size has
// to be a multiple of anything. Squares allow no arithmetic on their elements, so they leave through workgroup
// memory as well, one row of squares at a time.
#import common/product

const SIDE = ${SIDE}u;
const LANES = ${LANES}u;
#if LARGE
const BLOCK = 4u;
#else
const BLOCK = 2u;
#endif
const BM = 2u * BLOCK * SIDE; // rows and columns of C
const LINES = BLOCK * SIDE;
#if SPLIT
const SHARES = ${SPLIT}u;
#else
const SHARES = 1u;
#endif
const BK = max(2u, SHARES) * SIDE; // of the inner sum at a time
const PAD = 8u;               // keeps the lines of a square in different banks, on 16 bytes

alias Left = coop_mat${SIDE}x${SIDE}<f16, A>;
alias Right = coop_mat${SIDE}x${SIDE}<f16, B>;
alias Sum = coop_mat${SIDE}x${SIDE}<f32, C>;

// As the factors lie in memory: lines along k, or along the other side.
#if A_T
const A_LINE = BM + PAD;
const A_LINES = BK;
#else
const A_LINE = BK + PAD;
const A_LINES = BM;
#endif
#if B_T
const B_LINE = BK + PAD;
const B_LINES = BM;
#else
const B_LINE = BM + PAD;
const B_LINES = BK;
#endif
var<workgroup> a_tile: array<f16, A_LINE * A_LINES>;
var<workgroup> b_tile: array<f16, B_LINE * B_LINES>;
const SUMS = 4u * SIDE * LINES; // of one share
var<workgroup> sums: array<f32, SHARES * SUMS>;

// `v` without the places from `left` on.
fn first_of(v: vec4<f32>, left: u32) -> vec4<f32> {
    return select(vec4(0.0), v, FOUR < vec4(left));
}

fn fetch_a(row: u32, k: u32, k_end: u32, t: u32) {
    for (var q = t; q < BM * BK / 4u; q += LANES) {
        var v = vec4(0.0);
#if A_T
        let line = q / (BM / 4u);
        let at = q % (BM / 4u) * 4u;
        if k + line < k_end && row + at < p.m { v = first_of(a4((k + line) * p.lda, row + at, p.m - 1u), p.m - row - at); }
#else
        let line = q / (BK / 4u);
        let at = q % (BK / 4u) * 4u;
        if row + line < p.m && k + at < k_end { v = first_of(a4((row + line) * p.lda, k + at, p.k - 1u), k_end - k - at); }
#endif
        let half = vec4<f16>(v);
        let to = line * A_LINE + at;
        a_tile[to] = half.x; a_tile[to + 1u] = half.y; a_tile[to + 2u] = half.z; a_tile[to + 3u] = half.w;
    }
}

fn fetch_b(col: u32, k: u32, k_end: u32, t: u32) {
    for (var q = t; q < BM * BK / 4u; q += LANES) {
        var v = vec4(0.0);
#if B_T
        let line = q / (BK / 4u);
        let at = q % (BK / 4u) * 4u;
        if col + line < p.n && k + at < k_end { v = first_of(b4((col + line) * p.ldb, k + at, p.k - 1u), k_end - k - at); }
#else
        let line = q / (BM / 4u);
        let at = q % (BM / 4u) * 4u;
        if k + line < k_end && col + at < p.n { v = first_of(b4((k + line) * p.ldb, col + at, p.n - 1u), p.n - col - at); }
#endif
        let half = vec4<f16>(v);
        let to = line * B_LINE + at;
        b_tile[to] = half.x; b_tile[to + 1u] = half.y; b_tile[to + 2u] = half.z; b_tile[to + 3u] = half.w;
    }
}

// Row `i` of the squares of each subgroup, from workgroup memory to C.
fn leave(part: u32, row: u32, col: u32, i: u32, shares: u32, t: u32) {
    for (var q = t; q < SIDE * BLOCK * SIDE; q += LANES) {
        let owner = q / (SIDE * BLOCK * SIDE / 4u);
        let inside = q % (SIDE * BLOCK * SIDE / 4u) * 4u;
        let r = row + ((owner / 2u) * BLOCK + i) * SIDE + inside / (BLOCK * SIDE);
        let c = col + (owner % 2u) * BLOCK * SIDE + inside % (BLOCK * SIDE);
        var sum = vec4(sums[q * 4u], sums[q * 4u + 1u], sums[q * 4u + 2u], sums[q * 4u + 3u]);
#if SPLIT
        for (var s = 1u; s < shares; s++) {
            let at = s * SUMS + q * 4u;
            sum += vec4(sums[at], sums[at + 1u], sums[at + 2u], sums[at + 3u]);
        }
#endif
        store(part, r, c, sum);
    }
}

@compute @workgroup_size(LANES)
fn matmul_coop(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) t: u32,
    @builtin(subgroup_id) subgroup: u32,
#if SPLIT
    @builtin(num_subgroups) subgroups: u32,
#endif
) {
#if SPLIT
    let shares = clamp(subgroups / 4u, 1u, SHARES);
#else
    let shares = 1u;
#endif
    let quarter = subgroup % 4u;
    let share = subgroup / 4u % shares;
    let tiles_n = (p.n + BM - 1u) / BM;
    let tiles_m = (p.m + BM - 1u) / BM;
    let tile = group.x + group.y * p.groups_x;
    if tile < tiles_n * tiles_m {
        let row = (tile / tiles_n) * BM;
        let col = (tile % tiles_n) * BM;
        let k_begin = group.z * p.k_chunk;
        let k_end = min(p.k, k_begin + p.k_chunk);
        let own_row = (quarter / 2u) * LINES;
        let own_col = (quarter % 2u) * LINES;

        var c00 = Sum(); var c01 = Sum();
        var c10 = Sum(); var c11 = Sum();
#if LARGE
        var c02 = Sum(); var c03 = Sum();
        var c12 = Sum(); var c13 = Sum();
        var c20 = Sum(); var c21 = Sum(); var c22 = Sum(); var c23 = Sum();
        var c30 = Sum(); var c31 = Sum(); var c32 = Sum(); var c33 = Sum();
#endif

        for (var k = k_begin; k < k_end; k += BK) {
            workgroupBarrier();
            fetch_a(row, k, k_end, t);
            fetch_b(col, k, k_end, t);
            workgroupBarrier();
            for (var i = share * SIDE; i < BK; i += shares * SIDE) {
#if A_T
                let a_at = i * A_LINE + own_row;
                let a_step = SIDE;
#else
                let a_at = own_row * A_LINE + i;
                let a_step = SIDE * A_LINE;
#endif
#if B_T
                let b_at = own_col * B_LINE + i;
                let b_step = SIDE * B_LINE;
#else
                let b_at = i * B_LINE + own_col;
                let b_step = SIDE;
#endif
#if A_T
                let a0 = coopLoad<Left>(&a_tile[a_at], A_LINE);
                let a1 = coopLoad<Left>(&a_tile[a_at + a_step], A_LINE);
#if LARGE
                let a2 = coopLoad<Left>(&a_tile[a_at + 2u * a_step], A_LINE);
                let a3 = coopLoad<Left>(&a_tile[a_at + 3u * a_step], A_LINE);
#endif
#else
                let a0 = coopLoadT<Left>(&a_tile[a_at], A_LINE);
                let a1 = coopLoadT<Left>(&a_tile[a_at + a_step], A_LINE);
#if LARGE
                let a2 = coopLoadT<Left>(&a_tile[a_at + 2u * a_step], A_LINE);
                let a3 = coopLoadT<Left>(&a_tile[a_at + 3u * a_step], A_LINE);
#endif
#endif
#if B_T
                let b0 = coopLoad<Right>(&b_tile[b_at], B_LINE);
                let b1 = coopLoad<Right>(&b_tile[b_at + b_step], B_LINE);
#if LARGE
                let b2 = coopLoad<Right>(&b_tile[b_at + 2u * b_step], B_LINE);
                let b3 = coopLoad<Right>(&b_tile[b_at + 3u * b_step], B_LINE);
#endif
#else
                let b0 = coopLoadT<Right>(&b_tile[b_at], B_LINE);
                let b1 = coopLoadT<Right>(&b_tile[b_at + b_step], B_LINE);
#if LARGE
                let b2 = coopLoadT<Right>(&b_tile[b_at + 2u * b_step], B_LINE);
                let b3 = coopLoadT<Right>(&b_tile[b_at + 3u * b_step], B_LINE);
#endif
#endif
                c00 = coopMultiplyAdd(a0, b0, c00); c01 = coopMultiplyAdd(a0, b1, c01);
                c10 = coopMultiplyAdd(a1, b0, c10); c11 = coopMultiplyAdd(a1, b1, c11);
#if LARGE
                c02 = coopMultiplyAdd(a0, b2, c02); c03 = coopMultiplyAdd(a0, b3, c03);
                c12 = coopMultiplyAdd(a1, b2, c12); c13 = coopMultiplyAdd(a1, b3, c13);
                c20 = coopMultiplyAdd(a2, b0, c20); c21 = coopMultiplyAdd(a2, b1, c21); c22 = coopMultiplyAdd(a2, b2, c22); c23 = coopMultiplyAdd(a2, b3, c23);
                c30 = coopMultiplyAdd(a3, b0, c30); c31 = coopMultiplyAdd(a3, b1, c31); c32 = coopMultiplyAdd(a3, b2, c32); c33 = coopMultiplyAdd(a3, b3, c33);
#endif
            }
        }

        // The arguments of a store are named first: the SPIR-V writer forgets those that are expressions.
        let line = BLOCK * SIDE;
        let p0 = share * SUMS + quarter * SIDE * LINES;
        let p1 = p0 + SIDE;
#if LARGE
        let p2 = p0 + 2u * SIDE;
        let p3 = p0 + 3u * SIDE;
#endif
        let d00 = c00; let d01 = c01;
        coopStoreT(d00, &sums[p0], line);
        coopStoreT(d01, &sums[p1], line);
#if LARGE
        let d02 = c02; let d03 = c03;
        coopStoreT(d02, &sums[p2], line);
        coopStoreT(d03, &sums[p3], line);
#endif
        workgroupBarrier();
        leave(group.z, row, col, 0u, shares, t);
        workgroupBarrier();
        let d10 = c10; let d11 = c11;
        coopStoreT(d10, &sums[p0], line);
        coopStoreT(d11, &sums[p1], line);
#if LARGE
        let d12 = c12; let d13 = c13;
        coopStoreT(d12, &sums[p2], line);
        coopStoreT(d13, &sums[p3], line);
#endif
        workgroupBarrier();
        leave(group.z, row, col, 1u, shares, t);
#if LARGE
        workgroupBarrier();
        let d20 = c20; let d21 = c21; let d22 = c22; let d23 = c23;
        coopStoreT(d20, &sums[p0], line);
        coopStoreT(d21, &sums[p1], line);
        coopStoreT(d22, &sums[p2], line);
        coopStoreT(d23, &sums[p3], line);
        workgroupBarrier();
        leave(group.z, row, col, 2u, shares, t);
        workgroupBarrier();
        let d30 = c30; let d31 = c31; let d32 = c32; let d33 = c33;
        coopStoreT(d30, &sums[p0], line);
        coopStoreT(d31, &sums[p1], line);
        coopStoreT(d32, &sums[p2], line);
        coopStoreT(d33, &sums[p3], line);
        workgroupBarrier();
        leave(group.z, row, col, 3u, shares, t);
#endif
    }
}
