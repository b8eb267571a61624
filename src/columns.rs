//! Names of the features: those of bags are compared with those a model was trained on.

use crate::bag::Bags;
use crate::error::{Error, Result};
use crate::features::Features;
use std::collections::HashMap;

impl Bags {
    /// Brings the features into the order `wanted` (the names of the columns that a model was trained on) and answers
    /// a remark where something had to be moved or could not be compared.
    ///
    /// # Errors
    /// [`Error::Bags`] when columns are missing or there are others.
    pub fn arrange_columns(&mut self, wanted: &[String]) -> Result<Option<String>> {
        let (from, remark) = self.column_order(wanted)?;
        if let Some(from) = from {
            self.move_columns(&from);
            self.columns = Some(wanted.to_vec());
        }
        Ok(remark)
    }

    /// The column here of each name of `wanted`, where they stand in another order, and a remark as of
    /// [`Bags::arrange_columns`].
    ///
    /// # Errors
    /// As [`Bags::arrange_columns`].
    pub(crate) fn column_order(&self, wanted: &[String]) -> Result<(Option<Vec<usize>>, Option<String>)> {
        let Some(found) = &self.columns else {
            let message =
                "the features have no names here, and had when the model was trained: they are taken in order";
            return Ok((None, Some(message.into())));
        };
        if found == wanted {
            return Ok((None, None));
        }
        let at: HashMap<&str, usize> = found.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let known: std::collections::HashSet<&str> = wanted.iter().map(String::as_str).collect();
        let missing: Vec<&str> = wanted.iter().map(String::as_str).filter(|n| !at.contains_key(n)).collect();
        let new: Vec<&str> = found.iter().map(String::as_str).filter(|n| !known.contains(n)).collect();
        if !missing.is_empty() || !new.is_empty() || at.len() != wanted.len() || found.len() != wanted.len() {
            let message = "the columns are not those that the model was trained on";
            return Err(Error::bags(format!("{message}: missing {}; new {}", list(&missing), list(&new))));
        }
        let from: Vec<usize> = wanted.iter().map(|name| at[name.as_str()]).collect();
        let moved = from.iter().enumerate().filter(|(to, from)| to != *from).count();
        let remark =
            format!("{moved} columns stood in another order than the model's; they were put right by their names");
        Ok((Some(from), Some(remark)))
    }

    /// Makes column `from[c]` of the features column `c`.
    pub(crate) fn move_columns(&mut self, from: &[usize]) {
        self.features = match &self.features {
            Features::F32(v) => Features::F32(gather(v, from)),
            Features::F16(v) => Features::F16(gather(v, from)),
            Features::Mapped(v) => match v.read(0..v.len()) {
                Features::F16(v) => Features::F16(gather(&v, from)),
                other => Features::F32(gather(&other.to_f32(), from)),
            },
        };
    }
}

/// The columns `from` of a matrix.
fn gather<T: Copy>(values: &[T], from: &[usize]) -> Vec<T> {
    values.chunks_exact(from.len()).flat_map(|row| from.iter().map(|&c| row[c])).collect()
}

/// A few of the names.
fn list(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(5).map(|n| format!("'{n}'")).collect();
    match names.len() {
        0 => "none".into(),
        6.. => format!("{} and {} more", shown.join(", "), names.len() - 5),
        _ => shown.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn columns_are_put_right_by_their_names() {
        let with = |columns: Option<&str>| {
            let features = Features::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
            let mut bags = Bags::packed(features, 3, &[1, 1]).unwrap();
            bags.columns = columns.map(names);
            bags
        };
        let mut bags = with(Some("c a b"));
        assert!(bags.arrange_columns(&names("a b c")).unwrap().unwrap().contains("3 columns"));
        assert_eq!(bags.features, Features::F32(vec![2.0, 3.0, 1.0, 5.0, 6.0, 4.0]));
        assert_eq!(bags.arrange_columns(&names("a b c")).unwrap(), None);
        let message = bags.arrange_columns(&names("a b d")).unwrap_err().to_string();
        assert!(message.contains("missing 'd'; new 'c'"), "{message}");
        assert!(bags.arrange_columns(&names("a b")).unwrap_err().to_string().contains("new 'c'"));
        assert!(bags.arrange_columns(&names("a b c d")).is_err());
        assert!(with(None).arrange_columns(&names("a b c")).unwrap().unwrap().contains("taken in order"));
    }
}
