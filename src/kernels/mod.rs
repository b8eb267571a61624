//! Kernels: the declaration of each WGSL entry point and its host twin.
//!
//! One file here for each file in `shaders/`, of the same name. A declaration names the entry point, its
//! bindings and the size of its parameters, and carries the twin, so a kernel without a twin does not compile.

pub mod cost;
pub mod extent;
pub mod host;
pub mod launch;
pub mod real;

pub mod attention_pool;
pub mod batch_norm;
pub mod cluster;
pub mod contrast;
pub mod conv;
pub mod critical_attention;
pub mod depthwise;
pub mod distance_attention;
pub mod dropout;
pub mod elementwise;
pub mod evidential;
pub mod gaussian;
pub mod graph;
pub mod image;
pub mod loss;
pub mod matmul;
pub mod matmul_coop;
pub mod norm;
pub mod nystrom;
pub mod optim;
pub mod parts;
pub mod power_pool;
pub mod pseudo_label;
pub mod reduce;
mod round;
pub mod routing;
pub mod rows;
pub mod scaling;
pub mod segment;
pub mod self_attention;
pub mod sort;
pub mod survival;
pub mod target;
pub mod target_loss;
pub mod tiles;
pub mod tokens;
pub mod weighting;
pub mod windows;

pub use host::Args;
pub use real::Real;

/// What a kernel does with a binding, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Read-only f32 (f64 in the oracle).
    Read,
    /// Written or updated f32.
    Write,
    /// Read-only u32.
    ReadIndex,
    /// Written u32.
    WriteIndex,
    /// Read-only instance features: f32, or f16 when the variant says so.
    ReadFeatures,
}

impl Binding {
    /// True when the kernel writes to it.
    pub fn writes(self) -> bool {
        matches!(self, Binding::Write | Binding::WriteIndex)
    }
}

/// The host implementation of a kernel for both precisions.
#[derive(Clone, Copy)]
pub struct Twin {
    /// The device `host`.
    pub f32: fn(&Args<f32>),
    /// The oracle of the tests.
    pub f64: fn(&Args<f64>),
}

/// An entry point of a WGSL file, declared once.
pub struct Kernel {
    /// Unique name, used in benchmarks, errors and labels.
    pub name: &'static str,
    /// File in `shaders/` without its ending.
    pub file: &'static str,
    /// Entry point in it.
    pub entry: &'static str,
    /// Bindings of group 0, in order.
    pub bindings: &'static [Binding],
    /// Words of its parameter struct.
    pub words: usize,
    /// The same computation on the host.
    pub twin: Twin,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Declares a kernel: `kernel!(NAME, "file", entry_and_twin, ParamsStruct, [bindings])`.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $file:literal, $twin:ident, $params:ty, [$($binding:ident),*]) => {
        $(#[$doc])*
        pub static $name: crate::kernels::Kernel = crate::kernels::Kernel {
            name: stringify!($twin),
            file: $file,
            entry: stringify!($twin),
            bindings: &[$(crate::kernels::Binding::$binding),*],
            words: size_of::<$params>() / 4,
            twin: crate::kernels::Twin { f32: $twin::<f32>, f64: $twin::<f64> },
        };
    };
}
pub(crate) use kernel;

/// Every kernel there is: tests, benchmarks and documentation walk this list.
pub fn all() -> Vec<&'static Kernel> {
    [
        attention_pool::KERNELS,
        batch_norm::KERNELS,
        conv::KERNELS,
        cluster::KERNELS,
        contrast::KERNELS,
        critical_attention::KERNELS,
        depthwise::KERNELS,
        distance_attention::KERNELS,
        dropout::KERNELS,
        elementwise::KERNELS,
        graph::KERNELS,
        image::KERNELS,
        evidential::KERNELS,
        gaussian::KERNELS,
        loss::KERNELS,
        matmul::KERNELS,
        matmul_coop::KERNELS,
        norm::KERNELS,
        nystrom::KERNELS,
        optim::KERNELS,
        parts::KERNELS,
        power_pool::KERNELS,
        pseudo_label::KERNELS,
        reduce::KERNELS,
        routing::KERNELS,
        rows::KERNELS,
        scaling::KERNELS,
        segment::KERNELS,
        self_attention::KERNELS,
        sort::KERNELS,
        survival::KERNELS,
        target_loss::KERNELS,
        tokens::KERNELS,
        weighting::KERNELS,
        windows::KERNELS,
    ]
    .concat()
}

/// The WGSL text of `shaders/<file>.wgsl` and of what it imports.
pub fn source(file: &str) -> &'static str {
    match file {
        "attention_pool" => include_str!("../../shaders/attention_pool.wgsl"),
        "batch_norm" => include_str!("../../shaders/batch_norm.wgsl"),
        "conv" => include_str!("../../shaders/conv.wgsl"),
        "cluster" => include_str!("../../shaders/cluster.wgsl"),
        "contrast" => include_str!("../../shaders/contrast.wgsl"),
        "critical_attention" => include_str!("../../shaders/critical_attention.wgsl"),
        "depthwise" => include_str!("../../shaders/depthwise.wgsl"),
        "distance_attention" => include_str!("../../shaders/distance_attention.wgsl"),
        "dropout" => include_str!("../../shaders/dropout.wgsl"),
        "elementwise" => include_str!("../../shaders/elementwise.wgsl"),
        "graph" => include_str!("../../shaders/graph.wgsl"),
        "image" => include_str!("../../shaders/image.wgsl"),
        "evidential" => include_str!("../../shaders/evidential.wgsl"),
        "gaussian" => include_str!("../../shaders/gaussian.wgsl"),
        "loss" => include_str!("../../shaders/loss.wgsl"),
        "matmul" => include_str!("../../shaders/matmul.wgsl"),
        "matmul_coop" => include_str!("../../shaders/matmul_coop.wgsl"),
        "norm" => include_str!("../../shaders/norm.wgsl"),
        "nystrom" => include_str!("../../shaders/nystrom.wgsl"),
        "optim" => include_str!("../../shaders/optim.wgsl"),
        "parts" => include_str!("../../shaders/parts.wgsl"),
        "power_pool" => include_str!("../../shaders/power_pool.wgsl"),
        "pseudo_label" => include_str!("../../shaders/pseudo_label.wgsl"),
        "reduce" => include_str!("../../shaders/reduce.wgsl"),
        "routing" => include_str!("../../shaders/routing.wgsl"),
        "rows" => include_str!("../../shaders/rows.wgsl"),
        "scaling" => include_str!("../../shaders/scaling.wgsl"),
        "segment" => include_str!("../../shaders/segment.wgsl"),
        "self_attention" => include_str!("../../shaders/self_attention.wgsl"),
        "sort" => include_str!("../../shaders/sort.wgsl"),
        "survival" => include_str!("../../shaders/survival.wgsl"),
        "target_loss" => include_str!("../../shaders/target_loss.wgsl"),
        "tokens" => include_str!("../../shaders/tokens.wgsl"),
        "transpose" => include_str!("../../shaders/transpose.wgsl"),
        "weighting" => include_str!("../../shaders/weighting.wgsl"),
        "windows" => include_str!("../../shaders/windows.wgsl"),
        "common/activation" => include_str!("../../shaders/common/activation.wgsl"),
        "common/grid" => include_str!("../../shaders/common/grid.wgsl"),
        "common/block" => include_str!("../../shaders/common/block.wgsl"),
        "common/precise" => include_str!("../../shaders/common/precise.wgsl"),
        "common/product" => include_str!("../../shaders/common/product.wgsl"),
        "common/round" => include_str!("../../shaders/common/round.wgsl"),
        "common/half" => include_str!("../../shaders/common/half.wgsl"),
        "common/philox" => include_str!("../../shaders/common/philox.wgsl"),
        other => panic!("there is no shader file {other:?}"),
    }
}
