//! Which models are of one task.

use super::Member;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::origin::Part;
use crate::target::Target;

/// Names that a message has, at most.
const SHOWN: usize = 12;

/// Refuses members that are not of one task.
pub(super) fn check(members: &[Member]) -> Result<()> {
    for (at, member) in members.iter().enumerate().skip(1) {
        // What every model has needs to be that of the first; what some were not told, that of any other.
        let whole = std::iter::once((&members[0], differ(&members[0].model, &member.model)));
        let told = members[..at].iter().map(|other| (other, origins_differ(&other.model, &member.model)));
        if let Some((other, Some([what, here, there]))) = whole.chain(told).find(|(_, differs)| differs.is_some()) {
            let message = format!(
                "members have to be of one task: {what} is {here} in {}, and {there} in {}",
                other.name, member.name
            );
            return Err(Error::setting("ensemble", message));
        }
    }
    Ok(())
}

/// What two models differ in, and what each has.
fn differ(a: &Model, b: &Model) -> Option<[String; 3]> {
    let told = |what: &str, [a, b]: [String; 2]| Some([what.to_owned(), a, b]);
    let specs = [a, b].map(Model::spec);
    let [kind, other] = specs.map(|spec| kind(&spec.target));
    if kind != other {
        return told("what is learnt", [kind, other].map(str::to_owned));
    }
    if specs[0].classes != specs[1].classes {
        return told("the list of classes", specs.map(|spec| listed(&spec.classes)));
    }
    if specs[0].width != specs[1].width {
        return told("the number of features", specs.map(|spec| spec.width.to_string()));
    }
    match (&a.columns, &b.columns) {
        (Some(here), Some(there)) => {
            let at = here.iter().zip(there).position(|(a, b)| a != b)?;
            told(&format!("the name of feature {at} (from 0)"), [here, there].map(|names| format!("'{}'", names[at])))
        }
        (None, None) => None,
        (here, _) => {
            let names = |known| if known { "known" } else { "not known" };
            told("the name of each feature", [here.is_some(), here.is_none()].map(|known| names(known).to_owned()))
        }
    }
}

/// A kind of target; training bags decide the rest of it.
fn kind(target: &Target) -> &'static str {
    match target {
        Target::Classes => "one of several classes",
        Target::LabelSets => "any number of labels",
        Target::Ordered => "one of several classes in an order",
        Target::Number(_) => "a number",
        Target::Hazards(_) => "survival in intervals of time",
        Target::Cox(_) => "a log-risk (Cox)",
    }
}

fn listed(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    format!("[{}{more}]", shown.join(", "))
}

/// As [`differ`], of where instances come from, as far as both were told.
fn origins_differ(a: &Model, b: &Model) -> Option<[String; 3]> {
    let (part, [here, there]) = a.origin.as_ref()?.differences(b.origin.as_ref()?).into_iter().next()?;
    let what = match part {
        Part::Encoder => "the encoder of the features",
        Part::Unit => "the unit of places",
        Part::Patch => "the side of a patch",
        Part::Magnification => "the magnification",
    };
    Some([what.to_owned(), here, there])
}
