// Dropout: four values share one block of random words, drawn from their place, the step and the seed.
#import common/grid
#import common/philox

struct DropoutParams {
    count: u32, threshold: u32, scale: f32, site: u32, seed_low: u32, seed_high: u32, step: u32, accumulate: u32,
    // Place of the first value among those of the whole batch.
    first: u32,
    // Columns; where they are some of a wider value: the first of them there, and how many that has (else 0).
    cols: u32, left: u32, total: u32,
}
var<immediate> p: DropoutParams;
struct ChannelParams {
    count: u32, threshold: u32, scale: f32, site: u32, seed_low: u32, seed_high: u32, step: u32, accumulate: u32,
    first: u32, cols: u32, left: u32, total: u32, positions: u32,
}
var<immediate> c: ChannelParams;
struct ColumnParams {
    count: u32, threshold: u32, scale: f32, site: u32, seed_low: u32, seed_high: u32, step: u32, accumulate: u32,
    cols: u32,
}
var<immediate> w: ColumnParams;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(0) var<storage, read> values: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

// y (+)= x mask scale.
@compute @workgroup_size(64)
fn dropout(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i * 4u >= p.count {
        return;
    }
    var draw = p.first / 4u + i;
    if p.total != 0u {
        let quads = p.cols / 4u;
        draw = i / quads * (p.total / 4u) + p.left / 4u + i % quads;
    }
    let words = philox(vec4(draw, p.site, p.step, 0u), vec2(p.seed_low, p.seed_high));
    var r = select(x[i] * p.scale, vec4(0.0), words < vec4(p.threshold));
    if p.accumulate != 0u {
        r += y[i];
    }
    y[i] = select(y[i], r, vec4(0u, 1u, 2u, 3u) + i * 4u < vec4(p.count));
}

// As dropout, one draw for each run of `positions` values: four runs share a block of words.
@compute @workgroup_size(64)
fn dropout_channels(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= c.count {
        return;
    }
    let run = (c.first + i) / c.positions;
    let words = philox(vec4(run / 4u, c.site, c.step, 0u), vec2(c.seed_low, c.seed_high));
    let value = select(values[i] * c.scale, 0.0, words[run % 4u] < c.threshold);
    out[i] = select(value, value + out[i], c.accumulate != 0u);
}

// As dropout, one draw for each of `cols` columns, the same in every row: four columns share a block of words.
@compute @workgroup_size(64)
fn dropout_columns(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= w.count {
        return;
    }
    let column = i % w.cols;
    let words = philox(vec4(column / 4u, w.site, w.step, 0u), vec2(w.seed_low, w.seed_high));
    let value = select(values[i] * w.scale, 0.0, words[column % 4u] < w.threshold);
    out[i] = select(value, value + out[i], w.accumulate != 0u);
}
