// How fast a subgroup adds up what its invocations have: each sum needs the one before.
struct Params { passes: u32 }
var<immediate> p: Params;

@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(3) var<storage, read_write> naturals: array<u32>;

@compute @workgroup_size(64)
fn subgroup_sum(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_size) size: u32) {
    var sum = words[1];
    for (var n = 0u; n < p.passes; n++) {
        sum = subgroupAdd(sum ^ n) & 0xffffu;
    }
    naturals[2u * id.x] = sum;
    naturals[2u * id.x + 1u] = size;
}
