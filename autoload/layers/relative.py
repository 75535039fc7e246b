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


def distance_waves(x: Tensor, before: int = 0) -> Tensor:
    """Sines and cosines of all distances in a sequence, from the furthest back to the furthest ahead.

    Args:
        x: (batch, seq, dim).
        before: how many vectors stand before these, in a cache.

    Returns:
        (2 (before + seq) - 1, dim).
    """
    seq, size = x.shape[1] + before, x.shape[2]
    away = torch.arange(seq - 1, -seq, -1, device=x.device).float()
    slower = torch.exp(torch.arange(0, size, 2, device=x.device) * (-math.log(10000.0) / size))
    angles = away[:, None] * slower
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1).to(x.dtype)


def by_key(scores: Tensor) -> Tensor:
    """Scores of distances as scores of keys (arXiv:1901.02860); the queries are the last of the keys.

    Args:
        scores: (batch, heads, queries, 2 keys - 1), by distance as in `distance_waves`.

    Returns:
        (batch, heads, queries, keys).
    """
    queries, keys = scores.shape[2], (scores.shape[3] + 1) // 2
    if keys == 1:
        return scores
    # A row begins one distance earlier than the one before, so that in memory all begin evenly spaced: no copy.
    row = 2 * keys - 2
    rows = scores.flatten(2)[..., queries - 1 : queries - 1 + queries * row].unflatten(2, (queries, row))
    return rows[..., :keys]
