// What lets a batch run in windows of rows: pooled results of windows merged into those of whole bags, and the
// share of a window in a bag's gradient. A window holds whole bags and parts of bags; only its first bag may
// have begun in an earlier window. A workgroup handles one bag (and head) of the window.
#import common/grid

struct Soft { bags: u32, hidden: u32, heads: u32, first_bag: u32, continued: u32 }
var<immediate> s: Soft;
struct Largest { bags: u32, cols: u32, first_bag: u32, continued: u32, first_row: u32 }
var<immediate> m: Largest;
// Columns of a bag, `inner` of them for each of its maxima.
struct Chosen { bags: u32, cols: u32, first_bag: u32, first_row: u32, inner: u32 }
var<immediate> c: Chosen;
struct Copied { bags: u32, cols: u32, first_bag: u32 }
var<immediate> o: Copied;
const SUM = 0u; // `kind` of a sum.
const MEAN = 1u; // `kind` of a mean.
const LOG_MEAN_EXP = 2u; // `kind` of a log-mean-exp.
const LOG_SUM_EXP = 3u; // `kind` of a log-sum-exp.
struct Mean { bags: u32, cols: u32, first_bag: u32, continued: u32, kind: u32 }
var<immediate> a: Mean;

@group(0) @binding(0) var<storage, read> z0: array<f32>;
@group(0) @binding(1) var<storage, read> lse1: array<f32>;
@group(0) @binding(2) var<storage, read_write> z_all: array<f32>;
@group(0) @binding(3) var<storage, read_write> lse_all: array<f32>;

// z = sum of weights e^score times values over e^lse: two such sums become one.
@compute @workgroup_size(64)
fn window_softmax(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    if number >= s.bags * s.heads {
        return;
    }
    let to = s.first_bag * s.heads + number;
    let joins = s.continued != 0u && number < s.heads;
    let here = lse1[number];
    var before = here;
    if joins {
        before = lse_all[to];
    }
    workgroupBarrier();
    let largest = max(here, before);
    let total = exp(here - largest) + exp(before - largest);
    let joined = largest + log(total);
    for (var c = lane; c < s.hidden; c += 64u) {
        var z = z0[number * s.hidden + c];
        if joins {
            z = z * exp(here - joined) + z_all[to * s.hidden + c] * exp(before - joined);
        }
        z_all[to * s.hidden + c] = z;
    }
    if lane == 0u {
        lse_all[to] = select(here, joined, joins);
    }
}

@group(0) @binding(0) var<storage, read> lse0: array<f32>;
@group(0) @binding(1) var<storage, read> z_all1: array<f32>;
@group(0) @binding(2) var<storage, read> lse_all2: array<f32>;
@group(0) @binding(3) var<storage, read> dz_all3: array<f32>;
@group(0) @binding(4) var<storage, read_write> z4: array<f32>;
@group(0) @binding(5) var<storage, read_write> dz5: array<f32>;

// The bag's z takes the place of the window's, and of its gradient comes what the window weighs in the bag.
@compute @workgroup_size(64)
fn window_softmax_share(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    if number >= s.bags * s.heads {
        return;
    }
    let bag = s.first_bag * s.heads + number;
    let weight = exp(lse0[number] - lse_all2[bag]);
    for (var c = lane; c < s.hidden; c += 64u) {
        let at = bag * s.hidden + c;
        z4[number * s.hidden + c] = z_all1[at];
        dz5[number * s.hidden + c] = weight * dz_all3[at];
    }
}

@group(0) @binding(1) var<storage, read> row1: array<u32>;
@group(0) @binding(2) var<storage, read_write> x_all: array<f32>;
@group(0) @binding(3) var<storage, read_write> row_all: array<u32>;

// Largest value and its row in the batch; of equals the first.
@compute @workgroup_size(64)
fn window_max(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let bag = group_of(group, groups);
    if bag >= m.bags {
        return;
    }
    let joins = m.continued != 0u && bag == 0u;
    for (var c = lane; c < m.cols; c += 64u) {
        let place = bag * m.cols + c;
        let to = m.first_bag * m.cols + place;
        let value = z0[place];
        if !joins || value > x_all[to] {
            x_all[to] = value;
            row_all[to] = row1[place] + m.first_row;
        }
    }
}

@group(0) @binding(0) var<storage, read> row0: array<u32>;
@group(0) @binding(1) var<storage, read> row_all1: array<u32>;
@group(0) @binding(2) var<storage, read> from2: array<f32>;
@group(0) @binding(3) var<storage, read_write> to3: array<f32>;

// True when the window has the maximum that a column of a bag belongs to.
fn has(bag: u32, col: u32) -> bool {
    let maxima = c.cols / c.inner;
    let number = bag * maxima + col / c.inner;
    return row0[number] + c.first_row == row_all1[c.first_bag * maxima + number];
}

// The gradient goes to the window that has the row.
@compute @workgroup_size(64)
fn window_max_share(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let bag = group_of(group, groups);
    if bag >= c.bags {
        return;
    }
    for (var col = lane; col < c.cols; col += 64u) {
        to3[bag * c.cols + col] = select(0.0, from2[(c.first_bag + bag) * c.cols + col], has(bag, col));
    }
}

// Rows where the maximum is come from the window that has it.
@compute @workgroup_size(64)
fn window_pick(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let bag = group_of(group, groups);
    if bag >= c.bags {
        return;
    }
    for (var col = lane; col < c.cols; col += 64u) {
        if has(bag, col) {
            to3[(c.first_bag + bag) * c.cols + col] = from2[bag * c.cols + col];
        }
    }
}

@group(0) @binding(0) var<storage, read> from0: array<f32>;
@group(0) @binding(1) var<storage, read_write> to1: array<f32>;

// What all windows before gave the bags of this one.
@compute @workgroup_size(64)
fn window_take(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let bag = group_of(group, groups);
    if bag >= o.bags {
        return;
    }
    for (var col = lane; col < o.cols; col += 64u) {
        to1[bag * o.cols + col] = from0[(o.first_bag + bag) * o.cols + col];
    }
}

// The gradient of what was taken, from window after window.
@compute @workgroup_size(64)
fn window_add(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let bag = group_of(group, groups);
    if bag >= o.bags {
        return;
    }
    for (var col = lane; col < o.cols; col += 64u) {
        let place = (o.first_bag + bag) * o.cols + col;
        to1[place] = to1[place] + from0[bag * o.cols + col];
    }
}

@group(0) @binding(3) var<storage, read_write> count_all: array<u32>;

// Sums, means by the instances seen so far, and logarithms of them over exponentials.
@compute @workgroup_size(64)
fn window_mean(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let bag = group_of(group, groups);
    if bag >= a.bags {
        return;
    }
    let to = a.first_bag + bag;
    let joins = a.continued != 0u && bag == 0u;
    let here = row1[bag + 1u] - row1[bag];
    var before = 0u;
    if joins {
        before = count_all[to];
    }
    workgroupBarrier();
    let part = f32(here) / f32(here + before);
    for (var c = lane; c < a.cols; c += 64u) {
        var value = z0[bag * a.cols + c];
        let at = to * a.cols + c;
        if joins {
            let old = x_all[at];
            if a.kind == SUM {
                value += old;
            } else if a.kind == MEAN {
                value = old + part * (value - old);
            } else {
                let largest = max(old, value);
                let shares = select(vec2(1.0 - part, part), vec2(1.0), a.kind == LOG_SUM_EXP);
                value = largest + log(shares.x * exp(old - largest) + shares.y * exp(value - largest));
            }
        }
        x_all[at] = value;
    }
    if lane == 0u {
        count_all[to] = here + before;
    }
}

@group(0) @binding(0) var<storage, read> x0: array<f32>;
@group(0) @binding(2) var<storage, read> x_all2: array<f32>;
@group(0) @binding(3) var<storage, read> count_all3: array<u32>;
@group(0) @binding(4) var<storage, read> d_all4: array<f32>;
@group(0) @binding(5) var<storage, read_write> d5: array<f32>;

// The part of the bag's gradient that belongs to the window: by count, or by count and exponential.
@compute @workgroup_size(64)
fn window_mean_share(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let bag = group_of(group, groups);
    if bag >= a.bags {
        return;
    }
    let place = a.first_bag + bag;
    var part = 1.0;
    if a.kind == MEAN || a.kind == LOG_MEAN_EXP {
        part = f32(row1[bag + 1u] - row1[bag]) / f32(count_all3[place]);
    }
    for (var c = lane; c < a.cols; c += 64u) {
        let to = bag * a.cols + c;
        let at = place * a.cols + c;
        var weight = part;
        if a.kind == LOG_MEAN_EXP || a.kind == LOG_SUM_EXP {
            weight *= exp(x0[to] - x_all2[at]);
        }
        d5[to] = weight * d_all4[at];
    }
}
