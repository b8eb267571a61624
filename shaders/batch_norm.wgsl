// Normalisation of channels over all images of a batch (of columns, when an image is one value a channel).
#import common/grid
#import common/lanes

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> x1: array<f32>;
@group(0) @binding(1) var<storage, read_write> y1: array<f32>;
@group(0) @binding(2) var<storage, read> x2: array<f32>;
@group(0) @binding(3) var<storage, read> x3: array<f32>;
@group(0) @binding(3) var<storage, read_write> y3: array<f32>;
@group(0) @binding(4) var<storage, read> x4: array<f32>;
@group(0) @binding(5) var<storage, read> x5: array<f32>;
@group(0) @binding(5) var<storage, read_write> y5: array<f32>;
@group(0) @binding(6) var<storage, read> x6: array<f32>;
@group(0) @binding(7) var<storage, read_write> y7: array<f32>;

// mode 0: (x - mean)^2, mode 1: x2 (x - mean).
struct PartParams { rows: u32, channels: u32, positions: u32, chunk: u32, mode: u32 }
var<immediate> pt: PartParams;
struct DivideParams { channels: u32, count: u32 }
var<immediate> di: DivideParams;
struct RunningParams { channels: u32, count: u32, momentum: f32, unbiased: u32 }
var<immediate> ru: RunningParams;
struct ApplyParams { rows: u32, channels: u32, positions: u32, eps: f32 }
var<immediate> ap: ApplyParams;
struct GainParams { channels: u32, eps: f32, accumulate: u32 }
var<immediate> gp: GainParams;
struct BatchGradParams { rows: u32, channels: u32, positions: u32, eps: f32, given: u32, accumulate: u32 }
var<immediate> bg: BatchGradParams;

// y3[chunk, c] = the sum over the images of the chunk and the positions of channel c of (x - x1)^2, or of
// x2 (x - x1); x1 the means.
@compute @workgroup_size(64)
fn batch_parts(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    let c = number % pt.channels;
    let begin = min(number / pt.channels * pt.chunk, pt.rows);
    let end = min(begin + pt.chunk, pt.rows);
    let mean = x1[c];
    var total = 0.0;
    for (var i = lane; i < (end - begin) * pt.positions; i += 64u) {
        let o = ((begin + i / pt.positions) * pt.channels + c) * pt.positions + i % pt.positions;
        let d = x[o] - mean;
        total += d * select(d, x2[o], pt.mode != 0u);
    }
    let sum = sum_lanes(lane, total);
    if lane == 0u && begin < pt.rows {
        y3[number] = sum;
    }
}

// y1[c] = x[c] / count.
@compute @workgroup_size(64)
fn batch_divide(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let c = group_of(group, groups) * 64u + lane;
    if c < di.channels {
        y1[c] = x[c] / f32(di.count);
    }
}

// y5 = (x - x1) / sqrt(x2 + eps) x3 + x4: mean, variance, gain, bias of the channel.
@compute @workgroup_size(64)
fn batch_apply(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= ap.rows * ap.channels * ap.positions {
        return;
    }
    let c = i / ap.positions % ap.channels;
    y5[i] = (x[i] - x1[c]) / sqrt(x2[c] + ap.eps) * x3[c] + x4[c];
}

// y1[c] (+)= x[c] / sqrt(x2[c] + eps): the gradient of the gain from the sum of g (x - mean) and the variance.
@compute @workgroup_size(64)
fn batch_gain(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let c = group_of(group, groups) * 64u + lane;
    if c >= gp.channels {
        return;
    }
    var value = x[c] / sqrt(x2[c] + gp.eps);
    if gp.accumulate != 0u {
        value += y1[c];
    }
    y1[c] = value;
}

// y7 (+)= the gradient of the input: x the input, x1 the gradient of the output; mean x2, variance x3, gain x4 of
// the channel; x5 its sum of g, x6 that of g (x - mean), of no account when the statistics were given.
@compute @workgroup_size(64)
fn batch_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= bg.rows * bg.channels * bg.positions {
        return;
    }
    let c = i / bg.positions % bg.channels;
    let inverse = 1.0 / sqrt(x3[c] + bg.eps);
    var value = x1[i];
    if bg.given == 0u {
        let count = f32(bg.rows * bg.positions);
        let hat = (x[i] - x2[c]) * inverse;
        value -= (x5[c] + hat * inverse * x6[c]) / count;
    }
    value *= inverse * x4[c];
    if bg.accumulate != 0u {
        value += y7[i];
    }
    y7[i] = value;
}

// y1 = (1 - momentum) y1 + momentum x, x a statistic of the batch; a variance becomes the unbiased one first, and
// leaves y1 as it is where there is none (one value a channel).
@compute @workgroup_size(64)
fn batch_running(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let c = group_of(group, groups) * 64u + lane;
    if c >= ru.channels || (ru.unbiased != 0u && ru.count < 2u) {
        return;
    }
    var now = x[c];
    if ru.unbiased != 0u {
        now *= f32(ru.count) / f32(ru.count - 1u);
    }
    y1[c] = (1.0 - ru.momentum) * y1[c] + ru.momentum * now;
}
