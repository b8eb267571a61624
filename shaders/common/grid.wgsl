// Workgroup number of a grid that may be folded over (x, y) because a dimension holds at most 65,535.
fn group_of(id: vec3<u32>, count: vec3<u32>) -> u32 {
    return id.x + id.y * count.x;
}

// (tile, column) of lane `lane` of workgroup `number`, where 64 columns of a tile are a workgroup, and the groups of a tile
// follow each other.
fn tile_and_column(number: u32, lane: u32, cols: u32) -> vec2<u32> {
    let groups = (cols + 63u) / 64u;
    return vec2(number / groups, number % groups * 64u + lane);
}
