//! What tables say of a bag, by what the model learns: what is known, and what is predicted.

use super::csv::Csv;
use bagrad::training::Predictions;
use bagrad::{Bags, Responses, Target};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// The columns of a bag: names, and a cell for each. Of one class `label` and `predicted`; of several labels a column for
/// each, `label(name)..` and `predicted(name)..`, with 1 or 0; behind either `p(class)..`. Of numbers `number` and
/// `predicted`. Of survival `time`, `event` and `risk`, higher for earlier events, and of survival in intervals
/// `survival(time)..`, the probability of no event before that time. What nobody knows is empty.
pub fn names(predictions: &Predictions, classes: &[String]) -> Vec<String> {
    let each = |what: &str| classes.iter().map(|class| format!("{what}({class})")).collect::<Vec<_>>();
    let plain = |all: &[&str]| all.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let before = match &predictions.target {
        Target::Classes | Target::Ordered => plain(&["label", "predicted"]),
        Target::LabelSets => [each("label"), each("predicted")].concat(),
        Target::Number(_) => plain(&["number"]),
        Target::Cox(_) | Target::Hazards(_) => plain(&["time", "event"]),
    };
    [before, number_names(predictions, classes)].concat()
}

/// The last of them: the numbers that a model says, of which everything else follows.
pub fn number_names(predictions: &Predictions, classes: &[String]) -> Vec<String> {
    match &predictions.target {
        Target::Classes | Target::Ordered | Target::LabelSets => classes.iter().map(|c| format!("p({c})")).collect(),
        Target::Number(_) => vec!["predicted".into()],
        Target::Cox(_) => vec!["risk".into()],
        Target::Hazards(hazards) => {
            let at = hazards.edges.iter().map(|edge| format!("survival({edge})"));
            std::iter::once("risk".to_owned()).chain(at).collect()
        }
    }
}

/// These numbers of bag `at` of `bags`, from all probabilities, values and survival curves.
pub fn numbers([probabilities, values, survival]: [&[f32]; 3], bags: usize, at: usize) -> Vec<f32> {
    let row = |of: &'_ [f32], less: usize| {
        let width = of.len().checked_div(bags).unwrap_or(0);
        of[at * width..((at + 1) * width).saturating_sub(less).max(at * width)].to_vec()
    };
    // After the last edge there is no time at which the last probability would be.
    [row(probabilities, 0), row(values, 0), row(survival, 1)].concat()
}

/// A cell of a table.
pub enum Cell {
    /// Nobody knows.
    Empty,
    /// A name.
    Text(String),
    /// 1 or 0.
    Flag(bool),
    /// A number.
    Number(f32),
}

impl Cell {
    fn flag(known: Option<bool>) -> Self {
        known.map_or(Self::Empty, Self::Flag)
    }

    fn json(self) -> Value {
        match self {
            Self::Empty => Value::Null,
            Self::Text(text) => json!(text),
            Self::Flag(flag) => json!(u8::from(flag)),
            Self::Number(number) => json!(number),
        }
    }
}

/// The cells of a bag under [`names`]: its place among the predictions, and its number among the bags.
pub fn cells((predictions, at): (&Predictions, usize), (bags, bag): (&Bags, usize), classes: &[String]) -> Vec<Cell> {
    let value = || value(bags, bag).map_or(Cell::Empty, Cell::Number);
    let before: Vec<Cell> = match &predictions.target {
        Target::Classes | Target::Ordered => {
            let label = bags.label(bag).and_then(|label| classes.get(label as usize)).cloned().unwrap_or_default();
            [label, classes[predictions.class(at)].clone()].map(Cell::Text).into()
        }
        Target::LabelSets => {
            let known = bags.label_sets.as_ref().and_then(|sets| sets.get(bag));
            let told = predictions.labels(at);
            let all = 0..classes.len();
            let has = all.clone().map(|label| Cell::flag(known.and_then(|known| known[label])));
            has.chain(all.map(|label| Cell::Flag(told.contains(&label)))).collect()
        }
        Target::Number(_) => vec![value()],
        Target::Cox(_) | Target::Hazards(_) => vec![value(), Cell::flag(event(bags, bag))],
    };
    let all = [&predictions.probabilities[..], &predictions.values, &predictions.survival];
    before.into_iter().chain(numbers(all, predictions.len(), at).into_iter().map(Cell::Number)).collect()
}

/// Writes cells into the line at hand.
///
/// # Errors
/// Of the file.
pub fn write(csv: &mut Csv<'_, impl Write + ?Sized>, cells: Vec<Cell>) -> io::Result<()> {
    for cell in cells {
        match cell {
            Cell::Empty => csv.cell("")?,
            Cell::Text(text) => csv.name(&text)?,
            Cell::Flag(flag) => csv.cell(u8::from(flag))?,
            Cell::Number(number) => csv.cell(number)?,
        };
    }
    Ok(())
}

/// What is said of bag `bag` as one object, for programs.
pub fn object(predictions: &Predictions, bags: &Bags, classes: &[String], bag: usize) -> Map<String, Value> {
    let known = bags.label_sets.as_ref().and_then(|sets| sets.get(bag));
    let pairs: Vec<(String, Value)> = match &predictions.target {
        Target::Classes | Target::Ordered => {
            let label = bags.label(bag).and_then(|label| classes.get(label as usize));
            let predicted = &classes[predictions.class(bag)];
            vec![
                ("label".into(), json!(label)),
                ("predicted".into(), json!(predicted)),
                ("probabilities".into(), json!(predictions.bag(bag))),
            ]
        }
        Target::LabelSets => {
            let predicted: Vec<&String> = predictions.labels(bag).into_iter().map(|label| &classes[label]).collect();
            let labels: Option<Map<String, Value>> =
                known.map(|of| classes.iter().cloned().zip(of.iter().map(|has| json!(has))).collect());
            vec![
                ("labels".into(), json!(labels)),
                ("predicted".into(), json!(predicted)),
                ("probabilities".into(), json!(predictions.bag(bag))),
            ]
        }
        _ => names(predictions, classes)
            .into_iter()
            .zip(cells((predictions, bag), (bags, bag), classes).into_iter().map(Cell::json))
            .collect(),
    };
    pairs.into_iter().collect()
}

/// The number or time of a bag, where it is known.
fn value(bags: &Bags, bag: usize) -> Option<f32> {
    bags.responses.as_ref()?.values().get(bag).copied().filter(|v| !v.is_nan())
}

fn event(bags: &Bags, bag: usize) -> Option<bool> {
    value(bags, bag)?;
    Some(bags.responses.as_ref().and_then(Responses::survival)?.1[bag])
}

/// What is known of a bag, in a few words for people; `None` where nothing is.
pub fn known(bags: &Bags, bag: usize) -> Option<String> {
    let value = value(bags, bag)?;
    Some(match event(bags, bag) {
        None => value.to_string(),
        Some(true) => format!("event at {value}"),
        Some(false) => format!("no event until {value}"),
    })
}

/// What is predicted of a bag where there are no classes, in a few words for people.
pub fn predicted(predictions: &Predictions, bag: usize) -> String {
    let value = predictions.values[bag];
    if predictions.target.is_survival() { format!("risk {value:.3}") } else { format!("{value:.4}") }
}
