//! What `--search` asks for: the settings that a method may have.

use super::study_file::{StudyFile, parts};
use anyhow::{Context, Result, bail};
use bagrad::methods::Method;
use bagrad::random::Random;
use bagrad::study::{Candidate, Contender};

/// Candidates of one search, at most: each is a training in every fit.
const MOST: usize = 256;

/// The values that a setting may have.
enum Values {
    /// These.
    Listed(Vec<String>),
    /// Any between two numbers, whole ones alone where both are.
    Between { low: f64, high: f64, whole: bool, log: bool },
}

impl Values {
    /// Of `[1e-4,3e-4]`, `0.1..0.5`, `16..256` or `1e-5..1e-3 log`.
    fn of(text: &str) -> Result<Self> {
        if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let all: Vec<String> = parts(inside).into_iter().map(|value| value.trim().to_owned()).collect();
            if all.iter().any(String::is_empty) {
                bail!("expected values between the commas of {text}");
            }
            return Ok(Self::Listed(all));
        }
        let (range, log) = text.strip_suffix(" log").map_or((text, false), |range| (range, true));
        let ends = range.split_once("..").map(|(low, high)| [low.trim(), high.trim()]);
        let numbers = ends.and_then(|[low, high]| Some([low.parse::<f64>().ok()?, high.parse::<f64>().ok()?]));
        match (ends, numbers) {
            (Some(ends), Some([low, high])) if low < high && (high - low).is_finite() && (!log || low > 0.0) => {
                let whole = ends.iter().all(|end| end.parse::<i64>().is_ok());
                Ok(Self::Between { low, high, whole, log })
            }
            _ => bail!(
                "expected values in brackets such as [1e-4,3e-4], or a range such as 0..0.5 or 1e-5..1e-3 log (above 0), \
                 found {text:?}"
            ),
        }
    }

    /// One of them.
    fn draw(&self, random: &mut Random) -> String {
        match self {
            Self::Listed(all) => all[random.below(all.len())].clone(),
            &Self::Between { low, high, whole, log } => {
                let share = random.uniform();
                let value = if log { low * (high / low).powf(share) } else { low + share * (high - low) };
                match whole {
                    true if !log => format!("{}", low as i64 + random.below((high - low) as usize + 1) as i64),
                    true => format!("{}", value.round() as i64),
                    // Three digits: what is told is what is used.
                    false => format!("{value:.2e}").parse::<f64>().unwrap_or(value).to_string(),
                }
            }
        }
    }
}

/// The method of `NAME[,SETTING=VALUE..]: SETTING=VALUES, ..` with every combination of the values, or with `trials` of them drawn
/// at random from `seed`.
///
/// # Errors
/// For what is no method, setting or list of values, and for more than 256 candidates.
pub fn contender(study: &StudyFile, text: &str, trials: Option<usize>, seed: u64) -> Result<Contender> {
    let of = || format!("--search {text}");
    let (method, values) = text
        .split_once(':')
        .with_context(|| format!("{}: expected NAME: SETTING=[VALUE,..], such as 'dsmil: lr=[1e-4,3e-4]'", of()))?;
    let method = method.trim();
    // That the method is one is told before its settings are.
    let known = study.candidate(method).with_context(of)?;
    let mut axes = Vec::new();
    for setting in parts(values) {
        let Some((name, values)) = setting.split_once('=') else {
            bail!("{}: expected SETTING=[VALUE,..], found {:?}", of(), setting.trim());
        };
        let name = name.trim().to_owned();
        if axes.iter().any(|(other, _)| *other == name) {
            bail!("{}: '{name}' is there twice", of());
        }
        let values = Values::of(values.trim()).with_context(|| format!("{}: {name}", of()))?;
        axes.push((name, values));
    }
    let combined = match trials {
        Some(trials) => drawn(&axes, trials, seed, text),
        None => all(&axes).with_context(of)?,
    };
    if combined.len() > MOST {
        bail!("{}: {} candidates, of {MOST} at most; --trials N draws some of them", of(), combined.len());
    }
    let candidates = combined.into_iter().map(|values| {
        let told: Vec<String> = axes.iter().zip(values).map(|((name, _), value)| set(&known, name, value)).collect();
        let settings = told.join(", ");
        let candidate = study.candidate(&[&[method.to_owned()], &told[..]].concat().join(",")).with_context(of)?;
        Ok(Candidate { settings, ..candidate })
    });
    let candidates: Vec<Candidate> = candidates.collect::<Result<_>>()?;
    if let Some((at, _)) = candidates.iter().enumerate().find(|&(at, a)| {
        candidates[..at].iter().any(|b| b.method.settings() == a.method.settings() && b.training == a.training)
    }) {
        bail!("{}: '{}' is there twice", of(), candidates[at].settings);
    }
    Ok(Contender::new(text.trim(), candidates))
}

/// `name=value`, a number in brackets where the setting is a list.
fn set(method: &Candidate, name: &str, value: String) -> String {
    let is_list = Method::settings(&method.method).get(name).is_some_and(serde_json::Value::is_array);
    match is_list && value.parse::<f64>().is_ok() {
        true => format!("{name}=[{value}]"),
        false => format!("{name}={value}"),
    }
}

/// Every combination, the last setting fastest.
fn all(axes: &[(String, Values)]) -> Result<Vec<Vec<String>>> {
    let mut combined = vec![Vec::new()];
    for (name, values) in axes {
        let Values::Listed(values) = values else {
            bail!("{name}: a range is drawn from, which needs --trials N; or list the values in brackets");
        };
        // Before memory is taken for them.
        if combined.len() * values.len() > MOST {
            bail!("more than {MOST} candidates; --trials N draws some of them");
        }
        let with = |before: &Vec<String>| -> Vec<Vec<String>> {
            values.iter().map(|value| [&before[..], std::slice::from_ref(value)].concat()).collect()
        };
        combined = combined.iter().flat_map(with).collect();
    }
    Ok(combined)
}

/// As many different combinations, or as many as turn up. They depend on the seed and on what is searched alone.
fn drawn(axes: &[(String, Values)], trials: usize, seed: u64, text: &str) -> Vec<Vec<String>> {
    const TRIES: usize = 50;
    // The stream of a search is made of its text, so that another search moves none of its draws.
    let stream =
        text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |all, byte| (all ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut random = Random::new(seed, stream);
    let mut found: Vec<Vec<String>> = Vec::new();
    for _ in 0..trials.min(MOST + 1) * TRIES {
        if found.len() == trials {
            break;
        }
        let one: Vec<String> = axes.iter().map(|(_, values)| values.draw(&mut random)).collect();
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, trials: Option<usize>, seed: u64) -> Result<Vec<String>, String> {
        let found = contender(&StudyFile::default(), text, trials, seed);
        let all = |found: Contender| found.candidates.into_iter().map(|c| c.settings).collect();
        found.map(all).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn every_combination_is_a_candidate() {
        let text = "gated-attention,dropout=0: lr=[1e-4, 3e-4], embed=[64,[128,64]]";
        let wanted =
            ["lr=1e-4, embed=[64]", "lr=1e-4, embed=[128,64]", "lr=3e-4, embed=[64]", "lr=3e-4, embed=[128,64]"];
        assert_eq!(told(text, None, 1).unwrap(), wanted);
        let found = contender(&StudyFile::default(), text, None, 1).unwrap();
        let last = &found.candidates[3];
        assert_eq!((&found.name[..], last.training.learning_rate), (text, 3e-4));
        assert_eq!(last.method.settings()["embed"], serde_json::json!([128, 64]));
        assert_eq!(last.method.settings()["dropout"], 0.0);
    }

    #[test]
    fn trials_are_drawn_by_the_seed_and_differ() {
        let text = "gated-attention: lr=1e-5..1e-2 log, dropout=0..0.5, attention=8..64, embed=[32,64]";
        let found = told(text, Some(12), 1).unwrap();
        assert_eq!((found.len(), &found), (12, &told(text, Some(12), 1).unwrap()));
        assert_ne!(found, told(text, Some(12), 2).unwrap());
        assert_eq!(found[..5], told(text, Some(5), 1).unwrap());
        let rates: Vec<f64> = contender(&StudyFile::default(), text, Some(200), 1)
            .unwrap()
            .candidates
            .iter()
            .map(|c| c.training.learning_rate)
            .collect();
        assert!(rates.iter().all(|rate| (1e-5..=1e-2).contains(rate)));
        let small = rates.iter().filter(|rate| **rate < 10f64.powf(-3.5)).count();
        assert!((70..130).contains(&small), "{small} of 200 in the lower half of the decades");
        // No more than there are.
        assert_eq!(told("gated-attention: embed=[32,64]", Some(12), 1).unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_search_is_told() {
        let refused = |text: &str, trials, what: &str| {
            let message = told(text, trials, 1).unwrap_err();
            assert!(message.contains(text) && message.contains(what), "{message}");
        };
        refused("gated-attention", None, "expected NAME: SETTING=[VALUE,..]");
        refused("no-such: lr=[1e-4]", None, "there are: mi-net");
        refused("dsmil: lr", None, "expected SETTING=[VALUE,..]");
        refused("dsmil: lr=1e-4", None, "expected values in brackets");
        refused("dsmil: lr=1e-3..1e-4", None, "or a range such as");
        refused("dsmil: lr=0..1e-4 log", Some(2), "above 0");
        refused("dsmil: lr=1e-5..1e-4", None, "needs --trials N");
        refused("dsmil: lr=[1e-4], lr=[1e-3]", None, "'lr' is there twice");
        refused("dsmil: lr=[1e-4,0.0001]", None, "'lr=0.0001' is there twice");
        refused("dsmil: queri=[3]", None, "queri");
        let many = format!("dsmil: lr=[{}], query=[{}]", ["1"; 20].join(","), ["2"; 20].join(","));
        refused(&many, None, "more than 256 candidates");
    }
}
