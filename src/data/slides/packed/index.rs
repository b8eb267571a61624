//! What a packed file says of its slides, as JSON: of each in front of it, of all together at the end.

use super::super::format::{About, Reason, Unit};
use super::format::{Head, Header, Places};
use crate::bag::Bags;
use crate::data::{Dataset, Folds, Key, Split};
use crate::label_sets::LabelSets;
use crate::responses::Responses;
use serde::{Deserialize, Serialize};

/// A file that a slide came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its name, without the folder.
    pub name: String,
    pub bytes: u64,
    /// When it was written, in nanoseconds from the beginning of 1970.
    pub modified: Option<i64>,
}

/// What rounding to float16 did to the values of a slide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rounding {
    /// Values that float16 does not have.
    pub values: u64,
    /// Those of them that became 0.
    pub to_zero: u64,
    /// The largest change of one that did not, relative to it.
    pub largest: f64,
}

impl Rounding {
    /// That of several slides together.
    pub(super) fn of_all<'a>(slides: impl IntoIterator<Item = &'a Entry>) -> Self {
        let of = slides.into_iter().filter_map(|slide| slide.description.rounding);
        of.fold(Self::default(), |all, of| Self {
            values: all.values.saturating_add(of.values),
            to_zero: all.to_zero.saturating_add(of.to_zero),
            largest: all.largest.max(of.largest),
        })
    }
}

/// What is said of a slide.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Description {
    pub name: String,
    /// The files that it came from, that of its features first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<SourceFile>,
    /// The type of the values there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// Of the coordinates: px, um, or unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Side of a patch in that unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub magnification: Option<f64>,
    /// Width and height of the whole slide, in pixels of level 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[f64; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// Features are of the slide as a whole: a vector.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_slide: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounding: Option<Rounding>,
}

impl Description {
    /// What the file said of its patches.
    pub fn about(&self) -> About {
        let slide = self.size.filter(|size| size.iter().all(|side| side.is_finite() && *side > 0.0));
        About { encoder: self.encoder.clone(), patch: self.patch, magnification: self.magnification, slide }
    }

    pub fn unit(&self) -> Unit {
        match self.unit.as_deref() {
            Some("px") => Unit::Pixels,
            Some("um") => Unit::Micrometres,
            _ => Unit::Unknown,
        }
    }

    /// What [`Description::unit`] reads.
    pub fn unit_name(unit: Unit) -> &'static str {
        match unit {
            Unit::Pixels => "px",
            Unit::Micrometres => "um",
            Unit::Unknown => "unknown",
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers become JSON")
    }
}

/// A slide and where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The byte where its head begins.
    pub at: u64,
    pub rows: u64,
    /// The byte where its features begin, and so on.
    pub features: u64,
    pub coords: Option<u64>,
    pub instance_labels: Option<u64>,
    /// From the features on to the next slide.
    pub crc32: u32,
    #[serde(flatten)]
    pub description: Description,
}

impl Entry {
    pub fn new(at: u64, head: &Head, places: &Places, description: Description) -> Self {
        Self {
            at,
            rows: head.rows,
            features: places.features,
            coords: head.coords.then_some(places.coords),
            instance_labels: head.instance_labels.then_some(places.instance_labels),
            crc32: head.sum,
            description,
        }
    }

    /// Where its parts are, when they are where they have to be.
    pub fn places(&self, header: &Header) -> Option<Places> {
        let description = self.features.checked_sub(self.at.checked_add(super::format::UNIT as u64)?)?;
        let head = Head {
            rows: self.rows,
            description,
            coords: self.coords.is_some(),
            instance_labels: self.instance_labels.is_some(),
            sum: self.crc32,
            sum_of_description: 0,
        };
        let places = head.places(self.at, header)?;
        let right = places.features == self.features
            && self.coords.is_none_or(|at| at == places.coords)
            && self.instance_labels.is_none_or(|at| at == places.instance_labels);
        right.then_some(places)
    }
}

/// A file that was left out of the pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub file: String,
    pub reason: String,
}

/// All that is known of the slides together. Lists have a value for each slide, in their order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Index {
    /// The version that packed it.
    pub bagrad: String,
    /// What the data was called.
    pub name: String,
    pub slides: Vec<Entry>,
    pub classes: Vec<String>,
    /// Which of the classes; null where nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<Option<u32>>>,
    /// In the place of labels: of each class 1 or 0, or null where nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_sets: Option<Vec<Vec<Option<u8>>>>,
    /// In the place of labels: numbers, or with events times; null where nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responses: Option<Vec<Option<f32>>>,
    /// 1 where the event came at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<u8>>,
    /// Patients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Where slides are from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sites: Option<Vec<String>>,
    /// train, validation, test or unlabelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<Vec<String>>,
    /// Of each repetition the fold that tests a slide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folds: Option<Vec<Vec<u32>>>,
    /// Labels of instances that make a key instance; without it those above 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Vec<i32>>,
    /// Names of the features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Height, width and channels where instances are images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<[usize; 3]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// What was assumed of the labels, and of what was packed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl Index {
    /// What `set` says of its bags; their instances are told elsewhere.
    pub fn of(set: &Dataset) -> Self {
        let bags = &set.bags;
        let known = |label: &u32| (*label != Bags::UNKNOWN).then_some(*label);
        let set_of = |of: &[Option<bool>]| of.iter().map(|has| has.map(u8::from)).collect();
        Self {
            name: set.name.clone(),
            classes: bags.class_names.clone(),
            labels: bags.labels.as_ref().map(|labels| labels.iter().map(known).collect()),
            label_sets: bags.label_sets.as_ref().map(|sets| sets.bags().map(set_of).collect()),
            responses: bags
                .responses
                .as_ref()
                .map(|r| r.values().iter().map(|v| (!v.is_nan()).then_some(*v)).collect()),
            events: bags.responses.as_ref().and_then(|r| Some(r.survival()?.1.iter().map(|&e| u8::from(e)).collect())),
            groups: bags.groups.clone(),
            sites: set.sites.clone(),
            parts: set.split.as_ref().map(|split| split.iter().map(|part| part.name().to_owned()).collect()),
            folds: set.folds.as_ref().map(|folds| folds.of().to_vec()),
            key: match &set.key {
                Key::AboveZero => None,
                Key::Labels(labels) => Some(labels.clone()),
            },
            columns: bags.columns.clone(),
            image: bags.image,
            remarks: set.remarks.clone(),
            ..Self::default()
        }
    }

    /// Classes, labels, groups and sites of the slides `places` as those of the bags of `set`, and their parts.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn label(&self, places: &[usize], set: &mut Dataset) -> Result<(), Reason> {
        fn pick<T: Clone>(all: &Option<Vec<T>>, places: &[usize]) -> Option<Vec<T>> {
            all.as_ref().map(|all| places.iter().map(|&at| all[at].clone()).collect())
        }
        let bags = &mut set.bags;
        let labels = pick(&self.labels, places).filter(|labels| labels.iter().any(Option::is_some));
        bags.labels = labels.map(|labels| labels.iter().map(|label| label.unwrap_or(Bags::UNKNOWN)).collect());
        if bags.labels.is_some() {
            bags.class_names = self.classes.clone();
        }
        let sets = pick(&self.label_sets, places);
        if let Some(sets) = sets.filter(|sets| sets.iter().flatten().any(Option::is_some)) {
            let has = |value: &Option<u8>| value.map(|v| v != 0);
            let sets = LabelSets::new(self.classes.len(), sets.iter().flatten().map(has).collect());
            (bags.label_sets, bags.class_names) = (Some(sets.map_err(|e| e.to_string())?), self.classes.clone());
        }
        let values = pick(&self.responses, places).filter(|values| values.iter().any(Option::is_some));
        if let Some(values) = values {
            let values: Vec<f32> = values.into_iter().map(|v| v.unwrap_or(f32::NAN)).collect();
            bags.responses = Some(match pick(&self.events, places) {
                None => Responses::Numbers(values),
                Some(events) => {
                    Responses::Survival { times: values, events: events.into_iter().map(|e| e != 0).collect() }
                }
            });
        }
        bags.groups = pick(&self.groups, places);
        set.sites = pick(&self.sites, places);
        let part = |name: &String| {
            let known = Split::ALL.into_iter().chain([Split::Unlabelled]).find(|part| part.name() == name);
            known.ok_or_else(|| format!("'{name}' is no part"))
        };
        set.split = pick(&self.parts, places).map(|parts| parts.iter().map(part).collect()).transpose()?;
        set.remarks.extend(self.remarks.iter().cloned());
        Ok(())
    }

    /// The rest, which does not depend on labels: names of features, of which an instance has `width`, key instances, and
    /// folds where all slides are there. The bags of `set` may be without their instances.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn describe(&self, slides: usize, width: usize, set: &mut Dataset) -> Result<(), Reason> {
        let values = |image: [usize; 3]| image.into_iter().try_fold(1usize, usize::checked_mul);
        if let Some(image) = self.image.filter(|&image| values(image) != Some(width)) {
            return Err(format!("expected images of {width} values, found {image:?}"));
        }
        (set.bags.columns, set.bags.image) = (self.columns.clone(), self.image);
        if let Some(labels) = &self.key {
            set.key = Key::Labels(labels.clone());
        }
        if let Some(folds) = self.folds.as_ref().filter(|_| slides == self.slides.len()) {
            set.folds = Some(Folds::new(folds.clone()).map_err(|e| e.to_string())?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_earlier_versions_say_less() {
        let slide = r#"{"at":128,"rows":1,"features":256,"coords":null,"instance_labels":null,"crc32":0,"name":"a"}"#;
        let text = format!(r#"{{"bagrad":"0.1.0","name":"old","slides":[{slide}],"classes":[],"groups":["p"]}}"#);
        let index: Index = serde_json::from_str(&text).unwrap();
        assert_eq!((&index.groups, &index.sites), (&Some(vec!["p".into()]), &None));
        assert_eq!(index.slides[0].description.about().slide, None);
        // What has neither is written as it was.
        let again = serde_json::to_string(&index).unwrap();
        assert!(!again.contains("site") && !again.contains("size"), "{again}");
    }

    #[test]
    fn slides_have_sizes_above_zero() {
        let of = |size| Description { size: Some(size), ..Description::default() }.about().slide;
        assert_eq!(of([2048.0, 3072.0]), Some([2048.0, 3072.0]));
        assert_eq!([of([0.0, 1.0]), of([1.0, -2.0]), of([f64::INFINITY, 1.0])], [None; 3]);
    }
}
