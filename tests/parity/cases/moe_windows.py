"""Decoders with experts and several kinds of layers."""

from tests.parity.cases.decoder import TINY, WINDOW
from tests.parity.cases.moe import GRANITE
from tests.parity.harness import Case

ROUTED = TINY | dict(num_experts_per_tok=2, moe_intermediate_size=24, head_dim=12)
BIASED = ROUTED | dict(attention_bias=True)
SHARED = dict(shared_expert_intermediate_size=28)
SPARSE = ["dense", "sparse", "dense", "sparse"]
MIXED = ["sliding_attention", "full_attention"] * 2


CASES = [
    Case(
        "mellum",
        BIASED
        | dict(
            num_experts=5,
            layer_types=MIXED,
            mlp_layer_types=SPARSE,
            rope_parameters=dict(
                full_attention=dict(rope_type="default", rope_theta=300.0),
                sliding_attention=dict(rope_type="linear", rope_theta=100.0, factor=2.0),
            ),
        )
        | WINDOW,
    ),
    Case(
        "flint",
        BIASED | SHARED | dict(num_experts=5, layer_types=MIXED, mlp_only_layers=[1], decoder_sparse_step=2) | WINDOW,
    ),
    Case("kolibri1", ROUTED | SHARED | dict(num_experts=5, layer_types=MIXED, norm_topk_prob=True) | WINDOW),
    Case(
        "cohere2_moe",
        TINY
        | dict(
            head_dim=12,
            attention_bias=True,
            num_experts=5,
            num_shared_experts=2,
            first_k_dense_replace=1,
            prefix_dense_intermediate_size=28,
            sliding_window_pattern=2,
            logit_scale=0.3,
        )
        | WINDOW,
    ),
    Case(
        "cohere2_moe",
        TINY
        | dict(
            head_dim=12,
            num_experts=5,
            num_shared_experts=1,
            shared_expert_combination_strategy="sum",
            expert_selection_fn="sigmoid",
            rms_norm_eps=1e-3,
            sliding_window_pattern=2,
        )
        | WINDOW,
        label="sigmoid",
    ),
    Case("granitemoe_swa", GRANITE | dict(shared_intermediate_size=28, layer_rope_theta=[1e4, 0, 100.0, 1e4]) | WINDOW),
    Case(
        "flint",
        BIASED | SHARED | WINDOW | dict(num_experts=2, num_hidden_layers=1, layer_types=MIXED[:1], mlp_only_layers=[]),
        label="one",  # layer, all experts: little else is rounded
    ),
]
