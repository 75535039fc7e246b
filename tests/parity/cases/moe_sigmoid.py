"""Decoders with experts that a bias balances."""

from tests.parity.cases.decoder import TINY, WINDOW
from tests.parity.harness import Case

ROUTED = TINY | dict(num_experts_per_tok=2, moe_intermediate_size=24)
BIASED = ROUTED | dict(attention_bias=True)
GROUPS = dict(routed_scaling_factor=1.7, n_group=3, topk_group=2)  # six experts

CASES = [
    Case("glm4_moe", BIASED | GROUPS | dict(n_routed_experts=6, n_shared_experts=2, use_qk_norm=True)),
    Case("solar_open", BIASED | GROUPS | dict(n_routed_experts=6, head_dim=12)),
    Case(
        "dots1",
        BIASED
        | GROUPS
        | dict(
            n_routed_experts=6, n_shared_experts=1, first_k_dense_replace=1, max_window_layers=2, norm_topk_prob=True
        )
        | WINDOW,
    ),
    Case("exaone_moe", ROUTED | GROUPS | dict(num_experts=6, num_shared_experts=2, head_dim=12) | WINDOW),
    Case("minimax_m2", TINY | dict(num_experts_per_tok=2, num_local_experts=5, head_dim=12, rotary_dim=6)),
    Case("hy_v3", BIASED | dict(num_experts=5, head_dim=12, num_shared_experts=2, router_scaling_factor=1.7)),
    Case(
        "afmoe",
        BIASED
        | dict(num_experts=5, head_dim=12, num_shared_experts=2, route_scale=1.7, mup_enabled=True)
        | dict(global_attn_every_n_layers=2)
        | WINDOW,
    ),
    Case(
        "ernie4_5_moe",
        TINY
        | dict(
            moe_intermediate_size=24,
            use_bias=True,
            moe_k=2,
            moe_num_experts=5,
            moe_num_shared_experts=2,
            moe_layer_interval=2,
        ),
    ),
]
