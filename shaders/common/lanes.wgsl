// Sums and largest values over the 64 invocations of a workgroup, known to all of them and in a fixed order. All of them
// have to call. By a tree in workgroup memory or, with SUBGROUPS, within subgroups and then over them in the order of their
// numbers. Subgroups are taken as they come: of any size, and with any invocations in them.
struct Lane {
    @builtin(local_invocation_index) index: u32,
#if SUBGROUPS
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
#endif
}

// The largest of nothing.
const LOWEST = -3.0e38;

var<workgroup> lane_values: array<vec2<f32>, 64>;

#if SUBGROUPS
// Brings what each subgroup has to all invocations.
fn bring(own: Lane, value: vec2<f32>) {
    workgroupBarrier(); // What was there has been read.
    if subgroupBroadcastFirst(own.index) == own.index {
        lane_values[own.subgroup] = value;
    }
    workgroupBarrier();
}

fn sum_lanes(own: Lane, value: f32) -> f32 {
    bring(own, vec2(subgroupAdd(value), 0.0));
    var sum = lane_values[0].x;
    for (var s = 1u; s < own.subgroups; s++) {
        sum += lane_values[s].x;
    }
    return sum;
}

// Two sums at once.
fn sum_lanes2(own: Lane, value: vec2<f32>) -> vec2<f32> {
    bring(own, subgroupAdd(value));
    var sum = lane_values[0];
    for (var s = 1u; s < own.subgroups; s++) {
        sum += lane_values[s];
    }
    return sum;
}

fn max_lanes(own: Lane, value: f32) -> f32 {
    bring(own, vec2(subgroupMax(value), 0.0));
    var largest = lane_values[0].x;
    for (var s = 1u; s < own.subgroups; s++) {
        largest = max(largest, lane_values[s].x);
    }
    return largest;
}
#else
fn bring(own: Lane, value: vec2<f32>) {
    workgroupBarrier(); // What was there has been read.
    lane_values[own.index] = value;
    workgroupBarrier();
}

fn sum_lanes(own: Lane, value: f32) -> f32 {
    bring(own, vec2(value, 0.0));
    for (var half = 32u; half > 0u; half /= 2u) {
        if own.index < half {
            lane_values[own.index].x += lane_values[own.index + half].x;
        }
        workgroupBarrier();
    }
    return lane_values[0].x;
}

// Two sums at once.
fn sum_lanes2(own: Lane, value: vec2<f32>) -> vec2<f32> {
    bring(own, value);
    for (var half = 32u; half > 0u; half /= 2u) {
        if own.index < half {
            lane_values[own.index] += lane_values[own.index + half];
        }
        workgroupBarrier();
    }
    return lane_values[0];
}

fn max_lanes(own: Lane, value: f32) -> f32 {
    bring(own, vec2(value, 0.0));
    for (var half = 32u; half > 0u; half /= 2u) {
        if own.index < half {
            lane_values[own.index].x = max(lane_values[own.index].x, lane_values[own.index + half].x);
        }
        workgroupBarrier();
    }
    return lane_values[0].x;
}
#endif
