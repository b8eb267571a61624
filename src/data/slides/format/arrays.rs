//! Files that hold arrays by name: which are the features of a slide, and which the places of its patches.

use super::super::said::Said;
use super::{
    Head, LABELS, NAMES, Number, Reason, SlideFile, check_labels, coords_columns, places, rows_and_width, whole,
};
use crate::bounded;
use crate::features::Features;

/// What the places of patches are called.
pub(in super::super) const COORDS: [&str; 3] = ["coords", "coordinates", "coord"];

/// An array whose values are not read yet. Its size fits the file.
#[derive(Clone, Debug)]
pub(in super::super) struct Array {
    pub name: String,
    pub shape: Vec<u64>,
    pub number: Number,
}

impl Array {
    /// # Errors
    /// When memory cannot hold it.
    pub fn new(name: impl Into<String>, shape: Vec<u64>, number: Number) -> Result<Self, Reason> {
        let name = name.into();
        let mut sizes = shape.clone();
        sizes.push(number.bytes() as u64);
        bounded::check_room(&name, &sizes).map_err(|e| e.to_string())?;
        Ok(Self { name, shape, number })
    }

    fn told(&self) -> String {
        format!("{} {:?} of {}", self.name, self.shape, self.number.name())
    }
}

/// A file of arrays.
pub(in super::super) trait Arrays {
    fn arrays(&self) -> &[Array];

    /// The little-endian values of the array with this number, in C order.
    ///
    /// # Errors
    /// What is wrong with them.
    fn bytes(&self, at: usize) -> Result<Vec<u8>, Reason>;
}

/// The number of the array that has one of `names`, the first of them first; else of the only one there is.
pub(in super::super) fn named(arrays: &[Array], names: &[&str]) -> Option<usize> {
    let called = names.iter().find_map(|name| arrays.iter().position(|a| a.name == **name));
    called.or_else(|| (arrays.len() == 1).then_some(0))
}

/// A file of arrays that is the file of a slide.
pub(super) struct ArraySlide<A> {
    file: A,
    head: Head,
    features: usize,
    coords: Option<usize>,
    labels: Option<usize>,
}

impl<A: Arrays> ArraySlide<A> {
    /// # Errors
    /// When it is not known which array has the features, or shapes do not fit.
    pub fn of(file: A, said: &Said) -> Result<Self, Reason> {
        let arrays = file.arrays();
        let features = features(arrays)?;
        let Array { name, shape, number } = &arrays[features];
        if !number.is_float() {
            return Err(format!("expected {name} to be floats, found {}", number.name()));
        }
        let (rows, width, of_slide) = rows_and_width(shape, name)?;
        let place = |name: &&str| arrays.iter().position(|a| a.name == **name);
        let beside = |names: &[&str]| names.iter().find_map(place).filter(|at| !of_slide && *at != features);
        let (coords, labels) = (beside(&COORDS), beside(&LABELS));
        if let Some(labels) = labels {
            check_labels(&arrays[labels].shape, rows).map_err(|e| format!("{}: {e}", arrays[labels].name))?;
        }
        if let Some(coords) = coords {
            coords_columns(&arrays[coords].shape, rows)?;
        }
        let unit = coords.map(|at| said.unit(arrays[at].number));
        let head = Head {
            rows,
            width,
            number: *number,
            coords: unit,
            of_slide,
            labelled: labels.is_some(),
            about: said.about(unit),
        };
        Ok(Self { file, head, features, coords, labels })
    }
}

/// The number of the array of features: that with a usual name, else the only one of floats that is a matrix.
fn features(arrays: &[Array]) -> Result<usize, Reason> {
    if let Some(at) = named(arrays, &NAMES) {
        return Ok(at);
    }
    let is = |a: &Array| a.number.is_float() && matches!(a.shape[..], [_, _] | [1, _, _]);
    let mut all = (0..arrays.len())
        .filter(|&at| is(&arrays[at]) && ![&COORDS[..], &LABELS].concat().contains(&&arrays[at].name[..]));
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(only),
        _ => {
            let found: Vec<String> = arrays.iter().take(8).map(Array::told).collect();
            let found = if found.is_empty() { "none".into() } else { found.join(", ") };
            Err(format!(
                "expected an array called {}, or one alone of shape [patches, width]; found {found}",
                NAMES.join(", ")
            ))
        }
    }
}

impl<A: Arrays> SlideFile for ArraySlide<A> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn features(&self) -> Result<Features, Reason> {
        Ok(self.head.number.features(&self.file.bytes(self.features)?))
    }

    fn coords(&self) -> Result<Option<Vec<[f32; 2]>>, Reason> {
        let Some(at) = self.coords else { return Ok(None) };
        let array = &self.file.arrays()[at];
        let columns = coords_columns(&array.shape, self.head.rows)?;
        places(&array.number.floats(&self.file.bytes(at)?), columns).map(Some)
    }

    fn instance_labels(&self) -> Result<Option<Vec<i32>>, Reason> {
        let Some(at) = self.labels else { return Ok(None) };
        whole(self.file.arrays()[at].number.floats(&self.file.bytes(at)?)).map(Some)
    }
}
