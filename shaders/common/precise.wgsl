// e^x - 1 and ln(1 + x) near zero, where the language's exp and log leave no digits of the difference.

fn expm1_of(x: f32) -> f32 {
    if abs(x) > 0.5 {
        return exp(x) - 1.0;
    }
    return x * (1.0 + x * (0.5 + x * (0.166666667 + x * (0.0416666667 + x * (0.00833333333
        + x * (0.00138888889 + x * (1.98412698e-4 + x * 2.48015873e-5)))))));
}

fn log1p_of(x: f32) -> f32 {
    if x < -0.5 || x > 1.0 {
        return log(1.0 + x);
    }
    let t = x / (2.0 + x);
    let s = t * t;
    return 2.0 * t * (1.0 + s * (0.333333333 + s * (0.2 + s * (0.142857143 + s * (0.111111111
        + s * (0.0909090909 + s * 0.0769230769))))));
}
