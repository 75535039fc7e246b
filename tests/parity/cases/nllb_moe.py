"""NLLB-MoE."""

from tests.parity.cases.bart import M2M
from tests.parity.harness import Case

NLLB = M2M | dict(
    num_experts=5,
    encoder_sparse_step=1,
    decoder_sparse_step=2,
    router_bias=True,
    router_aux_loss_coef=0.3,
    moe_token_dropout=0.3,
    expert_capacity=3,
)
FULL = dict(moe_eval_capacity_token_fraction=0.3, batch_prioritized_routing=True, output_router_logits=True)
EARLY = dict(moe_eval_capacity_token_fraction=0.35, normalize_router_prob_before_dropping=True, encoder_sparse_step=2)

STATIC = {"generate static": "the reference takes room that is not written yet for padding, which no expert reads"}

CASES = [
    Case("nllb-moe", NLLB, skip=STATIC),
    Case("nllb-moe", NLLB | FULL, tasks=("Model",), label="full"),
    Case("nllb-moe", NLLB | EARLY, tasks=("Model",), label="early"),
    Case(
        "nllb-moe",
        NLLB | dict(moe_eval_capacity_token_fraction=-1.0, router_ignore_padding_tokens=True, decoder_sparse_step=0),
        tasks=("Model",),
        label="trained room",
    ),
]
