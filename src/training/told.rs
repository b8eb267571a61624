//! What a model tells of bags and instances besides probabilities and scores.

use crate::tape::Meaning;

/// Numbers of each bag or of each instance, under the name that the method gives them.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The name.
    pub name: String,
    /// What they say.
    pub meaning: Meaning,
    /// Numbers of each.
    pub columns: usize,
    /// All of them, `[bags or instances, columns]`.
    pub values: Vec<f32>,
}

impl Told {
    /// The numbers of bag or instance `row`, below how many there are.
    ///
    /// # Panics
    /// When there is no such row, as a slice would.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// What each column is called: by its name alone where there is one, by a class where there is one for each of
    /// `classes` or for each but the first, else by its number.
    pub fn names(&self, classes: &[String]) -> Vec<String> {
        let of_classes =
            |first: usize| classes[first..].iter().map(|class| format!("{}({class})", self.name)).collect();
        match (self.columns, classes.len()) {
            (1, _) => vec![self.name.clone()],
            (columns, count) if columns == count => of_classes(0),
            (columns, count) if columns + 1 == count => of_classes(1),
            (columns, _) => (0..columns).map(|column| format!("{}({column})", self.name)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_called_by_classes_where_they_can_be() {
        let classes = ["a", "b", "c"].map(String::from);
        let names = |columns| {
            let told =
                Told { name: "evidence".into(), meaning: Meaning::Evidence, columns, values: vec![0.0; columns] };
            told.names(&classes).join(" ")
        };
        assert_eq!(names(1), "evidence");
        assert_eq!(names(2), "evidence(b) evidence(c)");
        assert_eq!(names(3), "evidence(a) evidence(b) evidence(c)");
        assert_eq!(names(4), "evidence(0) evidence(1) evidence(2) evidence(3)");
    }
}
