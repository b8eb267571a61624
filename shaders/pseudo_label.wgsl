// Losses with labels that a model gives itself: every instance is taken for what it looks like.
#import common/grid
#import common/activation

struct Instances { count: u32, accumulate: u32 }
var<immediate> n: Instances;
// which: the gradient of 0 ln p of the bags, 1 their mean instance loss, 2 their mean loss as negatives.
// each: every column of a bag has its own weight.
struct Bags { rows: u32, cols: u32, strength: f32, which: u32, accumulate: u32, scale: f32, each: u32 }
var<immediate> b: Bags;
// own: weight of the rows of bags of the class together; others: of those at the upper end of other bags.
struct Ends { bags: u32, k: u32, apart: u32, label: u32, own: f32, others: f32 }
var<immediate> e: Ends;

@group(0) @binding(0) var<storage, read> x0: array<f32>;
@group(0) @binding(0) var<storage, read> labels0: array<u32>;
@group(0) @binding(1) var<storage, read> x1: array<f32>;
@group(0) @binding(1) var<storage, read_write> y1: array<f32>;
@group(0) @binding(2) var<storage, read> x2: array<f32>;
@group(0) @binding(2) var<storage, read> offsets2: array<u32>;
@group(0) @binding(2) var<storage, read_write> y2: array<f32>;
@group(0) @binding(3) var<storage, read> x3: array<f32>;
@group(0) @binding(3) var<storage, read_write> targets3: array<u32>;
@group(0) @binding(4) var<storage, read_write> y4: array<f32>;
@group(0) @binding(4) var<storage, read> x4: array<f32>;
@group(0) @binding(5) var<storage, read> x5: array<f32>;
@group(0) @binding(5) var<storage, read_write> y5: array<f32>;
@group(0) @binding(6) var<storage, read_write> y6: array<f32>;

// y1 = -ln of the larger of q and 1 - q, q = sigmoid(x0).
@compute @workgroup_size(64)
fn instance_pseudo(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i < n.count {
        y1[i] = log1p_unit(vec4(exp(-abs(x0[i])))).x;
    }
}

// y2 (+)= x1 (q - u), u the label.
@compute @workgroup_size(64)
fn instance_pseudo_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= n.count {
        return;
    }
    let small = exp(-abs(x0[i]));
    let value = x1[i] * small / (1.0 + small) * select(1.0, -1.0, x0[i] >= 0.0);
    y2[i] = select(value, value + y2[i], n.accumulate != 0u);
}

fn weight_of(i: u32) -> f32 {
    return x4[select(i / b.cols, i, b.each != 0u)];
}

// y5[bag] = the mean over the columns of weight times target (l + strength (l - r)^2) + (1 - target) m, l = -x0.
@compute @workgroup_size(64)
fn bag_pseudo(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let r = group_of(group, groups) * 64u + lane;
    if r >= b.rows {
        return;
    }
    var sum = 0.0;
    for (var c = 0u; c < b.cols; c++) {
        let i = r * b.cols + c;
        let gap = -x0[i] - x1[i];
        sum += (x3[i] * (b.strength * gap * gap - x0[i]) + (1.0 - x3[i]) * x2[i]) * weight_of(i);
    }
    y5[r] = sum / f32(b.cols);
}

// y6 (+)= its gradient for one of the three, times x5.
@compute @workgroup_size(64)
fn bag_pseudo_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= b.rows * b.cols {
        return;
    }
    let pull = 2.0 * b.strength * (-x0[i] - x1[i]);
    let slope = select(select(1.0 - x3[i], -pull * x3[i], b.which == 1u), -(1.0 + pull) * x3[i], b.which == 0u);
    let value = slope * weight_of(i) / f32(b.cols) * b.scale * x5[0];
    y6[i] = select(value, value + y6[i], b.accumulate != 0u);
}

// Labels and weights of the 2 k rows at the ends of each bag. Of a bag of the class the upper ones are 1 and the lower
// ones 0; of others the upper ones are 0 and the lower ones count nothing.
@compute @workgroup_size(64)
fn end_labels(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= 2u * e.bags * e.k {
        return;
    }
    let bag = i / (2u * e.k);
    let size = offsets2[bag + 1u] - offsets2[bag];
    let rows = min(e.k, select(size, size / 2u, e.apart != 0u));
    let upper = i / e.k % 2u == 0u;
    let own = labels0[bag] == e.label;
    targets3[i] = u32(own && upper);
    var weight = 0.0;
    if i % e.k < rows {
        if own {
            weight = x1[bag] * e.own / f32(2u * rows);
        } else if upper {
            weight = x1[bag] * e.others / f32(rows);
        }
    }
    y4[i] = weight;
}
