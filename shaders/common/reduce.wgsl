// Reductions over the 64 invocations of a workgroup, in a fixed tree so that a run repeats bit for bit.

const LANES: u32 = 64u;
var<workgroup> lanes: array<f32, 64>;

fn workgroup_sum(lane: u32, value: f32) -> f32 {
    lanes[lane] = value;
    workgroupBarrier();
    for (var step = 32u; step > 0u; step >>= 1u) {
        if lane < step {
            lanes[lane] += lanes[lane + step];
        }
        workgroupBarrier();
    }
    let result = lanes[0];
    workgroupBarrier();
    return result;
}

fn workgroup_max(lane: u32, value: f32) -> f32 {
    lanes[lane] = value;
    workgroupBarrier();
    for (var step = 32u; step > 0u; step >>= 1u) {
        if lane < step {
            lanes[lane] = max(lanes[lane], lanes[lane + step]);
        }
        workgroupBarrier();
    }
    let result = lanes[0];
    workgroupBarrier();
    return result;
}
