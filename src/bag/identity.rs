//! What tells bags from others, part by part, so that a difference has a name.

use super::Bags;
use crate::error::Result;
use crate::fingerprint::Fingerprint;
use crate::label_sets::LabelSets;
use crate::responses::Responses;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Fingerprints of bags. They tell of accidents (another file, other labels), not of intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Number of bags.
    pub bags: usize,
    /// Number of instances.
    pub instances: usize,
    /// All features and the sizes of the bags.
    pub features: String,
    /// Names of the bags, and of the columns where these have names.
    pub names: String,
    /// Labels, whatever they are, and names of the classes.
    pub labels: String,
    /// Groups of the bags.
    pub groups: String,
    /// Places of the instances.
    pub places: String,
}

impl Bags {
    /// That of these bags; it reads all features once.
    ///
    /// # Errors
    /// [`crate::Error::Format`] when a file of features changed since it was opened.
    ///
    /// ```
    /// # use bagrad::{Bags, Features};
    /// let bags = Bags::packed(Features::F32(vec![1.0, 2.0, 3.0, 4.0]), 2, &[1, 1])?;
    /// let other = Bags::packed(Features::F32(vec![1.0, 2.0, 3.0, 5.0]), 2, &[1, 1])?;
    /// let [one, two] = [bags.identity()?, other.identity()?];
    /// assert!(one.features != two.features && one.labels == two.labels);
    /// # Ok::<(), bagrad::Error>(())
    /// ```
    pub fn identity(&self) -> Result<Identity> {
        self.features.check_unchanged()?;
        let of_bag = |bag: usize| {
            let rows = self.rows(bag);
            let values = self.features.slice(rows.start * self.width..rows.end * self.width).to_f32();
            Fingerprint::default().numbers([rows.len() as u64]).values(&values).to_string()
        };
        let each: Vec<String> = (0..self.len()).into_par_iter().map(of_bag).collect();
        let texts = |all: &mut dyn Iterator<Item = &String>| all.fold(Fingerprint::default(), |of, text| of.text(text));
        let labels = texts(&mut self.class_names.iter());
        let labels = labels.numbers(self.class_numbers()).numbers(self.response_numbers());
        self.features.check_unchanged()?;
        Ok(Identity {
            bags: self.len(),
            instances: self.instances(),
            features: texts(&mut each.iter()).numbers([self.width as u64]).to_string(),
            names: texts(&mut self.names.iter().chain(self.columns.iter().flatten())).to_string(),
            labels: labels.to_string(),
            groups: texts(&mut self.groups.iter().flatten()).to_string(),
            places: Fingerprint::default().numbers(self.place_numbers()).to_string(),
        })
    }

    /// Tells these bags from others: sizes, names, labels, places, and the values of some thousand rows.
    pub(crate) fn fingerprint(&self) -> String {
        const ROWS: usize = 4096;
        let texts = self.names.iter().chain(&self.class_names).chain(self.columns.iter().flatten());
        let of = Fingerprint::default().numbers([self.width as u64]);
        let of = of.numbers(self.offsets.iter().map(|&at| at as u64)).numbers(self.class_numbers());
        let of = of.numbers(self.place_numbers()).numbers(self.response_numbers());
        let of = texts.fold(of, |of, text| of.text(text));
        let rows = self.instances();
        let sampled = (0..rows.min(ROWS)).map(|n| n * rows / rows.min(ROWS));
        let row = |n: usize| self.features.slice(n * self.width..(n + 1) * self.width).to_f32();
        sampled.fold(of, |of, n| of.values(&row(n))).to_string()
    }

    /// Classes and label sets.
    fn class_numbers(&self) -> impl Iterator<Item = u64> {
        let labels = self.labels.iter().flatten().map(|&label| u64::from(label));
        let sets = self.label_sets.iter().flat_map(LabelSets::bags).flatten();
        labels.chain(sets.map(|has| has.map_or(2, u64::from)))
    }

    /// Numbers, or times and then events.
    fn response_numbers(&self) -> impl Iterator<Item = u64> {
        let values = self.responses.iter().flat_map(|r| r.values().iter().map(|v| u64::from(v.to_bits())));
        let events = self.responses.iter().filter_map(Responses::survival).flat_map(|(_, events)| events);
        values.chain(events.map(|&event| u64::from(event)))
    }

    fn place_numbers(&self) -> impl Iterator<Item = u64> {
        self.coords.iter().flatten().flatten().map(|c| u64::from(c.to_bits()))
    }
}

impl Identity {
    /// In what these bags are other than those of `before`, in words.
    pub fn differences(&self, before: &Self) -> Vec<String> {
        let counts = [("bags", self.bags, before.bags), ("instances", self.instances, before.instances)];
        let counts = counts.into_iter().filter(|(_, now, then)| now != then);
        let counts = counts.map(|(what, now, then)| format!("{now} {what} in place of {then}"));
        let parts = [
            ("features", &self.features, &before.features),
            ("names", &self.names, &before.names),
            ("labels", &self.labels, &before.labels),
            ("groups", &self.groups, &before.groups),
            ("places", &self.places, &before.places),
        ];
        let parts = parts.into_iter().filter(|(_, now, then)| now != then).map(|(what, ..)| format!("other {what}"));
        counts.chain(parts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Features;

    #[test]
    fn every_part_is_told_by_its_name() {
        let values: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let bags = Bags::packed(Features::F32(values), 2, &[1, 2, 3]).unwrap().with_labels(vec![0, 1, 1]).unwrap();
        let before = bags.identity().unwrap();
        assert_eq!(bags.clone().identity().unwrap().differences(&before), Vec::<String>::new());
        let changed = |change: &dyn Fn(&mut Bags)| {
            let mut other = bags.clone();
            change(&mut other);
            other.identity().unwrap().differences(&before)
        };
        assert_eq!(changed(&|bags| bags.labels = Some(vec![0, 1, 0])), ["other labels"]);
        assert_eq!(changed(&|bags| bags.names[1] = "x".into()), ["other names"]);
        assert_eq!(changed(&|bags| bags.groups = Some(vec!["a".into(); 3])), ["other groups"]);
        assert_eq!(changed(&|bags| bags.coords = Some(vec![[0.0; 2]; 6])), ["other places"]);
        assert_eq!(changed(&|bags| bags.offsets = vec![0, 2, 3, 6]), ["other features"]);
        // Written in 16 bits they are the same numbers.
        assert_eq!(changed(&|bags| bags.features = bags.features.to_f16()), Vec::<String>::new());
        let fewer = bags.select(&[0, 1]).unwrap().identity().unwrap().differences(&before);
        assert_eq!(fewer[..2], ["2 bags in place of 3", "3 instances in place of 6"]);
    }
}
