// Sines and cosines of the place that a row has in its bag (Vaswani and others 2017), added to it. Angles are whole
// numbers, 2^32 of them a turn: what is beyond a turn falls away without a loss, and no sine of a large number is taken.
#import common/grid

// ratio: that of the frequencies of two columns and the next two, times 2^32. first: where the columns lie in all.
struct Params { tiles: u32, cols: u32, first: u32, ratio: u32 }
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> tiles: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> offsets: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const RADIAN = 683565276u; // An angle of 1.
const QUARTER = 0x40000000u;
const HALF = 0x80000000u;

// a b / 2^32, to the nearest.
fn product(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let left = (a >> 16u) * (b & 0xffffu);
    let right = (a & 0xffffu) * (b >> 16u);
    let middle = (low >> 16u) + (left & 0xffffu) + (right & 0xffffu) + 0x8000u;
    return (a >> 16u) * (b >> 16u) + (left >> 16u) + (right >> 16u) + (middle >> 16u);
}

// The angle from one place to the next: RADIAN ratio^pair.
fn frequency(pair: u32) -> u32 {
    var angle = RADIAN;
    var power = p.ratio;
    for (var left = pair; left > 0u; left >>= 1u) {
        if (left & 1u) != 0u {
            angle = product(angle, power);
        }
        power = product(power, power);
    }
    return angle;
}

fn sine(angle: u32) -> f32 {
    var turn = bitcast<i32>(angle);
    if abs(turn) > bitcast<i32>(QUARTER) {
        turn = bitcast<i32>(HALF - angle);
    }
    let t = f32(turn) * 1.46291808e-9; // 2 pi / 2^32
    let s = t * t;
    return t * (1.0 + s * (-0.166666667 + s * (0.00833333333 + s * (-1.98412698e-4 + s * (2.75573192e-6
        - s * 2.50521084e-8)))));
}

// out[r, c] = x[r, c] + the sine (c even) or cosine of the row's place times the frequency of the pair of columns.
@compute @workgroup_size(64)
fn add_positions(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = tile_and_column(group_of(group, groups), lane, p.cols);
    let c = at.y;
    if at.x >= p.tiles || c >= p.cols {
        return;
    }
    let tile = tiles[at.x];
    let column = p.first + c;
    let each = frequency(column / 2u);
    let shift = (column & 1u) * QUARTER;
    let start = offsets[tile.x];
    let end = tile.y + tile.z;
    for (var r = tile.y; r < end; r++) {
        out[r * p.cols + c] = x[r * p.cols + c] + sine((r - start) * each + shift);
    }
}
