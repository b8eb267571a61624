// K-means: the nearest centroid of each row, centroids for clusters that have no row, means over clusters. Every sum
// runs in a fixed order.
#import common/grid
#import common/block

struct Assign { rows: u32, cols: u32, clusters: u32 }
var<immediate> p: Assign;
struct Count { rows: u32, clusters: u32 }
var<immediate> n: Count;
struct Sum { rows: u32, cols: u32, clusters: u32, chunk: u32 }
var<immediate> s: Sum;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> centroids: array<f32>;
@group(0) @binding(2) var<storage, read_write> nearest_out: array<u32>;
@group(0) @binding(3) var<storage, read_write> distances_out: array<f32>;

@group(0) @binding(0) var<storage, read> nearest: array<u32>;
@group(0) @binding(1) var<storage, read_write> counts_out: array<u32>;

@group(0) @binding(0) var<storage, read_write> nearest_kept: array<u32>;
@group(0) @binding(1) var<storage, read_write> distances_kept: array<f32>;
@group(0) @binding(2) var<storage, read_write> counts_kept: array<u32>;

@group(0) @binding(1) var<storage, read> nearest1: array<u32>;
@group(0) @binding(1) var<storage, read> counts1: array<u32>;
@group(0) @binding(2) var<storage, read> before: array<f32>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;
@group(0) @binding(3) var<storage, read_write> means: array<f32>;

fn row_cols() -> u32 {
    return p.cols;
}

fn own_value(row: u32, col: u32) -> f32 {
    return x[row * p.cols + col];
}

fn other_value(row: u32, col: u32) -> f32 {
    return centroids[row * p.cols + col];
}

// The centroid nearest to each row, of equals the first, and the squared distance.
@compute @workgroup_size(64)
fn cluster_assign(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = group_of(group, groups) * 64u;
    if first >= p.rows {
        return;
    }
    var best = 3.4e38;
    var at = 0u;
    for (var k = 0u; k < p.clusters; k += OTHERS) {
        let sums = block(1u, lane, first, p.rows, k, p.clusters);
        for (var o = 0u; o < min(OTHERS, p.clusters - k); o++) {
            if sums[o] < best {
                best = sums[o];
                at = k + o;
            }
        }
    }
    if first + lane < p.rows {
        nearest_out[first + lane] = at;
        distances_out[first + lane] = best;
    }
}

var<workgroup> totals: array<u32, 64>;

// Rows of each cluster.
@compute @workgroup_size(64)
fn cluster_count(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let cluster = group_of(group, groups);
    var total = 0u;
    for (var i = lane; i < n.rows; i += 64u) {
        total += u32(nearest[i] == cluster);
    }
    totals[lane] = total;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if lane < half {
            totals[lane] += totals[lane + half];
        }
        workgroupBarrier();
    }
    if lane == 0u && cluster < n.clusters {
        counts_out[cluster] = totals[0];
    }
}

var<workgroup> farthest: array<f32, 64>;
var<workgroup> places: array<u32, 64>;
var<workgroup> empty: u32;

// Each cluster without a row takes the row that is farthest from its centroid, of equals the first, from a cluster
// that has others. One workgroup, cluster after cluster.
@compute @workgroup_size(64)
fn cluster_fill(@builtin(local_invocation_index) lane: u32) {
    for (var cluster = 0u; cluster < n.clusters; cluster++) {
        if lane == 0u {
            empty = u32(counts_kept[cluster] == 0u);
        }
        if workgroupUniformLoad(&empty) == 0u {
            continue;
        }
        var most = -1.0;
        var place = 0xffffffffu;
        for (var i = lane; i < n.rows; i += 64u) {
            if distances_kept[i] > most && counts_kept[nearest_kept[i]] > 1u {
                most = distances_kept[i];
                place = i;
            }
        }
        farthest[lane] = most;
        places[lane] = place;
        workgroupBarrier();
        for (var half = 32u; half > 0u; half /= 2u) {
            if lane < half {
                let other = farthest[lane + half];
                if other > farthest[lane] || (other == farthest[lane] && places[lane + half] < places[lane]) {
                    farthest[lane] = other;
                    places[lane] = places[lane + half];
                }
            }
            workgroupBarrier();
        }
        if lane == 0u && places[0] != 0xffffffffu {
            let row = places[0];
            counts_kept[nearest_kept[row]] -= 1u;
            counts_kept[cluster] = 1u;
            nearest_kept[row] = cluster;
            distances_kept[row] = 0.0;
        }
        storageBarrier();
        workgroupBarrier();
    }
}

// parts[chunk, cluster, col] = the sum over the rows of the chunk that belong to the cluster. A lane owns a column.
@compute @workgroup_size(64)
fn cluster_part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let blocks = (s.cols + 63u) / 64u;
    let number = group_of(group, groups);
    let chunk = number / blocks;
    let col = number % blocks * 64u + lane;
    if chunk * s.chunk >= s.rows || col >= s.cols {
        return;
    }
    let start = chunk * s.clusters * s.cols + col;
    for (var k = 0u; k < s.clusters; k++) {
        parts[start + k * s.cols] = 0.0;
    }
    for (var i = chunk * s.chunk; i < min(s.rows, (chunk + 1u) * s.chunk); i++) {
        parts[start + nearest1[i] * s.cols] += x[i * s.cols + col];
    }
}

// means = x over the counts, and what was there before for clusters without rows.
@compute @workgroup_size(64)
fn cluster_mean(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= s.clusters * s.cols {
        return;
    }
    let count = counts1[i / s.cols];
    means[i] = select(x[i] / f32(count), before[i], count == 0u);
}
