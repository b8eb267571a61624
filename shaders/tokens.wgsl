// Tokens: of each bag of n instances one class token and, behind it, the instances as a square of side
// ceil(sqrt n), filled up with the first ones again. A workgroup handles 64 columns of a tile, which never
// crosses a bag.
#import common/grid

struct Square { tiles: u32, cols: u32 }
var<immediate> sq: Square;
struct SquareGrad { tiles: u32, cols: u32, accumulate: u32 }
var<immediate> sg: SquareGrad;
struct Means { rows: u32, cols: u32, landmarks: u32 }
var<immediate> me: Means;
struct MeansGrad { tiles: u32, cols: u32, landmarks: u32, accumulate: u32 }
var<immediate> mg: MeansGrad;
struct Scores { tiles: u32, cols: u32, factor: f32 }
var<immediate> sc: Scores;
struct ScoresGrad { tiles: u32, cols: u32, factor: f32, accumulate: u32 }
var<immediate> sd: ScoresGrad;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> class_token: array<f32>;
@group(0) @binding(1) var<storage, read> table1: array<u32>;
@group(0) @binding(2) var<storage, read> table2: array<u32>;
@group(0) @binding(3) var<storage, read> table3: array<u32>;
@group(0) @binding(2) var<storage, read_write> out2: array<f32>;
@group(0) @binding(2) var<storage, read> tiles2: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> tiles3: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> tiles4: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> out3: array<f32>;
@group(0) @binding(4) var<storage, read_write> out4: array<f32>;
@group(0) @binding(5) var<storage, read_write> out5: array<f32>;

// out5[token] = the class token, or the instance behind it; table2 are offsets, table3 those of tokens.
@compute @workgroup_size(64)
fn square(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, sq.cols);
    if at.x >= sq.tiles || at.y >= sq.cols {
        return;
    }
    let tile = tiles4[at.x];
    let first = table2[tile.x];
    let count = table2[tile.x + 1u] - first;
    let start = table3[tile.x];
    for (var r = tile.y; r < tile.y + tile.z; r++) {
        let token = r - start;
        var value = class_token[at.y];
        if token > 0u {
            value = x[(first + (token - 1u) % count) * sq.cols + at.y];
        }
        out5[r * sq.cols + at.y] = value;
    }
}

// out4[instance] (+)= the gradients of its tokens, of which there are one or two.
@compute @workgroup_size(64)
fn square_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, sg.cols);
    if at.x >= sg.tiles || at.y >= sg.cols {
        return;
    }
    let tile = tiles3[at.x];
    let first = table1[tile.x];
    let count = table1[tile.x + 1u] - first;
    let start = table2[tile.x] + 1u;
    let repeated = table2[tile.x + 1u] - start - count;
    for (var r = tile.y; r < tile.y + tile.z; r++) {
        let i = r - first;
        var sum = x[(start + i) * sg.cols + at.y];
        if i < repeated {
            sum += x[(start + count + i) * sg.cols + at.y];
        }
        let o = r * sg.cols + at.y;
        out4[o] = sum + select(0.0, out4[o], sg.accumulate != 0u);
    }
}

// Tokens of a landmark, and rows of zeros in front of the bag's tokens that make the number a multiple.
fn stretch(tokens: u32, landmarks: u32) -> vec2<u32> {
    let each = (tokens + landmarks - 1u) / landmarks;
    return vec2(each, each * landmarks - tokens);
}

// out2[bag * landmarks + j] = the mean of the j-th run of tokens; table1 are the offsets of tokens.
@compute @workgroup_size(64)
fn landmark_means(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, me.cols);
    if at.x >= me.rows || at.y >= me.cols {
        return;
    }
    let bag = at.x / me.landmarks;
    let start = table1[bag];
    let by = stretch(table1[bag + 1u] - start, me.landmarks);
    let origin = at.x % me.landmarks * by.x;
    var sum = 0.0;
    for (var i = max(origin, by.y); i < origin + by.x; i++) {
        sum += x[(start + i - by.y) * me.cols + at.y];
    }
    out2[at.x * me.cols + at.y] = sum / f32(by.x);
}

// out3[token] (+)= the gradient of its mean, over the length of a run.
@compute @workgroup_size(64)
fn landmark_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, mg.cols);
    if at.x >= mg.tiles || at.y >= mg.cols {
        return;
    }
    let tile = tiles2[at.x];
    let start = table1[tile.x];
    let by = stretch(table1[tile.x + 1u] - start, mg.landmarks);
    for (var r = tile.y; r < tile.y + tile.z; r++) {
        let run = tile.x * mg.landmarks + (r - start + by.y) / by.x;
        let o = r * mg.cols + at.y;
        out3[o] = x[run * mg.cols + at.y] / f32(by.x) + select(0.0, out3[o], mg.accumulate != 0u);
    }
}

// out4[instance] = factor times the sum over the columns of its first token; an invocation has a row.
@compute @workgroup_size(64)
fn token_scores(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups);
    if i >= sc.tiles {
        return;
    }
    let tile = tiles3[i];
    if lane >= tile.z {
        return;
    }
    let token = table2[tile.x] + 1u + tile.y + lane - table1[tile.x];
    var sum = 0.0;
    for (var c = 0u; c < sc.cols; c++) {
        sum += x[token * sc.cols + c];
    }
    out4[tile.y + lane] = sc.factor * sum;
}

// out4[token] (+)= factor times the gradient of its instance; 0 for class tokens and repeated instances.
@compute @workgroup_size(64)
fn token_scores_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups);
    if i >= sd.tiles {
        return;
    }
    let tile = tiles3[i];
    if lane >= tile.z {
        return;
    }
    let first = table1[tile.x];
    let token = tile.y + lane - table2[tile.x];
    var value = 0.0;
    if token > 0u && token <= table1[tile.x + 1u] - first {
        value = sd.factor * x[first + token - 1u];
    }
    for (var c = 0u; c < sd.cols; c++) {
        let o = (tile.y + lane) * sd.cols + c;
        out4[o] = value + select(0.0, out4[o], sd.accumulate != 0u);
    }
}
