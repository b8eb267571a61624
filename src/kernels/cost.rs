//! What a launch costs at least: the bytes it has to move and the operations it has to do.
//!
//! Every value a kernel reads or writes counts once, however often the kernel touches it: what is read
//! again should come from a cache. An exponential, a root, a division or a comparison counts as one operation, whole
//! numbers as none. Parameters of the launch and the tables of tiles count nothing.
//!
//! The formulas stand with their kernels; `docs/kernels/` has the same in words.

use super::launch::{BufferKey, Dim, Extent, Input, Launch, Scalars, Word};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The sizes, for people.
    pub shape: String,
    /// Bytes read and written.
    pub bytes: u64,
    /// Operations on numbers.
    pub flops: u64,
}

/// Values moved, operations, and the sizes.
impl From<(u64, u64, String)> for Cost {
    fn from((values, flops, shape): (u64, u64, String)) -> Self {
        Self { shape, bytes: 4 * values, flops }
    }
}

/// The cost of `launch` over a batch; `half` when instance features are in f16.
pub fn cost(launch: &Launch, extent: &Extent, half: bool) -> Cost {
    (launch.kernel.cost)(&At::new(launch, extent, half))
}

/// What a formula says of a launch.
pub(super) fn of<C: Into<Cost>>(formula: impl Fn(&At) -> C, at: &At) -> Cost {
    formula(at).into()
}

/// A launch as the formulas see it.
#[derive(Clone, Copy)]
pub struct At<'a> {
    launch: &'a Launch,
    half: bool,
    /// Instances of the batch.
    pub n: u64,
    /// Its bags.
    pub b: u64,
    /// Tiles of its instances.
    pub t: u64,
    /// Its tokens.
    pub tokens: u64,
    /// Its pairs of instances of a bag.
    pub pairs: u64,
    /// Words of the parameters.
    pub w: [u64; 16],
    /// The first of them: often rows.
    pub rows: u64,
    /// The second: often columns.
    pub c: u64,
}

impl<'a> At<'a> {
    fn new(launch: &'a Launch, extent: &Extent, half: bool) -> Self {
        let w = launch.resolve(extent, &Scalars::default(), 0).map(u64::from);
        let [n, b, t, tokens, pairs] =
            [extent.instances, extent.bags, extent.tiles, extent.tokens, extent.pairs].map(u64::from);
        Self { launch, half, n, b, t, tokens, pairs, w, rows: w[0], c: w[1] }
    }

    /// Bit b of word i.
    pub fn bit(&self, i: usize, b: u32) -> u64 {
        self.w[i] >> b & 1
    }

    /// Bytes of a value of binding i.
    pub fn size(&self, i: usize) -> u64 {
        let features = self.launch.places[i].buffer == BufferKey::Input(Input::Features);
        if self.half && features { 2 } else { 4 }
    }

    /// Values for which binding i has room.
    pub fn held(&self, i: usize) -> u64 {
        self.launch.places.get(i).map_or(u64::MAX, |place| place.bytes / 4)
    }

    /// True when two bindings are one buffer.
    pub fn same(&self, i: usize, j: usize) -> bool {
        self.launch.places.get(i) == self.launch.places.get(j)
    }

    /// True when word i is this size of the batch.
    pub fn counts(&self, i: usize, dim: Dim) -> bool {
        self.launch.words[i] == Word::D(dim)
    }

    /// Sizes, for people: the first two words.
    pub fn matrix(&self) -> String {
        format!("{}x{}", self.rows, self.c)
    }

    /// The first word.
    pub fn line(&self) -> String {
        self.rows.to_string()
    }

    /// Instances, and the second word.
    pub fn by_instances(&self) -> String {
        format!("{}x{}", self.n, self.c)
    }

    /// Images of the second word by the third.
    pub fn image(&self) -> String {
        format!("{} of {}x{}", self.rows, self.w[1], self.w[2])
    }

    /// The first three words.
    pub fn planes(&self) -> String {
        format!("{}x{}x{}", self.rows, self.c, self.w[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::launch::{Count, Grid, Place};

    #[test]
    fn every_kernel_moves_something() {
        let place = Place { buffer: BufferKey::Slot(0), offset: 0, bytes: 4 };
        let extent = Extent::of([2, 2]);
        for kernel in crate::kernels::all() {
            let launch = Launch {
                kernel,
                variant: Vec::new(),
                places: vec![place; kernel.bindings.len()],
                words: vec![Word::U(1); kernel.words],
                grid: Grid::line(Count::each(Dim::Fixed(1))),
            };
            let cost = cost(&launch, &extent, false);
            assert!(cost.bytes > 0, "{kernel:?} moves nothing");
        }
    }
}
