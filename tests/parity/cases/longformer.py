"""Longformer."""

import torch
from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

SEPARATOR = 2


def separated(ids: Tensor) -> dict[str, Tensor]:
    ids = ids.clone()
    ids[..., [3, 4, 10]] = SEPARATOR
    return {"input_ids": ids}


def seeing(ids: Tensor) -> dict[str, Tensor]:
    """Two tokens of the first text see everything, one of each other text; choices are told by their separators."""
    if ids.dim() == 3:
        return separated(ids)
    wide = torch.zeros_like(ids)
    wide[0, 5] = wide[:, 6] = 1
    return {"global_attention_mask": wide}


LONG = TINY | dict(attention_window=[4, 6, 4], max_position_embeddings=60)

CASES = [
    Case("longformer", LONG, inputs=seeing),
    Case("longformer", LONG | dict(attention_window=8), label="plain", tasks=("Model", "MaskedLM")),
    Case(
        "longformer",
        LONG,
        inputs=separated,
        label="separated",
        tasks=("SequenceClassification", "QuestionAnswering"),
        skip={"padding": "it would hide the separators that the case is about"},
    ),
]
