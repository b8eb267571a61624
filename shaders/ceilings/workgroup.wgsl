// How fast workgroup memory is read: 8 KiB, each invocation from place to place.
struct Params { passes: u32 }
var<immediate> p: Params;

@group(0) @binding(3) var<storage, read_write> naturals: array<u32>;

var<workgroup> held: array<vec4<u32>, 512>;

@compute @workgroup_size(256)
fn shared_read(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    held[lane] = vec4(lane, lane + 1u, lane * lane, 5u);
    held[lane + 256u] = vec4(3u * lane, 1u, lane, 9u);
    workgroupBarrier();
    var sum = vec4(0u);
    for (var n = 0u; n < p.passes; n++) {
        let at = lane + 4u * n;
        sum += held[at & 511u];
        sum += held[(at + 1u) & 511u];
        sum += held[(at + 2u) & 511u];
        sum += held[(at + 3u) & 511u];
    }
    naturals[id.x] = sum.x + sum.y + sum.z + sum.w;
}
