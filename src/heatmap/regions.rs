//! Cells merged to the regions that they cover: polygons with holes.
//!
//! The union is made in horizontal strips between the tops and bottoms of cells. In a strip what is covered is a row of
//! intervals; two strips are connected where intervals overlap. So cells need not be on a grid, and may overlap.

use super::cells::Cells;
use std::collections::{BTreeMap, HashMap};

/// A connected part of the plane that cells cover. Parts that touch in a corner alone are two.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// The outline, and a ring for each hole. The first point of a ring is the last again. With y upwards, outlines go
    /// against the clock and holes with it, as RFC 7946 has it.
    pub rings: Vec<Vec<[f64; 2]>>,
    /// The cells in it, ascending.
    pub cells: Vec<usize>,
}

/// A place on the plane by the numbers of its lines.
type Point = (u32, u32);

/// Distances below this share of a side are none: places in float32 need not meet exactly.
const SLACK: f64 = 1e-3;

/// Different values along an axis, ascending.
struct Lines(Vec<f64>);

impl Lines {
    fn new(values: impl Iterator<Item = f64>, slack: f64) -> Self {
        let mut all: Vec<f64> = values.collect();
        all.sort_by(f64::total_cmp);
        all.dedup_by(|next, kept| *next - *kept <= slack);
        Self(all)
    }

    /// The last that is not beyond `value`, which is it within the slack.
    fn at(&self, value: f64) -> u32 {
        self.0.partition_point(|&line| line <= value).saturating_sub(1) as u32
    }
}

/// What is covered of a strip: intervals that neither overlap nor touch, each with its number.
type Strip = Vec<(u32, u32, usize)>;

/// Which intervals are of one region.
#[derive(Default)]
struct Parts(Vec<usize>);

impl Parts {
    fn add(&mut self) -> usize {
        self.0.push(self.0.len());
        self.0.len() - 1
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

/// The regions that the cells of `chosen` cover, those with the most cells first.
///
/// ```
/// # use bagrad::heatmap::{Cells, regions};
/// let cells = Cells::new(&[[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]], Some(1.0))?;
/// let found = regions(&cells, &[0, 1, 2]);
/// assert_eq!(found[0].rings, [[[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0], [0.0, 0.0]]]);
/// assert_eq!((found.len(), &found[1].cells[..]), (2, &[2][..]));
/// # Ok::<(), bagrad::Error>(())
/// ```
pub fn regions(cells: &Cells, chosen: &[usize]) -> Vec<Region> {
    let (corners, side) = (cells.corners(), cells.side());
    let slack = side * SLACK;
    let lines =
        |axis: usize| Lines::new(chosen.iter().flat_map(|&c| [corners[c][axis], corners[c][axis] + side]), slack);
    let (columns, rows) = (lines(0), lines(1));
    // Cells by the line they begin at, and where they end.
    let mut begins: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let mut ends: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for &cell in chosen {
        begins.entry(rows.at(corners[cell][1])).or_default().push(cell);
        ends.entry(rows.at(corners[cell][1] + side)).or_default().push(cell);
    }
    // How many cells of the present strip have these columns.
    let mut active: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    let span = |cell: usize| (columns.at(corners[cell][0]), columns.at(corners[cell][0] + side));
    let mut parts = Parts::default();
    let mut part_of = vec![usize::MAX; corners.len()];
    let mut edges = Edges::default();
    let mut before: Strip = Vec::new();
    for row in 0..rows.0.len() as u32 {
        for &cell in ends.get(&row).into_iter().flatten() {
            let count = active.get_mut(&span(cell)).expect("a cell that ends has begun");
            *count -= 1;
            if *count == 0 {
                active.remove(&span(cell));
            }
        }
        let new = begins.get(&row).map_or(&[][..], |new| new);
        new.iter().for_each(|&cell| *active.entry(span(cell)).or_insert(0) += 1);
        let mut strip: Strip = Vec::new();
        for &(left, right) in active.keys() {
            match strip.last_mut() {
                Some((_, end, _)) if left <= *end => *end = right.max(*end),
                _ => strip.push((left, right, parts.add())),
            }
        }
        connect(&before, &strip, &mut parts);
        for &cell in new {
            let at = strip.partition_point(|&(left, ..)| left <= span(cell).0) - 1;
            part_of[cell] = strip[at].2;
        }
        edges.between(row, &before, &strip);
        before = strip;
    }
    let mut found: HashMap<usize, Region> = HashMap::new();
    for (ring, part) in edges.rings() {
        let region = found.entry(parts.root(part)).or_insert(Region { rings: Vec::new(), cells: Vec::new() });
        let point = |&(x, y): &Point| [columns.0[x as usize], rows.0[y as usize]];
        let ring: Vec<[f64; 2]> = ring.iter().map(point).collect();
        // The outline goes first.
        let at = if turn(&ring) > 0.0 { 0 } else { region.rings.len() };
        region.rings.insert(at, ring);
    }
    for &cell in chosen {
        if let Some(region) = found.get_mut(&parts.root(part_of[cell])) {
            region.cells.push(cell);
        }
    }
    let mut all: Vec<Region> = found.into_values().collect();
    all.iter_mut().for_each(|region| region.cells.sort_unstable());
    all.sort_by_key(|region| (std::cmp::Reverse(region.cells.len()), region.cells.first().copied()));
    all
}

/// Joins intervals of two strips that overlap.
fn connect(before: &Strip, strip: &Strip, parts: &mut Parts) {
    let (mut a, mut b) = (0, 0);
    while a < before.len() && b < strip.len() {
        let ((left, right, of), (start, end, part)) = (before[a], strip[b]);
        if left.max(start) < right.min(end) {
            parts.join(of, part);
        }
        if right <= end { a += 1 } else { b += 1 }
    }
}

/// Twice the area within a ring: above 0 where it goes against the clock, with y upwards.
fn turn(ring: &[[f64; 2]]) -> f64 {
    let [x, y] = ring[0];
    ring.windows(2).map(|w| (w[0][0] - x) * (w[1][1] - y) - (w[1][0] - x) * (w[0][1] - y)).sum()
}

/// Edges between what is covered and what is not. What is covered lies to the left of each, with y upwards.
#[derive(Default)]
struct Edges {
    /// From a point to others, of which there are at most two, with the part of the covered side.
    from: HashMap<Point, Vec<(Point, usize)>>,
    /// Vertical edges that are not over: their column, whether they go up (the covered side ends there), where they begin.
    open: BTreeMap<(u32, bool), (u32, usize)>,
}

impl Edges {
    fn add(&mut self, from: Point, to: Point, part: usize) {
        self.from.entry(from).or_default().push((to, part));
    }

    /// The edges along line `row`, between a strip and the next, and the vertical edges that end there.
    fn between(&mut self, row: u32, before: &Strip, strip: &Strip) {
        let sides = |strip: &Strip| -> BTreeMap<(u32, bool), usize> {
            strip.iter().flat_map(|&(left, right, part)| [((left, false), part), ((right, true), part)]).collect()
        };
        let (old, new) = (sides(before), sides(strip));
        for (&(column, up), _) in old.iter().filter(|(side, _)| !new.contains_key(side)) {
            let (begin, part) = self.open.remove(&(column, up)).expect("a side that ends has begun");
            match up {
                true => self.add((column, begin), (column, row), part),
                false => self.add((column, row), (column, begin), part),
            }
        }
        for (&side, &part) in new.iter().filter(|(side, _)| !old.contains_key(side)) {
            self.open.insert(side, (row, part));
        }
        // Along the line: what is covered on one side alone, from change to change.
        let mut stops: Vec<u32> = old.keys().chain(new.keys()).map(|&(column, _)| column).collect();
        stops.sort_unstable();
        stops.dedup();
        let (mut a, mut b) = (0, 0);
        let mut run: Option<(u32, u32, bool, usize)> = None;
        for pair in stops.windows(2) {
            let (left, right) = (pair[0], pair[1]);
            let covers = |strip: &Strip, at: &mut usize| {
                while strip.get(*at).is_some_and(|&(_, end, _)| end <= left) {
                    *at += 1;
                }
                strip.get(*at).filter(|&&(start, ..)| start <= left).map(|&(.., part)| part)
            };
            let here = match (covers(before, &mut a), covers(strip, &mut b)) {
                (None, Some(part)) => Some((true, part)),
                (Some(part), None) => Some((false, part)),
                _ => None,
            };
            run = match (run, here) {
                // One side of one interval goes on.
                (Some((begin, end, above, of)), Some((now, part))) if end == left && above == now && of == part => {
                    Some((begin, right, above, of))
                }
                (done, here) => {
                    self.along(row, done);
                    here.map(|(above, part)| (left, right, above, part))
                }
            };
        }
        self.along(row, run);
    }

    fn along(&mut self, row: u32, run: Option<(u32, u32, bool, usize)>) {
        match run {
            Some((left, right, true, part)) => self.add((left, row), (right, row), part),
            Some((left, right, false, part)) => self.add((right, row), (left, row), part),
            None => {}
        }
    }

    /// Rings without a point twice but the first, each with a part that it is of.
    fn rings(mut self) -> Vec<(Vec<Point>, usize)> {
        let mut starts: Vec<Point> = self.from.keys().copied().collect();
        starts.sort_unstable();
        let mut rings = Vec::new();
        for start in starts {
            while self.from.get(&start).is_some_and(|to| !to.is_empty()) {
                self.walk(start, &mut rings);
            }
        }
        rings.iter_mut().for_each(|(ring, _)| straighten(ring));
        rings
    }

    fn walk(&mut self, start: Point, rings: &mut Vec<(Vec<Point>, usize)>) {
        let mut path: Vec<(Point, usize)> = Vec::new();
        let mut on_path: HashMap<Point, usize> = HashMap::new();
        let (mut at, mut came) = (start, None);
        loop {
            // A point that was passed before closes a ring; what came before it goes on.
            if let Some(&first) = on_path.get(&at) {
                let ring: Vec<Point> = path[first..].iter().map(|(point, _)| *point).chain([at]).collect();
                rings.push((ring, path[first].1));
                for (point, _) in path.drain(first..) {
                    on_path.remove(&point);
                }
            }
            let Some(out) = self.from.get_mut(&at).filter(|out| !out.is_empty()) else { return };
            // Two cells meet in this corner: around one's own.
            let way = out.iter().position(|&(to, _)| came.is_some_and(|from| is_left(from, at, to))).unwrap_or(0);
            let (to, part) = out.swap_remove(way);
            on_path.insert(at, path.len());
            path.push((at, part));
            (came, at) = (Some(at), to);
        }
    }
}

/// True when the way from `a` through `b` to `c` turns left, with y upwards.
fn is_left(a: Point, b: Point, c: Point) -> bool {
    let [ax, ay, bx, by, cx, cy] = [a.0, a.1, b.0, b.1, c.0, c.1].map(i64::from);
    (bx - ax) * (cy - by) - (by - ay) * (cx - bx) > 0
}

/// Takes points out that lie on the line between their neighbours.
fn straighten(ring: &mut Vec<Point>) {
    ring.pop();
    let points = ring.len();
    let straight = |a: Point, b: Point, c: Point| (a.0 == b.0 && b.0 == c.0) || (a.1 == b.1 && b.1 == c.1);
    let at = |n: usize| ring[n % points];
    let mut kept: Vec<Point> =
        (0..points).filter(|&n| !straight(at(n + points - 1), at(n), at(n + 1))).map(at).collect();
    kept.extend(kept.first().copied());
    *ring = kept;
}

#[cfg(test)]
#[path = "regions_tests.rs"]
mod tests;
