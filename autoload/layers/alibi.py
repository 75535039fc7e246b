"""Attention with linear biases (arXiv:2108.12409): a penalty that grows with the distance, in place of positions."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def slopes(heads: int, device: Any = None) -> Tensor:
    """The penalty per step of each head, powers of two down to 2 ** -8; (heads,) in fp32.

    A number of heads that is no power of two takes every other slope of the next power's, then those left out.
    """
    count = 2 ** math.ceil(math.log2(heads))
    every = 2.0 ** -(torch.arange(1, count + 1, device=device).float() * (8 / count))
    return every if count == heads else torch.cat([every[1::2], every[::2]])[:heads]


def key_positions(attention_mask: Tensor | None, keys: int, device: Any) -> Tensor:
    """Place of each key among those that are no padding; (batch or 1, keys)."""
    if attention_mask is None or attention_mask.dim() != 2:
        return torch.arange(keys, device=device)[None]
    real = attention_mask.long()
    places = (real.cumsum(-1) - 1) * real
    return F.pad(places, (0, keys - places.shape[-1])) if places.shape[-1] < keys else places


def alibi(slope: Tensor, positions: Tensor) -> Tensor:
    """What is added to the scores: (batch or 1, heads, 1, keys), from slopes (heads,) and positions.

    Every query gets the same row: the position of the query itself would add a constant, which softmax ignores.
    """
    return slope[None, :, None, None] * positions[:, None, None, :]
