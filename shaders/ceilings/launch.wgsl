// The least a launch can do: each needs the one before.
@group(0) @binding(3) var<storage, read_write> naturals: array<u32>;

@compute @workgroup_size(1)
fn count() {
    naturals[0] += 1u;
}
