"""Defaults of the configurations of encoders of waveforms."""

from __future__ import annotations

import math
from typing import Any

from autoload.config import ConfigSpec, PreTrainedConfig

SIZES = dict(
    vocab_size=32,
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
    hidden_act="gelu",
)
DROPOUTS = dict(
    hidden_dropout=0.1,
    activation_dropout=0.1,
    attention_dropout=0.1,
    feat_proj_dropout=0.0,
    final_dropout=0.1,
    layerdrop=0.1,
    initializer_range=0.02,
    layer_norm_eps=1e-5,
)
CONVOLUTIONS = dict(
    feat_extract_norm="group",
    feat_extract_activation="gelu",
    conv_dim=[512] * 7,
    conv_stride=[5, 2, 2, 2, 2, 2, 2],
    conv_kernel=[10, 3, 3, 3, 3, 2, 2],
    conv_bias=False,
    num_conv_pos_embeddings=128,
    num_conv_pos_embedding_groups=16,
)
MASKS = dict(
    apply_spec_augment=True,
    mask_time_prob=0.05,
    mask_time_length=10,
    mask_time_min_masks=2,
    mask_feature_prob=0.0,
    mask_feature_length=10,
    mask_feature_min_masks=0,
)
CODEBOOKS = dict(
    num_codevectors_per_group=320,
    num_codevector_groups=2,
    contrastive_logits_temperature=0.1,
    num_negatives=100,
    codevector_dim=256,
    proj_codevector_dim=256,
    diversity_loss_weight=0.1,
)
HEADS = dict(ctc_loss_reduction="sum", ctc_zero_infinity=False, use_weighted_layer_sum=False, classifier_proj_size=256)
XVECTOR = dict(
    tdnn_dim=[512, 512, 512, 512, 1500],
    tdnn_kernel=[5, 3, 3, 1, 1],
    tdnn_dilation=[1, 2, 3, 1, 1],
    xvector_output_dim=512,
)
TOKENS = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
ADAPTER = dict(
    add_adapter=False, adapter_kernel_size=3, adapter_stride=2, num_adapter_layers=3, output_hidden_size=None
)


def complete(config: PreTrainedConfig) -> None:
    """The width after the adapter, and the number of convolutions."""
    fields: dict[str, Any] = config.__dict__
    if "conv_dim" in fields:
        fields["num_feat_extract_layers"] = len(config.conv_dim)
    if "output_hidden_size" in fields and fields["output_hidden_size"] is None:
        fields["output_hidden_size"] = config.hidden_size


def inputs_to_logits_ratio(config: Any) -> int:
    """Samples to a frame of the output, by which pipelines count time."""
    if hasattr(config, "conv_stride"):
        return math.prod(config.conv_stride)
    adapted = config.adapter_stride**config.num_adapter_layers if config.add_adapter else 1
    return (
        2 * config.feature_projection_input_dim * adapted
    )  # of filter banks, two and two; the reference's own measure


def spec(*groups: dict, **own: Any) -> ConfigSpec:
    """Defaults in several groups; later ones win."""
    fields: dict[str, Any] = {}
    for group in (*groups, own):
        fields |= group
    return ConfigSpec(fields, complete=complete, members={"inputs_to_logits_ratio": property(inputs_to_logits_ratio)})


BASE = SIZES | DROPOUTS | CONVOLUTIONS

CONFIGS = {
    "wav2vec2": spec(
        BASE,
        dict(do_stable_layer_norm=False, feat_quantizer_dropout=0.0),
        MASKS,
        CODEBOOKS,
        HEADS,
        XVECTOR,
        TOKENS,
        ADAPTER,
        adapter_attn_dim=None,
    ),
    "hubert": spec(
        BASE,
        MASKS,
        HEADS,
        TOKENS,
        do_stable_layer_norm=False,
        feat_proj_layer_norm=True,
        conv_pos_batch_norm=False,
    ),
}
