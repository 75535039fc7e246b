"""Decoders with experts that look at few blocks of keys."""

from tests.parity.cases.decoder import TINY
from tests.parity.cases.moe import FLIPS
from tests.parity.harness import Case

MINIMAX = TINY | dict(
    head_dim=12,
    num_experts_per_tok=2,
    num_local_experts=5,
    dense_intermediate_size=28,
    shared_intermediate_size=24,
    swiglu_limit=0.2,
    swiglu_alpha=1.3,
    mlp_layer_types=["dense", "sparse", "sparse", "sparse"],
    layer_types=["full_attention", "minimax_m3_sparse", "full_attention", "minimax_m3_sparse"],
    index_n_heads=2,
    index_head_dim=8,
    index_block_size=4,
    index_topk_blocks=2,
    rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.7),
)

CASES = [
    Case("minimax_m3_vl_text", MINIMAX, skip=FLIPS),
    Case("minimax_m3_vl_text", MINIMAX | dict(num_local_experts=2, index_topk_blocks=4), label="all"),
]
