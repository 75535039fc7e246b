"""Decoders whose experts work beside the next attention."""

from autoload.configs.decoder import without
from tests.parity.cases.mla import LATENT
from tests.parity.harness import Case

LONGCAT = without(LATENT, "num_hidden_layers", "intermediate_size") | dict(
    num_layers=2,
    head_dim=4,
    ffn_hidden_size=40,
    moe_topk=3,
    n_routed_experts=4,
    zero_expert_num=3,
    expert_ffn_hidden_size=24,
    routed_scaling_factor=1.7,
)

CASES = [Case("longcat_flash", LONGCAT)]
