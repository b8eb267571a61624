//! Pretraining of encoders of patches: by contrast (SimCLR, as DSMIL uses it), or by the classes of patches; and what
//! an encoder makes of patches, features for bags.
//!
//! Sources: Chen, Kornblith, Norouzi, Hinton, "A simple framework for contrastive learning of visual
//! representations", ICML 2020; Li, Li, Eliceiri, "Dual-stream multiple instance learning network ..", CVPR 2021.
//!
//! ```
//! use bagrad::data::Patches;
//! use bagrad::device::Device;
//! use bagrad::methods::encoder::{self, Objective};
//! use bagrad::pretrain::{self, embed, pretrain};
//!
//! let patches = Patches::open("textures,side=8,train=4,test=2,mean=3,spread=0", &Default::default())?;
//! let network = encoder::Encoder { widths: vec![4], blocks: vec![1], objective: Objective::Contrast, ..Default::default() };
//! let settings = pretrain::Settings { epochs: 1, batch: 4, ..Default::default() };
//! let encoder = pretrain(&Device::host(), network, &settings, &patches, &mut ())?.model;
//! let set = embed(&Device::host(), &encoder, &patches, 16, &mut |_| ())?;
//! assert_eq!((set.bags.len(), set.bags.width), (6, 4));
//! # Ok::<(), bagrad::Error>(())
//! ```

pub mod augment;
mod embed;

pub use augment::Augmentation;
pub use embed::{check, embed};

use crate::bag::{Bags, Features};
use crate::data::{Patches, Split};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::fit::{self, Judged, Limits, Persistence, Standing, Task, Update, Watch};
use crate::kernels::launch::Extent;
use crate::methods::BAG_LOGITS;
use crate::methods::encoder::{self, CONTRAST, Objective};
use crate::metrics::{Metric, Scores};
use crate::model::{Model, Spec};
use crate::ops::schedule::Schedule;
use crate::ops::update::Optimiser;
use crate::plan::Purpose;
use crate::random::Random;
use crate::session::Session;
use crate::target::Target;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::mpsc::sync_channel;

/// How an encoder is pretrained.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Passes over the patches; none leaves the encoder as it starts.
    pub epochs: u32,
    /// Patches of an update.
    pub batch: usize,
    /// Learning rate of Adam at the start.
    pub learning_rate: f64,
    /// Weight decay, added to the gradient.
    pub weight_decay: f32,
    /// Epochs before the rate begins to fall along half a cosine over `epochs`; `None` for a tenth of them, the 10
    /// of 100 of the authors' program.
    pub warm: Option<u32>,
    /// Share of the patches that chooses the epoch which is kept.
    pub validation: f64,
    /// Patches of test bags are seen too.
    pub test_bags: bool,
    /// Seed of weights, division, order and views.
    pub seed: u64,
    /// How views differ from their patches.
    pub augmentation: Augmentation,
}

/// Patches of a batch, at most.
const MOST_PATCHES: usize = 1 << 16;

impl Default for Settings {
    /// The authors' settings but for rate, batch and epochs, which are for small encoders.
    fn default() -> Self {
        Self {
            epochs: 30,
            batch: 128,
            learning_rate: 1e-3,
            weight_decay: 1e-5,
            warm: None,
            validation: 0.1,
            test_bags: false,
            seed: 1,
            augmentation: Augmentation::default(),
        }
    }
}

impl Settings {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Setting`] that names the number and its range.
    pub fn validate(&self) -> Result<()> {
        if self.batch < 2 {
            let message =
                format!("a patch is told from others of its batch: expected at least 2, found {}", self.batch);
            return Err(Error::setting("batch", message));
        }
        if self.batch > MOST_PATCHES {
            return Err(Error::setting("batch", format!("expected at most {MOST_PATCHES}, found {}", self.batch)));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(Error::setting("learning_rate", format!("must be above 0, found {}", self.learning_rate)));
        }
        if !(0.0..1.0).contains(&self.validation) {
            let message = format!("expected a share from 0 to below 1, found {}", self.validation);
            return Err(Error::setting("validation", message));
        }
        Optimiser::adam(self.weight_decay).validate()?;
        self.augmentation.validate()
    }

    /// The rate of an epoch (from 0).
    pub fn rate(&self, epoch: u32) -> f64 {
        let passed = epoch.saturating_sub(self.warm.unwrap_or(self.epochs / 10));
        let cosine = Schedule::CosineEpochs { floor: 0.0 };
        cosine.rate(self.learning_rate, 0, u64::from(passed), 0, u64::from(self.epochs))
    }
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Epoch {
    /// From 0.
    pub epoch: u32,
    /// Mean loss of its batches, each before its update.
    pub loss: f64,
    /// Loss of the validation patches after it; their views are the same in every epoch.
    pub validation_loss: Option<f64>,
    /// Share of them in the right class, where classes are learnt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
    /// Learning rate.
    pub learning_rate: f64,
    /// True when no epoch before had as low a validation loss.
    pub best: bool,
    /// Seconds, validation included.
    pub seconds: f64,
    /// Training patches a second, of two views each for the contrast.
    pub patches_per_second: f64,
}

/// Someone who watches pretraining. Every method has an empty default.
pub trait Watcher {
    /// Called before the first epoch with the numbers of training and validation patches.
    fn begin(&mut self, _training: usize, _validation: usize) {}
    /// Called after each update with the number of its patches.
    fn step(&mut self, _patches: usize) {}
    /// Called after each epoch.
    fn epoch(&mut self, _epoch: &Epoch) {}
}

impl Watcher for () {}

/// A pretrained encoder and how it came about.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// The encoder without what it learnt through.
    pub model: Model,
    /// All epochs.
    pub epochs: Vec<Epoch>,
    /// Epoch whose weights were kept; `None` when there was none.
    pub kept: Option<u32>,
    /// Patches it was trained with.
    pub training: usize,
    /// Patches that chose the epoch.
    pub validation: usize,
    /// Seconds for all of it.
    pub seconds: f64,
}

/// Streams of the seed for the division and the order of patches, the latter one an epoch.
const DIVISION_STREAM: u64 = 1 << 41;
const ORDER_STREAM: u64 = 1 << 42;
/// Streams of views: the epoch from bit 38 on, then the patch, then the view.
const VIEW_STREAM: u64 = 1 << 63;
/// The epoch of the views of validation patches.
const VALIDATION: u32 = (1 << 24) - 1;

/// What batches are made of.
struct Views<'a> {
    patches: &'a Patches,
    augmentation: &'a Augmentation,
    seed: u64,
    /// Class of each patch; views come in twos without.
    labels: Option<Vec<u32>>,
}

impl Views<'_> {
    fn each(&self) -> usize {
        if self.labels.is_some() { 1 } else { 2 }
    }

    /// Views of the patches `rows` in `epoch`, a bag for each patch.
    fn batch(&self, rows: &[usize], epoch: u32) -> Result<Bags> {
        let (image, values) = (self.patches.image(), self.patches.values());
        let mut features = vec![0.0; rows.len() * self.each() * values];
        features.par_chunks_exact_mut(self.each() * values).zip(rows).try_for_each(|(views, &row)| {
            let pixels = self.patches.pixels(row)?;
            for (view, out) in views.chunks_exact_mut(values).enumerate() {
                let stream = VIEW_STREAM | u64::from(epoch) << 38 | (row as u64) << 1 | view as u64;
                self.augmentation.view(&pixels, image, &mut Random::new(self.seed, stream), out);
            }
            Ok(())
        })?;
        let bags = Bags::packed(Features::F32(features), values, &vec![self.each(); rows.len()])?;
        let Some(labels) = &self.labels else { return Ok(bags) };
        bags.with_labels(rows.iter().map(|&row| labels[row]).collect())
    }
}

/// Makes things one ahead of their use, on another thread.
fn ahead<T: Send>(
    count: usize,
    make: impl Fn(usize) -> Result<T> + Sync,
    mut take: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        // Ends too when the receiver is gone, which it is after an error.
        let make = &make;
        scope.spawn(move || (0..count).map(make).try_for_each(|made| sender.send(made).map_err(drop)));
        receiver.into_iter().enumerate().try_for_each(|(i, made)| take(i, made?))
    })
}

/// The classes of patches as indices, and their names; a name is the label.
fn classes(patches: &Patches) -> Result<(Vec<u32>, Vec<String>)> {
    let set = patches.bags();
    let labels = set.bags.instance_labels.as_ref();
    let labels = labels.ok_or_else(|| Error::bags(format!("{}: expected labels of patches, found none", set.name)))?;
    let mut names = labels.clone();
    names.sort_unstable();
    names.dedup();
    if names.len() < 2 {
        return Err(Error::bags(format!("{}: expected patches of two classes or more, found one", set.name)));
    }
    let of = |label: &i32| names.binary_search(label).expect("every label is among them") as u32;
    Ok((labels.iter().map(of).collect(), names.iter().map(i32::to_string).collect()))
}

/// Pretrains an encoder after its [objective](encoder::Encoder::objective) on the patches of all bags but the test
/// bags. Its picture size is that of the patches. The same seed on the same device gives the same bits.
///
/// # Errors
/// [`Error::Setting`] for settings out of range or no objective, [`Error::Bags`] for too few patches or no labels,
/// [`Error::NotFinite`] when the loss diverges, and what files and the device answer.
pub fn pretrain(
    device: &Device,
    network: encoder::Encoder,
    settings: &Settings,
    patches: &Patches,
    watcher: &mut dyn Watcher,
) -> Result<Pretrained> {
    pretrain_on(device, network, settings, patches, watcher, Persistence::default())
}

/// As [`pretrain`], which goes on from a checkpoint, writes checkpoints, or both (see [`crate::training::train_on`]).
///
/// # Errors
/// As [`pretrain`], [`Error::Setting`] for the checkpoint of another training, and of writing checkpoints.
pub fn pretrain_on(
    device: &Device,
    mut network: encoder::Encoder,
    settings: &Settings,
    patches: &Patches,
    watcher: &mut dyn Watcher,
    persistence: Persistence,
) -> Result<Pretrained> {
    settings.validate()?;
    network.image = patches.image().map(|v| v as u32);
    let (labels, names) = match network.objective {
        Objective::Classes => classes(patches).map(|(labels, names)| (Some(labels), names))?,
        Objective::Contrast => (None, vec!["0".into(), "1".into()]),
        Objective::None if settings.epochs == 0 => (None, vec!["0".into(), "1".into()]),
        Objective::None => return Err(Error::setting("objective", "expected contrast or classes, found none")),
    };
    let contrast = labels.is_none();
    let spec = Spec { method: network.into(), width: patches.values(), classes: names, target: Target::Classes };
    let model = Model::new(spec, settings.seed)?;
    let (training, validation) = divide(patches, settings)?;
    let mut done = Pretrained {
        model: model.clone(),
        epochs: Vec::new(),
        kept: None,
        training: training.len(),
        validation: validation.len(),
        seconds: 0.0,
    };
    watcher.begin(training.len(), validation.len());
    if settings.epochs > 0 {
        let views = Views { patches, augmentation: &settings.augmentation, seed: settings.seed, labels };
        let batch = settings.batch.min(training.len());
        let identity = match persistence.is_wanted() {
            true => identity(&model, settings, patches, [&training, &validation]),
            false => Value::Null,
        };
        let mut session = Session::new(device, model, crate::tape::Storage::F32)?;
        session.set_seed(settings.seed);
        let optimiser = Optimiser::adam(settings.weight_decay);
        let mut updates = Update::of_epoch(training.len(), batch, 1);
        if contrast {
            // A short last batch would be an easier contrast.
            updates.retain(|update| update.items == batch);
        }
        let mut fit = Fit { settings, views, training, validation, updates, batch, optimiser };
        fit.make_ready(&mut session)?;
        let limits = Limits {
            epochs: settings.epochs,
            patience: None,
            min_epochs: 0,
            metric: Metric::Loss,
            states: optimiser.states(),
        };
        let ended = fit::run(&mut session, &mut fit, &limits, &identity, persistence, &mut Watching(watcher))?;
        done.epochs = ended.epochs.iter().map(Epoch::of).collect();
        done.kept = done.epochs.last().map(|last| last.epoch);
        if let Some((epoch, snapshot)) = ended.best {
            session.restore(&snapshot)?;
            done.kept = Some(epoch);
        }
        done.model = session.into_model()?;
        done.seconds = ended.seconds;
    }
    done.model = without_head(&done.model)?;
    Ok(done)
}

/// All that decides the result, to tell checkpoints from those of others.
fn identity(model: &Model, settings: &Settings, patches: &Patches, parts: [&[usize]; 2]) -> Value {
    let [training, validation] = parts.map(|part| Fingerprint::of_places(part).to_string());
    json!({
        "bagrad": env!("CARGO_PKG_VERSION"),
        "model": model.spec(),
        "settings": settings,
        "data": patches.bags().bags.fingerprint(),
        "training patches": training,
        "validation patches": validation,
    })
}

/// Patches to train with and to validate with.
struct Fit<'a> {
    settings: &'a Settings,
    views: Views<'a>,
    training: Vec<usize>,
    validation: Vec<usize>,
    updates: Vec<Update>,
    batch: usize,
    optimiser: Optimiser,
}

impl Fit<'_> {
    /// As in training: nothing is planned anew once it has begun.
    fn make_ready(&self, session: &mut Session) -> Result<()> {
        let of = |patches: usize| Extent::of(std::iter::repeat_n(self.views.each() as u32, patches));
        session.make_ready(Purpose::Train(self.optimiser), of(self.batch))?;
        let parts = self.validation.len().div_ceil(self.batch);
        if parts > 0 {
            session.make_ready(Purpose::Predict, of(self.validation.len().div_ceil(parts)))?;
        }
        Ok(())
    }
}

impl Task for Fit<'_> {
    /// The share in the right class, where classes are learnt.
    type Details = Option<f64>;

    fn updates(&self) -> &[Update] {
        &self.updates
    }

    fn rate(&self, _: u64, epoch: u32) -> f64 {
        self.settings.rate(epoch)
    }

    fn epoch(
        &mut self,
        session: &mut Session,
        epoch: u32,
        first: usize,
        after: &mut dyn FnMut(&mut Session, usize) -> Result<()>,
    ) -> Result<()> {
        let order = Random::new(self.settings.seed, ORDER_STREAM + u64::from(epoch)).permutation(self.training.len());
        let rows: Vec<usize> = order.into_iter().map(|i| self.training[i]).collect();
        let batches: Vec<&[usize]> = rows.chunks(self.batch).take(self.updates.len()).skip(first).collect();
        let rate = self.settings.rate(epoch);
        let make = |step: usize| self.views.batch(batches[step], epoch);
        ahead(batches.len(), make, |step, bags| {
            let all: Vec<usize> = (0..bags.len()).collect();
            let weights = vec![1.0 / bags.len() as f32; bags.len()];
            let place = (first + step) as u32;
            session.train_step(&bags, &all, &weights, None, (&self.optimiser, rate), Some(place))?;
            after(session, first + step)
        })
    }

    fn judge(&mut self, session: &mut Session) -> Result<Option<(Standing, Option<f64>)>> {
        let (loss, accuracy) = measure(session, &self.views, &self.validation, self.batch)?;
        Ok(loss.map(|loss| (Standing { score: None, loss }, accuracy)))
    }

    fn pack(&self, accuracy: &Option<f64>) -> Value {
        json!(accuracy)
    }

    fn unpack(&self, packed: &Value) -> std::result::Result<Option<f64>, String> {
        serde_json::from_value(packed.clone()).map_err(|e| e.to_string())
    }
}

/// Passes on what the loop tells.
struct Watching<'a>(&'a mut dyn Watcher);

impl Watch<Option<f64>> for Watching<'_> {
    fn update(&mut self, _: u32, _: usize, patches: usize) {
        self.0.step(patches);
    }

    fn epoch(&mut self, judged: &Judged<Option<f64>>) {
        self.0.epoch(&Epoch::of(judged));
    }

    fn stop(&mut self) -> bool {
        false
    }
}

impl Epoch {
    fn of(judged: &Judged<Option<f64>>) -> Self {
        Self {
            epoch: judged.epoch,
            loss: judged.loss,
            validation_loss: judged.validation.map(|(loss, _)| loss),
            validation_accuracy: judged.validation.and_then(|(_, accuracy)| accuracy),
            learning_rate: judged.learning_rate,
            // Without validation the last is kept, whichever that will be.
            best: judged.best || judged.validation.is_none(),
            seconds: judged.seconds,
            patches_per_second: judged.items_per_second,
        }
    }
}

/// Patches to train with, and to choose the epoch with.
fn divide(patches: &Patches, settings: &Settings) -> Result<(Vec<usize>, Vec<usize>)> {
    let set = patches.bags();
    let seen = |bag: &usize| settings.test_bags || set.split.as_ref().is_none_or(|s| s[*bag] != Split::Test);
    let mut rows: Vec<usize> = (0..set.bags.len()).filter(seen).flat_map(|bag| set.bags.rows(bag)).collect();
    if rows.len() < 2 {
        let (name, found) = (&set.name, rows.len());
        return Err(Error::bags(format!("{name}: expected at least two patches to train with, found {found}")));
    }
    Random::new(settings.seed, DIVISION_STREAM).shuffle(&mut rows);
    let wanted = (rows.len() as f64 * settings.validation).round() as usize;
    // One patch has nothing to be told from.
    let held = if wanted < 2 || rows.len() - wanted < 2 { 0 } else { wanted };
    let validation = rows.split_off(rows.len() - held);
    Ok((rows, validation))
}

/// Loss of the validation patches, and the share in the right class.
fn measure(session: &mut Session, views: &Views, rows: &[usize], batch: usize) -> Result<(Option<f64>, Option<f64>)> {
    if rows.is_empty() {
        return Ok((None, None));
    }
    // Parts of one size but for one patch: a loss of few patches is smaller than one of many.
    let parts = rows.len().div_ceil(batch);
    let part = |i: usize| &rows[rows.len() * i / parts..rows.len() * (i + 1) / parts];
    let (mut total, mut probabilities) = (0.0, Vec::new());
    ahead(
        parts,
        |i| views.batch(part(i), VALIDATION),
        |_, bags| {
            let all: Vec<usize> = (0..bags.len()).collect();
            let outputs = session.outputs(&bags, &all, None)?;
            match outputs.get(CONTRAST) {
                Some(loss) => total += f64::from(loss[0]) * bags.len() as f64,
                None => {
                    let logits = &outputs[BAG_LOGITS];
                    let link = session.link().expect("logits come with their link");
                    let of = logits.chunks_exact(logits.len() / bags.len());
                    of.for_each(|logits| link.probabilities(logits, session.model_classes(), &mut probabilities));
                }
            }
            Ok(())
        },
    )?;
    let Some(labels) = &views.labels else { return Ok((Some(total / rows.len() as f64), None)) };
    let truth: Vec<u32> = rows.iter().map(|&row| labels[row]).collect();
    let scores = Scores::new(&probabilities, probabilities.len() / rows.len(), &truth)?;
    Ok((scores.log_loss, scores.accuracy))
}

/// The encoder alone.
fn without_head(model: &Model) -> Result<Model> {
    let network: &encoder::Encoder = model.spec().method.get().expect("only encoders are pretrained");
    let network = encoder::Encoder { objective: Objective::None, ..network.clone() };
    let mut bare = Model::new(Spec::new(network.into(), model.spec().width, 2), 0)?;
    let names: Vec<String> = bare.parameters().iter().map(|p| p.name.clone()).collect();
    for name in names {
        bare.set_parameter(&name, model.parameter(&name)?)?;
    }
    Ok(bare)
}
