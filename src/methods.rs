//! MIL methods, one file each family: typed settings, which record a model.
//!
//! ```
//! use bagrad::methods::{GatedAttention, Method, Methods};
//! let method = Method::from(GatedAttention { embed: vec![256], ..Default::default() });
//! assert_eq!(method.name(), "gated-attention");
//! assert!(Methods::default().all().contains(&method.defaults()));
//! ```
//!
//! | type | name | what it is |
//! |---|---|---|
//! | [`MiNet`] | `mi-net` | instances are classified, their probabilities pooled |
//! | [`MiNetBag`] | `mi-net-bag` | embeddings are pooled, the bag is classified |
//! | [`MiNetDs`] | `mi-net-ds` | the same with deep supervision: every layer's pooled embedding has its own classifier |
//! | [`MiNetRc`] | `mi-net-rc` | the same with residual connections: the layers' pooled embeddings are added |
//! | [`AdaptivePooling`] | `adaptive-pooling` | probabilities are pooled by a generalised mean with exponents that are learnt |
//! | [`PowerPooling`] | `power-pooling` | the same by a mean weighted by powers of the probabilities |
//! | [`CertaintyPooling`] | `certainty-pooling` | the score of the instance that is scored highest and most surely |
//! | [`Attention`] | `attention` | Attention MIL |
//! | [`GatedAttention`] | `gated-attention` | Gated Attention MIL |
//! | [`LossAttention`] | `loss-attention` | one classifier for instances and bag, whose logits are the attention |
//! | [`DpMinn`] | `dp-minn` | instances are routed to capsules, whose lengths are probabilities |
//! | [`ClamSb`] | `clam-sb` | gated attention, whose ends teach a classifier of instances for each class |
//! | [`ClamMb`] | `clam-mb` | the same with an attention and a head for each class |
//! | [`Extreme`] | `extreme` | attention over random features that are never trained |
//! | [`Additive`] | `additive` | weighted instances are classified, and their contributions summed |
//! | [`Dsmil`] | `dsmil` | an instance classifier, and attention to the instance it picks |
//! | [`Millet`] | `millet` | instances are weighted and classified by themselves, and averaged |
//! | [`Mirel`] | `mirel` | evidence of bags and instances, and how much of it there is |
//! | [`Dtfd`] | `dtfd` | pseudo-bags teach a first tier, and what it distils from them the second |
//! | [`TransMil`] | `transmil` | a transformer with Nyström attention, whose class token is classified |
//! | [`Transformer`] | `transformer` | exact self-attention, and attention pooling of what comes out of it |
//! | [`SaAbmilp`] | `sa-abmilp` | self-attention with kernels, then attention pooling |
//! | [`GnnMil`] | `gnn-mil` | the graph of a bag's instances, pooled to a small graph |
//! | [`DasMil`] | `das-mil` | self-attention that knows how far apart instances lie |
//! | [`MhimAttention`] | `mhim-attention` | a teacher masks what its student learns from; attention pooling |
//! | [`MhimDsmil`] | `mhim-dsmil` | the same with DSMIL |
//! | [`MhimTransMil`] | `mhim-transmil` | the same with TransMIL |
//! | [`Mhim`] | `mhim` | the same with any method that has features of bags |
//! | [`Ibmil`] | `ibmil` | bags are classified beside a context from clusters of what a first training makes of bags |
//! | [`FocusMil`] | `focus-mil` | the largest logit of a bag, of a Gaussian code of each instance |
//! | [`CausalMil`] | `causal-mil` | the same, and the instance that has it is reconstructed, by a prior that the bag gives |
//! | [`Mivae`] | `mivae` | instances are reconstructed and classified by a code of their own and one of their bag |
//!
//! A method of one's own is a struct that implements [`MilMethod`]; [`Methods`] makes it known by its name.

pub mod adaptive_pooling;
pub mod additive;
pub mod attention;
pub mod base;
pub mod causal_mil;
pub mod certainty_pooling;
mod checks;
pub mod clam;
pub mod codec;
pub mod das_mil;
pub mod dp_minn;
pub mod dsmil;
pub mod dtfd;
pub mod encoder;
pub mod extreme;
pub mod focus_mil;
pub mod gnn_mil;
pub mod ibmil;
pub mod image;
pub mod layers;
mod learning;
pub mod loss_attention;
mod method;
pub mod mhim;
pub mod mi_net;
pub mod mi_net_bag;
pub mod millet;
pub mod mirel;
pub mod mivae;
pub(crate) mod ordered;
pub mod power_pooling;
mod registry;
pub mod sa_abmilp;
pub mod transformer;
pub mod transmil;
mod variational;

pub use adaptive_pooling::AdaptivePooling;
pub use additive::Additive;
pub use attention::{Attention, GatedAttention};
pub use base::Base;
pub use causal_mil::CausalMil;
pub use certainty_pooling::CertaintyPooling;
pub use clam::{ClamMb, ClamSb};
pub use das_mil::DasMil;
pub use dp_minn::DpMinn;
pub use dsmil::Dsmil;
pub use dtfd::Dtfd;
pub use extreme::Extreme;
pub use focus_mil::FocusMil;
pub use gnn_mil::GnnMil;
pub use ibmil::Ibmil;
pub use loss_attention::LossAttention;
pub use method::{About, Info, Level, Method, MilMethod, Recipe, Setting};
pub use mhim::{Mhim, MhimAttention, MhimDsmil, MhimTransMil};
pub use mi_net::MiNet;
pub use mi_net_bag::{MiNetBag, MiNetDs, MiNetRc};
pub use millet::Millet;
pub use mirel::Mirel;
pub use mivae::Mivae;
pub use power_pooling::PowerPooling;
pub use registry::Methods;
pub use sa_abmilp::SaAbmilp;
pub use transformer::Transformer;
pub use transmil::TransMil;

/// What the last layer classifies, one row a bag, of methods that pool to it: `[B, width]`, or such rows of all classes
/// side by side.
pub const BAG_FEATURES: &str = "bag_features";
/// Logits of the bags `[B, outputs]`, on every tape.
pub const BAG_LOGITS: &str = "bag_logits";
/// Scores of the instances `[N, heads or outputs]`, on every tape: higher means more like a key instance.
pub const SCORES: &str = "scores";
/// Instances as a decoder makes them, of methods that have one: `[N, D]`, or `[B, D]` of one instance of each bag. Also
/// the name of the term of the loss.
pub const RECONSTRUCTION: &str = "reconstruction";
/// Attention weights `[N, heads]` that sum to 1 over each bag, where the method has them.
pub const ATTENTION_WEIGHTS: &str = "attention";

/// Outputs of a model: one logit for two classes, one for each class beyond.
pub fn outputs_for(classes: usize) -> u32 {
    if classes == 2 { 1 } else { classes as u32 }
}
