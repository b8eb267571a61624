// What all matrix products share: parameters, bindings, loads of both factors, and the way out.
//
// A_T: A is [K,M]. B_T: B is [N,K]. A_F16, B_F16: packed halves, with NATIVE_F16 array<f16>.
// A_VEC, B_VEC, C_VEC: bound as vectors of four, allowed when the leading dimension is a multiple of
// four (C_VEC: n and split_stride too). What is read beyond a matrix never reaches a valid output.
// ROUND: factors that are in f32 are rounded to f16 when they are loaded.
// CURVED: with the activations that are not pieces of lines; their exponentials take long to compile.
#if NATIVE_F16
enable f16;
#endif
#if ROUND
#import common/round
#endif

#import common/way_out

struct Params {
    m: u32, n: u32, k: u32,
    lda: u32, ldb: u32, ldc: u32,
    flags: u32,        // of common/way_out
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

// A factor as it enters the product.
fn rounded(x: vec4<f32>) -> vec4<f32> {
#if ROUND
    return round_to_half(x);
#else
    return x;
#endif
}

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
    return rounded(vec4(a[i / 4u][i % 4u])).x;
#else
    return rounded(vec4(a[i])).x;
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
    return rounded(a[at]);
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
    return rounded(vec4(b[i / 4u][i % 4u])).x;
#else
    return rounded(vec4(b[i])).x;
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
    return rounded(b[at]);
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
#if CURVED
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
#endif
        default: { return x; }
    }
}

// Bias, activation and the write of C[row, col..col+4] in part `part` of a split.
fn store(part: u32, row: u32, col: u32, sum: vec4<f32>) {
    if row >= p.m || col >= p.n { return; }
    var v = sum;
    if (p.flags & BIAS) != 0u {
        let at = min(vec4(col) + FOUR, vec4(p.n - 1u));
        v += vec4(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
    }
    v = activate(v);
    let at = part * p.split_stride + row * p.ldc + col;
#if C_VEC
    if (p.flags & ADD) != 0u { v += c[at / 4u]; }
    c[at / 4u] = v;
#else
    let count = min(p.n - col, 4u);
    for (var i = 0u; i < count; i++) {
        var x = v[i];
        if (p.flags & ADD) != 0u { x += c[at + i]; }
        c[at + i] = x;
    }
#endif
}
