//! What `--folds` asks for.

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// How a study divides bags.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Division {
    /// So many folds, stratified.
    Folds(usize),
    /// So many divisions that each test a share.
    MonteCarlo(usize, f64),
    /// So many folds of whole sites.
    Sites(usize),
    /// A fold for each site.
    EachSite,
}

/// Share of the bags that a Monte-Carlo division tests, unless it says.
const SHARE: f64 = 0.2;
/// What `--folds` accepts.
const EXPECTED: &str = "a number of folds, monte-carlo:N or monte-carlo:N:SHARE, sites:K, or each-site";

impl FromStr for Division {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let found = match parts[..] {
            ["each-site"] => Some(Self::EachSite),
            ["sites", count] => count.parse().ok().map(Self::Sites),
            ["monte-carlo", count] => count.parse().ok().map(|count| Self::MonteCarlo(count, SHARE)),
            ["monte-carlo", count, share] => {
                count.parse().ok().zip(share.parse().ok()).map(|(c, s)| Self::MonteCarlo(c, s))
            }
            [count] => count.parse().ok().map(Self::Folds),
            _ => None,
        };
        found.ok_or_else(|| format!("expected {EXPECTED}, found {text:?}"))
    }
}

impl fmt::Display for Division {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folds(count) => write!(f, "{count}"),
            Self::MonteCarlo(count, share) => write!(f, "monte-carlo:{count}:{share}"),
            Self::Sites(count) => write!(f, "sites:{count}"),
            Self::EachSite => f.write_str("each-site"),
        }
    }
}

impl Serialize for Division {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Folds(count) => serializer.serialize_u64(*count as u64),
            other => serializer.collect_str(other),
        }
    }
}

impl<'de> Deserialize<'de> for Division {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Division;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_i64<E: Error>(self, count: i64) -> Result<Division, E> {
                let wrong = || E::invalid_value(Unexpected::Signed(count), &Either);
                usize::try_from(count).map(Division::Folds).map_err(|_| wrong())
            }

            fn visit_u64<E: Error>(self, count: u64) -> Result<Division, E> {
                let wrong = || E::invalid_value(Unexpected::Unsigned(count), &Either);
                usize::try_from(count).map(Division::Folds).map_err(|_| wrong())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Division, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divisions_are_read_and_written() {
        #[derive(Serialize, Deserialize)]
        struct File {
            folds: Division,
        }
        for (text, division) in [
            ("5", Division::Folds(5)),
            ("monte-carlo:20:0.3", Division::MonteCarlo(20, 0.3)),
            ("sites:3", Division::Sites(3)),
            ("each-site", Division::EachSite),
        ] {
            assert_eq!((text.parse(), division.to_string()), (Ok(division), text.to_owned()));
            let file = toml::to_string(&File { folds: division }).unwrap();
            assert_eq!(toml::from_str::<File>(&file).unwrap().folds, division);
        }
        assert_eq!("monte-carlo:20".parse(), Ok(Division::MonteCarlo(20, 0.2)));
        for text in ["-1", "sites", "sites:x", "monte-carlo:2:x", "monte-carlo", "a:b:c:d"] {
            assert!(text.parse::<Division>().unwrap_err().contains("expected a number of folds"), "{text}");
        }
        assert!(toml::from_str::<File>("folds = -2").is_err());
        assert!(toml::from_str::<File>("folds = 'mc'").err().unwrap().to_string().contains("each-site"));
    }
}
