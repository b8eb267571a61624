//! A launch as plain data: which kernel, which buffers, which parameters, how many workgroups.
//!
//! Sizes that change from batch to batch stay symbolic ([`Dim`]), so a program is planned once and a
//! step only fills in numbers.

use super::Kernel;
pub use super::extent::{BatchTables, Extent, Pseudo, SegmentTables, TILE, TokenTables, tokens_of};

/// Values in a segment of the flat parameter layout: 256 bytes, the alignment every device accepts.
pub const SEGMENT: usize = 64;

/// A size that may depend on the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// The same in every batch.
    Fixed(u32),
    /// Instances in the batch (N).
    Instances,
    /// Bags in the batch (B).
    Bags,
    /// Tiles of at most [`TILE`] rows, none of which crosses a bag.
    Tiles,
    /// Groups of the given number of consecutive instances.
    InstanceChunks(u32),
    /// Groups of the given number of consecutive bags.
    BagChunks(u32),
    /// Groups of the given number of consecutive tiles.
    TileChunks(u32),
    /// Instances in a window of `size` rows from row `start` on; 0 when the batch ends before it.
    InstanceWindow {
        /// First row.
        start: u32,
        /// Rows at most.
        size: u32,
    },
    /// One more than the number of bags (lengths of offset tables).
    BagsPlusOne,
    /// Pairs of instances of one bag: the sum over the bags of their instances squared.
    Pairs,
    /// The given number of rows for each bag.
    BagRows(u32),
    /// Groups of the given number of consecutive rows, of which each bag has the given number.
    BagRowChunks {
        /// Rows of a bag.
        rows: u32,
        /// Rows of a group.
        size: u32,
    },
    /// Tokens: of each bag of n instances one for the class and ceil(sqrt n)^2 for a square of instances.
    Tokens,
    /// Tiles of at most [`TILE`] tokens, none of which crosses a bag.
    TokenTiles,
    /// Groups of the given number of consecutive tokens.
    TokenChunks(u32),
    /// Groups of the given number of consecutive tiles of tokens.
    TokenTileChunks(u32),
    /// Pseudo-bags (see [`Pseudo`]).
    PseudoBags,
    /// One more than those.
    PseudoBagsPlusOne,
    /// Tiles of at most [`TILE`] instances, none of which crosses a pseudo-bag.
    PseudoTiles,
    /// Groups of the given number of consecutive pseudo-bags.
    PseudoBagChunks(u32),
    /// Groups of the given number of consecutive tiles of pseudo-bags.
    PseudoTileChunks(u32),
    /// Rows distilled from pseudo-bags.
    Distilled,
    /// Tiles of at most [`TILE`] of those, none of which crosses a bag.
    DistilledTiles,
    /// Groups of the given number of consecutive distilled rows.
    DistilledChunks(u32),
    /// Groups of the given number of consecutive tiles of distilled rows.
    DistilledTileChunks(u32),
}

impl Dim {
    /// The number behind the symbol.
    pub fn of(self, extent: &Extent) -> u32 {
        match self {
            Dim::Fixed(n) => n,
            Dim::Instances => extent.instances,
            Dim::Bags => extent.bags,
            Dim::Tiles => extent.tiles,
            Dim::InstanceChunks(size) => extent.instances.div_ceil(size),
            Dim::BagChunks(size) => extent.bags.div_ceil(size),
            Dim::TileChunks(size) => extent.tiles.div_ceil(size),
            Dim::InstanceWindow { start, size } => extent.instances.saturating_sub(start).min(size),
            Dim::BagsPlusOne => extent.bags.saturating_add(1),
            Dim::Pairs => extent.pairs,
            Dim::BagRows(rows) => extent.bags.saturating_mul(rows),
            Dim::BagRowChunks { rows, size } => extent.bags.saturating_mul(rows).div_ceil(size),
            Dim::Tokens => extent.tokens,
            Dim::TokenTiles => extent.token_tiles,
            Dim::TokenChunks(size) => extent.tokens.div_ceil(size),
            Dim::TokenTileChunks(size) => extent.token_tiles.div_ceil(size),
            Dim::PseudoBags => extent.pseudo_bags,
            Dim::PseudoBagsPlusOne => extent.pseudo_bags.saturating_add(1),
            Dim::PseudoTiles => extent.pseudo_tiles,
            Dim::PseudoBagChunks(size) => extent.pseudo_bags.div_ceil(size),
            Dim::PseudoTileChunks(size) => extent.pseudo_tiles.div_ceil(size),
            Dim::Distilled => extent.distilled,
            Dim::DistilledTiles => extent.distilled_tiles,
            Dim::DistilledChunks(size) => extent.distilled.div_ceil(size),
            Dim::DistilledTileChunks(size) => extent.distilled_tiles.div_ceil(size),
        }
    }

    /// Chunks of `size` rows over this many rows.
    pub fn chunks(self, size: u32) -> Dim {
        match self {
            Dim::Instances => Dim::InstanceChunks(size),
            Dim::Bags => Dim::BagChunks(size),
            Dim::Tiles => Dim::TileChunks(size),
            Dim::BagRows(rows) => Dim::BagRowChunks { rows, size },
            Dim::Tokens => Dim::TokenChunks(size),
            Dim::TokenTiles => Dim::TokenTileChunks(size),
            Dim::PseudoBags => Dim::PseudoBagChunks(size),
            Dim::PseudoTiles => Dim::PseudoTileChunks(size),
            Dim::Distilled => Dim::DistilledChunks(size),
            Dim::DistilledTiles => Dim::DistilledTileChunks(size),
            Dim::Fixed(n) => Dim::Fixed(n.div_ceil(size)),
            other => panic!("rows counted by {other:?} are not split into chunks"),
        }
    }
}

/// A number that changes from step to step and is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// Learning rate of this update by rule 0 or 1.
    LearningRate(u8),
    /// Low word of the seed of this run's random numbers.
    SeedLow,
    /// High word of the seed.
    SeedHigh,
    /// Number of the step: the random numbers of each step differ.
    Step,
    /// `1 - beta1^t` of Adam as rule 0 or 1; what multiplies the rate of RAdam.
    Correction1(u8),
    /// `1 - beta2^t` of Adam as rule 0 or 1; 1 when RAdam divides by the second moment, else 0.
    Correction2(u8),
    /// What Lookahead does after this update: 0 nothing, 1 creates the slow copy, 2 synchronises.
    Lookahead,
    /// Part of the parameters that enters their moving average in this update.
    AverageWeight,
    /// Part of the parameters that enters the copy which follows them in this update.
    FollowWeight,
    /// Weight of a term of the loss, by its number among those that move (see `objectives`).
    TermWeight(u8),
    /// First row of the window in its batch; 0 for a batch that runs whole.
    FirstRow,
    /// First bag of the window in its batch.
    FirstBag,
    /// 1 when the window's first bag began in an earlier window.
    Continued,
}

/// The per-step numbers behind [`Scalar`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Scalars {
    /// Numbers of the two update rules.
    pub rules: [RuleScalars; 2],
    /// Seed of the run.
    pub seed: u64,
    /// Step, from 0.
    pub step: u32,
    /// See [`Scalar::Lookahead`].
    pub lookahead: u32,
    /// See [`Scalar::AverageWeight`].
    pub average_weight: f32,
    /// See [`Scalar::FollowWeight`].
    pub follow_weight: f32,
    /// See [`Scalar::TermWeight`].
    pub term_weights: [f32; 4],
    /// Where the window lies in its batch.
    pub window: Window,
}

/// Where a window of rows lies in its batch; all 0 for a batch that runs whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// See [`Scalar::FirstRow`].
    pub first_row: u32,
    /// See [`Scalar::FirstBag`].
    pub first_bag: u32,
    /// See [`Scalar::Continued`].
    pub continued: bool,
}

/// The per-step numbers of one update rule.
#[derive(Clone, Copy, Debug, Default)]
pub struct RuleScalars {
    /// See [`Scalar::LearningRate`].
    pub learning_rate: f32,
    /// See [`Scalar::Correction1`].
    pub correction1: f32,
    /// See [`Scalar::Correction2`].
    pub correction2: f32,
}

impl Scalars {
    fn bits(&self, scalar: Scalar) -> u32 {
        match scalar {
            Scalar::LearningRate(rule) => self.rules[rule as usize].learning_rate.to_bits(),
            Scalar::SeedLow => self.seed as u32,
            Scalar::SeedHigh => (self.seed >> 32) as u32,
            Scalar::Step => self.step,
            Scalar::Correction1(rule) => self.rules[rule as usize].correction1.to_bits(),
            Scalar::Correction2(rule) => self.rules[rule as usize].correction2.to_bits(),
            Scalar::Lookahead => self.lookahead,
            Scalar::AverageWeight => self.average_weight.to_bits(),
            Scalar::TermWeight(number) => self.term_weights[number as usize].to_bits(),
            Scalar::FollowWeight => self.follow_weight.to_bits(),
            Scalar::FirstRow => self.window.first_row,
            Scalar::FirstBag => self.window.first_bag,
            Scalar::Continued => self.window.continued as u32,
        }
    }
}

/// One 32-bit word of a kernel's parameter struct.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Word {
    /// A constant.
    U(u32),
    /// A constant.
    F(f32),
    /// A size of the batch.
    D(Dim),
    /// A size of the batch times a constant.
    Times(Dim, u32),
    /// A number of the step.
    S(Scalar),
    /// A whole number of the step times a constant, modulo 2^32.
    STimes(Scalar, u32),
    /// Workgroups along x, for kernels that fold a long grid over (x, y).
    GroupsX,
}

/// The bits of which it is said that they are on.
pub fn bits<const N: usize>(of: [(u32, bool); N]) -> u32 {
    of.into_iter().filter(|(_, on)| *on).fold(0, |all, (bit, _)| all | bit)
}

impl From<u32> for Word {
    fn from(v: u32) -> Self {
        Word::U(v)
    }
}
impl From<f32> for Word {
    fn from(v: f32) -> Self {
        Word::F(v)
    }
}
impl From<bool> for Word {
    fn from(v: bool) -> Self {
        Word::U(v as u32)
    }
}
impl From<Dim> for Word {
    fn from(v: Dim) -> Self {
        Word::D(v)
    }
}
impl From<Scalar> for Word {
    fn from(v: Scalar) -> Self {
        Word::S(v)
    }
}

/// `ceil(dim * times / per)` workgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// What is counted.
    pub dim: Dim,
    /// Items for each.
    pub times: u32,
    /// Items a workgroup handles.
    pub per: u32,
}

impl Count {
    /// One workgroup for each.
    pub fn each(dim: Dim) -> Self {
        Self { dim, times: 1, per: 1 }
    }

    /// One workgroup for `per` of them.
    pub fn per(dim: Dim, times: u32, per: u32) -> Self {
        Self { dim, times, per }
    }

    fn of(&self, extent: &Extent) -> u64 {
        (self.dim.of(extent) as u64 * self.times as u64).div_ceil(self.per as u64)
    }
}

/// Workgroups of a launch: `a * b` of them, folded over (x, y) beyond the device's limit, and `z` layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// First factor.
    pub a: Count,
    /// Second factor.
    pub b: Count,
    /// Layers.
    pub z: Count,
}

impl Grid {
    /// `count` workgroups.
    pub fn line(count: Count) -> Self {
        let one = Count::each(Dim::Fixed(1));
        Self { a: count, b: one, z: one }
    }

    /// `a * b` workgroups.
    pub fn plane(a: Count, b: Count) -> Self {
        Self { a, b, z: Count::each(Dim::Fixed(1)) }
    }

    /// Workgroups along (x, y, z) where no dimension may exceed `limit`.
    pub fn groups(&self, extent: &Extent, limit: u32) -> [u32; 3] {
        let total = self.a.of(extent) * self.b.of(extent);
        let z = self.z.of(extent) as u32;
        let limit = limit as u64;
        if total <= limit {
            return [total as u32, 1, z];
        }
        let y = total.div_ceil(limit);
        let x = total.div_ceil(y);
        assert!(y <= limit, "a grid of {total} workgroups exceeds the device's dispatch limit squared");
        [x as u32, y as u32, z]
    }
}

/// Which long-lived or pooled buffer a binding lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BufferKey {
    /// All parameters, one flat buffer.
    Params,
    /// Their gradients, the same layout.
    Grads,
    /// Optimiser state, the same layout: moments of the rule, then slow copy, then moving average.
    State(u8),
    /// The copy that follows the parameters, in their layout (see `passes::Follower`).
    Follower,
    /// Group of each 64-float segment of the flat layout.
    Groups,
    /// What holds for each group (see `Groups::table`).
    GroupTable,
    /// The scale of the loss in mixed precision and how it fared (see `ScaleState`).
    LossScale,
    /// What the batch brings.
    Input(Input),
    /// Gradient handed in from outside for output number n.
    Upstream(u8),
    /// Pooled memory of intermediate values.
    Slot(u16),
    /// Result n of pooling over all windows of a batch (see `plan::windows`).
    Carry(u8),
    /// Its gradient.
    CarryGrad(u8),
}

/// What a batch brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Instance features `[N, D]`.
    Features,
    /// Place of each instance, `[N, 2]`.
    Coords,
    /// First row of each bag, `[B + 1]`.
    Offsets,
    /// Tile table `[T, 4]`: bag, first row, rows, unused.
    Tiles,
    /// First tile of each bag, `[B + 1]`.
    BagTiles,
    /// First token of each bag, `[B + 1]` (see [`Dim::Tokens`]).
    TokenOffsets,
    /// Tile table of the tokens, as that of the instances.
    TokenTiles,
    /// The class token of each bag, `[B]`.
    ClassTokens,
    /// First row of each pseudo-bag, `[P + 1]` (see [`Pseudo`]).
    PseudoOffsets,
    /// Tile table of the pseudo-bags, as that of the bags.
    PseudoTiles,
    /// First tile of each pseudo-bag, `[P + 1]`.
    PseudoBagTiles,
    /// Class index of each pseudo-bag, that of its bag, `[P]`.
    PseudoLabels,
    /// Target of each output of each pseudo-bag, that of its bag, `[P, C]`.
    PseudoTargets,
    /// Weight of each pseudo-bag in the loss: its share of that of its bag, `[P]`.
    PseudoWeights,
    /// First distilled row of each bag, `[B + 1]`.
    DistilledOffsets,
    /// Tile table of the distilled rows.
    DistilledTiles,
    /// First of those tiles of each bag, `[B + 1]`.
    DistilledBagTiles,
    /// Class index of each bag, `[B]`.
    Labels,
    /// Target of each output of each bag, `[B, C]`.
    Targets,
    /// Weight of each bag in the loss, `[B]`, or of each output of each bag, `[B, C]`.
    Weights,
    /// What the host makes of values that it read of each bag, `[B, C]` (see `passes::HostRule`).
    Given,
    /// Time until the event or the end of observation, `[B]`.
    Times,
    /// 1 when the event was seen, 0 when the bag is censored, `[B]`.
    Events,
}

/// A range of a buffer, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The buffer.
    pub buffer: BufferKey,
    /// First byte.
    pub offset: u64,
    /// Bytes at full capacity.
    pub bytes: u64,
}

/// A kernel's compile-time choices: `(name, value)` for the preprocessor, sorted by the caller's order.
pub type Variant = Vec<(&'static str, u32)>;

/// One kernel invocation over a whole batch.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Compile-time choices.
    pub variant: Variant,
    /// One place for each declared binding.
    pub places: Vec<Place>,
    /// The parameter struct, word by word.
    pub words: Vec<Word>,
    /// Workgroups.
    pub grid: Grid,
}

/// Most words a kernel's parameter struct may have (64 bytes fit every back end's immediates).
pub const MAX_WORDS: usize = 16;

impl Launch {
    /// The parameter words of one step.
    pub fn resolve(&self, extent: &Extent, scalars: &Scalars, groups_x: u32) -> [u32; MAX_WORDS] {
        let mut out = [0; MAX_WORDS];
        for (slot, word) in out.iter_mut().zip(&self.words) {
            *slot = match *word {
                Word::U(v) => v,
                Word::F(v) => v.to_bits(),
                Word::D(dim) => dim.of(extent),
                Word::Times(dim, n) => dim.of(extent) * n,
                Word::S(scalar) => scalars.bits(scalar),
                Word::STimes(scalar, n) => scalars.bits(scalar).wrapping_mul(n),
                Word::GroupsX => groups_x,
            };
        }
        out
    }
}
