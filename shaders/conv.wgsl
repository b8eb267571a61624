// Convolutions of images, one a row, channel first. Products of a tile are computed as in a matrix product,
// but what would be the unrolled image is picked from the image itself, so nothing is stored.
//
// A workgroup computes 64 columns by 16 rows; an invocation 4 by 4 of them.
#import common/grid
#import common/lanes

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(1) var<storage, read_write> y1: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read_write> y2: array<f32>;
@group(0) @binding(3) var<storage, read_write> y3: array<f32>;

// The image read has from_c channels of from_h by from_w, the one written to_c of to_h by to_w.
// Flags: 1 add to what is there, 2 add the bias, 4 transposed (the larger image is written).
const ADD = 1u; // The result is added to what is there.
const BIAS = 2u; // There is a bias.
const TRANSPOSED = 4u; // Each input writes a window.
struct ConvParams {
    rows: u32, from_c: u32, from_h: u32, from_w: u32, to_c: u32, to_h: u32, to_w: u32,
    kh: u32, kw: u32, stride: u32, pad_y: u32, pad_x: u32, flags: u32,
}
var<immediate> co: ConvParams;

// The small image is what a plain convolution writes, the large one what it reads.
struct WeightParams {
    rows: u32, small_c: u32, small_h: u32, small_w: u32, large_c: u32, large_h: u32, large_w: u32,
    kh: u32, kw: u32, stride: u32, pad_y: u32, pad_x: u32, chunk: u32,
}
var<immediate> we: WeightParams;

struct ChannelParams { rows: u32, channels: u32, positions: u32, chunk: u32 }
var<immediate> ch: ChannelParams;

var<workgroup> wide: array<array<f32, 64>, 16>;
var<workgroup> narrow: array<array<f32, 16>, 16>;

// Adds the products of the 16 staged steps to the 4 by 4 sums of this invocation.
fn multiply(lane: u32, sums: ptr<function, array<vec4<f32>, 4>>) {
    let m = (lane % 16u) * 4u;
    let n = (lane / 16u) * 4u;
    for (var k = 0u; k < 16u; k++) {
        let a = vec4(wide[k][m], wide[k][m + 1u], wide[k][m + 2u], wide[k][m + 3u]);
        for (var i = 0u; i < 4u; i++) {
            (*sums)[i] += narrow[k][n + i] * a;
        }
    }
}

// The value of the image read that output position (oy, ox) meets at step k of the kernel; 0 outside.
fn picked(row: u32, oy: u32, ox: u32, k: u32) -> f32 {
    let area = co.kh * co.kw;
    let c = k / area;
    let ky = (k % area) / co.kw;
    let kx = k % co.kw;
    // Below zero wraps around to a number that no image is as high as.
    var iy = oy * co.stride + ky - co.pad_y;
    var ix = ox * co.stride + kx - co.pad_x;
    if (co.flags & TRANSPOSED) != 0u {
        iy = oy + co.pad_y - ky;
        ix = ox + co.pad_x - kx;
        let hit = i32(iy) >= 0 && i32(ix) >= 0 && iy % co.stride == 0u && ix % co.stride == 0u;
        if !hit {
            return 0.0;
        }
        iy /= co.stride;
        ix /= co.stride;
    }
    if iy >= co.from_h || ix >= co.from_w {
        return 0.0;
    }
    return x[((row * co.from_c + c) * co.from_h + iy) * co.from_w + ix];
}

// y3[r, n, p] (+)= the sum over k of picked(r, p, k) w[n, k] + bias[n].
//
// Plain weights are [to_c, from_c kh kw], transposed ones [from_c, to_c kh kw].
@compute @workgroup_size(64)
fn conv(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    let tiles = (co.to_c + 15u) / 16u;
    let first = (number / tiles) * 64u;
    let first_n = (number % tiles) * 16u;
    let positions = co.to_h * co.to_w;
    let area = co.kh * co.kw;
    let steps = co.from_c * area;
    let at = first + lane;
    let inside = at < co.rows * positions;
    let row = at / positions;
    let oy = (at % positions) / co.to_w;
    let ox = at % co.to_w;
    var sums: array<vec4<f32>, 4>;
    for (var start = 0u; start < steps; start += 16u) {
        for (var i = 0u; i < 16u; i++) {
            var value = 0.0;
            if inside && start + i < steps {
                value = picked(row, oy, ox, start + i);
            }
            wide[i][lane] = value;
        }
        for (var i = lane; i < 256u; i += 64u) {
            let k = start + i % 16u;
            let n = first_n + i / 16u;
            var value = 0.0;
            if k < steps && n < co.to_c {
                var o = n * steps + k;
                if (co.flags & TRANSPOSED) != 0u {
                    o = (k / area * co.to_c + n) * area + k % area;
                }
                value = w[o];
            }
            narrow[i % 16u][i / 16u] = value;
        }
        workgroupBarrier();
        multiply(lane, &sums);
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        let n = first_n + (lane / 16u) * 4u + i;
        for (var j = 0u; j < 4u; j++) {
            let m = first + (lane % 16u) * 4u + j;
            if n < co.to_c && m < co.rows * positions {
                var value = sums[i][j];
                if (co.flags & BIAS) != 0u {
                    value += bias[n];
                }
                let o = (m / positions * co.to_c + n) * positions + m % positions;
                if (co.flags & ADD) != 0u {
                    value += y3[o];
                }
                y3[o] = value;
            }
        }
    }
}

// y2[chunk, a, (b, ky, kx)] = the sum over the images r of the chunk and the positions p of the small image of
// x[r, a, p] w[r, b, p stride + (ky, kx) - pad]; x the small image, w the large one.
@compute @workgroup_size(64)
fn conv_weights(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    let area = we.kh * we.kw;
    let columns = we.large_c * area;
    let tiles_m = (columns + 63u) / 64u;
    let tiles_n = (we.small_c + 15u) / 16u;
    let chunk = number / (tiles_m * tiles_n);
    let first = (number % tiles_m) * 64u;
    let first_n = (number / tiles_m % tiles_n) * 16u;
    let positions = we.small_h * we.small_w;
    let begin = min(chunk * we.chunk, we.rows) * positions;
    let end = min((chunk + 1u) * we.chunk, we.rows) * positions;
    let column = first + lane;
    let c = column / area;
    let ky = column % area / we.kw;
    let kx = column % we.kw;
    var sums: array<vec4<f32>, 4>;
    for (var start = begin; start < end; start += 16u) {
        for (var i = 0u; i < 16u; i++) {
            let at = start + i;
            let p = at % positions;
            let iy = p / we.small_w * we.stride + ky - we.pad_y;
            let ix = p % we.small_w * we.stride + kx - we.pad_x;
            var value = 0.0;
            if at < end && column < columns && iy < we.large_h && ix < we.large_w {
                value = w[((at / positions * we.large_c + c) * we.large_h + iy) * we.large_w + ix];
            }
            wide[i][lane] = value;
        }
        for (var i = lane; i < 256u; i += 64u) {
            let at = start + i % 16u;
            let n = first_n + i / 16u;
            var value = 0.0;
            if at < end && n < we.small_c {
                value = x[(at / positions * we.small_c + n) * positions + at % positions];
            }
            narrow[i % 16u][i / 16u] = value;
        }
        workgroupBarrier();
        multiply(lane, &sums);
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        let n = first_n + (lane / 16u) * 4u + i;
        for (var j = 0u; j < 4u; j++) {
            let m = first + (lane % 16u) * 4u + j;
            if n < we.small_c && m < columns && chunk * we.chunk < we.rows {
                y2[(chunk * we.small_c + n) * columns + m] = sums[i][j];
            }
        }
    }
}

// y1[chunk, c] = the sum of x over the images of the chunk and the positions of channel c.
@compute @workgroup_size(64)
fn channel_sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_of(group, groups);
    let c = number % ch.channels;
    let chunk = number / ch.channels;
    let begin = min(chunk * ch.chunk, ch.rows);
    let end = min(begin + ch.chunk, ch.rows);
    var total = 0.0;
    for (var i = lane; i < (end - begin) * ch.positions; i += 64u) {
        let row = begin + i / ch.positions;
        total += x[(row * ch.channels + c) * ch.positions + i % ch.positions];
    }
    let sum = sum_lanes(lane, total);
    if lane == 0u && begin < ch.rows {
        y1[number] = sum;
    }
}
