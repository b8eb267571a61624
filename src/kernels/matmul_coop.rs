//! Matrix products on matrix units: `shaders/matmul_coop.wgsl`, and when it is used.

use super::launch::Variant;
use super::matmul::{Tile, matmul, product_cost};
use super::target::{Class, Target};
use super::{Args, Real, kernels};

kernels! {
    matmul_coop {
        /// C (+)= act(op(A) op(B) + bias) with cooperative matrices.
        MATMUL_COOP = matmul_coop, product_cost;
    }
}

/// Cooperative matrices of a device whose self-test they passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Coop {
    /// Rows, columns and inner size of a matrix: 8 or 16.
    pub side: u32,
    /// Invocations of a subgroup, at most.
    pub lanes: u32,
    /// How many times as many subgroups there may be, each so much smaller: 1 where all have one size.
    pub shares: u32,
    /// Workgroups of 4 x 4 matrices are right.
    pub small: bool,
    /// Workgroups of 8 x 8 matrices are right.
    pub large: bool,
}

/// What a workgroup computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    coop: Coop,
    large: bool,
}

impl Shape {
    /// Workgroups of 8 x 8 matrices.
    pub fn large(&self) -> bool {
        self.large
    }

    /// Rows and columns of C of a workgroup.
    pub fn side(&self) -> u32 {
        self.coop.side * if self.large { 8 } else { 4 }
    }

    /// The choices of the preprocessor, after those that all products share.
    pub(crate) fn tile(&self, mut variant: Variant) -> Tile {
        let Coop { side, lanes, shares, .. } = self.coop;
        let split = if shares > 1 { shares } else { 0 };
        variant.extend([("SIDE", side), ("LANES", 4 * lanes), ("LARGE", self.large as u32), ("SPLIT", split)]);
        Tile { kernel: &MATMUL_COOP, rows: self.side(), cols: self.side(), variant }
    }

    /// Bytes of workgroup memory.
    pub fn workgroup_bytes(&self) -> u32 {
        let (side, outer) = (self.coop.side, self.side());
        let inner = self.coop.shares.max(2) * side;
        // Either factor lies along k or across it, with a padding of 8 on each line.
        let factor = 2 * ((inner + 8) * outer).max((outer + 8) * inner);
        2 * factor + 4 * 2 * side * outer * self.coop.shares
    }
}

impl Coop {
    /// The shape of workgroups of this size.
    pub fn shape(self, large: bool) -> Shape {
        Shape { coop: self, large }
    }
}

/// How a product of rounded factors runs on matrix units; `None` where the plain kernel is the better one.
/// Pure, so that it can be tested.
pub fn shape(target: &Target, m: u32, n: u32) -> Option<Shape> {
    // Software drivers multiply matrices one number at a time: lavapipe four to eight times as slowly as the
    // plain kernel. Less than one matrix is mostly padding.
    let coop = target.coop.filter(|_| target.class == Class::Gpu)?;
    if m < coop.side || n < coop.side {
        return None;
    }
    let groups = |shape: Shape| m.div_ceil(shape.side()) as u64 * n.div_ceil(shape.side()) as u64;
    let large = coop.shape(true);
    // Larger tiles read less, smaller ones keep more units busy.
    let enough = groups(large) >= 2 * target.units as u64;
    match (coop.small, coop.large) {
        (_, true) if enough || !coop.small => Some(large),
        (true, _) => Some(coop.shape(false)),
        (false, _) => None,
    }
}

fn matmul_coop<T: Real>(a: &Args<T>) {
    matmul(a);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::target::Family;

    #[test]
    fn shapes_follow_the_size_and_what_passed() {
        let coop = Coop { side: 16, lanes: 32, shares: 1, small: true, large: true };
        let target = |class, coop| Target {
            class,
            family: Family::Unknown,
            native_f16: true,
            max_binding: 1 << 27,
            units: 100,
            coop,
            tuning: None,
            reductions: Default::default(),
        };
        let gpu = target(Class::Gpu, Some(coop));
        assert_eq!(shape(&gpu, 10_000, 512), Some(coop.shape(true)));
        assert_eq!(shape(&gpu, 500, 512), Some(coop.shape(false)));
        assert_eq!(shape(&gpu, 10_000, 2), None);
        assert_eq!(shape(&gpu, 15, 512), None);
        assert_eq!(shape(&target(Class::Gpu, None), 10_000, 512), None);
        let software = Class::CpuDriver { shuffles: true, recent: true };
        for class in [Class::Host, software] {
            assert_eq!(shape(&target(class, Some(coop)), 10_000, 512), None);
        }
        let only = |small, large| target(Class::Gpu, Some(Coop { small, large, ..coop }));
        assert!(shape(&only(true, false), 10_000, 512).is_some_and(|s| !s.large));
        assert!(shape(&only(false, true), 64, 64).is_some_and(|s| s.large));
        assert_eq!(shape(&only(false, false), 10_000, 512), None);
        assert_eq!((coop.shape(false).side(), coop.shape(true).side()), (64, 128));
    }
}
