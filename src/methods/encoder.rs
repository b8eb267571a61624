//! The encoder of patches of DSMIL (Li, Li, Eliceiri 2021): a residual network whose batch norms are instance
//! norms, pretrained by contrast (SimCLR; Chen, Kornblith, Norouzi, Hinton 2020).
//!
//! A residual block is relu(N(W2 * relu(N(W1 * x))) + s(x)), N an instance norm without gain and bias and s the
//! identity, or N of a convolution of 1 x 1 where the block changes the size. The embedding of a patch is the mean
//! of each channel over the positions of the last block. For the contrast it passes two fully connected layers,
//! whose rows of length 1 go into NT-Xent.

use super::layers::Network;
use super::{About, BAG_LOGITS, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::ops::contrast::NtXent;
use crate::ops::conv::{Conv2d, Image, Window};
use crate::ops::image::{ChannelMean, MaxPool};
use crate::ops::norm::{InstanceNorm, UnitRows};
use crate::ops::pointwise::{Activate, Activation};
use crate::ops::segment::Pool;
use crate::ops::update::Optimiser;
use crate::tape::{Init, Param, Role, ValueId};
use serde::{Deserialize, Serialize};

/// Embeddings `[N, last of the widths]`, on every tape of an encoder.
pub const EMBEDDING: &str = "embedding";
/// The contrastive loss `[1, 1]` of the batch, so that it can be read without gradients.
pub const CONTRAST: &str = "contrast";

/// What the encoder learns from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Nothing any more: it embeds.
    #[default]
    None,
    /// Two views of a patch have to find each other among those of all patches of the batch; the batch has bags
    /// of two views.
    Contrast,
    /// The classes of patches; the batch has bags of one patch.
    Classes,
}

/// The encoder; the defaults are small enough for a CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Encoder {
    /// Height, width and channels of a patch. Its features are one channel after the other.
    pub image: [u32; 3],
    /// Size and stride of the first convolution.
    pub stem: [u32; 2],
    /// The largest of 3 x 3, at every second position, after it.
    pub stem_pool: bool,
    /// Channels of each stage; all but the first halve the picture.
    pub widths: Vec<u32>,
    /// Residual blocks of each stage.
    pub blocks: Vec<u32>,
    /// Widths of the two layers between the embedding and the contrast.
    pub projection: [u32; 2],
    /// Divides the inner products of the contrast.
    #[serde(serialize_with = "super::layers::shortest")]
    pub temperature: f32,
    /// What is learnt from.
    pub objective: Objective,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            image: [32, 32, 3],
            stem: [3, 2],
            stem_pool: false,
            widths: vec![16, 32, 64],
            blocks: vec![1, 1, 1],
            projection: [64, 64],
            temperature: 0.5,
            objective: Objective::None,
        }
    }
}

impl Encoder {
    /// The network of the paper: ResNet-18, embeddings of 512 features, contrast of 256.
    pub fn resnet18() -> Self {
        Self {
            image: [224, 224, 3],
            stem: [7, 2],
            stem_pool: true,
            widths: vec![64, 128, 256, 512],
            blocks: vec![2; 4],
            projection: [512, 256],
            ..Self::default()
        }
    }

    /// Features of an embedding.
    pub fn width(&self) -> usize {
        self.widths.last().map_or(0, |&w| w as usize)
    }

    /// Values of a patch.
    pub fn values(&self) -> usize {
        self.image.iter().map(|&v| v as usize).product()
    }

    fn check(&self) -> Result<()> {
        let wrong = |name: &str, message: String| Err(Error::setting(name, message));
        if self.image.iter().any(|v| !(1..=4096).contains(v)) {
            return wrong("image", format!("expected height, width and channels of 1 to 4096, found {:?}", self.image));
        }
        let [size, stride] = self.stem;
        if size % 2 == 0 || size > 31 || !(1..=8).contains(&stride) {
            let message = format!("expected an odd size up to 31 and a stride of 1 to 8, found {:?}", self.stem);
            return wrong("stem", message);
        }
        if self.widths.is_empty() || self.widths.iter().any(|w| !(1..=8192).contains(w)) {
            return wrong("widths", format!("expected channels of 1 to 8192, found {:?}", self.widths));
        }
        if self.blocks.len() != self.widths.len() || self.blocks.iter().any(|b| !(1..=64).contains(b)) {
            let (stages, found) = (self.widths.len(), &self.blocks);
            let message = format!("expected 1 to 64 blocks for each of the {stages} stages, found {found:?}");
            return wrong("blocks", message);
        }
        if self.projection.iter().any(|w| !(1..=8192).contains(w)) {
            return wrong("projection", format!("expected two widths of 1 to 8192, found {:?}", self.projection));
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return wrong("temperature", format!("must be above 0, found {}", self.temperature));
        }
        Ok(())
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("image", "height, width and channels of a patch"),
    ("stem", "size and stride of the first convolution"),
    ("stem_pool", "the largest of 3 x 3, at every second position, after it"),
    ("widths", "channels of each stage"),
    ("blocks", "residual blocks of each stage"),
    ("projection", "widths of the two layers between the embedding and the contrast"),
    ("temperature", "divides the inner products of the contrast"),
    ("objective", "none, contrast or classes"),
];

/// Added to the variance by PyTorch's instance norm.
const EPS: f32 = 1e-5;
/// Below this a row has length 1 already: the least length of PyTorch's cosine similarity.
const LEAST_LENGTH: f32 = 1e-8;

/// Images on the tape.
#[derive(Clone, Copy)]
struct Picture {
    value: ValueId,
    image: Image,
}

/// A convolution without bias, its border of zeros, and the instance norm after it.
fn normalised(net: &mut Network, name: &str, x: Picture, channels: u32, size: u32, stride: u32) -> Result<Picture> {
    let op = Conv2d { from: x.image, channels, window: Window::padded(size, stride, size / 2) };
    let inputs = x.image.channels * size * size;
    // He and others' start, after the outputs of a unit, as PyTorch's networks have it.
    let init = Init::Normal((2.0 / (channels * size * size) as f32).sqrt());
    let (name, parts) = (format!("{name}.weight"), Vec::new());
    let weight = net.tape.param(Param { name, rows: channels, cols: inputs, init, decays: true, parts });
    let image = op.to().expect("a border of half of the kernel always leaves a place");
    if image.positions() < 2 {
        let [height, width] = [image.height, image.width];
        let message =
            format!("a stage would have {height} x {width} positions; give it fewer stages or larger patches");
        return Err(Error::setting("widths", message));
    }
    let value = net.tape.push1(op, &[x.value, weight])?;
    let value = net.tape.push1(InstanceNorm { channels, eps: EPS }, &[value])?;
    Ok(Picture { value, image })
}

fn relu(net: &mut Network, x: Picture) -> Result<Picture> {
    let value = net.tape.push1(Activate(Activation::Relu), &[x.value])?;
    Ok(Picture { value, ..x })
}

fn block(net: &mut Network, name: &str, x: Picture, channels: u32, stride: u32) -> Result<Picture> {
    let h = normalised(net, &format!("{name}.conv1"), x, channels, 3, stride)?;
    let h = relu(net, h)?;
    let h = normalised(net, &format!("{name}.conv2"), h, channels, 3, 1)?;
    let same = stride == 1 && x.image.channels == channels;
    let past = if same { x } else { normalised(net, &format!("{name}.downsample.0"), x, channels, 1, stride)? };
    let value = net.add(h.value, past.value, 1.0, 1.0)?;
    relu(net, Picture { value, ..h })
}

/// No MIL method, and so in no list of them; it is one all the same to model files and the planner.
impl MilMethod for Encoder {
    const NAME: &'static str = "encoder";

    fn about() -> About {
        let paper = "Li, Li, Eliceiri: Dual-stream Multiple Instance Learning Network for Whole Slide Image \
                     Classification with Self-supervised Contrastive Learning, 2021 (arXiv 2011.08939)";
        About { title: "Encoder of patches", paper, level: Level::Instance }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        HELP.to_vec()
    }

    /// Ours: that of the paper, 1e-4, is for a network of twelve million parameters.
    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adam(1e-5), learning_rate: 1e-3, time_decay: 0.0, epochs: 30, bags: 1 }
    }

    /// # Errors
    /// [`Error::Setting`] for settings out of range, and for patches that are not of the features' width.
    fn record(&self, net: &mut Network) -> Result<()> {
        record(net, self)
    }
}

fn record(net: &mut Network, settings: &Encoder) -> Result<()> {
    settings.check()?;
    let [height, width, channels] = settings.image;
    let features = net.tape.cols(net.features) as usize;
    if settings.values() != features {
        let message = format!("a patch of {height} x {width} x {channels} has not {features} values");
        return Err(Error::setting("image", message));
    }
    let x = Picture { value: net.features, image: Image::new(channels, height, width) };
    let [size, stride] = settings.stem;
    let stem = normalised(net, "conv1", x, settings.widths[0], size, stride)?;
    let mut h = relu(net, stem)?;
    if settings.stem_pool {
        let op = MaxPool { from: h.image, window: Window::padded(3, 2, 1) };
        let image = op.to().expect("a border of one always leaves a place");
        h = Picture { value: net.tape.push1(op, &[h.value])?, image };
    }
    for (stage, (&channels, &blocks)) in settings.widths.iter().zip(&settings.blocks).enumerate() {
        for b in 0..blocks {
            let stride = if stage > 0 && b == 0 { 2 } else { 1 };
            h = block(net, &format!("layer{}.{b}", stage + 1), h, channels, stride)?;
        }
    }
    let embedding = net.tape.push1(ChannelMean { channels: h.image.channels }, &[h.value])?;
    net.tape.output_as(EMBEDDING, embedding, Role::Features);
    match settings.objective {
        Objective::None => {}
        Objective::Contrast => {
            let [hidden, outputs] = settings.projection;
            let z = net.linear("l1", embedding, hidden, Activation::Relu)?;
            let z = net.linear("l2", z, outputs, Activation::None)?;
            let z = net.tape.push1(UnitRows { eps: LEAST_LENGTH }, &[z])?;
            let loss = NtXent { temperature: settings.temperature, scale: 1.0 };
            let loss = net.tape.push1(loss, &[z])?;
            net.tape.output(CONTRAST, loss);
            net.tape.loss = Some(loss);
        }
        Objective::Classes => {
            // The mean of one row: what was a row of instances is one of bags then.
            let pooled = net.pool(embedding, Pool::Mean)?;
            let outputs = net.outputs();
            let logits = net.linear("head", pooled, outputs, Activation::None)?;
            let link = net.one_of_all();
            net.tape.output_as(BAG_LOGITS, logits, Role::Logits(link));
            net.tape.loss = Some(net.bag_loss(logits, link, 0.0)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::Method;
    use crate::model::{Model, Spec};

    fn model(settings: Encoder) -> Result<Model> {
        let width = settings.values();
        Model::new(Spec::new(settings.into(), width, 2), 1)
    }

    /// The number of weights of PyTorch's ResNet-18 without its classifier and its batch norms.
    #[test]
    fn resnet18_has_its_parameters() {
        let resnet = model(Encoder::resnet18()).unwrap();
        assert_eq!(resnet.parameter_count(), 11_176_512 - 9_600);
        let name = "layer2.0.downsample.0.weight";
        assert_eq!(resnet.parameters().iter().find(|p| p.name == name).unwrap().shape, [128, 64]);
        let learning = Encoder { objective: Objective::Contrast, ..Encoder::resnet18() };
        let projector = 512 * 512 + 512 + 512 * 256 + 256;
        assert_eq!(model(learning).unwrap().parameter_count(), 11_166_912 + projector);
    }

    #[test]
    fn impossible_settings_are_refused() {
        let refused = |settings: Encoder| model(settings).unwrap_err().to_string();
        let default = Encoder::default;
        assert!(refused(Encoder { image: [0, 1, 3], ..default() }).starts_with("setting"));
        assert!(refused(Encoder { stem: [4, 1], ..default() }).contains("odd size"));
        assert!(refused(Encoder { widths: vec![], blocks: vec![], ..default() }).starts_with("setting widths"));
        assert!(refused(Encoder { blocks: vec![1], ..default() }).contains("each of the 3 stages"));
        assert!(refused(Encoder { projection: [0, 1], ..default() }).starts_with("setting projection"));
        assert!(refused(Encoder { temperature: 0.0, ..default() }).contains("above 0"));
        assert!(refused(Encoder { image: [4, 4, 1], ..default() }).contains("1 x 1 positions"));
        let spec = Spec::new(Encoder::default().into(), 5, 2);
        assert!(Model::new(spec, 1).unwrap_err().to_string().contains("has not 5 values"));
        assert!(Method::named("encoder").is_err());
    }
}
