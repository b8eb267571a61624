//! What the graph gives: logits, what they say, and what the model tells of bags and instances under its own names.

use super::graph::{Graph, Name, Size, int};
use super::translation::{Translation, fixed};
use crate::error::{Error, Result};
use crate::kernels::launch::Dim;
use crate::methods::BAG_LOGITS;
use crate::model::{Model, Spec};
use crate::tape::{Columns, Link, Meaning, Output, Role, Tape};
use crate::target::Target;
use serde::Serialize;

/// The logits of the bag.
pub const LOGITS: &str = "logits";
/// The probability of each class.
pub const PROBABILITIES: &str = "probabilities";
/// A number, in the unit of the data.
pub const PREDICTED: &str = "predicted";
/// Higher for earlier events.
pub const RISK: &str = "risk";
/// The probability of no event before the end of each interval.
pub const SURVIVAL: &str = "survival";

/// An output of the graph, as its metadata has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// `bag`: one row; `instances`: a row for each.
    pub of: &'static str,
    /// What its numbers are, for programs: `logit`, `probability`, `score`, `weight`, ..
    pub meaning: String,
    /// What its columns are called: classes, or `head 1` and so on; none where there is one of no class.
    pub columns: Vec<String>,
}

/// True for outputs that people ask for.
fn is_told(output: &Output) -> bool {
    !matches!(output.role, Role::Plain)
}

/// The outputs of the tape that become some of the graph.
///
/// # Errors
/// [`Error::Setting`] for a model that says nothing of bags.
pub fn wanted(tape: &Tape) -> Result<(Vec<&Output>, Link)> {
    match tape.logits() {
        Some((_, link)) => Ok((tape.outputs.iter().filter(|o| is_told(o)).collect(), link)),
        None => Err(Error::setting("format", "the model is an encoder of patches, which says nothing of bags")),
    }
}

/// Adds all outputs to the graph, and says what they are.
///
/// # Errors
/// [`Error::Setting`] for one that is neither of the bag nor of its instances, or called as another is.
pub fn add(to: &mut Translation, model: &Model, outputs: &[&Output], link: Link) -> Result<Vec<Described>> {
    let (spec, mut told) = (model.spec(), Vec::new());
    let lacks = |why: String| Error::setting("format", format!("{} has no form in ONNX: {why}", spec.method.name()));
    for output in outputs {
        let shape = to.tape.shape(output.value);
        let (of, rows) = match shape.rows {
            Dim::Instances => ("instances", Size::Instances),
            rows if fixed(rows) == Some(1) => ("bag", Size::Fixed(1)),
            _ => return Err(lacks(format!("its output {:?} is {shape}", output.name))),
        };
        let value = to.value(output.value).map_err(|why| lacks(format!("its output {:?} {why}", output.name)))?;
        let size = [rows, Size::Fixed(shape.cols)];
        let name = if output.name == BAG_LOGITS { LOGITS } else { &output.name };
        let meaning = meaning(output.role);
        let columns = columns(spec, output.role, shape.cols);
        to.graph.output(name, &value, &size, &says(of, &meaning, &columns)).map_err(lacks)?;
        told.push(Described { name: name.to_owned(), of, meaning, columns });
        if output.name == BAG_LOGITS {
            to.graph.enter("said".into());
            for (name, value, columns, meaning) in said(&mut to.graph, spec, link, &value, shape.cols) {
                let size = [Size::Fixed(1), Size::Fixed(columns.len().max(1) as u32)];
                to.graph.output(name, &value, &size, &says("bag", meaning, &columns)).map_err(lacks)?;
                told.push(Described { name: name.to_owned(), of: "bag", meaning: meaning.into(), columns });
            }
        }
    }
    Ok(told)
}

fn says(of: &str, meaning: &str, columns: &[String]) -> String {
    let rows = if of == "bag" { "Of the bag" } else { "A row for each instance" };
    let columns = if columns.is_empty() { String::new() } else { format!("; columns: {}", columns.join(", ")) };
    format!("{rows}: {meaning}{columns}")
}

fn meaning(role: Role) -> String {
    let of = |meaning: Meaning| match serde_json::to_value(meaning) {
        Ok(serde_json::Value::String(word)) => word,
        _ => unreachable!("a meaning is a word"),
    };
    match role {
        Role::Logits(_) => "logit".into(),
        Role::Scores(_, meaning) | Role::OfInstances(meaning) | Role::OfBags(meaning) => of(meaning),
        Role::Attention(_) => of(Meaning::Weight),
        Role::Features => "features".into(),
        Role::Plain => "value".into(),
    }
}

/// What columns are called.
fn columns(spec: &Spec, role: Role, count: u32) -> Vec<String> {
    let (count, classes) = (count as usize, &spec.classes);
    match role {
        Role::Scores(Columns::Heads, _) | Role::Attention(Columns::Heads) if count > 1 => {
            (1..=count).map(|head| format!("head {head}")).collect()
        }
        Role::Scores(Columns::Heads, _) | Role::Attention(Columns::Heads) | Role::Features | Role::Plain => Vec::new(),
        _ if classes.len() == count => classes.clone(),
        // A class without a column is the first.
        Role::Logits(_) | Role::Scores(..) | Role::Attention(_) if classes.len() == count + 1 => classes[1..].to_vec(),
        Role::OfBags(_) | Role::OfInstances(_) if classes.len() == count + 1 && count > 1 => classes[1..].to_vec(),
        _ => Vec::new(),
    }
}

type Said = (&'static str, Name, Vec<String>, &'static str);

/// What is said of the bag by its logits.
fn said(graph: &mut Graph, spec: &Spec, link: Link, logits: &str, outputs: u32) -> Vec<Said> {
    let classes = spec.classes.clone();
    let probabilities = |name: Name| vec![(PROBABILITIES, name, classes.clone(), "probability")];
    match (link, &spec.target) {
        (Link::Sigmoid, _) => {
            let other = graph.op("Neg", &[logits]);
            let both = graph.concat(&[&other, logits], 1);
            probabilities(graph.op("Sigmoid", &[&both]))
        }
        (Link::Softmax, _) => probabilities(graph.softmax(logits, 1)),
        (Link::IndependentSigmoids, _) if classes.len() == outputs as usize => {
            probabilities(graph.op("Sigmoid", &[logits]))
        }
        (Link::IndependentSigmoids, _) => {
            // The first class is what the largest of the others leaves.
            let largest = graph.reduce("ReduceMax", logits, 1);
            let other = graph.op("Neg", &[&largest]);
            let all = graph.concat(&[&other, logits], 1);
            probabilities(graph.op("Sigmoid", &[&all]))
        }
        (Link::Ordered, _) => {
            let beyond = graph.op("Sigmoid", &[logits]);
            let mut left = graph.numbers(&[1, 1], &[1.0]);
            let mut all = Vec::new();
            for column in 0..i64::from(outputs) {
                let next = graph.slice(&beyond, 1, column, column + 1);
                let next = graph.op("Min", &[&next, &left]);
                all.push(graph.op("Sub", &[&left, &next]));
                left = next;
            }
            all.push(left);
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            probabilities(graph.concat(&all, 1))
        }
        (Link::Value, Target::Number(number)) => {
            let scaled = graph.times(logits, number.scale as f32);
            let value = graph.plus(&scaled, number.center as f32);
            vec![(PREDICTED, value, Vec::new(), "number in the unit of the data")]
        }
        (Link::Value, _) => vec![(RISK, logits.to_owned(), Vec::new(), "log-risk, higher for earlier events")],
        (Link::Hazards, target) => {
            let each = graph.softplus(logits);
            let axis = graph.whole_number(1);
            let sums = graph.with("CumSum", &[&each, &axis], vec![int("exclusive", 0)]);
            let less = graph.op("Neg", &[&sums]);
            let survival = graph.op("Exp", &[&less]);
            let all = graph.reduce("ReduceSum", &survival, 1);
            let risk = graph.op("Neg", &[&all]);
            let mut ends: Vec<String> = Vec::new();
            if let Target::Hazards(hazards) = target {
                ends.extend(hazards.edges.iter().map(f32::to_string));
            }
            ends.push("end".into());
            let of_survival = "probability of no event before this time";
            vec![
                (SURVIVAL, survival, ends, of_survival),
                (RISK, risk, Vec::new(), "risk, higher for earlier events: less the sum of the survival"),
            ]
        }
    }
}
