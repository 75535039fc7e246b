"""Numbers for the distance between two tokens: exact when near, on a logarithmic scale when far."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def relative_buckets(distance: Tensor, buckets: int, max_distance: int) -> Tensor:
    """T5's buckets for both directions (arXiv:1910.10683): half for keys before the query, half for those after it.

    Args:
        distance: key position minus query position, whole numbers of any shape.
        buckets: how many there are.
        max_distance: from here on all distances share the last bucket.
    """
    half = buckets // 2
    exact = half // 2
    far = distance.abs()
    growth = torch.log(far.float() / exact) / math.log(max_distance / exact) * (half - exact)
    logarithmic = (exact + growth.to(torch.long)).clamp(max=half - 1)
    return (distance > 0).long() * half + torch.where(far < exact, far, logarithmic)


def distances(queries: int, keys: int, device: torch.device) -> Tensor:
    """Key position minus query position; (queries, keys)."""
    return torch.arange(keys, device=device)[None, :] - torch.arange(queries, device=device)[:, None]
