//! The optimiser as it is asked for: whole, by the name of its rule, or in single parts, each in place of what the
//! recipe of the method says.

use anyhow::{Result, bail};
use bagrad::ops::update::{Lookahead, Optimiser, UpdateRule};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An update rule with its usual constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Adam with coupled L2
    Adam,
    /// Adam with decoupled decay
    Adamw,
    /// Rectified Adam with decoupled decay on weight matrices
    Radam,
    /// SGD with Nesterov momentum, as in Keras
    Nesterov,
}

impl Rule {
    fn of(optimiser: &Optimiser) -> Self {
        match optimiser.rule {
            UpdateRule::Adam { .. } => Self::Adam,
            UpdateRule::AdamW { .. } => Self::Adamw,
            UpdateRule::RAdam { .. } => Self::Radam,
            UpdateRule::Nesterov { .. } => Self::Nesterov,
        }
    }

    fn usual(self, decay: f32) -> Optimiser {
        match self {
            Self::Adam => Optimiser::adam(decay),
            Self::Adamw => Optimiser::adamw(decay),
            Self::Radam => Optimiser::radam(decay),
            Self::Nesterov => Optimiser::nesterov(0.9, decay),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Adam => "adam",
            Self::Adamw => "adamw",
            Self::Radam => "radam",
            Self::Nesterov => "nesterov",
        }
    }
}

/// `optimiser` of a configuration file: the name of a rule, or a table that is the whole optimiser, as runs write it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Chosen {
    /// This rule.
    Rule(Rule),
    /// Exactly this.
    Whole(Optimiser),
}

impl<'de> Deserialize<'de> for Chosen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Chosen;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("the name of an update rule, or a table with the whole optimiser")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Chosen, E> {
                Rule::deserialize(StrDeserializer::new(name)).map(Chosen::Rule)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Chosen, A::Error> {
                Optimiser::deserialize(MapAccessDeserializer::new(map)).map(Chosen::Whole)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// What is asked of the optimiser in one place, by flags or by a file; what is `None` stays as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Parts {
    /// The rule, or everything.
    pub chosen: Option<Chosen>,
    /// Decays of the two moments.
    pub betas: Option<[f32; 2]>,
    /// What is added to the root of the second moment.
    pub epsilon: Option<f32>,
    /// Momentum of nesterov.
    pub momentum: Option<f32>,
    /// Strength of the decay.
    pub weight_decay: Option<f32>,
    /// Largest norm of the gradient.
    pub clip_norm: Option<f32>,
    /// Lookahead, or none.
    pub lookahead: Option<Option<Lookahead>>,
}

impl Parts {
    /// Puts these parts in place of those of `optimiser`. Another rule drops the constants of the one before it, which
    /// is told.
    ///
    /// # Errors
    /// When a part is none of the rule's.
    pub fn apply(&self, optimiser: &mut Optimiser) -> Result<Option<String>> {
        let mut remark = None;
        match self.chosen {
            Some(Chosen::Whole(whole)) => *optimiser = whole,
            Some(Chosen::Rule(rule)) if rule != Rule::of(optimiser) => {
                let before = *optimiser;
                let usual = rule.usual(before.weight_decay);
                (optimiser.rule, optimiser.decay_biases) = (usual.rule, usual.decay_biases);
                remark = Some(told(&before, optimiser));
            }
            _ => {}
        }
        let name = Rule::of(optimiser).name();
        match &mut optimiser.rule {
            UpdateRule::Adam { beta1, beta2, epsilon }
            | UpdateRule::AdamW { beta1, beta2, epsilon }
            | UpdateRule::RAdam { beta1, beta2, epsilon } => {
                if self.momentum.is_some() {
                    bail!("momentum is a setting of the optimiser nesterov; found it with {name}, which has betas");
                }
                [*beta1, *beta2] = self.betas.unwrap_or([*beta1, *beta2]);
                *epsilon = self.epsilon.unwrap_or(*epsilon);
            }
            UpdateRule::Nesterov { momentum } => {
                if self.betas.or(self.epsilon.map(|e| [e; 2])).is_some() {
                    bail!("betas and epsilon are settings of adam, adamw and radam; found them with nesterov");
                }
                *momentum = self.momentum.unwrap_or(*momentum);
            }
        }
        optimiser.weight_decay = self.weight_decay.unwrap_or(optimiser.weight_decay);
        optimiser.clip_norm = self.clip_norm.or(optimiser.clip_norm);
        optimiser.lookahead = self.lookahead.unwrap_or(optimiser.lookahead);
        Ok(remark)
    }
}

/// What a change of the rule drops and keeps.
fn told(before: &Optimiser, after: &Optimiser) -> String {
    let constants = |rule: &UpdateRule| match rule {
        UpdateRule::Adam { beta1, beta2, epsilon }
        | UpdateRule::AdamW { beta1, beta2, epsilon }
        | UpdateRule::RAdam { beta1, beta2, epsilon } => format!("betas {beta1} and {beta2}, epsilon {epsilon:e}"),
        UpdateRule::Nesterov { momentum } => format!("momentum {momentum}"),
    };
    let decays = |o: &Optimiser| if o.decay_biases { "weights and biases" } else { "weight matrices alone" };
    let mut kept = vec![format!("weight decay {}, on {}", after.weight_decay, decays(after))];
    if before.decay_biases != after.decay_biases {
        kept[0] += &format!(" (before, on {})", decays(before));
    }
    kept.extend(after.clip_norm.map(|norm| format!("the norm {norm} of clipping")));
    kept.extend(after.lookahead.map(|l| format!("lookahead {}:{}", l.every, l.alpha)));
    kept.extend(after.average.map(|_| "the moving average".to_owned()));
    kept.extend(after.second.map(|_| "the second rule".to_owned()));
    format!(
        "optimiser {} in place of {}: {} are dropped for {}; kept: the learning rate, {}",
        Rule::of(after).name(),
        Rule::of(before).name(),
        constants(&before.rule),
        constants(&after.rule),
        kept.join(", ")
    )
}

/// Reads `BETA1,BETA2`.
///
/// # Errors
/// What is wrong with it.
pub fn betas(text: &str) -> Result<[f32; 2], String> {
    let pair = text.split_once(',').and_then(|(a, b)| Some([a.trim().parse().ok()?, b.trim().parse().ok()?]));
    pair.ok_or_else(|| "expected two numbers, such as 0.5,0.9".into())
}

/// Lookahead as the flag gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LookaheadFlag(pub Option<Lookahead>);

impl std::str::FromStr for LookaheadFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let pair = text.split_once(':').and_then(|(every, alpha)| {
            Some(Lookahead { every: every.trim().parse().ok()?, alpha: alpha.trim().parse().ok()? })
        });
        pair.map(|l| Self(Some(l))).ok_or_else(|| "expected none, or UPDATES:SHARE such as 6:0.5".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bagrad::methods::Method;

    fn dsmil() -> Optimiser {
        Method::named("dsmil").unwrap().recipe().optimiser
    }

    #[test]
    fn parts_change_what_they_name_and_nothing_else() {
        let parts = Parts { betas: Some([0.8, 0.95]), weight_decay: Some(0.25), ..Parts::default() };
        let mut found = dsmil();
        assert_eq!(parts.apply(&mut found).unwrap(), None);
        let rule = UpdateRule::Adam { beta1: 0.8, beta2: 0.95, epsilon: 1e-8 };
        assert_eq!(found, Optimiser { rule, weight_decay: 0.25, ..dsmil() });
        // The rule that it is already keeps the recipe's constants.
        let same = Parts { chosen: Some(Chosen::Rule(Rule::Adam)), ..Parts::default() };
        let mut found = dsmil();
        assert_eq!((same.apply(&mut found).unwrap(), found), (None, dsmil()));
        let none = Parts { lookahead: Some(None), ..Parts::default() };
        let mut found = Method::named("transmil").unwrap().recipe().optimiser;
        none.apply(&mut found).unwrap();
        assert_eq!(found, Optimiser::radam(1e-5));
    }

    #[test]
    fn another_rule_says_what_it_drops() {
        let parts = Parts { chosen: Some(Chosen::Rule(Rule::Radam)), ..Parts::default() };
        let mut found = Optimiser { clip_norm: Some(5.0), ..dsmil().with_lookahead(6, 0.5) };
        let told = parts.apply(&mut found).unwrap().unwrap();
        let wanted = Optimiser { clip_norm: Some(5.0), ..Optimiser::radam(5e-3).with_lookahead(6, 0.5) };
        assert_eq!(found, wanted);
        for part in ["radam in place of adam", "betas 0.5 and 0.9", "0.9 and 0.999", "0.005", "lookahead 6:0.5"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        let parts = Parts { momentum: Some(0.5), ..Parts::default() };
        assert!(parts.apply(&mut dsmil()).unwrap_err().to_string().contains("nesterov"));
        let parts = Parts { betas: Some([0.5; 2]), ..Parts::default() };
        assert!(parts.apply(&mut Optimiser::nesterov(0.9, 0.0)).unwrap_err().to_string().contains("betas"));
    }

    #[test]
    fn flags_are_read() {
        assert_eq!(betas("0.5, 0.9"), Ok([0.5, 0.9]));
        assert!(betas("0.5").is_err());
        assert_eq!("6:0.5".parse(), Ok(LookaheadFlag(Some(Lookahead { every: 6, alpha: 0.5 }))));
        assert_eq!("none".parse(), Ok(LookaheadFlag(None)));
        assert!("6".parse::<LookaheadFlag>().is_err());
    }
}
