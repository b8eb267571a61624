// How fast invocations compute: four vectors of four that depend on nothing but themselves, so that 16 operations are on
// their way. Factors come from a buffer: no compiler knows them.
struct Params { passes: u32 }
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> floats: array<f32>;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read_write> reals: array<f32>;
@group(0) @binding(3) var<storage, read_write> naturals: array<u32>;

fn start(lane: u32) -> f32 { return f32(lane & 7u); }

// 16 sums that grow by 1 in each step, four steps a pass: exact below 2^24.
@compute @workgroup_size(256)
fn multiply_add(@builtin(global_invocation_id) id: vec3<u32>) {
    let b = vec4(floats[0]);
    let c = vec4(floats[1]);
    var a0 = vec4(start(id.x));
    var a1 = a0 + c;
    var a2 = a1 + c;
    var a3 = a2 + c;
    for (var n = 0u; n < p.passes; n++) {
        a0 = fma(a0, b, c); a1 = fma(a1, b, c); a2 = fma(a2, b, c); a3 = fma(a3, b, c);
        a0 = fma(a0, b, c); a1 = fma(a1, b, c); a2 = fma(a2, b, c); a3 = fma(a3, b, c);
        a0 = fma(a0, b, c); a1 = fma(a1, b, c); a2 = fma(a2, b, c); a3 = fma(a3, b, c);
        a0 = fma(a0, b, c); a1 = fma(a1, b, c); a2 = fma(a2, b, c); a3 = fma(a3, b, c);
    }
    reals[4u * id.x] = a0.x;
    reals[4u * id.x + 1u] = a1.y;
    reals[4u * id.x + 2u] = a2.z;
    reals[4u * id.x + 3u] = a3.w;
}

// The same of whole numbers, modulo 2^32.
@compute @workgroup_size(256)
fn integer_multiply_add(@builtin(global_invocation_id) id: vec3<u32>) {
    let b = vec4(words[0]);
    let c = vec4(words[1]);
    var a0 = vec4(id.x & 7u);
    var a1 = a0 + c;
    var a2 = a1 + c;
    var a3 = a2 + c;
    for (var n = 0u; n < p.passes; n++) {
        a0 = a0 * b + c; a1 = a1 * b + c; a2 = a2 * b + c; a3 = a3 * b + c;
        a0 = a0 * b + c; a1 = a1 * b + c; a2 = a2 * b + c; a3 = a3 * b + c;
        a0 = a0 * b + c; a1 = a1 * b + c; a2 = a2 * b + c; a3 = a3 * b + c;
        a0 = a0 * b + c; a1 = a1 * b + c; a2 = a2 * b + c; a3 = a3 * b + c;
    }
    naturals[4u * id.x] = a0.x;
    naturals[4u * id.x + 1u] = a1.y;
    naturals[4u * id.x + 2u] = a2.z;
    naturals[4u * id.x + 3u] = a3.w;
}

// a = exp(-a) goes to 0.567143, from wherever it starts.
@compute @workgroup_size(256)
fn exponential(@builtin(global_invocation_id) id: vec3<u32>) {
    let b = vec4(-floats[0]);
    var a0 = vec4(start(id.x));
    var a1 = a0 + vec4(floats[1]);
    var a2 = a1 + vec4(floats[1]);
    var a3 = a2 + vec4(floats[1]);
    for (var n = 0u; n < p.passes; n++) {
        a0 = exp(a0 * b); a1 = exp(a1 * b); a2 = exp(a2 * b); a3 = exp(a3 * b);
        a0 = exp(a0 * b); a1 = exp(a1 * b); a2 = exp(a2 * b); a3 = exp(a3 * b);
        a0 = exp(a0 * b); a1 = exp(a1 * b); a2 = exp(a2 * b); a3 = exp(a3 * b);
        a0 = exp(a0 * b); a1 = exp(a1 * b); a2 = exp(a2 * b); a3 = exp(a3 * b);
    }
    reals[4u * id.x] = a0.x;
    reals[4u * id.x + 1u] = a1.y;
    reals[4u * id.x + 2u] = a2.z;
    reals[4u * id.x + 3u] = a3.w;
}
