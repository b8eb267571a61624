// Sums and largest values over the 64 invocations of a workgroup, known to all of them and in a fixed order. All of them
// have to call. By a tree in workgroup memory or, with SUBGROUPS, within subgroups and then over them. Subgroups are taken as
// they come: of any size, and with any invocations in them.

// The largest of nothing.
const LOWEST = -3.0e38;

var<workgroup> lane_values: array<vec2<f32>, 64>;

#if SUBGROUPS
// Brings the share of each subgroup to all of them: at one place for each, with `nothing` at all others.
fn bring(lane: u32, share: vec2<f32>, nothing: f32) {
    workgroupBarrier(); // What was there has been read.
    lane_values[lane] = select(vec2(nothing), share, subgroupBroadcastFirst(lane) == lane);
    workgroupBarrier();
}

// Every subgroup goes over all 64 places, each of its invocations from its own rank on in steps of how many they are.
struct Walk { first: u32, step: u32 }
fn walk() -> Walk {
    return Walk(subgroupExclusiveAdd(1u), subgroupAdd(1u));
}

fn sum_lanes(lane: u32, value: f32) -> f32 {
    bring(lane, vec2(subgroupAdd(value), 0.0), 0.0);
    let own = walk();
    var sum = 0.0;
    for (var i = own.first; i < 64u; i += own.step) {
        sum += lane_values[i].x;
    }
    return subgroupAdd(sum);
}

// Two sums at once.
fn sum_lanes2(lane: u32, value: vec2<f32>) -> vec2<f32> {
    bring(lane, subgroupAdd(value), 0.0);
    let own = walk();
    var sum = vec2(0.0);
    for (var i = own.first; i < 64u; i += own.step) {
        sum += lane_values[i];
    }
    return subgroupAdd(sum);
}

fn max_lanes(lane: u32, value: f32) -> f32 {
    bring(lane, vec2(subgroupMax(value), 0.0), LOWEST);
    let own = walk();
    var largest = LOWEST;
    for (var i = own.first; i < 64u; i += own.step) {
        largest = max(largest, lane_values[i].x);
    }
    return subgroupMax(largest);
}
#else
fn bring(lane: u32, value: vec2<f32>) {
    workgroupBarrier(); // What was there has been read.
    lane_values[lane] = value;
    workgroupBarrier();
}

fn sum_lanes(lane: u32, value: f32) -> f32 {
    bring(lane, vec2(value, 0.0));
    for (var half = 32u; half > 0u; half /= 2u) {
        if lane < half {
            lane_values[lane].x += lane_values[lane + half].x;
        }
        workgroupBarrier();
    }
    return lane_values[0].x;
}

// Two sums at once.
fn sum_lanes2(lane: u32, value: vec2<f32>) -> vec2<f32> {
    bring(lane, value);
    for (var half = 32u; half > 0u; half /= 2u) {
        if lane < half {
            lane_values[lane] += lane_values[lane + half];
        }
        workgroupBarrier();
    }
    return lane_values[0];
}

fn max_lanes(lane: u32, value: f32) -> f32 {
    bring(lane, vec2(value, 0.0));
    for (var half = 32u; half > 0u; half /= 2u) {
        if lane < half {
            lane_values[lane].x = max(lane_values[lane].x, lane_values[lane + half].x);
        }
        workgroupBarrier();
    }
    return lane_values[0].x;
}
#endif
