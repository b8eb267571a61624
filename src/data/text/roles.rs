//! What the columns of a text file are: label, bag, feature, or nothing that is used.

use super::super::classes::is_unknown;
use std::collections::HashSet;

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Label,
    Bag,
    Feature,
    /// What several bags have in common, such as the patient; only by name.
    Group,
    /// Row names and the like.
    Ignored,
}

/// The roles of all columns, and what the features are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub roles: Vec<Role>,
    pub names: Option<Vec<String>>,
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
    /// What the first row says: that it is a header, or the layout without one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(first: &[&str]) -> Result<Self, String> {
        let usual = |list: &[&str], at: usize| first.get(at).is_some_and(|f| list.contains(&plain(f).as_str()));
        let named = first.len() > 2 && !first.iter().any(|f| is_number(f)) && !first[2..].iter().any(|f| is_unknown(f));
        if named {
            return Self::of_header(first);
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
            return Self::of_header(first);
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
        Ok(Self { roles, names: None, remarks, header: false })
    }

    fn of_header(names: &[&str]) -> Result<Self, String> {
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(**name)) {
            return Err(format!("two columns are called '{twice}'"));
        }
        let words: Vec<String> = names.iter().map(|n| plain(n)).collect();
        let find = |list: &[&str]| {
            list.iter().find_map(|word| words.iter().position(|w| w == word).filter(|&at| *word != "y" || at < 2))
        };
        let group = find(&GROUPS);
        let ignored = |at: usize| IGNORED.contains(&words[at].as_str());
        if let Some(at) = (1..names.len()).find(|&at| names[at].is_empty()) {
            return Err(format!("column {at} (0-based) has no name, and others have"));
        }
        let first_of =
            |taken: Option<usize>| (0..names.len()).find(|&at| !ignored(at) && Some(at) != taken && Some(at) != group);
        let mut remarks = Vec::new();
        let (label, bag) = match (find(&LABELS), find(&BAGS)) {
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
                "no column is called label, class or target: the bags ('{}') are without labels",
                names[bag]
            )),
            Some(label) if find(&LABELS).is_none() || find(&BAGS).is_none() => {
                remarks
                    .push(format!("column '{}' is taken for the label and '{}' for the bag", names[label], names[bag]));
            }
            Some(_) => {}
        }
        let role = |at: usize| match at {
            _ if Some(at) == label => Role::Label,
            _ if at == bag => Role::Bag,
            _ if Some(at) == group => Role::Group,
            _ if ignored(at) => Role::Ignored,
            _ => Role::Feature,
        };
        let roles: Vec<Role> = (0..names.len()).map(role).collect();
        let of = |role: Role| (0..names.len()).filter(|&at| roles[at] == role).map(|at| names[at].to_owned()).collect();
        let left_out: Vec<String> = of(Role::Ignored);
        if let Some(name) = left_out.iter().find(|name| !name.is_empty()) {
            remarks.push(format!("column '{name}' is no feature and is left out"));
        }
        let names = Some(of(Role::Feature));
        Ok(Self { roles, names, remarks, header: true })
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
        let columns = Columns::of(&row.split(',').collect::<Vec<_>>()).unwrap();
        let letter = |r: &Role| match r {
            Role::Label => 'L',
            Role::Bag => 'B',
            Role::Feature => 'f',
            Role::Group => 'G',
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
        assert!(Columns::of(&["label", "bag", "3", "7"]).unwrap_err().contains("goes on with '3'"));
        assert!(Columns::of(&["label", "bag", "a", "a"]).unwrap_err().contains("two columns are called 'a'"));
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
        let columns = Columns::of(&["label", "bag", "f", "g"]).unwrap();
        assert_eq!(columns.names, Some(vec!["f".into(), "g".into()]));
    }

    #[test]
    fn the_uci_layout_is_known() {
        assert_eq!(roles("MUSK-188,188_1+1,42,-198,1."), "B-ffL");
        assert_eq!(roles("MUSK-188,188_1+1,42,-198,1"), "LBfff");
        assert_eq!(roles("MUSK-188,188_1+1,42.,-198.,1."), "LBfff");
        assert_eq!(roles("1,188_1+1,42,-198,1."), "LBfff");
    }
}
