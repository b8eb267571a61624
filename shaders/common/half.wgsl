// Instance features at binding 0, in f16 or f32, behind one loader. Without f16 in the shader language the
// same bytes are read as pairs in a u32.
#if HALF
#if NATIVE_F16
enable f16;
@group(0) @binding(0) var<storage, read> features: array<f16>;

fn feature(i: u32) -> f32 {
    return f32(features[i]);
}
#else
@group(0) @binding(0) var<storage, read> features: array<u32>;

fn feature(i: u32) -> f32 {
    return unpack2x16float(features[i / 2u])[i % 2u];
}
#endif
#else
@group(0) @binding(0) var<storage, read> features: array<f32>;

fn feature(i: u32) -> f32 {
    return features[i];
}
#endif
