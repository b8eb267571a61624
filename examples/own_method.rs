//! A method from outside of the crate, with a loss of its own: it trains, is saved, loaded, predicts and is timed like
//! those of the crate.
//!
//! Instances are embedded, h = relu(W x + b), attended to, a = softmax over the bag of w . h, and the bag's value is
//! u . (sum of a h) + c. Where others have a cross-entropy, this has the squared hinge loss of a support vector
//! machine: a bag is on its side of 0, or pays the square of what it lacks of a margin.
//!
//!     cargo run --release --example own_method

use bagrad::methods::layers::{Activation, Columns, Distance, Network};
use bagrad::methods::{About, Level, Methods, MilMethod, Recipe};
use bagrad::random::Random;
use bagrad::training::Optimiser;
use bagrad::training::metrics::Metric;
use bagrad::{Bags, Device, Error, Features, Model, Trainer};
use serde::{Deserialize, Serialize};

/// Settings of the method; a model file has them by these names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MarginAttention {
    /// Width of the embedding.
    pub embed: u32,
    /// What a bag has to be away from 0, on its side.
    pub margin: f32,
}

impl Default for MarginAttention {
    fn default() -> Self {
        Self { embed: 32, margin: 1.0 }
    }
}

impl MilMethod for MarginAttention {
    const NAME: &'static str = "margin-attention";

    fn about() -> About {
        About { title: "Attention with a margin", paper: "unpublished", level: Level::Bag }
    }

    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adamw(1e-2), learning_rate: 2e-3, time_decay: 0.0, epochs: 60, bags: 1 }
    }

    fn record(&self, net: &mut Network) -> bagrad::Result<()> {
        if self.embed == 0 || self.margin.is_nan() || self.margin <= 0.0 {
            let message = "the width of the embedding and the margin must be above 0".to_string();
            return Err(Error::Setting { name: "margin-attention".into(), message });
        }
        let h = net.linear("embed", net.features, self.embed, Activation::Relu)?;
        let scores = net.linear("attention", h, 1, Activation::None)?;
        let weights = net.softmax_over_bags(scores)?;
        let pooled = net.weighted_sum(h, weights)?;
        let outputs = net.outputs();
        let logits = net.linear("head", pooled, outputs, Activation::None)?;
        let hinge = Distance::Margin { above: self.margin, below: -self.margin, negatives: 1.0 };
        let loss = net.distance_to_targets(logits, hinge, 1.0)?;
        let link = net.each_alone();
        net.finish((logits, link), (scores, Columns::Heads), loss)?;
        net.attention(weights, Columns::Heads);
        Ok(())
    }
}

/// Bags of 5 to 20 instances with 8 features; in those of class 1 a few instances lie elsewhere.
fn draw(count: usize, seed: u64) -> bagrad::Result<Bags> {
    let mut random = Random::new(seed, 0);
    let (mut values, mut sizes, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for bag in 0..count {
        let (size, label) = (5 + random.below(16), (bag % 2) as u32);
        for instance in 0..size {
            let away = label == 1 && instance < 2;
            values.extend((0..8).map(|c| random.normal() as f32 + if away && c < 3 { 2.5 } else { 0.0 }));
        }
        sizes.push(size);
        labels.push(label);
    }
    Bags::packed(Features::F32(values), 8, &sizes)?.with_labels(labels)
}

/// What the program does; answers the AUC of bags that it was not trained on.
///
/// # Errors
/// What training, files and the device answer.
pub fn run(device: &Device) -> bagrad::Result<f64> {
    let fitted = Trainer::new(MarginAttention { embed: 16, ..Default::default() })
        .validation(0.2)
        .patience(15)
        .device(device)
        .fit(&draw(120, 1)?)?;
    println!("{} epochs, {} kept", fitted.epochs.len(), fitted.kept);

    let file = std::env::temp_dir().join(format!("bagrad-own-method-{}.safetensors", std::process::id()));
    fitted.model.save(&file)?;
    // Whoever reads a model by the name of its method is told of the methods there are.
    let methods = Methods::default().with::<MarginAttention>()?;
    let model = Model::load_with(&file, &methods);
    let _ = std::fs::remove_file(&file);

    let found = model?.on(device)?.evaluate(&draw(60, 2)?)?;
    let auc = found.scores.get(Metric::Auc).unwrap_or(f64::NAN);
    println!("AUC of new bags: {auc:.3}");
    Ok(auc)
}

/// Times a step over 8 bags of 100 instances with 256 features.
///
/// # Errors
/// What the device answers.
#[cfg(feature = "cli")]
pub fn time(device: &Device) -> bagrad::Result<f64> {
    use bagrad::bench::steps::{Settings, Work, time};
    let work = Work::Method(MarginAttention::default().into(), "100x8,256".parse()?);
    let settings =
        Settings { repeats: 5, half: false, precision: Default::default(), profile: false, memory: None, since: None };
    let row = time(device, &work, &settings)?;
    println!("{} on {}: {:.0} us a step", row.shape, row.device, row.median_us);
    Ok(row.median_us)
}

#[allow(dead_code, reason = "tests run what is above")]
fn main() -> bagrad::Result<()> {
    let device = Device::host();
    run(&device)?;
    #[cfg(feature = "cli")]
    time(&device)?;
    Ok(())
}
