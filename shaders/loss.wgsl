// Losses over bags. One workgroup adds up a batch's bags in a fixed order: a batch has thousands at most.
#import common/grid
#import common/lanes
#import common/activation

// each: 1 where every output of a bag has a weight of its own, 0 where a bag has one. smoothing: the share of a target that
// all classes have in common. focusing: the power of 1 - p that a class counts by.
struct Sigmoid { bags: u32, cols: u32, clamp: f32, scale: f32, each: u32, smoothing: f32, focusing: f32 }
var<immediate> s: Sigmoid;
struct SigmoidGrad {
    bags: u32, cols: u32, clamp: f32, scale: f32, each: u32, smoothing: f32, focusing: f32, accumulate: u32,
}
var<immediate> sg: SigmoidGrad;
struct Softmax { bags: u32, cols: u32, scale: f32, smoothing: f32, focusing: f32 }
var<immediate> m: Softmax;
struct SoftmaxGrad { bags: u32, cols: u32, scale: f32, smoothing: f32, focusing: f32, accumulate: u32 }
var<immediate> mg: SoftmaxGrad;
// The margin and the temperature of a smooth maximum, and the gap between the two largest scores from which on the
// maximum is the plain one.
struct Svm { rows: u32, cols: u32, margin: f32, temperature: f32, gap: f32, scale: f32 }
var<immediate> v: Svm;
struct SvmGrad { rows: u32, cols: u32, margin: f32, temperature: f32, gap: f32, scale: f32, accumulate: u32 }
var<immediate> vg: SvmGrad;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> upstream: array<f32>;
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> x_grad: array<f32>;

// The sum over the 64 invocations is the loss.
fn finish(lane: u32, value: f32, scale: f32) {
    let sum = sum_lanes(lane, value);
    if lane == 0u {
        loss[0] = sum * scale;
    }
}

// A target with a share of both.
fn smoothed(y: f32, smoothing: f32) -> f32 {
    return y * (1.0 - smoothing) + 0.5 * smoothing;
}

// -[y (1 - p)^focusing ln p + (1 - y) p^focusing ln(1 - p)] of a logit; with a clamp p is kept in [clamp, 1 - clamp].
fn entropy(logit: f32, y: f32, clamp_at: f32, focusing: f32) -> f32 {
    var ln_p = 0.0;
    var ln_q = 0.0;
    if clamp_at > 0.0 {
        // Comparisons that a NaN fails: a model that diverged must not look as if it had a loss.
        let q = safe_sigmoid(vec4(logit)).x;
        let p = select(select(q, clamp_at, q < clamp_at), 1.0 - clamp_at, q > 1.0 - clamp_at);
        ln_p = log(p);
        ln_q = log(1.0 - p);
    } else if focusing == 0.0 {
        return softplus(vec4(logit)).x - logit * y;
    } else {
        let both = softplus(vec4(logit, -logit, 0.0, 0.0));
        ln_p = -both.y;
        ln_q = -both.x;
    }
    if focusing == 0.0 {
        return -(y * ln_p + (1.0 - y) * ln_q);
    }
    return -(y * exp(focusing * ln_q) * ln_p + (1.0 - y) * exp(focusing * ln_p) * ln_q);
}

// The slope of the same where nothing is clamped.
fn entropy_slope(logit: f32, y: f32, focusing: f32) -> f32 {
    let p = safe_sigmoid(vec4(logit)).x;
    if focusing == 0.0 {
        return p - y;
    }
    let q = safe_sigmoid(vec4(-logit)).x;
    let both = softplus(vec4(logit, -logit, 0.0, 0.0));
    let hit = exp(-focusing * both.x) * (focusing * p * both.y + q);
    let miss = exp(-focusing * both.y) * (focusing * q * both.x + p);
    return (1.0 - y) * miss - y * hit;
}

@compute @workgroup_size(64)
fn sigmoid_loss(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < s.bags * s.cols; i += 64u) {
        let weight = weights[select(i / s.cols, i, s.each != 0u)];
        sum += weight * entropy(x[i], smoothed(targets[i], s.smoothing), s.clamp, s.focusing);
    }
    finish(lane, sum, s.scale / f32(s.cols));
}

@compute @workgroup_size(64)
fn sigmoid_loss_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= sg.bags * sg.cols {
        return;
    }
    let q = safe_sigmoid(vec4(x[i])).x;
    let clamped = sg.clamp > 0.0 && (q < sg.clamp || q > 1.0 - sg.clamp);
    let weight = weights[select(i / sg.cols, i, sg.each != 0u)];
    let factor = upstream[0] * sg.scale * weight / f32(sg.cols);
    let slope = entropy_slope(x[i], smoothed(targets[i], sg.smoothing), sg.focusing);
    var value = select(factor * slope, 0.0, clamped);
    if sg.accumulate != 0u {
        value += x_grad[i];
    }
    x_grad[i] = value;
}

fn log_sum_exp(start: u32, cols: u32) -> f32 {
    var largest = x[start];
    for (var c = 1u; c < cols; c++) {
        largest = max(largest, x[start + c]);
    }
    var sum = 0.0;
    for (var c = 0u; c < cols; c++) {
        sum += exp(x[start + c] - largest);
    }
    return largest + log(sum);
}

// The target of a class.
fn share(hit: bool, cols: u32, smoothing: f32) -> f32 {
    return smoothing / f32(cols) + select(0.0, 1.0 - smoothing, hit);
}

// What 1 - p is to the power of the focusing, of ln p.
fn focus(ln_p: f32, focusing: f32) -> f32 {
    if focusing == 0.0 {
        return 1.0;
    }
    let rest = -expm1_vec(vec4(ln_p)).x;
    // Comparisons that a NaN fails.
    return select(pow(rest, focusing), 0.0, rest <= 0.0);
}

@compute @workgroup_size(64)
fn softmax_loss(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var bag = lane; bag < m.bags; bag += 64u) {
        let start = bag * m.cols;
        let lse = log_sum_exp(start, m.cols);
        let ln_p = x[start + labels[bag]] - lse;
        var value = share(true, m.cols, m.smoothing) * focus(ln_p, m.focusing) * -ln_p;
        if m.smoothing > 0.0 {
            for (var c = 0u; c < m.cols; c++) {
                if c != labels[bag] {
                    let ln_p = x[start + c] - lse;
                    value += share(false, m.cols, m.smoothing) * focus(ln_p, m.focusing) * -ln_p;
                }
            }
        }
        sum += weights[bag] * value;
    }
    finish(lane, sum, m.scale);
}

// The slope of a class's part in the loss along ln p.
fn focus_slope(ln_p: f32, focusing: f32) -> f32 {
    if focusing == 0.0 {
        return -1.0;
    }
    let rest = -expm1_vec(vec4(ln_p)).x;
    return select(pow(rest, focusing) * (focusing * exp(ln_p) * ln_p / rest - 1.0), 0.0, rest <= 0.0);
}

@compute @workgroup_size(64)
fn softmax_loss_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let bag = group_of(group, groups) * 64u + lane;
    if bag >= mg.bags {
        return;
    }
    let start = bag * mg.cols;
    let lse = log_sum_exp(start, mg.cols);
    let factor = upstream[0] * mg.scale * weights[bag];
    // All shares are 1 together, so without focusing this is -1.
    var total = -1.0;
    if mg.focusing != 0.0 {
        total = 0.0;
        for (var c = 0u; c < mg.cols; c++) {
            total += share(c == labels[bag], mg.cols, mg.smoothing) * focus_slope(x[start + c] - lse, mg.focusing);
        }
    }
    for (var c = 0u; c < mg.cols; c++) {
        let ln_p = x[start + c] - lse;
        let own = share(c == labels[bag], mg.cols, mg.smoothing) * focus_slope(ln_p, mg.focusing);
        var value = factor * (own - exp(ln_p) * total);
        if mg.accumulate != 0u {
            value += x_grad[start + c];
        }
        x_grad[start + c] = value;
    }
}

// What a row of scores says of its label: where it starts, the label, and whether the maximum is the plain one.
struct Row { start: u32, cols: u32, label: u32, hard: bool }

// By bits, as a comparison with what is not finite may be optimised away: such scores must show in the loss.
fn is_finite(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u;
}

fn row_of(row: u32, cols: u32, gap: f32) -> Row {
    let start = row * cols;
    var largest = x[start];
    var second = x[start + 1u];
    if second > largest {
        largest = x[start + 1u];
        second = x[start];
    }
    var finite = is_finite(largest) && is_finite(second);
    for (var c = 2u; c < cols; c++) {
        let value = x[start + c];
        finite = finite && is_finite(value);
        second = max(second, min(value, largest));
        largest = max(largest, value);
    }
    return Row(start, cols, labels[row], finite && largest - second >= gap);
}

// Score c less that of the label, and the margin where it is another.
fn margin_of(row: Row, c: u32, margin: f32) -> f32 {
    return select(x[row.start + c] - x[row.start + row.label] + margin, 0.0, c == row.label);
}

// The largest margin and its column.
fn largest_margin(row: Row, margin: f32) -> vec2<f32> {
    var best = vec2(margin_of(row, 0u, margin), 0.0);
    for (var c = 1u; c < row.cols; c++) {
        let value = margin_of(row, c, margin);
        if value > best.x {
            best = vec2(value, f32(c));
        }
    }
    return best;
}

fn sum_of_margins(row: Row, margin: f32, temperature: f32, largest: f32) -> f32 {
    var sum = 0.0;
    for (var c = 0u; c < row.cols; c++) {
        sum += exp((margin_of(row, c, margin) - largest) / temperature);
    }
    return sum;
}

@compute @workgroup_size(64)
fn svm_loss(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < v.rows; i += 64u) {
        let row = row_of(i, v.cols, v.gap);
        let largest = largest_margin(row, v.margin).x;
        var value = largest;
        if !row.hard {
            value += v.temperature * log(sum_of_margins(row, v.margin, v.temperature, largest));
        }
        // Not every exp and maximum carries a NaN on.
        for (var c = 0u; c < row.cols; c++) {
            let score = x[row.start + c];
            if (bitcast<u32>(score) & 0x7fffffffu) > 0x7f800000u {
                value = score;
            }
        }
        sum += weights[i] * value;
    }
    finish(lane, sum, v.scale);
}

@compute @workgroup_size(64)
fn svm_loss_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= vg.rows {
        return;
    }
    let row = row_of(i, vg.cols, vg.gap);
    let best = largest_margin(row, vg.margin);
    let total = sum_of_margins(row, vg.margin, vg.temperature, best.x);
    let factor = upstream[0] * vg.scale * weights[i];
    for (var c = 0u; c < row.cols; c++) {
        let soft = exp((margin_of(row, c, vg.margin) - best.x) / vg.temperature) / total;
        let share = select(soft, select(0.0, 1.0, f32(c) == best.y), row.hard);
        var value = factor * (share - select(0.0, 1.0, c == row.label));
        if vg.accumulate != 0u {
            value += x_grad[row.start + c];
        }
        x_grad[row.start + c] = value;
    }
}
