//! Embedders of images: what stands before the pooling when an instance is a picture.

use super::layers::Network;
use crate::error::{Error, Result};
use crate::ops::Op;
use crate::ops::conv::{Conv2d, Image, Window};
use crate::ops::image::MaxPool;
use crate::ops::pointwise::{Activate, Activation};
use crate::tape::ValueId;
use serde::{Deserialize, Serialize};

/// What turns an instance into an embedding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Embedder {
    /// Fully connected layers.
    #[default]
    Dense,
    /// Two convolutions and a fully connected layer, for small pictures.
    Lenet,
}

/// Channels that LeNet's convolutions write.
const CHANNELS: [u32; 2] = [20, 50];
/// Width of its embedding.
const WIDTH: u32 = 500;

/// Twice a convolution of 5 x 5, the largest of 2 x 2, ReLU; then a fully connected layer with ReLU. The
/// features of an instance are a picture of `[height, width, channels]`, one channel after the other.
///
/// ReLU comes after the pool, which picks the same values from a quarter as many.
///
/// # Errors
/// [`Error::Setting`] when the picture is too small, or is not what the features hold.
pub fn lenet(net: &mut Network, x: ValueId, picture: [u32; 3]) -> Result<ValueId> {
    let [height, width, channels] = picture;
    let values = picture.iter().map(|&v| v as u64).product::<u64>();
    let features = net.tape.cols(x);
    if values != features as u64 {
        let message = format!("a picture of {height} x {width} x {channels} has {values} values, not {features}");
        return Err(Error::setting("image", message));
    }
    let mut image = Image::new(channels, height, width);
    let mut h = x;
    for (i, channels) in CHANNELS.into_iter().enumerate() {
        let too_small = || Error::setting("image", format!("{height} x {width} is too small: 16 x 16 is the least"));
        let conv = Conv2d { from: image, channels, window: Window::valid(5, 1) };
        let pool = MaxPool { from: conv.to().ok_or_else(too_small)?, window: Window::valid(2, 2) };
        let [w, b] = net.weights(&format!("embed.conv{i}"), image.channels * 25, channels);
        h = net.tape.push1(Op::Conv2d(conv), &[h, w, b])?;
        image = pool.to().ok_or_else(too_small)?;
        h = net.tape.push1(Op::MaxPool(pool), &[h])?;
        h = net.tape.push1(Op::Activate(Activate(Activation::Relu)), &[h])?;
    }
    net.linear("embed.fc", h, WIDTH, Activation::Relu)
}
