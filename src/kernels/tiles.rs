//! Tiles of matrix products: how they are made, what suits which device, and what a search on one found of them and of
//! reductions.
//!
//! Without a tuning the tiles come from the numbers of [`Choice::standard`], which suit the devices they were measured on
//! or compiled for. A tuning belongs to one adapter and driver version; a product that it does not know gets the numbers.
//! The same tuning gives the same tiles, so the same bits; another tile may add in another order where it splits a sum.

use super::launch::Variant;
use super::matmul::{Form, MATMUL, Tile};
use super::matmul_coop::{self, Coop};
use super::target::{Class, Family, Target};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the tiles of a product are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tiles", rename_all = "lowercase")]
pub enum Choice {
    /// Tiles in registers, for drivers on the CPU: rows, and columns in vectors of four for each of eight
    /// invocations; A passed round by subgroup shuffles or loaded.
    Registers {
        /// Rows of the tile.
        rows: u32,
        /// Its columns for each invocation, in vectors of four.
        cols: u32,
        /// A is passed round by shuffles.
        shuffle: bool,
    },
    /// Tiles in workgroup memory: `side` x `side` invocations (16 or 8), each with 8 or 4 rows and columns.
    Workgroup {
        /// Invocations along each side.
        #[serde(default = "sixteen")]
        side: u32,
        /// Eight rows for each invocation, not four.
        tall: bool,
        /// Eight columns.
        wide: bool,
    },
    /// Cooperative matrices: workgroups of 8 x 8 of them, or of 4 x 4.
    Matrices {
        /// 8 x 8 of them.
        large: bool,
    },
}

/// What files of tunings meant before there was a choice.
fn sixteen() -> u32 {
    16
}

/// Values of a product from which on it pays to compile four steps of k on old drivers.
const LARGE: u64 = 1 << 21;

impl Choice {
    /// The tile for a product of `m` rows and `n` columns, after the choices of the preprocessor that all products
    /// share. `None` where the device or the form does not have it.
    pub fn tile(self, target: &Target, form: &Form, [m, n]: [u32; 2], mut variant: Variant) -> Option<Tile> {
        let kernel = &MATMUL;
        match (self, target.class) {
            (_, Class::Host) => None,
            (Self::Matrices { large }, Class::Gpu) => {
                let coop = target.coop.filter(|c| form.rounded && if large { c.large } else { c.small })?;
                Some(coop.shape(large).tile(variant))
            }
            (Self::Matrices { .. }, _) => None,
            (Self::Registers { rows, cols, shuffle }, class) => {
                let shuffles = matches!(class, Class::CpuDriver { shuffles: true, .. });
                // More sums than that go to memory.
                let fits = (1..=64).contains(&rows) && (1..=4).contains(&cols) && rows * cols <= 64;
                // Transposed, eight invocations hold 32 rows at most.
                let whole = rows.is_multiple_of(8) && !(form.a_t && rows > 32);
                if !fits || (shuffle && !(shuffles && whole)) {
                    return None;
                }
                rounded(form, &mut variant);
                variant.extend([("REGISTER", 1), ("ROWS", rows), ("COLS", cols), ("SUBGROUP8", shuffle as u32)]);
                let by_row = shuffle && !form.a_t;
                match class {
                    // A quarter of the code compiles in a third of the time; for large products it takes too long to run.
                    Class::CpuDriver { recent: false, .. } if by_row && form.b_t => {
                        let single = m as u64 * (n as u64) < LARGE && !form.a_half && !form.b_half;
                        variant.push((if single { "SINGLE" } else { "BY_ROW" }, 1));
                    }
                    _ => variant.extend((by_row && !form.b_t).then_some(("BY_ROW", 1))),
                }
                Some(Tile { kernel, rows, cols: 32 * cols, variant })
            }
            (Self::Workgroup { side, tall, wide }, _) => {
                if !matches!(side, 8 | 16) {
                    return None;
                }
                rounded(form, &mut variant);
                variant.extend([("SIDE", side), ("TALL", tall as u32), ("WIDE", wide as u32)]);
                Some(Tile { kernel, rows: (4 * side) << tall as u32, cols: (4 * side) << wide as u32, variant })
            }
        }
    }

    /// What a search tries on a device; the first is not special.
    pub fn candidates(target: &Target, form: &Form) -> Vec<Choice> {
        let registers = |rows, cols, shuffle| Self::Registers { rows, cols, shuffle };
        match target.class {
            Class::Host => Vec::new(),
            Class::CpuDriver { shuffles, .. } => {
                let tiles = [(8, 1), (16, 1), (16, 2), (16, 4), (32, 1), (32, 2)];
                let loaded = tiles.map(|(rows, cols)| registers(rows, cols, false));
                let passed = tiles.map(|(rows, cols)| registers(rows, cols, true));
                loaded.into_iter().chain(passed.into_iter().filter(|_| shuffles)).collect()
            }
            Class::Gpu => {
                let both = [false, true];
                let sides = |tall, wide| [16, 8].map(|side| Self::Workgroup { side, tall, wide });
                let plain = both.into_iter().flat_map(|tall| both.into_iter().flat_map(move |wide| sides(tall, wide)));
                let has = |c: Coop, large: bool| if large { c.large } else { c.small };
                let coop = target.coop.filter(|_| form.rounded);
                let matrices = both.into_iter().filter(|&large| coop.is_some_and(|c| has(c, large)));
                plain.chain(matrices.map(|large| Self::Matrices { large })).collect()
            }
        }
    }

    /// The choice of a device that was not tuned, for a product of `m` rows and `n` columns.
    pub fn standard(target: &Target, form: &Form, m: u32, n: u32) -> Choice {
        match target.class {
            Class::Host => Self::Workgroup { side: 16, tall: false, wide: false },
            Class::CpuDriver { shuffles, recent } => {
                let few = n <= 32 || m.div_ceil(32) * n.div_ceil(64) < 16;
                let (rows, cols) = match (m <= 8, few, shuffles || recent) {
                    (true, ..) => (8, 1),
                    (_, true, true) => (32, 1),
                    (_, false, true) => (32, 2),
                    (_, true, false) => (16, 1),
                    (_, false, false) => (16, 4),
                };
                // Passing A round by shuffles beats loading it.
                Self::Registers { rows, cols, shuffle: shuffles }
            }
            Class::Gpu => {
                if form.rounded
                    && let Some(shape) = matmul_coop::shape(target, m, n)
                {
                    return Self::Matrices { large: shape.large() };
                }
                // Larger tiles read less, smaller ones keep more units busy.
                let groups = |rows: u32, cols: u32| m.div_ceil(rows) as u64 * n.div_ceil(cols) as u64;
                let enough = 2 * target.units as u64;
                if matches!(target.family, Family::Apple | Family::Gcn) {
                    // 8 x 8 sums of an invocation spill there, or leave one workgroup or wave alone.
                    let double = groups(128, 64) >= enough;
                    return Self::Workgroup { side: 16, tall: double && form.b_t, wide: double && !form.b_t };
                }
                Self::Workgroup { side: 16, tall: groups(128, 64) >= enough, wide: groups(128, 128) >= enough }
            }
        }
    }
}

fn rounded(form: &Form, variant: &mut Variant) {
    if form.rounded {
        variant.push(("ROUND", 1));
    }
}

/// A class of products: layout, storage, and the power of two that its rows and columns do not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Product {
    /// Which factors are stored transposed, and how.
    #[serde(flatten)]
    pub form: Form,
    /// Rows of the result, rounded up to a power of two.
    pub m: u32,
    /// Columns of the result, rounded up.
    pub n: u32,
}

impl Product {
    /// The class of a product.
    pub fn of(form: &Form, m: u32, n: u32) -> Self {
        let up = |v: u32| v.max(1).checked_next_power_of_two().unwrap_or(1 << 31);
        Self { form: *form, m: up(m), n: up(n) }
    }
}

/// What a search found for one class of products.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Which products.
    #[serde(flatten)]
    pub product: Product,
    /// The fastest tiles.
    pub choice: Choice,
    /// Microseconds of all such products of a step with them.
    pub us: f64,
    /// The same with the tiles of a device that was not tuned.
    pub standard_us: f64,
}

/// What a search found for a kernel that reduces over a workgroup: microseconds of its launches with both forms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reduction {
    /// Its name.
    pub kernel: String,
    /// Whether it reduces within subgroups from now on.
    pub subgroups: bool,
    /// Through workgroup memory alone.
    pub workgroup_us: f64,
    /// Within subgroups first.
    pub subgroups_us: f64,
}

/// Tiles and reductions of one adapter with one driver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// The device, as `Device::description` names it, driver version included.
    pub device: String,
    /// What was measured.
    pub products: Vec<Entry>,
    /// The same of kernels that reduce; files of older versions have none.
    #[serde(default)]
    pub reductions: Vec<Reduction>,
    /// A search measures one candidate for all products at a time.
    #[serde(skip)]
    candidate: Option<usize>,
    #[serde(skip)]
    choices: BTreeMap<Product, Choice>,
}

impl Tuning {
    /// A tuning from what a search measured.
    pub fn new(device: String, products: Vec<Entry>) -> Self {
        let choices = products.iter().map(|e| (e.product, e.choice)).collect();
        Self { device, products, reductions: Vec::new(), candidate: None, choices }
    }

    /// The same with these kernels that reduce.
    pub fn with_reductions(self, reductions: Vec<Reduction>) -> Self {
        Self { reductions, ..self }
    }

    /// Takes candidate `number` everywhere, round and round where there are fewer.
    #[cfg(feature = "cli")]
    pub(crate) fn forced(number: usize) -> Self {
        Self { candidate: Some(number), ..Default::default() }
    }

    /// This tuning, and what only `older` knows.
    pub fn over(self, older: Tuning) -> Self {
        let missing = older.products.into_iter().filter(|e| !self.choices.contains_key(&e.product));
        let products = self.products.iter().copied().chain(missing).collect();
        let is_here = |r: &Reduction| self.reductions.iter().any(|own| own.kernel == r.kernel);
        let others: Vec<Reduction> = older.reductions.into_iter().filter(|r| !is_here(r)).collect();
        Self::new(self.device, products).with_reductions([self.reductions, others].concat())
    }

    /// Whether a kernel was faster within subgroups.
    pub fn reduces_in_subgroups(&self, kernel: &str) -> bool {
        self.reductions.iter().any(|r| r.kernel == kernel && r.subgroups)
    }

    /// The tiles of a product, where they are known.
    pub fn choice(&self, target: &Target, form: &Form, m: u32, n: u32) -> Option<Choice> {
        if let Some(number) = self.candidate {
            let all = Choice::candidates(target, form);
            return all.get(number % all.len().max(1)).copied();
        }
        self.choices.get(&Product::of(form, m, n)).copied()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::kernels::target::Family;

    pub(crate) const FORM: Form = Form { a_t: false, b_t: true, a_half: false, b_half: false, rounded: false };

    pub(crate) fn target(class: Class) -> Target {
        Target {
            class,
            family: Family::Unknown,
            native_f16: true,
            max_binding: 1 << 27,
            units: 2,
            coop: None,
            tuning: None,
            reductions: Default::default(),
        }
    }

    #[test]
    fn choices_that_a_device_lacks_are_left_out() {
        let gpu = target(Class::Gpu);
        let plain = target(Class::CpuDriver { shuffles: false, recent: true });
        let none =
            |choice: Choice, target| assert_eq!(choice.tile(target, &FORM, [99, 99], Vec::new()), None, "{choice:?}");
        none(Choice::Matrices { large: true }, &gpu);
        none(Choice::Registers { rows: 32, cols: 2, shuffle: true }, &plain);
        none(Choice::Registers { rows: 32, cols: 4, shuffle: false }, &plain);
        none(Choice::Registers { rows: 0, cols: 1, shuffle: false }, &plain);
        for target in [gpu, plain, target(Class::CpuDriver { shuffles: true, recent: true })] {
            let all = Choice::candidates(&target, &FORM);
            assert!(all.len() >= 4 && all.contains(&Choice::standard(&target, &FORM, 5000, 512)));
            assert!(all.iter().all(|c| c.tile(&target, &FORM, [99, 99], Vec::new()).is_some()));
        }
    }
}
