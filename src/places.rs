//! Distances between places.

/// The smallest distance between two different places, the larger of those along x and y; `None` where all are one.
pub(crate) fn closest(places: &[[f64; 2]]) -> Option<f64> {
    let mut sorted = places.to_vec();
    sorted.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    sorted.dedup();
    let between = |a: &[f64; 2], b: &[f64; 2]| (a[0] - b[0]).abs().max((a[1] - b[1]).abs());
    // Neighbours in one column bound the distance, so that few columns are within reach.
    let mut least = sorted.windows(2).map(|w| between(&w[0], &w[1])).fold(f64::INFINITY, f64::min);
    // Places to the left within reach, by y; those that are out of reach leave.
    let mut near = std::collections::BTreeSet::new();
    let mut first = 0;
    let key = |c: f64| (c + 0.0).to_bits() as i64;
    let ordered = |c: f64| key(c) ^ (((key(c) >> 63) as u64) >> 1) as i64;
    for (at, place) in sorted.iter().enumerate() {
        while place[0] - sorted[first][0] >= least {
            near.remove(&(ordered(sorted[first][1]), first));
            first += 1;
        }
        let (low, high) = (ordered(place[1] - least), ordered(place[1] + least));
        for &(_, other) in near.range((low, 0)..=(high, usize::MAX)) {
            least = least.min(between(place, &sorted[other]));
        }
        near.insert((ordered(place[1]), at));
    }
    (least.is_finite() && least > 0.0).then_some(least)
}
