//! How the labels of bags become classes: what counts as no label, what the classes are called and in which order they
//! stand. The rule is one for all readers.
//!
//! - `NA`, `N/A`, `nan`, `None`, `null`, `?` and an empty label, in any case, are no label: the bag is unlabelled. So are
//!   the errors of spreadsheets, `#N/A` and `#REF!` among them.
//! - Whole numbers from 0 on are class indices; -1 and 1 are classes 0 and 1. Other whole numbers (1 and 2, 6 to 10)
//!   are names of classes, in their order, and that is told.
//! - Words are names of classes. Those that are clearly negative (normal, benign, control, no ..) come first, those
//!   that are clearly positive (malignant, tumour, yes ..) last, and otherwise the alphabet decides.

use crate::bag::Bags;
use std::cmp::Ordering;

/// More classes than this are taken for a mistake (a file of identifiers, say).
pub(super) const MOST_CLASSES: usize = 1 << 16;

const UNKNOWN: [&str; 8] = ["", "?", "na", "n/a", "nan", "<na>", "none", "null"];
/// What spreadsheets write in place of a value.
const ERRORS: [&str; 7] = ["#n/a", "#ref!", "#value!", "#div/0!", "#num!", "#name?", "#null!"];
const NEGATIVE: [&str; 17] = [
    "-1",
    "0",
    "absent",
    "benign",
    "control",
    "controls",
    "ctrl",
    "false",
    "healthy",
    "n",
    "neg",
    "negative",
    "no",
    "non",
    "normal",
    "unaffected",
    "wildtype",
];
const NEGATIVE_STARTS: [&str; 4] = ["no-", "non-", "not-", "without-"];
const POSITIVE: [&str; 17] = [
    "abnormal",
    "affected",
    "cancer",
    "carcinoma",
    "diseased",
    "malignant",
    "metastasis",
    "mutant",
    "mutated",
    "pos",
    "positive",
    "present",
    "true",
    "tumor",
    "tumour",
    "y",
    "yes",
];

/// True when a label says that the class is not known.
pub fn is_unknown(label: &str) -> bool {
    let label = label.trim().to_lowercase();
    UNKNOWN.contains(&label.as_str()) || ERRORS.contains(&label.as_str())
}

/// True for a line of a text file that says nothing of bags: `#` stands in front, and not as the start of an error that
/// a spreadsheet wrote in place of a label.
pub(super) fn is_comment(line: &[u8]) -> bool {
    let begins = |error: &str| line.get(..error.len()).is_some_and(|l| l.eq_ignore_ascii_case(error.as_bytes()));
    line.starts_with(b"#") && !ERRORS.iter().any(|e| begins(e))
}

/// 0 for a clearly negative name, 2 for a clearly positive one, 1 for the rest.
fn rank(name: &str) -> u8 {
    // nonMSIH, as tables of patients have it: a capital begins the word that is denied.
    let denied = name.trim().strip_prefix("non").is_some_and(|word| word.starts_with(char::is_uppercase));
    let name = name.trim().to_lowercase().replace(['_', ' '], "-");
    if denied || NEGATIVE.contains(&name.as_str()) || NEGATIVE_STARTS.iter().any(|start| name.starts_with(start)) {
        0
    } else if POSITIVE.contains(&name.as_str()) {
        2
    } else {
        1
    }
}

/// The order of two class names: negative ones first, positive ones last, numbers as numbers, words by the alphabet.
pub fn order(a: &str, b: &str) -> Ordering {
    let number = |name: &str| whole(name);
    let by_value = match (number(a), number(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    };
    rank(a).cmp(&rank(b)).then(by_value).then_with(|| a.cmp(b))
}

/// A remark where nothing but the alphabet or the order of numbers says which of two classes is the positive one, the
/// second.
pub fn guessed_positive(names: &[String]) -> Option<String> {
    match names {
        [first, second] if rank(first) != 0 && rank(second) != 2 => Some(format!(
            "'{second}' is taken for the positive class, as it comes after '{first}'; F1, AUC and scores are its own"
        )),
        _ => None,
    }
}

/// A whole number, also one that is written 1.0, 1. or 1e0.
pub(super) fn whole(label: &str) -> Option<i64> {
    let value = label.trim().parse::<f64>().ok()?;
    (value.fract() == 0.0 && value.abs() < 1e15).then_some(value as i64)
}

/// The classes of bags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Classes {
    /// Of each bag, [`Bags::UNKNOWN`] for none.
    pub labels: Vec<u32>,
    pub names: Vec<String>,
    /// What was assumed.
    pub remarks: Vec<String>,
}

impl Classes {
    /// Takes the classes over into `bags`.
    pub fn put_in(self, bags: &mut Bags, remarks: &mut Vec<String>) {
        bags.labels = Some(self.labels);
        bags.class_names = self.names;
        remarks.extend(self.remarks);
    }
}

/// How many of the labels are missing, as a remark.
fn told_missing(missing: usize, bags: usize, how: &str) -> Option<String> {
    (missing > 0).then(|| format!("{missing} of {bags} bags have no label{how}: they are predicted and not trained on"))
}

/// Classes from labels as they are written; `None` when no bag has one.
///
/// # Errors
/// What is wrong with the labels.
pub(super) fn of_text<S: AsRef<str>>(labels: &[S]) -> Result<Option<Classes>, String> {
    let known = || labels.iter().map(|l| l.as_ref().trim()).filter(|l| !is_unknown(l));
    if known().all(|l| whole(l).is_some()) {
        let numbers: Vec<Option<i64>> = labels.iter().map(|l| whole(l.as_ref())).collect();
        return of_numbers(&numbers);
    }
    if let Some(label) = known().find(|_| known().all(|l| l.parse::<f64>().is_ok())) {
        let part = known().find(|l| whole(l).is_none()).unwrap_or(label);
        return Err(format!("label '{part}' is a number between classes; expected whole numbers or words"));
    }
    of_names(labels)
}

/// Classes from labels that are among `names`, which are given in their order.
///
/// # Errors
/// What is wrong with the labels.
pub(super) fn of_given<S: AsRef<str>>(labels: &[S], names: &[String]) -> Result<Option<Classes>, String> {
    let mut given = Vec::with_capacity(labels.len());
    for label in labels {
        let label = label.as_ref().trim();
        let place = names.iter().position(|name| name == label);
        if place.is_none() && !is_unknown(label) {
            return Err(format!("label '{label}' is none of the given classes {}", names.join(", ")));
        }
        given.push(place.map(|p| p as i64));
    }
    let every: Vec<i64> = (0..names.len() as i64).collect();
    let known = given.iter().any(Option::is_some);
    Ok(known.then(|| Classes { names: names.to_vec(), ..index(&given, &every) }))
}

/// Classes from labels that are names whatever they look like.
///
/// # Errors
/// What is wrong with the labels.
pub(super) fn of_names<S: AsRef<str>>(labels: &[S]) -> Result<Option<Classes>, String> {
    let trimmed = || labels.iter().map(|l| l.as_ref().trim());
    let mut names: Vec<String> = trimmed().filter(|l| !is_unknown(l)).map(str::to_owned).collect();
    if names.is_empty() {
        return Ok(None);
    }
    names.sort_unstable();
    names.dedup();
    if names.len() > MOST_CLASSES {
        return Err(format!("expected at most {MOST_CLASSES} classes, found {}", names.len()));
    }
    let mut folded: Vec<(String, &String)> = names.iter().map(|n| (n.to_lowercase(), n)).collect();
    folded.sort_unstable();
    if let Some(pair) = folded.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("labels '{}' and '{}' differ in case alone; write one of them", pair[0].1, pair[1].1));
    }
    names.sort_by(|a, b| order(a, b));
    let index: std::collections::HashMap<&str, u32> =
        names.iter().enumerate().map(|(i, n)| (n.as_str(), i as u32)).collect();
    let labels: Vec<u32> = trimmed().map(|l| index.get(l).copied().unwrap_or(Bags::UNKNOWN)).collect();
    let missing: Vec<&str> = trimmed().filter(|l| is_unknown(l)).collect();
    let how = missing.first().map(|l| format!(" ('{l}')")).unwrap_or_default();
    let remarks = told_missing(missing.len(), labels.len(), &how).into_iter().collect();
    Ok(Some(Classes { labels, names, remarks }))
}

/// Classes from whole numbers, `None` for a bag without a label; `None` when no bag has one.
///
/// # Errors
/// What is wrong with the labels.
pub(super) fn of_numbers(labels: &[Option<i64>]) -> Result<Option<Classes>, String> {
    let mut found: Vec<i64> = labels.iter().flatten().copied().collect();
    found.sort_unstable();
    found.dedup();
    let [least, .., most] = found[..] else {
        let [only] = found[..] else { return Ok(None) };
        return Ok(Some(match only {
            -1..=1 => index(labels, &if only == -1 { vec![-1, 1] } else { vec![0, 1] }),
            _ => index(labels, &found),
        }));
    };
    let missing_is_minus_one = || {
        let all = list(&found);
        format!(
            "labels are {all}: expected class indices from 0, or -1 and 1. Where -1 means that the class is not known, \
             leave the label out (? or NA in text, nan in a float labels.npy)"
        )
    };
    match (least, most) {
        (-1, 1) if found.len() == 2 => Ok(Some(index(labels, &found))),
        (-1, _) if found.contains(&0) => Err(missing_is_minus_one()),
        (0, most) if most < MOST_CLASSES as i64 => Ok(Some(index(labels, &(0..=most).collect::<Vec<_>>()))),
        (0, most) => Err(format!("expected a class from 0 to {}, found {most}", MOST_CLASSES - 1)),
        _ if found.len() > MOST_CLASSES => {
            Err(format!("expected at most {MOST_CLASSES} classes, found {}", found.len()))
        }
        _ => {
            let mut classes = index(labels, &found);
            let all = list(&found);
            classes
                .remarks
                .insert(0, format!("labels are {all}, not counted from 0: they are the names of the classes"));
            Ok(Some(classes))
        }
    }
}

/// A remark, or a refusal, where every bag has one instance and the classes are many: then the columns were most likely
/// taken for others than they are.
///
/// # Errors
/// What makes it unlikely that the columns are what they were taken for.
pub(super) fn misread(bags: &Bags) -> Result<Option<String>, String> {
    let (count, classes) = (bags.len(), bags.classes());
    if bags.instances() != count || classes <= 10 || bags.label_sets.is_some() {
        return Ok(None);
    }
    let found = format!("{classes} classes for {count} bags, and every bag has one instance");
    if classes * 20 > count {
        return Err(format!(
            "{found}: the columns are not what they were taken for. Known are label, bag, features; columns of other \
             order with a line of their names; and the UCI Musk layout, molecule, conformation, features, class, the \
             class written 0. or 1."
        ));
    }
    Ok(Some(found))
}

/// Numbers for people, a few of many.
fn list(numbers: &[i64]) -> String {
    let words = |numbers: &[i64]| numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    match numbers {
        [rest @ .., last] if (1..6).contains(&rest.len()) => format!("{} and {last}", words(rest)),
        [first @ .., last] if !first.is_empty() => format!("{}, .. and {last}", words(&first[..3])),
        _ => words(numbers),
    }
}

/// The place of each label among `classes`, which are sorted.
pub(super) fn index(labels: &[Option<i64>], classes: &[i64]) -> Classes {
    let of = |label: &i64| classes.binary_search(label).map_or(Bags::UNKNOWN, |i| i as u32);
    let missing = labels.iter().filter(|l| l.is_none()).count();
    Classes {
        labels: labels.iter().map(|l| l.as_ref().map_or(Bags::UNKNOWN, of)).collect(),
        names: classes.iter().map(i64::to_string).collect(),
        remarks: told_missing(missing, labels.len(), "").into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(labels: &[&str]) -> (Vec<u32>, String, String) {
        let c = of_text(labels).unwrap().unwrap();
        (c.labels, c.names.join(" "), c.remarks.join("; "))
    }

    const NONE: u32 = Bags::UNKNOWN;

    #[test]
    fn numbers_are_indices_only_where_they_count_from_0() {
        assert_eq!(read(&["1", "0"]), (vec![1, 0], "0 1".into(), String::new()));
        assert_eq!(read(&["1.0", "0."]), (vec![1, 0], "0 1".into(), String::new()));
        assert_eq!(read(&["1", "-1"]), (vec![1, 0], "-1 1".into(), String::new()));
        assert_eq!(read(&["2", "0"]), (vec![2, 0], "0 1 2".into(), String::new()));
        assert_eq!(read(&["1", "1"]), (vec![1, 1], "0 1".into(), String::new()));
        let (labels, names, remarks) = read(&["10", "7", "6"]);
        assert_eq!((labels, &names[..]), (vec![2, 1, 0], "6 7 10"));
        assert!(remarks.contains("labels are 6, 7 and 10, not counted from 0"), "{remarks}");
        assert_eq!(read(&["1", "2"]).1, "1 2");
        let refused = |labels: &[&str]| of_text(labels).unwrap_err();
        assert!(refused(&["-1", "0", "1"]).contains("labels are -1, 0 and 1"));
        assert!(refused(&["0", "99999999"]).contains("from 0 to 65535, found 99999999"));
        assert!(refused(&["0", "0.5"]).contains("label '0.5' is a number between"));
    }

    #[test]
    fn missing_labels_are_no_class() {
        for word in ["NA", "nan", "N/A", "None", "null", "?", "", "NaN", " NULL "] {
            assert!(is_unknown(word), "{word}");
            let (labels, names, remarks) = read(&["1", word, "0"]);
            assert_eq!((labels, &names[..]), (vec![1, NONE, 0], "0 1"));
            assert!(remarks.contains("1 of 3 bags have no label"), "{remarks}");
            let (labels, names, remarks) = read(&["yes", word, "no"]);
            assert_eq!((labels, &names[..]), (vec![1, NONE, 0], "no yes"));
            assert!(remarks.contains("1 of 3 bags have no label"), "{remarks}");
            assert_eq!(of_text(&[word, word]), Ok(None));
        }
        assert!(!is_unknown("nano"));
    }

    #[test]
    fn negative_words_come_first() {
        for (first, second) in [
            ("normal", "cancer"),
            ("benign", "adenoma"),
            ("Negative", "Her2"),
            ("control", "case"),
            ("healthy", "flu"),
            ("no", "maybe"),
            ("FALSE", "TRUE"),
            ("non-musk", "musk"),
            ("nonMSIH", "MSIH"),
            ("No tumour", "many"),
            ("stroma", "cancer"),
            ("others", "positive"),
            ("LUAD", "LUSC"),
            ("9", "10"),
        ] {
            assert_eq!(order(first, second), Ordering::Less, "{first} {second}");
            assert_eq!(order(second, first), Ordering::Greater, "{first} {second}");
            let (labels, names, _) = read(&[second, first]);
            assert_eq!((labels, names), (vec![1, 0], format!("{first} {second}")));
        }
        let names = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        assert!(guessed_positive(&names("LUAD", "LUSC")).unwrap().contains("'LUSC' is taken for the positive class"));
        assert!(guessed_positive(&names("6", "7")).is_some());
        assert_eq!(guessed_positive(&names("benign", "other")), None);
        assert_eq!(guessed_positive(&names("other", "tumour")), None);
        assert_eq!(guessed_positive(&names("0", "1")), None);
        assert!(of_text(&["Tumour", "tumour"]).unwrap_err().contains("differ in case alone"));
    }
}
