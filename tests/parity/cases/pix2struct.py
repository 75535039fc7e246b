"""Pix2Struct."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.parity.harness import Case

TEXT = dict(
    vocab_size=99,
    hidden_size=28,
    d_kv=7,
    d_ff=37,
    num_layers=2,
    num_heads=4,
    relative_attention_num_buckets=8,
    relative_attention_max_distance=12,
    layer_norm_epsilon=1e-3,
)
VISION = dict(
    hidden_size=28,
    patch_embed_hidden_size=15,
    d_ff=41,
    d_kv=6,
    num_hidden_layers=3,
    num_attention_heads=4,
    dense_act_fn="relu",
    layer_norm_eps=1e-2,
    seq_len=20,
)
PIX2STRUCT = dict(text_config=TEXT, vision_config=VISION, initializer_factor=1.0, initializer_range=0.02)


def patches(ids: Tensor) -> dict[str, Tensor]:
    """Rows, columns, and values of as many patches as there are tokens elsewhere."""
    generator = torch.Generator().manual_seed(6)
    places = torch.randint(1, 20, (*ids.shape, 2), generator=generator)
    return {"flattened_patches": torch.cat([places, torch.randn(*ids.shape, 15, generator=generator)], -1)}


CASES = [
    Case("pix2struct", PIX2STRUCT, inputs=patches),
    Case("pix2struct", PIX2STRUCT | dict(tie_word_embeddings=True), inputs=patches, label="tied"),
]
