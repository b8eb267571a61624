// Diagonal Gaussians given by mean and logarithm of the variance: samples, the divergence from the standard
// normal distribution, and the logarithm of the density.
#import common/grid
#import common/philox
#import common/precise

const BACKWARD = 1u; // The gradient of the logarithm of the variance.
const ADD = 2u; // It is added to what is there.
struct Draw {
    count: u32, site: u32, seed_low: u32, seed_high: u32, step: u32, flags: u32,
    // Place of the first value among those of the whole batch.
    first: u32,
}
var<immediate> d: Draw;
// each: rows are kept apart, and not shares of a mean over all of them.
struct Divergence { rows: u32, cols: u32, each: u32 }
var<immediate> k: Divergence;
struct DivergenceGrad { rows: u32, cols: u32, scale: f32, accumulate: u32, of_variance: u32, each: u32 }
var<immediate> kg: DivergenceGrad;

// Columns of the means and of the logarithms: those of x, or 1 for all of them. which: 0 x, 1 means, 2 logarithms.
struct Density { rows: u32, cols: u32, means: u32, logs: u32, which: u32, accumulate: u32 }
var<immediate> e: Density;

@group(0) @binding(0) var<storage, read> x0: array<f32>;
@group(0) @binding(1) var<storage, read> x1: array<f32>;
@group(0) @binding(2) var<storage, read_write> y2: array<f32>;
@group(0) @binding(2) var<storage, read> x2: array<f32>;
@group(0) @binding(3) var<storage, read> x3: array<f32>;
@group(0) @binding(3) var<storage, read_write> y3: array<f32>;
@group(0) @binding(4) var<storage, read_write> y4: array<f32>;

fn ln_of(u: f32) -> f32 {
    // 1 - u is exact there, and the language's log is not.
    if u > 0.5 {
        return log1p_of(u - 1.0);
    }
    return log(u);
}

// Two normal numbers (Box-Muller). The angle is a whole number of quarter turns and at most an eighth of a
// turn more, so polynomials give its sine and cosine on every device alike.
fn normals(a: u32, b: u32) -> vec2<f32> {
    let radius = sqrt(-2.0 * ln_of((f32(a >> 9u) + 0.5) * 1.1920928955078125e-7));
    let t = (f32((b >> 7u) & 0x7fffffu) * 1.1920928955078125e-7 - 0.5) * 1.57079632679;
    let s = t * t;
    let sine = t * (1.0 + s * (-0.166666667 + s * (0.00833333333 + s * (-1.98412698e-4 + s * 2.75573192e-6))));
    let cosine = 1.0 + s * (-0.5 + s * (0.0416666667 + s * (-0.00138888889 + s * (2.48015873e-5
        - s * 2.75573192e-7))));
    let quarter = b >> 30u;
    var turned = vec2(cosine, sine);
    if (quarter & 1u) != 0u {
        turned = vec2(-sine, cosine);
    }
    if (quarter & 2u) != 0u {
        turned = -turned;
    }
    return radius * turned;
}

// Four values share one block of random words. flags: 1 backward, 2 add.
// Forward: y2 = x0 + e^(x1 / 2) eps. Backward: y2 (+)= x0 eps e^(x1 / 2) / 2, x0 the gradient of the sample.
@compute @workgroup_size(64)
fn gaussian_sample(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u >= d.count {
        return;
    }
    let words = philox(vec4(d.first / 4u + i, d.site, d.step, 1u), vec2(d.seed_low, d.seed_high));
    let eps = vec4(normals(words.x, words.y), normals(words.z, words.w));
    for (var j = 0u; j < min(4u, d.count - i * 4u); j++) {
        let o = i * 4u + j;
        let noise = exp(0.5 * x1[o]) * eps[j];
        if (d.flags & BACKWARD) == 0u {
            y2[o] = x0[o] + noise;
        } else {
            y2[o] = 0.5 * x0[o] * noise + select(0.0, y2[o], (d.flags & ADD) != 0u);
        }
    }
}

// e^v - 1 - v.
fn convex(v: f32) -> f32 {
    if abs(v) > 0.5 {
        return exp(v) - 1.0 - v;
    }
    return v * v * (0.5 + v * (0.166666667 + v * (0.0416666667 + v * (0.00833333333 + v * (0.00138888889
        + v * (1.98412698e-4 + v * 2.48015873e-5))))));
}

// y2[r] = the mean over the columns of (mean^2 + variance - 1 - ln variance) / 2; row r's part of the mean over all
// rows unless each is kept apart.
@compute @workgroup_size(64)
fn gaussian_kl(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= k.rows {
        return;
    }
    var sum = 0.0;
    for (var c = 0u; c < k.cols; c++) {
        let o = r * k.cols + c;
        sum += x0[o] * x0[o] + convex(x1[o]);
    }
    y2[r] = 0.5 * sum / (f32(k.cols) * select(f32(k.rows), 1.0, k.each != 0u));
}

// y2 (+)= upstream (x1, of each row or of all) scale / values averaged over times x0 for the mean, (e^x0 - 1) / 2 for the logarithm of the variance.
@compute @workgroup_size(64)
fn gaussian_kl_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= kg.rows * kg.cols {
        return;
    }
    var value = x0[i];
    if kg.of_variance != 0u {
        value = 0.5 * expm1_of(value);
    }
    if kg.each != 0u {
        value *= x1[i / kg.cols] * kg.scale / f32(kg.cols);
    } else {
        value *= x1[0] * kg.scale / (f32(kg.cols) * f32(kg.rows));
    }
    y2[i] = value + select(0.0, y2[i], kg.accumulate != 0u);
}

// Place of column c of row r in a matrix of `cols` columns, which may be one for all.
fn column(r: u32, c: u32, cols: u32) -> u32 {
    return r * cols + select(0u, c, cols > 1u);
}

// y3[r] = the sum over the columns of ln N(x0; x1, e^x2).
@compute @workgroup_size(64)
fn gaussian_log(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= e.rows {
        return;
    }
    var sum = 0.0;
    for (var c = 0u; c < e.cols; c++) {
        let v = x2[column(r, c, e.logs)];
        let d = x0[r * e.cols + c] - x1[column(r, c, e.means)];
        sum += d * d * exp(-v) + v;
    }
    y3[r] = -0.5 * sum - 0.918938533 * f32(e.cols);
}

// y4 (+)= the gradient for x0, for the means or for the logarithms; x3 that of each row.
@compute @workgroup_size(64)
fn gaussian_log_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= e.rows {
        return;
    }
    let cols = select(select(e.logs, e.means, e.which == 1u), e.cols, e.which == 0u);
    var sum = 0.0;
    for (var c = 0u; c < e.cols; c++) {
        let v = x2[column(r, c, e.logs)];
        let d = x0[r * e.cols + c] - x1[column(r, c, e.means)];
        let pull = d * exp(-v);
        var value = select(select(0.5 * (d * pull - 1.0), pull, e.which == 1u), -pull, e.which == 0u) * x3[r];
        sum += value;
        // One for all columns is written after the last.
        if cols == e.cols || c + 1u == e.cols {
            if cols != e.cols {
                value = sum;
            }
            let at = column(r, c, cols);
            y4[at] = select(value, value + y4[at], e.accumulate != 0u);
        }
    }
}
