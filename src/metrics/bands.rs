//! Where a curve may lie as well, by resampling of what was drawn together.

use super::ranking::roc_curve;
use super::resampling::{Resamples, interval};
use crate::normal::TWO_SIDED_95;

/// Places along the axis of false positive rates that [`roc_band`] tells of.
const PLACES: usize = 101;

/// The ROC curve's 95 % intervals at single false positive rates: (false positive rate, least and largest true positive rate),
/// percentiles over the samples of groups (the group of each bag; see [`Resamples`]). They hold for each rate by itself, not
/// for the curve as a whole. Samples without a bag of either kind are left out; `None` where they are more than a tenth, and
/// where [`roc_curve`] is.
pub fn roc_band(
    scores: &[f32],
    positive: &[bool],
    groups: &[String],
    samples: usize,
    seed: u64,
) -> Option<Vec<[f64; 3]>> {
    roc_curve(scores, positive)?;
    if groups.len() != scores.len() {
        return None;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let resamples = Resamples::of(groups, samples, seed);
    let curves: Vec<Option<Vec<f64>>> =
        resamples.counts().iter().map(|counts| rates_of(&order, scores, positive, counts)).collect();
    let place = |at: usize| {
        let rates: Vec<Option<f64>> = curves.iter().map(|rates| rates.as_ref().map(|rates| rates[at])).collect();
        let [low, high] = interval(&rates)?;
        Some([at as f64 / (PLACES - 1) as f64, low, high])
    };
    (0..PLACES).map(place).collect()
}

/// The true positive rate at each place, where bag b counts `counts[b]` times: the highest there is at a false positive rate,
/// on straight lines between the points of the curve.
fn rates_of(order: &[usize], scores: &[f32], positive: &[bool], counts: &[u32]) -> Option<Vec<f64>> {
    let mut totals = [0u64; 2];
    order.iter().for_each(|&bag| totals[usize::from(positive[bag])] += u64::from(counts[bag]));
    if totals.contains(&0) {
        return None;
    }
    let share = |count: u64, of: usize| count as f64 / totals[of] as f64;
    let (mut seen, mut before, mut rates) = ([0u64; 2], (0.0, 0.0), Vec::with_capacity(PLACES));
    for ties in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        ties.iter().for_each(|&bag| seen[usize::from(positive[bag])] += u64::from(counts[bag]));
        let here = (share(seen[0], 0), share(seen[1], 1));
        // Places that this stretch goes past; one at its end may rise further.
        while rates.len() < PLACES {
            let place = rates.len() as f64 / (PLACES - 1) as f64;
            if place >= here.0 {
                break;
            }
            rates.push(before.1 + (here.1 - before.1) * (place - before.0) / (here.0 - before.0));
        }
        before = here;
    }
    rates.resize(PLACES, 1.0);
    Some(rates)
}

/// The 95 % interval of a share, `found` of `of`, by Wilson (1927); it stays within 0 and 1. `None` of none.
pub fn share_interval(found: f64, of: usize) -> Option<[f64; 2]> {
    let (n, z) = ((of > 0).then_some(of as f64)?, TWO_SIDED_95);
    let p = found / n;
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    Some([(middle - half).max(0.0), (middle + half).min(1.0)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn drawn(n: usize, seed: u64) -> (Vec<f32>, Vec<bool>, Vec<String>) {
        let mut random = Random::new(seed, 0);
        // Few values, so that there are ties; three bags a group.
        let positive: Vec<bool> = (0..n).map(|_| random.below(2) == 1).collect();
        let scores = positive.iter().map(|&of| (random.below(20) + usize::from(of) * 6) as f32).collect();
        (scores, positive, (0..n).map(|bag| format!("patient {}", bag / 3)).collect())
    }

    /// The highest true positive rate at `place` on the curve's straight lines.
    fn on_curve(curve: &[(f64, f64)], place: f64) -> f64 {
        let across = |of: &[(f64, f64)]| {
            let [(x0, y0), (x1, y1)] = [of[0], of[1]];
            match (x0 <= place && place <= x1, x1 > x0) {
                (true, true) => y0 + (y1 - y0) * (place - x0) / (x1 - x0),
                (true, false) => y1,
                (false, _) => 0.0,
            }
        };
        curve.windows(2).map(across).fold(0.0, f64::max)
    }

    #[test]
    fn rates_are_those_of_the_curve_of_bags_that_stand_there_as_often_as_they_count() {
        for seed in 0..20 {
            let (scores, positive, _) = drawn(31, seed);
            let mut random = Random::new(seed, 1);
            let counts: Vec<u32> = (0..31).map(|_| random.below(3) as u32).collect();
            let often: Vec<usize> = (0..31).flat_map(|bag| vec![bag; counts[bag] as usize]).collect();
            let told = |bag: &usize| (scores[*bag], positive[*bag]);
            let (many, of): (Vec<f32>, Vec<bool>) = often.iter().map(told).unzip();
            let curve = roc_curve(&many, &of).unwrap();
            let mut order: Vec<usize> = (0..31).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            for (at, rate) in rates_of(&order, &scores, &positive, &counts).unwrap().into_iter().enumerate() {
                let wanted = on_curve(&curve, at as f64 / 100.0);
                assert!((rate - wanted).abs() < 1e-12, "seed {seed}, place {at}: {rate}, not {wanted}");
            }
        }
    }

    #[test]
    fn a_band_holds_the_curve_and_is_wider_for_groups() {
        let (scores, positive, groups) = drawn(120, 3);
        let curve = roc_curve(&scores, &positive).unwrap();
        let band = roc_band(&scores, &positive, &groups, 400, 1).unwrap();
        assert_eq!((band.len(), band[0][0], band[100]), (101, 0.0, [1.0; 3]));
        for [place, low, high] in &band {
            let rate = on_curve(&curve, *place);
            assert!(*low <= rate + 1e-12 && rate <= *high + 1e-12, "{place}: {rate} is not within {low} to {high}");
        }
        assert_eq!(band, roc_band(&scores, &positive, &groups, 400, 1).unwrap());
        // Each bag thrice as three bags of one patient tells nothing new; as three patients it seems to.
        let thrice = |each: &dyn Fn(usize, usize) -> String| {
            let bags = || (0..120).flat_map(|bag| [0, 1, 2].map(|copy| (bag, copy)));
            let scores: Vec<f32> = bags().map(|(bag, _)| scores[bag]).collect();
            let positive: Vec<bool> = bags().map(|(bag, _)| positive[bag]).collect();
            let groups: Vec<String> = bags().map(|(bag, copy)| each(bag, copy)).collect();
            let band = roc_band(&scores, &positive, &groups, 400, 1).unwrap();
            band.iter().map(|[_, low, high]| high - low).sum::<f64>()
        };
        let [together, apart] = [thrice(&|bag, _| bag.to_string()), thrice(&|bag, copy| format!("{bag}-{copy}"))];
        assert!(together > 1.4 * apart, "{together} against {apart}");
    }

    #[test]
    fn there_is_no_band_of_one_kind_or_of_what_does_not_fit() {
        let groups: Vec<String> = ["a", "b"].map(str::to_owned).to_vec();
        assert_eq!(roc_band(&[0.1, 0.2], &[true, true], &groups, 100, 1), None);
        assert_eq!(roc_band(&[0.1, f32::NAN], &[true, false], &groups, 100, 1), None);
        assert_eq!(roc_band(&[0.1, 0.2], &[true, false], &groups[..1], 100, 1), None);
        // One bag of each kind: half of the samples have one kind alone.
        assert_eq!(roc_band(&[0.1, 0.2], &[true, false], &groups, 100, 1), None);
    }

    #[test]
    fn wilsons_interval_is_that_of_the_literature() {
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        for (found, of, low, high) in [
            (81.0, 263, 0.2553, 0.3662),
            (15.0, 148, 0.0624, 0.1605),
            (0.0, 20, 0.0, 0.1611),
            (1.0, 29, 0.0061, 0.1718),
        ] {
            let [a, b] = share_interval(found, of).unwrap();
            assert!((a - low).abs() < 5e-5 && (b - high).abs() < 5e-5, "{found} of {of}: {a} to {b}");
        }
        assert_eq!(share_interval(0.0, 0), None);
        assert_eq!(share_interval(3.0, 3).unwrap()[1], 1.0);
    }
}
