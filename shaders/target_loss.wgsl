// Losses of rows of outputs against rows of real targets: one number a row, added up by other kernels.
// kind: 0 squared error (mean over columns), 1 margin loss of capsule lengths (mean over columns), 2 cross-entropy
// against a distribution over the columns, 3 absolute error and 4 Huber loss with delta in `above` (means over columns).
const ROWS = 1u; // `weighted`: a weight for each row.
const EACH = 2u; // One for each column of each row.
#import common/grid

struct Params {
    rows: u32, cols: u32, kind: u32, above: f32, below: f32, negatives: f32, weighted: u32,
}
var<immediate> p: Params;
struct Grad {
    rows: u32, cols: u32, kind: u32, above: f32, below: f32, negatives: f32, weighted: u32,
    scale: f32, accumulate: u32,
}
var<immediate> g: Grad;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<f32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> upstream: array<f32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;
@group(0) @binding(4) var<storage, read_write> x_grad: array<f32>;

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

// losses[r] = the loss of row r times its weight, or divided by the rows without weights.
@compute @workgroup_size(64)
fn target_loss(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= p.rows {
        return;
    }
    let start = r * p.cols;
    var lse = 0.0;
    if p.kind == 2u {
        lse = log_sum_exp(start, p.cols);
    }
    var sum = 0.0;
    for (var c = 0u; c < p.cols; c++) {
        let v = x[start + c];
        let y = targets[start + c];
        var share = 0.0;
        if p.kind == 0u {
            share = (v - y) * (v - y);
        } else if p.kind == 1u {
            let short = max(p.above - v, 0.0);
            let long = max(v - p.below, 0.0);
            share = y * short * short + p.negatives * (1.0 - y) * long * long;
        } else if p.kind == 2u {
            share = y * (lse - v);
        } else {
            let distance = abs(v - y);
            let square = min(distance, p.above);
            share = select(square * (distance - 0.5 * square), distance, p.kind == 3u);
        }
        if p.weighted == EACH {
            share *= weights[start + c];
        }
        sum += share;
    }
    if p.kind != 2u {
        sum /= f32(p.cols);
    }
    if p.weighted == ROWS {
        sum *= weights[r];
    } else if p.weighted != EACH {
        sum /= f32(p.rows);
    }
    losses[r] = sum;
}

// The weight of one column of one row; 1 where columns have none of their own.
fn weight(i: u32) -> f32 {
    if g.weighted == EACH {
        return weights[i];
    }
    return 1.0;
}

// x_grad (+)= scale times the gradient of the row's loss; a scale of -1 gives that of a squared error's target.
@compute @workgroup_size(64)
fn target_loss_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= g.rows {
        return;
    }
    let start = r * g.cols;
    var factor = upstream[0] * g.scale;
    if g.weighted == ROWS {
        factor *= weights[r];
    } else if g.weighted != EACH {
        factor /= f32(g.rows);
    }
    var lse = 0.0;
    var mass = 0.0;
    if g.kind == 2u {
        lse = log_sum_exp(start, g.cols);
        for (var c = 0u; c < g.cols; c++) {
            mass += targets[start + c] * weight(start + c);
        }
    } else {
        factor /= f32(g.cols);
    }
    for (var c = 0u; c < g.cols; c++) {
        let v = x[start + c];
        let y = targets[start + c];
        var value = 0.0;
        if g.kind == 0u {
            value = 2.0 * (v - y);
        } else if g.kind == 1u {
            value = 2.0 * (g.negatives * (1.0 - y) * max(v - g.below, 0.0) - y * max(g.above - v, 0.0));
        } else if g.kind == 2u {
            value = mass * exp(v - lse) - y * weight(start + c);
        } else {
            let most = select(g.above, 1.0, g.kind == 3u);
            let inside = g.kind == 4u && abs(v - y) <= most;
            value = select(most * sign(v - y), v - y, inside);
        }
        if g.kind != 2u {
            value *= weight(start + c);
        }
        value *= factor;
        if g.accumulate != 0u {
            value += x_grad[start + c];
        }
        x_grad[start + c] = value;
    }
}
