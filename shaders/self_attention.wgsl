// Self-attention within each bag, without the N x N matrix. A workgroup owns one tile of at most 64 rows, one
// head and at most 64 columns of the result, and walks over the bag's other rows in blocks of 32: pair by
// pair energies (OWN x 4 of them an invocation), then sums weighted by them (OWN rows by 8 columns an invocation).
// OWN is 8, or 4 or 2 in workgroups of two or four times as many invocations, which need fewer registers; sums are the
// same.
//
// Every energy is symmetric in its two rows, so one backward kernel serves queries and keys: "own" rows are the
// ones whose gradient is computed, "other" rows the ones it sums over. With the flag FLIP own rows are keys.
//
// A record of a row and head is (log-sum-exp, <output, its gradient>, alpha, -); with distances it is
// (.., .., <gradient, u>, <gradient, v>), (q.uK, q.vK, k.uQ, k.vQ), (x, y, beta, theta); with bins of distances
// (.., .., x, y) and as many values as bins, filled up to vectors, of each of: what the row adds to an energy as a
// query, as a key, and the gradients of the shares that bins have in its weights.
#import common/grid
#if DROP
#import common/philox
#endif

#if VEC
alias V = vec4<f32>;
const WIDTH = 4u;
const UNITS = 2u;
fn total(v: V) -> f32 { return dot(v, vec4(1.0)); }
#else
alias V = f32;
const WIDTH = 1u;
const UNITS = 8u;
fn total(v: V) -> f32 { return v; }
#endif

const DOT = 0u;
const RBF = 1u;
const INVERSE = 2u;
const LAPLACE = 3u;
const MODULE = 4u;
const POWER = 5u;
const DISTANCE = 6u;
const BINNED = 7u;
const NEAR = 8u;
const OWN = ${OWN}u;
const LANES = 512u / OWN;
const PAIRS = OWN * 4u;
const HELD = UNITS * OWN;
const KIND = ${KIND}u;
const BINS = ${BINS}u;
// Vectors of a value for each bin.
const PARTS = (BINS + 3u) / 4u;
#if DISTANCE
const RECORD = 3u;
#else
#if BINNED
const RECORD = 1u + 3u * PARTS;
#else
const RECORD = 1u;
#endif
#endif

const ACCUMULATE = 1u;
const FLIP = 2u;
const SHARES = 4u;
const ADD_SHARES = 8u;
const LOWEST = -3.0e38;

// The last seven are those of dropout: a pair is dropped when its 16 random bits are below the threshold. Bits are drawn
// by head: `drawn` has how many there are in its upper half and the first one here in the lower.
struct Attend {
    tiles: u32, heads: u32, dims: u32, values: u32, scale: f32, unit: f32, flags: u32, kind: u32, bins: u32,
    threshold: u32, keep: f32, site: u32, seed_low: u32, seed_high: u32, step: u32, drawn: u32,
}
var<immediate> p: Attend;
struct Spans { tiles: u32 }
var<immediate> sp: Spans;
const OF_LSE = 1u; // The log-sum-exp has a gradient, too.
const BACKWARD = 2u; // There are gradients.
const ALPHA = 4u; // There is an alpha.
struct Record { rows: u32, heads: u32, values: u32, flags: u32, kind: u32, length: u32 }
var<immediate> rp: Record;

@group(0) @binding(0) var<storage, read> tiles: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> offsets: array<u32>;
@group(0) @binding(2) var<storage, read_write> spans_out: array<vec4<u32>>;

// spans_out[tile] = (first row, rows, the bag's first row, the bag's end).
@compute @workgroup_size(64)
fn attention_spans(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i < sp.tiles {
        let tile = tiles[i];
        spans_out[i] = vec4(tile.y, tile.z, offsets[tile.x], offsets[tile.x + 1u]);
    }
}

@group(0) @binding(0) var<storage, read> result: array<f32>;
@group(0) @binding(1) var<storage, read> result_grad: array<f32>;
@group(0) @binding(2) var<storage, read> lse_grad: array<f32>;
@group(0) @binding(3) var<storage, read> lse_in: array<f32>;
@group(0) @binding(4) var<storage, read> extra: array<f32>;
@group(0) @binding(5) var<storage, read_write> record_out: array<vec4<f32>>;

// The first vector of each record; extra is alpha [1, heads] or, with distances, uV and vV [2, heads * values].
@compute @workgroup_size(64)
fn attention_record(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i >= rp.rows * rp.heads {
        return;
    }
    let head = i % rp.heads;
    var record = vec4(0.0);
    if (rp.flags & BACKWARD) != 0u {
        for (var c = 0u; c < rp.values; c++) {
            let g = result_grad[i * rp.values + c];
            record.y += result[i * rp.values + c] * g;
#if DISTANCE
            record.z += g * extra[head * rp.values + c];
            record.w += g * extra[(rp.heads + head) * rp.values + c];
#endif
        }
        record.x = lse_in[i];
        if (rp.flags & OF_LSE) != 0u {
            record.y -= lse_grad[i];
        }
    }
#if !DISTANCE
    if (rp.flags & ALPHA) != 0u {
        record.z = max(extra[head], 0.0);
    }
#endif
    record_out[i * RECORD] = record;
}

struct Alpha { heads: u32, accumulate: u32 }
var<immediate> al: Alpha;
@group(0) @binding(0) var<storage, read> alpha_in: array<f32>;
@group(0) @binding(1) var<storage, read> clamped_grad: array<f32>;
@group(0) @binding(2) var<storage, read_write> alpha_grad: array<f32>;

// Through relu(alpha): nothing comes back where alpha is not positive.
@compute @workgroup_size(64)
fn attention_alpha(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_of(group, groups) * 64u + lane;
    if i < al.heads {
        let old = select(0.0, alpha_grad[i], al.accumulate != 0u);
        alpha_grad[i] = old + select(0.0, clamped_grad[i], alpha_in[i] > 0.0);
    }
}

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> y: array<V>;
@group(0) @binding(2) var<storage, read> xg: array<V>;
@group(0) @binding(3) var<storage, read> yg: array<V>;

fn power(v: f32, alpha: f32) -> f32 {
    return select(0.0, exp2(alpha * log2(max(v, 1e-30))), v > 0.0);
}
// d/dalpha of it.
fn power_log(v: f32, alpha: f32) -> f32 {
    let l = log2(max(v, 1e-30));
    return select(0.0, 0.69314718056 * l * exp2(alpha * l), v > 0.0);
}

#if VEC
fn powers(v: V, alpha: f32) -> V {
    let a = abs(v);
    return vec4(power(a.x, alpha), power(a.y, alpha), power(a.z, alpha), power(a.w, alpha));
}
fn power_logs(v: V, alpha: f32) -> V {
    let a = abs(v);
    return vec4(power_log(a.x, alpha), power_log(a.y, alpha), power_log(a.z, alpha), power_log(a.w, alpha));
}
#else
fn powers(v: V, alpha: f32) -> V { return power(abs(v), alpha); }
fn power_logs(v: V, alpha: f32) -> V { return power_log(abs(v), alpha); }
#endif
fn power_slope(v: V, alpha: f32) -> V { return alpha * sign(v) * powers(v, alpha - 1.0); }

// What a pair of columns adds to the sum behind the energy.
fn term(a: V, b: V, alpha: f32) -> f32 {
    switch KIND {
        case 1u, 2u, 8u: { return total((a - b) * (a - b)); }
        case 3u: { return total(abs(a - b)); }
        case 4u: { return total(abs(a - b) - abs(a) - abs(b)); }
        case 5u: { return total(powers(a - b, alpha) - powers(a, alpha) - powers(b, alpha)); }
        default: { return total(a * b); }
    }
}

// Its derivative for a (half of it for squares; slope_of has the factor).
fn term_slope(a: V, b: V, alpha: f32) -> V {
    switch KIND {
        case 1u, 2u: { return a - b; }
        case 3u: { return sign(a - b); }
        case 4u: { return sign(a - b) - sign(a); }
        case 5u: { return power_slope(a - b, alpha) - power_slope(a, alpha); }
        default: { return b; }
    }
}

// The energy from the sum, and its derivative from energy and sum.
fn energy_of(sum: f32, alpha: f32) -> f32 {
    switch KIND {
        case 1u: { return exp(-alpha * sum); }
        case 2u: { return 1.0 / (alpha * sum + 1.0); }
        case 3u: { return -sum; }
        case 4u, 5u: { return sum; }
        // Of a pair too far apart nothing is left in a softmax, since every row is near itself.
        case 8u: { return select(LOWEST, 0.0, sum < p.scale); }
        default: { return p.scale * sum; }
    }
}
fn slope_of(energy: f32, alpha: f32) -> f32 {
    switch KIND {
        case 1u: { return -2.0 * alpha * energy; }
        case 2u: { return -2.0 * alpha * energy * energy; }
        case 3u: { return -1.0; }
        case 4u, 5u: { return 1.0; }
        case 8u: { return 0.0; }
        default: { return p.scale; }
    }
}

// Where an invocation's OWN x 4 pairs lie: rows of its own tile, rows of the other block, first row of the bag.
struct Place { own: u32, own_end: u32, other: u32, other_end: u32, head: u32, bag: u32 }

// Rows behind the end are read as the last one and masked later.
fn own_row(at: Place, r: u32) -> u32 { return min(at.own + r, at.own_end - 1u); }
fn other_row(at: Place, o: u32) -> u32 { return min(at.other + o, at.other_end - 1u); }

fn pair_sums(at: Place, alpha: f32) -> array<f32, PAIRS> {
    var sums = array<f32, PAIRS>();
    let dims = p.dims / WIDTH;
    let stride = p.heads * dims;
    let start = at.head * dims;
    for (var c = 0u; c < dims; c++) {
        var b: array<V, 4>;
        for (var o = 0u; o < 4u; o++) {
            b[o] = y[other_row(at, o) * stride + start + c];
        }
        for (var r = 0u; r < OWN; r++) {
            let a = x[own_row(at, r) * stride + start + c];
            for (var o = 0u; o < 4u; o++) {
                sums[r * 4u + o] += term(a, b[o], alpha);
            }
        }
    }
    return sums;
}

// The sums' derivatives for alpha, where it is an exponent.
fn pair_logs(at: Place, alpha: f32) -> array<f32, PAIRS> {
    var sums = array<f32, PAIRS>();
    let dims = p.dims / WIDTH;
    let stride = p.heads * dims;
    for (var c = at.head * dims; c < (at.head + 1u) * dims; c++) {
        for (var i = 0u; i < PAIRS; i++) {
            let a = x[own_row(at, i / 4u) * stride + c];
            let b = y[other_row(at, i % 4u) * stride + c];
            sums[i] += total(power_logs(a - b, alpha) - power_logs(a, alpha) - power_logs(b, alpha));
        }
    }
    return sums;
}

// Inner products of the values and their gradients.
fn pair_products(at: Place) -> array<f32, PAIRS> {
    var sums = array<f32, PAIRS>();
    let values = p.values / WIDTH;
    let stride = p.heads * values;
    let start = at.head * values;
    for (var c = 0u; c < values; c++) {
        var b: array<V, 4>;
        for (var o = 0u; o < 4u; o++) {
            b[o] = yg[other_row(at, o) * stride + start + c];
        }
        for (var r = 0u; r < OWN; r++) {
            let a = xg[own_row(at, r) * stride + start + c];
            for (var o = 0u; o < 4u; o++) {
                sums[r * 4u + o] += total(a * b[o]);
            }
        }
    }
    return sums;
}

#if DROP
// Which of an invocation's pairs are kept, a bit each. Two queries by four keys share a block of random words; blocks
// are counted from the first row of the bag, where its tiles start too, and differ between bags by that row. Two own
// rows that are keys are half of a block.
fn kept_pairs(at: Place, flip: bool) -> u32 {
    let own = at.own - at.bag;
    let other = at.other - at.bag;
    let left_out = select(0u, own % 4u, OWN < 4u);
    var bits = 0u;
    for (var n = 0u; n < max(OWN / 2u, select(1u, 2u, flip)); n++) {
        let query = select(own / 2u + n, other / 2u + n % 2u, flip);
        let key = select(other / 4u, own / 4u + n / 2u, flip);
        let counter = vec4(at.bag + query, p.site, p.step, key * (p.drawn >> 16u) + (p.drawn & 0xffffu) + at.head);
        let words = philox(counter, vec2(p.seed_low, p.seed_high));
        for (var k = 0u; k < 4u; k++) {
            if OWN < 4u && flip && (k < left_out || k - left_out >= OWN) {
                continue;
            }
            let both = vec2(u32((words[k] & 0xffffu) >= p.threshold), u32((words[k] >> 16u) >= p.threshold));
            let first = select(n * 8u + k, (n / 2u * 4u + k - left_out) * 4u + n % 2u * 2u, flip);
            bits |= (both.x << first) | (both.y << (first + select(4u, 1u, flip)));
        }
    }
    return bits;
}
fn factor_of(bits: u32, i: u32) -> f32 { return select(0.0, p.keep, ((bits >> i) & 1u) != 0u); }
// Of each invocation, for those that own its rows.
var<workgroup> kept: array<u32, LANES>;
#endif

// Rows of 33, so that invocations of a group read different banks.
const ROW = 33u;
var<workgroup> weight: array<f32, 2112>;
var<workgroup> factor: array<f32, 64>;
#if BINNED
// Sums of each bin and own row; an invocation touches those of its row alone.
const BIN_SUMS = 64u * BINS;
var<workgroup> bin_sums: array<f32, BIN_SUMS>;
#endif

// The work of a workgroup: tile, head and the first unit of its 64 columns of `width`.
struct Work { tile: u32, head: u32, chunk: u32 }
fn work_of(number: u32, width: u32) -> Work {
    let chunks = (width + 63u) / 64u;
    return Work(number / chunks / p.heads, number / chunks % p.heads, number % chunks);
}

@group(0) @binding(2) var<storage, read> values2: array<V>;
@group(0) @binding(3) var<storage, read_write> out3: array<V>;
@group(0) @binding(4) var<storage, read> record4: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> spans5: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> lse6: array<f32>;
@group(0) @binding(7) var<storage, read_write> shares7: array<f32>;

// Alpha of a head, which is in the record of every row. Other energies have records of queries alone.
fn alpha_of(row: u32, head: u32) -> f32 {
    if KIND == RBF || KIND == INVERSE || KIND == POWER {
        return record4[(row * p.heads + head) * RECORD].z;
    }
    return 0.0;
}

// Adds weight * values2 over the block of other rows to an invocation's OWN rows by UNITS units.
fn add_values(sums: ptr<function, array<V, HELD>>, at: Place, block: u32, count: u32, unit: u32, lane: u32) {
    let values = p.values / WIDTH;
    let row = (lane / 8u) * OWN * ROW;
    for (var o = 0u; o < count; o++) {
        let start = ((block + o) * p.heads + at.head) * values;
        for (var u = 0u; u < UNITS; u++) {
            let v = values2[start + min(unit + u * 8u, values - 1u)];
            for (var r = 0u; r < OWN; r++) {
                sums[u * OWN + r] += weight[row + r * ROW + o] * v;
            }
        }
    }
}

// out3 = softmax(energies) values, lse6 = ln of the sum of exponentials; own rows are queries.
@compute @workgroup_size(LANES)
fn attention_forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let work = work_of(group_of(group, groups), p.values);
    if work.tile >= p.tiles {
        return;
    }
    let span = spans5[work.tile];
    let unit = work.chunk * (64u / WIDTH) + lane % 8u;
    var at = Place(span.x + lane / 8u * OWN, span.x + span.y, 0u, span.w, work.head, span.z);
    let alpha = alpha_of(span.x, work.head);
    var sums = array<V, HELD>();
    // Of row `lane`: largest energy, sum of exponentials, and the shares of the two value biases.
    var largest = LOWEST;
    var exponentials = 0.0;
    var shares = vec2(0.0);
    let own = min(span.x + lane, span.x + span.y - 1u) * p.heads + work.head;
#if BINNED
    let place = record4[own * RECORD].zw;
    clear_bins(lane);
#endif
    for (var block = span.z; block < span.w; block += 32u) {
        let count = min(32u, span.w - block);
        at.other = block + lane % 8u * 4u;
        let pairs = pair_sums(at, alpha);
        for (var i = 0u; i < PAIRS; i++) {
            let o = lane % 8u * 4u + i % 4u;
            let energy = energy_with_bias(pairs[i], alpha, at, i, false);
            weight[(lane / 8u * OWN + i / 4u) * ROW + o] = select(LOWEST, energy, o < count);
        }
#if DROP
        kept[lane] = kept_pairs(at, false);
#endif
        workgroupBarrier();
        // A row each, of which there are 64.
        if lane < 64u {
            var now = largest;
            for (var o = 0u; o < count; o++) {
                now = max(now, weight[lane * ROW + o]);
            }
            let old = exp(largest - now);
            exponentials *= old;
            shares *= old;
#if BINNED
            for (var bin = 0u; bin < BINS; bin++) {
                bin_sums[bin * 64u + lane] *= old;
            }
#endif
            for (var o = 0u; o < 32u; o++) {
                var e = select(0.0, exp(weight[lane * ROW + o] - now), o < count);
                exponentials += e;
#if DROP
                e *= factor_of(kept[lane / OWN * 8u + o / 4u], lane % OWN * 4u + o % 4u);
#endif
                weight[lane * ROW + o] = e;
#if BINNED
                let other = min(block + o, span.w - 1u) * p.heads + work.head;
                add_to_bin(lane, bin_of(place, record4[other * RECORD].zw, own == other), e);
#endif
#if DISTANCE
                let other = ((min(block + o, span.w - 1u)) * p.heads + work.head);
                shares += e * near_far(record4[own * 3u + 2u], record4[other * 3u + 2u], own == other).xy;
#endif
            }
            largest = now;
            factor[lane] = old;
        }
        workgroupBarrier();
        for (var i = 0u; i < HELD; i++) {
            sums[i] *= factor[lane / 8u * OWN + i % OWN];
        }
        add_values(&sums, at, block, count, unit, lane);
        workgroupBarrier();
    }
    if lane < 64u {
        factor[lane] = 1.0 / exponentials;
    }
    if work.chunk == 0u && lane < span.y {
        lse6[own] = largest + log(exponentials);
#if DISTANCE
        let o = (span.x + lane) * 2u * p.heads + work.head;
        shares7[o] = shares.x / exponentials;
        shares7[o + p.heads] = shares.y / exponentials;
#endif
#if BINNED
        for (var bin = 0u; bin < BINS; bin++) {
            shares7[own * BINS + bin] = bin_sums[bin * 64u + lane] / exponentials;
        }
#endif
    }
    workgroupBarrier();
    let values = p.values / WIDTH;
    for (var i = 0u; i < HELD; i++) {
        let row = lane / 8u * OWN + i % OWN;
        let c = unit + i / OWN * 8u;
        if row < span.y && c < values {
            out3[((span.x + row) * p.heads + work.head) * values + c] = sums[i] * factor[row];
        }
    }
}

// out3 (+)= the transpose of the softmax times values2: own rows are keys, other rows queries.
@compute @workgroup_size(LANES)
fn attention_values(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let work = work_of(group_of(group, groups), p.values);
    if work.tile >= p.tiles {
        return;
    }
    let span = spans5[work.tile];
    let unit = work.chunk * (64u / WIDTH) + lane % 8u;
    var at = Place(span.x + lane / 8u * OWN, span.x + span.y, 0u, span.w, work.head, span.z);
    let alpha = alpha_of(span.x, work.head);
    var sums = array<V, HELD>();
    for (var block = span.z; block < span.w; block += 32u) {
        let count = min(32u, span.w - block);
        at.other = block + lane % 8u * 4u;
        let pairs = pair_sums(at, alpha);
#if DROP
        let bits = kept_pairs(at, true);
#endif
        for (var i = 0u; i < PAIRS; i++) {
            let energy = energy_with_bias(pairs[i], alpha, at, i, true);
            let lse = record4[(other_row(at, i % 4u) * p.heads + work.head) * RECORD].x;
            var a = exp(energy - lse);
#if DROP
            a *= factor_of(bits, i);
#endif
            weight[(lane / 8u * OWN + i / 4u) * ROW + lane % 8u * 4u + i % 4u] = a;
        }
        workgroupBarrier();
        add_values(&sums, at, block, count, unit, lane);
        workgroupBarrier();
    }
    let values = p.values / WIDTH;
    for (var i = 0u; i < HELD; i++) {
        let row = lane / 8u * OWN + i % OWN;
        let c = unit + i / OWN * 8u;
        if row < span.y && c < values {
            let o = ((span.x + row) * p.heads + work.head) * values + c;
            out3[o] = sums[i] + select(V(0.0), out3[o], (p.flags & ACCUMULATE) != 0u);
        }
    }
}

#if DISTANCE
// (phi, 1 - phi, distance) of two rows from the last vectors of their records; no bias on the diagonal.
fn near_far(own: vec4<f32>, other: vec4<f32>, same: bool) -> vec3<f32> {
    let apart = p.unit * length(own.xy - other.xy);
    let z = own.z * (apart - own.w);
    let e = exp(-abs(z));
    let s = 1.0 / (1.0 + e);
    let both = select(vec2(e * s, s), vec2(s, e * s), z >= 0.0);
    return vec3(select(both, vec2(0.0), same), apart);
}
fn record_at(row: u32, head: u32, part: u32) -> vec4<f32> {
    return record4[(row * p.heads + head) * 3u + part];
}
fn pair_near_far(at: Place, i: u32) -> vec3<f32> {
    let own = own_row(at, i / 4u);
    let other = other_row(at, i % 4u);
    return near_far(record_at(own, at.head, 2u), record_at(other, at.head, 2u), own == other);
}
// The sums of the biases for the first and the second prototypes.
fn pair_biases(at: Place, i: u32, flip: bool) -> vec2<f32> {
    let own = record_at(own_row(at, i / 4u), at.head, 1u);
    let other = record_at(other_row(at, i % 4u), at.head, 1u);
    return select(own.xy + other.zw, own.zw + other.xy, flip);
}
fn energy_with_bias(sum: f32, alpha: f32, at: Place, i: u32, flip: bool) -> f32 {
    return p.scale * (sum + dot(pair_near_far(at, i).xy, pair_biases(at, i, flip)));
}
#else
#if BINNED
// The bin of two places; BINS, which stands for none, on the diagonal.
fn bin_of(own: vec2<f32>, other: vec2<f32>, same: bool) -> u32 {
    let bin = u32(min(round(p.unit * length(own - other)), f32(BINS - 1u)));
    return select(min(bin, BINS - 1u), BINS, same);
}
fn pair_bin(at: Place, i: u32) -> u32 {
    let own = own_row(at, i / 4u);
    let other = other_row(at, i % 4u);
    let places = vec4(
        record4[(own * p.heads + at.head) * RECORD].zw, record4[(other * p.heads + at.head) * RECORD].zw);
    return bin_of(places.xy, places.zw, own == other);
}
// Part 0 is what a row adds as a query, 1 as a key, 2 the gradients of the shares of bins.
fn of_bin(row: u32, head: u32, part: u32, bin: u32) -> f32 {
    return record4[(row * p.heads + head) * RECORD + 1u + part * PARTS + bin / 4u][bin % 4u];
}
fn sum_with_bias(sum: f32, at: Place, i: u32, flip: bool, bin: u32) -> f32 {
    if bin == BINS {
        return sum;
    }
    let part = u32(flip);
    return sum + of_bin(own_row(at, i / 4u), at.head, part, bin) + of_bin(other_row(at, i % 4u), at.head, 1u - part, bin);
}
fn energy_with_bias(sum: f32, alpha: f32, at: Place, i: u32, flip: bool) -> f32 {
    return p.scale * sum_with_bias(sum, at, i, flip, pair_bin(at, i));
}
fn clear_bins(lane: u32) {
    if lane >= 64u {
        return;
    }
    for (var bin = 0u; bin < BINS; bin++) {
        bin_sums[bin * 64u + lane] = 0.0;
    }
}
fn add_to_bin(lane: u32, bin: u32, value: f32) {
    if bin < BINS {
        bin_sums[bin * 64u + lane] += value;
    }
}
#else
fn energy_with_bias(sum: f32, alpha: f32, at: Place, i: u32, flip: bool) -> f32 {
    return energy_of(sum, alpha);
}
#endif
#endif

@group(0) @binding(6) var<storage, read_write> grad6: array<V>;

// grad6 (+)= the gradient of the own rows; shares7 their shares of what is summed over all rows: that of alpha
// [rows, heads], or those of beta, theta and the two biases [rows, 4 heads]; or (+)= the gradient of what the rows
// add to energies by bin [rows, heads BINS].
@compute @workgroup_size(LANES)
fn attention_back(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let work = work_of(group_of(group, groups), p.dims);
    if work.tile >= p.tiles {
        return;
    }
    let span = spans5[work.tile];
    let unit = work.chunk * (64u / WIDTH) + lane % 8u;
    let dims = p.dims / WIDTH;
    let flip = (p.flags & FLIP) != 0u;
    var at = Place(span.x + lane / 8u * OWN, span.x + span.y, 0u, span.w, work.head, span.z);
    let alpha = alpha_of(span.x, work.head);
    var sums = array<V, HELD>();
    var own: array<V, HELD>;
    for (var i = 0u; i < HELD; i++) {
        own[i] = x[(own_row(at, i % OWN) * p.heads + work.head) * dims + min(unit + i / OWN * 8u, dims - 1u)];
    }
    // Declared without a value: naga gives two types of one array the same constructor in HLSL.
    var shares: array<vec4<f32>, OWN>;
#if BINNED
    let mine = min(span.x + lane, span.x + span.y - 1u) * p.heads + work.head;
    let place = record4[mine * RECORD].zw;
    clear_bins(lane);
#endif
    for (var block = span.z; block < span.w; block += 32u) {
        let count = min(32u, span.w - block);
        at.other = block + lane % 8u * 4u;
        let pairs = pair_sums(at, alpha);
        let products = pair_products(at);
        var logs = array<f32, PAIRS>();
        if KIND == POWER && !flip {
            logs = pair_logs(at, alpha);
        }
#if DROP
        let bits = kept_pairs(at, flip);
#endif
        for (var i = 0u; i < PAIRS; i++) {
            let o = lane % 8u * 4u + i % 4u;
            let query = select(own_row(at, i / 4u), other_row(at, i % 4u), flip);
            let record = record4[(query * p.heads + work.head) * RECORD];
            var along = products[i];
#if BINNED
            let bin = pair_bin(at, i);
            let energy = p.scale * sum_with_bias(pairs[i], at, i, flip, bin);
            if bin < BINS {
                along += of_bin(query, work.head, 2u, bin);
            }
#else
            let energy = energy_with_bias(pairs[i], alpha, at, i, flip);
#endif
            let a = select(0.0, exp(energy - record.x), o < count);
#if DISTANCE
            let shared_by = pair_near_far(at, i);
            along += dot(shared_by.xy, record.zw);
#endif
            var kept_by = 1.0;
#if DROP
            kept_by = factor_of(bits, i);
            along *= kept_by;
#endif
            let g = a * (along - record.y);
            let w = g * slope_of(energy, alpha);
            weight[(lane / 8u * OWN + i / 4u) * ROW + o] = w;
            switch KIND {
                case 1u: { shares[i / 4u].x -= g * pairs[i] * energy; }
                case 2u: { shares[i / 4u].x -= g * pairs[i] * energy * energy; }
                case 5u: { shares[i / 4u].x += g * logs[i]; }
                default: {}
            }
#if DISTANCE
            let biases = pair_biases(at, i, flip);
            let curve = record_at(query, work.head, 2u).zw;
            let by_phi = w * (biases.x - biases.y) + a * kept_by * (record.z - record.w);
            let inside = by_phi * shared_by.x * shared_by.y;
            shares[i / 4u] += vec4((shared_by.z - curve.y) * inside, -curve.x * inside, w * shared_by.xy);
#endif
        }
        workgroupBarrier();
#if BINNED
        for (var o = 0u; o < select(0u, count, lane < 64u); o++) {
            let other = (block + o) * p.heads + work.head;
            add_to_bin(lane, bin_of(place, record4[other * RECORD].zw, mine == other), weight[lane * ROW + o]);
        }
#endif
        for (var o = 0u; o < count; o++) {
            let start = ((block + o) * p.heads + work.head) * dims;
            for (var u = 0u; u < UNITS; u++) {
                let b = y[start + min(unit + u * 8u, dims - 1u)];
                for (var r = 0u; r < OWN; r++) {
                    sums[u * OWN + r] += weight[(lane / 8u * OWN + r) * ROW + o] * term_slope(own[u * OWN + r], b, alpha);
                }
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < HELD; i++) {
        let row = lane / 8u * OWN + i % OWN;
        let c = unit + i / OWN * 8u;
        if row < span.y && c < dims {
            let o = ((span.x + row) * p.heads + work.head) * dims + c;
            grad6[o] = sums[i] + select(V(0.0), grad6[o], (p.flags & ACCUMULATE) != 0u);
        }
    }
    if (p.flags & SHARES) == 0u {
        return;
    }
#if BINNED
    if lane < span.y && work.chunk == 0u {
        for (var bin = 0u; bin < BINS; bin++) {
            let o = mine * BINS + bin;
            shares7[o] = bin_sums[bin * 64u + lane] + select(0.0, shares7[o], (p.flags & ADD_SHARES) != 0u);
        }
    }
    return;
#else
    let kinds = select(1u, 4u, KIND == DISTANCE);
    for (var kind = 0u; kind < kinds; kind++) {
        for (var r = 0u; r < OWN; r++) {
            weight[(lane / 8u * OWN + r) * ROW + lane % 8u] = shares[r][kind];
        }
        workgroupBarrier();
        if lane < span.y && work.chunk == 0u {
            var sum = 0.0;
            for (var t = 0u; t < 8u; t++) {
                sum += weight[lane * ROW + t];
            }
            shares7[((span.x + lane) * kinds + kind) * p.heads + work.head] = sum;
        }
        workgroupBarrier();
    }
#endif
}
