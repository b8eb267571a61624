// The nearest value that f16 has, ties to even, as IEEE 754 says; beyond 65,504 infinity. In integers, because
// the conversions of the shader language may round either way and may flush small values to zero.
fn round_to_half(x: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(x);
    let size = bits & vec4(0x7fffffffu);
    // 13 bits of the fraction go.
    let near = (size + vec4(0xfffu) + ((size >> vec4(13u)) & vec4(1u))) & vec4(0xffffe000u);
    let large = select(near, vec4(0x7f800000u), near >= vec4(0x47800000u));
    let normal = select(large, size, size > vec4(0x7f800000u));
    // Below 2^-14 values are multiples of 2^-24.
    let small = bitcast<vec4<u32>>(round(bitcast<vec4<f32>>(min(size, vec4(0x38800000u))) * 16777216.0) * 5.9604644775390625e-8);
    return bitcast<vec4<f32>>(select(normal, small, size < vec4(0x38800000u)) | (bits & vec4(0x80000000u)));
}
