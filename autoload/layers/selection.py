"""Attention that looks at few keys: an index with narrow keys of its own says which."""

from __future__ import annotations

import torch
from torch import Tensor

from autoload.layers.attention import Context, Mask, causal_triangle


def index_keys(keys: Tensor, layer_idx: int, layers: int, context: Context) -> Tensor:
    """All keys of a layer's index so far. In the cache they have a layer of their own, behind those of the attention.

    Args:
        keys: (batch, 1, seq, dim), those of this step.
        layer_idx: number of the layer.
        layers: number of layers that the model has.
        context: of the forward pass.

    Returns:
        (batch, 1, keys, dim).
    """
    if context.cache is None:
        return keys
    return context.cache.update(keys, keys[..., :0], layers + layer_idx)[0]


def explicit(mask: Mask, queries: int, keys: int, device: torch.device) -> Tensor:
    """The mask as a tensor, (batch or 1, heads or 1, queries, keys)."""
    if mask.causal:
        return causal_triangle(queries, keys, device)
    return torch.ones(1, 1, queries, keys, dtype=torch.bool, device=device) if mask.allowed is None else mask.allowed


def narrowed(allowed: Tensor, chosen: Tensor) -> Tensor:
    """What a mask allows among the chosen keys.

    Args:
        allowed: (batch or 1, heads or 1, queries, keys), True where a query may look, or a float to add.
        chosen: (batch, heads or 1, queries, keys), True where the index wants to look.
    """
    if allowed.dtype == torch.bool:
        return allowed & chosen
    return allowed.masked_fill(~chosen, torch.finfo(allowed.dtype).min)


def additive(allowed: Tensor, dtype: torch.dtype) -> Mask:
    """The mask as numbers to add: a query that may look at nothing then looks at everything."""
    if allowed.dtype != torch.bool:
        return Mask(allowed)
    return Mask(torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min))
