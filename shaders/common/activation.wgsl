// Pointwise functions and their derivatives, in forms that neither overflow nor cancel.

fn safe_tanh(x: vec4<f32>) -> vec4<f32> {
    let a = min(abs(x), vec4(15.0));
    let far = 1.0 - 2.0 / (exp(2.0 * a) + 1.0);
    let z = x * x;
    // 1 - 2/(e^2x + 1) loses its digits near zero; the odd polynomial keeps them.
    let near = a + a * z * (-3.33332819422e-1 + z * (1.33314422036e-1 + z * (-5.37397155531e-2
        + z * (2.06390887954e-2 + z * -5.70498872745e-3))));
    return sign(x) * select(far, near, a < vec4(0.625));
}

fn safe_sigmoid(x: vec4<f32>) -> vec4<f32> {
    // e^-|x| never overflows.
    let e = exp(-abs(x));
    let s = 1.0 / (1.0 + e);
    return select(e * s, s, x >= vec4(0.0));
}

// ln(1 + x) for -0.5 <= x <= 1: WGSL's log is only exact to an absolute error near one.
fn log1p_unit(x: vec4<f32>) -> vec4<f32> {
    let t = x / (2.0 + x);
    let s = t * t;
    return 2.0 * t * (1.0 + s * (0.333333333 + s * (0.2 + s * (0.142857143 + s * (0.111111111
        + s * (0.0909090909 + s * 0.0769230769))))));
}

fn softplus(x: vec4<f32>) -> vec4<f32> {
    return max(x, vec4(0.0)) + log1p_unit(exp(-abs(x)));
}

// e^x - 1; near zero exp leaves no digits of the difference.
fn expm1_vec(x: vec4<f32>) -> vec4<f32> {
    let near = x * (1.0 + x * (0.5 + x * (0.166666667 + x * (0.0416666667 + x * (0.00833333333
        + x * (0.00138888889 + x * (1.98412698e-4 + x * 2.48015873e-5)))))));
    return select(exp(x) - 1.0, near, abs(x) <= vec4(0.5));
}

// The share of a standard normal below x: half of erfc(-x / sqrt 2), to a relative error of 1.2e-7 (Numerical Recipes).
fn normal_share(x: vec4<f32>) -> vec4<f32> {
    let z = abs(x) * 0.70710678118;
    let t = 1.0 / (1.0 + 0.5 * z);
    let p = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * (0.27886807
        + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
    let tail = 0.5 * t * exp(p - z * z);
    return select(tail, 1.0 - tail, x >= vec4(0.0));
}

fn log_sigmoid(x: vec4<f32>) -> vec4<f32> {
    return min(x, vec4(0.0)) - log1p_unit(exp(-abs(x)));
}

// ln(1 - e^x) for x <= 0, kept 1e-7 below it (Maechler 2012): each form where it keeps its digits.
fn log1mexp(x: vec4<f32>) -> vec4<f32> {
    let a = min(x, vec4(-1e-7));
    return select(log1p_unit(-exp(min(a, vec4(-0.693)))), log(-expm1_vec(max(a, vec4(-0.7)))), a > vec4(-0.693));
}

fn activation(kind: u32, slope: f32, x: vec4<f32>) -> vec4<f32> {
    switch kind {
        case 1u: { return max(x, vec4(0.0)); }
        case 2u: { return select(x * slope, x, x > vec4(0.0)); }
        case 3u: { return safe_tanh(x); }
        case 4u: { return safe_sigmoid(x); }
        case 5u: { return softplus(x); }
        case 6u: { return log(x); }
        case 7u: { return exp(x); }
        case 8u: { return log_sigmoid(x); }
        case 9u: { return log1mexp(x); }
        case 10u: { return clamp(x, vec4(-slope), vec4(slope)); }
        case 11u: { return sqrt(max(x, vec4(0.0))); }
        default: { return x; }
    }
}

// The derivative, from the output y of the activation.
fn slope_of(kind: u32, slope: f32, y: vec4<f32>) -> vec4<f32> {
    switch kind {
        case 1u: { return select(vec4(0.0), vec4(1.0), y > vec4(0.0)); }
        case 2u: { return select(vec4(slope), vec4(1.0), y > vec4(0.0)); }
        case 3u: { return 1.0 - y * y; }
        case 4u: { return y * (1.0 - y); }
        // 1 - e^-y, as a series where the difference would cancel.
        case 5u: { return select(1.0 - exp(-y), y * (1.0 - 0.5 * y * (1.0 - y / 3.0)), y < vec4(1e-2)); }
        case 6u: { return exp(-y); }
        case 7u: { return y; }
        case 8u: { return -expm1_vec(y); }
        case 9u: { return -expm1_vec(-y); }
        case 10u: { return select(vec4(0.0), vec4(1.0), abs(y) < vec4(slope)); }
        case 11u: { return select(vec4(0.0), 0.5 / y, y > vec4(0.0)); }
        default: { return vec4(1.0); }
    }
}
