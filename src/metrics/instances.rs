//! How well instance scores (attention, instance logits) find the key instances.

use super::decisions::mean;
use super::ranking::auc;
use serde::{Deserialize, Serialize};

/// The AUC of instance scores against key instances, in two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InstanceAuc {
    /// Over the instances of all bags together; `None` when all are key or none is. Attention that sums to
    /// one in each bag is smaller in larger bags, which costs here and not in `per_bag`.
    pub pooled: Option<f64>,
    /// Mean of the AUC inside each bag, over the bags that have both kinds; `None` when no bag has.
    pub per_bag: Option<f64>,
    /// How many bags have both kinds.
    pub bags: usize,
}

/// Scores `scores`, one for each instance, against `key`, bag by bag and over all.
///
/// `offsets` are those of [`crate::Bags`]. A bag whose scores hold a NaN has no AUC of its own.
/// Lengths that do not fit give nothing, as bags without key instances do.
pub fn instance_auc(scores: &[f32], key: &[bool], offsets: &[usize]) -> InstanceAuc {
    let fits = offsets.last().copied().unwrap_or(0) == scores.len() && offsets.is_sorted() && key.len() == scores.len();
    if !fits {
        return InstanceAuc::default();
    }
    let each: Vec<f64> = offsets.windows(2).filter_map(|w| auc(&scores[w[0]..w[1]], &key[w[0]..w[1]])).collect();
    InstanceAuc { pooled: auc(scores, key), bags: each.len(), per_bag: mean(each.into_iter()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooled_and_per_bag() {
        // Perfect inside each bag, but the key of the second bag scores below the rest of the first.
        let scores = [0.6, 0.4, 0.3, 0.2, 0.5];
        let key = [true, false, true, false, false];
        let found = instance_auc(&scores, &key, &[0, 2, 4, 5]);
        assert_eq!(found, InstanceAuc { pooled: Some(4.0 / 6.0), per_bag: Some(1.0), bags: 2 });
    }

    #[test]
    fn one_kind_only_is_undefined() {
        assert_eq!(instance_auc(&[0.5, 0.5], &[false, false], &[0, 1, 2]), InstanceAuc::default());
        assert_eq!(instance_auc(&[], &[], &[0]), InstanceAuc::default());
        for offsets in [&[0, 3][..], &[0, 2, 1, 2], &[]] {
            assert_eq!(instance_auc(&[0.9, 0.1], &[true, false], offsets), InstanceAuc::default());
        }
        assert_eq!(instance_auc(&[0.9, 0.1], &[true], &[0, 2]), InstanceAuc::default());
        // Every bag is pure, yet over all bags both kinds occur.
        let pure = instance_auc(&[0.9, 0.1], &[true, false], &[0, 1, 2]);
        assert_eq!((pure.pooled, pure.per_bag, pure.bags), (Some(1.0), None, 0));
    }
}
