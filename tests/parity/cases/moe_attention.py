"""Decoders with experts and an attention of their own."""

from tests.parity.cases.decoder import TINY, WINDOW
from tests.parity.cases.moe import FLIPS
from tests.parity.harness import Case

ROUTED = TINY | dict(num_experts_per_tok=2, moe_intermediate_size=24, head_dim=12)
BIASED = ROUTED | dict(attention_bias=True)
GROUPS = dict(routed_scaling_factor=1.7, n_group=3, topk_group=2)  # six experts
SHARED = dict(shared_expert_intermediate_size=28)
SPARSE = ["dense", "sparse", "dense", "sparse"]
MIXED = ["sliding_attention", "full_attention"] * 2
ROPE = dict(
    full_attention=dict(rope_type="default", rope_theta=300.0, partial_rotary_factor=0.5),
    sliding_attention=dict(rope_type="default", rope_theta=100.0, partial_rotary_factor=0.7),
)
PREFIX = {"prefix": "the reference names a part that its class does not have"}

CASES = [
    Case(
        "llama4_text",
        TINY
        | dict(
            head_dim=12,
            num_experts_per_tok=2,
            num_local_experts=5,
            intermediate_size_mlp=28,
            interleave_moe_layer_step=2,
            no_rope_layer_interval=2,
            attention_bias=True,
            attention_chunk_size=5,
            floor_scale=4,
            attn_scale=0.7,
        ),
        skip=PREFIX,
    ),
    Case(
        "llama4_text",
        TINY | dict(head_dim=12, num_local_experts=5, use_qk_norm=False),
        label="plain",
        skip=FLIPS | PREFIX,
    ),
    Case(
        "beam",
        BIASED
        | GROUPS
        | dict(num_experts=6, layer_types=MIXED, mlp_layer_types=SPARSE, final_logit_softcapping=2.0)
        | WINDOW,
    ),
    Case(
        "laguna",
        BIASED
        | SHARED
        | dict(
            num_experts=5,
            layer_types=MIXED,
            num_attention_heads_per_layer=[4, 8, 4, 2],
            moe_routed_scaling_factor=1.7,
            moe_router_logit_softcapping=0.5,
            rope_parameters=ROPE,
        )
        | WINDOW,
    ),
    Case("laguna", ROUTED | SHARED | dict(num_experts=5, gating="per-element"), label="elements"),
    Case(
        "mimo_v2_flash",
        BIASED
        | GROUPS
        | dict(n_routed_experts=6, layer_types=MIXED, v_head_dim=10, attention_value_scale=0.6, num_key_value_heads=1)
        | WINDOW,
    ),
    Case(
        "beam",
        BIASED
        | WINDOW
        | dict(head_dim=64, intermediate_size=4, num_hidden_layers=1, final_logit_softcapping=None)
        | dict(layer_types=MIXED[:1]),
        label="one",  # layer, without experts: little else is rounded
    ),
]
