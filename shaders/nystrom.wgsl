// Nyström attention: products of the small matrices of each bag and head, the iterative pseudo-inverse, and
// what attention between tokens and landmarks needs besides the kernels of self_attention.wgsl.
//
// Matrices of the heads of a bag are stacked, each dense, or lie side by side in the columns of one.
#import common/grid

// c (+)= alpha op(a) op(b) + beta e + gamma I of each bag and head; a is [m, k], b [k, n] after op.
struct Product { m: u32, n: u32, k: u32, heads: u32, flags: u32, alpha: f32, beta: f32, gamma: f32, layers: u32 }
var<immediate> pr: Product;
struct Inverse { layers: u32, heads: u32, side: u32, flags: u32 }
var<immediate> iv: Inverse;
struct Spans { tiles: u32, own: u32, other: u32 }
var<immediate> sp: Spans;
struct Zeros { rows: u32, heads: u32, width: u32, landmarks: u32 }
var<immediate> ze: Zeros;

const ACCUMULATE = 1u;
const A_T = 2u;
const B_T = 4u;
const WITH_E = 8u;
const A_COLUMNS = 16u;
const B_COLUMNS = 32u;
const C_COLUMNS = 64u;
// Landmarks that stand for nothing but the zeros in front of the tokens are one.
const FOLDED = 128u;

@group(0) @binding(0) var<storage, read> a0: array<f32>;
@group(0) @binding(1) var<storage, read> a1: array<f32>;
@group(0) @binding(2) var<storage, read> a2: array<f32>;
@group(0) @binding(3) var<storage, read_write> out3: array<f32>;

// The matrices of a bag whose first `weight` landmarks are alike: of these only the last, number `first`, stands for all,
// and `side` rows and columns are left.
struct Fold { first: u32, side: u32, weight: f32 }

fn fold_of(tokens: u32, side: u32, flags: u32) -> Fold {
    let each = (tokens + side - 1u) / side;
    if (flags & FOLDED) == 0u || each == 0u {
        return Fold(0u, side, 1.0);
    }
    let zeros = max((each * side - tokens) / each, 1u);
    return Fold(zeros - 1u, side - zeros + 1u, f32(zeros));
}

// How many landmarks the one of this number stands for.
fn weight_of(fold: Fold, number: u32) -> f32 {
    return select(1.0, fold.weight, number == 0u);
}

// The number among those that are left of landmark `i` of all.
fn left_of(fold: Fold, i: u32) -> u32 {
    return max(i, fold.first) - fold.first;
}

// First value and distance of rows of a stored matrix [rows, cols] of a layer.
fn place(layer: u32, rows: u32, cols: u32, columns: bool) -> vec2<u32> {
    if columns {
        return vec2(layer / pr.heads * rows * pr.heads * cols + layer % pr.heads * cols, pr.heads * cols);
    }
    return vec2(layer * rows * cols, cols);
}

const SIDE = 64u;
const DEPTH = 16u;
const ROW = 65u;
var<workgroup> left: array<f32, 1040>;
var<workgroup> right: array<f32, 1040>;

@group(0) @binding(4) var<storage, read> offsets4: array<u32>;

// 256 invocations share a tile of 64 by 64 and have 4 by 4 of it. Folded matrices are square, and stored as if they were
// not folded.
@compute @workgroup_size(256)
fn head_product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let wide = (pr.n + SIDE - 1u) / SIDE;
    let tiles = (pr.m + SIDE - 1u) / SIDE * wide;
    let number = group_of(group, groups);
    let layer = number / tiles;
    if layer >= pr.layers {
        return;
    }
    let top = number % tiles / wide * SIDE;
    let first = number % tiles % wide * SIDE;
    var sizes = vec3(pr.m, pr.n, pr.k);
    if (pr.flags & FOLDED) != 0u {
        let bag = layer / pr.heads;
        sizes = vec3(fold_of(offsets4[bag + 1u] - offsets4[bag], pr.m, pr.flags).side);
    }
    if top >= sizes.x || first >= sizes.y {
        return;
    }
    let a_t = (pr.flags & A_T) != 0u;
    let b_t = (pr.flags & B_T) != 0u;
    let a = place(layer, select(pr.m, pr.k, a_t), select(pr.k, pr.m, a_t), (pr.flags & A_COLUMNS) != 0u);
    let b = place(layer, select(pr.k, pr.n, b_t), select(pr.n, pr.k, b_t), (pr.flags & B_COLUMNS) != 0u);
    let c = place(layer, pr.m, pr.n, (pr.flags & C_COLUMNS) != 0u);
    let row = lane / 16u * 4u;
    let col = lane % 16u * 4u;
    var sums = array<f32, 16>();
    for (var start = 0u; start < sizes.z; start += DEPTH) {
        for (var i = lane; i < SIDE * DEPTH; i += 256u) {
            // Neighbours read neighbours, whichever way the matrix is stored.
            let ar = select(i / DEPTH, i % SIDE, a_t);
            let ak = select(i % DEPTH, i / SIDE, a_t);
            var v = 0.0;
            if top + ar < sizes.x && start + ak < sizes.z {
                v = a0[a.x + select((top + ar) * a.y + start + ak, (start + ak) * a.y + top + ar, a_t)];
            }
            left[ak * ROW + ar] = v;
            let bc = select(i % SIDE, i / DEPTH, b_t);
            let bk = select(i / SIDE, i % DEPTH, b_t);
            v = 0.0;
            if first + bc < sizes.y && start + bk < sizes.z {
                v = a1[b.x + select((start + bk) * b.y + first + bc, (first + bc) * b.y + start + bk, b_t)];
            }
            right[bk * ROW + bc] = v;
        }
        workgroupBarrier();
        for (var d = 0u; d < DEPTH; d++) {
            var x: array<f32, 4>;
            var y: array<f32, 4>;
            for (var i = 0u; i < 4u; i++) {
                x[i] = left[d * ROW + row + i];
                y[i] = right[d * ROW + col + i];
            }
            for (var i = 0u; i < 16u; i++) {
                sums[i] += x[i / 4u] * y[i % 4u];
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 16u; i++) {
        let r = top + row + i / 4u;
        let s = first + col + i % 4u;
        if r < sizes.x && s < sizes.y {
            let o = c.x + r * c.y + s;
            var value = pr.alpha * sums[i] + select(0.0, pr.gamma, r == s);
            if (pr.flags & WITH_E) != 0u {
                value += pr.beta * a2[o];
            }
            out3[o] = value + select(0.0, out3[o], (pr.flags & ACCUMULATE) != 0u);
        }
    }
}

@group(0) @binding(1) var<storage, read_write> out1: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> sums1: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out2: array<f32>;

var<workgroup> largest: array<vec4<f32>, 256>;

fn larger(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    // Of equals the first.
    return select(a, b, b.x > a.x || (b.x == a.x && b.y < a.y));
}

// out1[layer] = (largest sum of the absolute values of a row, its number, that of a column, its number).
@compute @workgroup_size(256)
fn inverse_sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let layer = group_of(group, groups);
    // A workgroup behind the end has nothing to do but takes part in the barriers.
    let side = select(0u, iv.side, layer < iv.layers);
    let base = layer * iv.side * iv.side;
    var best = vec4(-1.0, 0.0, -1.0, 0.0);
    for (var i = lane; i < side; i += 256u) {
        var row = 0.0;
        var col = 0.0;
        for (var j = 0u; j < side; j++) {
            row += abs(a0[base + i * side + j]);
            col += abs(a0[base + j * side + i]);
        }
        best = vec4(larger(best.xy, vec2(row, f32(i))), larger(best.zw, vec2(col, f32(i))));
    }
    largest[lane] = best;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if lane < half {
            let other = largest[lane + half];
            let mine = largest[lane];
            largest[lane] = vec4(larger(mine.xy, other.xy), larger(mine.zw, other.zw));
        }
        workgroupBarrier();
    }
    if lane == 0u && layer < iv.layers {
        out1[layer] = largest[0];
    }
}

// The largest sums of a bag over its heads: (row sum, column sum), and (head, number) of both.
struct Largest { sums: vec2<f32>, row: vec2<u32>, col: vec2<u32> }
fn largest_of(bag: u32) -> Largest {
    var best = Largest(vec2(-1.0), vec2(0u), vec2(0u));
    for (var head = 0u; head < iv.heads; head++) {
        let s = sums1[bag * iv.heads + head];
        if s.x > best.sums.x {
            best.sums.x = s.x;
            best.row = vec2(head, u32(s.y));
        }
        if s.z > best.sums.y {
            best.sums.y = s.z;
            best.col = vec2(head, u32(s.w));
        }
    }
    return best;
}

@group(0) @binding(3) var<storage, read> offsets3: array<u32>;

fn fold3(bag: u32) -> Fold {
    return fold_of(offsets3[bag + 1u] - offsets3[bag], iv.side, iv.flags);
}

// out2 = the transpose of a0, which is not folded, over the product of the largest sums of its bag.
@compute @workgroup_size(64)
fn inverse_start(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    let area = iv.side * iv.side;
    let layer = i / area;
    if layer >= iv.layers {
        return;
    }
    let fold = fold3(layer / iv.heads);
    let row = i % area / iv.side;
    let col = i % iv.side;
    if max(row, col) >= fold.side {
        return;
    }
    let best = largest_of(layer / iv.heads);
    let at = layer * area + (fold.first + col) * iv.side + fold.first + row;
    out2[i] = a0[at] / (best.sums.x * best.sums.y) * weight_of(fold, col);
}

@group(0) @binding(2) var<storage, read_write> dots2: array<f32>;
var<workgroup> partial: array<f32, 256>;

// dots2[layer] = the sum of the products of a0 and a1.
@compute @workgroup_size(256)
fn inverse_dots(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let layer = group_of(group, groups);
    let base = layer * iv.side * iv.side;
    var side = 0u;
    if layer < iv.layers {
        side = fold3(layer / iv.heads).side;
    }
    var sum = 0.0;
    for (var i = lane; i < side * side; i += 256u) {
        let at = base + i / side * iv.side + i % side;
        sum += a0[at] * a1[at];
    }
    partial[lane] = sum;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if lane < half {
            partial[lane] += partial[lane + half];
        }
        workgroupBarrier();
    }
    if lane == 0u && layer < iv.layers {
        dots2[layer] = partial[0];
    }
}

@group(0) @binding(3) var<storage, read> a3: array<f32>;
@group(0) @binding(4) var<storage, read> a4: array<f32>;
@group(0) @binding(5) var<storage, read_write> out5: array<f32>;
@group(0) @binding(6) var<storage, read> offsets6: array<u32>;

// out5 (+)= a2 + the gradient through the start: a0 the matrix, a3 the gradient of the start, a4 its products
// with the start. The largest sums have gradients too, in the one row and the one column they come from. a2 and a3 are
// folded; landmarks that are one share its gradient.
@compute @workgroup_size(64)
fn inverse_end(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    let area = iv.side * iv.side;
    let layer = i / area;
    if layer >= iv.layers {
        return;
    }
    let bag = layer / iv.heads;
    let best = largest_of(bag);
    let scale = best.sums.x * best.sums.y;
    let row = i % area / iv.side;
    let col = i % iv.side;
    let fold = fold_of(offsets6[bag + 1u] - offsets6[bag], iv.side, iv.flags);
    let r = left_of(fold, row);
    let c = left_of(fold, col);
    var value = a2[layer * area + r * iv.side + c] / weight_of(fold, r)
        + a3[layer * area + c * iv.side + r] / scale / weight_of(fold, c);
    let at = layer % iv.heads;
    let in_row = all(best.row == vec2(at, row));
    let in_col = all(best.col == vec2(at, col));
    if in_row || in_col {
        var dot = 0.0;
        for (var head = 0u; head < iv.heads; head++) {
            dot += a4[bag * iv.heads + head];
        }
        let slope = -dot / scale * sign(a0[i]);
        value += select(0.0, best.sums.y * slope, in_row) + select(0.0, best.sums.x * slope, in_col);
    }
    out5[i] = value + select(0.0, out5[i], (iv.flags & ACCUMULATE) != 0u);
}

struct Folding { layers: u32, heads: u32, side: u32, how: u32 }
var<immediate> fo: Folding;
const FOLD = 0u;
const SPREAD = 1u;
const COLUMNS = 2u;
const ROWS = 3u;
@group(0) @binding(1) var<storage, read_write> folded1: array<f32>;
@group(0) @binding(2) var<storage, read> offsets2: array<u32>;

// A matrix M over the landmarks as an operator on what is the same for all that are alike: M w, for w the number of
// landmarks that each of a column stands for, so that products of folded matrices are folded products. FOLD: folded1 = a0 w.
// SPREAD: folded1 = a0 / w, for all rows and columns. COLUMNS, then ROWS: the gradient of what was spread from that of all.
@compute @workgroup_size(64)
fn inverse_fold(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    let area = fo.side * fo.side;
    let layer = i / area;
    if layer >= fo.layers {
        return;
    }
    let bag = layer / fo.heads;
    let fold = fold_of(offsets2[bag + 1u] - offsets2[bag], fo.side, FOLDED);
    let base = layer * area;
    let row = i % area / fo.side;
    let col = i % fo.side;
    if fo.how == SPREAD {
        let c = left_of(fold, col);
        folded1[i] = a0[base + left_of(fold, row) * fo.side + c] / weight_of(fold, c);
        return;
    }
    if col >= fold.side || (row >= fold.side && fo.how != COLUMNS) {
        return;
    }
    let w = weight_of(fold, col);
    if fo.how == FOLD {
        folded1[i] = a0[base + (fold.first + row) * fo.side + fold.first + col] * w;
        return;
    }
    // All that the first of those left stands for, or the one landmark behind them.
    let by_row = fo.how == ROWS;
    let number = select(col, row, by_row);
    let count = select(1u, fold.first + 1u, number == 0u);
    let start = select(fold.first + number, 0u, number == 0u);
    var sum = 0.0;
    for (var k = start; k < start + count; k++) {
        sum += a0[base + select(row * fo.side + k, k * fo.side + col, by_row)];
    }
    folded1[i] = select(sum / w, sum, by_row);
}

@group(0) @binding(0) var<storage, read> offsets0: array<u32>;
@group(0) @binding(1) var<storage, read> tiles1: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> spans2: array<vec4<u32>>;

// spans2[tile] = (first row, rows, first and last row of what the bag's rows look at). `own` and `other` are
// the rows of a bag, 0 for tokens.
@compute @workgroup_size(64)
fn cross_spans(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= sp.tiles {
        return;
    }
    var tile = vec4(0u);
    if sp.own == 0u {
        tile = tiles1[i];
    } else {
        let each = (sp.own + 63u) / 64u;
        let origin = i % each * 64u;
        tile = vec4(i / each, i / each * sp.own + origin, min(64u, sp.own - origin), 0u);
    }
    var other = vec2(tile.x * sp.other, (tile.x + 1u) * sp.other);
    if sp.other == 0u {
        other = vec2(offsets0[tile.x], offsets0[tile.x + 1u]);
    }
    spans2[i] = vec4(tile.yz, other);
}

@group(0) @binding(1) var<storage, read_write> lse1: array<f32>;

// Attention of landmarks to tokens as if there were zeros in front of the tokens, keys and values alike: lse1
// gets their part, and the results in out2 shrink.
@compute @workgroup_size(64)
fn zero_keys(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= ze.rows * ze.heads {
        return;
    }
    let bag = i / ze.heads / ze.landmarks;
    let tokens = offsets0[bag + 1u] - offsets0[bag];
    let zeros = (tokens + ze.landmarks - 1u) / ze.landmarks * ze.landmarks - tokens;
    if zeros == 0u {
        return;
    }
    let old = lse1[i];
    let high = max(old, 0.0);
    let lse = high + log(exp(old - high) + f32(zeros) * exp(-high));
    lse1[i] = lse;
    let factor = exp(old - lse);
    for (var c = 0u; c < ze.width; c++) {
        out2[i * ze.width + c] *= factor;
    }
}
