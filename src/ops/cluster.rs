//! The two steps of K-means (Lloyd 1982): rows go to the nearest centroid, centroids become the means of their rows.
//! No gradient passes. [`crate::kmeans`] puts them together.

use super::{Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::cluster as k;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid};
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Storage, Value};

/// Rows added up by one invocation before the parts are combined.
const CHUNK: u32 = 256;

/// The nearest centroid of each row, of equals the first. Inputs: x `[R, C]`, centroids `[K, C]`. Outputs: clusters
/// `[R, 1]` (indices), squared distances `[R, 1]`, rows of each cluster `[K, 1]` (indices).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClusterAssign {
    /// Each cluster without a row, in their order, takes the row that is farthest from its own centroid (of equals the
    /// first) out of those whose cluster has others; its distance becomes 0. With at least as many rows as clusters
    /// none is left empty.
    pub fill: bool,
}

impl Rule for ClusterAssign {
    fn name(&self) -> &'static str {
        "cluster assignment"
    }
    fn passes_gradient(&self) -> bool {
        false
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 2
            && inputs[1].shape.cols == inputs[0].shape.cols
            && matches!(inputs[1].shape.rows, Dim::Fixed(n) if n > 0);
        expect(ok, self.name(), "x [R, C] and centroids [K, C]", inputs)?;
        let rows = Shape::new(inputs[0].shape.rows, 1);
        let clusters = Shape::new(inputs[1].shape.rows, 1);
        Ok(vec![(rows, Storage::U32), (rows, Storage::F32), (clusters, Storage::U32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, centroids) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
        let [nearest, distances, counts] = node.outputs[..] else { unreachable!() };
        let (rows, clusters) = (p.rows(x), p.rows(centroids));
        let words = [rows.into(), p.cols(x).into(), clusters.into()];
        let operands = [x.into(), centroids.into(), nearest.into(), distances.into()];
        p.launch(&k::CLUSTER_ASSIGN, &operands, &words, Grid::line(Count::per(rows, 1, LANES)));
        let words = [rows.into(), clusters.into()];
        p.launch(&k::CLUSTER_COUNT, &[nearest.into(), counts.into()], &words, Grid::line(Count::each(clusters)));
        if self.fill {
            let one = Grid::line(Count::each(Dim::Fixed(1)));
            p.launch(&k::CLUSTER_FILL, &[nearest.into(), distances.into(), counts.into()], &words, one);
        }
    }
    fn backward(&self, _: &mut Planner, _: Io) {}
}

/// The mean of the rows of each cluster. Inputs: x `[R, C]`, clusters `[R, 1]` and their counts `[K, 1]` from
/// [`ClusterAssign`], and what stands for clusters without rows, `[K, C]`. Output `[K, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClusterMeans;

impl Rule for ClusterMeans {
    fn name(&self) -> &'static str {
        "means of clusters"
    }
    fn passes_gradient(&self) -> bool {
        false
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = match inputs {
            [x, nearest, counts, before] => {
                let index = |v: &Value, rows: Dim| v.storage == Storage::U32 && v.shape == Shape::new(rows, 1);
                // Rows that can be counted in chunks.
                matches!(x.shape.rows, Dim::Fixed(_) | Dim::Instances | Dim::Bags | Dim::Tiles)
                    && index(nearest, x.shape.rows)
                    && index(counts, before.shape.rows)
                    && before.shape.cols == x.shape.cols
                    && matches!(before.shape.rows, Dim::Fixed(n) if n > 0)
            }
            _ => false,
        };
        expect(ok, self.name(), "x [R, C], clusters [R, 1], counts [K, 1], and what stood before, [K, C]", inputs)?;
        Ok(vec![(inputs[3].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, nearest, counts) = (p.dense(node.inputs[0]), node.inputs[1], node.inputs[2]);
        let before = p.dense(node.inputs[3]);
        let (rows, cols) = (p.rows(x), p.cols(x));
        let Dim::Fixed(clusters) = p.rows(before) else { unreachable!("checked with the shapes") };
        let words = [rows.into(), cols.into(), clusters.into(), CHUNK.into()];
        let chunks = rows.chunks(CHUNK);
        let (parts, sums) = (p.temp(chunks, clusters * cols), p.temp(Dim::Fixed(1), clusters * cols));
        let grid = Grid::plane(Count::each(chunks), Count::per(Dim::Fixed(cols), 1, LANES));
        p.launch(&k::CLUSTER_PART, &[x.into(), nearest.into(), parts.into()], &words, grid);
        reduce::add_rows(p, parts, 0, clusters * cols, 1.0, GradTarget { to: sums.into(), accumulate: false });
        let grid = Grid::line(Count::per(Dim::Fixed(clusters), cols, LANES));
        p.launch(&k::CLUSTER_MEAN, &[sums.into(), counts.into(), before.into(), node.outputs[0].into()], &words, grid);
    }
    fn backward(&self, _: &mut Planner, _: Io) {}
}
