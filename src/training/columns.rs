//! What a model says of instances, column for column.

use super::{Predictions, Told};
use crate::tape::Meaning;

/// A number of each instance.
#[derive(Clone, Debug)]
pub struct InstanceColumn<'a> {
    /// What it is called, as in `attention.csv`: `score`, `attention(tumour)`.
    pub name: String,
    /// What it says.
    pub meaning: Meaning,
    /// The class that it is of, where it is of one.
    pub class: Option<usize>,
    values: &'a [f32],
    first: usize,
    step: usize,
}

impl InstanceColumn<'_> {
    /// The number of instance `row`, below how many there are.
    ///
    /// # Panics
    /// When there is no such row, as a slice would.
    pub fn get(&self, row: usize) -> f32 {
        self.values[row * self.step + self.first]
    }

    /// Those of some instances.
    ///
    /// # Panics
    /// As [`InstanceColumn::get`].
    pub fn of(&self, rows: std::ops::Range<usize>) -> Vec<f32> {
        rows.map(|row| self.get(row)).collect()
    }
}

impl Predictions {
    /// All that is said of instances: the score, the attention where there is one, both for each class where the model has
    /// a column for each, and what the method tells besides. `classes` are the names of the classes.
    ///
    /// # Panics
    /// When there are fewer names than classes.
    pub fn instance_columns(&self, classes: &[String]) -> Vec<InstanceColumn<'_>> {
        let (score, weight) = (("score", self.scores_are), ("attention", Meaning::Weight));
        let one = |(name, meaning): (&str, Meaning), values| InstanceColumn {
            name: name.to_owned(),
            meaning,
            class: None,
            values,
            first: 0,
            step: 1,
        };
        // Some ensembles have no scores.
        let mut all: Vec<InstanceColumn> =
            (!self.scores.is_empty()).then(|| one(score, &self.scores[..])).into_iter().collect();
        all.extend(self.attention.iter().map(|values| one(weight, &values[..])));
        for ((what, meaning), values) in [(score, &self.class_scores), (weight, &self.class_attention)] {
            let Some(values) = values else { continue };
            all.extend((0..self.outputs).map(|column| {
                let class = self.class_of_column(column);
                let name = format!("{what}({})", classes[class]);
                InstanceColumn { name, meaning, class: Some(class), values, first: column, step: self.outputs }
            }));
        }
        all.extend(self.of_instances.iter().flat_map(|told| {
            let of = move |(first, name)| InstanceColumn {
                name,
                meaning: told.meaning,
                class: class_of(told, first, classes.len()),
                values: &told.values,
                first,
                step: told.columns,
            };
            told.names(classes).into_iter().enumerate().map(of)
        }));
        all
    }
}

/// The class that a column is named after ([`Told::names`]).
fn class_of(told: &Told, column: usize, classes: usize) -> Option<usize> {
    match told.columns {
        1 => None,
        columns if columns == classes => Some(column),
        columns if columns + 1 == classes => Some(column + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_called_and_ordered_as_in_the_table() {
        let told = |name: &str, columns: usize| Told {
            name: name.into(),
            meaning: Meaning::Evidence,
            columns,
            values: (0..2 * columns).map(|v| v as f32).collect(),
        };
        let found = Predictions {
            classes: 3,
            outputs: 2,
            offsets: vec![0, 2],
            scores: vec![0.5, 1.5],
            attention: Some(vec![0.25, 0.75]),
            class_scores: Some(vec![1.0, 2.0, 3.0, 4.0]),
            of_instances: vec![told("uncertainty", 1), told("evidence", 3)],
            ..Predictions::default()
        };
        let classes = ["a", "b", "c"].map(String::from);
        let columns = found.instance_columns(&classes);
        let names: Vec<&str> = columns.iter().map(|c| &c.name[..]).collect();
        let expected =
            ["score", "attention", "score(b)", "score(c)", "uncertainty", "evidence(a)", "evidence(b)", "evidence(c)"];
        assert_eq!(names, expected);
        let classes: Vec<Option<usize>> = columns.iter().map(|c| c.class).collect();
        assert_eq!(classes, [None, None, Some(1), Some(2), None, Some(0), Some(1), Some(2)]);
        assert_eq!((columns[1].of(0..2), columns[3].of(0..2)), (vec![0.25, 0.75], vec![2.0, 4.0]));
        assert_eq!((columns[5].get(1), columns[1].meaning), (3.0, Meaning::Weight));
    }
}
