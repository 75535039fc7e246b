"""XLNet."""

import torch
from torch import Tensor

from tests.parity.harness import Case

TINY = dict(vocab_size=99, d_model=32, n_layer=3, n_head=4, d_inner=37, layer_norm_eps=1e-3)
MEMORY = "it remembers states instead of keys and values"


def segments(ids: Tensor) -> dict[str, Tensor]:
    return {"token_type_ids": ids % 2}


def with_memory(ids: Tensor) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return segments(ids) | {"mems": [torch.randn(4, len(ids), 32, generator=generator) for _ in range(3)]}


def targets(ids: Tensor) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(8)
    batch, seq = ids.shape
    order = torch.rand(batch, seq, generator=generator).argsort(-1)
    places = torch.stack([torch.eye(seq)[order[:, k]] for k in (-1, -2)], 1)  # those that are read last
    return {"perm_mask": (order[:, :, None] <= order[:, None, :]).float(), "target_mapping": places}


CASES = [
    Case("xlnet", TINY | dict(summary_type="mean", clamp_len=9), inputs=segments, skip={"cache": MEMORY}),
    Case(
        "xlnet",
        TINY | dict(attn_type="uni", mem_len=5, reuse_len=7),
        inputs=with_memory,
        label="memory",
        tasks=("Model", "TokenClassification"),
        skip={
            "padding": "the reference has no padding beside attn_type uni",
            "half": "the memory that the case brings is in single precision",
        },
    ),
    Case(
        "xlnet",
        TINY | dict(same_length=True),
        inputs=targets,
        label="targets",
        tasks=("Model",),
        skip={"half": "the reference has the stream of queries in single precision only"},
    ),
]
