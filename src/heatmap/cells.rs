//! The squares that a map is made of: where they are and how large.

use crate::error::{Error, Result};
use crate::places::closest;

/// Squares on a plane, one for each instance: its place is the corner with the smallest x and y.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells {
    corners: Vec<[f64; 2]>,
    side: f64,
    deduced: bool,
}

/// Places beyond this are none: their differences would lose what tells neighbours apart.
const FARTHEST: f64 = 1e15;

impl Cells {
    /// Squares at `places` with this `side`, in one unit. Without a side it is the smallest distance between two places,
    /// along x or along y, whichever is larger: the largest squares of which no two overlap. A single place has a side of 1.
    ///
    /// # Errors
    /// [`Error::Bags`] without a place, for one that is not finite or beyond 1e15, and for a side that is no length.
    ///
    /// ```
    /// # use bagrad::heatmap::Cells;
    /// let cells = Cells::new(&[[0.0, 0.0], [512.0, 0.0], [512.0, 1024.0]], None)?;
    /// assert_eq!((cells.side(), cells.is_deduced()), (512.0, true));
    /// # Ok::<(), bagrad::Error>(())
    /// ```
    pub fn new(places: &[[f32; 2]], side: Option<f64>) -> Result<Self> {
        let corners: Vec<[f64; 2]> = places.iter().map(|place| place.map(f64::from)).collect();
        if corners.is_empty() {
            return Err(Error::bags("a map needs at least one place"));
        }
        let beyond = |c: &f64| !c.is_finite() || c.abs() > FARTHEST;
        if let Some(at) = corners.iter().position(|place| place.iter().any(beyond)) {
            let [x, y] = corners[at];
            let message = format!("instance {at} is at x = {x}, y = {y}; a map has places of up to {FARTHEST:e}");
            return Err(Error::bags(message));
        }
        if let Some(side) = side.filter(|side| !(side.is_finite() && *side > 0.0 && *side <= FARTHEST)) {
            return Err(Error::setting("patch-size", format!("expected a length above 0, found {side}")));
        }
        let deduced = side.is_none();
        let side = side.or_else(|| closest(&corners)).unwrap_or(1.0);
        Ok(Self { corners, side, deduced })
    }

    /// Number of squares.
    pub fn len(&self) -> usize {
        self.corners.len()
    }

    /// Never: there is at least one.
    pub fn is_empty(&self) -> bool {
        self.corners.is_empty()
    }

    /// Side of a square.
    pub fn side(&self) -> f64 {
        self.side
    }

    /// True where the side was not given.
    pub fn is_deduced(&self) -> bool {
        self.deduced
    }

    /// The corners with the smallest x and y.
    pub fn corners(&self) -> &[[f64; 2]] {
        &self.corners
    }

    /// The same squares in another unit, of which one is `length` of the present.
    pub fn in_unit_of(&self, length: f64) -> Self {
        let corners = self.corners.iter().map(|place| place.map(|c| c / length)).collect();
        Self { corners, side: self.side / length, deduced: self.deduced }
    }

    /// The smallest rectangle around all squares: smallest x and y, largest x and y.
    pub fn extent(&self) -> [[f64; 2]; 2] {
        let start = [[f64::INFINITY; 2], [f64::NEG_INFINITY; 2]];
        self.corners.iter().fold(start, |[low, high], place| {
            [[0, 1].map(|axis| low[axis].min(place[axis])), [0, 1].map(|axis| high[axis].max(place[axis] + self.side))]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn the_side_is_the_smallest_spacing() {
        let cells = |places: &[[f32; 2]]| Cells::new(places, None).unwrap();
        assert_eq!(cells(&[[0.0, 0.0], [0.0, 256.0], [512.0, 0.0]]).side(), 256.0);
        // Twice at one place, as slides in two passes have it, is no distance.
        assert_eq!(cells(&[[-100.0, 5.0], [-100.0, 5.0], [-76.0, 5.0]]).side(), 24.0);
        assert_eq!(cells(&[[7.0, 7.0]]).side(), 1.0);
        assert_eq!(cells(&[[7.0, 7.0]; 3]).side(), 1.0);
        let given = Cells::new(&[[0.0, 0.0]], Some(512.0)).unwrap();
        assert_eq!((given.side(), given.is_deduced()), (512.0, false));
    }

    #[test]
    fn the_smallest_spacing_is_that_of_all_pairs() {
        let mut random = Random::new(3, 0);
        for round in 0..30 {
            let place =
                |random: &mut Random| (random.below(400) as f32 - 200.0) / if round % 2 == 0 { 1.0 } else { 8.0 };
            let places: Vec<[f32; 2]> = (0..25).map(|_| [place(&mut random), place(&mut random)]).collect();
            let pairs = places.iter().flat_map(|a| places.iter().map(move |b| (a, b)));
            let distances = pairs.map(|(a, b)| (a[0] - b[0]).abs().max((a[1] - b[1]).abs()));
            let least = distances.filter(|&d| d > 0.0).fold(f32::INFINITY, f32::min);
            assert_eq!(Cells::new(&places, None).unwrap().side(), f64::from(least), "{places:?}");
        }
    }

    #[test]
    fn extents_hold_negative_and_large_places() {
        let cells = Cells::new(&[[-512.0, 1e9], [512.0, -4.0]], Some(512.0)).unwrap();
        assert_eq!(cells.extent(), [[-512.0, -4.0], [1024.0, 1e9 + 512.0]]);
        assert_eq!(cells.in_unit_of(0.5).extent()[1], [2048.0, 2e9 + 1024.0]);
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for bad in [f32::NAN, f32::INFINITY, 1e30, -1e16] {
            let message = Cells::new(&[[0.0, 0.0], [0.0, bad]], None).unwrap_err().to_string();
            assert!(message.contains("instance 1"), "{message}");
        }
        assert!(Cells::new(&[], None).is_err());
        for side in [0.0, -1.0, f64::NAN] {
            assert!(Cells::new(&[[0.0, 0.0]], Some(side)).unwrap_err().to_string().contains("patch-size"));
        }
    }
}
