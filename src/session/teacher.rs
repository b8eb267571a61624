//! A step of a model that learns from a teacher (see [`crate::tape::Teacher`]): the teacher looks at the whole bags,
//! what it says is read back, the rows to keep are picked (see [`crate::masking`]), and the student's step runs
//! over those alone.

use super::windowed::Reading;
use super::{Inputs, Session, Tensor};
use crate::error::Result;
use crate::kernels::launch::{BufferKey, Dim, Place, Scalars, tokens_of};
use crate::masking::Scores;
use crate::model::Model;
use crate::plan::{Purpose, TEACHER_OUTPUTS};
use crate::random::Random;
use crate::tape::Teacher;
use std::ops::Range;

/// Streams of the run's seed from here on draw masks, one an update.
const MASK_STREAM: u64 = 1 << 41;
/// Stream of the run's seed that gives the seed of the teacher's dropout: it would else drop what the student drops.
const TEACHER_STREAM: u64 = (1 << 41) - 1;

/// Runs of consecutive numbers in `rows`, which ascend, counted from `start`.
pub(super) fn runs(rows: &[usize], start: usize) -> Vec<Range<usize>> {
    rows.chunk_by(|a, b| a + 1 == *b).map(|run| start + run[0]..start + run[run.len() - 1] + 1).collect()
}

/// What a teacher said of a batch.
struct Said {
    scores: Option<Tensor>,
    features: Option<Tensor>,
}

impl Session {
    /// Tells how many updates the training will take in all, which the shares of what is masked and the momentum
    /// of a teacher follow. Without it they stay as they start.
    pub fn set_planned(&mut self, updates: Option<u64>) {
        self.planned = updates;
    }

    /// True when steps ask a teacher before the student learns.
    pub fn has_teacher(&self) -> bool {
        self.tape.teacher.is_some()
    }

    /// The model with the parameters of its teacher; `None` of a method without one.
    ///
    /// # Errors
    /// What the device answers.
    pub fn teacher(&mut self) -> Result<Option<Model>> {
        if self.tape.teacher.is_none() {
            return Ok(None);
        }
        self.start_teacher()?;
        self.fetch()?;
        let count = self.model.values.len();
        let place = Place { buffer: BufferKey::Teacher, offset: 0, bytes: count as u64 * 4 };
        let mut model = self.model.clone();
        (model.values, model.teacher) = (self.executor.read_f32(place, count)?, None);
        Ok(Some(model))
    }

    /// Until the first update the teacher is what the model says that it starts with, or the model itself.
    pub(super) fn start_teacher(&mut self) -> Result<()> {
        if self.updates > 0 {
            return Ok(());
        }
        self.fetch()?;
        self.executor.ensure(BufferKey::Teacher, self.model.layout().total as u64 * 4)?;
        let values = self.model.teacher.as_ref().unwrap_or(&self.model.values);
        self.executor.write(BufferKey::Teacher, 0, values)
    }

    /// The program that runs before that of `purpose`, where the teacher is asked something.
    pub(super) fn asks_first(&self, purpose: Purpose) -> Option<Purpose> {
        let masks = self.tape.teacher?.masks;
        let asked = masks.needs_scores() || masks.consistency > 0.0;
        match purpose {
            _ if asked && purpose.learns() => Some(Purpose::Teach { dropout: true }),
            Purpose::Gradients { dropout } if asked => Some(Purpose::Teach { dropout }),
            // Nothing is masked then, so only what features are compared with is asked for.
            Purpose::Evaluate if masks.consistency > 0.0 => Some(Purpose::Teach { dropout: false }),
            _ => None,
        }
    }

    /// Seed of the random numbers of a program.
    pub(super) fn seed_of(&self, purpose: Purpose) -> u64 {
        match purpose {
            Purpose::Teach { .. } => Random::new(self.batch_seed(), TEACHER_STREAM).u64(),
            _ => self.batch_seed(),
        }
    }

    /// Asks the teacher, when there is one, about a batch for `purpose`. What the bags' features are compared with
    /// is part of the batch from then on; the rows to keep of each bag come back when anything may be masked.
    pub(super) fn teach(&mut self, purpose: Purpose, inputs: &Inputs, masked: bool) -> Result<Option<Vec<Vec<usize>>>> {
        let Some(teacher) = self.tape.teacher else { return Ok(None) };
        // The student's program decides whether the batch fits, so it is made ready first.
        let extent = super::extent_of(inputs.bags, inputs.indices)?;
        self.make_ready(purpose, extent)?;
        self.start_teacher()?;
        let said = match self.asks_first(purpose) {
            Some(asked) => self.ask(asked, inputs)?,
            None => Said { scores: None, features: None },
        };
        self.batch.teacher.clear();
        if let Some(features) = &said.features {
            let width = features.shape[1] / teacher.parts as usize;
            let parts = features.values.chunks_exact(width);
            parts.for_each(|part| softmax(part, teacher.masks.temperature, &mut self.batch.teacher));
        }
        Ok(masked.then(|| self.keep_rows(&teacher, inputs, said.scores.as_ref())))
    }

    fn ask(&mut self, purpose: Purpose, inputs: &Inputs) -> Result<Said> {
        let windows = self.set_batch(purpose, inputs, &vec![0.0; inputs.indices.len()])?;
        assert!(!windows, "a model with a teacher has no windows");
        let mut reading = Reading::default();
        let scalars = Scalars { step: self.updates as u32, ..Scalars::default() };
        self.run(purpose, scalars, None, (inputs, false), Some(&mut reading))?;
        let [scores, features] = TEACHER_OUTPUTS.map(|name| reading.outputs.remove(name));
        Ok(Said { scores, features })
    }

    fn keep_rows(&self, teacher: &Teacher, inputs: &Inputs, scores: Option<&Tensor>) -> Vec<Vec<usize>> {
        let over_tokens = self.tape.shape(teacher.scores).rows == Dim::Tokens;
        let high = teacher.masks.high_at(self.updates, self.planned);
        let mut random = Random::new(self.batch_seed(), MASK_STREAM + self.updates);
        let mut first = 0;
        let one = |n: usize| {
            // The class token comes before the instances, and those that fill the square up behind them.
            let (skipped, rows) = if over_tokens { (1, tokens_of(n as u32) as usize) } else { (0, n) };
            let scores = scores.map(|scores| {
                let columns = scores.shape[1];
                let from = (first + skipped) * columns;
                Scores { values: &scores.values[from..from + n * columns], columns, vote: teacher.vote }
            });
            first += rows;
            teacher.masks.kept(n, scores, high, &mut random)
        };
        inputs.sizes().map(one).collect()
    }
}

/// Appends softmax(row / temperature).
fn softmax(row: &[f64], temperature: f64, out: &mut Vec<f32>) {
    let largest = row.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
    let weight = |v: &f64| ((v - largest) / temperature).exp();
    let total: f64 = row.iter().map(weight).sum();
    out.extend(row.iter().map(|v| (weight(v) / total) as f32));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_runs() {
        assert_eq!(runs(&[0, 1, 2, 5, 7, 8], 10), [10..13, 15..16, 17..19]);
        assert_eq!(runs(&[3, 5], 0), [3..4, 5..6]);
        assert_eq!(runs(&[], 4), []);
    }

    #[test]
    fn softmax_adds_up_to_one() {
        let mut out = Vec::new();
        softmax(&[1000.0, 1000.1, -5.0], 0.1, &mut out);
        let e = std::f32::consts::E;
        let wanted = [1.0 / (1.0 + e), e / (1.0 + e), 0.0];
        assert!(out.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{out:?}");
    }
}
