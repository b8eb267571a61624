// Rows picked by an index, and columns copied between matrices.
#import common/grid

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(1) var<storage, read_write> y1: array<f32>;
@group(0) @binding(2) var<storage, read_write> y2: array<f32>;

struct GatherParams { count: u32, rows: u32, cols: u32 }
var<immediate> ga: GatherParams;

struct ScatterParams { count: u32, rows: u32, cols: u32, accumulate: u32 }
var<immediate> sc: ScatterParams;

struct CopyParams { rows: u32, cols: u32, from_cols: u32, from_first: u32, to_cols: u32, to_first: u32, accumulate: u32 }
var<immediate> co: CopyParams;

// y2[i, :] = x[index[i], :], zeros where the index lies behind the last row.
@compute @workgroup_size(64)
fn gather_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= ga.count * ga.cols {
        return;
    }
    let row = index[i / ga.cols];
    var value = 0.0;
    if row < ga.rows {
        value = x[row * ga.cols + i % ga.cols];
    }
    y2[i] = value;
}

var<workgroup> picked: array<u32, 64>;

// y2[d, :] (+)= the sum of x[i, :] over the i with index[i] = d, in ascending order of i.
//
// A workgroup owns 64 rows d and walks the whole index; an invocation owns every 64th column, so nothing is
// written twice at a time. Reading the index again for each workgroup costs less than sorting it.
@compute @workgroup_size(64)
fn scatter_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = group_of(group, groups) * 64u;
    let owned = min(64u, max(sc.rows, first) - first);
    if sc.accumulate == 0u {
        for (var d = first; d < first + owned; d++) {
            for (var c = lane; c < sc.cols; c += 64u) {
                y2[d * sc.cols + c] = 0.0;
            }
        }
    }
    for (var start = 0u; start < sc.count; start += 64u) {
        workgroupBarrier();
        if start + lane < sc.count {
            picked[lane] = index[start + lane];
        }
        workgroupBarrier();
        let here = min(64u, sc.count - start);
        for (var i = 0u; i < here; i++) {
            // Rows before the first wrap around and are not owned either.
            let d = picked[i] - first;
            if d < owned {
                for (var c = lane; c < sc.cols; c += 64u) {
                    y2[(first + d) * sc.cols + c] += x[(start + i) * sc.cols + c];
                }
            }
        }
    }
}

// y1[r, to_first + c] (+)= x[r, from_first + c] for c below cols; columns that x does not have count as zero.
@compute @workgroup_size(64)
fn copy_columns(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= co.rows * co.cols {
        return;
    }
    let r = i / co.cols;
    let c = i % co.cols;
    // A negative first column wraps around, and so do the columns in front of x.
    let from_column = co.from_first + c;
    var value = 0.0;
    if from_column < co.from_cols {
        value = x[r * co.from_cols + from_column];
    }
    let o = r * co.to_cols + co.to_first + c;
    if co.accumulate != 0u {
        value += y1[o];
    }
    y1[o] = value;
}
