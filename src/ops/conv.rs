//! Convolutions. A row of a value is one image: channels, then lines, then columns.
//!
//! A one-dimensional convolution is one over images of one line. Padding by edge values, and padding that
//! differs between the sides, is an operation of its own ([`super::image::Pad`]).

use super::{Locality, Rule, expect, norm, reduce};
use crate::error::Result;
use crate::kernels::conv as k;
use crate::kernels::launch::{Count, Dim, Grid, Word, bits};
use crate::planner::{GradTarget, Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// Channels, lines and columns of the images in the rows of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Channels.
    pub channels: u32,
    /// Lines.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

impl Image {
    /// `channels` by `height` by `width`.
    pub fn new(channels: u32, height: u32, width: u32) -> Self {
        Self { channels, height, width }
    }

    /// Values of a channel; at most `u32::MAX`, which no buffer holds.
    pub fn positions(&self) -> u32 {
        self.height.saturating_mul(self.width)
    }

    /// Values of an image; at most `u32::MAX`.
    pub fn len(&self) -> u32 {
        self.channels.saturating_mul(self.positions())
    }

    /// True when there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where a kernel or a window of a pool goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Lines and columns of the kernel.
    pub size: [u32; 2],
    /// Positions from one place to the next, in both directions.
    pub stride: u32,
    /// Zeros around the image: above and below, left and right.
    pub pad: [u32; 2],
}

impl Window {
    /// A square window inside of the image.
    pub fn valid(size: u32, stride: u32) -> Self {
        Self { size: [size, size], stride, pad: [0, 0] }
    }

    /// A square window with zeros around the image.
    pub fn padded(size: u32, stride: u32, pad: u32) -> Self {
        Self { size: [size, size], stride, pad: [pad, pad] }
    }

    /// A window over series, images of one line.
    pub fn line(size: u32, stride: u32, pad: u32) -> Self {
        Self { size: [1, size], stride, pad: [0, pad] }
    }

    /// Lines and columns of places in an image; `None` when there is no place, or a size is 0.
    pub fn places(&self, from: &Image) -> Option<[u32; 2]> {
        let along = |length: u32, size: u32, pad: u32| {
            let room = length.checked_add(pad.checked_mul(2)?)?.checked_sub(size)?;
            (length > 0 && size > 0 && pad < size && self.stride > 0).then(|| room / self.stride + 1)
        };
        Some([along(from.height, self.size[0], self.pad[0])?, along(from.width, self.size[1], self.pad[1])?])
    }

    /// Lines and columns of the image that a transposed convolution writes; the inverse of `places` up to
    /// what the stride cuts off.
    pub fn spread(&self, from: &Image) -> Option<[u32; 2]> {
        let along = |length: u32, size: u32, pad: u32| {
            let whole = length.checked_sub(1)?.checked_mul(self.stride)?.checked_add(size)?;
            whole.checked_sub(pad.checked_mul(2)?).filter(|&l| l > 0 && size > 0 && pad < size && self.stride > 0)
        };
        Some([along(from.height, self.size[0], self.pad[0])?, along(from.width, self.size[1], self.pad[1])?])
    }

    fn area(&self) -> u32 {
        self.size[0] * self.size[1]
    }
}

/// Images of one convolution: the large one is what a plain convolution reads.
#[derive(Clone, Copy)]
struct Pair {
    large: Image,
    small: Image,
    window: Window,
}

impl Pair {
    /// to (+)= the convolution of x with w; from the small image to the large one when `transposed`.
    fn convolve(
        &self,
        p: &mut Planner,
        x: ValueId,
        w: ValueId,
        bias: Option<ValueId>,
        target: GradTarget,
        transposed: bool,
    ) {
        let (from, to) = if transposed { (self.small, self.large) } else { (self.large, self.small) };
        let rows = p.rows(x);
        let flags = bits([(k::ADD, target.accumulate), (k::BIAS, bias.is_some()), (k::TRANSPOSED, transposed)]);
        let words = [
            rows.into(),
            from.channels.into(),
            from.height.into(),
            from.width.into(),
            to.channels.into(),
            to.height.into(),
            to.width.into(),
            self.window.size[0].into(),
            self.window.size[1].into(),
            self.window.stride.into(),
            self.window.pad[0].into(),
            self.window.pad[1].into(),
            flags.into(),
        ];
        let tiles = Count::per(Dim::Fixed(to.channels), 1, k::TILE_CHANNELS);
        let grid = Grid::plane(Count::per(rows, to.positions(), k::TILE_POSITIONS), tiles);
        let bias = bias.unwrap_or(w);
        p.launch(&k::CONV, &[x.into(), w.into(), bias.into(), target.to], &words, grid);
    }

    /// The gradient of the weights: chunks of images in parallel, then added in a fixed order.
    fn weights(&self, p: &mut Planner, small: ValueId, large: ValueId, target: GradTarget) {
        let rows = p.rows(small);
        let chunk = chunk_of(p, rows, 4);
        let (chunks, columns) = (rows.chunks(chunk), self.large.channels * self.window.area());
        let parts = p.temp(chunks, self.small.channels * columns);
        let words = [
            rows.into(),
            self.small.channels.into(),
            self.small.height.into(),
            self.small.width.into(),
            self.large.channels.into(),
            self.large.height.into(),
            self.large.width.into(),
            self.window.size[0].into(),
            self.window.size[1].into(),
            self.window.stride.into(),
            self.window.pad[0].into(),
            self.window.pad[1].into(),
            chunk.into(),
        ];
        let tiles = columns.div_ceil(k::TILE_POSITIONS) * self.small.channels.div_ceil(k::TILE_CHANNELS);
        let grid = Grid::plane(Count::each(chunks), Count::each(Dim::Fixed(tiles)));
        p.launch(&k::CONV_WEIGHTS, &[small.into(), large.into(), parts.into()], &words, grid);
        reduce::add_rows(p, parts, 0, self.small.channels * columns, 1.0, target);
    }
}

/// Images in a chunk: at least `least`, and few enough chunks that their parts stay small.
pub(crate) fn chunk_of(p: &Planner, rows: Dim, least: u32) -> u32 {
    const CHUNKS: u32 = 64;
    rows.of(&p.capacity).div_ceil(CHUNKS).max(least)
}

/// target (+)= the sums over images and positions, channel by channel; a row of x has `images` images side by side.
pub(crate) fn channel_sums(p: &mut Planner, x: ValueId, channels: u32, images: u32, target: GradTarget) {
    let rows = p.rows(x);
    let positions = p.cols(x) / channels / images;
    let chunk = chunk_of(p, rows, 16);
    let parts = p.temp(rows.chunks(chunk), channels);
    let words = [Word::Times(rows, images), channels.into(), positions.into(), (chunk * images).into()];
    let grid = Grid::plane(Count::each(rows.chunks(chunk)), Count::each(Dim::Fixed(channels)));
    p.launch(&k::CHANNEL_SUMS, &[x.into(), parts.into()], &words, grid);
    reduce::add_rows(p, parts, 0, channels, 1.0, target);
}

/// What a convolution and its transpose do alike; the transpose goes from the small image to the large one.
struct Convolution {
    from: Image,
    to: Option<Image>,
    channels: u32,
    window: Window,
    transposed: bool,
}

impl Convolution {
    fn shapes(&self, name: &'static str, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let Convolution { from, channels, window, transposed, .. } = *self;
        let (rows, cols) = if transposed { (from.channels, channels) } else { (channels, from.channels) };
        let weights = Shape::new(Dim::Fixed(rows), cols * window.area());
        let ok = (2..=3).contains(&inputs.len())
            && inputs[0].shape.cols == from.len()
            && inputs[1].shape == weights
            && inputs.get(2).is_none_or(|b| norm::is_row(b, channels));
        let inside = if transposed { "" } else { " inside" };
        let expected = format!("{from:?}, weights {weights} and a bias [1, {channels}], {window:?}{inside}");
        let to = self.to.filter(|to| ok && !to.is_empty());
        expect(to.is_some(), name, &expected, inputs)?;
        Ok(vec![(Shape::new(inputs[0].shape.rows, to.map_or(0, |to| to.len())), Storage::F32)])
    }

    fn pair(&self) -> Pair {
        let to = self.to.expect("shapes were checked");
        let (large, small) = if self.transposed { (to, self.from) } else { (self.from, to) };
        Pair { large, small, window: self.window }
    }

    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let target = GradTarget { to: Operand::Value(node.outputs[0]), accumulate: false };
        self.pair().convolve(p, x, node.inputs[1], node.inputs.get(2).copied(), target, self.transposed);
    }

    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let (x, w) = (node.inputs[0], node.inputs[1]);
        if let Some(target) = p.grad(x) {
            self.pair().convolve(p, g, w, None, target, !self.transposed);
        }
        if let Some(target) = p.grad(w) {
            let x = p.dense(x);
            let (small, large) = if self.transposed { (x, g) } else { (g, x) };
            self.pair().weights(p, small, large, target);
        }
        if let Some(&bias) = node.inputs.get(2)
            && let Some(target) = p.grad(bias)
        {
            channel_sums(p, g, self.channels, 1, target);
        }
    }
}

/// Convolution (without flipping the kernel, as networks have it). Inputs: images `[R, C H W]`, weights
/// `[O, C kh kw]`, optionally bias `[1, O]`. Output: images `[R, O OH OW]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv2d {
    /// The images read.
    pub from: Image,
    /// Channels written.
    pub channels: u32,
    /// The kernel.
    pub window: Window,
}

impl Conv2d {
    /// The images written; `None` when the kernel does not fit.
    pub fn to(&self) -> Option<Image> {
        let [height, width] = self.window.places(&self.from)?;
        Some(Image::new(self.channels, height, width))
    }

    fn convolution(&self) -> Convolution {
        let Self { from, channels, window } = *self;
        Convolution { from, to: self.to(), channels, window, transposed: false }
    }
}

impl Rule for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        self.convolution().shapes(self.name(), inputs)
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        self.convolution().forward(p, node);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        self.convolution().backward(p, node);
    }
}

/// The transpose of a convolution: every value read is spread over a window of the image written. Inputs:
/// images `[R, C H W]`, weights `[C, O kh kw]`, optionally bias `[1, O]`. Output: images `[R, O OH OW]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvTranspose2d {
    /// The images read.
    pub from: Image,
    /// Channels written.
    pub channels: u32,
    /// The kernel; its padding is cut off from what is written.
    pub window: Window,
}

impl ConvTranspose2d {
    /// The images written; `None` when nothing would be left of them.
    pub fn to(&self) -> Option<Image> {
        let [height, width] = self.window.spread(&self.from)?;
        Some(Image::new(self.channels, height, width))
    }

    fn convolution(&self) -> Convolution {
        let Self { from, channels, window } = *self;
        Convolution { from, to: self.to(), channels, window, transposed: true }
    }
}

impl Rule for ConvTranspose2d {
    fn name(&self) -> &'static str {
        "conv-transpose2d"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        self.convolution().shapes(self.name(), inputs)
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        self.convolution().forward(p, node);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        self.convolution().backward(p, node);
    }
}
