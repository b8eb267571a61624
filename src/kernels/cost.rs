//! What a launch costs at least: the bytes it has to move and the operations it has to do.
//!
//! Every value a kernel reads or writes counts once, however often the kernel touches it: what is read
//! again should come from a cache. An exponential, a root, a division or a comparison counts as one operation, whole
//! numbers as none. Parameters of the launch and the tables of tiles count nothing.
//!
//! One file for each page of `docs/kernels/`, which has the same formulas in words.

mod attention;
mod bags;
mod graphs;
mod images;
mod losses;
mod matrices;
mod training;

use super::launch::{BufferKey, Extent, Input, Launch, Scalars};

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

impl Cost {
    fn of((values, flops, shape): (u64, u64, String)) -> Self {
        Self { shape, bytes: 4 * values, flops }
    }
}

/// The cost of `launch` over a batch; `half` when instance features are in f16.
pub fn cost(launch: &Launch, extent: &Extent, half: bool) -> Cost {
    known(launch, extent, half).expect("a test holds that every kernel has a cost")
}

fn known(launch: &Launch, extent: &Extent, half: bool) -> Option<Cost> {
    let at = At { launch, extent, words: launch.resolve(extent, &Scalars::default(), 0), half };
    let themes =
        [matrices::cost, bags::cost, attention::cost, images::cost, losses::cost, graphs::cost, training::cost];
    themes.iter().find_map(|theme| theme(&at))
}

/// A launch as the formulas see it.
struct At<'a> {
    launch: &'a Launch,
    extent: &'a Extent,
    words: [u32; 16],
    half: bool,
}

impl At<'_> {
    fn name(&self) -> &'static str {
        self.launch.kernel.name
    }

    /// Word i of the parameters.
    fn word(&self, i: usize) -> u64 {
        self.words[i] as u64
    }

    /// Bit b of it.
    fn bit(&self, i: usize, b: u32) -> u64 {
        self.word(i) >> b & 1
    }

    /// Instances, bags, tiles.
    fn batch(&self) -> [u64; 3] {
        [self.extent.instances, self.extent.bags, self.extent.tiles].map(u64::from)
    }

    /// Bytes of a value of binding i.
    fn size(&self, i: usize) -> u64 {
        let features = self.launch.places[i].buffer == BufferKey::Input(Input::Features);
        if self.half && features { 2 } else { 4 }
    }

    /// Values for which binding i has room.
    fn held(&self, i: usize) -> u64 {
        self.launch.places.get(i).map_or(u64::MAX, |place| place.bytes / 4)
    }

    /// True when two bindings are one buffer.
    fn same(&self, i: usize, j: usize) -> bool {
        self.launch.places.get(i) == self.launch.places.get(j)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::launch::{Count, Dim, Grid, Place, Word};

    #[test]
    fn every_kernel_has_a_cost() {
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
            let cost = known(&launch, &extent, false).unwrap_or_else(|| panic!("{kernel:?} has no cost"));
            assert!(cost.bytes > 0, "{kernel:?} moves nothing");
        }
    }
}
