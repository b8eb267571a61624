//! What the columns of a text file are: label, bag, group, site, feature, or nothing that is used.

use super::super::classes::is_unknown;
use super::super::responses::{EVENTS, LabelsAre, TIMES};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Columns of a text file that are called by their names; what is `None` is found by its usual names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnNames {
    /// The label of the bag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The bag of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bag: Option<String>,
    /// What bags that belong together have in common, such as the patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Where the bag is from, such as the hospital.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Whether the event came, where labels are times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// What the labels are. Where data know that themselves, it says nothing.
    #[serde(default, skip_serializing_if = "LabelsAre::is_classes")]
    pub labels_are: LabelsAre,
}

impl ColumnNames {
    /// True when no column is named.
    pub fn is_empty(&self) -> bool {
        self.given().is_empty()
    }

    /// What the labels are: times, where there is a column of events.
    pub fn kind(&self) -> LabelsAre {
        if self.event.is_some() { LabelsAre::Times } else { self.labels_are }
    }

    /// The names there are, each with what it is of.
    fn given(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("label", &self.label),
            ("bag", &self.bag),
            ("group", &self.group),
            ("site", &self.site),
            ("event", &self.event),
        ];
        all.into_iter().filter_map(|(what, name)| Some((what, name.as_deref()?))).collect()
    }
}

/// Names of columns in a message, at most this many.
const SHOWN: usize = 20;

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Label,
    Bag,
    Feature,
    /// What several bags have in common, such as the patient; only by name.
    Group,
    /// Where the bag is from; only by name.
    Site,
    /// Whether the event came; only by name.
    Event,
    /// Row names and the like.
    Ignored,
}

/// The roles of all columns, and what the features are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub roles: Vec<Role>,
    pub names: Option<Vec<String>>,
    /// What the column of events is called.
    pub event: Option<String>,
    pub remarks: Vec<String>,
    /// The first row is the names and no instance.
    pub header: bool,
}

/// Usual names of the column of labels, the surest first; `y` may be a coordinate, and counts in the first two columns.
const LABELS: [&str; 8] = ["label", "labels", "bag_label", "class", "class_label", "target", "diagnosis", "y"];
const BAGS: [&str; 11] = [
    "bag",
    "bag_id",
    "bag_ids",
    "bagid",
    "bag_name",
    "bags",
    "slide",
    "slide_id",
    "slide_name",
    "molecule_name",
    "molecule",
];
const GROUPS: [&str; 6] = ["group", "groups", "group_id", "patient", "patient_id", "patients"];
const SITES: [&str; 2] = ["site", "site_id"];
const IGNORED: [&str; 8] =
    ["", "unnamed:_0", "rownames", "row_names", "instance", "instance_id", "instance_name", "conformation_name"];

fn plain(name: &str) -> String {
    name.to_lowercase().replace([' ', '.', '-'], "_")
}

fn is_number(field: &str) -> bool {
    field.parse::<f32>().is_ok() || field.replacen(',', ".", 1).parse::<f32>().is_ok()
}

/// Whole numbers that count up by one, from 0 or 1: names that programs give to columns without names.
fn counts_up(fields: &[&str]) -> bool {
    let numbers: Option<Vec<u64>> = fields.iter().map(|f| f.parse().ok()).collect();
    numbers.is_some_and(|n| n.first().is_some_and(|&first| first < 2) && n.windows(2).all(|w| w[1] == w[0] + 1))
}

impl Columns {
    /// What the first row says: that it is a header, or the layout without one. One that has every name of `asked` is a
    /// header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(first: &[&str], asked: &ColumnNames) -> Result<Self, String> {
        if asked.kind() == LabelsAre::Times && asked.is_empty() && !first.iter().any(|f| is_number(f)) {
            return Self::of_header(first, asked);
        }
        if !asked.is_empty() && asked.given().iter().all(|(_, name)| first.contains(name)) {
            return Self::of_header(first, asked);
        }
        let usual = |list: &[&str], at: usize| first.get(at).is_some_and(|f| list.contains(&plain(f).as_str()));
        let named = first.len() > 2 && !first.iter().any(|f| is_number(f)) && !first[2..].iter().any(|f| is_unknown(f));
        if named {
            return Self::of_header(first, asked);
        }
        let skipped = usize::from(usual(&["", "unnamed:_0"], 0));
        if usual(&LABELS, skipped) && usual(&BAGS, skipped + 1) && first.len() > skipped + 2 {
            let rest = &first[skipped + 2..];
            if !counts_up(rest) {
                return Err(format!(
                    "the first line begins as column names do ('{}', '{}') and goes on with '{}', which is none: \
                     expected names for all columns, or for none",
                    first[skipped],
                    first[skipped + 1],
                    rest.iter().find(|f| is_number(f)).unwrap_or(&rest[0])
                ));
            }
            return Self::of_header(first, asked);
        }
        if asked.kind() == LabelsAre::Times {
            return Err("expected a first line of column names, which tells times from events".into());
        }
        if let Some((what, name)) = asked.given().first() {
            return Err(format!(
                "expected names of columns, '{name}' for the {what} among them; the first line has numbers or missing \
                 values and is no line of names"
            ));
        }
        let mut roles = vec![Role::Feature; first.len()];
        let mut remarks = Vec::new();
        if is_uci(first) {
            (roles[0], roles[1], roles[first.len() - 1]) = (Role::Bag, Role::Ignored, Role::Label);
            remarks.push(
                "read in the layout of the UCI Musk files: molecule (the bag), conformation, features, class".into(),
            );
        } else {
            roles.iter_mut().zip([Role::Label, Role::Bag]).for_each(|(to, role)| *to = role);
        }
        Ok(Self { roles, names: None, event: None, remarks, header: false })
    }

    fn of_header(names: &[&str], asked: &ColumnNames) -> Result<Self, String> {
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(**name)) {
            return Err(format!("two columns are called '{twice}'"));
        }
        let words: Vec<String> = names.iter().map(|n| plain(n)).collect();
        let usual = |list: &[&str], at: usize| list.contains(&words[at].as_str()) && (words[at] != "y" || at < 2);
        let place = |(what, name): &(&str, &str)| {
            names.iter().position(|n| n == name).ok_or_else(|| {
                let more = names.len().saturating_sub(SHOWN);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let shown: Vec<String> = names.iter().take(SHOWN).map(|n| format!("'{n}'")).collect();
                format!(
                    "no column is called '{name}', as the {what} should be; the columns are {}{more}",
                    shown.join(", ")
                )
            })
        };
        let given = asked.given();
        let places = given.iter().map(place).collect::<Result<Vec<usize>, String>>()?;
        for (at, (what, name)) in given.iter().enumerate() {
            if let Some(before) = places[..at].iter().position(|p| *p == places[at]) {
                return Err(format!("column '{name}' cannot be both the {} and the {what}", given[before].0));
            }
        }
        // A column that is named as something is found by no other name.
        let find = |list: &[&str], role: &str| match given.iter().position(|(what, _)| *what == role) {
            Some(at) => Some(places[at]),
            None => list.iter().find_map(|word| {
                (0..names.len()).find(|&at| words[at] == *word && usual(list, at) && !places.contains(&at))
            }),
        };
        let of_times = asked.kind() == LabelsAre::Times;
        let (usual_labels, usual_events) = if of_times { (&TIMES[..], &EVENTS[..]) } else { (&LABELS[..], &[][..]) };
        let (labels, bags, group) = (find(usual_labels, "label"), find(&BAGS, "bag"), find(&GROUPS, "group"));
        let event = find(usual_events, "event");
        let site = find(&SITES, "site").filter(|at| ![labels, bags, group, event].contains(&Some(*at)));
        // Of bags that are to be predicted there may be neither.
        if of_times && labels.is_some() != event.is_some() {
            let (what, flag) = if labels.is_none() { ("times", "label") } else { ("events", "event") };
            return Err(format!("expected a column of {what}, found none by its usual names (--{flag}-column NAME)"));
        }
        if of_times && labels.is_none() && bags.is_none() {
            return Err("expected columns of bags, times and events, found none by their usual names".into());
        }
        // What is usually called so, where another column was named: most likely the same once more, and no feature.
        let replaced = |at: usize| {
            let lists = [("label", &LABELS[..]), ("bag", &BAGS[..]), ("group", &GROUPS[..]), ("site", &SITES[..])];
            lists.iter().any(|(role, list)| usual(list, at) && given.iter().any(|(what, _)| what == role))
        };
        let ignored = |at: usize| !places.contains(&at) && (IGNORED.contains(&words[at].as_str()) || replaced(at));
        if let Some(at) = (1..names.len()).find(|&at| names[at].is_empty()) {
            return Err(format!("column {at} (0-based) has no name, and others have"));
        }
        let first_of = |taken: Option<usize>| {
            (0..names.len()).find(|&at| !ignored(at) && ![taken, group, site, event].contains(&Some(at)))
        };
        let mut remarks = Vec::new();
        let (label, bag) = match (labels, bags) {
            (label, Some(bag)) => (label, Some(bag)),
            (Some(label), None) => (Some(label), first_of(Some(label))),
            (None, None) => {
                let label = first_of(None);
                (label, first_of(label).filter(|&at| label.is_some_and(|l| at > l)))
            }
        };
        let Some(bag) = bag else { return Err("expected a column of labels and one of bags".into()) };
        match label {
            None => remarks.push(format!(
                "no column is called {}: the bags ('{}') are without labels",
                if of_times { "time or the like" } else { "label, class or target" },
                names[bag]
            )),
            Some(label) if labels.is_none() || bags.is_none() => {
                remarks
                    .push(format!("column '{}' is taken for the label and '{}' for the bag", names[label], names[bag]));
            }
            Some(_) => {}
        }
        let role = |at: usize| match at {
            _ if Some(at) == label => Role::Label,
            _ if at == bag => Role::Bag,
            _ if Some(at) == group => Role::Group,
            _ if Some(at) == site => Role::Site,
            _ if Some(at) == event => Role::Event,
            _ if ignored(at) => Role::Ignored,
            _ => Role::Feature,
        };
        let roles: Vec<Role> = (0..names.len()).map(role).collect();
        let of = |role: Role| (0..names.len()).filter(|&at| roles[at] == role).map(|at| names[at].to_owned()).collect();
        let left_out: Vec<String> = of(Role::Ignored);
        if let Some(name) = left_out.iter().find(|name| !name.is_empty()) {
            remarks.push(format!("column '{name}' is no feature and is left out"));
        }
        let (names, event) = (Some(of(Role::Feature)), of(Role::Event).pop());
        Ok(Self { roles, names, event, remarks, header: true })
    }

    /// R names its rows in a column of which the header says nothing; `found` is the number of fields of a row.
    pub fn with_row_names(&mut self, found: usize) {
        if self.header && found == self.roles.len() + 1 && self.roles.first() != Some(&Role::Ignored) {
            self.roles.insert(0, Role::Ignored);
        }
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.roles.iter().filter(|r| **r == Role::Feature).count()
    }
}

/// The original UCI Musk files: two words, whole numbers, and a class that is written `0.` or `1.`.
fn is_uci(row: &[&str]) -> bool {
    let [molecule, conformation, features @ .., class] = row else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let whole = |text: &&str| digits(text.strip_prefix('-').unwrap_or(text));
    let words = [molecule, conformation].iter().all(|f| !is_number(f) && !is_unknown(f));
    words && !features.is_empty() && features.iter().all(whole) && class.strip_suffix('.').is_some_and(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L, B, f and - for each column.
    fn roles(row: &str) -> String {
        letters(&Columns::of(&row.split(',').collect::<Vec<_>>(), &ColumnNames::default()).unwrap())
    }

    fn letters(columns: &Columns) -> String {
        let letter = |r: &Role| match r {
            Role::Label => 'L',
            Role::Bag => 'B',
            Role::Feature => 'f',
            Role::Group => 'G',
            Role::Site => 'S',
            Role::Event => 'E',
            Role::Ignored => '-',
        };
        let head = if columns.header { "names " } else { "" };
        head.to_owned() + &columns.roles.iter().map(letter).collect::<String>()
    }

    #[test]
    fn a_header_has_no_number() {
        for row in ["yes,s00,1,2", "Y,a,0.5,NA", "class,b,1,2", "target,c,1,x", "yes,s00,NA,NA", "y,bag1,1,2", "0,a,x"]
        {
            assert!(!roles(row).starts_with("names"), "{row}");
        }
        assert_eq!(roles("label,bag,x,y"), "names LBff");
        assert_eq!(roles("label,bag,0,1,2"), "names LBfff");
        assert_eq!(roles("cls,id,f,g"), "names LBff");
        let wrong = |row: &[&str]| Columns::of(row, &ColumnNames::default()).unwrap_err();
        assert!(wrong(&["label", "bag", "3", "7"]).contains("goes on with '3'"));
        assert!(wrong(&["label", "bag", "a", "a"]).contains("two columns are called 'a'"));
    }

    #[test]
    fn columns_are_found_by_their_names() {
        assert_eq!(roles("bag,label,f,g"), "names BLff");
        assert_eq!(roles(",label,bag,f"), "names -LBf");
        assert_eq!(roles("Unnamed: 0,Class,Slide ID,f"), "names -LBf");
        assert_eq!(roles("molecule_name,conformation_name,f1,f2,class"), "names B-ffL");
        assert_eq!(roles("bag,x,y"), "names Bff");
        assert_eq!(roles("image,label,f"), "names BLf");
        assert_eq!(roles("patient,bag,label,f"), "names GBLf");
        assert_eq!(roles("Patient ID,cls,id,f"), "names GLBf");
        let columns = Columns::of(&["label", "bag", "f", "g"], &ColumnNames::default()).unwrap();
        assert_eq!(columns.names, Some(vec!["f".into(), "g".into()]));
    }

    /// Label, bag and group as they are named; `-` for none.
    fn named(row: &str, [label, bag, group]: [&str; 3]) -> Result<String, String> {
        let name = |name: &str| Some(name.to_owned()).filter(|n| n != "-");
        let asked = ColumnNames { label: name(label), bag: name(bag), group: name(group), ..ColumnNames::default() };
        Columns::of(&row.split(',').collect::<Vec<_>>(), &asked).map(|columns| letters(&columns))
    }

    #[test]
    fn columns_may_be_named() {
        let found = |row, asked| named(row, asked).unwrap();
        assert_eq!(found("f,site,outcome,scan,g", ["outcome", "scan", "site"]), "names fGLBf");
        assert_eq!(found("label,bag,hospital,f", ["-", "-", "hospital"]), "names LBGf");
        // Without the name the hospital would be a feature.
        assert_eq!(roles("label,bag,hospital,f"), "names LBff");
        // What has the usual name of a role that another column was given is left out.
        assert_eq!(found("label,bag,patient,site,f", ["-", "-", "site"]), "names LB-Gf");
        assert_eq!(roles("label,bag,patient,site,f"), "names LBGSf");
        assert_eq!(roles("site,label,bag,f"), "names SLBf");
        assert_eq!(found("label,diagnosis,slide,f", ["diagnosis", "-", "-"]), "names -LBf");
        // A usual name may be given to another role, and numbers may be the names of features.
        assert_eq!(found("class,slide,patient,f", ["-", "patient", "-"]), "names L-Bf");
        assert_eq!(found("outcome,scan,0,3,7", ["outcome", "scan", "-"]), "names LBfff");
        assert_eq!(found("instance,label,bag,f", ["-", "instance", "-"]), "names BL-f");
        let refused = |row, asked, what: &str| {
            let message = named(row, asked).unwrap_err();
            assert!(message.contains(what), "{message}");
        };
        let missing = "no column is called 'site', as the group should be; the columns are 'label', 'bag', 'f'";
        refused("label,bag,f", ["-", "-", "site"], missing);
        refused("label,bag,f", ["-", "Bag", "-"], "no column is called 'Bag', as the bag should be");
        refused("label,bag,f", ["bag", "bag", "-"], "column 'bag' cannot be both the label and the bag");
        refused("1,a,0.5", ["-", "-", "site"], "the first line has numbers");
        let wide = format!("label,bag,{}", (0..40).map(|c| format!("f{c}")).collect::<Vec<_>>().join(","));
        refused(&wide, ["-", "-", "site"], "'f17' and 22 more");
    }

    #[test]
    fn the_uci_layout_is_known() {
        assert_eq!(roles("MUSK-188,188_1+1,42,-198,1."), "B-ffL");
        assert_eq!(roles("MUSK-188,188_1+1,42,-198,1"), "LBfff");
        assert_eq!(roles("MUSK-188,188_1+1,42.,-198.,1."), "LBfff");
        assert_eq!(roles("1,188_1+1,42,-198,1."), "LBfff");
    }
}
