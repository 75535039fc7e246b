"""Encoders made of newer decoders' parts."""

from tests.parity.cases.decoder import BIASED, WINDOW
from tests.parity.cases.decoder_windows import BOTH
from tests.parity.harness import Case

YARN = dict(
    rope_type="yarn",
    rope_theta=1e4,
    factor=4.0,
    beta_fast=32.0,
    beta_slow=1.0,
    truncate=False,
    original_max_position_embeddings=16,
)

CASES = [
    Case(
        "embedding_gemma2_text",
        BIASED
        | WINDOW
        | dict(
            sliding_window=3,
            head_dim=12,
            global_head_dim=16,
            rope_parameters=BOTH,
            sliding_window_pattern=2,
            hidden_size_per_layer_input=8,
            embedding_dim=20,
        ),
    ),
    Case(
        "openai_privacy_filter",
        BIASED
        | dict(
            head_dim=12,
            sliding_window=3,
            num_local_experts=5,
            num_experts_per_tok=2,
            swiglu_limit=0.2,
            swiglu_alpha=1.3,
            rope_parameters=YARN,
        ),
    ),
]
