//! Pyramidal fusion (DSMIL-LC; Li, Li, Eliceiri 2021): each patch of the high magnification gets the features of
//! the patch of the low magnification that it lies in.

use super::Dataset;
use crate::bag::Features;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How features of two magnifications are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Join {
    /// Side by side: the high ones, then the low ones.
    #[default]
    Concat,
    /// high + factor * low; both are of one width.
    Add(f32),
}

/// Which low patch a high patch lies in, and how both are joined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fusion {
    /// Side of the square of a low patch, in the unit of the high coordinates.
    pub side: f64,
    /// What low coordinates are multiplied by to be in the unit of the high ones.
    pub scale: f64,
    /// How they are joined.
    pub join: Join,
    /// Leaves high patches without a parent out, where they would be an error.
    pub drop_orphans: bool,
}

impl Default for Fusion {
    /// Patches of 224 pixels, each magnification in its own pixels, four times apart.
    fn default() -> Self {
        Self { side: 896.0, scale: 4.0, join: Join::Concat, drop_orphans: false }
    }
}

/// Fused bags, and what found no partner.
#[derive(Clone, Debug)]
pub struct Fused {
    /// A row for each high patch with a parent.
    pub set: Dataset,
    /// High patches that were left out for lack of a parent.
    pub orphans: usize,
    /// Low patches without a high patch inside, and those of bags that have no high patch.
    pub childless: usize,
}

impl Fusion {
    /// Joins the bags of two magnifications. Bags are matched by name. The parent of a high patch is the low patch
    /// of its bag whose square `[x, x + side) x [y, y + side)` holds the high patch's corner; where low patches
    /// overlap, the one whose corner is nearest. Everything else (labels, places, parts) is that of the high bags.
    ///
    /// # Errors
    /// [`Error::Setting`] for a side or scale that is not above 0, [`Error::Shape`] for widths that cannot be
    /// added, [`Error::Bags`] that names the bag and the patch without coordinates, parent, or with a double.
    pub fn fuse(&self, high: &Dataset, low: &Dataset) -> Result<Fused> {
        for (name, value) in [("side", self.side), ("scale", self.scale)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::setting(name, format!("expected a number above 0, found {value}")));
            }
        }
        let (high_width, low_width) = (high.bags.width, low.bags.width);
        if matches!(self.join, Join::Add(_)) && high_width != low_width {
            return Err(Error::Shape {
                operation: "adding features of two magnifications",
                expected: format!("low features of width {high_width}, as the high ones have"),
                found: format!("{low_width}"),
            });
        }
        let parents = self.parents(high, low)?;
        let kept: Vec<Vec<usize>> = (0..high.bags.len())
            .map(|bag| high.bags.rows(bag).filter(|&row| parents[row].is_some()).collect())
            .collect();
        if let Some(bag) = kept.iter().position(Vec::is_empty) {
            let name = &high.bags.names[bag];
            return Err(Error::bags(format!("bag {name}: no high patch lies in a low one; are side and scale right?")));
        }
        let mut features = Vec::new();
        for &row in kept.iter().flatten() {
            let parent = parents[row].expect("kept rows have one");
            let (low, high) = (values(low, parent), values(high, row));
            match self.join {
                Join::Concat => features.extend(high.chain(low)),
                Join::Add(factor) => features.extend(high.zip(low).map(|(h, l)| h + factor * l)),
            }
        }
        let rows: Vec<usize> = kept.iter().flatten().copied().collect();
        let mut set = high.clone();
        let bags = &mut set.bags;
        bags.width = if self.join == Join::Concat { high_width + low_width } else { high_width };
        (bags.features, bags.image, bags.columns) = (Features::F32(features), None, None);
        bags.offsets = std::iter::once(0)
            .chain(kept.iter().scan(0, |end, bag| {
                *end += bag.len();
                Some(*end)
            }))
            .collect();
        bags.coords = bags.coords.as_ref().map(|c| rows.iter().map(|&r| c[r]).collect());
        bags.instance_labels = bags.instance_labels.as_ref().map(|l| rows.iter().map(|&r| l[r]).collect());
        bags.validate()?;
        let mut used: Vec<usize> = parents.iter().flatten().copied().collect();
        used.sort_unstable();
        used.dedup();
        let (orphans, childless) = (parents.len() - rows.len(), low.bags.instances() - used.len());
        Ok(Fused { set, orphans, childless })
    }

    /// The low row of each high row.
    fn parents(&self, high: &Dataset, low: &Dataset) -> Result<Vec<Option<usize>>> {
        let places = |set: &Dataset, which: &str| {
            let message = format!("{}: the {which} patches have no coordinates, and fusion goes by them", set.name);
            set.bags.coords.clone().ok_or_else(|| Error::bags(message))
        };
        let (high_places, low_places) = (places(high, "high")?, places(low, "low")?);
        let mut by_name = HashMap::new();
        for (bag, name) in low.bags.names.iter().enumerate() {
            if by_name.insert(name, bag).is_some() {
                return Err(Error::bags(format!("{}: two bags are called {name}", low.name)));
            }
        }
        let mut parents = vec![None; high.bags.instances()];
        for (bag, name) in high.bags.names.iter().enumerate() {
            let found = match by_name.get(name) {
                Some(&of) => Grid::new(self, low, of, &low_places)?,
                None if self.drop_orphans => continue,
                None => {
                    return Err(Error::bags(format!("{}: there is no bag {name}, as among the high ones", low.name)));
                }
            };
            for row in high.bags.rows(bag) {
                parents[row] = found.parent(high_places[row].map(f64::from));
                if parents[row].is_none() && !self.drop_orphans {
                    let ([x, y], number) = (high_places[row], row - high.bags.rows(bag).start);
                    return Err(Error::bags(format!(
                        "bag {name}: the high patch {number} (0-based) at {x}, {y} lies in no low patch; expected \
                         one of side {} whose corner times {} is left of it and above",
                        self.side, self.scale
                    )));
                }
            }
        }
        Ok(parents)
    }
}

/// The features of a row.
fn values(set: &Dataset, row: usize) -> impl Iterator<Item = f32> + '_ {
    let width = set.bags.width;
    (row * width..(row + 1) * width).map(|i| set.bags.features.get(i))
}

/// The low patches of a bag in cells of the size of a patch, so that at most four cells can hold a parent.
struct Grid {
    side: f64,
    cells: HashMap<[i64; 2], Vec<([f64; 2], usize)>>,
}

impl Grid {
    fn new(fusion: &Fusion, low: &Dataset, bag: usize, places: &[[f32; 2]]) -> Result<Self> {
        let mut grid = Self { side: fusion.side, cells: HashMap::new() };
        for row in low.bags.rows(bag) {
            let place = places[row].map(|c| f64::from(c) * fusion.scale);
            let cell = grid.cells.entry(place.map(|c| (c / fusion.side).floor() as i64)).or_default();
            if cell.iter().any(|(p, _)| *p == place) {
                let ([x, y], name) = (places[row], &low.bags.names[bag]);
                return Err(Error::bags(format!("{}, bag {name}: two low patches lie at {x}, {y}", low.name)));
            }
            cell.push((place, row));
        }
        Ok(grid)
    }

    fn parent(&self, corner: [f64; 2]) -> Option<usize> {
        let [x, y] = corner.map(|c| (c / self.side).floor() as i64);
        let cells = [[x, y], [x - 1, y], [x, y - 1], [x - 1, y - 1]];
        let inside = |place: &[f64; 2]| (0..2).all(|i| place[i] <= corner[i] && corner[i] < place[i] + self.side);
        let far = |place: &[f64; 2]| (corner[0] - place[0]).hypot(corner[1] - place[1]);
        let candidates = cells.iter().filter_map(|cell| self.cells.get(cell)).flatten().filter(|(p, _)| inside(p));
        // Of equally near ones the first in its bag: rows rise within a cell but not between cells.
        candidates.min_by(|(a, i), (b, j)| far(a).total_cmp(&far(b)).then(i.cmp(j))).map(|(_, row)| *row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::Bags;

    /// Bags (name, places); the features of the patch numbered r over all bags are 10 r + base and 10 r + base + 1.
    fn set(base: f32, bags: &[(&str, &[[f32; 2]])]) -> Dataset {
        let sizes: Vec<usize> = bags.iter().map(|(_, p)| p.len()).collect();
        let rows: usize = sizes.iter().sum();
        let features = (0..rows).flat_map(|r| [10.0 * r as f32 + base, 10.0 * r as f32 + base + 1.0]).collect();
        let mut packed = Bags::packed(Features::F32(features), 2, &sizes).unwrap();
        packed.names = bags.iter().map(|(n, _)| n.to_string()).collect();
        packed.coords = Some(bags.iter().flat_map(|(_, p)| p.iter().copied()).collect());
        packed.instance_labels = Some((0..rows as i32).collect());
        Dataset::new(packed, format!("set{base}"))
    }

    fn unit() -> Fusion {
        Fusion { side: 4.0, scale: 1.0, ..Fusion::default() }
    }

    #[test]
    fn children_get_their_parents_whatever_the_order() {
        let high = set(0.0, &[("b", &[[4.0, 0.0], [3.9, 3.9], [0.0, 0.0]]), ("a", &[[7.0, 7.0]])]);
        let low = set(1000.0, &[("a", &[[4.0, 4.0]]), ("b", &[[0.0, 0.0], [8.0, 8.0], [4.0, 0.0]])]);
        let fused = unit().fuse(&high, &low).unwrap();
        let bags = &fused.set.bags;
        assert_eq!((bags.width, &bags.offsets[..], fused.orphans, fused.childless), (4, &[0, 3, 4][..], 0, 1));
        let expected = [0., 1., 1030., 1031., 10., 11., 1010., 1011., 20., 21., 1010., 1011., 30., 31., 1000., 1001.];
        assert_eq!(bags.features.to_f32(), expected);
        assert_eq!((bags.coords.clone(), bags.names.clone()), (high.bags.coords, high.bags.names));
        let added = Fusion { join: Join::Add(0.25), ..unit() }
            .fuse(&set(0.0, &[("a", &[[1.0, 1.0]])]), &set(8.0, &[("a", &[[0.0, 0.0]])]));
        assert_eq!(added.unwrap().set.bags.features.to_f32(), [2.0, 3.25]);
    }

    #[test]
    fn low_coordinates_are_scaled_and_may_be_negative_or_off_the_grid() {
        // Low patches of 2 in their own unit, four times coarser: squares of 8.
        let fusion = Fusion { side: 8.0, scale: 4.0, ..Fusion::default() };
        let high = set(0.0, &[("s", &[[-5.0, -1.0], [2.5, 6.5], [3.0, 0.0]])]);
        let low = set(100.0, &[("s", &[[-1.25, -0.25], [0.75, 0.0]])]);
        // Squares [-5, 3) x [-1, 7) and [3, 11) x [0, 8).
        let features = fusion.fuse(&high, &low).unwrap().set.bags.features;
        assert_eq!([2, 6, 10].map(|i| features.get(i)), [100.0, 100.0, 110.0]);
        let outside = set(0.0, &[("s", &[[2.5, 7.0]])]);
        assert!(fusion.fuse(&outside, &low).unwrap_err().to_string().contains("at 2.5, 7 lies in no low patch"));
    }

    #[test]
    fn orphans_are_named_or_dropped_with_all_that_is_theirs() {
        let high = set(0.0, &[("s", &[[0.0, 0.0], [4.0, 0.0], [1.0, 3.0]]), ("t", &[[9.0, 9.0], [0.0, 0.0]])]);
        let low = set(100.0, &[("s", &[[0.0, 0.0]]), ("t", &[[0.0, 0.0], [50.0, 50.0]]), ("u", &[[0.0, 0.0]])]);
        let message = unit().fuse(&high, &low).unwrap_err().to_string();
        assert!(message.contains("bag s: the high patch 1 (0-based) at 4, 0 lies in no low patch"), "{message}");
        let fused = Fusion { drop_orphans: true, ..unit() }.fuse(&high, &low).unwrap();
        let bags = &fused.set.bags;
        assert_eq!((fused.orphans, fused.childless, &bags.offsets[..]), (2, 2, &[0, 2, 3][..]));
        assert_eq!(bags.instance_labels, Some(vec![0, 2, 4]));
        assert_eq!(bags.coords, Some(vec![[0.0, 0.0], [1.0, 3.0], [0.0, 0.0]]));
        // A bag that would be empty is an error all the same, and so is one without any low patch.
        let far = set(0.0, &[("s", &[[90.0, 0.0]])]);
        let message = Fusion { drop_orphans: true, ..unit() }.fuse(&far, &low).unwrap_err().to_string();
        assert!(message.contains("bag s: no high patch lies in a low one"), "{message}");
        let other = set(0.0, &[("x", &[[0.0, 0.0]])]);
        assert!(unit().fuse(&other, &low).unwrap_err().to_string().contains("there is no bag x"));
    }

    #[test]
    fn of_overlapping_parents_the_nearest_is_taken() {
        let low = set(100.0, &[("s", &[[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])]);
        let parent = |place| unit().fuse(&set(0.0, &[("s", &[place])]), &low).unwrap().set.bags.features.get(2);
        assert_eq!(parent([1.0, 1.0]), 100.0);
        assert_eq!(parent([3.0, 0.5]), 110.0);
        assert_eq!(parent([0.5, 3.0]), 120.0);
        // As far from both: the first.
        assert_eq!(parent([3.0, 3.0]), 110.0);
    }

    #[test]
    fn what_cannot_be_fused_is_refused() {
        let one = || set(0.0, &[("s", &[[0.0, 0.0]])]);
        let refused = |fusion: Fusion, high: Dataset, low: Dataset| fusion.fuse(&high, &low).unwrap_err().to_string();
        assert!(refused(Fusion { side: 0.0, ..unit() }, one(), one()).starts_with("setting side"));
        assert!(refused(Fusion { scale: f64::NAN, ..unit() }, one(), one()).starts_with("setting scale"));
        let double = set(0.0, &[("s", &[[0.0, 0.0], [0.0, 0.0]])]);
        assert!(refused(unit(), one(), double).contains("two low patches lie at 0, 0"));
        let twice = set(0.0, &[("s", &[[0.0, 0.0]]), ("s", &[[0.0, 0.0]])]);
        assert!(refused(unit(), one(), twice).contains("two bags are called s"));
        let mut nowhere = one();
        nowhere.bags.coords = None;
        assert!(refused(unit(), nowhere, one()).contains("have no coordinates"));
        let mut narrow = one();
        (narrow.bags.width, narrow.bags.features) = (1, Features::F32(vec![1.0]));
        assert!(refused(Fusion { join: Join::Add(0.25), ..unit() }, one(), narrow.clone()).contains("width 2"));
        assert_eq!(unit().fuse(&one(), &narrow).unwrap().set.bags.width, 3);
    }
}
