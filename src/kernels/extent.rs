//! The sizes of a packed batch, and the tables by which kernels find their way in it.

/// Rows of a packed batch that one tile covers at most; tiles never cross a bag.
pub const TILE: u32 = 64;

/// The sizes of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Instances over all bags.
    pub instances: u32,
    /// Bags.
    pub bags: u32,
    /// Tiles (see [`TILE`]).
    pub tiles: u32,
    /// Pairs of instances of one bag; at most `u32::MAX`, which no buffer holds.
    pub pairs: u32,
    /// Tokens (see [`super::launch::Dim::Tokens`]).
    pub tokens: u32,
    /// Tiles of tokens.
    pub token_tiles: u32,
    /// Pseudo-bags, of a model that cuts bags into such ([`Pseudo`]).
    pub pseudo_bags: u32,
    /// Tiles that none of them crosses.
    pub pseudo_tiles: u32,
    /// Rows distilled from them.
    pub distilled: u32,
    /// Tiles of those.
    pub distilled_tiles: u32,
}

/// How each bag is cut into pseudo-bags of nearly equal size, and how many rows are distilled from each of them (Zhang et
/// al. 2022, arXiv 2203.12081).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pseudo {
    /// Pseudo-bags of a bag; a bag of fewer instances has one for each instance.
    pub bags: u32,
    /// Rows distilled from each side of the order of a pseudo-bag, at most as many as it has.
    pub rows: u32,
    /// Sides: 1 for the first rows, 2 for the first and the last.
    pub sides: u32,
}

impl Pseudo {
    /// Instances of each pseudo-bag of a bag of `instances`. The first ones have one more than the others.
    pub fn sizes(&self, instances: u32) -> impl Iterator<Item = u32> + use<> {
        let count = self.bags.min(instances);
        let (each, more) = (instances.checked_div(count).unwrap_or(0), instances.checked_rem(count).unwrap_or(0));
        (0..count).map(move |n| each + u32::from(n < more))
    }

    /// Rows distilled from a bag of `instances`.
    pub fn distilled(&self, instances: u32) -> u32 {
        self.sizes(instances).map(|n| n.min(self.rows)).sum::<u32>().saturating_mul(self.sides)
    }
}

/// Tokens of a bag of `instances`: the class token and the smallest square that holds them.
pub fn tokens_of(instances: u32) -> u32 {
    let root = instances.isqrt();
    let side = root + (root * root < instances) as u32;
    side.saturating_mul(side).saturating_add(1)
}

impl Extent {
    /// Sizes of a batch of bags with these numbers of instances; none is counted beyond `u32::MAX`, which no buffer
    /// holds.
    pub fn of(sizes: impl IntoIterator<Item = u32>) -> Self {
        Self::cut(sizes, None)
    }

    /// The same of a model that may cut its bags into pseudo-bags.
    pub fn cut(sizes: impl IntoIterator<Item = u32>, pseudo: Option<Pseudo>) -> Self {
        sizes.into_iter().fold(Self::default(), |e, n| {
            let (count, tiles, distilled) = pseudo.map_or((0, 0, 0), |pseudo| {
                let tiles = pseudo.sizes(n).map(|n| n.div_ceil(TILE)).fold(0, u32::saturating_add);
                (pseudo.bags.min(n), tiles, pseudo.distilled(n))
            });
            Self {
                instances: e.instances.saturating_add(n),
                bags: e.bags.saturating_add(1),
                tiles: e.tiles.saturating_add(n.div_ceil(TILE)),
                pairs: e.pairs.saturating_add(n.saturating_mul(n)),
                tokens: e.tokens.saturating_add(tokens_of(n)),
                token_tiles: e.token_tiles.saturating_add(tokens_of(n).div_ceil(TILE)),
                pseudo_bags: e.pseudo_bags.saturating_add(count),
                pseudo_tiles: e.pseudo_tiles.saturating_add(tiles),
                distilled: e.distilled.saturating_add(distilled),
                distilled_tiles: e.distilled_tiles.saturating_add(distilled.div_ceil(TILE)),
            }
        })
    }

    fn zip(self, other: Extent, f: impl Fn(u32, u32) -> u32) -> Extent {
        Extent {
            instances: f(self.instances, other.instances),
            bags: f(self.bags, other.bags),
            tiles: f(self.tiles, other.tiles),
            pairs: f(self.pairs, other.pairs),
            tokens: f(self.tokens, other.tokens),
            token_tiles: f(self.token_tiles, other.token_tiles),
            pseudo_bags: f(self.pseudo_bags, other.pseudo_bags),
            pseudo_tiles: f(self.pseudo_tiles, other.pseudo_tiles),
            distilled: f(self.distilled, other.distilled),
            distilled_tiles: f(self.distilled_tiles, other.distilled_tiles),
        }
    }

    /// The larger of both in every size.
    pub fn max(self, other: Extent) -> Extent {
        self.zip(other, u32::max)
    }

    /// True when `other` fits in.
    pub fn holds(&self, other: &Extent) -> bool {
        self.max(*other) == *self
    }

    /// Room for `wanted`: what was asked for, but at least an eighth more than before, so that bags that grow
    /// slowly do not replan at every step.
    pub fn grown(self, wanted: Extent) -> Extent {
        self.zip(wanted, |old, new| if new > old { new.max(old.saturating_add(old / 8)) } else { old })
    }
}

/// The tables of a packed batch, as kernels read them. Filled anew for each batch; the vectors are reused.
#[derive(Clone, Debug, Default)]
pub struct BatchTables {
    /// Sizes of the batch.
    pub extent: Extent,
    /// First row of each bag, and the end of the last, `[B + 1]`.
    pub offsets: Vec<u32>,
    /// Bag, first row, rows and 0 of each tile, `[T, 4]`.
    pub tiles: Vec<u32>,
    /// First tile of each bag, and the end of the last, `[B + 1]`.
    pub bag_tiles: Vec<u32>,
    /// The same of the tokens.
    pub tokens: TokenTables,
    /// How bags are cut into pseudo-bags, where they are.
    pub pseudo: Option<Pseudo>,
    /// The pseudo-bags among the instances.
    pub pseudo_bags: SegmentTables,
    /// The bags among the rows that were distilled from them.
    pub distilled: SegmentTables,
}

/// Segments of rows that follow each other; the vectors are reused.
#[derive(Clone, Debug, Default)]
pub struct SegmentTables {
    /// First row of each segment, and the end of the last.
    pub offsets: Vec<u32>,
    /// Segment, first row, rows and 0 of each tile.
    pub tiles: Vec<u32>,
    /// First tile of each segment, and the end of the last.
    pub segment_tiles: Vec<u32>,
}

impl SegmentTables {
    fn clear(&mut self) {
        self.offsets.clear();
        self.tiles.clear();
        self.segment_tiles.clear();
        self.offsets.push(0);
        self.segment_tiles.push(0);
    }

    fn push(&mut self, rows: u32) {
        let (segment, first) = (self.offsets.len() as u32 - 1, self.offsets[self.offsets.len() - 1]);
        let end = first + rows;
        for row in (first..end).step_by(TILE as usize) {
            self.tiles.extend([segment, row, TILE.min(end - row), 0]);
        }
        self.offsets.push(end);
        self.segment_tiles.push(self.tiles.len() as u32 / 4);
    }
}

impl BatchTables {
    /// The tables of bags of these sizes.
    pub fn of(sizes: &[usize]) -> Self {
        Self::cut(sizes, None)
    }

    /// The same of bags that may be cut into pseudo-bags.
    pub fn cut(sizes: &[usize], pseudo: Option<Pseudo>) -> Self {
        let mut tables = Self { pseudo, ..Self::default() };
        tables.lay_out(sizes.iter().copied());
        tables
    }

    /// Of each pseudo-bag its bag, and how many share that one.
    pub fn pseudo_bags_in_bags(&self) -> impl Iterator<Item = (usize, u32)> {
        let parts = self.pseudo.map_or(0, |pseudo| pseudo.bags);
        let sizes = self.offsets.windows(2).map(|bag| bag[1] - bag[0]);
        sizes.enumerate().flat_map(move |(bag, n)| std::iter::repeat_n((bag, parts.min(n)), parts.min(n) as usize))
    }

    /// Lays out bags of these sizes.
    pub fn lay_out(&mut self, sizes: impl Iterator<Item = usize>) {
        self.offsets.clear();
        self.tiles.clear();
        self.bag_tiles.clear();
        self.tokens.clear();
        self.pseudo_bags.clear();
        self.distilled.clear();
        self.offsets.push(0);
        self.bag_tiles.push(0);
        let mut row = 0u32;
        for (bag, size) in sizes.enumerate() {
            self.tokens.push(size as u32);
            if let Some(pseudo) = self.pseudo {
                pseudo.sizes(size as u32).for_each(|rows| self.pseudo_bags.push(rows));
                self.distilled.push(pseudo.distilled(size as u32));
            }
            let end = row + size as u32;
            while row < end {
                let rows = (end - row).min(TILE);
                self.tiles.extend([bag as u32, row, rows, 0]);
                row += rows;
            }
            self.offsets.push(end);
            self.bag_tiles.push(self.tiles.len() as u32 / 4);
        }
        self.extent = Extent::cut(self.offsets.windows(2).map(|bag| bag[1] - bag[0]), self.pseudo);
    }
}

/// The tables over the tokens of a packed batch; the vectors are reused from batch to batch.
#[derive(Clone, Debug, Default)]
pub struct TokenTables {
    /// See [`super::launch::Input::TokenOffsets`].
    pub offsets: Vec<u32>,
    /// See [`super::launch::Input::TokenTiles`].
    pub tiles: Vec<u32>,
}

impl TokenTables {
    /// No bags.
    fn clear(&mut self) {
        self.offsets.clear();
        self.tiles.clear();
        self.offsets.push(0);
    }

    /// One more bag.
    fn push(&mut self, instances: u32) {
        let (bag, first) = (self.offsets.len() as u32 - 1, self.offsets[self.offsets.len() - 1]);
        let end = first + tokens_of(instances);
        for row in (first..end).step_by(TILE as usize) {
            self.tiles.extend([bag, row, TILE.min(end - row), 0]);
        }
        self.offsets.push(end);
    }

    /// See [`super::launch::Input::ClassTokens`].
    pub fn classes(&self) -> &[u32] {
        &self.offsets[..self.offsets.len() - 1]
    }
}
