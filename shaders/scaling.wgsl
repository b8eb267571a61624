// Dynamic scaling of the loss: the gradient of the loss starts as the scale instead of 1, gradients are divided
// by it before the update, and one that is not finite keeps the update from happening.
//
// State: the scale (bits), updates since it last changed, updates that were left out, and 1 while the last
// update was one of them. All zero before the first.
#import common/grid

struct Seed { first: u32 } // bits of the scale to start with
var<immediate> s: Seed;
struct Unscale { count: u32 }
var<immediate> u: Unscale;
struct Judge {
    parts: u32, words: u32, // flags of the parts, words of the table of groups
    grow_every: u32, least: u32, most: u32, // bits of the scale's limits
}
var<immediate> j: Judge;

@group(0) @binding(0) var<storage, read_write> state: array<u32>;
@group(0) @binding(1) var<storage, read_write> start: array<f32>;

@compute @workgroup_size(1)
fn scale_seed() {
    if state[0] == 0u {
        state[0] = s.first;
    }
    start[0] = bitcast<f32>(state[0]);
}

@group(0) @binding(0) var<storage, read_write> grads: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> state_in: array<u32>;
@group(0) @binding(2) var<storage, read_write> flags_out: array<u32>;

const PART = 1024u; // vectors of a workgroup
var<workgroup> found: array<u32, 64>;

// 1 in found[0] when any invocation brings one. To be called by all of them.
fn any_of(flag: u32, lane: u32) {
    found[lane] = flag;
    for (var step = 32u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step {
            found[lane] |= found[lane + step];
        }
    }
    workgroupBarrier();
}

@compute @workgroup_size(64)
fn unscale(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let part = group_of(group, groups);
    let end = min((part + 1u) * PART, u.count / 4u);
    // A power of two, so the quotient is exact.
    let factor = 1.0 / bitcast<f32>(state_in[0]);
    var bad = 0u;
    for (var i = part * PART + lane; i < end; i += 64u) {
        let g = grads[i] * factor;
        grads[i] = g;
        // A comparison with infinity may be optimised away; the bits may not.
        bad |= u32(any((bitcast<vec4<u32>>(g) & vec4(0x7f800000u)) == vec4(0x7f800000u)));
    }
    any_of(bad, lane);
    if lane == 0u && part * PART < u.count / 4u {
        flags_out[part] = found[0];
    }
}

@group(0) @binding(0) var<storage, read> flags_in: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read_write> state2: array<u32>;
@group(0) @binding(3) var<storage, read_write> table_out: array<u32>;

// The table of groups for this update: with rates of 0, which freeze, when some gradient is not finite.
@compute @workgroup_size(64)
fn scale_judge(@builtin(local_invocation_index) lane: u32) {
    var flag = 0u;
    for (var i = lane; i < j.parts; i += 64u) {
        flag |= flags_in[i];
    }
    any_of(flag, lane);
    let bad = found[0] != 0u;
    for (var i = lane; i < j.words; i += 64u) {
        table_out[i] = select(table[i], 0u, bad && i % 8u == 0u);
    }
    if lane == 0u {
        let scale = bitcast<f32>(state2[0]);
        if bad {
            state2[0] = bitcast<u32>(max(scale * 0.5, bitcast<f32>(j.least)));
            state2[1] = 0u;
            state2[2] += 1u;
        } else {
            let good = state2[1] + 1u;
            let grows = good >= j.grow_every;
            // A scale that was started above the limit stays where it is.
            let larger = max(scale, min(scale * 2.0, bitcast<f32>(j.most)));
            state2[0] = bitcast<u32>(select(scale, larger, grows));
            state2[1] = select(good, 0u, grows);
        }
        state2[3] = u32(bad);
    }
}
