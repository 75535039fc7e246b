"""Decoders whose MLP has no gate."""

from tests.parity.cases.decoder import BIASED, LLAMA3, TINY, WINDOW
from tests.parity.harness import Case

PARTIAL = dict(rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.75))
NO_GROUPS = {key: value for key, value in TINY.items() if key != "num_key_value_heads"}

CASES = [
    Case("phi", TINY | PARTIAL | dict(qk_layernorm=True)),
    Case("phi", TINY, label="plain"),
    Case("starcoder2", TINY | dict(tie_word_embeddings=False) | WINDOW),
    Case("starcoder2", TINY | dict(use_bias=False), label="unbiased"),
    Case("persimmon", NO_GROUPS | PARTIAL),
    Case("persimmon", NO_GROUPS | dict(qk_layernorm=False), label="plain"),
    Case("nemotron", BIASED | PARTIAL | dict(mlp_bias=True)),
    Case("nemotron", TINY | dict(head_dim=12), label="wide"),
    Case("jais2", TINY),
    Case("jais2", TINY | dict(attention_bias=False, mlp_bias=False, head_dim=12), label="unbiased"),
    Case("arcee", BIASED | dict(mlp_bias=True, head_dim=12)),
    Case(
        "apertus",
        BIASED | dict(intermediate_size=48, rope_parameters=LLAMA3 | dict(original_max_position_embeddings=16)),
    ),
    Case("apertus", TINY | dict(hidden_act="relu2"), label="relu2"),
    Case("nanochat", BIASED | dict(final_logit_softcapping=3.0)),
]
