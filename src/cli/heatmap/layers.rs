//! Which numbers of instances are drawn, and what is said of them.

use anyhow::{Result, bail};
use bagrad::heatmap::Scale;
use bagrad::training::{InstanceColumn, Meaning, Predictions};

/// What a user asks for.
pub struct Wanted<'a> {
    /// Names of columns, or `all`.
    pub scores: &'a [String],
    /// Of a class, or `all` that have a column.
    pub class: Option<&'a str>,
    /// How numbers become colours; `None` for what suits them.
    pub scale: Option<Scale>,
    /// The ends of the colours of all maps.
    pub range: Option<[f64; 2]>,
}

/// True for numbers whose sign matters.
pub fn is_signed(meaning: Meaning) -> bool {
    matches!(meaning, Meaning::Contribution | Meaning::Logit)
}

/// The ends of the scale of such numbers, where they have some.
pub fn range(meaning: Meaning) -> Option<[f64; 2]> {
    matches!(meaning, Meaning::Probability | Meaning::Uncertainty).then_some([0.0, 1.0])
}

impl Wanted<'_> {
    /// How such numbers become colours. What has a scale of its own is drawn as it is; attention and scores without one, of
    /// which a few are often far above all others, by their ranks.
    pub fn scale(&self, meaning: Meaning) -> Scale {
        if self.range.is_some() {
            return Scale::Raw;
        }
        self.scale.unwrap_or(match meaning {
            Meaning::Weight | Meaning::Score => Scale::Percentile,
            _ => Scale::Raw,
        })
    }

    /// The ends of their colours, where there are some.
    pub fn ends(&self, meaning: Meaning) -> Option<[f64; 2]> {
        self.range.or(range(meaning))
    }

    /// [`Wanted::named`], if the colours can go from end to end of the range.
    ///
    /// # Errors
    /// As there, and for numbers with a sign whose 0 would not be in the middle.
    pub fn choose(&self, found: &Predictions, classes: &[String], columns: &[InstanceColumn]) -> Result<Vec<usize>> {
        let chosen = self.named(found, classes, columns)?;
        let Some([low, high]) = self.range.filter(|[low, high]| *low != -high) else { return Ok(chosen) };
        match chosen.iter().find(|&&at| is_signed(columns[at].meaning)) {
            Some(&at) => bail!(
                "--range {low}:{high}: '{}' has a sign, and 0 is in the middle of its colours: give ends that are as far from it, \
                 such as -{far}:{far}",
                columns[at].name,
                far = high.abs().max(low.abs())
            ),
            None => Ok(chosen),
        }
    }

    /// The columns to draw, the first of which decides what is best.
    ///
    /// # Errors
    /// With the names that there are.
    fn named(&self, found: &Predictions, classes: &[String], columns: &[InstanceColumn]) -> Result<Vec<usize>> {
        let list = |which: &mut dyn Iterator<Item = &InstanceColumn>| {
            which.map(|c| format!("'{}'", c.name)).collect::<Vec<_>>().join(", ")
        };
        if self.scores.iter().any(|name| name == "all") {
            let first = preferred(found, columns);
            return Ok(std::iter::once(first).chain((0..columns.len()).filter(|&at| at != first)).collect());
        }
        if !self.scores.is_empty() {
            let find = |name: &String| match columns.iter().position(|c| c.name == *name) {
                Some(at) => Ok(at),
                None => bail!("--score: this model has no '{name}' of instances; it has {}", list(&mut columns.iter())),
            };
            return self.scores.iter().map(find).collect();
        }
        let first = preferred(found, columns);
        let Some(class) = self.class else { return Ok(vec![first]) };
        let family = |column: &&InstanceColumn| column.name.starts_with(&format!("{}(", columns[first].name));
        let of_class: Vec<usize> =
            (0..columns.len()).filter(|&at| family(&&columns[at]) && columns[at].class.is_some()).collect();
        if class == "all" {
            return Ok(if of_class.is_empty() { vec![first] } else { of_class });
        }
        if !classes.iter().any(|name| name == class) {
            bail!("--class: the model has no class '{class}'; it has {}", classes.join(", "));
        }
        let named = |at: &&usize| columns[**at].class.is_some_and(|of| classes[of] == class);
        match of_class.iter().find(named) {
            Some(&at) => Ok(vec![at]),
            // The one logit is the class's.
            None if found.outputs == 1 && found.classes > 0 && classes[found.class_of_column(0)] == class => {
                Ok(vec![first])
            }
            None => {
                let those = list(&mut of_class.iter().map(|&at| &columns[at]));
                let there = if those.is_empty() { "one for all classes".to_owned() } else { those };
                bail!("--class: the model has no {} of '{class}' alone; it has {there}", columns[first].name)
            }
        }
    }
}

/// What is drawn where nothing is asked for, as in reports: contributions, else the attention, else the scores.
fn preferred(found: &Predictions, columns: &[InstanceColumn]) -> usize {
    let attention = columns.iter().position(|c| c.name == "attention");
    attention.filter(|_| found.scores_are != Meaning::Contribution).unwrap_or(0)
}

/// The class that a bag's joint scores are of: that of the one logit, else that of the largest.
pub fn class_of_scores(found: &Predictions, bag: usize) -> usize {
    let of = found.bag(bag);
    let columns = (0..found.outputs).map(|column| found.class_of_column(column));
    columns.reduce(|best, class| if of[class] > of[best] { class } else { best }).unwrap_or(0)
}

/// What a number says, for people; `class` is the one that it is of.
pub fn says(meaning: Meaning, class: &str) -> String {
    match meaning {
        Meaning::Score => format!("the larger, the more it speaks for {class}; its size means nothing else"),
        Meaning::Logit => {
            format!("its sigmoid is the probability that the patch alone is {class}; above 0 it is more than half")
        }
        Meaning::Probability => format!("probability that the patch is {class}"),
        Meaning::Contribution => format!("share of the slide's logit of {class}; above 0 for it, below 0 against it"),
        Meaning::Weight => "how much the patch counts in the decision; all of a slide add up to 1".into(),
        Meaning::Evidence => format!("evidence for {class}, at least 0"),
        Meaning::Uncertainty => "how little is known of the patch, from 0 to 1".into(),
        Meaning::Deviation => "standard deviation".into(),
    }
}

/// How many numbers are beyond the ends of the colours, for people; nothing where none is.
pub fn beyond(beyond: [usize; 2]) -> Option<String> {
    let told: Vec<String> = beyond
        .iter()
        .zip(["below", "above"])
        .filter(|(count, _)| **count > 0)
        .map(|(count, side)| format!("{count} {side} the range of colours"))
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(outputs: usize, scores_are: Meaning) -> Predictions {
        let of_classes = (outputs > 1).then(|| vec![0.0; outputs]);
        Predictions {
            classes: 3.max(outputs),
            outputs,
            scores_are,
            offsets: vec![0, 1],
            probabilities: vec![0.2, 0.5, 0.3],
            scores: vec![1.0],
            attention: Some(vec![1.0]),
            class_scores: of_classes.clone(),
            class_attention: of_classes,
            ..Predictions::default()
        }
    }

    fn chosen(found: &Predictions, scores: &[&str], class: Option<&str>) -> Result<Vec<String>, String> {
        let classes = ["a", "b", "c"].map(String::from);
        let scores: Vec<String> = scores.iter().copied().map(String::from).collect();
        let columns = found.instance_columns(&classes);
        let wanted = Wanted { scores: &scores, class, scale: None, range: None };
        let of = wanted.choose(found, &classes, &columns).map_err(|e| e.to_string())?;
        Ok(of.into_iter().map(|at| columns[at].name.clone()).collect())
    }

    #[test]
    fn columns_are_chosen_by_name_and_class() {
        let of = found(3, Meaning::Score);
        assert_eq!(chosen(&of, &[], None).unwrap(), ["attention"]);
        assert_eq!(chosen(&of, &[], Some("b")).unwrap(), ["attention(b)"]);
        assert_eq!(chosen(&of, &[], Some("all")).unwrap(), ["attention(a)", "attention(b)", "attention(c)"]);
        assert_eq!(chosen(&of, &["score(c)", "score"], None).unwrap(), ["score(c)", "score"]);
        assert_eq!(chosen(&of, &["all"], None).unwrap().len(), 8);
        assert!(chosen(&of, &["saliency"], None).unwrap_err().contains("it has 'score', 'attention', 'score(a)'"));
        assert!(chosen(&of, &[], Some("d")).unwrap_err().contains("no class 'd'; it has a, b, c"));
        // Contributions explain more than attention.
        assert_eq!(chosen(&found(2, Meaning::Contribution), &[], None).unwrap(), ["score"]);
        let negative = found(2, Meaning::Contribution);
        assert!(chosen(&negative, &[], Some("a")).unwrap_err().contains("of 'a' alone; it has 'score(b)', 'score(c)'"));
        let one = found(1, Meaning::Score);
        assert_eq!(chosen(&one, &[], Some("c")).unwrap(), ["attention"]);
        assert_eq!(chosen(&one, &[], Some("all")).unwrap(), ["attention"]);
        assert!(chosen(&one, &[], Some("a")).is_err());
        assert_eq!((class_of_scores(&of, 0), class_of_scores(&one, 0)), (1, 2));
    }

    #[test]
    fn attention_is_drawn_by_ranks_and_probabilities_as_they_are() {
        let wanted = Wanted { scores: &[], class: None, scale: None, range: None };
        assert_eq!(
            (wanted.scale(Meaning::Weight), wanted.scale(Meaning::Probability)),
            (Scale::Percentile, Scale::Raw)
        );
        assert_eq!(Wanted { scale: Some(Scale::Raw), ..wanted }.scale(Meaning::Weight), Scale::Raw);
    }
}
