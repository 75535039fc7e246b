"""Decoders with latent attention."""

from tests.parity.cases.decoder import TINY
from tests.parity.harness import Case

LATENT = TINY | dict(
    num_key_value_heads=4,
    attention_bias=True,
    kv_lora_rank=12,
    q_lora_rank=20,
    qk_nope_head_dim=6,
    qk_rope_head_dim=4,
    v_head_dim=10,
)
ROUTED = LATENT | dict(num_experts_per_tok=2, moe_intermediate_size=24, n_routed_experts=6, n_shared_experts=2)
GROUPS = dict(n_group=3, topk_group=2, routed_scaling_factor=1.7)
YARN = dict(
    rope_type="yarn",
    rope_theta=1e4,
    factor=4.0,
    mscale=1.0,
    mscale_all_dim=0.8,
    beta_fast=32,
    beta_slow=1,
    original_max_position_embeddings=16,
)

CASES = [
    Case("deepseek_v3", ROUTED | GROUPS | dict(first_k_dense_replace=1, rope_parameters=YARN)),
    Case(
        "deepseek_v3",
        ROUTED | dict(n_group=1, topk_group=1, q_lora_rank=None, rope_interleave=False, norm_topk_prob=False),
        label="plain",
    ),
    Case(
        "deepseek_v2",
        ROUTED
        | GROUPS
        | dict(first_k_dense_replace=1, topk_method="group_limited_greedy", mlp_bias=True)
        | dict(rope_parameters=YARN),
    ),
    Case("deepseek_v2", ROUTED | dict(q_lora_rank=None, routed_scaling_factor=1.7), label="greedy"),
    Case("glm4_moe_lite", ROUTED | GROUPS),
    Case("axk1", ROUTED | GROUPS | dict(mlp_layer_types=["dense", "sparse", "dense", "sparse"])),
    # The reference zeroes the row of a padding token when it loads a file.
    Case("youtu", LATENT | dict(initializer_range=0.02, pad_token_id=None)),
    Case("minicpm3", LATENT | dict(initializer_range=0.02, dim_model_base=16, scale_emb=3, mlp_bias=True)),
]
