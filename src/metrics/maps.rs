//! How faithful maps of instances are: where key instances stand in them, and what the bag loses with what they point at
//! (Early and others 2024).

/// NDCG@n of one bag: how much of the first n places of the order by `scores` key instances take, n their number, places
/// further up counting more: the sum of 1 / log2(i + 2) over those at place i (from 0), over that of all n places.
///
/// Of equal scores the earlier instance comes first. `None` without key instances, with a NaN, or for lengths that do
/// not fit.
///
/// ```
/// # use bagrad::metrics::ndcg;
/// assert_eq!(ndcg(&[0.9, 0.1, 0.8], &[true, false, true]), Some(1.0));
/// assert_eq!(ndcg(&[0.9, 0.1, 0.8], &[false, true, false]), Some(0.0));
/// ```
pub fn ndcg(scores: &[f32], key: &[bool]) -> Option<f64> {
    if scores.len() != key.len() || scores.iter().any(|s| s.is_nan()) {
        return None;
    }
    let gain = |place: usize| 1.0 / ((place + 2) as f64).log2();
    let count = key.iter().filter(|k| **k).count();
    let found = descending(scores).into_iter().take(count).enumerate();
    let found: f64 = found.filter(|(_, row)| key[*row]).map(|(place, _)| gain(place)).sum();
    let all: f64 = (0..count).map(gain).sum();
    (count > 0).then(|| found / all)
}

/// Rows from the largest score down; of equal ones the earlier first.
pub fn descending(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}

/// Removals after the whole bag.
const REMOVALS: usize = 10;
/// Each takes another share of the bag away: one of so many.
const SHARES: usize = 20;

/// The area over the perturbation curve of one bag: the mean, over no removal and ten, of what the logit has lost when the first 0, 5,
/// .. 50 % of the rows in `order` are taken away, rounded down to whole rows.
///
/// `logit` is asked eleven times, for the rows that are left, in their order, the whole bag first.
///
/// # Errors
/// What `logit` returns.
pub fn aopc<E>(order: &[usize], mut logit: impl FnMut(&[usize]) -> Result<f64, E>) -> Result<f64, E> {
    let mut whole = 0.0;
    let mut lost = 0.0;
    for removal in 0..=REMOVALS {
        let mut left = order[order.len() * removal / SHARES..].to_vec();
        left.sort_unstable();
        let found = logit(&left)?;
        if removal == 0 {
            whole = found;
        }
        lost += whole - found;
    }
    Ok(lost / (REMOVALS + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn gains_by_hand() {
        let gain = [1.0, 1.0 / 3f64.log2(), 0.5];
        // Places 0 and 2 of the order 3, 0, 2, 1; three places count.
        let found = ndcg(&[0.7, 0.1, 0.5, 0.9], &[false, true, true, true]).unwrap();
        assert!((found - (gain[0] + gain[2]) / (gain[0] + gain[1] + gain[2])).abs() < 1e-15);
        // Equal scores: the earlier first.
        assert_eq!(ndcg(&[0.5, 0.5], &[true, false]), Some(1.0));
        assert_eq!(ndcg(&[0.5, 0.5], &[false, true]), Some(0.0));
        assert_eq!([ndcg(&[0.5], &[false]), ndcg(&[f32::NAN], &[true]), ndcg(&[0.5], &[])], [None; 3]);
    }

    #[test]
    fn areas_by_hand() {
        // A logit that is the number of rows left of 20, and one that row 7 alone makes.
        let order: Vec<usize> = (0..20).rev().collect();
        let found = aopc(&order, |left| Ok::<_, Infallible>(left.len() as f64)).unwrap();
        assert!((found - (0..=10).sum::<usize>() as f64 / 11.0).abs() < 1e-12);
        let of_row = |left: &[usize]| Ok::<_, Infallible>(f64::from(left.contains(&7)));
        assert_eq!(aopc(&order, of_row).unwrap(), 0.0, "row 7 is the thirteenth to go");
        let mut first: Vec<usize> = (0..20).collect();
        first.swap(0, 7);
        assert!((aopc(&first, of_row).unwrap() - 10.0 / 11.0).abs() < 1e-12);
        // What is left is in the order of the bag, and of one row nothing goes.
        aopc(&order, |left| Ok::<_, Infallible>(f64::from(left.is_sorted()) - 1.0))
            .map(|a| assert_eq!(a, 0.0))
            .unwrap();
        assert_eq!(aopc(&[0], |left| Ok::<_, Infallible>(left.len() as f64)).unwrap(), 0.0);
        assert_eq!(aopc(&[0], |_| Err("no")), Err("no"));
    }
}
