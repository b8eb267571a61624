//! `labels.npy`: the class of each bag, or which of several labels it has.

use super::super::Dataset;
use super::super::classes::{self, Classes};
use super::array::Array;
use crate::error::{Error, Result};
use crate::label_sets::LabelSets;
use npyz::TypeChar;

/// Labels of the bags. With `named` classes they are names or indices of these.
pub(super) fn labels(mut array: Array, bags: usize, named: Option<&[String]>) -> Result<Option<Classes>> {
    array.expect_shape(&[bags], "one label for each bag of bag_ids.npy")?;
    if matches!(array.kind, TypeChar::UnicodeStr | TypeChar::ByteStr) {
        let words = array.strings()?;
        let read = match named {
            Some(names) => classes::of_given(&words, names),
            None => classes::of_text(&words),
        };
        return read.map_err(|message| Error::format(&array.path, message));
    }
    let labels: Vec<Option<i64>> = match array.kind {
        TypeChar::Float => {
            let values = array.floats()?;
            let value = |i: usize| match values.get(i) {
                v if v.is_nan() => Ok(None),
                v if v.fract() == 0.0 && v.abs() < 1e7 => Ok(Some(v as i64)),
                v => array.wrong("whole numbers, and nan for an unknown label", format!("{v} in row {i} (0-based)")),
            };
            (0..bags).map(value).collect::<Result<_>>()?
        }
        _ => array.integers()?.into_iter().map(Some).collect(),
    };
    let Some(names) = named.map(<[String]>::len) else {
        return classes::of_numbers(&labels).map_err(|message| Error::format(&array.path, message));
    };
    if let Some(row) = labels.iter().position(|l| l.is_some_and(|l| !(0..names as i64).contains(&l))) {
        let found = labels[row].unwrap_or_default();
        return array.wrong(
            &format!("a class from 0 to {}, as class_names.txt has {names} lines", names.saturating_sub(1)),
            format!("{found} in row {row} (0-based)"),
        );
    }
    Ok(Some(classes::index(&labels, &(0..names as i64).collect::<Vec<_>>())))
}

/// Labels of two dimensions: which of several labels each bag has, put into `set`; one column is one class a bag, which
/// comes back.
pub(super) fn several_labels(
    mut array: Array,
    bags: usize,
    named: Option<&[String]>,
    set: &mut Dataset,
) -> Result<Option<Classes>> {
    let count = array.shape[1];
    array.expect_shape(&[bags, count], "a row of labels for each bag of bag_ids.npy")?;
    if count == 1 {
        array.shape = vec![bags];
        set.remarks.push("labels.npy has one column: it is read as the class of each bag".into());
        return labels(array, bags, named);
    }
    if count == 0 || count > classes::MOST_CLASSES {
        return array.wrong(&format!("1 to {} columns (labels)", classes::MOST_CLASSES), count);
    }
    let values: Vec<Option<f32>> = match array.kind {
        TypeChar::Float => array.floats()?.to_f32().into_iter().map(|v| (!v.is_nan()).then_some(v)).collect(),
        _ => array.integers()?.into_iter().map(|v| Some(v as f32)).collect(),
    };
    if let Some(at) = values.iter().position(|v| v.is_some_and(|v| v != 0.0 && v != 1.0)) {
        let (found, row, column) = (values[at].unwrap_or_default(), at / count, at % count);
        let hint =
            if found == -1.0 { "; where -1 means that it is not known, write nan into an array of floats" } else { "" };
        return array.wrong(
            "0 or 1 for each label of each bag, or nan where that is not known",
            format!("{found} in row {row}, column {column} (0-based){hint}"),
        );
    }
    let names = match named {
        Some(names) if names.len() != count => {
            return array.wrong(&format!("{} columns, as class_names.txt has so many lines", names.len()), count);
        }
        Some(names) => names.to_vec(),
        None => {
            set.remarks.push(format!(
                "each bag has any subset of {count} labels, which are called 0 to {}; class_names.txt gives them names, a \
                 line each",
                count - 1
            ));
            (0..count).map(|label| label.to_string()).collect()
        }
    };
    let unknown = values.iter().filter(|v| v.is_none()).count();
    if unknown == values.len() {
        return Ok(None);
    }
    let sets = LabelSets::new(count, values.into_iter().map(|v| v.map(|v| v == 1.0)).collect())?;
    if unknown > 0 {
        let bare = (0..bags).filter(|&bag| !sets.is_known(bag)).count();
        let of_bags = match bare {
            0 => String::new(),
            _ => format!("; {bare} of the bags have none that is, and are predicted and not trained on"),
        };
        set.remarks.push(format!(
            "{unknown} of {} labels of bags are not known (nan): they count nothing in training and scores{of_bags}",
            bags * count
        ));
    } else if sets.bags().all(|of| of.iter().filter(|has| **has == Some(true)).count() == 1) {
        set.remarks.push(
            "each bag has exactly one of the labels; where they exclude each other, give one column, the number of each \
             bag's class"
                .into(),
        );
    }
    (set.bags.label_sets, set.bags.class_names) = (Some(sets), names);
    Ok(None)
}
