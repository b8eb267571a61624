// How fast memory is read, written and copied, each element by one invocation, as often as asked. Places move with each
// pass, so that no compiler can leave one out.
struct Params { last: u32, passes: u32 } // Elements are a power of two; `last` is one less.
var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> sums: array<u32>;

const LANES = 256u;
const STEP = 4096u;

// sums[invocation] = the sum of the words that it read.
@compute @workgroup_size(256)
fn read_all(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    var sum = vec4(0u);
    for (var pass_ = 0u; pass_ < p.passes; pass_++) {
        for (var i = id.x; i <= p.last; i += groups.x * LANES) {
            sum += x[(i + pass_ * STEP) & p.last];
        }
    }
    sums[id.x] = sum.x + sum.y + sum.z + sum.w;
}

// y[i] = (i, 3 i, not i, 7).
@compute @workgroup_size(256)
fn write_all(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var pass_ = 0u; pass_ < p.passes; pass_++) {
        for (var i = id.x; i <= p.last; i += groups.x * LANES) {
            let at = (i + pass_ * STEP) & p.last;
            y[at] = vec4(at, 3u * at, ~at, 7u);
        }
    }
}

// y[i] = x[i] + 1.
@compute @workgroup_size(256)
fn copy_all(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var pass_ = 0u; pass_ < p.passes; pass_++) {
        for (var i = id.x; i <= p.last; i += groups.x * LANES) {
            let at = (i + pass_ * STEP) & p.last;
            y[at] = x[at] + vec4(1u);
        }
    }
}
