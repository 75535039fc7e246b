"""MRA. The reference has it in CUDA; `tests/parity/conftest.py` gives it PyTorch in its place."""

from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

MRA = TINY | dict(max_position_embeddings=128, block_per_row=1, hidden_act="relu")
SKIP = {
    "padding": "the reference mixes up the masks of a batch; tests/parity/test_hidden_padding.py has it",
    "attentions": "it has no weights of attention to show",
    "half": "the reference mixes precisions",
}


def four_blocks(ids: Tensor) -> dict[str, Tensor]:
    """128 tokens."""
    ids = ids.repeat(*([1] * (ids.dim() - 1)), 128 // ids.shape[-1] + 1)[..., :128]
    return {"input_ids": ids.clone()}


CASES = [
    Case("mra", MRA, inputs=four_blocks, skip=SKIP),
    *(
        Case("mra", MRA | fields, inputs=four_blocks, label=label, tasks=("Model", "MaskedLM"), skip=SKIP)
        for label, fields in {
            "sparse": dict(approx_mode="sparse", block_per_row=2),
            "first": dict(initial_prior_first_n_blocks=1),
            "diagonal": dict(initial_prior_diagonal_n_blocks=3, block_per_row=3),
        }.items()
    ),
]
