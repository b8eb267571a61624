// Contrastive learning over the rows of a batch: NT-Xent, the cross-entropy of finding the other row of a pair
// (2k, 2k + 1) among all other rows by inner product.
#import common/grid
#import common/lanes

struct Pairs { rows: u32, cols: u32, sharpness: f32 }
var<immediate> p: Pairs;
struct PairsGrad { rows: u32, cols: u32, sharpness: f32, scale: f32, accumulate: u32 }
var<immediate> g: PairsGrad;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y1: array<f32>;
@group(0) @binding(2) var<storage, read_write> y2: array<f32>;

@group(0) @binding(1) var<storage, read> x1: array<f32>;
@group(0) @binding(2) var<storage, read> x2: array<f32>;
@group(0) @binding(3) var<storage, read_write> y3: array<f32>;

var<workgroup> share_of: array<f32, 64>;

fn inner_product(a: u32, b: u32, cols: u32) -> f32 {
    var sum = 0.0;
    for (var c = 0u; c < cols; c++) {
        sum += x[a * cols + c] * x[b * cols + c];
    }
    return sum;
}

// y1[a] = the loss of row a over the number of rows in pairs, y2[a] = its log-sum-exp over the other rows. A
// last row without a partner takes no part.
@compute @workgroup_size(64)
fn pairs_loss(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let a = group_of(group, groups);
    if a >= p.rows {
        return;
    }
    let paired = p.rows & 0xfffffffeu;
    // An offset for every running sum; the first term replaces it.
    var largest = LOWEST;
    var sum = 0.0;
    for (var b = lane; b < paired; b += 64u) {
        if b != a {
            let logit = inner_product(a, b, p.cols) * p.sharpness;
            let higher = max(largest, logit);
            sum = sum * exp(largest - higher) + exp(logit - higher);
            largest = higher;
        }
    }
    let all = max_lanes(lane, largest);
    sum = sum_lanes(lane, sum * exp(largest - all));
    if lane != 0u {
        return;
    }
    if a < paired {
        let lse = all + log(sum);
        y2[a] = lse;
        y1[a] = (lse - inner_product(a, a ^ 1u, p.cols) * p.sharpness) / f32(paired);
    } else {
        y2[a] = 0.0;
        y1[a] = 0.0;
    }
}

// Row a gets, from row b, how likely each of both is to take the other for its partner, less 2 when it is,
// times row b.
@compute @workgroup_size(64)
fn pairs_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let a = group_of(group, groups);
    if a >= g.rows {
        return;
    }
    let paired = g.rows & 0xfffffffeu;
    let factor = x2[0] * g.scale * g.sharpness / f32(max(paired, 1u));
    if g.accumulate == 0u {
        for (var c = lane; c < g.cols; c += 64u) {
            y3[a * g.cols + c] = 0.0;
        }
    }
    for (var first = 0u; first < paired; first += 64u) {
        let b = first + lane;
        var share = 0.0;
        if b < paired && a < paired && b != a {
            let logit = inner_product(a, b, g.cols) * g.sharpness;
            share = exp(logit - x1[a]) + exp(logit - x1[b]) - select(0.0, 2.0, b == (a ^ 1u));
        }
        workgroupBarrier();
        share_of[lane] = share;
        workgroupBarrier();
        let count = min(64u, paired - first);
        for (var c = lane; c < g.cols; c += 64u) {
            var sum = 0.0;
            for (var i = 0u; i < count; i++) {
                sum += share_of[i] * x[(first + i) * g.cols + c];
            }
            y3[a * g.cols + c] = y3[a * g.cols + c] + sum * factor;
        }
    }
}
