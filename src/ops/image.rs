//! Pools, padding and up-sampling of images, one a row (see [`super::conv::Image`]).

use super::conv::{Image, Window};
use super::{Locality, Rule, expect};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::image as k;
use crate::kernels::launch::{Count, Grid, Word};
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};
use serde::{Deserialize, Serialize};

/// An invocation for each value of an image in every row of `x`.
fn each(p: &Planner, x: ValueId, values: u32) -> Grid {
    Grid::line(Count::per(p.rows(x), values, LANES))
}

fn planes(p: &Planner, x: ValueId, image: &Image) -> Word {
    Word::Times(p.rows(x), image.channels)
}

/// Largest value of each window. Input: images `[R, C H W]`. Outputs: images `[R, C OH OW]` and the position
/// in its channel of each. Padding counts as lower than everything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxPool {
    /// The images read.
    pub from: Image,
    /// The window.
    pub window: Window,
}

impl MaxPool {
    /// The images written; `None` when the window does not fit.
    pub fn to(&self) -> Option<Image> {
        let [height, width] = self.window.places(&self.from)?;
        Some(Image::new(self.from.channels, height, width))
    }

    fn words(&self, p: &Planner, x: ValueId, accumulate: bool) -> [Word; 11] {
        let to = self.to().expect("shapes were checked");
        [
            planes(p, x, &self.from),
            self.from.height.into(),
            self.from.width.into(),
            to.height.into(),
            to.width.into(),
            self.window.size[0].into(),
            self.window.size[1].into(),
            self.window.stride.into(),
            self.window.pad[0].into(),
            self.window.pad[1].into(),
            accumulate.into(),
        ]
    }
}

impl Rule for MaxPool {
    fn name(&self) -> &'static str {
        "max-pool"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let fits = inputs.len() == 1 && inputs[0].shape.cols == self.from.len();
        let to = self.to().filter(|to| fits && !to.is_empty());
        expect(to.is_some(), self.name(), &format!("{:?} with {:?} inside", self.from, self.window), inputs)?;
        let shape = Shape::new(inputs[0].shape.rows, to.map_or(0, |to| to.len()));
        Ok(vec![(shape, Storage::F32), (shape, Storage::U32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let operands = [x.into(), node.outputs[0].into(), node.outputs[1].into()];
        let grid = each(p, x, p.cols(node.outputs[0]));
        p.launch(&k::MAX_POOL, &operands, &self.words(p, x, false), grid);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let Some(g) = p.upstream(node.outputs[0]) else { return };
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let grid = each(p, g, self.from.len());
        p.launch(&k::MAX_POOL_GRAD, &[g.into(), node.outputs[1].into(), to], &self.words(p, g, accumulate), grid);
    }
}

/// Mean of each channel over its positions. Input: images `[R, channels * P]`. Output: `[R, channels]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelMean {
    /// Channels.
    pub channels: u32,
}

impl Rule for ChannelMean {
    fn name(&self) -> &'static str {
        "channel mean"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 1 && self.channels > 0 && inputs[0].shape.cols.is_multiple_of(self.channels);
        expect(ok, self.name(), &format!("images of {} channels", self.channels), inputs)?;
        Ok(vec![(Shape::new(inputs[0].shape.rows, self.channels), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let words = [Word::Times(p.rows(x), self.channels), (p.cols(x) / self.channels).into(), 0u32.into()];
        let grid = each(p, x, self.channels);
        p.launch(&k::PLANE_MEAN, &[x.into(), node.outputs[0].into()], &words, grid);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let cols = p.cols(node.inputs[0]);
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let words = [Word::Times(p.rows(g), self.channels), (cols / self.channels).into(), accumulate.into()];
        p.launch(&k::PLANE_MEAN_GRAD, &[g.into(), to], &words, each(p, g, cols));
    }
}

/// Every value `factor` by `factor` times (nearest-neighbour up-sampling).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Upsample {
    /// The images read.
    pub from: Image,
    /// Times larger.
    pub factor: u32,
}

impl Upsample {
    /// The images written.
    pub fn to(&self) -> Image {
        Image::new(self.from.channels, self.from.height * self.factor, self.from.width * self.factor)
    }

    fn words(&self, p: &Planner, x: ValueId, accumulate: bool) -> [Word; 5] {
        let Image { height, width, .. } = self.from;
        [planes(p, x, &self.from), height.into(), width.into(), self.factor.into(), accumulate.into()]
    }
}

impl Rule for Upsample {
    fn name(&self) -> &'static str {
        "up-sample"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 1 && inputs[0].shape.cols == self.from.len() && !self.to().is_empty();
        expect(ok, self.name(), &format!("{:?}", self.from), inputs)?;
        Ok(vec![(Shape::new(inputs[0].shape.rows, self.to().len()), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let grid = each(p, x, self.to().len());
        p.launch(&k::UPSAMPLE, &[x.into(), node.outputs[0].into()], &self.words(p, x, false), grid);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let grid = each(p, g, self.from.len());
        p.launch(&k::UPSAMPLE_GRAD, &[g.into(), to], &self.words(p, g, accumulate), grid);
    }
}

/// What a border is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Border {
    /// Zeros.
    #[default]
    Zero,
    /// The nearest value of the image.
    Edge,
}

/// A border around images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pad {
    /// The images read.
    pub from: Image,
    /// Lines above and below, columns left and right.
    pub border: [u32; 4],
    /// What it is made of.
    pub with: Border,
}

impl Pad {
    /// The border that keeps the length of series under a convolution of `size` with stride 1; an even size
    /// has the longer side on the right.
    pub fn same(channels: u32, length: u32, size: u32, with: Border) -> Self {
        let left = size.saturating_sub(1) / 2;
        let right = size.saturating_sub(1) - left;
        Self { from: Image::new(channels, 1, length), border: [0, 0, left, right], with }
    }

    /// The images written.
    pub fn to(&self) -> Image {
        let Image { channels, height, width } = self.from;
        let [above, below, left, right] = self.border;
        Image::new(channels, above + height + below, left + width + right)
    }

    fn words(&self, p: &Planner, x: ValueId, accumulate: bool) -> [Word; 9] {
        let to = self.to();
        [
            planes(p, x, &self.from),
            self.from.height.into(),
            self.from.width.into(),
            to.height.into(),
            to.width.into(),
            self.border[0].into(),
            self.border[2].into(),
            (self.with == Border::Edge).into(),
            accumulate.into(),
        ]
    }
}

impl Rule for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 1 && inputs[0].shape.cols == self.from.len() && !self.from.is_empty();
        expect(ok, self.name(), &format!("{:?}", self.from), inputs)?;
        Ok(vec![(Shape::new(inputs[0].shape.rows, self.to().len()), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let grid = each(p, x, self.to().len());
        p.launch(&k::PAD, &[x.into(), node.outputs[0].into()], &self.words(p, x, false), grid);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let grid = each(p, g, self.from.len());
        p.launch(&k::PAD_GRAD, &[g.into(), to], &self.words(p, g, accumulate), grid);
    }
}
