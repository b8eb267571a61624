//! Trainings in stages: what a method needs of a model that is trained before it ([`crate::stages`]).
//!
//! Both trainings have the same settings, bags and division, so no stage sees a bag that the other does not. Checkpoints go to
//! one place: a checkpoint of the second training has the constants that came of the first, so a run goes on wherever it was
//! stopped, with the same bits.

use super::predict::batches;
use super::settings::Settings;
use super::trainer::{Observer, Outcome, train_alone};
use crate::bag::Bags;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::fit::Persistence;
use crate::kmeans::{KMeans, Seeding};
use crate::model::{Model, Spec};
use crate::session::Session;
use crate::stages::Derived;
use crate::tape::Storage;
use serde::{Deserialize, Serialize};

/// What is told of a training that came before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// The method that was trained.
    pub method: String,
    /// Epochs it took.
    pub epochs: u32,
    /// The one whose parameters were kept.
    pub kept: u32,
    /// Mean loss of its last epoch over the training bags.
    pub loss: f64,
    /// What was made of it.
    pub constants: Vec<Constant>,
}

/// A constant that was made of a model, as people are told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constant {
    /// Its name.
    pub name: String,
    /// Tells its values from others; the model file has it too.
    pub fingerprint: String,
    /// Rows of features that each of its rows is the mean of.
    pub counts: Vec<u32>,
}

/// All of a training but its model.
pub(super) struct Setting<'a> {
    pub device: &'a Device,
    pub settings: &'a Settings,
    pub bags: &'a Bags,
    pub training: &'a [usize],
    pub validation: &'a [usize],
}

/// Trains what comes before `model`, where it needs something of that, and then itself.
pub(super) fn run(
    of: &Setting,
    mut model: Model,
    observer: &mut dyn Observer,
    persistence: Persistence,
) -> Result<Outcome> {
    let Some(method) = model.spec().method.before().filter(|_| !model.is_derived()) else {
        return train_alone(of, model, observer, persistence);
    };
    let [first, mut second] = persistence.of_stages();
    let before = match second.resume.as_ref().and_then(|checkpoint| checkpoint.before().map(|b| (checkpoint, b))) {
        Some((checkpoint, before)) => {
            model.take_derived(checkpoint.parameters())?;
            serde_json::from_value(before.clone())
                .map_err(|e| Error::setting("checkpoint", format!("what came before: {e}")))?
        }
        None => {
            observer.stage(method.name(), [1, 2]);
            let spec = Spec { method, ..model.spec().clone() };
            let outcome = train_alone(of, Model::new(spec, of.settings.seed)?, observer, first)?;
            derive(of, outcome, &mut model)?
        }
    };
    observer.stage(model.spec().method.name(), [2, 2]);
    let told = serde_json::to_value(&before).expect("plain data");
    second.checkpoints = second.checkpoints.map(|checkpoints| checkpoints.with_before(told));
    Ok(Outcome { before: Some(before), ..train_alone(of, model, observer, second)? })
}

/// Makes the constants of `model` of a model that was trained.
fn derive(of: &Setting, trained: Outcome, model: &mut Model) -> Result<Before> {
    let Outcome { model: aggregator, epochs, kept, .. } = trained;
    let mut before = Before {
        method: aggregator.spec().method.name().to_owned(),
        epochs: epochs.len() as u32,
        kept,
        loss: epochs.last().map_or(f64::NAN, |epoch| epoch.loss),
        constants: Vec::new(),
    };
    let storage = if of.settings.half { Storage::F16 } else { Storage::F32 };
    let mut session = Session::new(of.device, aggregator, storage)?;
    session.set_budget(of.settings.memory);
    for derived in &model.record(Storage::F32, false)?.derived {
        let rows = features(&mut session, of, derived)?;
        let width = rows.len() / (of.training.len() * derived.parts as usize);
        let kmeans = KMeans {
            clusters: derived.clusters as usize,
            iterations: derived.iterations as usize,
            seeding: Seeding::Sample,
            unit_rows: true,
            seed: derived.seed,
        };
        let found = kmeans.run(of.device, &rows, width)?;
        if found.means.iter().all(|value| *value == 0.0) {
            let message = "what the first training makes of the bags is 0 throughout; try a smaller learning rate";
            return Err(Error::setting(&derived.into, message));
        }
        model.set_parameter(&derived.into, &found.means)?;
        let fingerprint = Fingerprint::default().values(&found.means).to_string();
        before.constants.push(Constant { name: derived.into.clone(), fingerprint, counts: found.counts });
    }
    Ok(before)
}

/// The rows of an output of all training bags.
fn features(session: &mut Session, of: &Setting, derived: &Derived) -> Result<Vec<f32>> {
    let mut rows = Vec::new();
    for batch in batches(of.bags, of.training) {
        let outputs = session.outputs(of.bags, batch, None)?;
        let found = outputs
            .get(derived.from)
            .ok_or_else(|| Error::setting("base", format!("the method gives no output `{}`", derived.from)))?;
        rows.extend_from_slice(found);
    }
    Ok(rows)
}
