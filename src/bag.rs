//! Bags of instances, packed: the rows of all bags stacked in one matrix, with offsets.

mod identity;
mod runs;

use crate::error::{Error, Result};
pub(crate) use crate::features::Features;
use crate::label_sets::LabelSets;
use crate::origin::Origin;
use crate::responses::Responses;
pub use identity::Identity;
pub(crate) use runs::runs;
use std::ops::Range;

/// A packed set of bags.
///
/// Bag `b` owns rows `offsets[b] .. offsets[b + 1]` of the feature matrix `[instances, width]`. There is no
/// padding: a bag of one instance and a bag of a million stand side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Bags {
    /// Row-major `[instances, width]`.
    pub features: Features,
    /// Number of features of an instance.
    pub width: usize,
    /// First row of each bag, and the number of instances at the end (`bags + 1` entries, rising).
    pub offsets: Vec<usize>,
    /// A name for each bag (file stem, or its number).
    pub names: Vec<String>,
    /// Class index of each bag, or [`Bags::UNKNOWN`] where only some have one; `None` when no bag has.
    pub labels: Option<Vec<u32>>,
    /// In the place of `labels`: several labels for each bag, for data where a bag shows any subset of them.
    pub label_sets: Option<LabelSets>,
    /// In the place of `labels`: what is known of each bag that is no class, such as a number or a survival time. There are
    /// no `class_names` then.
    pub responses: Option<Responses>,
    /// What each class index is called (at least as many as the largest label + 1), or each label of `label_sets`.
    pub class_names: Vec<String>,
    /// The group that each bag belongs to, such as the patient of a slide, where the data set knows it: bags of a group
    /// are never divided between training and what judges it.
    pub groups: Option<Vec<String>>,
    /// A label for each instance where the data set knows it; above zero means a key instance, unless
    /// the data set says otherwise.
    pub instance_labels: Option<Vec<i32>>,
    /// Place of each instance (x, y), in the unit of the data set.
    pub coords: Option<Vec<[f32; 2]>>,
    /// (height, width, channels) when an instance is an image stored channel-last row by row.
    pub image: Option<[usize; 3]>,
    /// A name for each feature, where the source has them.
    pub columns: Option<Vec<String>>,
    /// Who made the features and what places mean, where the source says it of all bags.
    pub origin: Option<Origin>,
}

impl Bags {
    /// The label of a bag whose class nobody knows, among labelled ones.
    pub const UNKNOWN: u32 = crate::label_sets::UNKNOWN;

    /// Checked construction from packed rows: `features` is `[instances, width]`, `sizes` the number of
    /// instances of each bag. Labels and the rest are set on the fields afterwards, then [`Bags::validate`]d.
    ///
    /// # Errors
    /// [`Error::Bags`] when the sizes do not add up to the rows, a bag is empty, or a value is not finite.
    ///
    /// ```
    /// # use bagrad::{Bags, Features};
    /// let bags = Bags::packed(Features::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), 2, &[1, 2])?;
    /// assert_eq!((bags.len(), bags.instances()), (2, 3));
    /// # Ok::<(), bagrad::Error>(())
    /// ```
    pub fn packed(features: Features, width: usize, sizes: &[usize]) -> Result<Self> {
        let bags = Self::of_sizes(features, width, sizes)?;
        bags.validate()?;
        Ok(bags)
    }

    /// As [`Bags::packed`], and nothing is checked.
    pub(crate) fn of_sizes(features: Features, width: usize, sizes: &[usize]) -> Result<Self> {
        let mut offsets = Vec::with_capacity(sizes.len() + 1);
        offsets.push(0);
        for &size in sizes {
            let end = offsets[offsets.len() - 1] as u64;
            let end = end.checked_add(size as u64).and_then(|end| usize::try_from(end).ok());
            offsets.push(end.ok_or_else(|| Error::bags("the sizes of the bags add up to more than can be counted"))?);
        }
        Ok(Self {
            features,
            width,
            offsets,
            names: (0..sizes.len()).map(|i| i.to_string()).collect(),
            labels: None,
            label_sets: None,
            responses: None,
            class_names: Vec::new(),
            groups: None,
            instance_labels: None,
            coords: None,
            image: None,
            columns: None,
            origin: None,
        })
    }

    /// The same bags with a class index each (0 .. classes); classes are named by their number.
    ///
    /// # Errors
    /// [`Error::Bags`] when there is not one label for each bag.
    pub fn with_labels(mut self, labels: Vec<u32>) -> Result<Self> {
        let known = labels.iter().filter(|&&l| l != Self::UNKNOWN);
        let classes = known.max().map_or(0, |&m| m as usize + 1).max(2);
        self.class_names = (0..classes).map(|c| c.to_string()).collect();
        (self.labels, self.label_sets, self.responses) = (Some(labels), None, None);
        self.validate()?;
        Ok(self)
    }

    /// The same bags, each with any subset of the labels `names`. Labels that bags had before are dropped.
    ///
    /// # Errors
    /// [`Error::Bags`] when there is not one set for each bag, or not one name for each label, each of its own.
    ///
    /// ```
    /// # use bagrad::{Bags, Features, LabelSets};
    /// let bags = Bags::packed(Features::F32(vec![1.0, 2.0, 3.0]), 1, &[1, 2])?;
    /// let sets = LabelSets::new(2, vec![Some(true), Some(true), Some(false), None])?;
    /// let bags = bags.with_label_sets(sets, vec!["oedema".into(), "nodule".into()])?;
    /// assert!(bags.is_labelled(1));
    /// # Ok::<(), bagrad::Error>(())
    /// ```
    pub fn with_label_sets(mut self, sets: LabelSets, names: Vec<String>) -> Result<Self> {
        (self.labels, self.label_sets, self.class_names) = (None, Some(sets), names);
        self.responses = None;
        self.validate()?;
        Ok(self)
    }

    /// The same bags with what is known of each that is no class. Labels that bags had before are dropped.
    ///
    /// # Errors
    /// [`Error::Bags`] when there is not one for each bag, or one is no number or time.
    ///
    /// ```
    /// # use bagrad::{Bags, Features, Responses};
    /// let bags = Bags::packed(Features::F32(vec![1.0, 2.0, 3.0]), 1, &[1, 2])?;
    /// let bags = bags.with_responses(Responses::Survival { times: vec![312.0, 905.0], events: vec![true, false] })?;
    /// assert!(bags.has_labels() && bags.classes() == 0);
    /// # Ok::<(), bagrad::Error>(())
    /// ```
    pub fn with_responses(mut self, responses: Responses) -> Result<Self> {
        (self.labels, self.label_sets, self.class_names) = (None, None, Vec::new());
        self.responses = Some(responses);
        self.validate()?;
        Ok(self)
    }

    /// Number of bags.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// True when there is no bag.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of instances over all bags.
    pub fn instances(&self) -> usize {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// Number of classes (2 for binary data).
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// Class index of bag `index`; `None` where it is not known, and where there is no such bag.
    pub fn label(&self, index: usize) -> Option<u32> {
        self.labels.as_ref()?.get(index).copied().filter(|&l| l != Self::UNKNOWN)
    }

    /// True when the class or the response of bag `index` is known, or of several labels at least one; false when there is
    /// no such bag.
    pub fn is_labelled(&self, index: usize) -> bool {
        match (&self.labels, &self.label_sets) {
            (Some(labels), _) => labels.get(index).is_some_and(|&label| label != Self::UNKNOWN),
            (None, Some(sets)) => sets.is_known(index),
            (None, None) => self.responses.as_ref().is_some_and(|responses| responses.is_known(index)),
        }
    }

    /// True when bags have labels of any kind, responses among them, though not every bag need have one.
    pub fn has_labels(&self) -> bool {
        self.labels.is_some() || self.label_sets.is_some() || self.responses.is_some()
    }

    /// A stratum for each bag, by which divisions are balanced: its class, or of several labels the rarest that it has
    /// ([`LabelSets::strata`]), or of a response its quarter or event ([`Responses::strata`]). `None` when bags have no
    /// labels.
    pub fn strata(&self) -> Option<Vec<u32>> {
        let of_sets = || self.label_sets.as_ref().map(LabelSets::strata);
        self.labels.clone().or_else(of_sets).or_else(|| self.responses.as_ref().map(Responses::strata))
    }

    /// Rows of bag `index`, below [`Bags::len`].
    ///
    /// # Panics
    /// When there is no such bag, as a slice would.
    pub fn rows(&self, index: usize) -> Range<usize> {
        self.offsets[index]..self.offsets[index + 1]
    }

    /// The bags of `indices`, in that order, packed anew.
    ///
    /// # Errors
    /// [`Error::Bags`] when there is no such bag, or when something does not have a value for each bag or instance, as
    /// after a public field was changed; and [`Error::Format`] when a file of features changed since it was mapped.
    pub fn select(&self, indices: &[usize]) -> Result<Bags> {
        self.check_indices(indices)?;
        self.features.check_unchanged()?;
        let rows: Vec<Range<usize>> = indices.iter().map(|&i| self.rows(i)).collect();
        let sizes: Vec<usize> = rows.iter().map(Range::len).collect();
        self.select_rows(indices, &rows, &sizes)
    }

    /// The bags of `indices`, which there are, with `rows` for their instances: runs of rows in the order of these bags,
    /// which have `sizes` of them.
    pub(crate) fn select_rows(&self, indices: &[usize], rows: &[Range<usize>], sizes: &[usize]) -> Result<Bags> {
        fn gather<T: Copy>(from: &[T], width: usize, rows: &[Range<usize>]) -> Vec<T> {
            let mut gathered = Vec::with_capacity(rows.iter().map(Range::len).sum::<usize>() * width);
            rows.iter().for_each(|r| gathered.extend_from_slice(&from[r.start * width..r.end * width]));
            gathered
        }
        let features = match &self.features {
            Features::F32(v) => Features::F32(gather(v, self.width, rows)),
            Features::F16(v) => Features::F16(gather(v, self.width, rows)),
            Features::Mapped(v) => v.gather(rows.iter().cloned()),
        };
        Ok(Bags {
            names: indices.iter().map(|&i| self.names[i].clone()).collect(),
            labels: self.labels.as_ref().map(|l| indices.iter().map(|&i| l[i]).collect()),
            label_sets: self.label_sets.as_ref().map(|sets| sets.select(indices)),
            responses: self.responses.as_ref().map(|responses| responses.select(indices)),
            class_names: self.class_names.clone(),
            groups: self.groups.as_ref().map(|g| indices.iter().map(|&i| g[i].clone()).collect()),
            instance_labels: self.instance_labels.as_ref().map(|v| gather(v, 1, rows)),
            coords: self.coords.as_ref().map(|v| gather(v, 1, rows)),
            image: self.image,
            columns: self.columns.clone(),
            origin: self.origin.clone(),
            ..Self::of_sizes(features, self.width, sizes)?
        })
    }

    /// The same bags with other features of their instances, which are no picture and have no names.
    pub(crate) fn with_features(&self, features: Features, width: usize) -> Bags {
        let Bags { offsets, names, labels, label_sets, responses, class_names, groups, .. } = self;
        let Bags { instance_labels, coords, origin, .. } = self;
        Bags {
            features,
            width,
            offsets: offsets.clone(),
            names: names.clone(),
            labels: labels.clone(),
            label_sets: label_sets.clone(),
            responses: responses.clone(),
            class_names: class_names.clone(),
            groups: groups.clone(),
            instance_labels: instance_labels.clone(),
            coords: coords.clone(),
            image: None,
            columns: None,
            origin: origin.clone().map(|origin| Origin { encoder: None, ..origin }),
        }
    }

    /// Feature number `at` is not finite.
    pub(crate) fn not_finite(&self, at: usize) -> Error {
        let (row, column, value) = (at / self.width, at % self.width, self.features.get(at));
        Error::bags(format!("the feature in row {row}, column {column} is {value}; features must be finite"))
    }

    /// Refuses features that f16 cannot hold, before a device would take them for infinite. Standardise them first
    /// where that is meant.
    ///
    /// # Errors
    /// [`Error::Bags`] with the bag, the row and the column of the first.
    pub fn check_f16(&self) -> Result<()> {
        self.features.check_unchanged()?;
        self.features.first_beyond_f16().map_or(Ok(()), |at| Err(self.beyond_f16(at / self.width, at % self.width)))
    }

    /// The feature in this row and column is beyond f16.
    pub(crate) fn beyond_f16(&self, row: usize, column: usize) -> Error {
        let bag = self.offsets.partition_point(|&first| first <= row).saturating_sub(1);
        let value = self.features.get(row * self.width + column);
        Error::bags(format!(
            "the feature in row {row}, column {column} (0-based; bag {}) is {value} as the model gets it, beyond float16 \
             ({} at most); store features in 32 bits (train without --half), or standardise them",
            self.names.get(bag).map_or("?", |n| n),
            half::f16::MAX
        ))
    }

    /// Refuses numbers of bags that there are not, and bags that do not lie within the features, as after a public
    /// field was changed. It looks at the named bags alone, and not at values: cheap enough for each step.
    pub(crate) fn check_indices(&self, indices: &[usize]) -> Result<()> {
        let bags = self.len();
        if let Some(bag) = indices.iter().find(|&&b| b >= bags) {
            let known = if bags == 0 { "none".to_string() } else { format!("0 to {}", bags - 1) };
            return Err(Error::bags(format!("there is no bag {bag}; there are {known}")));
        }
        let rows = self.features.len() / self.width.max(1);
        for &bag in indices {
            let [start, end] = [self.offsets[bag], self.offsets[bag + 1]];
            if start >= end || end > rows {
                let message = format!("bag {bag} is rows {start} to {end}; expected at least one of {rows} rows");
                return Err(Error::bags(message));
            }
        }
        let instances = self.instances();
        let lengths = [
            ("names", Some(self.names.len()), bags),
            ("labels", self.labels.as_ref().map(Vec::len), bags),
            ("label sets", self.label_sets.as_ref().map(LabelSets::len), bags),
            ("responses", self.responses.as_ref().map(Responses::len), bags),
            ("groups", self.groups.as_ref().map(Vec::len), bags),
            ("instance labels", self.instance_labels.as_ref().map(Vec::len), instances),
            ("coordinates", self.coords.as_ref().map(Vec::len), instances),
        ];
        for (what, found, expected) in lengths {
            if let Some(found) = found.filter(|&f| f != expected) {
                return Err(Error::bags(format!("expected {expected} {what}, found {found}")));
            }
        }
        Ok(())
    }

    /// Checks every rule of the struct: rising offsets, no empty bag, matching lengths, finite features.
    ///
    /// # Errors
    /// [`Error::Bags`] that names the bag, the row and what was expected.
    pub fn validate(&self) -> Result<()> {
        self.validate_but_values()?;
        self.features.first_not_finite().map_or(Ok(()), |at| Err(self.not_finite(at)))
    }

    /// As [`Bags::validate`], of bags whose features are known to be finite.
    pub(crate) fn validate_but_values(&self) -> Result<()> {
        let bags = self.len();
        if self.width == 0 {
            return Err(Error::bags("an instance has no features (width 0)"));
        }
        for b in 0..bags {
            if self.offsets[b + 1] <= self.offsets[b] {
                return Err(Error::bags(format!("bag {b} has no instances; every bag needs at least one")));
            }
        }
        if self.offsets.first() != Some(&0) {
            let found = self.offsets.first().map_or("none".into(), usize::to_string);
            return Err(Error::bags(format!("expected offsets that begin with 0, found {found}")));
        }
        if self.instances().checked_mul(self.width) != Some(self.features.len()) {
            return Err(Error::bags(format!(
                "{} instances of width {} need {} values, found {}",
                self.instances(),
                self.width,
                self.instances() as u128 * self.width as u128,
                self.features.len()
            )));
        }
        let lengths = [
            ("names", Some(self.names.len()), bags),
            ("labels", self.labels.as_ref().map(Vec::len), bags),
            ("label sets", self.label_sets.as_ref().map(LabelSets::len), bags),
            ("responses", self.responses.as_ref().map(Responses::len), bags),
            ("groups", self.groups.as_ref().map(Vec::len), bags),
            ("instance labels", self.instance_labels.as_ref().map(Vec::len), self.instances()),
            ("coordinates", self.coords.as_ref().map(Vec::len), self.instances()),
            ("names of features", self.columns.as_ref().map(Vec::len), self.width),
        ];
        for (what, found, expected) in lengths {
            if let Some(found) = found.filter(|&f| f != expected) {
                return Err(Error::bags(format!("expected {expected} {what}, found {found}")));
            }
        }
        if let Some(responses) = &self.responses {
            if self.labels.is_some() || self.label_sets.is_some() {
                return Err(Error::bags(
                    "bags have classes or responses, found both (labels or label_sets, and responses)",
                ));
            }
            responses.check(&self.names)?;
        }
        if let Some(sets) = &self.label_sets {
            if self.labels.is_some() {
                return Err(Error::bags("bags have one label each or several, found both (labels and label_sets)"));
            }
            if sets.labels() != self.classes() {
                let (labels, names) = (sets.labels(), self.classes());
                return Err(Error::bags(format!("expected a name for each of {labels} labels, found {names}")));
            }
            let mut names: Vec<&String> = self.class_names.iter().collect();
            names.sort_unstable();
            if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(Error::bags(format!("two labels are called '{}'; each needs a name of its own", twice[0])));
            }
        }
        if let Some(labels) = &self.labels
            && let Some(b) = labels.iter().position(|&l| l != Self::UNKNOWN && l as usize >= self.classes())
        {
            return Err(Error::bags(format!(
                "bag {b} has label {}, but there are only {} classes",
                labels[b],
                self.classes()
            )));
        }
        Ok(())
    }
}
