//! Measures of numbers and of survival in which a bag counts more or less than once, as in a sample of bags: those of
//! classes are [`super::Ranks`].

use super::NumberScores;

/// Predicted numbers beside the true ones.
pub struct Errors {
    /// Number of the bag, prediction, truth.
    of: Vec<(usize, f64, f64)>,
}

impl Errors {
    /// Of predictions, numbers and the number of each bag, by which [`Errors::r2`] counts it; bags whose number is not known
    /// (NaN) are left out. `None` when lengths do not fit or a prediction is not finite.
    pub fn of(predicted: &[f32], truth: &[f32], bags: &[usize]) -> Option<Self> {
        let fits = predicted.len() == truth.len() && bags.len() == truth.len();
        let known = || bags.iter().zip(predicted.iter().zip(truth)).filter(|(_, (_, y))| !y.is_nan());
        if !fits || known().any(|(_, (p, _))| !p.is_finite()) {
            return None;
        }
        Some(Self { of: known().map(|(&bag, (&p, &y))| (bag, f64::from(p), f64::from(y))).collect() })
    }

    /// [`NumberScores::r2`] where bag b counts `counts[b]` times.
    pub fn r2(&self, counts: &[u32]) -> Option<f64> {
        let (mut count, mut sum) = (0.0, 0.0);
        for &(bag, _, y) in &self.of {
            let n = f64::from(counts[bag]);
            (count, sum) = (count + n, sum + n * y);
        }
        let around = sum / count;
        let (mut spread, mut squares) = (0.0, 0.0);
        for &(bag, p, y) in &self.of {
            let n = f64::from(counts[bag]);
            (spread, squares) = (spread + n * (y - around).powi(2), squares + n * (p - y).powi(2));
        }
        NumberScores::determined(squares, spread)
    }
}

/// Risks beside times and events, in strata: only bags of one stratum are compared, as the risks of models that were trained on
/// different bags have no common zero.
pub struct Concordance {
    strata: Vec<Stratum>,
}

/// The bags of a stratum from the latest time to the earliest; at one time those without an event first, which are
/// compared with the events of that time.
struct Stratum {
    of: Vec<Observed>,
    /// Different risks.
    risks: usize,
}

struct Observed {
    bag: usize,
    /// Place of its risk among the different ones, from the smallest, from 1.
    rank: usize,
    /// Its event came.
    event: bool,
    /// The bag before has another time, or no event.
    opens: bool,
}

impl Concordance {
    /// Of risks, `(times, events)`, the stratum of each bag and its number, by which [`Concordance::c_index`] counts it; bags
    /// whose time is not known (NaN) are left out. `None` when lengths do not fit or a risk is not finite.
    pub fn of(risks: &[f32], (times, events): (&[f32], &[bool]), strata: &[usize], bags: &[usize]) -> Option<Self> {
        let count = risks.len();
        let fits = [times.len(), events.len(), strata.len(), bags.len()].iter().all(|&len| len == count);
        if !fits || risks.iter().zip(times).any(|(risk, time)| !risk.is_finite() && !time.is_nan()) {
            return None;
        }
        let mut names = strata.to_vec();
        names.sort_unstable();
        names.dedup();
        let stratum = |name: usize| {
            let mut of: Vec<usize> = (0..count).filter(|&at| strata[at] == name && !times[at].is_nan()).collect();
            of.sort_by(|&a, &b| times[b].total_cmp(&times[a]).then(events[a].cmp(&events[b])));
            let mut sorted: Vec<f32> = of.iter().map(|&at| risks[at]).collect();
            sorted.sort_unstable_by(f32::total_cmp);
            sorted.dedup();
            let rank = |at: usize| sorted.partition_point(|&risk| risk < risks[at]) + 1;
            let same = |a: usize, b: usize| times[a] == times[b] && events[a] == events[b];
            let one = |(place, &at): (usize, &usize)| Observed {
                bag: bags[at],
                rank: rank(at),
                event: events[at],
                opens: place == 0 || !same(of[place - 1], at),
            };
            Stratum { of: of.iter().enumerate().map(one).collect(), risks: sorted.len() }
        };
        Some(Self { strata: names.into_iter().map(stratum).collect() })
    }

    /// Harrell's concordance index ([`super::c_index`]) over the pairs within strata, where bag b counts `counts[b]` times.
    pub fn c_index(&self, counts: &[u32]) -> Option<f64> {
        let (mut right, mut all) = (0.0, 0.0);
        for stratum in &self.strata {
            // Bags that were without an event for longer, by the place of their risk.
            let mut later = Sums::new(stratum.risks);
            // Events of the time at hand, which are not compared with each other.
            let mut waiting: Vec<(usize, f64)> = Vec::new();
            for observed in &stratum.of {
                if observed.opens {
                    waiting.drain(..).for_each(|(rank, count)| later.add(rank, count));
                }
                let count = f64::from(counts[observed.bag]);
                if count == 0.0 {
                    continue;
                }
                if observed.event {
                    let [below, up_to] = [observed.rank - 1, observed.rank].map(|rank| later.up_to(rank));
                    right += count * 0.5 * (below + up_to);
                    all += count * later.all;
                    waiting.push((observed.rank, count));
                } else {
                    later.add(observed.rank, count);
                }
            }
        }
        (all > 0.0).then(|| right / all)
    }
}

/// Sums over the first of some counts that change (Fenwick 1994). Counts are whole, so sums are exact.
struct Sums {
    tree: Vec<f64>,
    all: f64,
}

impl Sums {
    fn new(len: usize) -> Self {
        Self { tree: vec![0.0; len + 1], all: 0.0 }
    }

    fn add(&mut self, mut at: usize, count: f64) {
        self.all += count;
        while at < self.tree.len() {
            self.tree[at] += count;
            at += at & at.wrapping_neg();
        }
    }

    fn up_to(&self, mut at: usize) -> f64 {
        let mut sum = 0.0;
        while at > 0 {
            sum += self.tree[at];
            at -= at & at.wrapping_neg();
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::super::c_index;
    use super::*;
    use crate::random::Random;

    /// Each bag as often as it counts.
    fn repeated<T: Copy>(values: &[T], counts: &[u32]) -> Vec<T> {
        values.iter().zip(counts).flat_map(|(&value, &count)| vec![value; count as usize]).collect()
    }

    #[test]
    fn counting_a_bag_twice_is_having_it_twice() {
        for seed in 0..40 {
            let mut random = Random::new(seed, 1);
            let count = 1 + random.below(30);
            let counts: Vec<u32> = (0..count).map(|_| random.below(4) as u32).collect();
            // Few values, so that many are tied.
            let mut few = |n: usize| (0..count).map(|_| random.below(n) as f32).collect::<Vec<f32>>();
            let (risks, mut times, flags) = (few(6), few(8), few(3));
            let events: Vec<bool> = flags.iter().map(|flag| *flag > 0.0).collect();
            times[0] = f32::NAN;
            let bags: Vec<usize> = (0..count).collect();

            let whole = Concordance::of(&risks, (&times, &events), &vec![0; count], &bags).unwrap();
            let of = |values: &[f32]| repeated(values, &counts);
            let wanted = c_index(&of(&risks), &of(&times), &repeated(&events, &counts));
            let close = |found: Option<f64>, wanted: Option<f64>| match found.zip(wanted) {
                Some((found, wanted)) => (found - wanted).abs() < 1e-12,
                None => found == wanted,
            };
            let found = whole.c_index(&counts);
            assert!(close(found, wanted), "seed {seed}: {found:?}, {wanted:?}");

            let errors = Errors::of(&risks, &times, &bags).unwrap();
            let wanted = NumberScores::new(&of(&risks), &of(&times)).unwrap().r2;
            let found = errors.r2(&counts);
            assert!(close(found, wanted), "seed {seed}: {found:?}, {wanted:?}");
        }
    }

    #[test]
    fn bags_of_two_strata_are_not_compared() {
        let mut random = Random::new(3, 1);
        let risks: Vec<f32> = (0..40).map(|_| random.normal() as f32).collect();
        let times: Vec<f32> = (0..40).map(|_| random.below(50) as f32).collect();
        let events: Vec<bool> = (0..40).map(|_| random.below(3) > 0).collect();
        let strata: Vec<usize> = (0..40).map(|bag| bag % 3).collect();
        let bags: Vec<usize> = (0..40).collect();
        let found = Concordance::of(&risks, (&times, &events), &strata, &bags).unwrap().c_index(&[1; 40]).unwrap();
        let (mut right, mut all) = (0.0, 0.0);
        for i in (0..40).filter(|&i| events[i]) {
            for j in (0..40).filter(|&j| strata[i] == strata[j]) {
                if times[i] < times[j] || times[i] == times[j] && !events[j] {
                    all += 1.0;
                    right += f64::from(u8::from(risks[i] > risks[j]));
                }
            }
        }
        assert!((found - right / all).abs() < 1e-12);
        // What a model adds to all its risks moves nothing.
        let moved: Vec<f32> = risks.iter().zip(&strata).map(|(risk, &of)| risk + 100.0 * of as f32).collect();
        let again = Concordance::of(&moved, (&times, &events), &strata, &bags).unwrap().c_index(&[1; 40]).unwrap();
        assert!((found - again).abs() < 1e-12);
        assert!(c_index(&moved, &times, &events).unwrap() != c_index(&risks, &times, &events).unwrap());
    }

    #[test]
    fn what_does_not_fit_is_none() {
        assert!(Errors::of(&[1.0], &[1.0, 2.0], &[0, 1]).is_none());
        assert!(Errors::of(&[f32::NAN], &[1.0], &[0]).is_none());
        assert_eq!(Errors::of(&[1.0, 2.0], &[3.0, 3.0], &[0, 1]).unwrap().r2(&[1, 1]), None);
        assert!(Concordance::of(&[f32::INFINITY], (&[1.0], &[true]), &[0], &[0]).is_none());
        let censored = Concordance::of(&[1.0, 2.0], (&[1.0, 2.0], &[false, false]), &[0, 0], &[0, 1]).unwrap();
        assert_eq!(censored.c_index(&[1, 1]), None);
    }
}
