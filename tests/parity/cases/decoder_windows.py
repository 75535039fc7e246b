"""Decoders with several kinds of layers."""

from tests.parity.cases.decoder import BIASED, LLAMA3, TINY, WINDOW
from tests.parity.harness import Case

YARN = dict(rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=16)
BOTH = dict(
    sliding_attention=dict(rope_type="default", rope_theta=500.0),
    full_attention=dict(rope_type="linear", rope_theta=1e4, factor=2.0),
)
MIXED = dict(layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"])
GEMMA = BIASED | dict(head_dim=12, query_pre_attn_scalar=7) | WINDOW
OLMO3 = (
    BIASED
    | dict(rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=500.0), full_attention=YARN))
    | WINDOW
)
COHERE2 = BIASED | dict(logit_scale=0.3) | WINDOW
ONE = dict(num_hidden_layers=1)  # shows how rotary tables are rounded, which further layers drown

CASES = [
    Case("gemma3_text", GEMMA | MIXED | dict(rope_parameters=BOTH, final_logit_softcapping=3.0)),
    Case(
        "gemma3_text",
        GEMMA | MIXED | dict(rope_parameters=BOTH, use_bidirectional_attention=True, sliding_window=6),
        label="bidirectional",
        skip={"cache": "every token sees those that follow it"},
    ),
    Case("vaultgemma", GEMMA | dict(attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
    Case(
        "smollm3",
        BIASED | dict(mlp_bias=True, no_rope_layer_interval=2, use_sliding_window=True, rope_theta=1e3) | WINDOW,
    ),
    Case("ministral", TINY | dict(head_dim=12) | MIXED | WINDOW),
    Case(
        "ministral3",
        TINY
        | dict(
            head_dim=12,
            rope_parameters=YARN
            | dict(mscale=1.0, mscale_all_dim=0.5, llama_4_scaling_beta=0.3, original_max_position_embeddings=8),
        )
        | WINDOW,
    ),
    Case("olmo3", OLMO3),
    Case("olmo3", OLMO3 | ONE | dict(layer_types=["full_attention"]), label="one", tasks=("CausalLM",)),
    Case("cohere2", COHERE2 | dict(sliding_window_pattern=2)),
    Case("cohere2", COHERE2 | ONE | dict(layer_types=["sliding_attention"]), label="one", tasks=("CausalLM",)),
    Case("exaone4", TINY | dict(sliding_window_pattern=2) | WINDOW),
    Case("exaone4", TINY | dict(sliding_window=None, layer_types=["full_attention"] * 4), label="full"),
    Case(
        "cwm",
        TINY
        | dict(head_dim=12, mlp_bias=False, rope_parameters=LLAMA3 | dict(original_max_position_embeddings=16))
        | MIXED
        | WINDOW,
    ),
    Case(
        "granite_swa",
        BIASED
        | dict(
            mlp_bias=True,
            embedding_multiplier=3.0,
            logits_scaling=2.0,
            residual_multiplier=0.7,
            attention_multiplier=0.3,
            layer_rope_theta=[1e4, 500.0, 0, 500.0],
        )
        | WINDOW,
    ),
]
