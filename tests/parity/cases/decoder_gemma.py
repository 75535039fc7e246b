"""Gemmas with an embedding for each layer."""

from tests.parity.cases.decoder import BIASED, WINDOW
from tests.parity.harness import Case

KINDS = ["sliding_attention", "full_attention"]
SMALL = BIASED | dict(head_dim=12, final_logit_softcapping=3.0, num_hidden_layers=6, layer_types=KINDS * 3) | WINDOW
INPUTS = dict(vocab_size_per_layer_input=99, hidden_size_per_layer_input=8)
ROPE = dict(
    rope_parameters=dict(
        sliding_attention=dict(rope_type="default", rope_theta=500.0),
        full_attention=dict(rope_type="proportional", rope_theta=1e4, partial_rotary_factor=0.5),
    )
)
GEMMA4 = SMALL | ROPE | dict(global_head_dim=16, num_kv_shared_layers=2)

CASES = [
    Case("gemma4_text", GEMMA4 | INPUTS | dict(use_double_wide_mlp=True)),
    Case(
        "gemma4_text",
        GEMMA4
        | dict(
            hidden_size_per_layer_input=0,
            num_kv_shared_layers=0,
            attention_k_eq_v=True,
            num_global_key_value_heads=1,
            enable_moe_block=True,
            num_experts=4,
            top_k_experts=2,
            moe_intermediate_size=16,
        ),
        label="experts",
    ),
    Case(
        "gemma4_text",
        GEMMA4 | INPUTS | dict(use_bidirectional_attention="all", sliding_window=6, num_kv_shared_layers=0),
        label="bidirectional",
        skip={"cache": "every token sees those that follow it"},
    ),
    Case("gemma4_unified_text", GEMMA4 | dict(attention_k_eq_v=True, num_global_key_value_heads=1)),
]
