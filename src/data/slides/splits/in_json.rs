//! `splits.json` of STAMP: `{"splits": [{"train_patients": [..], "test_patients": [..]}, ..]}`.

use super::super::super::split::Split;
use super::Division;
use serde::Deserialize;

#[derive(Deserialize)]
struct Splits {
    splits: Vec<Fold>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fold {
    train_patients: Vec<Patient>,
    #[serde(default, alias = "valid_patients", alias = "validation_patients")]
    val_patients: Vec<Patient>,
    test_patients: Vec<Patient>,
}

/// Ids are text; whole numbers are taken as they are written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Patient {
    Text(String),
    Number(u64),
}

impl From<Patient> for String {
    fn from(patient: Patient) -> Self {
        match patient {
            Patient::Text(text) => text,
            Patient::Number(number) => number.to_string(),
        }
    }
}

/// The division with the number `which` in `text`, or the only one.
///
/// # Errors
/// When it is no such file, or there are several divisions and none is chosen.
pub(super) fn read(text: &str, which: Option<&str>) -> Result<Division, String> {
    let form = "{\"splits\": [{\"train_patients\": [..], \"test_patients\": [..]}, ..]} as STAMP writes it";
    let Splits { splits } =
        serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|e| format!("expected {form}: {e}"))?;
    let count = splits.len();
    let choice = format!("has {count} divisions, numbered from 0 to {}", count.saturating_sub(1));
    let number = match which {
        Some(which) => match which.parse::<usize>() {
            Ok(number) if number < count => number,
            _ => return Err(format!("{choice}, and none that is called '{which}' (--which-split)")),
        },
        None if count == 1 => 0,
        None if count == 0 => return Err(format!("expected {form}, found no division")),
        None => return Err(format!("{choice}: which one? (--which-split N)")),
    };
    let fold = splits.into_iter().nth(number).ok_or("the division is not there")?;
    let lists = [
        (fold.train_patients, Split::Train),
        (fold.val_patients, Split::Validation),
        (fold.test_patients, Split::Test),
    ];
    let parts = lists.into_iter().flat_map(|(ids, part)| ids.into_iter().map(move |id| (id.into(), part))).collect();
    Ok(Division { of_patients: true, parts, remarks: Vec::new() })
}
