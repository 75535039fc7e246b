"""Perceiver."""

import torch
from torch import Tensor

from tests.parity.harness import Case

PERCEIVER = dict(
    num_latents=5,
    d_latents=24,
    d_model=16,
    num_blocks=2,
    num_self_attends_per_block=2,
    num_self_attention_heads=4,
    num_cross_attention_heads=2,
    cross_attention_shape_for_attention="kv",
    self_attention_widening_factor=2,
    cross_attention_widening_factor=3,
    vocab_size=99,
    max_position_embeddings=12,
    image_size=12,
    hidden_act="relu",
)


def vectors(ids: Tensor) -> dict[str, Tensor]:
    return {"inputs": torch.randn(*ids.shape, 16, generator=torch.Generator().manual_seed(9))}


def images(ids: Tensor) -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(len(ids), 3, 12, 12, generator=torch.Generator().manual_seed(9))}


CASES = [
    Case("perceiver", PERCEIVER, inputs=vectors, tasks=("Model",)),
    Case(
        "perceiver",
        PERCEIVER | dict(cross_attention_shape_for_attention="q"),
        inputs=vectors,
        label="q",
        tasks=("Model",),
    ),
    Case(
        "perceiver",
        PERCEIVER | dict(qk_channels=8, v_channels=24, use_query_residual=False),
        inputs=vectors,
        label="sizes",
        tasks=("Model",),
    ),
    Case("perceiver", PERCEIVER, label="text", tasks=("MaskedLM", "SequenceClassification")),
    Case(
        "perceiver",
        PERCEIVER | dict(num_cross_attention_heads=1),
        inputs=images,
        label="image",
        tasks=("ImageClassification",),
    ),
]
