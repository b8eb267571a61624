// Flags of what happens to a product on its way out, and of its factors.

const ADD = 1u; // C += instead of C =.
const BIAS = 2u; // A bias is added, column by column.
const A_TURNED = 4u; // A is stored transposed: for the host, and for small products.
const B_TURNED = 8u; // B is stored transposed.
const ROUNDED = 16u; // Factors are rounded to f16: for the host.
