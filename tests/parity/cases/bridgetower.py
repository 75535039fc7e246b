"""BridgeTower."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

TEXT = TINY | dict(num_hidden_layers=4, type_vocab_size=1, pad_token_id=1)
VISION = dict(
    hidden_size=128,  # two heads
    num_hidden_layers=5,
    num_channels=2,
    patch_size=4,
    image_size=12,
    layer_norm_eps=1e-3,
)
TOWERS = dict(
    pad_token_id=1,
    text_config=TEXT,
    vision_config=VISION,
    hidden_size=32,
    num_attention_heads=4,
    num_hidden_layers=3,
    layer_norm_eps=1e-2,
)
APART = dict(
    share_cross_modal_transformer_layers=False,
    link_tower_type="scaled_add",
    vision_config=VISION | dict(share_layernorm=False, remove_last_layer=True),
)


def picture(ids: Tensor) -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(len(ids), 2, 12, 12, generator=torch.Generator().manual_seed(9))}


def patches(ids: Tensor) -> dict[str, Tensor]:
    return {"image_embeds": torch.randn(len(ids), 10, 128, generator=torch.Generator().manual_seed(9))}


CASES = [
    Case("bridgetower", TOWERS, inputs=picture),
    Case("bridgetower", TOWERS | APART, inputs=picture, label="apart"),
    Case("bridgetower", TOWERS | dict(link_tower_type="interpolate"), inputs=patches, label="patches"),
]
