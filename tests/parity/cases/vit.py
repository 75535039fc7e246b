"""Vision transformers."""

import torch
from torch import Tensor

from tests.parity.harness import Case

TINY = dict(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=37,
    hidden_act="relu",
    layer_norm_eps=1e-3,
    image_size=12,
    patch_size=4,
    num_channels=2,
)
VIT = TINY | dict(qkv_bias=False, encoder_stride=4, pooler_output_size=24, pooler_act="silu")


def hidden(ids: Tensor) -> dict[str, Tensor]:
    """Some of nine patches."""
    return {"bool_masked_pos": ids[:, :9] % 3 == 0}


def wide(ids: Tensor) -> dict[str, Tensor | bool]:
    """Images of another shape than the model's."""
    pixels = torch.randn(len(ids), 2, 8, 21, generator=torch.Generator().manual_seed(7))
    return {"pixel_values": pixels, "interpolate_pos_encoding": True}


IMAGES = ("Model", "ImageClassification")
CASES = [
    Case("vit", VIT, image=(2, 12, 12), tasks=IMAGES),
    Case("vit", VIT | dict(qkv_bias=True), image=(2, 12, 12), inputs=wide, label="wide", tasks=IMAGES),
    Case("vit", VIT, image=(2, 12, 12), inputs=hidden, label="hidden", tasks=("MaskedImageModeling",)),
]
