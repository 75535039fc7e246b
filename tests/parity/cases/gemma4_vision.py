"""Gemma 4's image tower."""

import torch
from torch import Tensor

from tests.parity.harness import Case

TOWER = dict(
    hidden_size=32,
    intermediate_size=40,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=12,
    hidden_activation="silu",
    rms_norm_eps=1e-3,
    rope_parameters=dict(rope_type="axial", rope_theta=20.0),
    pooling_kernel_size=2,
    patch_size=2,
    position_embedding_size=9,
    use_clipped_linears=True,
    standardize=True,
)


def grids(*shapes: tuple[int, int], room: int = 16) -> Tensor:
    """Column and row of each patch of images of so many columns and rows; (images, room, 2)."""
    places = torch.full((len(shapes), room, 2), -1)
    for own, (columns, rows) in zip(places, shapes, strict=True):
        own[: columns * rows] = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).flip(1)
    return places


CASES = [
    Case(
        "gemma4_vision",
        TOWER,
        image=(16, 12),
        inputs=lambda ids: {"pixel_position_ids": grids((4, 4), (6, 2), (2, 4))},
    ),
    Case(
        "gemma4_vision",
        TOWER | dict(use_clipped_linears=False, standardize=False, pooling_kernel_size=3),
        label="plain",
        image=(18, 12),
        inputs=lambda ids: {"pixel_position_ids": grids((3, 6), (6, 3), (3, 3), room=18)},
    ),
]
