//! Architectures that are known by their keys and that no method here computes, so that a refusal says why.

use super::keys::Keys;

/// One of them.
pub(super) struct Other {
    /// Its name, for people.
    pub title: &'static str,
    pub is: fn(&Keys) -> bool,
    /// Keys of what is not computed, and why.
    pub why: &'static str,
}

pub(super) static OTHERS: [Other; 7] = [
    Other {
        title: "MIL-Lab's DSMIL",
        is: |keys| keys.any("patch_embed.") && keys.any("b_classifier."),
        why: "b_classifier.norm is a layer norm of the bag's features, and softmax goes over the mean of both streams; dsmil, as the \
              authors have it, has neither",
    },
    Other {
        title: "MIL-Lab's DFTD",
        is: |keys| keys.any("attCls."),
        why: "attention and attCls weigh instances by scores without a softmax, unlike DTFD-MIL by its authors, and cut bags at random",
    },
    Other {
        title: "MIL-Lab's Transformer",
        is: |keys| keys.has("cls_token") && keys.has("blocks.0.attention.in_proj_weight"),
        why: "cls_token is classified behind self-attention with biases and a layer behind it (blocks.N.attention.in_proj_bias, \
              out_proj); transformer pools by attention, and has no token",
    },
    Other {
        title: "MIL-Lab's ILRA",
        is: |keys| keys.any("gab_blocks."),
        why: "gab_blocks are attention through learnt rows (gab_blocks.N.latent)",
    },
    Other {
        title: "MIL-Lab's WiKG",
        is: |keys| keys.any("W_head.") && keys.any("W_tail."),
        why: "W_head and W_tail make a graph of heads and tails",
    },
    Other {
        title: "RRT-MIL",
        is: |keys| keys.any("online_encoder.") || keys.any("encoder.layer1.attn.") && keys.any("encoder.pool_fn."),
        why: "encoder is self-attention within regions of the slide",
    },
    Other {
        title: "deep sets of Porpoise or MCAT (MIL_Sum_FC_surv)",
        is: |keys| keys.any("phi.0.") && keys.any("rho.0."),
        why: "rho is a layer with ReLU between the sum of the bag and the classifier",
    },
];
