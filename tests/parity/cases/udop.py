"""UDOP."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.parity.cases.t5 import TINY
from tests.parity.harness import Case

UDOP = TINY | dict(
    relative_attention_num_buckets=32,
    max_2d_position_embeddings=50,
    image_size=16,
    patch_size=4,
    feed_forward_proj="gated-gelu",
)
NARROW = [{"type": "1d"}, {"type": "vertical", "scaling_factor": 10, "max_distance": 40}]


def page(ids: Tensor, image: bool = True) -> dict[str, Tensor]:
    """Boxes, one of them nowhere and some on the same patch, and an image."""
    generator = torch.Generator().manual_seed(6)
    corner = torch.rand(*ids.shape, 2, generator=generator) * 0.6
    boxes = torch.cat([corner, corner + 0.1 + torch.rand(*ids.shape, 2, generator=generator) * 0.3], -1)
    boxes[:, 0] = 0.0
    boxes[0, 1:5] = boxes[0, 1]
    pixels = torch.randn(len(ids), 3, 16, 16, generator=generator)
    return {"bbox": boxes} | ({"pixel_values": pixels} if image else {})


CASES = [
    Case("udop", UDOP, inputs=page),
    Case("udop", UDOP | dict(relative_bias_args=NARROW), inputs=lambda ids: page(ids, image=False), label="text"),
]
