"""Encoders of sound made of conformer blocks."""

from tests.parity.cases.wav2vec2 import ADAPTER, CODEBOOKS, SOUND, TINY, XVECTOR
from tests.parity.harness import Case

CONFORMER = TINY | XVECTOR | CODEBOOKS | dict(conv_depthwise_kernel_size=5)
NARROW = ("feat_extract_activation", "conv_dim", "conv_stride", "conv_kernel", "conv_bias")
BERT = {key: value for key, value in TINY.items() if key not in NARROW} | XVECTOR
BERT |= dict(
    feature_projection_input_dim=20,
    conv_depthwise_kernel_size=5,
    left_max_position_embeddings=4,
    right_max_position_embeddings=3,
    adapter_act="silu",
    layer_norm_eps=1e-3,
)
FRAMES = (16, 20)
ROTARY = dict(position_embeddings_type="rotary", rotary_embedding_base=50)
CACHED = {"half": "the reference goes on with the rotary tables of the fp32 pass before it, and fails"}

CASES = [
    Case("wav2vec2-conformer", CONFORMER, sound=SOUND),
    Case(
        "wav2vec2-conformer",
        CONFORMER | ROTARY | dict(feat_extract_norm="layer", use_weighted_layer_sum=True),
        label="rotary",
        sound=SOUND,
        skip=CACHED,
    ),
    Case("wav2vec2-conformer", CONFORMER | ADAPTER, label="adapter", sound=(700,), tasks=("Model", "CTC")),
    Case("wav2vec2-bert", BERT, sound=FRAMES),
    Case("wav2vec2-bert", BERT | ROTARY | dict(use_weighted_layer_sum=True), label="rotary", sound=FRAMES, skip=CACHED),
    Case(
        "wav2vec2-bert",
        BERT
        | ADAPTER
        | dict(position_embeddings_type="relative", use_intermediate_ffn_before_adapter=True, num_adapter_layers=1),
        label="adapter",
        sound=FRAMES,
        tasks=("Model", "CTC"),
    ),
]
