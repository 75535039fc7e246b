"""Funnel."""

import torch
from torch import Tensor

from tests.parity.harness import Case

FUNNEL = dict(
    vocab_size=99,
    block_sizes=[2, 1, 2],
    num_decoder_layers=1,
    d_model=32,
    n_head=4,
    d_head=6,
    d_inner=37,
    layer_norm_eps=1e-3,
)


def texts(ids: Tensor) -> dict[str, Tensor]:
    """Two texts; the first token belongs to both."""
    types = (torch.arange(ids.shape[-1]) > 5).long().repeat(*ids.shape[:-1], 1)
    types[..., 0] = 2
    return {"token_type_ids": types}


CASES = [
    Case("funnel", FUNNEL, inputs=texts),
    *(
        Case(
            "funnel", FUNNEL | fields, inputs=texts, label=label, tasks=("Model", "MaskedLM", "SequenceClassification")
        )
        for label, fields in {
            "max": dict(pooling_type="max", truncate_seq=False, block_repeats=[1, 2, 1]),
            "whole": dict(separate_cls=False, hidden_act="relu"),
            "both": dict(pool_q_only=False),
            "factorized": dict(attention_type="factorized"),
            "factorized-both": dict(attention_type="factorized", pool_q_only=False, separate_cls=False),
        }.items()
    ),
]
