"""Doge."""

import torch
from torch import Tensor

from tests.parity.cases.decoder import BIASED, WINDOW
from tests.parity.cases.moe import FLIPS
from tests.parity.harness import Case

DOGE = BIASED | dict(mlp_bias=True, keep_window_size=6)
MIXED = {"cache": "the scores of all tokens are read as two halves, so a step alone has other experts"}


def distinct(ids: Tensor) -> dict[str, Tensor]:
    """No token twice in a row: equal tokens have equal values in the first layer, and which is kept would be chance."""
    return {"input_ids": (ids[:, :1] + 7 * torch.arange(ids.shape[1])) % 96 + 3}


CASES = [
    Case(
        "doge",
        DOGE,
        inputs=distinct,
        skip={"half": "rounding moves the numbers by which keys are chosen; the case that sees all of them shows it"},
    ),
    Case("doge", DOGE | dict(keep_window_size=64) | WINDOW, label="all"),
    Case("doge", DOGE | dict(is_moe=True, num_experts=9, num_experts_per_tok=2), label="experts", skip=FLIPS | MIXED),
]
