//! Embedders of images: what stands before the pooling when an instance is a picture.

use super::checks::check_picture;
use super::layers::Network;
use crate::error::{Error, Result};
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
    /// The same with fewer channels, and dropout inside.
    LenetSmall,
}

/// Settings of methods that embed pictures, for people.
pub const HELP: &[(&str, &str)] = &[
    ("embedder", "what embeds an instance: dense (the layers of embed), or lenet or lenet-small in their place"),
    ("image", "height, width and channels of the pictures that lenet and lenet-small read"),
];

/// Channels that the two convolutions write, and the width of the embedding.
#[derive(Clone, Copy)]
struct Sizes {
    channels: [u32; 2],
    width: u32,
}

/// That of Attention MIL for MNIST-bags.
const LENET: Sizes = Sizes { channels: [20, 50], width: 500 };
/// That of DAS-MIL for its collages.
const LENET_SMALL: Sizes = Sizes { channels: [10, 20], width: 32 };

impl Embedder {
    /// Records the embedder of pictures of `[height, width, channels]`, one channel after the other; `None` when
    /// the layers are dense, which are the method's own. `dropout` acts in the small one alone: in front of its last
    /// layer, and a fifth of it on the channels of its first convolution.
    ///
    /// # Errors
    /// [`Error::Setting`] when the picture is too small or is not what the features hold, or for a bad dropout rate.
    pub fn record(self, net: &mut Network, picture: [u32; 3], dropout: f32) -> Result<Option<ValueId>> {
        Ok(match self {
            Embedder::Dense => None,
            Embedder::Lenet => Some(lenet(net, picture, LENET, 0.0)?),
            Embedder::LenetSmall => Some(lenet(net, picture, LENET_SMALL, dropout)?),
        })
    }

    /// The embeddings of the instances, whatever makes them, with dropout behind them or inside.
    ///
    /// # Errors
    /// As [`Embedder::record`], and [`Error::Setting`] for a layer of width 0.
    pub fn embeddings(self, net: &mut Network, picture: [u32; 3], widths: &[u32], dropout: f32) -> Result<ValueId> {
        let h = self.or_dense(net, picture, widths, dropout)?;
        net.dropout(h, self.dropout_behind(dropout))
    }

    /// [`Embedder::record`], or the last of the layers of these widths; of none the features themselves.
    pub(super) fn or_dense(
        self,
        net: &mut Network,
        picture: [u32; 3],
        widths: &[u32],
        dropout: f32,
    ) -> Result<ValueId> {
        let features = net.features;
        Ok(match self.record(net, picture, dropout)? {
            Some(h) => h,
            None => *net.embed(features, widths)?.last().unwrap_or(&features),
        })
    }

    /// The dropout that a method puts behind the embedding: none where it acts inside.
    pub fn dropout_behind(self, dropout: f32) -> f32 {
        if self == Embedder::LenetSmall { 0.0 } else { dropout }
    }
}

/// The dropout of the channels is this part of that in front of the last layer: 0.1 and 0.5 in DAS-MIL.
const OF_CHANNELS: f32 = 0.2;

/// Twice a convolution of 5 x 5, the largest of 2 x 2, ReLU; then a fully connected layer with ReLU.
///
/// ReLU comes after the pool, which picks the same values from a quarter as many.
fn lenet(net: &mut Network, picture: [u32; 3], sizes: Sizes, dropout: f32) -> Result<ValueId> {
    let [height, width, channels] = picture;
    let mut h = net.features;
    check_picture(picture, net.tape.cols(h))?;
    let mut image = Image::new(channels, height, width);
    for (i, channels) in sizes.channels.into_iter().enumerate() {
        let too_small = || Error::setting("image", format!("{height} x {width} is too small: 16 x 16 is the least"));
        let conv = Conv2d { from: image, channels, window: Window::valid(5, 1) };
        let pool = MaxPool { from: conv.to().ok_or_else(too_small)?, window: Window::valid(2, 2) };
        let [w, b] = net.weights(&format!("embed.conv{i}"), image.channels * 25, channels);
        h = net.tape.push1(conv, &[h, w, b])?;
        image = pool.to().ok_or_else(too_small)?;
        h = net.tape.push1(pool, &[h])?;
        h = net.tape.push1(Activate(Activation::Relu), &[h])?;
        if i == 0 {
            h = net.channel_dropout(h, dropout * OF_CHANNELS, image.height * image.width)?;
        }
    }
    h = net.dropout(h, dropout)?;
    net.linear("embed.fc", h, sizes.width, Activation::Relu)
}
