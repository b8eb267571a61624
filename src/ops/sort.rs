//! Orders of the rows of each bag: by score, at random, their first places, and lists of rows to keep. The
//! outputs are indices, which no gradient passes.

use super::segment::{Tables, over_bags, over_segments};
use super::{Rule, expect};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid, Scalar, TILE};
use crate::kernels::sort as k;
use crate::planner::Planner;
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// Rows of each bag in descending order of a column of x; of equals the lower row first, NaN last. Inputs:
/// x `[N, C]`, tables. Output: rows of the batch `[N, 1]`, bag after bag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentSort {
    /// The column of x.
    pub column: u32,
}

impl Rule for SegmentSort {
    fn name(&self) -> &'static str {
        "segment sort"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = over_segments(inputs, 1).is_some() && self.column < inputs[0].shape.cols;
        expect(ok, self.name(), "x [N, C] with C above the column, and the tables", inputs)?;
        Ok(vec![(Shape::new(inputs[0].shape.rows, 1), Storage::U32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let rows = p.rows(x);
        let keys = p.temp_index(rows, 1);
        let words = [rows.into(), p.cols(x).into(), self.column.into()];
        p.launch(&k::SORT_KEYS, &[x.into(), keys.into()], &words, row_grid(rows));
        sort(p, keys, Tables::of(node), node.outputs[0]);
    }
    fn backward(&self, _: &mut Planner, _: Io) {}
}

/// Rows of each bag in a random order, which is another in each step. Inputs: the tables. Output: rows of the
/// batch `[N, 1]`, bag after bag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentShuffle {
    /// Sets this operation's draws apart from those of others.
    pub site: u32,
}

impl Rule for SegmentShuffle {
    fn name(&self) -> &'static str {
        "segment shuffle"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 3, self.name(), "the tables", inputs)?;
        Ok(vec![(Shape::new(Dim::Instances, 1), Storage::U32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        shuffle(p, self.site, Tables::of(node), node.outputs[0]);
    }
    fn backward(&self, _: &mut Planner, _: Io) {}
}

/// Writes a random order of the rows of each bag.
pub(super) fn shuffle(p: &mut Planner, site: u32, t: Tables, order: ValueId) {
    let keys = p.temp_index(Dim::Instances, 1);
    let words =
        [Dim::Instances.into(), site.into(), Scalar::SeedLow.into(), Scalar::SeedHigh.into(), Scalar::Step.into()];
    p.launch(&k::RANDOM_KEYS, &[keys.into()], &words, row_grid(Dim::Instances));
    sort(p, keys, t, order);
}

/// The first places of an order. Inputs: the order `[N, 1]`, tables. Output: rows of the batch `[B, k]`, and
/// [`NO_ROW`] where a bag has fewer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentTop {
    /// Places.
    pub k: u32,
    /// Counted from the end: the last row comes first.
    pub last: bool,
}

/// Stands where a bag has no row.
pub const NO_ROW: u32 = u32::MAX;

impl Rule for SegmentTop {
    fn name(&self) -> &'static str {
        "segment top"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = over_bags(inputs, 1) && inputs[0].storage == Storage::U32 && self.k > 0;
        expect(ok, self.name(), "an order [N, 1], and the tables; k above 0", inputs)?;
        Ok(vec![(Shape::new(Dim::Bags, self.k), Storage::U32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let operands = [node.inputs[0].into(), Tables::of(node).offsets.into(), node.outputs[0].into()];
        let words = [Dim::Bags.into(), self.k.into(), self.last.into()];
        p.launch(&k::SORT_TOP, &operands, &words, Grid::line(Count::per(Dim::Bags, self.k, LANES)));
    }
    fn backward(&self, _: &mut Planner, _: Io) {}
}

/// The first places of two orders of each bag, such as the highest and the lowest. Inputs: the orders `[N, 1]`, tables.
/// Output: rows of the batch, 2 k for each bag, `[B 2 k, 1]`: the first k of one order, then those of the other, and
/// [`NO_ROW`] where a bag has fewer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentEnds {
    /// Places of each order.
    pub k: u32,
    /// No row is in both: of a bag of fewer than 2 k rows each order gives half, rounded down. Else it gives all.
    pub apart: bool,
}

impl Rule for SegmentEnds {
    fn name(&self) -> &'static str {
        "segment ends"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let order = |v: &Value| v.storage == Storage::U32 && v.shape == Shape::new(Dim::Instances, 1);
        let ok = super::segment::over_bags(inputs, 2) && inputs[..2].iter().all(order) && self.k > 0;
        expect(ok, self.name(), "two orders [N, 1], and the tables; k above 0", inputs)?;
        Ok(vec![(Shape::new(Dim::BagRows(2 * self.k), 1), Storage::U32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let [first, second] = [0, 1].map(|n| node.inputs[n].into());
        let operands = [first, second, Tables::of(node).offsets.into(), node.outputs[0].into()];
        let words = [Dim::Bags.into(), self.k.into(), self.apart.into()];
        p.launch(&k::SORT_ENDS, &operands, &words, Grid::line(Count::per(Dim::Bags, 2 * self.k, LANES)));
    }
    fn backward(&self, _: &mut Planner, _: Io) {}
}

/// The rows whose mask is not zero, without gaps. Inputs: mask `[N, 1]`, tables. Outputs: rows of the batch
/// `[N, 1]`, of which the first ones are written, and where each bag starts among them `[B + 1, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentKeep;

impl Rule for SegmentKeep {
    fn name(&self) -> &'static str {
        "segment keep"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = over_bags(inputs, 1) && inputs[0].shape.cols == 1;
        expect(ok, self.name(), "a mask [N, 1], and the tables", inputs)?;
        let of = |rows| (Shape::new(rows, 1), Storage::U32);
        Ok(vec![of(Dim::Instances), of(Dim::BagsPlusOne)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (mask, t) = (p.dense(node.inputs[0]), Tables::of(node));
        let [rows, offsets] = node.outputs[..] else { unreachable!() };
        let (counts, starts) = (p.temp_index(Dim::Tiles, 1), p.temp_index(Dim::Tiles, 1));
        let words = [Dim::Tiles.into(), 0u32.into()];
        let grid = Grid::line(Count::per(Dim::Tiles, 1, LANES));
        p.launch(&k::KEEP_COUNT, &[mask.into(), t.tiles.into(), counts.into()], &words, grid);
        let operands = [counts.into(), t.bag_tiles.into(), starts.into(), offsets.into()];
        let one = Grid::line(Count::each(Dim::Fixed(1)));
        p.launch(&k::KEEP_SCAN, &operands, &[Dim::Tiles.into(), Dim::Bags.into()], one);
        let operands = [mask.into(), t.tiles.into(), starts.into(), rows.into()];
        p.launch(&k::KEEP_ROWS, &operands, &words, Grid::line(Count::each(Dim::Tiles)));
    }
    fn backward(&self, _: &mut Planner, _: Io) {}
}

fn row_grid(rows: Dim) -> Grid {
    Grid::line(Count::per(rows, 1, LANES))
}

/// Writes to `order` the rows of each bag by ascending keys. The number of merges follows from the largest
/// bag that fits the capacity: where a batch has only smaller ones, the last merges copy.
fn sort(p: &mut Planner, keys: ValueId, t: Tables, order: ValueId) {
    let merges = p.capacity.instances.div_ceil(TILE).max(1).next_power_of_two().trailing_zeros();
    let tiles = t.tile_count(p);
    let grid = Grid::line(Count::each(tiles));
    let spare = p.temp_index(p.rows(order), 1);
    // They take turns, so that the last one ends where it should.
    let buffer = |merge: u32| if (merges - merge).is_multiple_of(2) { order } else { spare };
    let operands = [keys.into(), t.tiles.into(), buffer(0).into()];
    p.launch(&k::SORT_TILE, &operands, &[tiles.into(), TILE.into()], grid);
    for merge in 0..merges {
        let (from, to) = (buffer(merge), buffer(merge + 1));
        let operands = [keys.into(), from.into(), t.tiles.into(), t.offsets.into(), to.into()];
        p.launch(&k::SORT_MERGE, &operands, &[tiles.into(), (TILE << merge).into()], grid);
    }
}
