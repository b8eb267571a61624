// Sums over rows and columns, in a fixed order.
#import common/grid
#import common/lanes

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(1) var<storage, read_write> y1: array<f32>;
@group(0) @binding(2) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read_write> y2: array<f32>;
@group(0) @binding(3) var<storage, read_write> y3: array<f32>;

struct SumRowsParams { rows: u32, cols: u32, stride: u32, first: u32, chunk: u32, factor: f32, accumulate: u32 }
var<immediate> su: SumRowsParams;

struct RowParams { rows: u32, cols: u32 }
var<immediate> ro: RowParams;

struct RowGradParams { rows: u32, cols: u32, accumulate: u32 }
var<immediate> rg: RowGradParams;

// flags: 1 a gradient of the logarithms, 2 one of their sum, 4 add.
const OF_LOGS = 1u; // The logarithms have a gradient.
const OF_TOTAL = 2u; // The log-sum-exp has one.
const ADD = 4u; // The result is added to what is there.
struct LogGradParams { rows: u32, cols: u32, flags: u32 }
var<immediate> lg: LogGradParams;

struct SpreadParams { rows: u32, cols: u32, row_step: u32, col_step: u32, accumulate: u32 }
var<immediate> sp: SpreadParams;

struct SquaresParams { count: u32, each: u32 }
var<immediate> sq: SquaresParams;

// y1[chunk, c] (+)= factor * the sum of x[r, first + c] over the rows r of the chunk.
@compute @workgroup_size(64)
fn sum_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    let column_groups = (su.cols + 63u) / 64u;
    let chunk = number / column_groups;
    let c = (number % column_groups) * 64u + lane;
    // A chunk of all rows is given as the largest number there is.
    let start = select(chunk * su.chunk, 0u, su.chunk == 0xffffffffu);
    let end = select(min(start + su.chunk, su.rows), su.rows, su.chunk == 0xffffffffu);
    if c >= su.cols || start >= max(su.rows, 1u) {
        return;
    }
    var total = 0.0;
    for (var r = start; r < end; r++) {
        total += x[r * su.stride + su.first + c];
    }
    total *= su.factor;
    let o = chunk * su.cols + c;
    if su.accumulate != 0u {
        total += y1[o];
    }
    y1[o] = total;
}

// y1[r] = the sum of row r.
@compute @workgroup_size(64)
fn row_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= ro.rows {
        return;
    }
    var total = 0.0;
    for (var c = 0u; c < ro.cols; c++) {
        total += x[r * ro.cols + c];
    }
    y1[r] = total;
}

// y1[r, c] (+)= x[r * row_step + c * col_step].
@compute @workgroup_size(64)
fn spread(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= sp.rows * sp.cols {
        return;
    }
    var value = x[(i / sp.cols) * sp.row_step + (i % sp.cols) * sp.col_step];
    if sp.accumulate != 0u {
        value += y1[i];
    }
    y1[i] = value;
}

// y1[r, :] = softmax of row r.
@compute @workgroup_size(64)
fn row_softmax(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= ro.rows {
        return;
    }
    let start = r * ro.cols;
    var largest = x[start];
    for (var c = 1u; c < ro.cols; c++) {
        largest = max(largest, x[start + c]);
    }
    var total = 0.0;
    for (var c = 0u; c < ro.cols; c++) {
        total += exp(x[start + c] - largest);
    }
    for (var c = 0u; c < ro.cols; c++) {
        y1[start + c] = exp(x[start + c] - largest) / total;
    }
}

// y2 (+)= x (g - <x, g>) row by row; x is the softmax.
@compute @workgroup_size(64)
fn row_softmax_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= rg.rows {
        return;
    }
    let start = r * rg.cols;
    var inner = 0.0;
    for (var c = 0u; c < rg.cols; c++) {
        inner += x[start + c] * g[start + c];
    }
    for (var c = 0u; c < rg.cols; c++) {
        var value = x[start + c] * (g[start + c] - inner);
        if rg.accumulate != 0u {
            value += y2[start + c];
        }
        y2[start + c] = value;
    }
}

// y1[r, :] = ln of the softmax of row r, y2[r] = its log-sum-exp.
@compute @workgroup_size(64)
fn row_log_softmax(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= ro.rows {
        return;
    }
    let start = r * ro.cols;
    var largest = x[start];
    for (var c = 1u; c < ro.cols; c++) {
        largest = max(largest, x[start + c]);
    }
    var total = 0.0;
    for (var c = 0u; c < ro.cols; c++) {
        total += exp(x[start + c] - largest);
    }
    let rest = log(total);
    for (var c = 0u; c < ro.cols; c++) {
        // The large numbers cancel first.
        y1[start + c] = (x[start + c] - largest) - rest;
    }
    y2[r] = largest + rest;
}

// y3 (+)= g - e^x (the sum of g - h) row by row; x has the logarithms, g their gradient, h that of the log-sum-exp.
@compute @workgroup_size(64)
fn row_log_softmax_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= lg.rows {
        return;
    }
    let start = r * lg.cols;
    let of_logs = (lg.flags & OF_LOGS) != 0u;
    var total = 0.0;
    if of_logs {
        for (var c = 0u; c < lg.cols; c++) {
            total += g[start + c];
        }
    }
    if (lg.flags & OF_TOTAL) != 0u {
        total -= h[r];
    }
    for (var c = 0u; c < lg.cols; c++) {
        var value = -exp(x[start + c]) * total;
        if of_logs {
            value += g[start + c];
        }
        if (lg.flags & ADD) != 0u {
            value += y3[start + c];
        }
        y3[start + c] = value;
    }
}

// y1[group] = the sum of x^2 over `each` values.
@compute @workgroup_size(64)
fn squares(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    let end = min((number + 1u) * sq.each, sq.count);
    var total = 0.0;
    for (var i = number * sq.each + lane; i < end; i += 64u) {
        total += x[i] * x[i];
    }
    let all = sum_lanes(lane, total);
    if lane == 0u && number * sq.each < sq.count {
        y1[number] = all;
    }
}
