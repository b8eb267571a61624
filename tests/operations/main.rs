//! Every operation: its backward against finite differences in f64, and the GPU and the host against that
//! oracle. One file a family, in one program, so that it is linked once and runs on all cores.

#[path = "../common/mod.rs"]
mod common;

mod basics;
mod batch_norm;
mod certainty;
mod checks;
mod contrast;
mod conv;
mod critical_attention;
mod ends;
mod evidential;
mod gaussian;
mod gelu;
mod graph;
mod image;
mod kmeans;
mod learn_from;
mod lenet;
mod norm;
mod nystrom;
mod optimisers;
mod own;
mod passes;
mod positions;
mod power_pool;
mod pseudo_bags;
mod pseudo_label;
mod routing;
mod rows;
mod running_norm;
mod safe;
mod self_attention;
mod sharp_pool;
mod smooth_hinge;
mod sorting;
#[cfg(feature = "cli")]
mod subgroups;
mod survival;
mod target_loss;
mod weighting;
