enable f16;
enable wgpu_cooperative_matrix;
// How fast matrix units multiply squares of ${SIDE}: eight sums of products, each step adding 1 to every number.
alias Left = coop_mat${SIDE}x${SIDE}<${AB}, A>;
alias Right = coop_mat${SIDE}x${SIDE}<${AB}, B>;
alias Sum = coop_mat${SIDE}x${SIDE}<${CR}, C>;
struct Params { passes: u32 }
var<immediate> p: Params;

// Of the first factor every number is 1 / SIDE, of the second 1; then zeros.
@group(0) @binding(0) var<storage, read> a: array<${AB}>;
@group(0) @binding(1) var<storage, read> b: array<${AB}>;
@group(0) @binding(2) var<storage, read> zero: array<${CR}>;
@group(0) @binding(3) var<storage, read_write> c: array<${CR}>;

@compute @workgroup_size(${LANES})
fn matrix_multiply_add(@builtin(workgroup_id) group: vec3<u32>) {
    let x = coopLoad<Left>(&a[0], ${SIDE}u);
    let y = coopLoad<Right>(&b[0], ${SIDE}u);
    var c0 = coopLoad<Sum>(&zero[0], ${SIDE}u);
    var c1 = c0;
    var c2 = c0;
    var c3 = c0;
    for (var n = 0u; n < p.passes; n++) {
        c0 = coopMultiplyAdd(x, y, c0);
        c1 = coopMultiplyAdd(x, y, c1);
        c2 = coopMultiplyAdd(x, y, c2);
        c3 = coopMultiplyAdd(x, y, c3);
    }
    let at = group.x * 4u * ${SIDE}u * ${SIDE}u;
    coopStore(c0, &c[at], ${SIDE}u);
    coopStore(c1, &c[at + ${SIDE}u * ${SIDE}u], ${SIDE}u);
    coopStore(c2, &c[at + 2u * ${SIDE}u * ${SIDE}u], ${SIDE}u);
    coopStore(c3, &c[at + 3u * ${SIDE}u * ${SIDE}u], ${SIDE}u);
}
