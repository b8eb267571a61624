//! The one loop that trains, whatever is trained: updates in epochs, a judgement after each, the best weights kept, early
//! stopping, and checkpoints from which it goes on with the same bits.

pub mod checkpoint;

pub use checkpoint::{Checkpoint, Checkpoints, Every, Persistence, Shelf};

use crate::error::{Error, Result};
use crate::metrics::Metric;
use crate::precision::ScaleState;
use crate::session::Session;
use checkpoint::{Best, Event, Record};
use serde_json::Value;
use std::ops::Range;
use std::time::Instant;

/// How good an epoch is: by its validation score, and where that is the same by its loss. A score of a few bags soon
/// stands at its best; the loss then still tells which epoch is sure of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Standing {
    /// The metric that decides; `None` where it is the loss.
    pub score: Option<f64>,
    /// The loss.
    pub loss: f64,
}

impl Standing {
    pub fn beats(&self, other: &Self, metric: Metric) -> bool {
        let loss = Metric::Loss.better(self.loss, other.loss);
        let mine = metric.better(self.score, other.score);
        mine || loss && !metric.better(other.score, self.score)
    }
}

/// One update of an epoch.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    /// Places in the history that its loss is the sum of, one for each of its batches.
    pub places: Range<usize>,
    /// Bags or patches in it.
    pub items: usize,
}

impl Update {
    /// Those of an epoch of `items`, `batch` a batch and `accumulate` batches an update.
    pub fn of_epoch(items: usize, batch: usize, accumulate: usize) -> Vec<Update> {
        let whole = batch.saturating_mul(accumulate);
        let mut place = 0;
        let mut one = |first: usize| {
            let items = whole.min(items - first);
            let places = place..place + items.div_ceil(batch);
            place = places.end;
            Update { places, items }
        };
        (0..items).step_by(whole).map(&mut one).collect()
    }
}

/// What is trained on and what judges it.
pub(crate) trait Task {
    /// What validation gives beside its loss.
    type Details: Clone;

    /// The updates of every epoch.
    fn updates(&self) -> &[Update];

    /// Learning rate of update number `update` of the training (from 0), in `epoch`.
    fn rate(&self, update: u64, epoch: u32) -> f64;

    /// Does the updates of an epoch from number `first` on, with the losses in their places of the history, and calls
    /// `after` after each with its number.
    fn epoch(
        &mut self,
        session: &mut Session,
        epoch: u32,
        first: usize,
        after: &mut dyn FnMut(&mut Session, usize) -> Result<()>,
    ) -> Result<()>;

    /// Looks at the validation data; `None` where there is none.
    fn judge(&mut self, session: &mut Session) -> Result<Option<(Standing, Self::Details)>>;

    /// The details as they go into a checkpoint, and back.
    fn pack(&self, details: &Self::Details) -> Value;
    fn unpack(&self, packed: &Value) -> std::result::Result<Self::Details, String>;
}

/// When it ends, and what decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Passes over the data, at most.
    pub epochs: u32,
    /// Epochs without a better one after which it stops.
    pub patience: Option<u32>,
    /// Epochs before which it does not.
    pub min_epochs: u32,
    /// What scores are compared by.
    pub metric: Metric,
    /// Buffers of the optimiser.
    pub states: u8,
}

/// What an epoch gave.
#[derive(Clone, Debug)]
pub(crate) struct Judged<D> {
    pub epoch: u32,
    pub loss: f64,
    pub learning_rate: f64,
    pub validation: Option<(f64, D)>,
    /// No epoch before was as good.
    pub best: bool,
    pub seconds: f64,
    /// Of the updates alone, bags or patches a second.
    pub items_per_second: f64,
    pub loss_scale: Option<ScaleState>,
}

/// Someone who watches.
pub(crate) trait Watch<D> {
    /// After update `update` (from 0) of an epoch.
    fn update(&mut self, epoch: u32, update: usize, items: usize);
    fn epoch(&mut self, judged: &Judged<D>);
    /// True ends training after this epoch.
    fn stop(&mut self) -> bool;
}

/// How a training ended. The session holds the last weights.
pub(crate) struct Done<D> {
    pub epochs: Vec<Judged<D>>,
    /// The epoch that was best and its weights, where something judged.
    pub best: Option<(u32, Vec<f32>)>,
    /// Seconds of all its parts.
    pub seconds: f64,
}

/// Trains until the limits end it. `identity` is what decides the result: a checkpoint of another is refused.
///
/// # Errors
/// [`Error::NotFinite`] when the loss diverges, [`Error::GradientOverflow`], [`Error::Setting`] for a checkpoint of another
/// training, and what the task, the device and the keeper of checkpoints answer.
pub(crate) fn run<T: Task>(
    session: &mut Session,
    task: &mut T,
    limits: &Limits,
    identity: &Value,
    persistence: Persistence,
    watch: &mut dyn Watch<T::Details>,
) -> Result<Done<T::Details>> {
    let updates = task.updates().to_vec();
    session.executor().reserve_history(updates.last().map_or(0, |update| update.places.end))?;
    let (resume, checkpoints) = persistence.of(identity)?;
    let mut at = Loop {
        limits,
        updates,
        epochs: Vec::new(),
        best: None,
        started: Instant::now(),
        written: Written { identity, checkpoints, records: Vec::new(), before: 0.0 },
    };
    let mut next = (0, 0, Vec::new());
    if let Some(checkpoint) = resume {
        next = at.go_on(session, task, checkpoint)?;
    }
    let (mut epoch, mut first, mut losses) = next;
    while epoch < limits.epochs && !(first == 0 && at.is_over(watch)) {
        at.epoch(session, task, (epoch, first, &losses), watch)?;
        (epoch, first) = (epoch + 1, 0);
        losses.clear();
        at.save_between_epochs(Event::Epoch, session, epoch)?;
    }
    at.save_between_epochs(Event::End, session, epoch)?;
    let seconds = at.written.before + at.started.elapsed().as_secs_f64();
    Ok(Done { epochs: at.epochs, best: at.best.map(|best| (best.epoch, best.values)), seconds })
}

/// Where a training stands.
struct Loop<'a, D> {
    limits: &'a Limits,
    updates: Vec<Update>,
    epochs: Vec<Judged<D>>,
    best: Option<Best>,
    started: Instant,
    written: Written<'a>,
}

impl<D: Clone> Loop<'_, D> {
    /// Returns to a checkpoint: its epoch, the number of the next update in it, and the losses of those before.
    fn go_on<T: Task<Details = D>>(
        &mut self,
        session: &mut Session,
        task: &T,
        checkpoint: Checkpoint,
    ) -> Result<(u32, usize, Vec<f32>)> {
        checkpoint.check(self.written.identity)?;
        let first = checkpoint.update as usize;
        let places = first.checked_sub(1).map_or(Some(0), |last| Some(self.updates.get(last)?.places.end));
        if checkpoint.state.states.len() != usize::from(self.limits.states) || places != Some(checkpoint.losses.len()) {
            return Err(Error::setting("checkpoint", "its parts do not fit each other; it was changed"));
        }
        session.set_state(&checkpoint.state)?;
        for record in &checkpoint.records {
            let details = |packed: &Value| task.unpack(packed).map_err(|e| Error::setting("checkpoint", e));
            let validation = match (&record.validation, record.validation_loss()) {
                (Some(packed), Some(loss)) => Some((loss, details(packed)?)),
                _ => None,
            };
            self.epochs.push(Judged {
                epoch: record.epoch,
                loss: record.loss,
                learning_rate: record.learning_rate,
                validation,
                best: record.best,
                seconds: record.seconds,
                items_per_second: record.items_per_second,
                loss_scale: record.loss_scale,
            });
        }
        self.best = checkpoint.best;
        (self.written.records, self.written.before) = (checkpoint.records, checkpoint.seconds);
        Ok((checkpoint.epoch, first, checkpoint.losses))
    }

    /// Before the first update of an epoch.
    fn save_between_epochs(&mut self, event: Event, session: &mut Session, epoch: u32) -> Result<()> {
        let none = |_: &mut Session| Ok(Vec::new());
        self.written.save_if_due(event, session, self.limits, (self.started, &self.best), (epoch, 0, none))
    }

    /// True when no epoch comes after those that are done.
    fn is_over(&self, watch: &mut dyn Watch<D>) -> bool {
        let Some(last) = self.epochs.last() else { return false };
        let since = self.best.as_ref().map_or(0, |best| last.epoch - best.epoch);
        self.limits.patience.is_some_and(|p| since >= p && last.epoch + 1 >= self.limits.min_epochs) || watch.stop()
    }

    /// One epoch from update number `first` on; `losses` are those before it.
    fn epoch<T: Task<Details = D>>(
        &mut self,
        session: &mut Session,
        task: &mut T,
        (epoch, first, losses): (u32, usize, &[f32]),
        watch: &mut dyn Watch<D>,
    ) -> Result<()> {
        let clock = Instant::now();
        let Self { limits, updates, best, started, written, .. } = self;
        task.epoch(session, epoch, first, &mut |session, update| {
            watch.update(epoch, update, updates[update].items);
            // The end of the epoch is written with its validation.
            if update + 1 == updates.len() {
                return Ok(());
            }
            let known = |session: &mut Session| history(session, losses, updates[update].places.end);
            written.save_if_due(Event::Update, session, limits, (*started, best), (epoch, update + 1, known))
        })?;
        let losses = history(session, losses, updates.last().map_or(0, |u| u.places.end))?;
        let loss = mean_loss(updates, &losses, epoch)?;
        let loss_scale = session.loss_scale()?;
        if let Some(state) = loss_scale.filter(ScaleState::stuck) {
            return Err(Error::GradientOverflow { step: session.updates() - 1, skipped: state.skipped });
        }
        let items: usize = updates[first..].iter().map(|u| u.items).sum();
        let items_per_second = items as f64 / clock.elapsed().as_secs_f64().max(1e-9);
        let learning_rate = task.rate(session.updates().saturating_sub(1), epoch);
        let (mut validation, mut better) = (None, false);
        if let Some((standing, details)) = task.judge(session)? {
            better = best.as_ref().is_none_or(|best| standing.beats(&best.standing, limits.metric));
            if better {
                *best = Some(Best { epoch, standing, values: session.snapshot()? });
            }
            validation = Some((standing.loss, details));
        }
        let seconds = clock.elapsed().as_secs_f64();
        let judged =
            Judged { epoch, loss, learning_rate, validation, best: better, seconds, items_per_second, loss_scale };
        if written.checkpoints.is_some() {
            written.records.push(Record::of(&judged, |details| task.pack(details)));
        }
        watch.epoch(&judged);
        self.epochs.push(judged);
        Ok(())
    }
}

/// What goes into checkpoints.
struct Written<'a> {
    identity: &'a Value,
    checkpoints: Option<Checkpoints>,
    records: Vec<Record>,
    /// Seconds of the parts before this one.
    before: f64,
}

impl Written<'_> {
    fn save_if_due(
        &mut self,
        event: Event,
        session: &mut Session,
        limits: &Limits,
        (started, best): (Instant, &Option<Best>),
        (epoch, update, losses): (u32, usize, impl FnOnce(&mut Session) -> Result<Vec<f32>>),
    ) -> Result<()> {
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        if !checkpoints.is_due(event) {
            return Ok(());
        }
        let checkpoint = Checkpoint {
            identity: self.identity.clone(),
            note: String::new(),
            before: None,
            device: session.device().name().to_owned(),
            epoch,
            update: update as u64,
            seconds: self.before + started.elapsed().as_secs_f64(),
            records: self.records.clone(),
            best: best.clone(),
            losses: losses(session)?,
            state: session.state(limits.states)?,
        };
        checkpoints.save(checkpoint)
    }
}

/// The first `count` losses of an epoch, of which the first ones are `known` from before it was interrupted.
fn history(session: &mut Session, known: &[f32], count: usize) -> Result<Vec<f32>> {
    let mut losses = session.executor().history(count)?;
    losses[..known.len()].copy_from_slice(known);
    Ok(losses)
}

/// The mean loss over the bags of an epoch, each at the time of its update.
///
/// # Errors
/// [`Error::NotFinite`] with the first update whose loss is not.
fn mean_loss(updates: &[Update], losses: &[f32], epoch: u32) -> Result<f64> {
    let (mut sum, mut items) = (0.0, 0);
    for (n, update) in updates.iter().enumerate() {
        let of_update = &losses[update.places.clone()];
        if let Some(loss) = of_update.iter().find(|l| !l.is_finite()) {
            return Err(Error::NotFinite { step: epoch as u64 * updates.len() as u64 + n as u64, loss: *loss });
        }
        sum += of_update.iter().map(|l| f64::from(*l)).sum::<f64>() * update.items as f64;
        items += update.items;
    }
    Ok(sum / items as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_are_decided_by_the_loss() {
        let standing = |score: Option<f64>, loss: f64| Standing { score, loss };
        let auc = |a: Standing, b: Standing| a.beats(&b, Metric::Auc);
        assert!(auc(standing(Some(0.9), 0.5), standing(Some(0.8), 0.1)));
        assert!(!auc(standing(Some(0.8), 0.1), standing(Some(0.9), 0.5)));
        assert!(auc(standing(Some(1.0), 0.1), standing(Some(1.0), 0.5)));
        assert!(!auc(standing(Some(1.0), 0.5), standing(Some(1.0), 0.5)));
        // Of the loss there is no score: it decides alone.
        assert!(standing(None, 0.1).beats(&standing(None, 0.2), Metric::Loss));
        assert!(!standing(None, 0.2).beats(&standing(None, 0.1), Metric::Loss));
        assert!(!standing(None, f64::NAN).beats(&standing(None, 0.1), Metric::Loss));
    }

    #[test]
    fn updates_take_whole_batches() {
        let of = |items, batch, accumulate| {
            let updates = Update::of_epoch(items, batch, accumulate);
            updates.into_iter().map(|u| (u.places, u.items)).collect::<Vec<_>>()
        };
        assert_eq!(of(5, 2, 1), [(0..1, 2), (1..2, 2), (2..3, 1)]);
        assert_eq!(of(7, 2, 2), [(0..2, 4), (2..4, 3)]);
        assert_eq!(of(3, 1, 8), [(0..3, 3)]);
        assert_eq!(of(0, 4, 2), []);
    }

    #[test]
    fn the_loss_of_an_epoch_is_the_mean_over_its_bags() {
        let updates = Update::of_epoch(5, 2, 2);
        // Four bags of mean loss 3, then one of 1.
        assert_eq!(mean_loss(&updates, &[1.0, 2.0, 1.0], 0).unwrap(), 13.0 / 5.0);
        let error = mean_loss(&updates, &[1.0, f32::NAN, 1.0], 2).unwrap_err();
        assert!(matches!(error, Error::NotFinite { step: 4, .. }), "{error}");
    }
}
