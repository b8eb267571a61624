//! Tables whose columns are measures of the same runs: each run is done once for all of them.

use super::kept::Kept;
use super::{Grid, Metrics, Published, Task};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::sync::Arc;

/// The metric that such a table shows: of each column its own.
pub const SHOWN: &str = "shown";

/// A column: its heading and the metric it shows.
pub type Measure = (&'static str, &'static str);

/// Adds a row to `grid` with a column for each of `measures`. `published` are figures by heading.
pub fn row(
    grid: &mut Grid,
    name: &str,
    settings: &Value,
    measures: &[Measure],
    published: impl Fn(&str) -> Option<Published>,
    run: impl Fn(&Task) -> Result<Metrics> + Send + Sync + 'static,
) {
    let run = Arc::new(run);
    let done = Kept::new(usize::MAX);
    for &(heading, metric) in measures {
        let (run, done) = (run.clone(), done.clone());
        let settings = json!({ "run": settings, "measure": metric });
        grid.cell([name, heading], settings, published(heading), move |task| {
            let mut metrics = (*done.get(task.seed, || run(task))?).clone();
            let shown = *metrics.get(metric).with_context(|| format!("{metric} is not defined"))?;
            metrics.insert(SHOWN.into(), shown);
            Ok(metrics)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_run_is_done_once_for_all_columns() {
        let (mut grid, runs) = (Grid::new(SHOWN, ["method", "measure"]), Arc::new(AtomicU32::new(0)));
        let counted = runs.clone();
        let measures = [("A", "a"), ("B", "b"), ("C", "c")];
        row(
            &mut grid,
            "row",
            &json!({}),
            &measures,
            |_| None,
            move |task| {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(Metrics::from([("a".into(), task.seed as f64), ("b".into(), 7.0)]))
            },
        );
        let shown = |cell: usize, seed: u64| {
            let metrics = (grid.cells[cell].run)(&Task { device: &Device::host(), seed, shelf: None, model: None });
            metrics.map(|m| m.metrics[SHOWN])
        };
        assert_eq!([shown(0, 3).unwrap(), shown(1, 3).unwrap(), shown(0, 4).unwrap()], [3.0, 7.0, 4.0]);
        assert!(shown(2, 3).unwrap_err().to_string().contains("c is not defined"));
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }
}
