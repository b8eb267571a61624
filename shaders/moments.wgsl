// Mean and spread of numbers that come one pass after another, by Welford's recurrence: nothing of a pass is kept.
#import common/grid

// Passes count from 1.
struct Moments { count: u32, pass_number: u32 }
var<immediate> p: Moments;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> squares: array<f32>;
@group(0) @binding(3) var<storage, read_write> new_mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> new_squares: array<f32>;

// The mean of sigmoid(x) over the passes so far, and the sum of the squared distances from it.
@compute @workgroup_size(64)
fn moments(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= p.count {
        return;
    }
    let q = 1.0 / (1.0 + exp(-x[i]));
    if p.pass_number == 1u {
        new_mean[i] = q;
        new_squares[i] = 0.0;
        return;
    }
    let t = f32(p.pass_number);
    let away = q - mean[i];
    new_mean[i] = mean[i] + away / t;
    // (q - old mean)(q - new mean), which cannot become negative like this.
    new_squares[i] = squares[i] + away * away * ((t - 1.0) / t);
}
