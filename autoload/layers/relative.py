"""Numbers for the distance between two tokens: exact when near, on a logarithmic scale when far."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def relative_buckets(distance: Tensor, buckets: int, max_distance: int, both: bool = True) -> Tensor:
    """T5's buckets (arXiv:1910.10683): for both directions, half for keys before the query, half for those after it.

    Args:
        distance: key position minus query position, whole numbers of any shape.
        buckets: how many there are.
        max_distance: from here on all distances share the last bucket.
        both: False for keys before the query alone; those after it share the bucket of distance zero.
    """
    half = buckets // 2 if both else buckets
    exact = half // 2
    far = distance.abs() if both else (-distance).clamp(min=0)
    growth = torch.log(far.float() / exact) / math.log(max_distance / exact) * (half - exact)
    logarithmic = (exact + growth.to(torch.long)).clamp(max=half - 1)
    near_or_far = torch.where(far < exact, far, logarithmic)
    return near_or_far + (distance > 0) * half if both else near_or_far


def distances(queries: int, keys: int, device: torch.device) -> Tensor:
    """Key position minus query position; (queries, keys)."""
    return torch.arange(keys, device=device)[None, :] - torch.arange(queries, device=device)[:, None]
