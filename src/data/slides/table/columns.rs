//! Which columns of a table are the slide, the label and the patient.

use super::super::sheet::Sheet;
use super::super::splits::part_of;
use crate::data::Split;
use crate::data::responses::{EVENTS, LabelsAre, TIMES, is_of_censoring};
use crate::data::text::ColumnNames;

/// Usual names of the columns, the surest first.
const IDS: [&str; 22] = [
    "slide_id",
    "slide",
    "slide_name",
    "slideid",
    "wsi_id",
    "wsi",
    "wsi_name",
    "filename",
    "file_name",
    "file",
    "slide_path",
    "slide_file",
    "image_id",
    "image",
    "image_name",
    "bag",
    "bag_id",
    "bag_name",
    "path",
    "embeddings",
    "id",
    "name",
];
/// Usual names of columns of slides in files of patches, in which the others of [`IDS`] may be of patches.
const SLIDES: [&str; 12] = [
    "slide_id",
    "slide",
    "slide_name",
    "slideid",
    "wsi_id",
    "wsi",
    "wsi_name",
    "slide_path",
    "slide_file",
    "bag",
    "bag_id",
    "bag_name",
];
const LABELS: [&str; 9] =
    ["label", "labels", "slide_label", "bag_label", "class", "class_label", "target", "diagnosis", "y"];
const GROUPS: [&str; 11] = [
    "case_id",
    "case",
    "patient",
    "patient_id",
    "patients",
    "case_submitter_id",
    "subject",
    "subject_id",
    "group",
    "group_id",
    "groups",
];
const SITES: [&str; 3] = ["site", "site_id", "tissue_source_site"];
/// Columns that are never taken for labels because no other is left.
const OTHERS: [&str; 8] = ["", "unnamed:_0", "split", "fold", "set", "source", "site", "index"];

fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '.', '-'], "_")
}

/// `fold_3`, `split2` and the like, beside those that are never labels.
fn is_other(word: &str) -> bool {
    let number = ["fold", "split"].iter().find_map(|start| word.strip_prefix(start));
    let numbered = number.map(|n| n.trim_start_matches('_')).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    numbered || OTHERS.contains(&word)
}

/// The columns of a table by their names, of which some are taken.
pub(in super::super) struct Names<'a> {
    sheet: &'a Sheet,
    words: Vec<String>,
    taken: Vec<usize>,
}

impl<'a> Names<'a> {
    pub fn of(sheet: &'a Sheet) -> Self {
        let words = sheet.columns.iter().map(|name| plain(name)).collect();
        Self { sheet, words, taken: Vec::new() }
    }

    /// The column that `name` asks for by the option `flag`.
    ///
    /// # Errors
    /// When there is none, or it is taken.
    pub fn given(&mut self, name: &Option<String>, flag: &str) -> Result<Option<usize>, String> {
        let Some(name) = name else { return Ok(None) };
        let Some(at) = self.sheet.columns.iter().position(|n| n == name) else {
            return Err(format!("no column is called '{name}' (--{flag}); the columns are {}", self.sheet.listed()));
        };
        if self.taken.contains(&at) {
            return Err(format!("column '{name}' cannot be two things at once"));
        }
        self.taken.push(at);
        Ok(Some(at))
    }

    fn usual(&mut self, list: &[&str]) -> Option<usize> {
        let place =
            |word: &&str| (0..self.words.len()).find(|at| self.words[*at] == **word && !self.taken.contains(at));
        let found = list.iter().find_map(place);
        self.taken.extend(found);
        found
    }

    /// Takes the column `at` for something else.
    pub fn take(&mut self, at: usize) {
        self.taken.push(at);
    }

    /// The column with a usual name for slides.
    pub fn id(&mut self) -> Option<usize> {
        self.usual(&IDS)
    }

    /// The column with a usual name for slides that is not one for patches.
    pub fn slide(&mut self) -> Option<usize> {
        self.usual(&SLIDES)
    }

    /// The column with a usual name for patients.
    pub fn group(&mut self) -> Option<usize> {
        self.usual(&GROUPS)
    }

    /// The column with a usual name for where slides are from.
    pub fn site(&mut self) -> Option<usize> {
        self.usual(&SITES)
    }

    /// The column with a usual name for labels.
    pub fn usual_label(&mut self) -> Option<usize> {
        self.usual(&LABELS)
    }

    /// What is neither taken nor something else by its name.
    fn free(&self) -> Vec<usize> {
        (0..self.words.len()).filter(|at| !self.taken.contains(at) && !is_other(&self.words[*at])).collect()
    }

    /// The column of labels: that with a usual name, else the only one that is left.
    ///
    /// # Errors
    /// With the columns there are.
    pub fn label(&mut self, are: LabelsAre) -> Result<usize, String> {
        if are == LabelsAre::Times {
            return self.usual(&TIMES).ok_or_else(|| self.lacks("times", &TIMES[..5], "label-column"));
        }
        match (self.usual(&LABELS), &self.free()[..]) {
            (Some(label), _) => Ok(label),
            (None, [only]) => Ok(*only),
            (None, _) => Err(self.lacks("labels", &LABELS[..5], "label-column")),
        }
    }

    /// The column of events, where labels are times.
    ///
    /// # Errors
    /// With the columns there are.
    pub fn event(&mut self, asked: &ColumnNames) -> Result<Option<usize>, String> {
        if asked.kind() != LabelsAre::Times {
            return Ok(None);
        }
        let event = self.given(&asked.event, "event-column")?.or_else(|| self.usual(&EVENTS));
        event.map(Some).ok_or_else(|| self.lacks("events", &EVENTS[..5], "event-column"))
    }

    fn lacks(&self, what: &str, usual: &[&str], flag: &str) -> String {
        let (usual, listed) = (usual.join(", "), self.sheet.listed());
        format!("expected a column of {what} called {usual}, or --{flag} NAME; the columns are {listed}")
    }

    pub fn lacks_ids(&self) -> String {
        self.lacks("slides", &IDS[..4], "id-column")
    }

    pub fn lacks_groups(&self) -> String {
        self.lacks("patients", &["PATIENT", "patient_id", "case_id"], "patient-column")
    }
}

/// The columns of a table of labels.
pub(super) struct Columns {
    pub id: usize,
    pub label: usize,
    /// Whether the event came, where labels are times.
    pub event: Option<usize>,
    pub group: Option<usize>,
    pub site: Option<usize>,
    /// Slides are called by their patients.
    pub by_patient: bool,
}

impl Columns {
    pub fn of(sheet: &Sheet, asked: &ColumnNames) -> Result<Self, String> {
        let mut names = Names::of(sheet);
        let id = names.given(&asked.bag, "id-column")?;
        let label = names.given(&asked.label, "label-column")?;
        let group = names.given(&asked.group, "patient-column")?;
        let site = names.given(&asked.site, "site-column")?;
        let event = names.event(asked)?;
        let id = id.or_else(|| names.id());
        let group = group.or_else(|| names.group());
        let site = site.or_else(|| names.site());
        let usual: &[&str] = if event.is_some() { &TIMES } else { &LABELS };
        let label = label.or_else(|| names.usual(usual));
        // Where each patient has one slide, slides may be called by their patients; and two columns need no names.
        let (id, group, by_patient) = match (id, group, &names.free()[..]) {
            (Some(id), group, _) => (id, group, false),
            (None, Some(group), []) => (group, None, true),
            (None, group, [first]) if label.is_some() => (*first, group, false),
            (None, group, [first, _]) if label.is_none() => (*first, group, false),
            (_, Some(_), _) => {
                return Err(names.lacks_ids() + " (a table of patients goes with one of their slides: --slides TABLE)");
            }
            _ => return Err(names.lacks_ids()),
        };
        names.taken.push(id);
        let label = label.map_or_else(|| names.label(asked.kind()), Ok)?;
        Ok(Self { id, label, event, group, site, by_patient })
    }

    /// What was taken for what.
    pub fn told(&self, sheet: &Sheet) -> String {
        let name = |at: usize| &sheet.columns[at];
        let patients = self.group.map(|g| format!(", the patient '{}'", name(g))).unwrap_or_default();
        let sites = self.site.map(|at| format!(", the site '{}'", name(at))).unwrap_or_default();
        let what = match self.event {
            None => format!("the label{patients}{sites}"),
            Some(event) => format!("the time, {}{patients}{sites}", told_of_event(name(event))),
        };
        format!("column '{}' names the slide, '{}' {what}", name(self.id), name(self.label))
    }
}

/// What a column of events is taken for.
pub(super) fn told_of_event(name: &str) -> String {
    let turned = if is_of_censoring(name) { " (by its name, 1 is a slide that was censored)" } else { "" };
    format!("'{name}' whether the event came then{turned}")
}

/// The columns of a part that stands beside the others, as in `train_slide_path,train_label,val_slide_path,val_label`.
pub(in super::super) struct Beside {
    pub part: Split,
    pub id: usize,
    pub label: Option<usize>,
}

/// Parts side by side, where the columns are that.
pub(in super::super) fn side_by_side(sheet: &Sheet) -> Option<Vec<Beside>> {
    let words: Vec<String> = sheet.columns.iter().map(|name| plain(name)).collect();
    let of = |part: Split, list: &[&str]| {
        let place = |name: &&str| {
            (0..words.len()).find(|&at| {
                let (start, end) = words[at].split_once('_').unwrap_or_default();
                part_of(start) == Some(part) && end == *name
            })
        };
        list.iter().find_map(place)
    };
    let parts = Split::ALL.into_iter();
    let beside: Vec<Beside> =
        parts.filter_map(|part| Some(Beside { part, id: of(part, &IDS)?, label: of(part, &LABELS) })).collect();
    beside.iter().any(|b| b.part == Split::Train).then_some(beside)
}
