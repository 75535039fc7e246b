"""Encoders of waveforms."""

from tests.parity.harness import Case

TINY = dict(
    vocab_size=40,
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=37,
    layer_norm_eps=1e-3,
    hidden_act="gelu_new",
    feat_extract_activation="silu",
    conv_dim=[12, 16, 20],
    conv_stride=[5, 2, 2],
    conv_kernel=[10, 3, 2],
    conv_bias=True,
    num_conv_pos_embeddings=6,
    num_conv_pos_embedding_groups=2,
    classifier_proj_size=18,
    pad_token_id=3,
)
XVECTOR = dict(tdnn_dim=[14, 15], tdnn_kernel=[3, 2], tdnn_dilation=[1, 2], xvector_output_dim=22)
CODEBOOKS = dict(
    num_codevectors_per_group=6,
    num_codevector_groups=3,
    codevector_dim=21,
    proj_codevector_dim=10,
    contrastive_logits_temperature=0.3,
    diversity_loss_weight=0.7,
)
STABLE = dict(do_stable_layer_norm=True, feat_extract_norm="layer", num_conv_pos_embeddings=5)
ADAPTER = dict(add_adapter=True, adapter_kernel_size=3, adapter_stride=2, num_adapter_layers=2, output_hidden_size=24)
SOUND = (330,)  # 16 frames

WAV2VEC2 = TINY | XVECTOR | CODEBOOKS

CASES = [
    Case("wav2vec2", WAV2VEC2, sound=SOUND),
    Case(
        "wav2vec2",
        WAV2VEC2 | STABLE | dict(use_weighted_layer_sum=True, adapter_attn_dim=7, ctc_loss_reduction="mean"),
        label="stable",
        sound=SOUND,
    ),
    Case("wav2vec2", WAV2VEC2 | ADAPTER, label="adapter", sound=(700,), tasks=("Model", "CTC")),
    Case("hubert", TINY, sound=SOUND),
    Case(
        "hubert",
        TINY | STABLE | dict(conv_pos_batch_norm=True, feat_proj_layer_norm=False, use_weighted_layer_sum=True),
        label="stable",
        sound=SOUND,
    ),
]
