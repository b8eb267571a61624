//! A model on a device, which takes bags as their files have them.

use crate::bag::{Bags, Features};
use crate::class_match;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::{Model, Spec};
use crate::session::Session;
use crate::standardise::{Distance, Far, FarBags, Standardiser, means_of_all};
use crate::tape::Storage;
use crate::target::Target;
use crate::training::metrics::BagScores;
use crate::training::{Predictions, gather, together};
use std::ops::Range;

/// How bags look to a model, before it says anything of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// How much of them is far from what the model was trained on; `None` of a model that was not told.
    pub far: Option<Far>,
    /// How far each bag is from the training bags, by the mean of its features; empty of a model that was not told.
    pub distances: Vec<Distance>,
    /// What these say together.
    pub far_bags: Option<FarBags>,
    /// What was assumed of their columns, and where else they come from, for people to see.
    pub remark: Option<String>,
    /// The column of the bags for each of the model's, where they stand in another order.
    order: Option<Vec<usize>>,
}

impl Model {
    /// Compares `bags`, as their files have them, with what the model was trained on: number and names of the features,
    /// and how far their values are.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of features, [`Error::Bags`] for other names of features or bags that break
    /// their rules, [`Error::Setting`] for a model whose statistics or columns are not of its width.
    pub fn look(&self, bags: &Bags) -> Result<Look> {
        self.look_with(bags, &mut None)
    }

    /// The same; `means` are those of the bags' features once a model has asked for them.
    pub(super) fn look_with(&self, bags: &Bags, means: &mut Option<Vec<f64>>) -> Result<Look> {
        self.check_fields()?;
        let mut look = arrangement(self.spec(), self.columns.as_deref(), bags)?;
        if let Some(told) =
            self.origin.as_ref().zip(bags.origin.as_ref()).and_then(|(ours, theirs)| ours.differs(theirs))
        {
            look.remark = Some(look.remark.map_or_else(|| told.clone(), |before| format!("{before}; {told}")));
        }
        if let Some(statistics) = self.statistics() {
            let far = match &look.order {
                // The statistics of the bags' columns in the order that those have.
                Some(order) => {
                    let mut here = statistics.clone();
                    for (column, &from) in order.iter().enumerate() {
                        (here.mean[from], here.std[from]) = (statistics.mean[column], statistics.std[column]);
                    }
                    here.far(bags)?
                }
                None => statistics.far(bags)?,
            };
            look.far = Some(far);
            if let Some(training) = &self.distances {
                let means = match means {
                    Some(means) => means,
                    None => means.insert(means_of_all(bags)?),
                };
                look.distances = training.of((bags, means), statistics, look.order.as_deref());
                look.far_bags = FarBags::of(&look.distances, training.largest(), training.training());
            }
        }
        Ok(look)
    }

    /// Puts the model on a device, where it predicts.
    ///
    /// # Errors
    /// [`Error::Setting`] for a model that says nothing of bags, or whose statistics or columns are not of its width, and what the device answers.
    ///
    /// ```
    /// use bagrad::methods::Attention;
    /// use bagrad::{Bags, Device, Features, Trainer};
    ///
    /// # fn main() -> bagrad::Result<()> {
    /// let bags = Bags::packed(Features::F32(vec![1.0, 2.0, 3.0, 9.0, 8.0, 7.0]), 1, &[2, 1, 2, 1])?.with_labels(vec![0, 0, 1, 1])?;
    /// let device = Device::host();
    /// let model = Trainer::new(Attention { embed: vec![4], ..Default::default() }).epochs(5).device(&device).fit(&bags)?.model;
    /// let found = model.on(&device)?.predict(&bags)?;
    /// assert_eq!((found.len(), found.scores.len()), (4, 6));
    /// # Ok(())
    /// # }
    /// ```
    pub fn on(self, device: &Device) -> Result<Predictor> {
        Predictor::new(self, device, Storage::F32)
    }
}

/// As [`Model::look`], of the columns alone, which are `columns` where the model knows their names.
fn arrangement(spec: &Spec, columns: Option<&[String]>, bags: &Bags) -> Result<Look> {
    bags.check_indices(&(0..bags.len()).collect::<Vec<_>>())?;
    if let Some(names) = bags.columns.as_ref().filter(|names| names.len() != bags.width) {
        return Err(Error::bags(format!("expected names of {} features, found {}", bags.width, names.len())));
    }
    let (order, remark) = match columns {
        Some(columns) => bags.column_order(columns)?,
        None => (None, None),
    };
    if bags.width != spec.width {
        return Err(Error::Shape {
            operation: "features",
            expected: format!("instances of {} features, which the model was made for", spec.width),
            found: format!("{} features", bags.width),
        });
    }
    Ok(Look { remark, order, ..Look::default() })
}

/// A model on a device. It takes bags as their files have them: columns are put into the model's order by their names,
/// features are standardised where the model was trained so, batch by batch, and the caller's bags stay as they are.
/// Labels are looked at by [`Predictor::evaluate`] alone.
///
/// A predictor can be sent to another thread; several on one device work side by side.
pub struct Predictor {
    session: Session,
    spec: Spec,
    columns: Option<Vec<String>>,
    standardiser: Option<Standardiser>,
    storage: Storage,
    budget: Option<u64>,
    renamed: Vec<(String, String)>,
}

impl Predictor {
    fn new(model: Model, device: &Device, storage: Storage) -> Result<Self> {
        model.check_fields()?;
        let standardiser = model.standardisation.clone();
        let (spec, columns) = (model.spec().clone(), model.columns.clone());
        let session = Session::new(device, model, storage)?;
        if session.link().is_none() {
            return Err(Error::setting("model", "is an encoder of patches, which says nothing of bags"));
        }
        Ok(Self { session, spec, columns, standardiser, storage, budget: None, renamed: Vec::new() })
    }

    /// True where `model` can be put in the place of its own.
    pub(super) fn has_room_for(&self, model: &Model) -> bool {
        self.spec.is_network_of(model.spec())
    }

    /// Puts `model` in the place of its own, whose network it has: what was planned stays.
    pub(super) fn put(&mut self, model: Model) -> Result<()> {
        model.check_fields()?;
        let (spec, columns, standardiser) =
            (model.spec().clone(), model.columns.clone(), model.standardisation.clone());
        self.session.take_place(model)?;
        (self.spec, self.columns, self.standardiser) = (spec, columns, standardiser);
        Ok(())
    }

    /// Programs that were planned so far.
    pub(super) fn programs(&mut self) -> u64 {
        self.session.executor().counters().programs
    }

    /// The same with features stored in f16 on the device.
    ///
    /// # Errors
    /// What the device answers.
    pub fn half(self) -> Result<Self> {
        let (device, budget, renamed) = (self.session.device().clone(), self.budget, self.renamed);
        let mut predictor = Self::new(self.session.into_model()?, &device, Storage::F16)?;
        predictor.session.set_budget(budget);
        Ok(Self { budget, renamed, ..predictor })
    }

    /// The same within so many bytes of device memory, where the method can run in windows of rows.
    pub fn memory(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.budget = bytes.into();
        self.session.set_budget(self.budget);
        self
    }

    /// Classes that bags call otherwise than the model does, as pairs of a name in the bags and one in the model; for
    /// [`Predictor::evaluate`]. See [`class_match::adopt`].
    pub fn renamed(mut self, names: impl IntoIterator<Item = (String, String)>) -> Self {
        self.renamed.extend(names);
        self
    }

    /// The model.
    ///
    /// # Errors
    /// What the device answers.
    pub fn into_model(self) -> Result<Model> {
        self.session.into_model()
    }

    /// Names of the classes, in the order of the probabilities.
    pub fn classes(&self) -> &[String] {
        &self.spec.classes
    }

    /// The device it is on.
    pub fn device(&self) -> &Device {
        self.session.device()
    }

    /// Which of bags of these `sizes` [`Predictor::predict`] looks at together. Who reads bags when they are wanted, and
    /// predicts those of a range at a time, has the same bits as from all bags at once.
    pub fn together(sizes: &[usize]) -> Vec<Range<usize>> {
        together(sizes)
    }

    /// What the model says of all `bags`.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of features, [`Error::Bags`] for bags that break their rules, other names of
    /// features, or a prediction that is not a number, and what the device answers.
    pub fn predict(&mut self, bags: &Bags) -> Result<Predictions> {
        self.predict_some(bags, &(0..bags.len()).collect::<Vec<_>>())
    }

    /// What the model says of the bags `which`, in that order.
    ///
    /// # Errors
    /// As [`Predictor::predict`], and [`Error::Bags`] when there is no such bag.
    pub fn predict_some(&mut self, bags: &Bags, which: &[usize]) -> Result<Predictions> {
        bags.check_indices(which)?;
        let Look { order, .. } = arrangement(&self.spec, self.columns.as_deref(), bags)?;
        let (standardiser, storage) = (&self.standardiser, self.storage);
        let as_they_are = standardiser.is_none() && order.is_none() && labels_fit(&self.spec, bags);
        let found = gather(&mut self.session, bags, which, |session, batch| {
            if as_they_are {
                return session.outputs(bags, batch, None);
            }
            let mut taken = bags.select(batch)?;
            (taken.labels, taken.label_sets, taken.responses) = (None, None, None);
            if let Some(order) = &order {
                taken.move_columns(order);
            }
            if let Some(standardiser) = standardiser {
                standardiser.apply_from(0, &mut taken.features);
            }
            check_features(&taken, storage)?;
            session.outputs(&taken, &(0..batch.len()).collect::<Vec<_>>(), None)
        })?;
        match found.said_of_all().iter().position(|p| !p.is_finite()) {
            Some(at) => Err(Error::bags(format!(
                "the prediction of bag {} is not a finite number: the training diverged (try a smaller learning rate, or \
                 standardise the features), or these features are far from the ones it saw",
                bags.names[which[at / found.classes.max(1)]]
            ))),
            None => Ok(found),
        }
    }

    /// Predicts all `bags` and compares those that have labels with them, whose classes are matched with the model's by
    /// their names ([`class_match::adopt`]).
    ///
    /// # Errors
    /// As [`Predictor::predict`], and [`Error::Bags`] for bags without labels, of another kind, or of classes that the
    /// model does not know.
    pub fn evaluate(&mut self, bags: &Bags) -> Result<Evaluation> {
        let labelled = Labelled::new(bags, &self.spec, &self.renamed)?;
        let predictions = self.predict(bags)?;
        let scores = labelled.scores(&predictions)?;
        let Labelled { known, remarks, .. } = labelled;
        Ok(Evaluation { predictions, bags: known, scores, remarks })
    }
}

/// What predictions are held against: the labels of bags, as classes of a model.
pub(super) struct Labelled {
    labels: Bags,
    /// The bags that have labels.
    pub known: Vec<usize>,
    /// What was assumed of the names of classes.
    pub remarks: Vec<String>,
}

impl Labelled {
    /// Those of `bags`, with classes that are called otherwise as pairs of a name in the bags and one in the model.
    ///
    /// # Errors
    /// [`Error::Bags`] for bags without labels, of another kind, or of classes that the model does not know.
    pub fn new(bags: &Bags, spec: &Spec, renamed: &[(String, String)]) -> Result<Self> {
        if !bags.has_labels() {
            return Err(Error::bags("metrics need labels, and these bags have none"));
        }
        bags.check_indices(&(0..bags.len()).collect::<Vec<_>>())?;
        class_match::check_kind(bags, &spec.classes, &spec.target)?;
        let mut labels = labels_of(bags)?;
        let remarks = class_match::adopt(&mut labels, &spec.classes, renamed)?;
        let known = (0..labels.len()).filter(|&bag| labels.is_labelled(bag)).collect();
        Ok(Self { labels, known, remarks })
    }

    /// How good predictions of all bags are.
    ///
    /// # Errors
    /// As [`Predictions::scores_among`].
    pub fn scores(&self, predictions: &Predictions) -> Result<BagScores> {
        predictions.scores_among(&predictions.said(&self.known), &self.labels, &self.known)
    }
}

/// True when labels, if there are any, are of the model's kind and number: a session looks at that. What they mean does
/// not matter to predictions.
fn labels_fit(spec: &Spec, bags: &Bags) -> bool {
    let classes = spec.classes.len();
    if bags.responses.is_some() {
        return spec.target.check_fits(bags).is_ok();
    }
    match (&bags.labels, &bags.label_sets) {
        (None, None) => true,
        (Some(labels), None) => {
            matches!(spec.target, Target::Classes | Target::Ordered)
                && labels.iter().all(|&label| label == Bags::UNKNOWN || (label as usize) < classes)
        }
        (None, Some(sets)) => spec.target.is_label_sets() && sets.labels() == classes,
        (Some(_), Some(_)) => false,
    }
}

/// Refuses features that the model cannot be given, as they are after standardising.
fn check_features(bags: &Bags, storage: Storage) -> Result<()> {
    let beyond = || bags.features.first_beyond_f16().filter(|_| storage == Storage::F16);
    let Some(at) = bags.features.first_not_finite().or_else(beyond) else { return Ok(()) };
    let (row, column) = (at / bags.width, at % bags.width);
    let bag = bags.offsets.partition_point(|&first| first <= row) - 1;
    let range = if storage == Storage::F16 { " within float16" } else { "" };
    Err(Error::bags(format!(
        "the feature in row {} of bag {}, column {column} (0-based), is {} as the model gets it; expected a finite \
         number{range}",
        row - bags.offsets[bag],
        bags.names[bag],
        bags.features.get(at)
    )))
}

/// Names and labels of `bags`, with one instance of one feature each.
fn labels_of(bags: &Bags) -> Result<Bags> {
    let count = bags.len();
    let mut labels = Bags::packed(Features::F32(vec![0.0; count]), 1, &vec![1; count])?;
    labels.names.clone_from(&bags.names);
    labels.labels.clone_from(&bags.labels);
    labels.label_sets.clone_from(&bags.label_sets);
    labels.responses.clone_from(&bags.responses);
    labels.class_names.clone_from(&bags.class_names);
    labels.validate()?;
    Ok(labels)
}

/// What predictions are worth.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Of all bags.
    pub predictions: Predictions,
    /// The bags that have labels, which the scores are of.
    pub bags: Vec<usize>,
    /// How good the predictions of these are.
    pub scores: BagScores,
    /// What was assumed of the names of classes, for people to see.
    pub remarks: Vec<String>,
}
