// ln of the mean of e^(r x) over bags, column by column, with one number r > 0 that is learnt, and division by it. Tiles,
// workgroups and the launch that combines the tiles of a bag are those of segment.wgsl.
#import common/grid

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> sharpness1: array<f32>;
@group(0) @binding(1) var<storage, read> y1: array<f32>;
@group(0) @binding(2) var<storage, read> tiles2: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> gradient2: array<f32>;
@group(0) @binding(2) var<storage, read_write> out2: array<f32>;
@group(0) @binding(3) var<storage, read> sharpness3: array<f32>;
@group(0) @binding(3) var<storage, read_write> largest3: array<f32>;
@group(0) @binding(4) var<storage, read> tiles4: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> sums4: array<f32>;
@group(0) @binding(5) var<storage, read> offsets5: array<u32>;
@group(0) @binding(6) var<storage, read_write> x_grad6: array<f32>;
@group(0) @binding(7) var<storage, read_write> parts7: array<f32>;

const WANTED = 1u; // The gradient of x is wanted.
const ADD = 2u; // It is added to what is there.
struct Sizes { count: u32, cols: u32 }
var<immediate> s: Sizes;
struct Grad { count: u32, cols: u32, flags: u32 }
var<immediate> g: Grad;
struct Divide { count: u32, factor: f32, accumulate: u32 }
var<immediate> d: Divide;

// largest3[tile, c] = the largest r x of the tile, sums4 = the sum of e^(r x - largest).
@compute @workgroup_size(64)
fn sharp_part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, s.cols);
    if at.x >= s.count || at.y >= s.cols {
        return;
    }
    let sharpness = sharpness1[0];
    let tile = tiles2[at.x];
    let end = tile.y + tile.z;
    var largest = x[tile.y * s.cols + at.y];
    for (var r = tile.y + 1u; r < end; r++) {
        largest = max(largest, x[r * s.cols + at.y]);
    }
    var total = 0.0;
    for (var r = tile.y; r < end; r++) {
        total += exp(sharpness * (x[r * s.cols + at.y] - largest));
    }
    largest3[at.x * s.cols + at.y] = sharpness * largest;
    sums4[at.x * s.cols + at.y] = total;
}

// With p = e^(r x - y1[bag, c]) / instances, the share of a row: x_grad6 (+)= gradient2[bag, c] r p, and
// parts7[tile, c] = the tile's part of the gradient of r, the sum of gradient2 p x.
@compute @workgroup_size(64)
fn sharp_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, g.cols);
    if at.x >= g.count || at.y >= g.cols {
        return;
    }
    let sharpness = sharpness3[0];
    let tile = tiles4[at.x];
    let end = tile.y + tile.z;
    let i = tile.x * g.cols + at.y;
    let share = gradient2[i] / f32(offsets5[tile.x + 1u] - offsets5[tile.x]);
    var sum = 0.0;
    for (var r = tile.y; r < end; r++) {
        let o = r * g.cols + at.y;
        let weight = share * exp(sharpness * x[o] - y1[i]);
        sum += weight * x[o];
        if (g.flags & WANTED) != 0u {
            x_grad6[o] = select(0.0, x_grad6[o], (g.flags & ADD) != 0u) + weight * sharpness;
        }
    }
    parts7[at.x * g.cols + at.y] = sum;
}

// out2 (+)= factor x / r.
@compute @workgroup_size(64)
fn divide(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= d.count {
        return;
    }
    out2[i] = select(0.0, out2[i], d.accumulate != 0u) + d.factor * x[i] / sharpness1[0];
}
