//! What tables and programs are told of the members of an ensemble.

use super::experiment;
use super::said;
use anyhow::Result;
use bagrad::training::Predictions;
use bagrad::training::metrics::BagScores;
use bagrad::{Answers, Bags, Ensemble};
use serde_json::{Map, Value, json};

/// How good each member is on the bags that have labels.
///
/// # Errors
/// As [`experiment::evaluate`].
pub fn scores(answers: &Answers, bags: &Bags, known: &[usize]) -> Result<Vec<BagScores>> {
    let of = |member: &Predictions| Ok(experiment::evaluate(member, bags, known.to_vec(), None)?.scores);
    answers.members.iter().map(of).collect()
}

/// A line for each member: where it is from, its method, and how good it is where that is known.
///
/// # Errors
/// Of a number that JSON does not have.
pub fn told(ensemble: &Ensemble, scores: &[BagScores]) -> Result<Vec<Value>> {
    let one = |(at, member): (usize, &bagrad::Member)| {
        let mut told = Map::new();
        told.insert("name".into(), json!(member.name));
        told.insert("method".into(), json!(member.model.spec().method.name()));
        if let Some(scores) = scores.get(at)
            && let Value::Object(scores) = serde_json::to_value(scores)?
        {
            told.extend(scores);
        }
        Ok(Value::Object(told))
    };
    ensemble.members().iter().enumerate().map(one).collect()
}

/// The names of the numbers that a model says of a bag, once with `spread:` in front (where the members' deviation is
/// defined) and once for each member, with `member1:` and so on.
pub fn names(answers: &Answers, classes: &[String]) -> Vec<String> {
    let names = said::number_names(&answers.mean, classes);
    let spread = if is_spread(answers) { Some("spread".to_owned()) } else { None };
    let members = (1..=answers.members.len()).map(|member| format!("member{member}"));
    let groups = spread.into_iter().chain(members);
    groups.flat_map(|group| names.iter().map(move |name| format!("{group}:{name}"))).collect()
}

/// The numbers of bag `bag` under [`names`].
pub fn numbers(answers: &Answers, bag: usize) -> Vec<f32> {
    let spread = spread(answers, bag);
    spread.into_iter().chain((0..answers.members.len()).flat_map(|member| of_member(answers, member, bag))).collect()
}

/// The same of bag `bag` for programs: `spread` and `members`, each number by its name.
pub fn object(answers: &Answers, classes: &[String], bag: usize) -> Vec<(String, Value)> {
    if answers.members.is_empty() {
        return Vec::new();
    }
    let names = said::number_names(&answers.mean, classes);
    let named = |numbers: Vec<f32>| -> Value {
        names.iter().cloned().zip(numbers.into_iter().map(|number| json!(number))).collect::<Map<_, _>>().into()
    };
    let spread = if is_spread(answers) { named(spread(answers, bag)) } else { Value::Null };
    let members = (0..answers.members.len()).map(|member| named(of_member(answers, member, bag)));
    vec![("spread".into(), spread), ("members".into(), members.collect())]
}

/// Of log-risks there is none.
fn is_spread(answers: &Answers) -> bool {
    answers.spread.as_ref().is_some_and(|of| !(of.probabilities.is_empty() && of.values.is_empty()))
}

fn spread(answers: &Answers, bag: usize) -> Vec<f32> {
    let Some(of) = answers.spread.as_ref().filter(|_| is_spread(answers)) else { return Vec::new() };
    said::numbers([&of.probabilities, &of.values, &of.survival], answers.mean.len(), bag)
}

fn of_member(answers: &Answers, member: usize, bag: usize) -> Vec<f32> {
    let of = &answers.members[member];
    said::numbers([&of.probabilities, &of.values, &of.survival], of.len(), bag)
}
