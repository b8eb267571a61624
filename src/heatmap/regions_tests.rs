use super::*;
use crate::random::Random;

fn of_squares(places: &[[f32; 2]], side: f64) -> Vec<Region> {
    let cells = Cells::new(places, Some(side)).unwrap();
    regions(&cells, &(0..places.len()).collect::<Vec<_>>())
}

/// Squares of side 1 where a picture has an `x`.
fn of_picture(rows: &[&str]) -> Vec<Region> {
    let row = |(y, row): (usize, &&str)| {
        let at = row.bytes().enumerate().filter(|(_, c)| *c == b'x').map(move |(x, _)| [x as f32, y as f32]);
        at.collect::<Vec<_>>()
    };
    of_squares(&rows.iter().enumerate().flat_map(row).collect::<Vec<_>>(), 1.0)
}

fn area(region: &Region) -> f64 {
    region.rings.iter().map(|ring| turn(ring)).sum::<f64>() / 2.0
}

/// True for a point within the outline and no hole.
fn contains(region: &Region, [x, y]: [f64; 2]) -> bool {
    let crossings = |ring: &Vec<[f64; 2]>| {
        ring.windows(2).filter(|w| (w[0][1] > y) != (w[1][1] > y) && w[0][0].max(w[1][0]) > x).count()
    };
    region.rings.iter().map(crossings).sum::<usize>() % 2 == 1
}

/// What every polygon has to be.
fn check(region: &Region) {
    assert!(turn(&region.rings[0]) > 0.0, "{region:?}");
    for (at, ring) in region.rings.iter().enumerate() {
        assert!(ring.len() >= 5 && ring[0] == ring[ring.len() - 1], "{ring:?}");
        assert!((turn(ring) > 0.0) == (at == 0), "one outline: {region:?}");
        let points: std::collections::BTreeSet<_> = ring[1..].iter().map(|p| p.map(f64::to_bits)).collect();
        assert_eq!(points.len(), ring.len() - 1, "a point twice: {ring:?}");
        // Corners alone, edges along the axes in turn.
        for three in ring.windows(3) {
            let upright = |a: [f64; 2], b: [f64; 2]| a[0] == b[0];
            assert_ne!(upright(three[0], three[1]), upright(three[1], three[2]), "{ring:?}");
        }
    }
}

#[test]
fn a_ring_of_cells_has_a_hole() {
    let found = of_picture(&["xxx", "x.x", "xxx"]);
    assert_eq!(found.len(), 1);
    let outline = [[0.0, 0.0], [3.0, 0.0], [3.0, 3.0], [0.0, 3.0], [0.0, 0.0]];
    assert_eq!(found[0].rings[0], outline);
    assert_eq!((found[0].rings.len(), area(&found[0])), (2, 8.0));
    found.iter().for_each(check);
}

#[test]
fn corners_that_touch_part_regions_and_holes() {
    let found = of_picture(&["x.", ".x"]);
    assert_eq!(found.len(), 2);
    // The ends of a hook touch: what is inside is a hole that touches the outline.
    let found = of_picture(&["xxx", "x.x", "xx.", "x.."]);
    found.iter().for_each(check);
    assert_eq!((found.len(), found[0].rings.len(), area(&found[0])), (1, 2, 8.0));
    // Two holes touch in a corner.
    let found = of_picture(&["xxxx", "x.xx", "xx.x", "xxxx"]);
    found.iter().for_each(check);
    assert_eq!((found.len(), found[0].rings.len(), area(&found[0])), (1, 3, 14.0));
    assert!(of_squares(&[[0.0, 0.0]; 4], 1.0)[0].cells == [0, 1, 2, 3]);
    assert!(regions(&Cells::new(&[[0.0, 0.0]], None).unwrap(), &[]).is_empty());
}

#[test]
fn cells_off_the_grid_are_merged_where_they_overlap() {
    let found = of_squares(&[[0.0, 0.0], [1.5, 1.0], [3.5, 0.0]], 2.0);
    assert_eq!(found.len(), 1);
    check(&found[0]);
    // 3 times 4, less 0.5 x 1 twice, nothing with the last, which it touches along a side.
    assert_eq!((area(&found[0]), found[0].cells.len()), (11.5, 3));
    // Steps that float32 does not have exactly leave no gaps.
    let step = 256.0f32 / 3.0;
    let row: Vec<[f32; 2]> = (0..100).map(|i| [i as f32 * step, 1e5]).collect();
    let found = of_squares(&row, f64::from(step));
    assert_eq!((found.len(), found[0].rings[0].len()), (1, 5));
}

/// Area and connection by counting, and every point on the right side.
#[test]
fn regions_are_those_of_a_picture_filled_by_hand() {
    let mut random = Random::new(5, 0);
    for round in 0..60 {
        let (size, side) = (12usize, 1 + round % 3);
        let places: Vec<[f32; 2]> =
            (0..10 + random.below(50)).map(|_| [random.below(size) as f32, random.below(size) as f32]).collect();
        let wide = size + side;
        let mut filled = vec![false; wide * wide];
        for [x, y] in &places {
            (0..side * side).for_each(|n| filled[(*y as usize + n / side) * wide + *x as usize + n % side] = true);
        }
        let found = of_squares(&places, side as f64);
        found.iter().for_each(check);
        let total: f64 = found.iter().map(area).sum();
        assert_eq!(total, filled.iter().filter(|&&f| f).count() as f64);
        for (at, &inside) in filled.iter().enumerate() {
            let middle = [(at % wide) as f64 + 0.5, (at / wide) as f64 + 0.5];
            assert_eq!(found.iter().filter(|r| contains(r, middle)).count(), usize::from(inside), "{middle:?}");
        }
        // Connected along sides.
        let mut seen = vec![false; wide * wide];
        let mut count = 0;
        for start in 0..wide * wide {
            let mut next = vec![start];
            count += usize::from(filled[start] && !seen[start]);
            while let Some(at) = next.pop() {
                if filled[at] && !std::mem::replace(&mut seen[at], true) {
                    let (x, y) = (at % wide, at / wide);
                    next.extend((x > 0).then(|| at - 1).into_iter().chain((x + 1 < wide).then_some(at + 1)));
                    next.extend((y > 0).then(|| at - wide).into_iter().chain((y + 1 < wide).then_some(at + wide)));
                }
            }
        }
        assert_eq!(found.len(), count);
        assert_eq!(found.iter().map(|r| r.cells.len()).sum::<usize>(), places.len());
    }
}
