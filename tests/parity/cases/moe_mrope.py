"""Text parts of models that see and have experts."""

from tests.parity.cases.decoder_mrope import sections
from tests.parity.cases.moe import BIASED
from tests.parity.harness import Case

CASES = [
    Case(
        "qwen3_vl_moe_text",
        BIASED
        | sections(3, 2, 1)
        | dict(head_dim=12, moe_intermediate_size=24, num_experts=5, decoder_sparse_step=2, mlp_only_layers=[3]),
    ),
    Case(
        "glm4v_moe_text",
        BIASED
        | sections(1, 1, 1, partial_rotary_factor=0.75)
        | dict(moe_intermediate_size=24, n_routed_experts=6, n_shared_experts=2)
        | dict(routed_scaling_factor=1.7, n_group=3, topk_group=2),
    ),
]
