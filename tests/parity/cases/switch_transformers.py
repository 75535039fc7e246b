"""Switch Transformers."""

from tests.parity.cases.t5 import TINY
from tests.parity.harness import Case

SWITCH = TINY | dict(
    num_layers=4,
    num_decoder_layers=4,
    num_sparse_encoder_layers=2,
    num_sparse_decoder_layers=1,
    num_experts=3,
    router_bias=True,
    dense_act_fn="gelu",
)
TIES = {"half": "rounding sends tokens to other experts, in the reference too"}

CASES = [
    Case("switch_transformers", SWITCH),
    # Less room than there are tokens that want the same expert; what is left out depends on what is read at once.
    Case("switch_transformers", SWITCH | dict(expert_capacity=4), tasks=("Model",), label="full", skip=TIES),
    Case(
        "switch_transformers",
        SWITCH | dict(tie_word_embeddings=False, num_sparse_decoder_layers=4),
        skip=TIES,
        label="untied",
    ),
]
