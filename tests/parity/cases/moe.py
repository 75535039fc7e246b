"""Decoders with experts whose routers end in a softmax."""

from tests.parity.cases.decoder import TINY, WINDOW
from tests.parity.harness import Case

ROUTED = TINY | dict(num_experts_per_tok=2)
BIASED = ROUTED | dict(attention_bias=True)
QWEN = ROUTED | dict(moe_intermediate_size=24, decoder_sparse_step=2, mlp_only_layers=[3], norm_topk_prob=True)
GRANITE = BIASED | dict(
    num_local_experts=5,
    embedding_multiplier=3.0,
    logits_scaling=2.0,
    residual_multiplier=0.7,
    attention_multiplier=0.3,
)

FLIPS = {"half": "rounding moves the scores by which experts are chosen; the case that takes all of them shows it"}

CASES = [
    Case("mixtral", ROUTED | dict(head_dim=12, num_local_experts=5) | WINDOW),
    Case(
        "qwen2_moe",
        QWEN
        | dict(num_experts=5, shared_expert_intermediate_size=28, use_sliding_window=True, max_window_layers=3)
        | WINDOW,
    ),
    Case("qwen2_moe", QWEN | dict(num_experts=5, decoder_sparse_step=1, norm_topk_prob=False), label="sparse"),
    Case("qwen3_moe", QWEN | dict(num_experts=5, attention_bias=True, use_sliding_window=True) | WINDOW),
    Case(
        "gpt_oss",
        ROUTED
        | dict(
            head_dim=12,
            num_local_experts=5,
            swiglu_limit=0.2,
            swiglu_alpha=1.3,
            rope_parameters=dict(
                rope_type="yarn",
                rope_theta=1e4,
                factor=4.0,
                beta_fast=32.0,
                beta_slow=1.0,
                truncate=False,
                original_max_position_embeddings=16,
            ),
        )
        | WINDOW,
    ),
    Case("olmoe", BIASED | dict(num_experts=5, clip_qkv=0.3, norm_topk_prob=True)),
    Case("flex_olmo", BIASED | dict(num_experts=5), skip=FLIPS),
    Case("flex_olmo", BIASED | dict(num_experts=2, norm_topk_prob=True), label="all"),
    Case("granitemoe", GRANITE),
    Case("granitemoeshared", GRANITE | dict(shared_intermediate_size=28)),
]
