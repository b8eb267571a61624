//! Kernels: the declaration of each WGSL entry point and its host twin.
//!
//! One file here for each file in `shaders/`, of the same name. A declaration names the entry point and carries the twin
//! and the cost, so a kernel without them does not compile. Bindings, parameters, workgroups and constants are read from
//! the shaders ([`declared`]).

pub mod cost;
#[allow(missing_docs, non_upper_case_globals, dead_code, reason = "as the shaders have it")]
#[rustfmt::skip]
pub mod declared;
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
pub mod moments;
pub mod norm;
pub mod nystrom;
pub mod optim;
pub mod parts;
pub mod positions;
pub mod power_pool;
pub mod pseudo_bags;
pub mod pseudo_label;
pub mod reduce;
mod round;
pub mod routing;
pub mod rows;
pub mod scaling;
pub mod segment;
pub mod self_attention;
pub mod sharp_pool;
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

/// What a shader says of one of its entry points (see [`declared`]).
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// File in `shaders/` without its ending.
    pub file: &'static str,
    /// Entry point in it.
    pub entry: &'static str,
    /// Bindings of group 0, in order.
    pub bindings: &'static [Binding],
    /// Words of its parameter struct.
    pub words: usize,
    /// Invocations of a workgroup; 0 where they depend on the variant.
    pub lanes: u32,
    /// It reduces over its invocations, and has the variant `SUBGROUPS` (`shaders/common/lanes.wgsl`).
    pub reduces: bool,
}

/// An entry point of a WGSL file with its twin and its cost.
pub struct Kernel {
    /// Unique name, used in benchmarks, errors and labels: that of the entry point.
    pub name: &'static str,
    /// File in `shaders/` without its ending.
    pub file: &'static str,
    /// Entry point in it.
    pub entry: &'static str,
    /// Bindings of group 0, in order.
    pub bindings: &'static [Binding],
    /// Words of its parameter struct.
    pub words: usize,
    /// Invocations of a workgroup; 0 where they depend on the variant.
    pub lanes: u32,
    /// It reduces over its invocations, and has the variant `SUBGROUPS`.
    pub reduces: bool,
    /// The same computation on the host.
    pub twin: Twin,
    /// What a launch costs at least.
    pub cost: fn(&cost::At) -> cost::Cost,
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

/// The kernels of a file, and the list `KERNELS` of them. For each shader file `file { NAME = entry_and_twin, cost; }`: the
/// entry point, which is the twin's name too, and the values moved, the operations and the sizes of a launch
/// (see [`cost::At`]). Everything else is what the shader declares.
macro_rules! kernels {
    ($($file:ident { $($(#[$doc:meta])* $name:ident = $twin:ident, $cost:expr;)+ })+) => {
        $($(
            $(#[$doc])*
            pub static $name: crate::kernels::Kernel = crate::kernels::Kernel {
                name: stringify!($twin),
                file: crate::kernels::declared::$file::$twin.file,
                entry: crate::kernels::declared::$file::$twin.entry,
                bindings: crate::kernels::declared::$file::$twin.bindings,
                words: crate::kernels::declared::$file::$twin.words,
                lanes: crate::kernels::declared::$file::$twin.lanes,
                reduces: crate::kernels::declared::$file::$twin.reduces,
                twin: crate::kernels::Twin { f32: $twin::<f32>, f64: $twin::<f64> },
                cost: |at| crate::kernels::cost::of($cost, at),
            };
        )+)+

        /// All kernels of this file.
        pub const KERNELS: &[&crate::kernels::Kernel] = &[$($(&$name),+),+];
    };
}
pub(crate) use kernels;

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
        moments::KERNELS,
        norm::KERNELS,
        nystrom::KERNELS,
        optim::KERNELS,
        parts::KERNELS,
        positions::KERNELS,
        power_pool::KERNELS,
        pseudo_bags::KERNELS,
        pseudo_label::KERNELS,
        reduce::KERNELS,
        routing::KERNELS,
        rows::KERNELS,
        scaling::KERNELS,
        segment::KERNELS,
        self_attention::KERNELS,
        sharp_pool::KERNELS,
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
    declared::source(file).unwrap_or_else(|| panic!("there is no shader file {file:?}"))
}
