// What the energies of self_attention.wgsl that know of distances need around them: the scalars of each row, biases
// added to rows, and gradients of the prototypes.
#import common/grid

struct Record { rows: u32, heads: u32, dims: u32 }
var<immediate> rp: Record;
struct Fold { rows: u32, heads: u32, cols: u32, stride: u32, first: u32 }
var<immediate> f: Fold;
struct Prototypes { tiles: u32, heads: u32, cols: u32, stride: u32, first: u32 }
var<immediate> t: Prototypes;

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> for_q: array<f32>;
@group(0) @binding(3) var<storage, read> for_k: array<f32>;
@group(0) @binding(4) var<storage, read> coords: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read> curve: array<f32>;
@group(0) @binding(6) var<storage, read_write> record: array<vec4<f32>>;

// The second and third vector of the record of each row and head. for_q holds uK and vK, for_k holds uQ and vQ.
@compute @workgroup_size(64)
fn distance_record(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= rp.rows * rp.heads {
        return;
    }
    let head = i % rp.heads;
    let u = head * rp.dims;
    let v = (rp.heads + head) * rp.dims;
    var dots = vec4(0.0);
    for (var c = 0u; c < rp.dims; c++) {
        let a = q[i * rp.dims + c];
        let b = k[i * rp.dims + c];
        dots += vec4(a * for_q[u + c], a * for_q[v + c], b * for_k[u + c], b * for_k[v + c]);
    }
    record[i * 3u + 1u] = dots;
    record[i * 3u + 2u] = vec4(coords[i / rp.heads], curve[head], curve[rp.heads + head]);
}

// flags: 1 the first vector is there, 2 the shares of bins have a gradient.
const STARTED = 1u; // The first vector of a record is there.
const BACK = 2u; // The shares of bins have a gradient.
struct Binned { rows: u32, heads: u32, bins: u32, flags: u32 }
var<immediate> bp: Binned;
@group(0) @binding(0) var<storage, read> as_query: array<f32>;
@group(0) @binding(1) var<storage, read> as_key: array<f32>;
@group(0) @binding(2) var<storage, read> places: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> bin_shares: array<f32>;
@group(0) @binding(4) var<storage, read> bin_grads: array<f32>;
@group(0) @binding(5) var<storage, read_write> binned: array<vec4<f32>>;

// The record of each row and head with bins of distances; <shares, their gradient> joins what is in the first vector.
@compute @workgroup_size(64)
fn binned_record(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= bp.rows * bp.heads {
        return;
    }
    let parts = (bp.bins + 3u) / 4u;
    let start = i * (1u + 3u * parts);
    let back = (bp.flags & BACK) != 0u;
    var sum = 0.0;
    for (var part = 0u; part < parts; part++) {
        var query = vec4(0.0);
        var key = vec4(0.0);
        var grad = vec4(0.0);
        for (var c = 0u; c < min(4u, bp.bins - part * 4u); c++) {
            let at = i * bp.bins + part * 4u + c;
            query[c] = as_query[at];
            key[c] = as_key[at];
            if back {
                grad[c] = bin_grads[at];
                sum += bin_shares[at] * grad[c];
            }
        }
        binned[start + 1u + part] = query;
        binned[start + 1u + parts + part] = key;
        binned[start + 1u + 2u * parts + part] = grad;
    }
    let first = select(vec2(0.0), binned[start].xy, (bp.flags & STARTED) != 0u);
    binned[start] = vec4(first.x, first.y + sum, places[i / bp.heads]);
}

@group(0) @binding(0) var<storage, read> shares: array<f32>;
@group(0) @binding(1) var<storage, read> prototypes: array<f32>;
@group(0) @binding(2) var<storage, read_write> rows: array<f32>;

// rows += share of u times u + share of v times v; the shares of u start in column `first`.
@compute @workgroup_size(64)
fn distance_fold(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    let width = f.heads * f.cols;
    if i >= f.rows * width {
        return;
    }
    let c = i % width;
    let share = i / width * f.stride + f.first + c / f.cols;
    rows[i] += shares[share] * prototypes[c] + shares[share + f.heads] * prototypes[width + c];
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> shares1: array<f32>;
@group(0) @binding(2) var<storage, read> tiles: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> parts: array<f32>;

// parts[tile] = the sum over the tile's rows of share times row, for u and then for v.
@compute @workgroup_size(64)
fn distance_prototypes(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    let width = t.heads * t.cols;
    let chunks = (2u * width + 63u) / 64u;
    let i = number % chunks * 64u + lane;
    if number / chunks >= t.tiles || i >= 2u * width {
        return;
    }
    let tile = tiles[number / chunks];
    let c = i % width;
    let share = t.first + i / width * t.heads + c / t.cols;
    var sum = 0.0;
    for (var r = tile.y; r < tile.y + tile.z; r++) {
        sum += shares1[r * t.stride + share] * x[r * width + c];
    }
    parts[number / chunks * 2u * width + i] = sum;
}
