//! Which operation is translated by which function: the one list of operations by type.

use super::attention as a;
use super::images as i;
use super::nystrom as n;
use super::pools as p;
use super::pseudo as q;
use super::rows as r;
use super::tokens as t;
use super::translation::{At, Done};
use crate::ops::attention_pool::AttentionPool;
use crate::ops::batch_norm::RunningBatchNorm;
use crate::ops::conv::Conv2d;
use crate::ops::critical_attention::{CriticalAttention, CriticalRows, CriticalValues};
use crate::ops::cross_attention::{CrossAttention, Received};
use crate::ops::depthwise::{GridConv, MergeKernels, SequenceConv, ShiftTokens};
use crate::ops::dropout::{ChannelDropout, ColumnDropout, Dropout};
use crate::ops::evidential::DirichletUncertainty;
use crate::ops::gaussian::Reparameterise;
use crate::ops::graph::GraphProduct;
use crate::ops::image::{ChannelMean, MaxPool};
use crate::ops::matmul::{Linear, Matmul};
use crate::ops::moments::PassMoments;
use crate::ops::norm::{InstanceNorm, LayerNorm, UnitRows};
use crate::ops::nystrom::{HeadProduct, PseudoInverse};
use crate::ops::pointwise::{Activate, AddScaled, Affine, Below, Gelu, Logit, Multiply, StopGradient};
use crate::ops::positions::AddPositions;
use crate::ops::power_pool::{GeneralisedMean, PowerMean};
use crate::ops::pseudo_bags::{DealOut, Distil, PermuteRows};
use crate::ops::reduce::{ColumnSum, RowLogSoftmax, RowSoftmax, RowSum};
use crate::ops::routing::{BagDot, Squash};
use crate::ops::rows::{Concat, GatherRows, SliceColumns, SliceRows};
use crate::ops::segment::{BagBroadcast, BagSoftmax, SegmentLogSumExp, SegmentReduce, SegmentSoftmax};
use crate::ops::self_attention::SelfAttention;
use crate::ops::sharp_pool::{DivideBy, SharpLogMeanExp};
use crate::ops::sort::{SegmentShuffle, SegmentSort};
use crate::ops::tokens::{LandmarkMeans, Square, TokenScores};
use crate::ops::weighting::{RowScale, ScaleBy, WeightedSum};

/// Calls the function of the type that the operation is of.
macro_rules! by_type {
    ($at:expr; $($rule:ty => $translate:expr,)*) => {{
        let op = &$at.node.op;
        $(if let Some(rule) = op.get::<$rule>() {
            return $translate($at, rule);
        })*
    }};
}

/// Pushes what an operation of the tape is in ONNX.
///
/// # Errors
/// Why it has no form there.
pub fn translate(at: &mut At) -> Done {
    by_type! { at;
        Linear => r::linear,
        Matmul => r::matmul,
        Activate => r::activate,
        Logit => r::logit,
        AddScaled => r::add_scaled,
        Multiply => r::multiply,
        Affine => r::affine,
        Gelu => r::gelu,
        Below => r::below,
        StopGradient => |at, _: &StopGradient| r::same(at),
        Dropout => |at, _: &Dropout| r::same(at),
        ChannelDropout => |at, _: &ChannelDropout| r::same(at),
        // A prediction takes the mean for a sample.
        Reparameterise => |at, _: &Reparameterise| r::same(at),
        ColumnDropout => r::column_dropout,
        PassMoments => r::pass_moments,
        RowSum => r::row_sum,
        ColumnSum => r::column_sum,
        RowSoftmax => r::row_softmax,
        RowLogSoftmax => r::row_log_softmax,
        GatherRows => r::gather_rows,
        Concat => r::concat,
        SliceColumns => r::slice_columns,
        SliceRows => r::slice_rows,
        RowScale => r::product,
        ScaleBy => r::scale_by,
        DivideBy => r::divide_by,
        Squash => r::squash,
        LayerNorm => r::layer_norm,
        UnitRows => r::unit_rows,
        DirichletUncertainty => r::uncertainty,
        SegmentReduce => p::reduce,
        SegmentSoftmax => p::softmax,
        SegmentLogSumExp => p::log_sum_exp,
        BagSoftmax => p::bag_softmax,
        BagBroadcast => p::broadcast,
        WeightedSum => p::weighted_sum,
        BagDot => p::bag_dot,
        SharpLogMeanExp => p::sharp,
        GeneralisedMean => p::generalised_mean,
        PowerMean => p::power_mean,
        AttentionPool => p::attention_pool,
        CriticalRows => p::critical_rows,
        CriticalValues => p::critical_values,
        CriticalAttention => p::critical_attention,
        AddPositions => p::add_positions,
        SelfAttention => a::self_attention,
        CrossAttention => n::cross_attention,
        Received => n::received,
        HeadProduct => n::head_product,
        PseudoInverse => n::pseudo_inverse,
        GraphProduct => a::graph_product,
        Square => t::square,
        LandmarkMeans => t::landmark_means,
        TokenScores => t::token_scores,
        SequenceConv => t::sequence_conv,
        ShiftTokens => t::shift,
        GridConv => t::grid_conv,
        MergeKernels => t::merge_kernels,
        DealOut => q::deal_out,
        PermuteRows => q::permute,
        Distil => q::distil,
        SegmentSort => q::sort,
        Conv2d => i::conv,
        MaxPool => i::max_pool,
        ChannelMean => i::channel_mean,
        InstanceNorm => i::instance_norm,
        RunningBatchNorm => i::batch_norm,
        SegmentShuffle => |_: &mut At, _: &SegmentShuffle| Err("draws an order at random".to_owned()),
    }
    Err("is not among those that are translated (docs/onnx.md lists what is)".into())
}
