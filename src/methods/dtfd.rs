//! DTFD-MIL (Zhang, Meng, Zhao, Qiao, Yang, Coupland, Zheng 2022, arXiv 2203.12081): two tiers. Each bag is cut at random
//! into pseudo-bags, which inherit its label; the first tier learns from those and distils features of each; the second
//! learns from the bag of what was distilled, which leads no gradient back.

use super::base::Ranking;
use super::layers::{Activation, Columns, Link, Meaning, Network, Start, ValueId, Weight};
use super::{About, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::groups::Group;
use crate::kernels::launch::{Input, Pseudo};
use crate::ops::loss::{SigmoidCrossEntropy, Soft, SoftmaxCrossEntropy};
use crate::ops::pointwise::{Activate, StopGradient};
use crate::ops::pseudo_bags::{DealOut, Distil, PermuteRows, distilled_tables, pseudo_tables};
use crate::ops::reduce::RowSoftmax;
use crate::ops::rows::{GatherRows, SliceColumns};
use crate::ops::schedule::Schedule;
use crate::ops::segment::SegmentSoftmax;
use crate::ops::sort::SegmentSort;
use crate::ops::update::Optimiser;
use crate::ops::weighting::RowScale;
use serde::{Deserialize, Serialize};

/// What is distilled from a pseudo-bag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distillation {
    /// The aggregated feature of the pseudo-bag (AFS).
    #[default]
    Afs,
    /// The instances of the largest signals (MaxS).
    MaxS,
    /// Those of the largest and of the smallest signals (MaxMinS).
    MaxMinS,
    /// The instances of the largest attention (MAS).
    Mas,
}

/// Settings of the method; the defaults are those of the authors' code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dtfd {
    /// Width of the layer in front, without bias, with ReLU.
    pub reduce: u32,
    /// Hidden width of both tiers' attention.
    pub attention: u32,
    /// Multiply its hidden rows by a gate.
    pub gated: bool,
    /// Pseudo-bags of a bag.
    pub pseudo_bags: u32,
    /// What is distilled from each.
    pub distil: Distillation,
    /// Instances of each side that are distilled from a pseudo-bag, where it is instances.
    pub instances: u32,
    /// Weight of the first tier's loss in what is minimised.
    #[serde(serialize_with = "super::layers::shortest")]
    pub first_tier: f32,
    /// Largest norm of the gradient of each part: the layer in front, the first tier's attention, its classifier, the
    /// second tier. 0 clips nothing.
    #[serde(serialize_with = "super::layers::shortest")]
    pub clip: f32,
    /// How weights start.
    pub init: Start,
}

impl Default for Dtfd {
    fn default() -> Self {
        Self {
            reduce: 512,
            attention: 128,
            gated: true,
            pseudo_bags: 4,
            distil: Distillation::Afs,
            instances: 1,
            first_tier: 1.0,
            clip: 5.0,
            init: Start::Torch,
        }
    }
}

/// Rows that may be distilled from a bag.
const MOST_DISTILLED: u64 = 1 << 16;

impl MilMethod for Dtfd {
    const NAME: &'static str = "dtfd";

    fn about() -> About {
        About {
            title: "DTFD-MIL",
            paper: "Zhang, Meng, Zhao, Qiao, Yang, Coupland, Zheng: DTFD-MIL: Double-Tier Feature Distillation Multiple \
                    Instance Learning for Histopathology Whole Slide Image Classification, 2022 (arXiv 2203.12081)",
            level: Level::Bag,
        }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        vec![
            ("reduce", "width of the ReLU layer in front, which has no bias"),
            ("attention", "hidden width of the attention of both tiers"),
            ("gated", "multiply the hidden row of the attention by a gate"),
            (
                "pseudo_bags",
                "pseudo-bags that each bag is cut into at random in every step (8 for TCGA, 5 for Camelyon16)",
            ),
            ("distil", "what is distilled from a pseudo-bag: afs (its feature), max-s, max-min-s or mas (instances)"),
            ("instances", "instances distilled from each side of a pseudo-bag"),
            ("first_tier", "weight of the loss of the pseudo-bags; 1 in the paper"),
            ("clip", "largest norm of the gradient of each of four parts; 0 for none"),
            ("init", "start of the weights: torch, glorot, glorot-normal or lecun"),
        ]
    }

    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adam(1e-4), learning_rate: 1e-4, time_decay: 0.0, epochs: 200, bags: 1 }
    }

    fn schedule(&self) -> Schedule {
        Schedule::MultiStep { milestones: vec![100], gamma: 0.2 }
    }

    /// The authors have an Adam for each tier with the same settings, which is one Adam; gradients are clipped apart.
    fn groups(&self) -> Vec<Group> {
        let parts = ["reduce", "tier1.attention", "tier1.head", "tier2"];
        let clipped = |part: &&str| Group { clip_norm: Some(self.clip), ..Group::of([*part]) };
        parts.iter().filter(|_| self.clip > 0.0).map(clipped).collect()
    }

    /// # Errors
    /// [`Error::Setting`] for a width or a number of pseudo-bags or instances of 0, or more of them than can be counted.
    fn record(&self, net: &mut Network) -> Result<()> {
        let counts = [
            ("reduce", self.reduce),
            ("attention", self.attention),
            ("pseudo_bags", self.pseudo_bags),
            ("instances", self.instances),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, n)| *n == 0) {
            return Err(Error::setting(*name, "must be above 0"));
        }
        for (name, value) in [("first_tier", self.first_tier), ("clip", self.clip)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::setting(name, format!("must be a number of at least 0, found {value}")));
            }
        }
        let pseudo = self.pseudo();
        if u64::from(pseudo.bags) * u64::from(pseudo.rows) * u64::from(pseudo.sides) > MOST_DISTILLED {
            let message =
                format!("at most {MOST_DISTILLED} rows can be distilled from a bag: use fewer, or fewer pseudo-bags");
            return Err(Error::setting("instances", message));
        }
        net.start = self.init;
        net.tape.pseudo = Some(pseudo);
        let link = net.one_of_all();
        let tier = self.first_tier(net, link)?;
        let distilled = self.distilled(net, link, &tier, pseudo)?;
        let over = distilled_tables(&mut net.tape);
        let [pooled, _] = net.attention_pool_over("tier2.attention", over, distilled, self.attention_settings())?;
        let outputs = net.outputs();
        let described = net.bag_features(pooled, 1, "tier2.")?;
        let logits = net.linear("tier2.head", described, outputs, Activation::None)?;
        let loss = net.bag_loss(logits, link, 0.0)?;

        let scores = back(net, tier.signals, &tier)?;
        net.finish((logits, link), (scores, Columns::Classes), loss)?;
        net.scores_are(Meaning::Contribution);
        net.objective("pseudo-bags", tier.loss, Weight::Fixed(self.first_tier))?;
        if net.is_asked_for_ranking() {
            // Before the softmax, which is over pseudo-bags, so that instances of all of them can be compared.
            let value = back(net, tier.attention, &tier)?;
            net.instances_rank_by(Ranking { value, vote: false });
        }
        let weights = back(net, tier.weights, &tier)?;
        net.tell_of_instances("pseudo-bag-attention", weights, Meaning::Weight)
    }
}

/// What the first tier gives. Rows are those of the instances in the order of the pseudo-bags.
struct FirstTier {
    /// Reduced features.
    rows: ValueId,
    /// The place of each instance in that order.
    places: ValueId,
    /// Attention before its softmax, and after it.
    attention: ValueId,
    weights: ValueId,
    /// Features of the pseudo-bags.
    features: ValueId,
    /// What each instance adds to the logits of its pseudo-bag.
    signals: ValueId,
    loss: ValueId,
}

/// A value of instances in the order of the bags again.
fn back(net: &mut Network, value: ValueId, tier: &FirstTier) -> Result<ValueId> {
    net.tape.push1(GatherRows, &[value, tier.places])
}

impl Dtfd {
    fn pseudo(&self) -> Pseudo {
        match self.distil {
            Distillation::Afs => Pseudo { bags: self.pseudo_bags, rows: 1, sides: 1 },
            Distillation::MaxS | Distillation::Mas => Pseudo { bags: self.pseudo_bags, rows: self.instances, sides: 1 },
            Distillation::MaxMinS => Pseudo { bags: self.pseudo_bags, rows: self.instances, sides: 2 },
        }
    }

    fn attention_settings(&self) -> (bool, u32, u32) {
        (self.gated, self.attention, 1)
    }

    fn first_tier(&self, net: &mut Network, link: Link) -> Result<FirstTier> {
        let reduced = net.unbiased("reduce", net.features, self.reduce)?;
        let reduced = net.tape.push1(Activate(Activation::Relu), &[reduced])?;
        let deal = DealOut { parts: self.pseudo_bags, site: net.tape.next_random_site() };
        let order = net.tape.push(deal, &net.tables())?;
        let rows = net.tape.push1(PermuteRows, &[reduced, order[0], order[1]])?;
        let over = pseudo_tables(&mut net.tape);
        let [features, attention] =
            net.attention_pool_over("tier1.attention", over, rows, self.attention_settings())?;
        let outputs = net.outputs();
        let logits = net.linear("tier1.head", features, outputs, Activation::None)?;
        let weights = net.tape.batch(Input::PseudoWeights, 1);
        let loss = match link {
            Link::Softmax => {
                let labels = net.tape.batch(Input::PseudoLabels, 1);
                net.tape.push1(SoftmaxCrossEntropy { soft: Soft::default(), scale: 1.0 }, &[logits, labels, weights])?
            }
            _ => {
                let targets = net.tape.batch(Input::PseudoTargets, outputs);
                net.tape.push1(
                    SigmoidCrossEntropy { clamp: 0.0, soft: Soft::default(), scale: 1.0 },
                    &[logits, targets, weights],
                )?
            }
        };
        // Nothing of what follows leads a gradient back.
        let attention = net.tape.push1(StopGradient, &[attention])?;
        let stopped = net.tape.push1(StopGradient, &[rows])?;
        let weights = net.tape.push(SegmentSoftmax, &[&[attention][..], &over].concat())?[0];
        let each = net.weights_shared(stopped, logits)?;
        let each = net.tape.push1(StopGradient, &[each])?;
        let signals = net.tape.push1(RowScale, &[each, weights])?;
        Ok(FirstTier { rows: stopped, places: order[1], attention, weights, features, signals, loss })
    }

    /// The rows of the second tier's bags.
    fn distilled(&self, net: &mut Network, link: Link, tier: &FirstTier, pseudo: Pseudo) -> Result<ValueId> {
        let by = match self.distil {
            Distillation::Afs => return net.tape.push1(StopGradient, &[tier.features]),
            Distillation::Mas => tier.attention,
            // As the authors do, by the probability of the last class.
            Distillation::MaxS | Distillation::MaxMinS if link == Link::Softmax => {
                let probabilities = net.tape.push1(RowSoftmax, &[tier.signals])?;
                let first = net.outputs() - 1;
                net.tape.push1(SliceColumns { first, count: 1 }, &[probabilities])?
            }
            // The one logit is the difference of two, and orders as its probability does.
            Distillation::MaxS | Distillation::MaxMinS => tier.signals,
        };
        let over = pseudo_tables(&mut net.tape);
        let order = net.tape.push1(SegmentSort { column: 0 }, &[&[by][..], &over].concat())?;
        let to = distilled_tables(&mut net.tape);
        let picked = net.tape.push1(Distil(pseudo), &[&[order][..], &net.tables(), &to].concat())?;
        net.tape.push1(GatherRows, &[tier.rows, picked])
    }
}
