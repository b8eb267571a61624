// Survival losses over the bags of a batch. A batch has thousands of bags at most, so sums over all pairs of
// bags need no sorting, and one workgroup adds up the results in a fixed order.
#import common/grid
#import common/lanes
#import common/activation

struct Hazard { bags: u32, cols: u32, alpha: f32, scale: f32 }
var<immediate> z: Hazard;
struct HazardGrad { bags: u32, cols: u32, alpha: f32, scale: f32, accumulate: u32 }
var<immediate> zg: HazardGrad;
struct Cox { bags: u32, efron: u32 }
var<immediate> co: Cox;
struct CoxGrad { bags: u32, scale: f32, accumulate: u32 }
var<immediate> cg: CoxGrad;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> bins: array<u32>;
@group(0) @binding(2) var<storage, read> events: array<f32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read> upstream: array<f32>;
@group(0) @binding(4) var<storage, read_write> loss4: array<f32>;
@group(0) @binding(5) var<storage, read_write> x_grad: array<f32>;

// ln of the smallest survival or hazard that counts, 1e-7.
const FLOOR = -16.118096;

fn softplus_of(v: f32) -> f32 {
    return softplus(vec4(v)).x;
}

fn sigmoid_of(v: f32) -> f32 {
    return safe_sigmoid(vec4(v)).x;
}

// ln of the survival through the bins before `end`, without its floor.
fn ln_survival(start: u32, end: u32) -> f32 {
    var sum = 0.0;
    for (var j = 0u; j < end; j++) {
        sum -= softplus_of(x[start + j]);
    }
    return sum;
}

@compute @workgroup_size(64)
fn hazard_loss(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var b = lane; b < z.bags; b += 64u) {
        let start = b * z.cols;
        let y = bins[b];
        let before = ln_survival(start, y);
        let logit = x[start + y];
        let seen = max(before, FLOOR) + max(-softplus_of(-logit), FLOOR);
        let censored = max(before - softplus_of(logit), FLOOR) * (1.0 - z.alpha);
        sum -= weights[b] * (events[b] * seen + (1.0 - events[b]) * censored);
    }
    let whole = sum_lanes(lane, sum);
    if lane == 0u {
        loss4[0] = whole * z.scale;
    }
}

// A floored term has no gradient.
@compute @workgroup_size(64)
fn hazard_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let b = group_of(group, groups) * 64u + lane;
    if b >= zg.bags {
        return;
    }
    let start = b * zg.cols;
    let y = bins[b];
    let before = ln_survival(start, y);
    let logit = x[start + y];
    let factor = upstream[0] * zg.scale * weights[b];
    let seen = factor * events[b];
    let censored = factor * (1.0 - events[b]) * (1.0 - zg.alpha);
    let seen_before = select(0.0, seen, before > FLOOR);
    let seen_at = select(0.0, seen, -softplus_of(-logit) > FLOOR);
    let survived = select(0.0, censored, before - softplus_of(logit) > FLOOR);
    for (var j = 0u; j < zg.cols; j++) {
        let v = x[start + j];
        var value = 0.0;
        if j < y {
            value = (seen_before + survived) * sigmoid_of(v);
        } else if j == y {
            value = survived * sigmoid_of(v) - seen_at * sigmoid_of(-v);
        }
        if zg.accumulate != 0u {
            value += x_grad[start + j];
        }
        x_grad[start + j] = value;
    }
}

@group(0) @binding(1) var<storage, read> times: array<f32>;
@group(0) @binding(3) var<storage, read_write> terms: array<vec4<f32>>;

// terms[b] = (q, -v, first, ties) for an event of bag b: q_b = ln( sum over R of e^theta - f sum over D of
// e^theta ), R the bags whose time is not before that of b, D the events at the time of b, f the place of b
// among them over their number (0 without the correction of Efron). A bag without an event has no q.
@compute @workgroup_size(64)
fn cox_terms(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let b = group_of(group, groups) * 64u + lane;
    if b >= co.bags {
        return;
    }
    if events[b] <= 0.0 {
        terms[b] = vec4(0.0);
        return;
    }
    let time = times[b];
    var largest = x[b];
    var ties = 0.0;
    var place = 0.0;
    for (var i = 0u; i < co.bags; i++) {
        if times[i] >= time {
            largest = max(largest, x[i]);
        }
        if times[i] == time && events[i] > 0.0 {
            ties += 1.0;
            place += select(0.0, 1.0, i < b);
        }
    }
    let share = select(0.0, place / ties, co.efron != 0u);
    // The tied events at (1 - f), the others whole: no difference is taken, so nothing cancels.
    var sum = 0.0;
    for (var i = 0u; i < co.bags; i++) {
        if times[i] >= time {
            let tied = times[i] == time && events[i] > 0.0;
            sum += exp(x[i] - largest) * select(1.0, 1.0 - share, tied);
        }
    }
    terms[b] = vec4(largest + log(sum), share, ties, place);
}

@group(0) @binding(1) var<storage, read> terms1: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out3: array<f32>;

// out3 = (mean over events of q - theta, 1 / events); no event gives 0.
@compute @workgroup_size(64)
fn cox_loss(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    var count = 0.0;
    for (var b = lane; b < cg.bags; b += 64u) {
        if events[b] > 0.0 {
            sum += terms1[b].x - x[b];
            count += 1.0;
        }
    }
    let whole = sum_lanes2(lane, vec2(sum, count));
    if lane == 0u {
        out3[0] = whole.x * cg.scale / max(whole.y, 1.0);
    }
}

@group(0) @binding(3) var<storage, read> terms3: array<vec4<f32>>;

// theta_b gets -1 for its own event, and from each event not after it e^(theta_b - q), less the share f of
// the events at the same time when it is one of them; all over the number of events.
@compute @workgroup_size(64)
fn cox_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let b = group_of(group, groups) * 64u + lane;
    if b >= cg.bags {
        return;
    }
    var sum = 0.0;
    var count = 0.0;
    for (var i = 0u; i < cg.bags; i++) {
        if events[i] <= 0.0 {
            continue;
        }
        count += 1.0;
        if times[i] <= times[b] {
            let tied = times[i] == times[b] && events[b] > 0.0;
            sum += exp(x[b] - terms3[i].x) * select(1.0, 1.0 - terms3[i].y, tied);
        }
    }
    sum -= select(0.0, 1.0, events[b] > 0.0);
    var value = sum * upstream[0] * cg.scale / max(count, 1.0);
    if cg.accumulate != 0u {
        value += x_grad[b];
    }
    x_grad[b] = value;
}
