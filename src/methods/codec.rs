//! Encoders of instances and the decoders that mirror them, for methods that reconstruct what they see.

use super::checks::{check_picture, check_widths};
use super::layers::{Activation, Network};
use crate::error::{Error, Result};
use crate::ops::conv::{Conv2d, ConvTranspose2d, Image, Window};
use crate::ops::image::{MaxPool, Upsample};
use crate::tape::{Init, Param, ValueId};
use serde::{Deserialize, Serialize};

/// What makes features of an instance, and an instance of a code again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// Fully connected layers with ReLU.
    #[default]
    Dense,
    /// Strided convolutions with batch norms and a layer of 200, for digits of 28 x 28.
    Mnist,
    /// Three strided convolutions, for coloured digits of 28 x 28.
    ColouredMnist,
    /// Two convolutions with pools, for patches of 27 x 27, or 28 x 28 by a larger first kernel.
    Colon,
}

/// Settings of the codec, for people.
pub(super) const HELP: &[(&str, &str)] = &[
    ("codec", "what encodes and decodes instances: dense (the layers of embed), or mnist, coloured-mnist, colon"),
    ("image", "height, width and channels of the pictures of all codecs but dense"),
    ("embed", "dense codec: widths of the encoder's ReLU layers; the decoder has them in turn"),
    ("channels", "codecs of pictures: channels of the convolutions (mnist: and the last layer); [] for the papers'"),
];

/// An encoder with its decoder.
pub(super) struct Coder<'a> {
    codec: Codec,
    embed: &'a [u32],
    channels: Vec<u32>,
    /// Values of an instance.
    width: u32,
    image: Image,
}

/// Images on the tape.
#[derive(Clone, Copy)]
struct Picture {
    value: ValueId,
    image: Image,
}

/// How a convolution goes on.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Nothing,
    Relu,
    /// Batch norm and ReLU. The norm has the bias.
    NormRelu,
}

fn refused<T>(name: &str, message: String) -> Result<T> {
    Err(Error::setting(name, message))
}

impl<'a> Coder<'a> {
    /// `picture` is height, width and channels; no `channels` are those of the papers.
    ///
    /// # Errors
    /// [`Error::Setting`] for widths of 0, and pictures that are not what the features hold, or too small.
    pub fn new(net: &Network, codec: Codec, picture: [u32; 3], embed: &'a [u32], channels: &[u32]) -> Result<Self> {
        let width = net.tape.cols(net.features);
        let papers: &[u32] = match codec {
            Codec::Dense => &[],
            Codec::Mnist => &[32, 128, 512, 200],
            Codec::ColouredMnist => &[32, 32, 32],
            Codec::Colon => &[32, 48],
        };
        let channels = if channels.is_empty() { papers } else { channels };
        if channels.len() != papers.len() || channels.iter().any(|c| !(1..=8192).contains(c)) {
            let expected = format!("expected {} numbers of 1 to 8192, or none", papers.len());
            return refused("channels", format!("{expected}, found {channels:?}"));
        }
        check_widths("embed", embed)?;
        let [height, side, depth] = picture;
        if codec != Codec::Dense {
            check_picture(picture, width)?;
        }
        let (fits, sides): (fn(u32) -> bool, _) = match codec {
            Codec::Dense => (|_| true, ""),
            Codec::Mnist => (|n| n >= 8 && n.is_multiple_of(4), "sides of 8 and more that 4 divides"),
            Codec::ColouredMnist => (|n| n >= 8, "sides of 8 and more"),
            // Neither pool loses a line.
            Codec::Colon => (|n| n >= 11 && matches!(n % 4, 0 | 3), "sides of 11, 12, 15, 16 and so on by fours"),
        };
        if ![height, side].into_iter().all(fits) {
            return refused("image", format!("this codec takes {sides}, found {height} x {side}"));
        }
        Ok(Self { codec, embed, channels: channels.to_vec(), width, image: Image::new(depth, height, side) })
    }

    /// Features of the instances, of layers called `name`.
    ///
    /// # Errors
    /// [`Error::Setting`] for sizes that cannot be counted.
    pub fn encode(&self, net: &mut Network, name: &str) -> Result<ValueId> {
        let mut x = Picture { value: net.features, image: self.image };
        let c = &self.channels;
        let layer = |n: usize| format!("{name}.{n}");
        match self.codec {
            Codec::Dense => {
                for (n, &width) in self.embed.iter().enumerate() {
                    x.value = net.linear(&layer(n), x.value, width, Activation::Relu)?;
                }
            }
            Codec::Mnist => {
                for (n, &channels) in c[..2].iter().enumerate() {
                    x = x.convolved(net, &layer(n), channels, Window::padded(4, 2, 1), Then::NormRelu)?;
                }
                x = x.convolved(net, &layer(2), c[2], x.whole(), Then::NormRelu)?;
                x.value = net.linear(&layer(3), x.value, c[3], Activation::None)?;
            }
            Codec::ColouredMnist => {
                for (n, &channels) in c.iter().enumerate() {
                    x = x.convolved(net, &layer(n), channels, Window::padded(3, 2, 1), Then::Relu)?;
                }
            }
            Codec::Colon => {
                // ReLU and the largest of 2 x 2 in either order are the same; a quarter of the values is left for it.
                for (n, window) in [self.first(), Window::valid(3, 1)].into_iter().enumerate() {
                    x = x.convolved(net, &layer(n), c[n], window, Then::Nothing)?.halved(net)?;
                    x.value = net.activate(x.value, Activation::Relu)?;
                }
            }
        }
        Ok(x.value)
    }

    /// Instances `[R, D]` of codes `[R, Z]`, of layers called `decoder`. A codec of patches has ReLU layers `between` the
    /// codes and its convolutions, the last one without when there are any.
    ///
    /// # Errors
    /// [`Error::Setting`] for sizes that cannot be counted.
    pub fn decode(&self, net: &mut Network, codes: ValueId, between: &[u32]) -> Result<ValueId> {
        let layer = |n: usize| format!("decoder.{n}");
        let (c, depth) = (&self.channels, self.image.channels);
        let mut value = codes;
        match self.codec {
            Codec::Dense => {
                for (n, &width) in self.embed.iter().rev().enumerate() {
                    value = net.linear(&layer(n), value, width, Activation::Relu)?;
                }
                net.linear(&layer(self.embed.len()), value, self.width, Activation::None)
            }
            Codec::Mnist => {
                let quarter = Image::new(c[1], self.image.height / 4, self.image.width / 4);
                let image = Image::new(net.tape.cols(codes), 1, 1);
                let mut x = Picture { value, image };
                x = x.spread(net, &layer(0), c[2], Window::valid(1, 1), Then::NormRelu)?;
                x = x.spread(net, &layer(1), c[1], Picture { value, image: quarter }.whole(), Then::NormRelu)?;
                x = x.spread(net, &layer(2), c[0], Window::padded(4, 2, 1), Then::NormRelu)?;
                x = x.spread(net, &layer(3), depth, Window::padded(4, 2, 1), Then::Nothing)?;
                net.activate(x.value, Activation::Sigmoid)
            }
            Codec::ColouredMnist => {
                // What the encoder saw on its way, from the last to the first.
                let half = |n: u32| n.div_ceil(2);
                let mut sides = vec![[self.image.height, self.image.width]];
                (0..3).for_each(|n| sides.push(sides[n].map(half)));
                let [height, width] = sides[3];
                let image = Image::new(c[2], height, width);
                value = net.linear(&layer(0), value, counted(image)?, Activation::Relu)?;
                let mut x = Picture { value, image };
                for (n, channels) in [c[1], c[0], depth].into_iter().enumerate() {
                    let [to, from] = [sides[2 - n], sides[3 - n]];
                    // A kernel of 3 gives an odd side, one of 4 an even one.
                    let size = [to[0] + 4 - 2 * from[0], to[1] + 4 - 2 * from[1]];
                    let window = Window { size, stride: 2, pad: [1, 1] };
                    let then = if n < 2 { Then::Relu } else { Then::Nothing };
                    x = x.spread(net, &layer(n + 1), channels, window, then)?;
                }
                net.activate(x.value, Activation::Sigmoid)
            }
            Codec::Colon => {
                let first = self.first();
                // Back through the pools: half of what the first kernel left, less the second kernel, half of that.
                let side = |length: u32, kernel: u32| ((length - kernel).div_ceil(2) - 2) / 2;
                let [height, width] = [self.image.height, self.image.width];
                let image = Image::new(c[1], side(height, first.size[0]), side(width, first.size[1]));
                check_widths("decoder", between)?;
                for (n, &width) in between.iter().enumerate() {
                    value = net.linear(&layer(n), value, width, Activation::Relu)?;
                }
                let activation = if between.is_empty() { Activation::Relu } else { Activation::None };
                let n = between.len();
                value = net.linear(&layer(n), value, counted(image)?, activation)?;
                let mut x = Picture { value, image }.doubled(net)?;
                x = x.spread(net, &layer(n + 1), c[0], Window::valid(3, 1), Then::Relu)?.doubled(net)?;
                x = x.spread(net, &layer(n + 2), depth, first, Then::Relu)?;
                Ok(x.convolved(net, &layer(n + 3), depth, Window::valid(1, 1), Then::Nothing)?.value)
            }
        }
    }

    /// The first kernel of the codec of patches, which leaves an even number of places.
    fn first(&self) -> Window {
        let size = |length: u32| if length % 4 == 3 { 4 } else { 5 };
        Window { size: [size(self.image.height), size(self.image.width)], ..Window::valid(4, 1) }
    }
}

/// Values of an image that a layer writes.
fn counted(image: Image) -> Result<u32> {
    match u64::from(image.channels) * u64::from(image.positions()) {
        count if count <= 1 << 24 => Ok(count as u32),
        count => refused("channels", format!("a layer would have {count} values; at most {} are possible", 1 << 24)),
    }
}

impl Picture {
    /// A kernel over the whole image.
    fn whole(&self) -> Window {
        Window { size: [self.image.height, self.image.width], ..Window::valid(1, 1) }
    }

    fn convolved(self, net: &mut Network, name: &str, channels: u32, window: Window, then: Then) -> Result<Self> {
        let op = Conv2d { from: self.image, channels, window };
        let fan = counted(Image::new(self.image.channels, window.size[0], window.size[1]))?;
        let image = op.to().ok_or_else(|| Error::setting("image", "too small for the codec"))?;
        let parameters = parameters(net, name, [channels, fan], (channels, fan), then);
        let value = net.tape.push1(op, &[&[self.value], &parameters[..]].concat())?;
        Self { value, image }.then(net, name, then)
    }

    /// The transpose of a convolution.
    fn spread(self, net: &mut Network, name: &str, channels: u32, window: Window, then: Then) -> Result<Self> {
        let op = ConvTranspose2d { from: self.image, channels, window };
        // PyTorch counts what one value is spread over as its inputs.
        let fan = counted(Image::new(channels, window.size[0], window.size[1]))?;
        let image = op.to().ok_or_else(|| Error::setting("image", "too small for the codec"))?;
        let parameters = parameters(net, name, [self.image.channels, fan], (channels, fan), then);
        let value = net.tape.push1(op, &[&[self.value], &parameters[..]].concat())?;
        Self { value, image }.then(net, name, then)
    }

    fn then(self, net: &mut Network, name: &str, then: Then) -> Result<Self> {
        let mut value = self.value;
        if then == Then::NormRelu {
            value = net.batch_norm(&format!("{name}.norm"), "weight", value, self.image.channels)?;
        }
        if then != Then::Nothing {
            value = net.activate(value, Activation::Relu)?;
        }
        Ok(Self { value, ..self })
    }

    fn halved(self, net: &mut Network) -> Result<Self> {
        let op = MaxPool { from: self.image, window: Window::valid(2, 2) };
        let image = op.to().ok_or_else(|| Error::setting("image", "too small for the codec"))?;
        Ok(Self { value: net.tape.push1(op, &[self.value])?, image })
    }

    fn doubled(self, net: &mut Network) -> Result<Self> {
        let op = Upsample { from: self.image, factor: 2 };
        Ok(Self { value: net.tape.push1(op, &[self.value])?, image: op.to() })
    }
}

/// The weights `[rows, cols]` of a convolution to `channels`, with PyTorch's start for so many inputs, and a bias where
/// no norm follows.
fn parameters(
    net: &mut Network,
    name: &str,
    [rows, cols]: [u32; 2],
    (channels, fan): (u32, u32),
    then: Then,
) -> Vec<ValueId> {
    let init = Init::Uniform(1.0 / (fan as f32).sqrt());
    let mut param = |name: String, rows: u32, cols: u32, decays: bool| {
        net.tape.param(Param { name, rows, cols, init, decays, parts: Vec::new() })
    };
    let mut all = vec![param(format!("{name}.weight"), rows, cols, true)];
    if then != Then::NormRelu {
        all.push(param(format!("{name}.bias"), 1, channels, false));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::Codec;
    use crate::methods::{CausalMil, Method, Mivae};
    use crate::model::{Model, Spec};

    fn model(method: impl Into<Method>, width: usize) -> Result<Model, String> {
        Model::new(Spec::new(method.into(), width, 2), 1).map_err(|e| e.to_string())
    }

    fn shape(model: &Model, name: &str) -> Vec<usize> {
        model.parameters().iter().find(|p| p.name == name).unwrap_or_else(|| panic!("{name}")).shape.clone()
    }

    /// The papers' networks at the sizes of their pictures.
    #[test]
    fn codecs_have_the_shapes_of_the_papers() {
        let causal = |codec, image| CausalMil { codec, image, ..Default::default() };
        let digits = model(causal(Codec::Mnist, [28, 28, 1]), 784).unwrap();
        assert_eq!(shape(&digits, "encoder.2.weight"), [512, 128 * 49]);
        assert_eq!(shape(&digits, "encoder.3.weight"), [200, 512]);
        assert_eq!(shape(&digits, "decoder.1.weight"), [512, 128 * 49]);
        assert_eq!(shape(&digits, "decoder.3.bias"), [1]);
        let coloured = model(causal(Codec::ColouredMnist, [28, 28, 3]), 3 * 784).unwrap();
        assert_eq!(shape(&coloured, "latent.mean.weight"), [24, 512]);
        assert_eq!(shape(&coloured, "decoder.3.weight"), [32, 3 * 16]);
        let patches = Mivae { codec: Codec::Colon, latent: 64, ..Default::default() };
        let patches = model(patches, 2187).unwrap();
        assert_eq!(shape(&patches, "instance.mean.weight"), [64, 1200]);
        assert_eq!(shape(&patches, "decoder.2.weight"), [1200, 512]);
        assert_eq!(shape(&patches, "decoder.4.weight"), [32, 3 * 16]);
        let larger = Mivae { codec: Codec::Colon, image: [28, 28, 1], ..Default::default() };
        assert_eq!(shape(&model(larger, 784).unwrap(), "bag.mean.weight"), [32, 1200]);
    }

    #[test]
    fn pictures_that_do_not_fit_are_refused() {
        let refused = |codec, image: [u32; 3], channels: &[u32]| {
            let width = image.iter().map(|&v| v as usize).product();
            let method = CausalMil { codec, image, channels: channels.to_vec(), ..Default::default() };
            model(method, width).unwrap_err()
        };
        assert!(refused(Codec::Mnist, [30, 28, 1], &[]).contains("sides of 8 and more that 4 divides"));
        assert!(refused(Codec::ColouredMnist, [7, 28, 1], &[]).contains("sides of 8 and more"));
        assert!(refused(Codec::Colon, [27, 29, 3], &[]).contains("found 27 x 29"));
        assert!(refused(Codec::Colon, [27, 27, 3], &[1, 2, 3]).contains("expected 2 numbers"));
        assert!(refused(Codec::Mnist, [28, 28, 1], &[1, 0, 1, 1]).contains("expected 4 numbers"));
        let wrong = CausalMil { codec: Codec::Mnist, ..Default::default() };
        assert!(model(wrong, 783).unwrap_err().contains("has 784 values, not 783"));
        let empty = CausalMil { embed: vec![8, 0], ..Default::default() };
        assert!(model(empty, 5).unwrap_err().contains("layer 1 has width 0"));
        let weight = CausalMil { classification: 0.0, ..Default::default() };
        assert!(model(weight, 5).unwrap_err().contains("classification"));
    }
}
