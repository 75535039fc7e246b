"""Spans of time and of frequency that training hides from the model (SpecAugment, arXiv:1904.08779)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def masked(features: Tensor, mask: Tensor | None, config: Any) -> Tensor:
    """Features with zeros in random spans.

    Args:
        features: (batch, filters, frames).
        mask: (batch, frames), 0 at padding, where no span begins.
        config: says how many spans, and how long.
    """
    batch, filters, frames = features.shape
    if config.mask_time_prob > 0:
        lengths = [frames] * batch if mask is None else mask.sum(-1).tolist()
        hidden = spans(lengths, frames, config.mask_time_prob, config.mask_time_length, config.mask_time_min_masks)
        features = features.masked_fill(hidden[:, None].to(features.device), 0)
    if config.mask_feature_prob > 0:
        length, least = config.mask_feature_length, config.mask_feature_min_masks
        hidden = spans([filters] * batch, filters, config.mask_feature_prob, length, least)
        features = features.masked_fill(hidden[:, :, None].to(features.device), 0)
    return features


def spans(lengths: list[int], width: int, share: float, length: int, least: int) -> Tensor:
    """Places that lie in a random span, (batch, width).

    Args:
        lengths: of what is real in each row.
        width: of a row.
        share: of the places that spans would cover if none overlapped.
        length: of a span.
        least: number of spans in a row.
    """
    out = torch.zeros(len(lengths), width, dtype=torch.bool)
    extra = float(torch.rand(1))  # rounds the number up in that share of the calls
    for row, real in zip(out, lengths, strict=True):
        starts = real - (length - 1)
        count = max(int(share * real / length + extra), least)
        count = max(0, min(count, width // length, starts))
        for start in torch.randperm(max(starts, 1))[:count].tolist():
            row[start : start + length] = True
    return out
