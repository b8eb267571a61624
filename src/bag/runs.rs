//! Rows that stand together.

use std::ops::Range;

/// Runs of consecutive numbers in `rows`, which ascend, counted from `start`.
pub(crate) fn runs(rows: &[usize], start: usize) -> Vec<Range<usize>> {
    rows.chunk_by(|a, b| a + 1 == *b).map(|run| start + run[0]..start + run[run.len() - 1] + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_runs() {
        assert_eq!(runs(&[0, 1, 2, 5, 7, 8], 10), [10..13, 15..16, 17..19]);
        assert_eq!(runs(&[3, 5], 0), [3..4, 5..6]);
        assert_eq!(runs(&[], 4), []);
    }
}
