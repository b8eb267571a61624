enable f16;
// Multiply-adds in f16: 16 sums that grow by 1 / 1024 in each step, exact up to 2, and start anew after 2000 steps.
struct Params { passes: u32 }
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> floats: array<f32>;
@group(0) @binding(2) var<storage, read_write> reals: array<f32>;

@compute @workgroup_size(256)
fn half_multiply_add(@builtin(global_invocation_id) id: vec3<u32>) {
    let b = vec4(f16(floats[0]));
    let c = vec4(f16(floats[2]));
    var total = vec4(0.0);
    for (var pass_ = 0u; pass_ < p.passes; pass_++) {
        var a0 = vec4(0.0h);
        var a1 = a0;
        var a2 = a0 + c;
        var a3 = a0 + c;
        for (var n = 0u; n < 500u; n++) {
            a0 = fma(a0, b, c); a1 = fma(a1, b, c); a2 = fma(a2, b, c); a3 = fma(a3, b, c);
            a0 = fma(a0, b, c); a1 = fma(a1, b, c); a2 = fma(a2, b, c); a3 = fma(a3, b, c);
            a0 = fma(a0, b, c); a1 = fma(a1, b, c); a2 = fma(a2, b, c); a3 = fma(a3, b, c);
            a0 = fma(a0, b, c); a1 = fma(a1, b, c); a2 = fma(a2, b, c); a3 = fma(a3, b, c);
        }
        total += vec4(f32(a0.x), f32(a1.y), f32(a2.z), f32(a3.w));
    }
    reals[4u * id.x] = total.x;
    reals[4u * id.x + 1u] = total.y;
    reals[4u * id.x + 2u] = total.z;
    reals[4u * id.x + 3u] = total.w;
}
