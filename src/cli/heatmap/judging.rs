//! How right a model is on the slides that are drawn, where their labels are known.

use crate::cli::{judged, run_folder};
use anyhow::Result;
use bagrad::Bags;
use bagrad::data::Split;
use bagrad::report::Judged;
use bagrad::training::Predictions;
use std::collections::HashMap;
use std::path::Path;

/// Numbers of slides, and what was said of them.
#[derive(Default)]
struct Of {
    slides: Vec<usize>,
    said: Vec<f32>,
}

/// What is needed of each labelled slide, in the order in which they are drawn.
pub struct Judging {
    /// What each slide was for the run that the model is of, where that is known.
    parts: Option<HashMap<String, Split>>,
    /// Slides that the run had no say over, and those by which its epoch was chosen: numbers, and what was said of each after
    /// the other.
    unseen: Of,
    chosen_by: Of,
    /// Labelled slides that the model was trained on, which tell nothing.
    trained_on: usize,
    /// What the last batch was, less its instances: how numbers are to be read.
    found: Option<Predictions>,
}

impl Judging {
    /// Of the model of `model`, a file or the folder of a run.
    ///
    /// # Errors
    /// When the folder's table cannot be read.
    pub fn of(model: &Path) -> Result<Self> {
        let parts = run_folder::parts(model)?;
        Ok(Self { parts, unseen: Of::default(), chosen_by: Of::default(), trained_on: 0, found: None })
    }

    /// What the slide was for the run.
    pub fn part(&self, name: &str) -> Option<Split> {
        run_folder::part_of(self.parts.as_ref()?, name)
    }

    /// Bag `bag` of `found` is slide `at` of all.
    pub fn add(&mut self, found: &Predictions, bag: usize, (all, at): (&Bags, usize)) {
        if !all.is_labelled(at) {
            return;
        }
        let of = match self.part(&all.names[at]) {
            Some(Split::Train) => {
                self.trained_on += 1;
                return;
            }
            Some(Split::Validation) => &mut self.chosen_by,
            Some(_) | None => &mut self.unseen,
        };
        of.slides.push(at);
        of.said.extend(found.said(&[bag]));
    }

    /// After the slides of a batch.
    pub fn batch(&mut self, found: Predictions) {
        self.found = Some(found);
    }

    /// Scores and charts; `None` without a labelled slide that the model was not trained on.
    ///
    /// # Errors
    /// When labels are of another kind than what the model says.
    pub fn judged(&self, all: &Bags) -> Result<Option<Judged>> {
        // What chose the epoch judges where nothing else does.
        let of = if self.unseen.slides.is_empty() { &self.chosen_by } else { &self.unseen };
        let Of { slides, said } = of;
        let Some(found) = self.found.as_ref().filter(|_| !slides.is_empty()) else { return Ok(None) };
        let scores = found.scores_among(said, all, slides)?;
        let mut notes = Vec::new();
        let mut left_out = Vec::new();
        if self.trained_on > 0 {
            left_out.push(format!("{} that the model was trained on", self.trained_on));
        }
        match (self.unseen.slides.len(), self.chosen_by.slides.len()) {
            (_, 0) => {}
            (0, _) => {
                notes.push("By these slides the epoch was chosen, so the scores are a little too good.".to_owned());
            }
            (_, many) => left_out.push(format!("{many} by which its epoch was chosen")),
        }
        if !left_out.is_empty() {
            notes.push(format!("Left out of the labelled slides: {}.", left_out.join(", and ")));
        }
        if self.parts.is_none() {
            notes.push(
                "Which slides the model was trained on is not known here; of those these scores tell too much good. The folder of \
                 its run knows it (--model RUN)."
                    .to_owned(),
            );
        }
        let mut risks = if found.target.is_survival() { said.clone() } else { Vec::new() };
        risks.sort_by(f32::total_cmp);
        let survival = risks.get(risks.len() / 2).and_then(|&cut| {
            let title = "Slides by risk above and below their median";
            judged::survival(&found.target, said, all, slides, cut, title)
        });
        Ok(Some(Judged {
            title: format!("How right it is: {} slides with a label", slides.len()),
            notes,
            results: judged::results(&scores, said, all, slides),
            curves: survival.into_iter().collect(),
            predictions: judged::predictions(found, said, all, slides, "slides"),
        }))
    }
}
