// Workgroup number of a grid that may be folded over (x, y) because a dimension holds at most 65,535.
fn group_of(id: vec3<u32>, count: vec3<u32>) -> u32 {
    return id.x + id.y * count.x;
}
