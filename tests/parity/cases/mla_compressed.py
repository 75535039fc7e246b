"""Decoders that see far-off tokens as one entry for each window."""

from tests.parity.cases.decoder import TINY
from tests.parity.cases.mla_indexed import FEW
from tests.parity.harness import Case

WINDOW, SHORT, LONG = "sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"
YARN = dict(rope_type="yarn", factor=4.0, beta_fast=32, beta_slow=1, original_max_position_embeddings=16)
COMPRESSED = {name: value for name, value in TINY.items() if name not in ("intermediate_size", "num_key_value_heads")}
COMPRESSED |= dict(
    num_hidden_layers=4,
    head_dim=16,
    q_lora_rank=12,
    moe_intermediate_size=24,
    num_experts_per_tok=2,
    n_routed_experts=6,
    routed_scaling_factor=1.7,
    layer_types=[WINDOW, SHORT, LONG, SHORT],
    mlp_layer_types=["hash_moe", "moe", "hash_moe", "moe"],
    compress_rates={SHORT: 2, LONG: 4},
    partial_rotary_factor=0.25,
    rope_theta=500.0,
    compress_rope_theta=900.0,
    rope_parameters=YARN,
    sliding_window=5,
    o_groups=2,
    o_lora_rank=6,
    index_n_heads=16,
    index_head_dim=8,
    index_topk=2,
    hc_mult=3,
    hc_eps=0.05,
    hc_sinkhorn_iters=3,
    swiglu_limit=0.2,
)
# With padding the reference hides windows by position from several queries, but from a single one none.
TURNS = {"position_ids": "windows are counted from the first token of a row, padding or not"}
TABLES = {"tid2eid": 6}

CASES = [
    Case("deepseek_v4", COMPRESSED, skip=FEW | TURNS, tables=TABLES),
    Case(
        "deepseek_v4",
        COMPRESSED | dict(index_topk=64, scoring_func="sigmoid", rope_parameters=None, mlp_layer_types=["moe"] * 4),
        skip=TURNS,
        tables=TABLES,
        label="all",
    ),
]
