//! What the shaders declare. Made from `shaders/` by a test, and compared with them by it:
//! `BAGRAD_REWRITE=1 cargo test --test shaders declared`.

use super::{Binding::*, Declared};
use bytemuck::{Pod, Zeroable};

/// `shaders/attention_pool.wgsl`.
pub mod attention_pool {
    use super::*;
    /// Scores have a gradient of their own, which is there.
    pub const OUTSIDE: u32 = 1;
    /// The gradient of the embeddings is wanted.
    pub const WANTED: u32 = 2;
    /// It is added to what is there.
    pub const ADD: u32 = 4;
    /// The gradient of the pre-activations is wanted.
    pub const PRE_WANTED: u32 = 1;
    /// It is added to what is there.
    pub const PRE_ADD: u32 = 2;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct End {
        pub bags: u32,
        pub hidden: u32,
        pub heads: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Grad {
        pub tiles: u32,
        pub hidden: u32,
        pub heads: u32,
        pub flags: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Part {
        pub tiles: u32,
        pub hidden: u32,
        pub inner: u32,
        pub heads: u32,
        pub gated: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct ScoreGrad {
        pub tiles: u32,
        pub inner: u32,
        pub heads: u32,
        pub gated: u32,
        pub flags: u32,
    }
    pub const pool_end: Declared = Declared {
        file: "attention_pool",
        entry: "pool_end",
        bindings: &[Read, Read, ReadIndex, Write, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const pool_grad: Declared = Declared {
        file: "attention_pool",
        entry: "pool_grad",
        bindings: &[Read, Read, Read, Read, Read, ReadIndex, Write, Write],
        words: 4,
        lanes: 64,
        reduces: true,
    };
    pub const pool_part: Declared = Declared {
        file: "attention_pool",
        entry: "pool_part",
        bindings: &[Read, Read, Read, Read, ReadIndex, Write, Write, Write],
        words: 5,
        lanes: 64,
        reduces: true,
    };
    pub const score_back: Declared = Declared {
        file: "attention_pool",
        entry: "score_back",
        bindings: &[Read, Read, Read, ReadIndex, Write, Write, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/batch_norm.wgsl`.
pub mod batch_norm {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct ApplyParams {
        pub rows: u32,
        pub channels: u32,
        pub positions: u32,
        pub eps: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct BatchGradParams {
        pub rows: u32,
        pub channels: u32,
        pub positions: u32,
        pub eps: f32,
        pub given: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct DivideParams {
        pub channels: u32,
        pub count: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct GainParams {
        pub channels: u32,
        pub eps: f32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct PartParams {
        pub rows: u32,
        pub channels: u32,
        pub positions: u32,
        pub chunk: u32,
        pub mode: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct RunningParams {
        pub channels: u32,
        pub count: u32,
        pub momentum: f32,
        pub unbiased: u32,
    }
    pub const batch_apply: Declared = Declared {
        file: "batch_norm",
        entry: "batch_apply",
        bindings: &[Read, Read, Read, Read, Read, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const batch_divide: Declared = Declared {
        file: "batch_norm",
        entry: "batch_divide",
        bindings: &[Read, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const batch_gain: Declared = Declared {
        file: "batch_norm",
        entry: "batch_gain",
        bindings: &[Read, Write, Read],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const batch_grad: Declared = Declared {
        file: "batch_norm",
        entry: "batch_grad",
        bindings: &[Read, Read, Read, Read, Read, Read, Read, Write],
        words: 6,
        lanes: 64,
        reduces: false,
    };
    pub const batch_parts: Declared = Declared {
        file: "batch_norm",
        entry: "batch_parts",
        bindings: &[Read, Read, Read, Write],
        words: 5,
        lanes: 64,
        reduces: true,
    };
    pub const batch_running: Declared = Declared {
        file: "batch_norm",
        entry: "batch_running",
        bindings: &[Read, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/cluster.wgsl`.
pub mod cluster {
    use super::*;
    pub const OTHERS: u32 = 16;
    pub const DEPTH: u32 = 16;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Assign {
        pub rows: u32,
        pub cols: u32,
        pub clusters: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Count {
        pub rows: u32,
        pub clusters: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Sum {
        pub rows: u32,
        pub cols: u32,
        pub clusters: u32,
        pub chunk: u32,
    }
    pub const cluster_assign: Declared = Declared {
        file: "cluster",
        entry: "cluster_assign",
        bindings: &[Read, Read, WriteIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const cluster_count: Declared = Declared {
        file: "cluster",
        entry: "cluster_count",
        bindings: &[ReadIndex, WriteIndex],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const cluster_fill: Declared = Declared {
        file: "cluster",
        entry: "cluster_fill",
        bindings: &[WriteIndex, Write, WriteIndex],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const cluster_mean: Declared = Declared {
        file: "cluster",
        entry: "cluster_mean",
        bindings: &[Read, ReadIndex, Read, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const cluster_part: Declared = Declared {
        file: "cluster",
        entry: "cluster_part",
        bindings: &[Read, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/contrast.wgsl`.
pub mod contrast {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Pairs {
        pub rows: u32,
        pub cols: u32,
        pub sharpness: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct PairsGrad {
        pub rows: u32,
        pub cols: u32,
        pub sharpness: f32,
        pub scale: f32,
        pub accumulate: u32,
    }
    pub const pairs_grad: Declared = Declared {
        file: "contrast",
        entry: "pairs_grad",
        bindings: &[Read, Read, Read, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const pairs_loss: Declared = Declared {
        file: "contrast",
        entry: "pairs_loss",
        bindings: &[Read, Write, Write],
        words: 3,
        lanes: 64,
        reduces: true,
    };
}

/// `shaders/conv.wgsl`.
pub mod conv {
    use super::*;
    /// The result is added to what is there.
    pub const ADD: u32 = 1;
    /// There is a bias.
    pub const BIAS: u32 = 2;
    /// Each input writes a window.
    pub const TRANSPOSED: u32 = 4;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct ChannelParams {
        pub rows: u32,
        pub channels: u32,
        pub positions: u32,
        pub chunk: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct ConvParams {
        pub rows: u32,
        pub from_c: u32,
        pub from_h: u32,
        pub from_w: u32,
        pub to_c: u32,
        pub to_h: u32,
        pub to_w: u32,
        pub kh: u32,
        pub kw: u32,
        pub stride: u32,
        pub pad_y: u32,
        pub pad_x: u32,
        pub flags: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct WeightParams {
        pub rows: u32,
        pub small_c: u32,
        pub small_h: u32,
        pub small_w: u32,
        pub large_c: u32,
        pub large_h: u32,
        pub large_w: u32,
        pub kh: u32,
        pub kw: u32,
        pub stride: u32,
        pub pad_y: u32,
        pub pad_x: u32,
        pub chunk: u32,
    }
    pub const channel_sums: Declared = Declared {
        file: "conv",
        entry: "channel_sums",
        bindings: &[Read, Write],
        words: 4,
        lanes: 64,
        reduces: true,
    };
    pub const conv: Declared = Declared {
        file: "conv",
        entry: "conv",
        bindings: &[Read, Read, Read, Write],
        words: 13,
        lanes: 64,
        reduces: false,
    };
    pub const conv_weights: Declared = Declared {
        file: "conv",
        entry: "conv_weights",
        bindings: &[Read, Read, Write],
        words: 13,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/critical_attention.wgsl`.
pub mod critical_attention {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct End {
        pub bags: u32,
        pub inner: u32,
        pub classes: u32,
        pub scale: f32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Grad {
        pub tiles: u32,
        pub inner: u32,
        pub classes: u32,
        pub scale: f32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Part {
        pub tiles: u32,
        pub hidden: u32,
        pub inner: u32,
        pub classes: u32,
        pub scale: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Rows {
        pub bags: u32,
        pub inner: u32,
        pub classes: u32,
    }
    pub const critical_end: Declared = Declared {
        file: "critical_attention",
        entry: "critical_end",
        bindings: &[Read, ReadIndex, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const critical_grad: Declared = Declared {
        file: "critical_attention",
        entry: "critical_grad",
        bindings: &[Read, Read, Read, ReadIndex, Write, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const critical_part: Declared = Declared {
        file: "critical_attention",
        entry: "critical_part",
        bindings: &[Read, Read, Read, ReadIndex, Write, Write, Write],
        words: 5,
        lanes: 64,
        reduces: true,
    };
    pub const critical_rows: Declared = Declared {
        file: "critical_attention",
        entry: "critical_rows",
        bindings: &[Read, ReadIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const critical_rows_grad: Declared = Declared {
        file: "critical_attention",
        entry: "critical_rows_grad",
        bindings: &[Read, ReadIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/depthwise.wgsl`.
pub mod depthwise {
    use super::*;
    pub const ACCUMULATE: u32 = 1;
    pub const FIRST: u32 = 2;
    pub const FLIP: u32 = 2;
    pub const ONES: u32 = 4;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Crop {
        pub channels: u32,
        pub side: u32,
        pub inner: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Grid2 {
        pub tiles: u32,
        pub cols: u32,
        pub side: u32,
        pub flags: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct GridWeights {
        pub tiles: u32,
        pub cols: u32,
        pub side: u32,
        pub chunk: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Merge {
        pub channels: u32,
        pub side: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Sequence {
        pub tiles: u32,
        pub cols: u32,
        pub taps: u32,
        pub width: u32,
        pub flags: u32,
        pub landmarks: u32,
    }
    pub const crop_kernels: Declared = Declared {
        file: "depthwise",
        entry: "crop_kernels",
        bindings: &[Read, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const grid_conv: Declared = Declared {
        file: "depthwise",
        entry: "grid_conv",
        bindings: &[Read, Read, Read, ReadIndex, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const grid_weights: Declared = Declared {
        file: "depthwise",
        entry: "grid_weights",
        bindings: &[Read, Read, ReadIndex, ReadIndex, Write, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const merge_kernels: Declared = Declared {
        file: "depthwise",
        entry: "merge_kernels",
        bindings: &[Read, Read, Read, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const sequence_back: Declared = Declared {
        file: "depthwise",
        entry: "sequence_back",
        bindings: &[Read, Read, ReadIndex, ReadIndex, Write],
        words: 6,
        lanes: 64,
        reduces: false,
    };
    pub const sequence_conv: Declared = Declared {
        file: "depthwise",
        entry: "sequence_conv",
        bindings: &[Read, Read, ReadIndex, ReadIndex, Write],
        words: 6,
        lanes: 64,
        reduces: false,
    };
    pub const sequence_weights: Declared = Declared {
        file: "depthwise",
        entry: "sequence_weights",
        bindings: &[Read, Read, ReadIndex, ReadIndex, Write],
        words: 6,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/distance_attention.wgsl`.
pub mod distance_attention {
    use super::*;
    /// The first vector of a record is there.
    pub const STARTED: u32 = 1;
    /// The shares of bins have a gradient.
    pub const BACK: u32 = 2;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Binned {
        pub rows: u32,
        pub heads: u32,
        pub bins: u32,
        pub flags: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Fold {
        pub rows: u32,
        pub heads: u32,
        pub cols: u32,
        pub stride: u32,
        pub first: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Prototypes {
        pub tiles: u32,
        pub heads: u32,
        pub cols: u32,
        pub stride: u32,
        pub first: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Record {
        pub rows: u32,
        pub heads: u32,
        pub dims: u32,
    }
    pub const binned_record: Declared = Declared {
        file: "distance_attention",
        entry: "binned_record",
        bindings: &[Read, Read, Read, Read, Read, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const distance_fold: Declared = Declared {
        file: "distance_attention",
        entry: "distance_fold",
        bindings: &[Read, Read, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const distance_prototypes: Declared = Declared {
        file: "distance_attention",
        entry: "distance_prototypes",
        bindings: &[Read, Read, ReadIndex, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const distance_record: Declared = Declared {
        file: "distance_attention",
        entry: "distance_record",
        bindings: &[Read, Read, Read, Read, Read, Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/dropout.wgsl`.
pub mod dropout {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct ChannelParams {
        pub count: u32,
        pub threshold: u32,
        pub scale: f32,
        pub site: u32,
        pub seed_low: u32,
        pub seed_high: u32,
        pub step: u32,
        pub accumulate: u32,
        pub first: u32,
        pub cols: u32,
        pub left: u32,
        pub total: u32,
        pub positions: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct ColumnParams {
        pub count: u32,
        pub threshold: u32,
        pub scale: f32,
        pub site: u32,
        pub seed_low: u32,
        pub seed_high: u32,
        pub step: u32,
        pub accumulate: u32,
        pub cols: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct DropoutParams {
        pub count: u32,
        pub threshold: u32,
        pub scale: f32,
        pub site: u32,
        pub seed_low: u32,
        pub seed_high: u32,
        pub step: u32,
        pub accumulate: u32,
        pub first: u32,
        pub cols: u32,
        pub left: u32,
        pub total: u32,
    }
    pub const dropout: Declared = Declared {
        file: "dropout",
        entry: "dropout",
        bindings: &[Read, Write],
        words: 12,
        lanes: 64,
        reduces: false,
    };
    pub const dropout_channels: Declared = Declared {
        file: "dropout",
        entry: "dropout_channels",
        bindings: &[Read, Write],
        words: 13,
        lanes: 64,
        reduces: false,
    };
    pub const dropout_columns: Declared = Declared {
        file: "dropout",
        entry: "dropout_columns",
        bindings: &[Read, Write],
        words: 9,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/elementwise.wgsl`.
pub mod elementwise {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct ActivateParams {
        pub count: u32,
        pub kind: u32,
        pub slope: f32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct AddParams {
        pub count: u32,
        pub a: f32,
        pub b: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct AddToParams {
        pub count: u32,
        pub factor: f32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct AffineParams {
        pub count: u32,
        pub factor: f32,
        pub offset: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct FillParams {
        pub count: u32,
        pub value: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct GeluParams {
        pub count: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct LogitParams {
        pub count: u32,
        pub clip: f32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct MultiplyParams {
        pub count: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct UnpackParams {
        pub rows: u32,
        pub cols: u32,
        pub stride: u32,
    }
    pub const activate: Declared = Declared {
        file: "elementwise",
        entry: "activate",
        bindings: &[Read, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const activate_grad: Declared = Declared {
        file: "elementwise",
        entry: "activate_grad",
        bindings: &[Read, Read, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const activate_through: Declared = Declared {
        file: "elementwise",
        entry: "activate_through",
        bindings: &[Read, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const add_scaled: Declared = Declared {
        file: "elementwise",
        entry: "add_scaled",
        bindings: &[Read, Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const add_to: Declared = Declared {
        file: "elementwise",
        entry: "add_to",
        bindings: &[Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const affine: Declared = Declared {
        file: "elementwise",
        entry: "affine",
        bindings: &[Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const below: Declared = Declared {
        file: "elementwise",
        entry: "below",
        bindings: &[Read, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const fill: Declared = Declared {
        file: "elementwise",
        entry: "fill",
        bindings: &[Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const gelu: Declared = Declared {
        file: "elementwise",
        entry: "gelu",
        bindings: &[Read, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const gelu_grad: Declared = Declared {
        file: "elementwise",
        entry: "gelu_grad",
        bindings: &[Read, Read, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const logit: Declared = Declared {
        file: "elementwise",
        entry: "logit",
        bindings: &[Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const logit_grad: Declared = Declared {
        file: "elementwise",
        entry: "logit_grad",
        bindings: &[Read, Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const multiply: Declared = Declared {
        file: "elementwise",
        entry: "multiply",
        bindings: &[Read, Read, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const raise: Declared = Declared {
        file: "elementwise",
        entry: "raise",
        bindings: &[Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const unpack: Declared = Declared {
        file: "elementwise",
        entry: "unpack",
        bindings: &[ReadFeatures, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/evidential.wgsl`.
pub mod evidential {
    use super::*;
    /// Flag: squared errors are weighted by trigamma(alpha).
    pub const FISHER: u32 = 1;
    /// Flag: the gradient is added to what is there.
    pub const ACCUMULATE: u32 = 2;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Params {
        pub rows: u32,
        pub classes: u32,
        pub label: u32,
        pub flags: u32,
        pub log_gamma: f32,
        pub squared: f32,
        pub fisher: f32,
        pub divergence: f32,
        pub red: f32,
    }
    pub const dirichlet_uncertainty: Declared = Declared {
        file: "evidential",
        entry: "dirichlet_uncertainty",
        bindings: &[Read, Write],
        words: 9,
        lanes: 64,
        reduces: false,
    };
    pub const evidential_grad: Declared = Declared {
        file: "evidential",
        entry: "evidential_grad",
        bindings: &[Read, ReadIndex, Read, Write],
        words: 9,
        lanes: 64,
        reduces: false,
    };
    pub const evidential_loss: Declared = Declared {
        file: "evidential",
        entry: "evidential_loss",
        bindings: &[Read, ReadIndex, Write],
        words: 9,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/gaussian.wgsl`.
pub mod gaussian {
    use super::*;
    /// The gradient of the logarithm of the variance.
    pub const BACKWARD: u32 = 1;
    /// It is added to what is there.
    pub const ADD: u32 = 2;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Density {
        pub rows: u32,
        pub cols: u32,
        pub means: u32,
        pub logs: u32,
        pub which: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Divergence {
        pub rows: u32,
        pub cols: u32,
        pub each: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct DivergenceGrad {
        pub rows: u32,
        pub cols: u32,
        pub scale: f32,
        pub accumulate: u32,
        pub of_variance: u32,
        pub each: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Draw {
        pub count: u32,
        pub site: u32,
        pub seed_low: u32,
        pub seed_high: u32,
        pub step: u32,
        pub flags: u32,
        pub first: u32,
    }
    pub const gaussian_kl: Declared = Declared {
        file: "gaussian",
        entry: "gaussian_kl",
        bindings: &[Read, Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const gaussian_kl_grad: Declared = Declared {
        file: "gaussian",
        entry: "gaussian_kl_grad",
        bindings: &[Read, Read, Write],
        words: 6,
        lanes: 64,
        reduces: false,
    };
    pub const gaussian_log: Declared = Declared {
        file: "gaussian",
        entry: "gaussian_log",
        bindings: &[Read, Read, Read, Write],
        words: 6,
        lanes: 64,
        reduces: false,
    };
    pub const gaussian_log_grad: Declared = Declared {
        file: "gaussian",
        entry: "gaussian_log_grad",
        bindings: &[Read, Read, Read, Read, Write],
        words: 6,
        lanes: 64,
        reduces: false,
    };
    pub const gaussian_sample: Declared = Declared {
        file: "gaussian",
        entry: "gaussian_sample",
        bindings: &[Read, Read, Write],
        words: 7,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/graph.wgsl`.
pub mod graph {
    use super::*;
    pub const OTHERS: u32 = 16;
    pub const DEPTH: u32 = 16;
    /// Flag of `Pairs`: pairs are read transposed.
    pub const TRANSPOSED: u32 = 1;
    /// Flag of `Pairs`: adds to what is there.
    pub const ADD_PAIRS: u32 = 2;
    /// Flag of `Product`: a node is its own neighbour with weight 1.
    pub const SELF: u32 = 1;
    /// Flag of `Product`: mean instead of sum.
    pub const MEAN: u32 = 2;
    /// Flag of `Product`: adds to what is there.
    pub const ADD: u32 = 4;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Link {
        pub tiles: u32,
        pub cols: u32,
        pub mean: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Pairs {
        pub tiles: u32,
        pub cols: u32,
        pub kind: u32,
        pub flags: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Product {
        pub tiles: u32,
        pub cols: u32,
        pub flags: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Spans {
        pub tiles: u32,
        pub nodes: u32,
    }
    pub const graph_pairs: Declared = Declared {
        file: "graph",
        entry: "graph_pairs",
        bindings: &[Read, Read, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const graph_pairs_grad: Declared = Declared {
        file: "graph",
        entry: "graph_pairs_grad",
        bindings: &[Read, Read, Read, Read, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const graph_product: Declared = Declared {
        file: "graph",
        entry: "graph_product",
        bindings: &[Read, Read, ReadIndex, Write, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const graph_product_grad: Declared = Declared {
        file: "graph",
        entry: "graph_product_grad",
        bindings: &[Read, Read, Read, ReadIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const graph_spans: Declared = Declared {
        file: "graph",
        entry: "graph_spans",
        bindings: &[ReadIndex, ReadIndex, WriteIndex],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const graph_weights_grad: Declared = Declared {
        file: "graph",
        entry: "graph_weights_grad",
        bindings: &[Read, Read, Read, ReadIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const link_end: Declared = Declared {
        file: "graph",
        entry: "link_end",
        bindings: &[Read, ReadIndex, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const link_grad: Declared = Declared {
        file: "graph",
        entry: "link_grad",
        bindings: &[Read, Read, Read, Read, ReadIndex, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const link_part: Declared = Declared {
        file: "graph",
        entry: "link_part",
        bindings: &[Read, Read, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: true,
    };
    pub const link_weights_grad: Declared = Declared {
        file: "graph",
        entry: "link_weights_grad",
        bindings: &[Read, Read, Read, Read, ReadIndex, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/image.wgsl`.
pub mod image {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct MeanParams {
        pub planes: u32,
        pub positions: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct PadParams {
        pub planes: u32,
        pub from_h: u32,
        pub from_w: u32,
        pub to_h: u32,
        pub to_w: u32,
        pub top: u32,
        pub left: u32,
        pub edge: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct PoolParams {
        pub planes: u32,
        pub large_h: u32,
        pub large_w: u32,
        pub small_h: u32,
        pub small_w: u32,
        pub kh: u32,
        pub kw: u32,
        pub stride: u32,
        pub pad_y: u32,
        pub pad_x: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct UpParams {
        pub planes: u32,
        pub height: u32,
        pub width: u32,
        pub factor: u32,
        pub accumulate: u32,
    }
    pub const max_pool: Declared = Declared {
        file: "image",
        entry: "max_pool",
        bindings: &[Read, Write, WriteIndex],
        words: 11,
        lanes: 64,
        reduces: false,
    };
    pub const max_pool_grad: Declared = Declared {
        file: "image",
        entry: "max_pool_grad",
        bindings: &[Read, ReadIndex, Write],
        words: 11,
        lanes: 64,
        reduces: false,
    };
    pub const pad: Declared = Declared {
        file: "image",
        entry: "pad",
        bindings: &[Read, Write],
        words: 9,
        lanes: 64,
        reduces: false,
    };
    pub const pad_grad: Declared = Declared {
        file: "image",
        entry: "pad_grad",
        bindings: &[Read, Write],
        words: 9,
        lanes: 64,
        reduces: false,
    };
    pub const plane_mean: Declared = Declared {
        file: "image",
        entry: "plane_mean",
        bindings: &[Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const plane_mean_grad: Declared = Declared {
        file: "image",
        entry: "plane_mean_grad",
        bindings: &[Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const upsample: Declared = Declared {
        file: "image",
        entry: "upsample",
        bindings: &[Read, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const upsample_grad: Declared = Declared {
        file: "image",
        entry: "upsample_grad",
        bindings: &[Read, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/loss.wgsl`.
pub mod loss {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Sigmoid {
        pub bags: u32,
        pub cols: u32,
        pub clamp: f32,
        pub scale: f32,
        pub each: u32,
        pub smoothing: f32,
        pub focusing: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct SigmoidGrad {
        pub bags: u32,
        pub cols: u32,
        pub clamp: f32,
        pub scale: f32,
        pub each: u32,
        pub smoothing: f32,
        pub focusing: f32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Softmax {
        pub bags: u32,
        pub cols: u32,
        pub scale: f32,
        pub smoothing: f32,
        pub focusing: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct SoftmaxGrad {
        pub bags: u32,
        pub cols: u32,
        pub scale: f32,
        pub smoothing: f32,
        pub focusing: f32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Svm {
        pub rows: u32,
        pub cols: u32,
        pub margin: f32,
        pub temperature: f32,
        pub gap: f32,
        pub scale: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct SvmGrad {
        pub rows: u32,
        pub cols: u32,
        pub margin: f32,
        pub temperature: f32,
        pub gap: f32,
        pub scale: f32,
        pub accumulate: u32,
    }
    pub const sigmoid_loss: Declared = Declared {
        file: "loss",
        entry: "sigmoid_loss",
        bindings: &[Read, Read, Read, Write],
        words: 7,
        lanes: 64,
        reduces: true,
    };
    pub const sigmoid_loss_grad: Declared = Declared {
        file: "loss",
        entry: "sigmoid_loss_grad",
        bindings: &[Read, Read, Read, Read, Write],
        words: 8,
        lanes: 64,
        reduces: false,
    };
    pub const softmax_loss: Declared = Declared {
        file: "loss",
        entry: "softmax_loss",
        bindings: &[Read, ReadIndex, Read, Write],
        words: 5,
        lanes: 64,
        reduces: true,
    };
    pub const softmax_loss_grad: Declared = Declared {
        file: "loss",
        entry: "softmax_loss_grad",
        bindings: &[Read, ReadIndex, Read, Read, Write],
        words: 6,
        lanes: 64,
        reduces: false,
    };
    pub const svm_loss: Declared = Declared {
        file: "loss",
        entry: "svm_loss",
        bindings: &[Read, ReadIndex, Read, Write],
        words: 6,
        lanes: 64,
        reduces: true,
    };
    pub const svm_loss_grad: Declared = Declared {
        file: "loss",
        entry: "svm_loss_grad",
        bindings: &[Read, ReadIndex, Read, Read, Write],
        words: 7,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/matmul.wgsl`.
pub mod matmul {
    use super::*;
    /// C += instead of C =.
    pub const ADD: u32 = 1;
    /// A bias is added, column by column.
    pub const BIAS: u32 = 2;
    /// A is stored transposed: for the host, and for small products.
    pub const A_TURNED: u32 = 4;
    /// B is stored transposed.
    pub const B_TURNED: u32 = 8;
    /// Factors are rounded to f16: for the host.
    pub const ROUNDED: u32 = 16;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Params {
        pub m: u32,
        pub n: u32,
        pub k: u32,
        pub lda: u32,
        pub ldb: u32,
        pub ldc: u32,
        pub flags: u32,
        pub act: u32,
        pub slope: f32,
        pub k_chunk: u32,
        pub split_stride: u32,
        pub groups_x: u32,
    }
    pub const matmul: Declared = Declared {
        file: "matmul",
        entry: "matmul",
        bindings: &[ReadFeatures, ReadFeatures, Read, Write],
        words: 12,
        lanes: 256,
        reduces: false,
    };
}

/// `shaders/matmul_coop.wgsl`.
pub mod matmul_coop {
    use super::*;
    /// C += instead of C =.
    pub const ADD: u32 = 1;
    /// A bias is added, column by column.
    pub const BIAS: u32 = 2;
    /// A is stored transposed: for the host, and for small products.
    pub const A_TURNED: u32 = 4;
    /// B is stored transposed.
    pub const B_TURNED: u32 = 8;
    /// Factors are rounded to f16: for the host.
    pub const ROUNDED: u32 = 16;
    /// keeps the lines of a square in different banks, on 16 bytes
    pub const PAD: u32 = 8;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Params {
        pub m: u32,
        pub n: u32,
        pub k: u32,
        pub lda: u32,
        pub ldb: u32,
        pub ldc: u32,
        pub flags: u32,
        pub act: u32,
        pub slope: f32,
        pub k_chunk: u32,
        pub split_stride: u32,
        pub groups_x: u32,
    }
    pub const matmul_coop: Declared = Declared {
        file: "matmul_coop",
        entry: "matmul_coop",
        bindings: &[ReadFeatures, ReadFeatures, Read, Write],
        words: 12,
        lanes: 128,
        reduces: false,
    };
}

/// `shaders/moments.wgsl`.
pub mod moments {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Moments {
        pub count: u32,
        pub pass_number: u32,
    }
    pub const moments: Declared = Declared {
        file: "moments",
        entry: "moments",
        bindings: &[Read, Read, Read, Write, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/norm.wgsl`.
pub mod norm {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct NormGradParams {
        pub rows: u32,
        pub cols: u32,
        pub affine: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct NormParams {
        pub rows: u32,
        pub cols: u32,
        pub eps: f32,
        pub affine: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct UnitGradParams {
        pub rows: u32,
        pub cols: u32,
        pub eps: f32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct UnitParams {
        pub rows: u32,
        pub cols: u32,
        pub eps: f32,
    }
    pub const norm: Declared = Declared {
        file: "norm",
        entry: "norm",
        bindings: &[Read, Read, Read, Write, Write],
        words: 4,
        lanes: 64,
        reduces: true,
    };
    pub const norm_grad: Declared = Declared {
        file: "norm",
        entry: "norm_grad",
        bindings: &[Read, Read, Read, Read, Write],
        words: 4,
        lanes: 64,
        reduces: true,
    };
    pub const norm_hat: Declared = Declared {
        file: "norm",
        entry: "norm_hat",
        bindings: &[Read, Read, Read, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const unit: Declared = Declared {
        file: "norm",
        entry: "unit",
        bindings: &[Read, Write, Write],
        words: 3,
        lanes: 64,
        reduces: true,
    };
    pub const unit_grad: Declared = Declared {
        file: "norm",
        entry: "unit_grad",
        bindings: &[Read, Read, Read, Write],
        words: 4,
        lanes: 64,
        reduces: true,
    };
}

/// `shaders/nystrom.wgsl`.
pub mod nystrom {
    use super::*;
    pub const ACCUMULATE: u32 = 1;
    pub const A_T: u32 = 2;
    pub const B_T: u32 = 4;
    pub const WITH_E: u32 = 8;
    pub const A_COLUMNS: u32 = 16;
    pub const B_COLUMNS: u32 = 32;
    pub const C_COLUMNS: u32 = 64;
    pub const FOLDED: u32 = 128;
    pub const SIDE: u32 = 64;
    pub const DEPTH: u32 = 16;
    pub const ROW: u32 = 65;
    pub const FOLD: u32 = 0;
    pub const SPREAD: u32 = 1;
    pub const COLUMNS: u32 = 2;
    pub const ROWS: u32 = 3;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Folding {
        pub layers: u32,
        pub heads: u32,
        pub side: u32,
        pub how: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Inverse {
        pub layers: u32,
        pub heads: u32,
        pub side: u32,
        pub flags: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Product {
        pub m: u32,
        pub n: u32,
        pub k: u32,
        pub heads: u32,
        pub flags: u32,
        pub alpha: f32,
        pub beta: f32,
        pub gamma: f32,
        pub layers: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Spans {
        pub tiles: u32,
        pub own: u32,
        pub other: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Zeros {
        pub rows: u32,
        pub heads: u32,
        pub width: u32,
        pub landmarks: u32,
    }
    pub const cross_spans: Declared = Declared {
        file: "nystrom",
        entry: "cross_spans",
        bindings: &[ReadIndex, ReadIndex, WriteIndex],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const head_product: Declared = Declared {
        file: "nystrom",
        entry: "head_product",
        bindings: &[Read, Read, Read, Write, ReadIndex],
        words: 9,
        lanes: 256,
        reduces: false,
    };
    pub const inverse_dots: Declared = Declared {
        file: "nystrom",
        entry: "inverse_dots",
        bindings: &[Read, Read, Write, ReadIndex],
        words: 4,
        lanes: 256,
        reduces: false,
    };
    pub const inverse_end: Declared = Declared {
        file: "nystrom",
        entry: "inverse_end",
        bindings: &[Read, Read, Read, Read, Read, Write, ReadIndex],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const inverse_fold: Declared = Declared {
        file: "nystrom",
        entry: "inverse_fold",
        bindings: &[Read, Write, ReadIndex],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const inverse_start: Declared = Declared {
        file: "nystrom",
        entry: "inverse_start",
        bindings: &[Read, Read, Write, ReadIndex],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const inverse_sums: Declared = Declared {
        file: "nystrom",
        entry: "inverse_sums",
        bindings: &[Read, Write],
        words: 4,
        lanes: 256,
        reduces: false,
    };
    pub const zero_keys: Declared = Declared {
        file: "nystrom",
        entry: "zero_keys",
        bindings: &[ReadIndex, Write, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/optim.wgsl`.
pub mod optim {
    use super::*;
    /// Gradients are clipped.
    pub const CLIPPED: u32 = 1;
    /// Decay acts on biases too.
    pub const DECAY_ALL: u32 = 2;
    /// Decay is not part of the gradient.
    pub const DECOUPLED: u32 = 4;
    /// The rule of the groups that are marked.
    pub const SECOND: u32 = 8;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Adam {
        pub count: u32,
        pub flags: u32,
        pub rate: f32,
        pub beta1: f32,
        pub beta2: f32,
        pub epsilon: f32,
        pub decay: f32,
        pub correction1: f32,
        pub correction2: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Average {
        pub count: u32,
        pub weight: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Clip {
        pub limit: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Lookahead {
        pub count: u32,
        pub mode: u32,
        pub alpha: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Nesterov {
        pub count: u32,
        pub flags: u32,
        pub rate: f32,
        pub momentum: f32,
        pub decay: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct NormFactor {
        pub runs: u32,
        pub norm: u32,
        pub limit: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct RunSquares {
        pub runs: u32,
    }
    pub const adam: Declared = Declared {
        file: "optim",
        entry: "adam",
        bindings: &[Write, Read, Write, Write, ReadIndex, Read, ReadIndex],
        words: 9,
        lanes: 64,
        reduces: false,
    };
    pub const average: Declared = Declared {
        file: "optim",
        entry: "average",
        bindings: &[Read, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const clip_factor: Declared = Declared {
        file: "optim",
        entry: "clip_factor",
        bindings: &[Read, Write],
        words: 1,
        lanes: 1,
        reduces: false,
    };
    pub const lookahead: Declared = Declared {
        file: "optim",
        entry: "lookahead",
        bindings: &[Write, Write, ReadIndex, ReadIndex],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const nesterov: Declared = Declared {
        file: "optim",
        entry: "nesterov",
        bindings: &[Write, Read, Write, ReadIndex, Read, ReadIndex],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const norm_factor: Declared = Declared {
        file: "optim",
        entry: "norm_factor",
        bindings: &[Read, ReadIndex, ReadIndex, Write],
        words: 3,
        lanes: 256,
        reduces: false,
    };
    pub const radam: Declared = Declared {
        file: "optim",
        entry: "radam",
        bindings: &[Write, Read, Write, Write, ReadIndex, Read, ReadIndex],
        words: 9,
        lanes: 64,
        reduces: false,
    };
    pub const run_squares: Declared = Declared {
        file: "optim",
        entry: "run_squares",
        bindings: &[Read, Write],
        words: 1,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/parts.wgsl`.
pub mod parts {
    use super::*;
    /// C += instead of C =.
    pub const ADD: u32 = 1;
    /// A bias is added, column by column.
    pub const BIAS: u32 = 2;
    /// A is stored transposed: for the host, and for small products.
    pub const A_TURNED: u32 = 4;
    /// B is stored transposed.
    pub const B_TURNED: u32 = 8;
    /// Factors are rounded to f16: for the host.
    pub const ROUNDED: u32 = 16;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Params {
        pub m: u32,
        pub n: u32,
        pub ldc: u32,
        pub flags: u32,
        pub act: u32,
        pub slope: f32,
        pub count: u32,
        pub stride: u32,
    }
    pub const add_parts: Declared = Declared {
        file: "parts",
        entry: "add_parts",
        bindings: &[Read, Read, Write],
        words: 8,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/positions.wgsl`.
pub mod positions {
    use super::*;
    /// An angle of 1.
    pub const RADIAN: u32 = 683565276;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Params {
        pub tiles: u32,
        pub cols: u32,
        pub first: u32,
        pub ratio: u32,
    }
    pub const add_positions: Declared = Declared {
        file: "positions",
        entry: "add_positions",
        bindings: &[Read, ReadIndex, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/power_pool.wgsl`.
pub mod power_pool {
    use super::*;
    /// The gradient of the logits is wanted.
    pub const WANTED: u32 = 1;
    /// It is added to what is there.
    pub const ADD: u32 = 2;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Grad {
        pub count: u32,
        pub cols: u32,
        pub flags: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Sizes {
        pub count: u32,
        pub cols: u32,
    }
    pub const mean_end: Declared = Declared {
        file: "power_pool",
        entry: "mean_end",
        bindings: &[Read, Read, Write, ReadIndex, ReadIndex, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const mean_grad: Declared = Declared {
        file: "power_pool",
        entry: "mean_grad",
        bindings: &[Read, Read, Read, Read, ReadIndex, ReadIndex, Write, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const mean_part: Declared = Declared {
        file: "power_pool",
        entry: "mean_part",
        bindings: &[Read, Read, Read, ReadIndex, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const mean_stats_end: Declared = Declared {
        file: "power_pool",
        entry: "mean_stats_end",
        bindings: &[Read, ReadIndex, ReadIndex, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const mean_stats_part: Declared = Declared {
        file: "power_pool",
        entry: "mean_stats_part",
        bindings: &[Read, ReadIndex, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const power_end: Declared = Declared {
        file: "power_pool",
        entry: "power_end",
        bindings: &[Read, Read, ReadIndex, Write, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const power_grad: Declared = Declared {
        file: "power_pool",
        entry: "power_grad",
        bindings: &[Read, Read, Read, Read, ReadIndex, Write, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const power_part: Declared = Declared {
        file: "power_pool",
        entry: "power_part",
        bindings: &[Read, Read, ReadIndex, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/pseudo_bags.wgsl`.
pub mod pseudo_bags {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct DealParams {
        pub tiles: u32,
        pub parts: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct DistilParams {
        pub bags: u32,
        pub parts: u32,
        pub rows: u32,
        pub sides: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct InvertParams {
        pub count: u32,
    }
    pub const deal_rows: Declared = Declared {
        file: "pseudo_bags",
        entry: "deal_rows",
        bindings: &[ReadIndex, ReadIndex, WriteIndex],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const distil_rows: Declared = Declared {
        file: "pseudo_bags",
        entry: "distil_rows",
        bindings: &[ReadIndex, ReadIndex, ReadIndex, WriteIndex],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const invert_order: Declared = Declared {
        file: "pseudo_bags",
        entry: "invert_order",
        bindings: &[ReadIndex, WriteIndex],
        words: 1,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/pseudo_label.wgsl`.
pub mod pseudo_label {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Bags {
        pub rows: u32,
        pub cols: u32,
        pub strength: f32,
        pub which: u32,
        pub accumulate: u32,
        pub scale: f32,
        pub each: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Ends {
        pub bags: u32,
        pub k: u32,
        pub apart: u32,
        pub label: u32,
        pub own: f32,
        pub others: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Instances {
        pub count: u32,
        pub accumulate: u32,
    }
    pub const bag_pseudo: Declared = Declared {
        file: "pseudo_label",
        entry: "bag_pseudo",
        bindings: &[Read, Read, Read, Read, Read, Write],
        words: 7,
        lanes: 64,
        reduces: false,
    };
    pub const bag_pseudo_grad: Declared = Declared {
        file: "pseudo_label",
        entry: "bag_pseudo_grad",
        bindings: &[Read, Read, Read, Read, Read, Read, Write],
        words: 7,
        lanes: 64,
        reduces: false,
    };
    pub const end_labels: Declared = Declared {
        file: "pseudo_label",
        entry: "end_labels",
        bindings: &[ReadIndex, Read, ReadIndex, WriteIndex, Write],
        words: 6,
        lanes: 64,
        reduces: false,
    };
    pub const instance_pseudo: Declared = Declared {
        file: "pseudo_label",
        entry: "instance_pseudo",
        bindings: &[Read, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const instance_pseudo_grad: Declared = Declared {
        file: "pseudo_label",
        entry: "instance_pseudo_grad",
        bindings: &[Read, Read, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/reduce.wgsl`.
pub mod reduce {
    use super::*;
    /// The logarithms have a gradient.
    pub const OF_LOGS: u32 = 1;
    /// The log-sum-exp has one.
    pub const OF_TOTAL: u32 = 2;
    /// The result is added to what is there.
    pub const ADD: u32 = 4;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct LogGradParams {
        pub rows: u32,
        pub cols: u32,
        pub flags: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct RowGradParams {
        pub rows: u32,
        pub cols: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct RowParams {
        pub rows: u32,
        pub cols: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct SpreadParams {
        pub rows: u32,
        pub cols: u32,
        pub row_step: u32,
        pub col_step: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct SquaresParams {
        pub count: u32,
        pub each: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct SumRowsParams {
        pub rows: u32,
        pub cols: u32,
        pub stride: u32,
        pub first: u32,
        pub chunk: u32,
        pub factor: f32,
        pub accumulate: u32,
    }
    pub const row_log_softmax: Declared = Declared {
        file: "reduce",
        entry: "row_log_softmax",
        bindings: &[Read, Write, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const row_log_softmax_grad: Declared = Declared {
        file: "reduce",
        entry: "row_log_softmax_grad",
        bindings: &[Read, Read, Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const row_softmax: Declared = Declared {
        file: "reduce",
        entry: "row_softmax",
        bindings: &[Read, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const row_softmax_grad: Declared = Declared {
        file: "reduce",
        entry: "row_softmax_grad",
        bindings: &[Read, Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const row_sum: Declared = Declared {
        file: "reduce",
        entry: "row_sum",
        bindings: &[Read, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const spread: Declared = Declared {
        file: "reduce",
        entry: "spread",
        bindings: &[Read, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const squares: Declared = Declared {
        file: "reduce",
        entry: "squares",
        bindings: &[Read, Write],
        words: 2,
        lanes: 64,
        reduces: true,
    };
    pub const sum_rows: Declared = Declared {
        file: "reduce",
        entry: "sum_rows",
        bindings: &[Read, Write],
        words: 7,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/routing.wgsl`.
pub mod routing {
    use super::*;
    /// The rows have a gradient.
    pub const OF_ROW: u32 = 1;
    /// Their lengths have one.
    pub const OF_LENGTH: u32 = 2;
    /// The result is added to what is there.
    pub const ADD: u32 = 4;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Agree {
        pub tiles: u32,
        pub cols: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Rows {
        pub rows: u32,
        pub cols: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct RowsGrad {
        pub rows: u32,
        pub cols: u32,
        pub flags: u32,
    }
    pub const bag_dot: Declared = Declared {
        file: "routing",
        entry: "bag_dot",
        bindings: &[Read, Read, ReadIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const bag_dot_grad: Declared = Declared {
        file: "routing",
        entry: "bag_dot_grad",
        bindings: &[Read, Read, ReadIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const squash: Declared = Declared {
        file: "routing",
        entry: "squash",
        bindings: &[Read, Write, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const squash_grad: Declared = Declared {
        file: "routing",
        entry: "squash_grad",
        bindings: &[Read, Read, Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/rows.wgsl`.
pub mod rows {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct CopyParams {
        pub rows: u32,
        pub cols: u32,
        pub from_cols: u32,
        pub from_first: u32,
        pub to_cols: u32,
        pub to_first: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct GatherParams {
        pub count: u32,
        pub rows: u32,
        pub cols: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct ScatterParams {
        pub count: u32,
        pub rows: u32,
        pub cols: u32,
        pub accumulate: u32,
    }
    pub const copy_columns: Declared = Declared {
        file: "rows",
        entry: "copy_columns",
        bindings: &[Read, Write],
        words: 7,
        lanes: 64,
        reduces: false,
    };
    pub const gather_rows: Declared = Declared {
        file: "rows",
        entry: "gather_rows",
        bindings: &[Read, ReadIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const scatter_rows: Declared = Declared {
        file: "rows",
        entry: "scatter_rows",
        bindings: &[Read, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/scaling.wgsl`.
pub mod scaling {
    use super::*;
    /// vectors of a workgroup
    pub const PART: u32 = 1024;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Judge {
        pub parts: u32,
        pub words: u32,
        pub grow_every: u32,
        pub least: u32,
        pub most: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Seed {
        pub first: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Unscale {
        pub count: u32,
    }
    pub const scale_judge: Declared = Declared {
        file: "scaling",
        entry: "scale_judge",
        bindings: &[ReadIndex, ReadIndex, WriteIndex, WriteIndex],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const scale_seed: Declared = Declared {
        file: "scaling",
        entry: "scale_seed",
        bindings: &[WriteIndex, Write],
        words: 1,
        lanes: 1,
        reduces: false,
    };
    pub const unscale: Declared = Declared {
        file: "scaling",
        entry: "unscale",
        bindings: &[Write, ReadIndex, WriteIndex],
        words: 1,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/segment.wgsl`.
pub mod segment {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Flagged {
        pub count: u32,
        pub cols: u32,
        pub flag: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Grad {
        pub count: u32,
        pub cols: u32,
        pub mean: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Sizes {
        pub count: u32,
        pub cols: u32,
    }
    pub const lse_end: Declared = Declared {
        file: "segment",
        entry: "lse_end",
        bindings: &[Read, Read, ReadIndex, ReadIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const lse_grad: Declared = Declared {
        file: "segment",
        entry: "lse_grad",
        bindings: &[Read, Read, Read, ReadIndex, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const lse_part: Declared = Declared {
        file: "segment",
        entry: "lse_part",
        bindings: &[Read, ReadIndex, Write, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const max_end: Declared = Declared {
        file: "segment",
        entry: "max_end",
        bindings: &[Read, ReadIndex, ReadIndex, Write, WriteIndex],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const max_grad: Declared = Declared {
        file: "segment",
        entry: "max_grad",
        bindings: &[ReadIndex, Read, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const max_part: Declared = Declared {
        file: "segment",
        entry: "max_part",
        bindings: &[Read, ReadIndex, Write, WriteIndex],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const pick: Declared = Declared {
        file: "segment",
        entry: "pick",
        bindings: &[Read, ReadIndex, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const softmax: Declared = Declared {
        file: "segment",
        entry: "softmax",
        bindings: &[Read, Read, ReadIndex, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const softmax_grad: Declared = Declared {
        file: "segment",
        entry: "softmax_grad",
        bindings: &[Read, Read, Read, ReadIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const sum_end: Declared = Declared {
        file: "segment",
        entry: "sum_end",
        bindings: &[Read, ReadIndex, ReadIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const sum_grad: Declared = Declared {
        file: "segment",
        entry: "sum_grad",
        bindings: &[Read, ReadIndex, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const sum_part: Declared = Declared {
        file: "segment",
        entry: "sum_part",
        bindings: &[Read, Read, ReadIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/self_attention.wgsl`.
pub mod self_attention {
    use super::*;
    pub const DOT: u32 = 0;
    pub const RBF: u32 = 1;
    pub const INVERSE: u32 = 2;
    pub const LAPLACE: u32 = 3;
    pub const MODULE: u32 = 4;
    pub const POWER: u32 = 5;
    pub const DISTANCE: u32 = 6;
    pub const BINNED: u32 = 7;
    pub const NEAR: u32 = 8;
    pub const ACCUMULATE: u32 = 1;
    pub const FLIP: u32 = 2;
    pub const SHARES: u32 = 4;
    pub const ADD_SHARES: u32 = 8;
    /// The log-sum-exp has a gradient, too.
    pub const OF_LSE: u32 = 1;
    /// There are gradients.
    pub const BACKWARD: u32 = 2;
    /// There is an alpha.
    pub const ALPHA: u32 = 4;
    pub const ROW: u32 = 33;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Alpha {
        pub heads: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Attend {
        pub tiles: u32,
        pub heads: u32,
        pub dims: u32,
        pub values: u32,
        pub scale: f32,
        pub unit: f32,
        pub flags: u32,
        pub kind: u32,
        pub bins: u32,
        pub threshold: u32,
        pub keep: f32,
        pub site: u32,
        pub seed_low: u32,
        pub seed_high: u32,
        pub step: u32,
        pub drawn: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Record {
        pub rows: u32,
        pub heads: u32,
        pub values: u32,
        pub flags: u32,
        pub kind: u32,
        pub length: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Spans {
        pub tiles: u32,
    }
    pub const attention_alpha: Declared = Declared {
        file: "self_attention",
        entry: "attention_alpha",
        bindings: &[Read, Read, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const attention_back: Declared = Declared {
        file: "self_attention",
        entry: "attention_back",
        bindings: &[Read, Read, Read, Read, Read, ReadIndex, Write, Write],
        words: 16,
        lanes: 64,
        reduces: false,
    };
    pub const attention_forward: Declared = Declared {
        file: "self_attention",
        entry: "attention_forward",
        bindings: &[Read, Read, Read, Write, Read, ReadIndex, Write, Write],
        words: 16,
        lanes: 64,
        reduces: false,
    };
    pub const attention_record: Declared = Declared {
        file: "self_attention",
        entry: "attention_record",
        bindings: &[Read, Read, Read, Read, Read, Write],
        words: 6,
        lanes: 64,
        reduces: false,
    };
    pub const attention_spans: Declared = Declared {
        file: "self_attention",
        entry: "attention_spans",
        bindings: &[ReadIndex, ReadIndex, WriteIndex],
        words: 1,
        lanes: 64,
        reduces: false,
    };
    pub const attention_values: Declared = Declared {
        file: "self_attention",
        entry: "attention_values",
        bindings: &[Read, Read, Read, Write, Read, ReadIndex],
        words: 16,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/sharp_pool.wgsl`.
pub mod sharp_pool {
    use super::*;
    /// The gradient of x is wanted.
    pub const WANTED: u32 = 1;
    /// It is added to what is there.
    pub const ADD: u32 = 2;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Divide {
        pub count: u32,
        pub factor: f32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Grad {
        pub count: u32,
        pub cols: u32,
        pub flags: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Sizes {
        pub count: u32,
        pub cols: u32,
    }
    pub const divide: Declared = Declared {
        file: "sharp_pool",
        entry: "divide",
        bindings: &[Read, Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const sharp_grad: Declared = Declared {
        file: "sharp_pool",
        entry: "sharp_grad",
        bindings: &[Read, Read, Read, Read, ReadIndex, ReadIndex, Write, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const sharp_part: Declared = Declared {
        file: "sharp_pool",
        entry: "sharp_part",
        bindings: &[Read, Read, ReadIndex, Write, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/sort.wgsl`.
pub mod sort {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct EndParams {
        pub bags: u32,
        pub k: u32,
        pub apart: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct KeyParams {
        pub count: u32,
        pub cols: u32,
        pub column: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct RandomKeys {
        pub count: u32,
        pub site: u32,
        pub seed_low: u32,
        pub seed_high: u32,
        pub step: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct ScanParams {
        pub tiles: u32,
        pub bags: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct SortParams {
        pub tiles: u32,
        pub width: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct TopParams {
        pub bags: u32,
        pub k: u32,
        pub last: u32,
    }
    pub const keep_count: Declared = Declared {
        file: "sort",
        entry: "keep_count",
        bindings: &[Read, ReadIndex, WriteIndex],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const keep_rows: Declared = Declared {
        file: "sort",
        entry: "keep_rows",
        bindings: &[Read, ReadIndex, ReadIndex, WriteIndex],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const keep_scan: Declared = Declared {
        file: "sort",
        entry: "keep_scan",
        bindings: &[ReadIndex, ReadIndex, WriteIndex, WriteIndex],
        words: 2,
        lanes: 256,
        reduces: false,
    };
    pub const random_keys: Declared = Declared {
        file: "sort",
        entry: "random_keys",
        bindings: &[WriteIndex],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const sort_ends: Declared = Declared {
        file: "sort",
        entry: "sort_ends",
        bindings: &[ReadIndex, ReadIndex, ReadIndex, WriteIndex],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const sort_keys: Declared = Declared {
        file: "sort",
        entry: "sort_keys",
        bindings: &[Read, WriteIndex],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const sort_merge: Declared = Declared {
        file: "sort",
        entry: "sort_merge",
        bindings: &[ReadIndex, ReadIndex, ReadIndex, ReadIndex, WriteIndex],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const sort_tile: Declared = Declared {
        file: "sort",
        entry: "sort_tile",
        bindings: &[ReadIndex, ReadIndex, WriteIndex],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const sort_top: Declared = Declared {
        file: "sort",
        entry: "sort_top",
        bindings: &[ReadIndex, ReadIndex, WriteIndex],
        words: 3,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/survival.wgsl`.
pub mod survival {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Cox {
        pub bags: u32,
        pub efron: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct CoxGrad {
        pub bags: u32,
        pub scale: f32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Hazard {
        pub bags: u32,
        pub cols: u32,
        pub alpha: f32,
        pub scale: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct HazardGrad {
        pub bags: u32,
        pub cols: u32,
        pub alpha: f32,
        pub scale: f32,
        pub accumulate: u32,
    }
    pub const cox_grad: Declared = Declared {
        file: "survival",
        entry: "cox_grad",
        bindings: &[Read, Read, Read, Read, Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const cox_loss: Declared = Declared {
        file: "survival",
        entry: "cox_loss",
        bindings: &[Read, Read, Read, Write],
        words: 3,
        lanes: 64,
        reduces: true,
    };
    pub const cox_terms: Declared = Declared {
        file: "survival",
        entry: "cox_terms",
        bindings: &[Read, Read, Read, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const hazard_grad: Declared = Declared {
        file: "survival",
        entry: "hazard_grad",
        bindings: &[Read, ReadIndex, Read, Read, Read, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const hazard_loss: Declared = Declared {
        file: "survival",
        entry: "hazard_loss",
        bindings: &[Read, ReadIndex, Read, Read, Write],
        words: 4,
        lanes: 64,
        reduces: true,
    };
}

/// `shaders/target_loss.wgsl`.
pub mod target_loss {
    use super::*;
    /// `weighted`: a weight for each row.
    pub const ROWS: u32 = 1;
    /// One for each column of each row.
    pub const EACH: u32 = 2;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Grad {
        pub rows: u32,
        pub cols: u32,
        pub kind: u32,
        pub above: f32,
        pub below: f32,
        pub negatives: f32,
        pub weighted: u32,
        pub scale: f32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Params {
        pub rows: u32,
        pub cols: u32,
        pub kind: u32,
        pub above: f32,
        pub below: f32,
        pub negatives: f32,
        pub weighted: u32,
    }
    pub const target_loss: Declared = Declared {
        file: "target_loss",
        entry: "target_loss",
        bindings: &[Read, Read, Read, Write],
        words: 7,
        lanes: 64,
        reduces: false,
    };
    pub const target_loss_grad: Declared = Declared {
        file: "target_loss",
        entry: "target_loss_grad",
        bindings: &[Read, Read, Read, Read, Write],
        words: 9,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/tokens.wgsl`.
pub mod tokens {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Means {
        pub rows: u32,
        pub cols: u32,
        pub landmarks: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct MeansGrad {
        pub tiles: u32,
        pub cols: u32,
        pub landmarks: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Scores {
        pub tiles: u32,
        pub cols: u32,
        pub factor: f32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct ScoresGrad {
        pub tiles: u32,
        pub cols: u32,
        pub factor: f32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Square {
        pub tiles: u32,
        pub cols: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct SquareGrad {
        pub tiles: u32,
        pub cols: u32,
        pub accumulate: u32,
    }
    pub const landmark_grad: Declared = Declared {
        file: "tokens",
        entry: "landmark_grad",
        bindings: &[Read, ReadIndex, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const landmark_means: Declared = Declared {
        file: "tokens",
        entry: "landmark_means",
        bindings: &[Read, ReadIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const square: Declared = Declared {
        file: "tokens",
        entry: "square",
        bindings: &[Read, Read, ReadIndex, ReadIndex, ReadIndex, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
    pub const square_grad: Declared = Declared {
        file: "tokens",
        entry: "square_grad",
        bindings: &[Read, ReadIndex, ReadIndex, ReadIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const token_scores: Declared = Declared {
        file: "tokens",
        entry: "token_scores",
        bindings: &[Read, ReadIndex, ReadIndex, ReadIndex, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const token_scores_grad: Declared = Declared {
        file: "tokens",
        entry: "token_scores_grad",
        bindings: &[Read, ReadIndex, ReadIndex, ReadIndex, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/transpose.wgsl`.
pub mod transpose {
    use super::*;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Params {
        pub rows: u32,
        pub cols: u32,
        pub ld_in: u32,
        pub ld_out: u32,
        pub groups_x: u32,
        pub tiled: u32,
    }
    pub const transpose: Declared = Declared {
        file: "transpose",
        entry: "transpose",
        bindings: &[Read, Write],
        words: 6,
        lanes: 256,
        reduces: false,
    };
}

/// `shaders/weighting.wgsl`.
pub mod weighting {
    use super::*;
    /// The gradient of x is wanted,
    pub const WANTED: u32 = 1;
    /// and added to what is there;
    pub const ADD: u32 = 2;
    /// that of the weights is wanted,
    pub const WEIGHT_WANTED: u32 = 4;
    /// and added to what is there.
    pub const WEIGHT_ADD: u32 = 8;
    /// A mean instead of a sum.
    pub const MEAN: u32 = 16;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Dot {
        pub rows: u32,
        pub cols: u32,
        pub accumulate: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Grad {
        pub tiles: u32,
        pub cols: u32,
        pub flags: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Part {
        pub tiles: u32,
        pub cols: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Scale {
        pub rows: u32,
        pub cols: u32,
        pub accumulate: u32,
        pub one: u32,
    }
    pub const row_dot: Declared = Declared {
        file: "weighting",
        entry: "row_dot",
        bindings: &[Read, Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const scale_rows: Declared = Declared {
        file: "weighting",
        entry: "scale_rows",
        bindings: &[Read, Read, Write],
        words: 4,
        lanes: 64,
        reduces: false,
    };
    pub const weighted_grad: Declared = Declared {
        file: "weighting",
        entry: "weighted_grad",
        bindings: &[Read, Read, Read, ReadIndex, ReadIndex, Write, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const weighted_part: Declared = Declared {
        file: "weighting",
        entry: "weighted_part",
        bindings: &[Read, Read, ReadIndex, Write],
        words: 2,
        lanes: 64,
        reduces: false,
    };
}

/// `shaders/windows.wgsl`.
pub mod windows {
    use super::*;
    /// `kind` of a sum.
    pub const SUM: u32 = 0;
    /// `kind` of a mean.
    pub const MEAN: u32 = 1;
    /// `kind` of a log-mean-exp.
    pub const LOG_MEAN_EXP: u32 = 2;
    /// `kind` of a log-sum-exp.
    pub const LOG_SUM_EXP: u32 = 3;
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Chosen {
        pub bags: u32,
        pub cols: u32,
        pub first_bag: u32,
        pub first_row: u32,
        pub inner: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Copied {
        pub bags: u32,
        pub cols: u32,
        pub first_bag: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Largest {
        pub bags: u32,
        pub cols: u32,
        pub first_bag: u32,
        pub continued: u32,
        pub first_row: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Mean {
        pub bags: u32,
        pub cols: u32,
        pub first_bag: u32,
        pub continued: u32,
        pub kind: u32,
    }
    #[repr(C)]
    #[derive(Clone, Copy, Pod, Zeroable)]
    pub struct Soft {
        pub bags: u32,
        pub hidden: u32,
        pub heads: u32,
        pub first_bag: u32,
        pub continued: u32,
    }
    pub const window_add: Declared = Declared {
        file: "windows",
        entry: "window_add",
        bindings: &[Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
    pub const window_max: Declared = Declared {
        file: "windows",
        entry: "window_max",
        bindings: &[Read, ReadIndex, Write, WriteIndex],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const window_max_share: Declared = Declared {
        file: "windows",
        entry: "window_max_share",
        bindings: &[ReadIndex, ReadIndex, Read, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const window_mean: Declared = Declared {
        file: "windows",
        entry: "window_mean",
        bindings: &[Read, ReadIndex, Write, WriteIndex],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const window_mean_share: Declared = Declared {
        file: "windows",
        entry: "window_mean_share",
        bindings: &[Read, ReadIndex, Read, ReadIndex, Read, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const window_pick: Declared = Declared {
        file: "windows",
        entry: "window_pick",
        bindings: &[ReadIndex, ReadIndex, Read, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const window_softmax: Declared = Declared {
        file: "windows",
        entry: "window_softmax",
        bindings: &[Read, Read, Write, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const window_softmax_share: Declared = Declared {
        file: "windows",
        entry: "window_softmax_share",
        bindings: &[Read, Read, Read, Read, Write, Write],
        words: 5,
        lanes: 64,
        reduces: false,
    };
    pub const window_take: Declared = Declared {
        file: "windows",
        entry: "window_take",
        bindings: &[Read, Write],
        words: 3,
        lanes: 64,
        reduces: false,
    };
}

/// The text of a file of `shaders/`.
pub(super) fn source(file: &str) -> Option<&'static str> {
    Some(match file {
        "attention_pool" => include_str!("../../shaders/attention_pool.wgsl"),
        "batch_norm" => include_str!("../../shaders/batch_norm.wgsl"),
        "cluster" => include_str!("../../shaders/cluster.wgsl"),
        "contrast" => include_str!("../../shaders/contrast.wgsl"),
        "conv" => include_str!("../../shaders/conv.wgsl"),
        "critical_attention" => include_str!("../../shaders/critical_attention.wgsl"),
        "depthwise" => include_str!("../../shaders/depthwise.wgsl"),
        "distance_attention" => include_str!("../../shaders/distance_attention.wgsl"),
        "dropout" => include_str!("../../shaders/dropout.wgsl"),
        "elementwise" => include_str!("../../shaders/elementwise.wgsl"),
        "evidential" => include_str!("../../shaders/evidential.wgsl"),
        "gaussian" => include_str!("../../shaders/gaussian.wgsl"),
        "graph" => include_str!("../../shaders/graph.wgsl"),
        "image" => include_str!("../../shaders/image.wgsl"),
        "loss" => include_str!("../../shaders/loss.wgsl"),
        "matmul" => include_str!("../../shaders/matmul.wgsl"),
        "matmul_coop" => include_str!("../../shaders/matmul_coop.wgsl"),
        "moments" => include_str!("../../shaders/moments.wgsl"),
        "norm" => include_str!("../../shaders/norm.wgsl"),
        "nystrom" => include_str!("../../shaders/nystrom.wgsl"),
        "optim" => include_str!("../../shaders/optim.wgsl"),
        "parts" => include_str!("../../shaders/parts.wgsl"),
        "positions" => include_str!("../../shaders/positions.wgsl"),
        "power_pool" => include_str!("../../shaders/power_pool.wgsl"),
        "pseudo_bags" => include_str!("../../shaders/pseudo_bags.wgsl"),
        "pseudo_label" => include_str!("../../shaders/pseudo_label.wgsl"),
        "reduce" => include_str!("../../shaders/reduce.wgsl"),
        "routing" => include_str!("../../shaders/routing.wgsl"),
        "rows" => include_str!("../../shaders/rows.wgsl"),
        "scaling" => include_str!("../../shaders/scaling.wgsl"),
        "segment" => include_str!("../../shaders/segment.wgsl"),
        "self_attention" => include_str!("../../shaders/self_attention.wgsl"),
        "sharp_pool" => include_str!("../../shaders/sharp_pool.wgsl"),
        "sort" => include_str!("../../shaders/sort.wgsl"),
        "survival" => include_str!("../../shaders/survival.wgsl"),
        "target_loss" => include_str!("../../shaders/target_loss.wgsl"),
        "tokens" => include_str!("../../shaders/tokens.wgsl"),
        "transpose" => include_str!("../../shaders/transpose.wgsl"),
        "weighting" => include_str!("../../shaders/weighting.wgsl"),
        "windows" => include_str!("../../shaders/windows.wgsl"),
        "common/activation" => include_str!("../../shaders/common/activation.wgsl"),
        "common/block" => include_str!("../../shaders/common/block.wgsl"),
        "common/grid" => include_str!("../../shaders/common/grid.wgsl"),
        "common/half" => include_str!("../../shaders/common/half.wgsl"),
        "common/lanes" => include_str!("../../shaders/common/lanes.wgsl"),
        "common/philox" => include_str!("../../shaders/common/philox.wgsl"),
        "common/precise" => include_str!("../../shaders/common/precise.wgsl"),
        "common/product" => include_str!("../../shaders/common/product.wgsl"),
        "common/round" => include_str!("../../shaders/common/round.wgsl"),
        "common/way_out" => include_str!("../../shaders/common/way_out.wgsl"),
        _ => return None,
    })
}
