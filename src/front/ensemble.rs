//! An ensemble on a device: what each member says of bags, and all of them together.

use super::mean::Mean;
use super::predictor::{Labelled, Look, Predictor};
use crate::bag::Bags;
use crate::device::Device;
use crate::ensemble::Ensemble;
use crate::error::{Error, Result};
use crate::metrics::BagScores;
use crate::standardise::{Distance, FarBags};
use crate::training::Predictions;

impl Ensemble {
    /// As [`crate::Model::look`], of all members: of how far the features are from what each was trained on the worst, and of
    /// the distances of bags the mean, if all members tell of them.
    ///
    /// # Errors
    /// As [`crate::Model::look`].
    pub fn look(&self, bags: &Bags) -> Result<Look> {
        let mut means = None;
        let looks = self.members().iter().map(|member| member.model.look_with(bags, &mut means));
        let mut looks = looks.collect::<Result<Vec<_>>>()?;
        let (distances, far_bags) = mean_of_distances(&looks);
        let values = |look: &Look| look.far.as_ref().map_or(-1.0, |far| far.values);
        let worst =
            (1..looks.len()).fold(0, |worst, at| if values(&looks[at]) > values(&looks[worst]) { at } else { worst });
        let mut worst = looks.swap_remove(worst);
        (worst.distances, worst.far_bags) = (distances, far_bags);
        Ok(worst)
    }

    /// Puts the ensemble on a device, where it predicts; [`Ensemble::new`] has an example.
    pub fn on(self, device: &Device) -> EnsemblePredictor {
        EnsemblePredictor {
            ensemble: self,
            device: device.clone(),
            budget: None,
            renamed: Vec::new(),
            there: Vec::new(),
            gone: 0,
        }
    }
}

/// The mean of what several looks say of the distances of bags, if all say something.
fn mean_of_distances(looks: &[Look]) -> (Vec<Distance>, Option<FarBags>) {
    let all: Option<Vec<&FarBags>> = looks.iter().map(|look| look.far_bags.as_ref()).collect();
    let Some(all) = all.filter(|all| !all.is_empty()) else { return Default::default() };
    let count = looks.len() as f64;
    let mean = |of: &dyn Fn(usize) -> f64| (0..looks.len()).map(of).sum::<f64>() / count;
    let distance = |bag: usize| Distance {
        value: mean(&|at| looks[at].distances[bag].value),
        percentile: mean(&|at| looks[at].distances[bag].percentile),
    };
    let distances: Vec<Distance> = (0..looks[0].distances.len()).map(distance).collect();
    let training = all.iter().map(|far| far.training).fold(f32::INFINITY, f32::min);
    let far_bags = FarBags::of(&distances, mean(&|at| all[at].largest), training);
    (distances, far_bags)
}

/// An ensemble on a device. Members predict one after the other, each as a [`crate::Predictor`] does.
///
/// Members of one network, whose parameters alone differ, take turns in one place on the device, by programs that were planned
/// once. Of each other network there is a place too, which stays from call to call; within a budget
/// ([`EnsemblePredictor::memory`]), and where the memory of the device runs out, one of them at a time.
pub struct EnsemblePredictor {
    ensemble: Ensemble,
    device: Device,
    budget: Option<u64>,
    renamed: Vec<(String, String)>,
    /// The networks that are on the device, each with the member that predicted last.
    there: Vec<(usize, Predictor)>,
    /// Programs of networks that are there no more.
    gone: u64,
}

/// What an ensemble says of some bags.
#[derive(Clone, Debug)]
pub struct Answers {
    /// The mean over the members. Probabilities, numbers and survival curves are means of these; so are log-risks, whose zero
    /// is arbitrary in each fit, which changes no difference between two bags. Decisions are those of the mean.
    ///
    /// Where all members are of one method, scores and attention of instances are means too, as is what the method tells
    /// besides, as far as all members have it in the same form; else [`Predictions::scores`] is empty, and so is the rest.
    ///
    /// Curves of discrete-time survival are compared at the edges of all members' intervals up to the smallest last one (255
    /// at most), each linear between its own edges from 1 at time 0; the target has these edges, and the risk is that of the
    /// curve there.
    pub mean: Predictions,
    /// What each member says of bags, in the ensemble's order; of instances, which are many, nothing is kept. Survival is that
    /// at the edges of the mean. None for an ensemble of one, whose answer is the mean.
    pub members: Vec<Predictions>,
    /// How far the members are apart; none for an ensemble of one.
    pub spread: Option<Spread>,
}

/// Standard deviations over the members of an ensemble (n - 1 in the denominator), of each number that is said of bags.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    /// Of [`Predictions::probabilities`], `[bags, classes]`.
    pub probabilities: Vec<f32>,
    /// Of [`Predictions::values`], in the unit of the data. None of log-risks: those of two fits have no common zero.
    pub values: Vec<f32>,
    /// Of [`Predictions::survival`], `[bags, intervals]`.
    pub survival: Vec<f32>,
}

/// What the predictions of an ensemble are worth.
#[derive(Clone, Debug)]
pub struct EnsembleEvaluation {
    /// Of all bags.
    pub answers: Answers,
    /// The bags that have labels, which the scores are of.
    pub bags: Vec<usize>,
    /// How good the mean is.
    pub scores: BagScores,
    /// How good each member is; none for an ensemble of one.
    pub members: Vec<BagScores>,
    /// What was assumed of the names of classes, for people to see.
    pub remarks: Vec<String>,
}

impl EnsemblePredictor {
    /// The same within so many bytes of device memory, where methods can run in windows of rows.
    pub fn memory(self, bytes: impl Into<Option<u64>>) -> Self {
        Self { budget: bytes.into(), there: Vec::new(), ..self }
    }

    /// As [`crate::Predictor::renamed`].
    pub fn renamed(mut self, names: impl IntoIterator<Item = (String, String)>) -> Self {
        self.renamed.extend(names);
        self
    }

    /// The ensemble.
    pub fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// The device it is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What the ensemble says of all `bags`. A member says what it says alone, to the bit.
    ///
    /// # Errors
    /// As [`crate::Predictor::predict`].
    pub fn predict(&mut self, bags: &Bags) -> Result<Answers> {
        let mut mean = Mean::new(&self.ensemble);
        for at in 0..self.ensemble.members().len() {
            let said = match self.said_by(at, bags) {
                // Others leave their memory.
                Err(Error::OutOfMemory { .. }) if self.there.len() > 1 => {
                    self.leave();
                    self.said_by(at, bags)
                }
                said => said,
            };
            mean.add(said?);
        }
        Ok(mean.end())
    }

    /// Programs that were planned so far. A call whose batches are no larger than those of calls before plans none, if the
    /// members fit on the device together.
    pub fn programs(&mut self) -> u64 {
        self.gone + self.there.iter_mut().map(|(_, predictor)| predictor.programs()).sum::<u64>()
    }

    fn said_by(&mut self, at: usize, bags: &Bags) -> Result<Predictions> {
        self.member(at)?.predict(bags)
    }

    /// Takes all networks from the device.
    fn leave(&mut self) {
        self.gone = self.programs();
        self.there.clear();
    }

    /// A member on the device.
    fn member(&mut self, at: usize) -> Result<&mut Predictor> {
        let model = &self.ensemble.members()[at].model;
        let place = match self.there.iter().position(|(_, predictor)| predictor.has_room_for(model)) {
            Some(place) => place,
            None => {
                let model = model.clone();
                if self.budget.is_some() {
                    self.leave();
                }
                self.there.push((at, model.on(&self.device)?.memory(self.budget)));
                self.there.len() - 1
            }
        };
        let (member, predictor) = &mut self.there[place];
        if *member != at {
            // Should it fail, nobody is there whole.
            *member = usize::MAX;
            predictor.put(self.ensemble.members()[at].model.clone())?;
            *member = at;
        }
        Ok(predictor)
    }

    /// Predicts all `bags` and compares those that have labels with them, as [`crate::Predictor::evaluate`] does.
    ///
    /// # Errors
    /// As [`crate::Predictor::evaluate`].
    pub fn evaluate(&mut self, bags: &Bags) -> Result<EnsembleEvaluation> {
        let labelled = Labelled::new(bags, self.ensemble.members()[0].model.spec(), &self.renamed)?;
        let answers = self.predict(bags)?;
        let scores = labelled.scores(&answers.mean)?;
        let members = answers.members.iter().map(|member| labelled.scores(member)).collect::<Result<_>>()?;
        let Labelled { known, remarks, .. } = labelled;
        Ok(EnsembleEvaluation { answers, bags: known, scores, members, remarks })
    }
}
