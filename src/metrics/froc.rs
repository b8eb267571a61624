//! How well lesions are found on slides: the free-response ROC curve as the Camelyon16 challenge has it (Ehteshami Bejnordi and
//! others, "Diagnostic assessment of deep learning algorithms for detection of lymph node metastases in women with breast
//! cancer", JAMA 318, 2017).

use crate::places::closest;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// False positives a slide at which the sensitivity is read off.
pub const FALSE_POSITIVES: [f64; 6] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0];

/// A place that was said to be in a lesion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// How sure that was said.
    pub score: f32,
    /// The lesion of the slide that the place is in, below [`SlideDetections::lesions`]; `None` for a false positive.
    pub lesion: Option<usize>,
}

/// What was found on a slide.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SlideDetections {
    /// The detections, in any order.
    pub detections: Vec<Detection>,
    /// How many lesions there are to be found; none on a slide without a tumour.
    pub lesions: usize,
}

/// The free-response ROC curve in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Froc {
    /// The mean of the sensitivities.
    pub score: f64,
    /// The share of lesions that are found at each of [`FALSE_POSITIVES`].
    pub sensitivity: [f64; 6],
    /// Lesions.
    pub lesions: usize,
    /// Slides, those without a lesion among them.
    pub slides: usize,
    /// The curve: false positives a slide and share of lesions found, from (0, 0) on, a point for each score from the largest down.
    #[serde(skip)]
    pub curve: Vec<(f64, f64)>,
}

/// The curve of some slides. A lesion is found from the largest score of the detections in it on; further ones in it count
/// nothing. A detection in no lesion is a false positive, on whatever slide. Sensitivities between two points of the curve are on
/// the line between them, beyond the last they are its.
///
/// `None` without a lesion, where a score is NaN, and for a lesion that the slide does not have.
///
/// ```
/// # use bagrad::metrics::{Detection, SlideDetections, froc};
/// let found = |score, lesion| Detection { score, lesion };
/// let tumour = SlideDetections { detections: vec![found(0.9, Some(0)), found(0.8, None), found(0.3, Some(1))], lesions: 2 };
/// let normal = SlideDetections { detections: vec![found(0.5, None)], lesions: 0 };
/// let froc = froc(&[tumour, normal]).unwrap();
/// assert_eq!(froc.sensitivity, [0.5, 0.5, 1.0, 1.0, 1.0, 1.0]);
/// ```
pub fn froc(slides: &[SlideDetections]) -> Option<Froc> {
    let lesions: usize = slides.iter().map(|slide| slide.lesions).sum();
    // Each score, and whether it is that of a false positive or of a lesion that is found.
    let mut all: Vec<(f32, bool)> = Vec::new();
    for slide in slides {
        let mut best: Vec<Option<f32>> = vec![None; slide.lesions];
        for &Detection { score, lesion } in &slide.detections {
            match lesion {
                _ if score.is_nan() => return None,
                None => all.push((score, false)),
                Some(lesion) => {
                    let best = best.get_mut(lesion)?;
                    *best = Some(best.map_or(score, |best| best.max(score)));
                }
            }
        }
        all.extend(best.into_iter().flatten().map(|score| (score, true)));
    }
    if lesions == 0 {
        return None;
    }
    all.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut wrong, mut right) = (0usize, 0usize);
    let mut curve = vec![(0.0, 0.0)];
    for equal in all.chunk_by(|a, b| a.0 == b.0) {
        let hits = equal.iter().filter(|(_, hit)| *hit).count();
        (wrong, right) = (wrong + equal.len() - hits, right + hits);
        curve.push((wrong as f64 / slides.len() as f64, right as f64 / lesions as f64));
    }
    let sensitivity = FALSE_POSITIVES.map(|at| read_off(&curve, at));
    let score = sensitivity.iter().sum::<f64>() / sensitivity.len() as f64;
    Some(Froc { score, sensitivity, lesions, slides: slides.len(), curve })
}

/// The sensitivity at some false positives a slide.
fn read_off(curve: &[(f64, f64)], at: f64) -> f64 {
    // The first point is at 0.
    let after = curve.partition_point(|point| point.0 <= at);
    let (from, sensitivity) = curve[after - 1];
    curve.get(after).map_or(sensitivity, |(to, next)| sensitivity + (next - sensitivity) * (at - from) / (to - from))
}

impl SlideDetections {
    /// Those of a list of places and their scores, of which `lesion_at` tells the lesion, as a mask of the slide does; `lesions` are on
    /// it.
    ///
    /// ```
    /// # use bagrad::metrics::{SlideDetections, froc};
    /// // A lesion left of x = 100.
    /// let found = SlideDetections::of_places(&[([40.0, 7.0], 0.9), ([300.0, 7.0], 0.2)], 1, |[x, _]| (x < 100.0).then_some(0));
    /// assert_eq!(froc(&[found]).map(|froc| froc.score), Some(1.0));
    /// ```
    pub fn of_places(
        detections: &[([f32; 2], f32)],
        lesions: usize,
        lesion_at: impl Fn([f32; 2]) -> Option<usize>,
    ) -> Self {
        let of = |&(place, score): &([f32; 2], f32)| Detection { score, lesion: lesion_at(place) };
        Self { detections: detections.iter().map(of).collect(), lesions }
    }

    /// Those of a slide of tiles, by the score of each, whether it is a key instance, and its place.
    ///
    /// Neighbours are tiles whose places are less than one and a half steps apart along x and along y: on a grid the eight around a
    /// tile. The step is the smallest distance of two different places, the larger of those along x and y, or `side`, the side of
    /// a tile, where that is smaller.
    ///
    /// Lesions are key tiles that are connected as neighbours. Detections are the local maxima of the scores: tiles without a
    /// neighbour of a larger score. Connected tiles of one score are one detection, at the first of them. A detection is in
    /// the lesion that its tile belongs to.
    ///
    /// `None` where lengths do not fit, a score is NaN or a place is not finite.
    pub fn of_tiles(scores: &[f32], key: &[bool], places: &[[f32; 2]], side: Option<f64>) -> Option<Self> {
        let fits = scores.len() == key.len() && scores.len() == places.len();
        if !fits || scores.iter().any(|s| s.is_nan()) || places.as_flattened().iter().any(|c| !c.is_finite()) {
            return None;
        }
        let tiles = Tiles::new(places, side);
        let lesions = tiles.connected(|tile| key[tile], |_, _| true);
        let level = tiles.connected(|_| true, |a, b| scores[a] == scores[b]);
        let mut is_largest = vec![true; level.iter().flatten().max().map_or(0, |last| last + 1)];
        for (tile, level) in level.iter().enumerate() {
            let higher = tiles.neighbours(tile).any(|other| scores[other] > scores[tile]);
            level.iter().filter(|_| higher).for_each(|&level| is_largest[level] = false);
        }
        let mut detections = Vec::new();
        for (tile, level) in level.iter().enumerate() {
            // At the first tile of its level, once.
            if level.is_some_and(|level| std::mem::take(&mut is_largest[level])) {
                detections.push(Detection { score: scores[tile], lesion: lesions[tile] });
            }
        }
        Some(Self { detections, lesions: lesions.iter().flatten().max().map_or(0, |last| last + 1) })
    }
}

/// Tiles by where they are.
struct Tiles {
    places: Vec<[f64; 2]>,
    /// Neighbours are nearer than this.
    reach: f64,
    /// Tiles in squares of that side.
    squares: HashMap<[i64; 2], Vec<usize>>,
}

impl Tiles {
    fn new(places: &[[f32; 2]], side: Option<f64>) -> Self {
        let places: Vec<[f64; 2]> = places.iter().map(|place| place.map(f64::from)).collect();
        let side = side.filter(|side| side.is_finite() && *side > 0.0);
        let step = [closest(&places), side].into_iter().flatten().reduce(f64::min).unwrap_or(1.0);
        let reach = 1.5 * step;
        let mut squares: HashMap<[i64; 2], Vec<usize>> = HashMap::new();
        for (tile, place) in places.iter().enumerate() {
            squares.entry(square(place, reach)).or_default().push(tile);
        }
        Self { places, reach, squares }
    }

    fn neighbours(&self, tile: usize) -> impl Iterator<Item = usize> {
        let place = self.places[tile];
        let [column, row] = square(&place, self.reach);
        let around = (-1..=1).flat_map(move |x| (-1..=1).map(move |y| [column.wrapping_add(x), row.wrapping_add(y)]));
        let inside = around.filter_map(|square| self.squares.get(&square)).flatten().copied();
        let near = move |other: &usize| (0..2).all(|axis| (self.places[*other][axis] - place[axis]).abs() < self.reach);
        inside.filter(move |&other| other != tile).filter(near)
    }

    /// The number of the set of connected tiles that each is in: neighbours that are `members` and `alike`. `None` for no member.
    fn connected(&self, members: impl Fn(usize) -> bool, alike: impl Fn(usize, usize) -> bool) -> Vec<Option<usize>> {
        let mut sets = vec![None; self.places.len()];
        let mut count = 0;
        for first in 0..sets.len() {
            if sets[first].is_some() || !members(first) {
                continue;
            }
            sets[first] = Some(count);
            let mut open = vec![first];
            while let Some(tile) = open.pop() {
                for other in self.neighbours(tile) {
                    if sets[other].is_none() && members(other) && alike(tile, other) {
                        sets[other] = Some(count);
                        open.push(other);
                    }
                }
            }
            count += 1;
        }
        sets
    }
}

fn square(place: &[f64; 2], side: f64) -> [i64; 2] {
    place.map(|c| (c / side).floor() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn floats(of: &Value) -> Vec<f32> {
        of.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
    }

    /// Against the definition in another program (`tools/make_fixtures_froc.py`).
    #[test]
    fn curves_and_detections_are_those_of_another_program() {
        let file: Value = serde_json::from_str(include_str!("../../tests/metrics/froc.json")).unwrap();
        let cases = file["cases"].as_array().unwrap();
        assert!(cases.len() >= 6);
        for (n, case) in cases.iter().enumerate() {
            let of_slide = |slide: &Value| {
                let pairs = slide["detections"].as_array().unwrap().iter();
                let detections = pairs.map(|of| Detection {
                    score: of[0].as_f64().unwrap() as f32,
                    lesion: of[1].as_u64().map(|lesion| lesion as usize),
                });
                let wanted = SlideDetections {
                    detections: detections.collect(),
                    lesions: slide["lesions"].as_u64().unwrap() as usize,
                };
                if let Some(places) = slide.get("places") {
                    let places: Vec<[f32; 2]> = floats(places).chunks(2).map(|of| [of[0], of[1]]).collect();
                    let key: Vec<bool> = floats(&slide["key"]).iter().map(|key| *key == 1.0).collect();
                    let scores = floats(&slide["scores"]);
                    let found = SlideDetections::of_tiles(&scores, &key, &places, slide["side"].as_f64());
                    assert_eq!(found.as_ref(), Some(&wanted), "case {n}");
                }
                wanted
            };
            let slides: Vec<SlideDetections> = case["slides"].as_array().unwrap().iter().map(of_slide).collect();
            let found = froc(&slides);
            let Some(wanted) = case["froc"].as_object() else {
                assert_eq!(found, None, "case {n}");
                continue;
            };
            let found = found.unwrap();
            assert_eq!(Value::from(found.lesions), wanted["lesions"]);
            let close = |a: f64, b: &Value| (a - b.as_f64().unwrap()).abs() < 1e-12;
            assert!(close(found.score, &wanted["score"]), "case {n}: {found:?}, {wanted:?}");
            let each = found.sensitivity.iter().zip(wanted["sensitivity"].as_array().unwrap());
            assert!(each.clone().count() == 6 && each.clone().all(|(a, b)| close(*a, b)), "case {n}: {found:?}");
            let curve = wanted["curve"].as_array().unwrap();
            let same = |(a, b): (&(f64, f64), &Value)| close(a.0, &b[0]) && close(a.1, &b[1]);
            assert!(found.curve.len() == curve.len() && found.curve.iter().zip(curve).all(same), "case {n}");
        }
    }

    #[test]
    fn tiles_by_hand() {
        // Two lesions that touch by no corner, one of them across a corner; a plateau of two tiles is one detection.
        let places = [[0.0, 0.0], [10.0, 10.0], [20.0, 0.0], [30.0, 0.0], [40.0, 0.0], [90.0, 0.0]];
        let key = [true, true, false, false, true, false];
        let found = SlideDetections::of_tiles(&[0.2, 0.9, 0.9, 0.1, 0.5, 0.3], &key, &places, None).unwrap();
        let wanted = [(0.9, Some(0)), (0.5, Some(1)), (0.3, None)].map(|(score, lesion)| Detection { score, lesion });
        assert_eq!(found, SlideDetections { detections: wanted.to_vec(), lesions: 2 });
        // The larger of one score counts, and what is smaller than a tile is a step.
        let coarse = SlideDetections::of_tiles(&[1.0, 2.0], &[true, true], &[[0.0, 0.0], [20.0, 0.0]], None).unwrap();
        let fine = SlideDetections::of_tiles(&[1.0, 2.0], &[true, true], &[[0.0, 0.0], [20.0, 0.0]], Some(10.0));
        assert_eq!((coarse.lesions, coarse.detections.len()), (1, 1));
        assert_eq!(fine.map(|of| (of.lesions, of.detections.len())), Some((2, 2)));
        assert_eq!(SlideDetections::of_tiles(&[], &[], &[], None), Some(SlideDetections::default()));
    }

    #[test]
    fn undefined_is_none() {
        let one = |score: f32, lesion, lesions| {
            froc(&[SlideDetections { detections: vec![Detection { score, lesion }], lesions }])
        };
        assert!(one(0.5, Some(0), 1).is_some_and(|found| found.score == 1.0));
        assert!(one(0.5, None, 1).is_some_and(|found| found.score == 0.0));
        assert_eq!(
            [one(0.5, None, 0), one(0.5, Some(1), 1), one(f32::NAN, None, 1), froc(&[])],
            [None, None, None, None]
        );
        let tiles = |scores: &[f32], place: f32| SlideDetections::of_tiles(scores, &[true], &[[place, 0.0]], None);
        assert_eq!([tiles(&[f32::NAN], 0.0), tiles(&[0.5], f32::NAN), tiles(&[], 0.0)], [None, None, None]);
    }
}
