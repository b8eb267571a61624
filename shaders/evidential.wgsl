// Evidential losses over Dirichlet distributions: row r has evidence e >= 0 for each class, alpha = 1 + e. The
// gamma function's relatives are needed for arguments >= 1 only, where a shift up to 6 and the asymptotic series
// leave an error of at most 3e-7 relative (trigamma, tetragamma), 4e-7 (remainder of Stirling) and 2e-7
// absolute (remainder of digamma). Differences that cancel are formed in closed form.
#import common/grid
#import common/precise

// label: the true class of all rows, or classes and more for labels[r]. The last four are the factors of the terms.
const FISHER = 1u; // Flag: squared errors are weighted by trigamma(alpha).
const ACCUMULATE = 2u; // Flag: the gradient is added to what is there.
struct Params { rows: u32, classes: u32, label: u32, flags: u32, log_gamma: f32, squared: f32, fisher: f32, divergence: f32, red: f32 }
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> evidence: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(2) var<storage, read> upstream: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(1) var<storage, read_write> uncertainty: array<f32>;

const HALF_LOG_TAU = 0.918938533;

fn trigamma(x: f32) -> f32 {
    var y = x;
    var sum = 0.0;
    while y < 6.0 {
        sum += 1.0 / (y * y);
        y += 1.0;
    }
    let z = 1.0 / y;
    let s = z * z;
    return sum + z * (1.0 + z * (0.5 + z * (0.166666667 + s * (-0.0333333333 + s * (0.0238095238 - s * 0.0333333333)))));
}

fn tetragamma(x: f32) -> f32 {
    var y = x;
    var sum = 0.0;
    while y < 6.0 {
        sum -= 2.0 / (y * y * y);
        y += 1.0;
    }
    let z = 1.0 / y;
    let s = z * z;
    return sum - s * (1.0 + z + s * (0.5 + s * (-0.166666667 + s * (0.166666667 - s * 0.3))));
}

// ln Gamma(x) - ((x - 1/2) ln x - x + ln(2 pi) / 2).
fn stirling_rest(x: f32) -> f32 {
    var y = x;
    var sum = 0.0;
    while y < 6.0 {
        sum += (y + 0.5) * log1p_of(1.0 / y) - 1.0;
        y += 1.0;
    }
    let z = 1.0 / y;
    let s = z * z;
    return sum + z * (0.0833333333 + s * (-0.00277777778 + s * 7.93650794e-4));
}

// ln x - 1 / (2 x) - digamma(x).
fn digamma_rest(x: f32) -> f32 {
    var y = x;
    var sum = 0.0;
    while y < 6.0 {
        sum += 0.5 / y + 0.5 / (y + 1.0) - log1p_of(1.0 / y);
        y += 1.0;
    }
    let s = 1.0 / (y * y);
    return sum + s * (0.0833333333 + s * (-0.00833333333 + s * 0.00396825397));
}

// x trigamma(x) - 1.
fn trigamma_rest(x: f32, psi1: f32) -> f32 {
    if x <= 6.0 {
        return x * psi1 - 1.0;
    }
    let z = 1.0 / x;
    let s = z * z;
    return 0.5 * z + s * (0.166666667 + s * (-0.0333333333 + s * 0.0238095238));
}

// -x^2 tetragamma(x) - 1.
fn tetragamma_rest(x: f32, psi2: f32) -> f32 {
    if x <= 6.0 {
        return -x * x * psi2 - 1.0;
    }
    let z = 1.0 / x;
    let s = z * z;
    return z + s * (0.5 + s * (-0.166666667 + s * (0.166666667 - s * 0.3)));
}

// KL(Dir(alpha) || Dir(1)) of a row, the concentration of class `skip` taken as 1.
fn divergence(start: u32, skip: u32) -> f32 {
    var sum = f32(p.classes);
    for (var k = 0u; k < p.classes; k++) {
        sum += select(evidence[start + k], 0.0, k == skip);
    }
    let classes = f32(p.classes);
    let rest = digamma_rest(sum);
    var value = (classes - 0.5) * log(sum) + (1.0 - classes) * HALF_LOG_TAU - p.log_gamma + stirling_rest(sum);
    for (var k = 0u; k < p.classes; k++) {
        let e = select(evidence[start + k], 0.0, k == skip);
        let a = 1.0 + e;
        value -= 0.5 * log1p_of(e) + stirling_rest(a) + e * (0.5 / a - 0.5 / sum + digamma_rest(a) - rest);
    }
    return value;
}

fn label_of(r: u32) -> u32 {
    if p.label < p.classes {
        return p.label;
    }
    return min(labels[r], p.classes - 1u);
}

// losses[r] = the factors times (squared error, -ln det Fisher, KL of what speaks for wrong classes, -K/S ln e_true).
@compute @workgroup_size(64)
fn evidential_loss(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= p.rows {
        return;
    }
    let start = r * p.classes;
    let truth = label_of(r);
    let classes = f32(p.classes);
    var sum = classes;
    for (var k = 0u; k < p.classes; k++) {
        sum += evidence[start + k];
    }
    let rest = trigamma_rest(sum, trigamma(sum));
    var squared = 0.0;
    var logs = 0.0;
    var inner = 0.0;
    for (var k = 0u; k < p.classes; k++) {
        let a = 1.0 + evidence[start + k];
        let q = a / sum;
        let psi1 = trigamma(a);
        let miss = f32(k == truth) - q;
        let term = miss * miss + q * (1.0 - q) / (sum + 1.0);
        squared += term * select(1.0, psi1, (p.flags & FISHER) != 0u);
        let own = trigamma_rest(a, psi1);
        logs += log(psi1);
        inner += q * (own - rest) / (1.0 + own);
    }
    var kl = 0.0;
    if p.classes == 2u {
        let e = evidence[start + 1u - truth];
        kl = log1p_of(e) - e / (1.0 + e);
    } else {
        kl = divergence(start, truth);
    }
    let red = -classes / sum * log(evidence[start + truth] + 1e-16);
    // A term that is switched off may be infinite.
    var value = p.squared * squared;
    value += select(0.0, -p.fisher * (logs + log(inner)), p.fisher != 0.0);
    value += select(0.0, p.divergence * kl, p.divergence != 0.0);
    value += select(0.0, p.red * red, p.red != 0.0);
    losses[r] = value;
}

// gradient (+)= that of the losses for the evidence.
@compute @workgroup_size(64)
fn evidential_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= p.rows {
        return;
    }
    let start = r * p.classes;
    let truth = label_of(r);
    let classes = f32(p.classes);
    let weighted = (p.flags & FISHER) != 0u;
    var sum = classes;
    for (var k = 0u; k < p.classes; k++) {
        sum += evidence[start + k];
    }
    let sum_psi1 = trigamma(sum);
    let rest = trigamma_rest(sum, sum_psi1);
    let sum_curve = tetragamma_rest(sum, tetragamma(sum));
    var pulls = 0.0;
    var spread = 0.0;
    var inner = 0.0;
    for (var k = 0u; k < p.classes; k++) {
        let a = 1.0 + evidence[start + k];
        let q = a / sum;
        let psi1 = trigamma(a);
        let weight = select(1.0, psi1, weighted);
        pulls += q * weight * (-2.0 * (f32(k == truth) - q) + (1.0 - 2.0 * q) / (sum + 1.0));
        spread += weight * q * (1.0 - q);
        let own = trigamma_rest(a, psi1);
        inner += q * (own - rest) / (1.0 + own);
    }
    let common_part = (sum_curve - inner - sum_curve * inner - rest) / (1.0 + rest);
    let true_evidence = evidence[start + truth] + 1e-16;
    // What speaks for wrong classes, as a distribution of its own.
    let wrong_sum = sum - evidence[start + truth];
    let wrong_psi1 = trigamma(wrong_sum);
    let wrong_rest = trigamma_rest(wrong_sum, wrong_psi1);
    for (var j = 0u; j < p.classes; j++) {
        let e = evidence[start + j];
        let a = 1.0 + e;
        let q = a / sum;
        let psi1 = trigamma(a);
        let psi2 = tetragamma(a);
        let miss = f32(j == truth) - q;
        let weight = select(1.0, psi1, weighted);
        let pull = weight * (-2.0 * miss + (1.0 - 2.0 * q) / (sum + 1.0));
        var value = (pull - pulls) / sum - spread / ((sum + 1.0) * (sum + 1.0));
        value += select(0.0, psi2 * (miss * miss + q * (1.0 - q) / (sum + 1.0)), weighted);
        value *= p.squared;
        if p.fisher != 0.0 {
            let own = trigamma_rest(a, psi1);
            let curve = tetragamma_rest(a, psi2);
            let own_part = (rest + curve + rest * curve - 2.0 * own - own * own) / ((1.0 + own) * (1.0 + own));
            value -= p.fisher * (psi2 / psi1 + (common_part - own_part) / (sum * inner));
        }
        if p.divergence != 0.0 && j != truth {
            if p.classes == 2u {
                value += p.divergence * e / ((1.0 + e) * (1.0 + e));
            } else {
                value += p.divergence * (trigamma_rest(a, psi1) - psi1 - wrong_rest + classes * wrong_psi1);
            }
        }
        if p.red != 0.0 {
            let log_part = classes / (sum * sum) * log(true_evidence);
            value += p.red * (log_part - select(0.0, classes / (sum * true_evidence), j == truth));
        }
        value *= upstream[r];
        if (p.flags & ACCUMULATE) != 0u {
            value += gradient[start + j];
        }
        gradient[start + j] = value;
    }
}

// uncertainty[r] = (K / S, differential entropy, mutual information of class and distribution).
@compute @workgroup_size(64)
fn dirichlet_uncertainty(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= p.rows {
        return;
    }
    let start = r * p.classes;
    var sum = f32(p.classes);
    for (var k = 0u; k < p.classes; k++) {
        sum += evidence[start + k];
    }
    let rest = digamma_rest(sum);
    var information = 0.0;
    for (var k = 0u; k < p.classes; k++) {
        let a = 1.0 + evidence[start + k];
        information += a / sum * (0.5 / a - digamma_rest(a) - 0.5 / sum + rest);
    }
    uncertainty[3u * r] = f32(p.classes) / sum;
    uncertainty[3u * r + 1u] = -divergence(start, p.classes) - p.log_gamma;
    uncertainty[3u * r + 2u] = information;
}
