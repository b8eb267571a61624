//! Labels that are no classes: numbers, and times with what became of a bag then. The rule is one for all readers of text.

use super::classes::is_unknown;
use crate::bag::Bags;
use crate::responses::Responses;
use serde::{Deserialize, Serialize};

/// What the labels of bags are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelsAre {
    /// Names or numbers of classes.
    #[default]
    Classes,
    /// Numbers that are to be predicted as such.
    Numbers,
    /// Times, with another column that says whether the event came then.
    Times,
}

impl LabelsAre {
    /// True for [`LabelsAre::Classes`].
    pub(crate) fn is_classes(&self) -> bool {
        *self == Self::Classes
    }
}

/// Usual names of a column of times, the surest first.
pub(super) const TIMES: [&str; 18] = [
    "time",
    "survival_time",
    "survival_months",
    "survival_days",
    "os_time",
    "os_months",
    "os_days",
    "os",
    "pfs_time",
    "pfs_months",
    "pfs_days",
    "dss_time",
    "dfi_time",
    "duration",
    "follow_up_time",
    "followup",
    "days",
    "months",
];
/// Usual names of a column of events.
pub(super) const EVENTS: [&str; 14] = [
    "event",
    "status",
    "os_status",
    "os_event",
    "pfs_status",
    "pfs_event",
    "death",
    "dead",
    "vital_status",
    "event_observed",
    "observed",
    "censorship",
    "censored",
    "censor",
];

/// Words for an event that came, and for one that did not.
const CAME: [&str; 15] = [
    "1",
    "1.0",
    "true",
    "t",
    "yes",
    "y",
    "event",
    "dead",
    "deceased",
    "died",
    "death",
    "progressed",
    "progression",
    "recurred",
    "relapsed",
];
const CAME_NOT: [&str; 9] = ["0", "0.0", "false", "f", "no", "n", "alive", "living", "censored"];

/// Between the time and the event of a label: no text has it.
const BETWEEN: char = '\u{1f}';

/// A time and what stands in the column of events as one label. In a column that is called `censored` or the like, 1 is
/// no event.
///
/// # Errors
/// For a word that says neither, with those that do.
pub(super) fn joined(time: &str, event: &str, column: &str) -> Result<String, String> {
    let word = event.trim().to_lowercase();
    // 1:DECEASED, as cBioPortal has it.
    let word = word.split_once(':').map_or(word.as_str(), |(number, _)| number).trim();
    let turned =
        is_of_censoring(column) && word != "censored" && !["dead", "deceased", "alive", "living"].contains(&word);
    let came = match () {
        () if is_unknown(word) => return Ok(format!("{BETWEEN}")),
        () if CAME.contains(&word) => !turned,
        () if CAME_NOT.contains(&word) => turned,
        () => {
            return Err(format!(
                "column '{column}': '{event}' says neither that the event came nor that it did not; expected 1 or 0, yes or \
                 no, dead or alive, or nothing where nobody knows"
            ));
        }
    };
    let time = if is_unknown(time) { "" } else { time.trim() };
    Ok(format!("{time}{BETWEEN}{}", u8::from(came)))
}

/// True for a column in which 1 is a bag that was censored.
pub(super) fn is_of_censoring(column: &str) -> bool {
    column.to_lowercase().contains("censor")
}

/// A label as people are shown it.
pub(super) fn shown(label: &str) -> String {
    label.replace(BETWEEN, " and event ")
}

/// Puts labels in place of bags' classes, and tells what is not known of them. When nothing is known of any bag, the bags
/// have none.
///
/// # Errors
/// For a label that is no number or time.
pub(super) fn put_in(
    bags: &mut Bags,
    remarks: &mut Vec<String>,
    labels: &[impl AsRef<str>],
    are: LabelsAre,
) -> Result<(), String> {
    let number = |text: &str, bag: usize| -> Result<f32, String> {
        if is_unknown(text) {
            return Ok(f32::NAN);
        }
        match text.trim().parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(format!("bag '{}': expected a number, found '{text}'", bags.names.get(bag).map_or("?", |n| n))),
        }
    };
    let (mut values, mut events) = (Vec::with_capacity(labels.len()), Vec::new());
    for (bag, label) in labels.iter().enumerate() {
        let label = label.as_ref();
        match label.split_once(BETWEEN) {
            Some((time, event)) => {
                let time = number(time, bag)?;
                if time < 0.0 {
                    return Err(format!("bag '{}': expected a time of at least 0, found {time}", bags.names[bag]));
                }
                values.push(if event.is_empty() { f32::NAN } else { time });
                events.push(event == "1");
            }
            None if are == LabelsAre::Times => {
                let message = || format!("bag '{}': expected a time and an event, found '{label}'", bags.names[bag]);
                is_unknown(label).then_some(()).ok_or_else(message)?;
                values.push(f32::NAN);
                events.push(false);
            }
            None => values.push(number(label, bag)?),
        }
    }
    let unknown = values.iter().filter(|v| v.is_nan()).count();
    if unknown == values.len() {
        return Ok(());
    }
    if unknown > 0 {
        let what = if are == LabelsAre::Times { "time or event" } else { "number" };
        remarks.push(format!("{unknown} bags have no {what}: they are predicted and not trained on"));
    }
    bags.responses = Some(match are {
        LabelsAre::Times => Responses::Survival { times: values, events },
        _ => Responses::Numbers(values),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Features;

    #[test]
    fn events_are_words_or_numbers() {
        let of =
            |event: &str, column: &str| joined("12", event, column).unwrap().split_once(BETWEEN).unwrap().1.to_owned();
        for (event, wanted) in
            [("1", "1"), ("0", "0"), ("1:DECEASED", "1"), ("0:LIVING", "0"), ("Alive", "0"), ("", "")]
        {
            assert_eq!(of(event, "status"), wanted, "{event}");
        }
        for (event, wanted) in [("1", "0"), ("0.0", "1"), ("censored", "0"), ("dead", "1"), ("NA", "")] {
            assert_eq!(of(event, "Censorship"), wanted, "{event}");
        }
        assert!(joined("12", "maybe", "status").unwrap_err().contains("'maybe' says neither"));
    }

    #[test]
    fn unknown_ones_are_counted_and_wrong_ones_named() {
        let put = |labels: &[String], are| {
            let mut bags = Bags::packed(Features::F32(vec![0.0; labels.len()]), 1, &vec![1; labels.len()]).unwrap();
            let mut remarks = Vec::new();
            put_in(&mut bags, &mut remarks, labels, are).map(|()| (bags.responses, remarks))
        };
        let texts = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let (found, told) = put(&texts(&["1.5", "NA", "-2"]), LabelsAre::Numbers).unwrap();
        assert_eq!(found.unwrap().strata().len(), 3);
        assert_eq!(told, ["1 bags have no number: they are predicted and not trained on"]);
        assert!(put(&texts(&["1.5", "high"]), LabelsAre::Numbers).unwrap_err().contains("bag '1': expected a number"));
        assert_eq!(put(&texts(&["NA", ""]), LabelsAre::Numbers).unwrap(), (None, vec![]));
        let times = [joined("10", "1", "e").unwrap(), joined("7", "", "e").unwrap(), joined("3", "0", "e").unwrap()];
        let (found, told) = put(&times, LabelsAre::Times).unwrap();
        let Some(Responses::Survival { times, events }) = found else { panic!("survival") };
        assert_eq!((times[0], times[1].is_nan(), times[2], events[0], events[2]), (10.0, true, 3.0, true, false));
        assert!(told[0].contains("no time or event"));
        assert!(put(&[joined("-1", "1", "e").unwrap()], LabelsAre::Times).unwrap_err().contains("at least 0"));
    }
}
