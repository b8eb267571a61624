//! IBMIL (Lin, Yu, Hu, Xu, Chen 2023, arXiv 2303.06873): what a slide's context (stain, scanner, tissue) says of its label is
//! taken out by classifying the features of a bag beside what they have of each of K contexts.
//!
//! A first training of the base method gives features of the training bags; the means of their clusters are the contexts, a
//! dictionary that stays as it is. The base is then trained anew, with z of its bags replaced by `[z ; c]`, where
//! alpha = softmax over k of (W_k D_k + b_k) . (W_q z + b_q) / sqrt(l) and c = sum of alpha_k D_k.

use super::base::{self, BagFeatures, Base};
use super::layers::Network;
use super::{About, Attention, BAG_FEATURES, Level, Method, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::groups::Group;
use crate::ops::matmul::Matmul;
use crate::ops::pointwise::{Activation, Affine};
use crate::ops::reduce::RowSoftmax;
use crate::ops::rows::SliceColumns;
use crate::ops::schedule::Schedule;
use crate::ops::update::{Optimiser, UpdateRule};
use crate::stages::Derived;
use crate::tape::{Init, Meaning, Param, ValueId};
use serde::{Deserialize, Serialize};

/// How features and their context are put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// Side by side.
    #[default]
    Cat,
    /// Their sum.
    Add,
    /// Features less context.
    Sub,
}

/// Settings of the method; the defaults are those of the authors' code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ibmil {
    /// The method that is trained twice.
    pub base: Base,
    /// Contexts K: clusters of the features of the training bags.
    pub clusters: u32,
    /// Rounds of K-means.
    pub iterations: u32,
    /// Seed of the bags that K-means starts from.
    pub cluster_seed: u32,
    /// Width l that features and contexts are compared in.
    pub hidden: u32,
    /// How features and their context are put together.
    pub combine: Combine,
    /// Dropout of the contexts before they are compared.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
}

impl Default for Ibmil {
    fn default() -> Self {
        Self {
            base: Base::from(Attention { embed: Vec::new(), dropout: 0.0, ..Attention::default() }),
            clusters: 8,
            iterations: 20,
            cluster_seed: 66,
            hidden: 128,
            combine: Combine::Cat,
            dropout: 0.0,
        }
    }
}

/// Where the contexts are, behind the prefix of the base.
const DICTIONARY: &str = "context.dictionary";

impl MilMethod for Ibmil {
    const NAME: &'static str = "ibmil";

    fn about() -> About {
        About {
            title: "IBMIL",
            paper: "Lin, Yu, Hu, Xu, Chen: Interventional Bag Multi-Instance Learning On Whole-Slide Pathological Images, \
                    2023 (arXiv 2303.06873)",
            level: Level::Bag,
        }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        vec![
            (
                "base",
                "the method that is trained twice: a name, or a table with it under `method` and settings beside it",
            ),
            ("clusters", "contexts: clusters of the features of the training bags (2 to 16 in the paper)"),
            ("iterations", "rounds of K-means"),
            ("cluster_seed", "seed of the bags that K-means starts from"),
            ("hidden", "width that features and contexts are compared in"),
            ("combine", "features and context: cat (side by side), add or sub"),
            ("dropout", "dropout of the contexts before they are compared; the authors have 0.1 over dsmil"),
        ]
    }

    /// That of the authors for the four bases they have, else that of the base.
    fn recipe(&self) -> Recipe {
        let adam = |decay, beta1, beta2, epochs| {
            let rule = UpdateRule::Adam { beta1, beta2, epsilon: 1e-8 };
            let optimiser = Optimiser { rule, ..Optimiser::adam(decay) };
            Recipe { optimiser, learning_rate: 1e-4, time_decay: 0.0, epochs, bags: 1 }
        };
        match self.base.0.name() {
            "attention" | "gated-attention" | "dsmil" => adam(1e-4, 0.5, 0.9, 50),
            "dtfd" => adam(5e-3, 0.9, 0.999, 20),
            _ => self.base.0.recipe(),
        }
    }

    fn schedule(&self) -> Schedule {
        match self.base.0.name() {
            "attention" | "gated-attention" | "dsmil" => Schedule::CosineEpochs { floor: 5e-6 },
            "dtfd" => Schedule::MultiStep { milestones: vec![10], gamma: 0.2 },
            _ => self.base.0.schedule(),
        }
    }

    fn groups(&self) -> Vec<Group> {
        self.base.0.groups()
    }

    fn takes_label_sets(&self) -> bool {
        self.base.0.takes_label_sets()
    }

    fn before(&self) -> Option<Method> {
        Some(self.base.0.clone())
    }

    /// # Errors
    /// [`Error::Setting`] for a base without features of bags or settings out of range, and as of the base.
    fn record(&self, net: &mut Network) -> Result<()> {
        let counts = [("clusters", self.clusters), ("iterations", self.iterations), ("hidden", self.hidden)];
        if let Some((name, _)) = counts.iter().find(|(_, n)| *n == 0) {
            return Err(Error::setting(*name, "must be above 0"));
        }
        let settings = self.clone();
        base::put_around(
            net,
            Self::NAME,
            &self.base.0,
            Some(Box::new(move |net, of| settings.intervene(net, of))),
            false,
        )?;
        Ok(())
    }
}

impl Ibmil {
    /// What is classified in place of the features: row by row with their context, by one set of weights.
    fn intervene(&self, net: &mut Network, of: &BagFeatures) -> Result<ValueId> {
        let width = net.tape.cols(of.value) / of.parts;
        let named = |name: &str| format!("{}{name}", of.prefix);
        let (name, rows) = (named(DICTIONARY), self.clusters);
        let init = Init::Derived;
        let dictionary = net.tape.constant(Param { name, rows, cols: width, init, decays: true, parts: Vec::new() });
        net.tape.derived.push(Derived {
            into: named(DICTIONARY),
            from: BAG_FEATURES,
            parts: of.parts,
            clusters: self.clusters,
            iterations: self.iterations,
            seed: u64::from(self.cluster_seed),
        });
        let compared = net.dropout(dictionary, self.dropout)?;
        let keys = net.linear(&named("context.key"), compared, self.hidden, Activation::None)?;
        let (mut query, mut shares, mut rows) = (None, Vec::new(), Vec::new());
        for part in 0..of.parts {
            let z = match of.parts {
                1 => of.value,
                _ => net.tape.push1(SliceColumns { first: part * width, count: width }, &[of.value])?,
            };
            let q = match query {
                None => net.linear(&named("context.query"), z, self.hidden, Activation::None)?,
                Some(query) => net.linear_shared(z, query)?,
            };
            query = Some(q);
            let energies = net.tape.push1(Matmul { a_t: false, b_t: true }, &[q, keys])?;
            let factor = 1.0 / (self.hidden as f32).sqrt();
            let energies = net.tape.push1(Affine { factor, offset: 0.0 }, &[energies])?;
            let alpha = net.tape.push1(RowSoftmax, &[energies])?;
            let context = net.tape.push1(Matmul { a_t: false, b_t: false }, &[alpha, dictionary])?;
            shares.push(alpha);
            match self.combine {
                Combine::Cat => rows.extend([z, context]),
                Combine::Add => rows.push(net.add(z, context, 1.0, 1.0)?),
                Combine::Sub => rows.push(net.add(z, context, 1.0, -1.0)?),
            }
        }
        let (shares, rows) = (net.beside(&shares)?, net.beside(&rows)?);
        net.tell_of_bags("context", shares, Meaning::Weight)?;
        Ok(rows)
    }
}
