// The parts of the pool with their softmax within subgroups: each finds its largest score and its sum of exponentials by
// itself, and 64 numbers in workgroup memory become as many as there are subgroups. Their size and which rows are in them
// are whatever the device makes of it.
struct Sizes { n: u32, hidden: u32, inner: u32, line: u32 } // Rows of h are `line` numbers apart.
var<immediate> p: Sizes;

@group(0) @binding(0) var<storage, read> scores: array<f32>;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<vec2<f32>>; // Largest score and sum of exponentials.

var<workgroup> found: array<vec2<f32>, 64>; // The same of each subgroup.
var<workgroup> weights: array<f32, 64>;

@compute @workgroup_size(64)
fn pool_part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let first = group.x * 64u;
    let count = min(64u, p.n - first);
    // Behind the end the last score once more, which is never larger than the largest.
    let score = scores[min(first + lane, p.n - 1u)];
    let near = subgroupMax(score);
    let own = select(0.0, exp(score - near), lane < count);
    let sum_of_own = subgroupAdd(own);
    if subgroupBroadcastFirst(lane) == lane {
        found[subgroup] = vec2(near, sum_of_own);
    }
    workgroupBarrier();
    var largest = found[0].x;
    for (var s = 1u; s < subgroups; s++) {
        largest = max(largest, found[s].x);
    }
    weights[lane] = own * exp(near - largest);
    workgroupBarrier();
    if lane == 0u {
        var total = 0.0;
        for (var s = 0u; s < subgroups; s++) {
            total += found[s].y * exp(found[s].x - largest);
        }
        sums[group.x] = vec2(largest, total);
    }
    for (var c = lane; c < p.hidden; c += 64u) {
        var sum = 0.0;
        for (var i = 0u; i < count; i++) {
            sum += weights[i] * h[(first + i) * p.line + c];
        }
        parts[group.x * p.hidden + c] = sum;
    }
}
