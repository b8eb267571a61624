//! The classes of bags beside those of a model: matched by their names, or refused; and which of two classes is the
//! positive one.

use crate::bag::Bags;
use crate::error::{Error, Result};
use crate::target::Target;
use std::collections::BTreeSet;

/// Names in a message, at most this many.
const SHOWN: usize = 12;

/// Makes the labels of `bags` class indices of a model with the classes `model`, whose names the bags then have.
/// Answers what a person should know, a sentence each; bags without labels stay as they are.
///
/// Of bags with several labels each ([`Bags::label_sets`]) the labels are matched in the same way and put into the
/// model's order; of a label that only the model knows nothing is known of any bag.
///
/// Only classes that some bag is of have to be known to the model. One is, in this order,
///
/// 1. what `renamed` says: pairs of a name in the bags and a name in the model;
/// 2. the class of the same name;
/// 3. the only class whose name differs in case alone, which is told;
/// 4. the class in the same place, where the names of both sides are whole numbers, as many here as there, and no
///    number stands in two places. That is told too.
///
/// # Errors
/// [`Error::Bags`] that lists both sides when a class has no counterpart, when two classes of the bags would become one
/// without `renamed` saying so, or when `renamed` has a name that is on neither side. The bags are then as they were.
///
/// ```
/// # use bagrad::{Bags, Features, class_match};
/// let mut bags = Bags::packed(Features::F32(vec![0.0; 3]), 1, &[1, 2])?.with_labels(vec![0, 1])?;
/// bags.class_names = vec!["Tumour".into(), "normal".into()];
/// let model = ["normal".to_string(), "tumour".into()];
/// let remarks = class_match::adopt(&mut bags, &model, &[])?;
/// assert_eq!(bags.labels, Some(vec![1, 0]));
/// assert_eq!(remarks, ["class 'Tumour' of the bags is taken for 'tumour' of the model"]);
/// # Ok::<(), bagrad::Error>(())
/// ```
pub fn adopt(bags: &mut Bags, model: &[String], renamed: &[(String, String)]) -> Result<Vec<String>> {
    if bags.labels.is_none() && bags.label_sets.is_none() {
        return match renamed {
            [] => Ok(Vec::new()),
            _ => Err(Error::bags("classes are renamed, and no bag has a class")),
        };
    }
    let (of, mut remarks) = counterparts(&bags.class_names, &used(bags), model, renamed)?;
    if let Some(labels) = &mut bags.labels {
        let adopted = |l: &mut u32| *l = of.get(*l as usize).copied().flatten().unwrap_or(*l);
        labels.iter_mut().for_each(adopted);
    }
    if let Some(sets) = &mut bags.label_sets {
        let from = |class: u32| (0..of.len()).filter(|&label| of[label] == Some(class)).collect::<Vec<_>>();
        let from: Vec<Vec<usize>> = (0..model.len() as u32).map(from).collect();
        *sets = sets.arranged(&from);
        let absent = model.iter().zip(&from).filter(|(_, from)| from.is_empty());
        let absent: Vec<String> = absent.map(|(name, _)| name.clone()).collect();
        if !absent.is_empty() {
            remarks.push(format!("of the labels of the model these bags say nothing of {}", listed(&absent)));
        }
    }
    bags.class_names = model.to_vec();
    Ok(remarks)
}

/// The classes that some bag is of, or the labels of which something is known of some bag.
fn used(bags: &Bags) -> BTreeSet<usize> {
    let named = bags.class_names.len();
    match &bags.label_sets {
        Some(sets) => (0..named.min(sets.labels())).filter(|&l| sets.column(l).any(|has| has.is_some())).collect(),
        None => bags.labels.iter().flatten().map(|&l| l as usize).filter(|&l| l < named).collect(),
    }
}

/// Checks that bags have what a model learns: one of the classes `model` each, any subset of them, or what else its target
/// is. Bags without labels fit any model.
///
/// # Errors
/// [`Error::Bags`] that says what each side has.
pub fn check_kind(bags: &Bags, model: &[String], target: &Target) -> Result<()> {
    target.check_fits(bags)?;
    let (theirs, own) = (listed(model), listed(&bags.class_names));
    match (target.is_label_sets(), bags.labels.is_some(), bags.label_sets.is_some()) {
        (true, true, _) => Err(Error::bags(format!(
            "these bags have one class each ({own}), and the model says which of several labels a bag has ({theirs}); \
             expected labels.npy of two dimensions, [bags, labels] of 0 and 1 (Bags::label_sets), or bags without labels"
        ))),
        (false, _, true) => Err(Error::bags(format!(
            "these bags have any number of labels each ({own}), and the model knows classes of which a bag has exactly \
             one ({theirs}); expected one class for each bag, or bags without labels"
        ))),
        _ => Ok(()),
    }
}

/// Checks that no class of `bags` has its name in another place among the classes `model`: their labels would mean
/// something else to the model. [`adopt`] puts them right.
///
/// # Errors
/// [`Error::Bags`] with such a class and both places.
pub fn check_order(bags: &Bags, model: &[String]) -> Result<()> {
    for here in used(bags) {
        let name = &bags.class_names[here];
        if let Some(there) = model.iter().position(|m| m == name).filter(|&there| there != here) {
            return Err(Error::bags(format!(
                "class '{name}' is number {here} of the bags and number {there} of the model (from 0); \
                 class_match::adopt brings the bags' into the model's order"
            )));
        }
    }
    Ok(())
}

/// The model's class for each class of the bags that is in use, and what is to be told.
fn counterparts(
    names: &[String],
    used: &BTreeSet<usize>,
    model: &[String],
    renamed: &[(String, String)],
) -> Result<(Vec<Option<u32>>, Vec<String>)> {
    let place = |name: &str| model.iter().position(|m| m == name).map(|c| c as u32);
    let mut of: Vec<Option<u32>> = vec![None; names.len()];
    let mut remarks = Vec::new();
    for (new, old) in renamed {
        let Some(class) = names.iter().position(|n| n == new) else {
            let message = format!("there is no class '{new}' to rename; the bags have {}", listed(names));
            return Err(Error::bags(message));
        };
        let Some(to) = place(old) else {
            let message =
                format!("'{new}' cannot be '{old}', which the model does not know; it knows {}", listed(model));
            return Err(Error::bags(message));
        };
        if of[class].is_some_and(|other| other != to) {
            return Err(Error::bags(format!("class '{new}' is renamed twice")));
        }
        of[class] = Some(to);
    }
    let given = of.clone();
    for &class in used.iter().filter(|&&c| given[c].is_none()) {
        of[class] = place(&names[class]);
    }
    let folded = |name: &str| name.trim().to_lowercase();
    for &class in used {
        if of[class].is_some() {
            continue;
        }
        let same: Vec<usize> = (0..model.len()).filter(|&m| folded(&model[m]) == folded(&names[class])).collect();
        if let [only] = same[..] {
            of[class] = Some(only as u32);
            remarks.push(format!("class '{}' of the bags is taken for '{}' of the model", names[class], model[only]));
        }
    }
    let numbers = |names: &[String]| names.iter().all(|n| n.trim().parse::<i64>().is_ok());
    let open = |of: &[Option<u32>]| used.iter().any(|&c| of[c].is_none());
    if open(&of) && renamed.is_empty() && numbers(names) && numbers(model) && names.len() == model.len() {
        // A number on both sides, in two places: then the place means nothing.
        if (0..names.len()).all(|c| place(&names[c]).is_none_or(|to| to as usize == c)) {
            of = (0..names.len() as u32).map(Some).collect();
            let message = "the classes are numbers, and are taken for those of the model in their order";
            remarks.push(format!("{message}: {} for {}", listed(names), listed(model)));
        }
    }
    if open(&of) {
        let unknown: Vec<String> = used.iter().filter(|&&c| of[c].is_none()).map(|&c| names[c].clone()).collect();
        let first = unknown.first().map_or("", |n| n);
        return Err(Error::bags(format!(
            "of the classes of the bags the model does not know {}: the bags have {}, the model knows {}. Say which is \
             which, such as --classes '{first}={}'",
            listed(&unknown),
            listed(&used.iter().map(|&c| names[c].clone()).collect::<Vec<_>>()),
            listed(model),
            model.last().map_or("", |n| n),
        )));
    }
    // Two classes of the bags in one of the model: only as `renamed` says.
    for &class in used.iter().filter(|&&c| given[c].is_none()) {
        if let Some(&other) = used.iter().find(|&&o| o != class && of[o] == of[class] && given[o].is_none()) {
            return Err(Error::bags(format!(
                "the classes '{}' and '{}' of the bags would both be '{}' of the model; expected one of them, or that \
                 --classes says so",
                names[class.min(other)],
                names[class.max(other)],
                of[class].and_then(|c| model.get(c as usize)).map_or("", |n| n)
            )));
        }
    }
    Ok((of, remarks))
}

/// Makes `name` the positive one of two classes, the second. A name that differs in case alone will do.
///
/// # Errors
/// [`Error::Bags`] when there are not two classes, or none of this name; lists those there are.
pub fn set_positive(bags: &mut Bags, name: &str) -> Result<()> {
    if bags.label_sets.is_some() {
        let message = "a positive class is one of two, and these bags have any number of labels each: every label is \
                       positive where a bag has it";
        return Err(Error::bags(message));
    }
    let names = &bags.class_names;
    let [first, second] = &names[..] else {
        let message = format!("a positive class is one of two, and these bags have {}: {}", names.len(), listed(names));
        return Err(Error::bags(message));
    };
    let exact = [first, second].iter().position(|n| *n == name);
    let folded = || [first, second].iter().position(|n| n.trim().to_lowercase() == name.trim().to_lowercase());
    match exact.or_else(folded) {
        Some(1) => Ok(()),
        Some(_) => {
            bags.class_names.swap(0, 1);
            let swapped = |label: &mut u32| *label = if *label < 2 { 1 - *label } else { *label };
            bags.labels.iter_mut().flatten().for_each(swapped);
            Ok(())
        }
        None => {
            Err(Error::bags(format!("there is no class '{name}' to be the positive one; there are {}", listed(names))))
        }
    }
}

/// `'a', 'b', 'c'`, of many the first.
fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(SHOWN).map(|n| format!("'{n}'")).collect();
    let more = names.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::Features;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn bags(classes: &str, labels: &[u32]) -> Bags {
        let sizes = vec![1; labels.len()];
        let mut bags = Bags::packed(Features::F32(vec![0.0; labels.len()]), 1, &sizes).unwrap();
        (bags.labels, bags.class_names) = (Some(labels.to_vec()), names(classes));
        bags
    }

    /// Labels as they come out, and the remarks.
    fn adopted(classes: &str, labels: &[u32], model: &str, renamed: &[(&str, &str)]) -> Result<(Vec<u32>, String)> {
        let mut bags = bags(classes, labels);
        let renamed: Vec<_> = renamed.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
        let before = bags.labels.clone();
        let remarks = adopt(&mut bags, &names(model), &renamed);
        match &remarks {
            Ok(_) => assert_eq!(bags.class_names, names(model)),
            Err(_) => assert_eq!((&bags.labels, &bags.class_names), (&before, &names(classes))),
        }
        Ok((bags.labels.unwrap(), remarks?.join("; ")))
    }

    #[test]
    fn names_are_matched_as_names() {
        let labels = |classes, labels, model| adopted(classes, labels, model, &[]).unwrap();
        let quiet = |found: Vec<u32>| (found, String::new());
        assert_eq!(labels("benign malignant", &[0, 1], "benign malignant"), quiet(vec![0, 1]));
        // Another order, and only one of the classes.
        assert_eq!(labels("malignant benign", &[0, 1], "benign malignant"), quiet(vec![1, 0]));
        assert_eq!(labels("malignant", &[0, 0], "benign malignant"), quiet(vec![1, 1]));
        assert_eq!(labels("0 1", &[1], "0 1 2"), quiet(vec![1]));
        // A class that no bag is of need not be known.
        assert_eq!(labels("benign other malignant", &[2, 0], "benign malignant"), quiet(vec![1, 0]));
        // A bag without a label stays without.
        assert_eq!(labels("b a", &[0, u32::MAX, 1], "a b"), quiet(vec![1, u32::MAX, 0]));
        let (found, told) = labels("Malignant BENIGN", &[0, 1], "benign malignant");
        assert_eq!(found, [1, 0]);
        assert!(
            told.contains("'Malignant' of the bags is taken for 'malignant'") && told.contains("'BENIGN'"),
            "{told}"
        );
    }

    #[test]
    fn numbers_go_by_place_only_among_numbers() {
        let (found, told) = adopted("0 1", &[0, 1], "-1 1", &[]).unwrap();
        assert_eq!(found, [0, 1]);
        assert!(told.contains("in their order: '0', '1' for '-1', '1'"), "{told}");
        assert_eq!(adopted("6 7", &[1, 0], "0 1", &[]).unwrap().0, [1, 0]);
        for (classes, model) in [("0 1", "benign malignant"), ("a b", "0 1"), ("1 2", "0 1"), ("5 6 7", "0 1")] {
            let used: Vec<u32> = (0..names(classes).len() as u32).collect();
            let message = adopted(classes, &used, model, &[]).unwrap_err().to_string();
            let all = names(classes).into_iter().chain(names(model));
            assert!(all.into_iter().all(|n| message.contains(&format!("'{n}'"))), "{message}");
            assert!(message.contains("--classes"), "{message}");
        }
    }

    #[test]
    fn other_words_are_refused_until_they_are_mapped() {
        let message = adopted("cancer normal", &[0, 1], "benign malignant", &[]).unwrap_err().to_string();
        assert!(message.contains("'cancer', 'normal'") && message.contains("'benign', 'malignant'"), "{message}");
        let mapped = [("cancer", "malignant"), ("normal", "benign")];
        assert_eq!(adopted("cancer normal", &[0, 1], "benign malignant", &mapped).unwrap().0, [1, 0]);
        let merged = [("grade1", "malignant"), ("grade2", "malignant")];
        assert_eq!(adopted("benign grade1 grade2", &[2, 0, 1], "benign malignant", &merged).unwrap().0, [1, 0, 1]);
        let refused = |renamed: &[(&str, &str)]| {
            adopted("cancer normal", &[0, 1], "benign malignant", renamed).unwrap_err().to_string()
        };
        assert!(refused(&[("cancre", "malignant")]).contains("no class 'cancre'"));
        assert!(refused(&[("cancer", "malign")]).contains("'malign', which the model does not know"));
        assert!(refused(&[("cancer", "benign"), ("cancer", "malignant")]).contains("twice"));
        assert!(refused(&[("cancer", "malignant")]).contains("does not know 'normal'"));
        // A name given to one class leaves none for the class that has it.
        let both = adopted("Ab aB", &[0, 1], "ab c", &[]).unwrap_err().to_string();
        assert!(both.contains("would both be 'ab'"), "{both}");
        assert!(adopted("ab", &[0], "Ab aB", &[]).is_err());
    }

    #[test]
    fn several_labels_are_put_into_the_models_order() {
        let (yes, no) = (Some(true), Some(false));
        let plain = || Bags::packed(Features::F32(vec![0.0; 2]), 1, &[1, 1]).unwrap();
        let of = |labels: &str, values: &[Option<bool>]| {
            let sets = crate::LabelSets::new(values.len() / 2, values.to_vec()).unwrap();
            plain().with_label_sets(sets, names(labels)).unwrap()
        };
        let rows = |bags: &Bags| bags.label_sets.clone().unwrap().bags().flatten().copied().collect::<Vec<_>>();
        let mut set = of("Nodule oedema", &[yes, no, no, None]);
        let remarks = adopt(&mut set, &names("oedema mass nodule"), &[]).unwrap().join("; ");
        assert_eq!(rows(&set), [no, None, yes, None, None, no]);
        assert_eq!(set.class_names, names("oedema mass nodule"));
        assert!(remarks.contains("'Nodule' of the bags is taken for 'nodule'"), "{remarks}");
        assert!(remarks.contains("say nothing of 'mass'"), "{remarks}");
        // Several into one, as asked; what is never known has no need to be.
        let joined = [("left", "lung"), ("right", "lung")].map(|(new, old)| (new.to_string(), old.to_string()));
        let mut set = of("left right heart", &[no, yes, None, no, no, None]);
        adopt(&mut set, &names("x lung"), &joined).unwrap();
        assert_eq!(rows(&set), [None, yes, None, no]);
        let mut set = of("left oedema", &[no, yes, no, no]);
        assert!(adopt(&mut set, &names("x oedema"), &[]).unwrap_err().to_string().contains("does not know 'left'"));
        assert!(check_order(&set, &names("oedema left")).unwrap_err().to_string().contains("number 0 of the bags"));
        assert!(set_positive(&mut set, "left").unwrap_err().to_string().contains("any number of labels"));
        // The kinds have to be the same; bags without labels are of either.
        for target in [Target::LabelSets, Target::Classes] {
            let several = target.is_label_sets();
            check_kind(&plain(), &names("a b"), &target).unwrap();
            assert_eq!(check_kind(&set, &names("a b"), &target).is_ok(), several);
            assert_eq!(check_kind(&bags("a b", &[0, 1]), &names("a b"), &target).is_ok(), !several);
        }
    }

    #[test]
    fn another_order_is_found() {
        check_order(&bags("a b", &[0, 1]), &names("a b")).unwrap();
        check_order(&bags("0 1", &[0, 1]), &names("a b")).unwrap();
        // Only what is in use matters.
        check_order(&bags("b c", &[1]), &names("a b")).unwrap();
        let message = check_order(&bags("b a", &[1]), &names("a b")).unwrap_err().to_string();
        assert!(message.contains("'a' is number 1 of the bags and number 0 of the model"), "{message}");
    }

    #[test]
    fn bags_without_labels_stay_as_they_are() {
        let mut bags = bags("", &[]);
        bags.labels = None;
        assert!(adopt(&mut bags, &names("a b"), &[]).unwrap().is_empty());
        assert!(adopt(&mut bags, &names("a b"), &[("x".into(), "a".into())]).is_err());
    }

    #[test]
    fn the_positive_class_comes_second() {
        let mut set = bags("cancer normal", &[0, 1, u32::MAX]);
        set_positive(&mut set, "normal").unwrap();
        assert_eq!((&set.class_names, &set.labels), (&names("cancer normal"), &Some(vec![0, 1, u32::MAX])));
        set_positive(&mut set, "Cancer").unwrap();
        assert_eq!((&set.class_names, &set.labels), (&names("normal cancer"), &Some(vec![1, 0, u32::MAX])));
        let message = set_positive(&mut set, "tumour").unwrap_err().to_string();
        assert!(message.contains("no class 'tumour'") && message.contains("'normal', 'cancer'"), "{message}");
        assert!(set_positive(&mut bags("a b c", &[0]), "a").unwrap_err().to_string().contains("one of two"));
    }
}
