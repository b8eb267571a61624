// out[cols, rows] = in[rows, cols]^T. With `tiled` a 16 x 16 tile goes through workgroup memory, so
// that reads and writes both run along lines (GPUs); without, 256 neighbours of a line of `out` are
// gathered (CPU drivers, where workgroup memory costs more than it saves).
struct Params { rows: u32, cols: u32, ld_in: u32, ld_out: u32, groups_x: u32, tiled: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> target_: array<f32>;

var<workgroup> tile: array<f32, 272>; // 16 x 17

@compute @workgroup_size(16, 16)
fn transpose(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let wide = (p.cols + 15u) / 16u;
    let high = (p.rows + 15u) / 16u;
    let at = group.x + group.y * p.groups_x;
    if at < wide * high {
        let row = (at / wide) * 16u;
        let col = (at % wide) * 16u;
        if p.tiled != 0u {
            if row + id.y < p.rows && col + id.x < p.cols {
                tile[id.y * 17u + id.x] = source[(row + id.y) * p.ld_in + col + id.x];
            }
            workgroupBarrier();
            if row + id.x < p.rows && col + id.y < p.cols {
                target_[(col + id.y) * p.ld_out + row + id.x] = tile[id.x * 17u + id.y];
            }
        } else if row + id.x < p.rows && col + id.y < p.cols {
            target_[(col + id.y) * p.ld_out + row + id.x] = source[(row + id.x) * p.ld_in + col + id.y];
        }
    }
}
