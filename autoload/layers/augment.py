"""SpecAugment (arXiv:1904.08779): spans of frames, or of channels, that training hides."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoload.errors import ConfigError


def hidden_spans(
    shape: tuple[int, int], share: float, length: int, lengths: list[int] | None = None, least: int = 0
) -> np.ndarray:
    """Spans that start at random; numpy's own stream of random numbers decides, so that its seed repeats a run.

    Args:
        shape: rows, and places in each.
        share: of the places, before overlaps.
        length: of a span.
        lengths: of each row, where rows are padded.
        least: number of spans.

    Returns:
        True at hidden places; (rows, places).
    """
    rows, places = shape
    if not 1 <= length <= places:
        raise ConfigError("mask_time_length", length, f"from 1 to the {places} places that there are")
    rounding = np.random.rand(1).item()

    def count(room: int) -> int:
        wanted = max(int(share * room / length + rounding), least)
        return max(min(wanted, places // length, room - length + 1), 0)

    hidden, most = np.zeros(shape, dtype=bool), count(places)
    if most == 0:
        return hidden
    for row, room in enumerate(lengths or [places] * rows):
        starts = np.random.choice(max(room - length + 1, 0), count(room), replace=False)
        if not len(starts):  # a short row among long ones: its last place, which is padding, stands for its spans
            starts = np.array([places - 1])
        hidden[row, np.minimum(starts[:, None] + np.arange(length), places - 1)] = True
    return hidden


def augmented(x: Tensor, config: Any, replacement: Tensor | None, chosen: Any, frames: Tensor | None) -> Tensor:
    """Frames of which some are hidden, and channels too, as a configuration asks for.

    Args:
        x: (batch, frames, channels).
        config: with the shares and lengths.
        replacement: (channels,), what stands for a hidden frame.
        chosen: (batch, frames), True where a frame is hidden; None draws them.
        frames: (batch, frames), True where a frame is real.
    """
    batch, count, channels = x.shape
    if chosen is None and config.mask_time_prob > 0:
        rooms = None if frames is None else frames.sum(1).tolist()
        chosen = hidden_spans(
            (batch, count), config.mask_time_prob, config.mask_time_length, rooms, config.mask_time_min_masks
        )
    if chosen is not None and replacement is not None:
        chosen = torch.as_tensor(chosen, device=x.device).bool()
        x = torch.where(chosen[..., None], replacement.to(x.dtype), x)
    return x


def without_channels(x: Tensor, config: Any) -> Tensor:
    """Frames of which some channels are zero throughout."""
    least = getattr(config, "mask_feature_min_masks", 0)
    shape = (x.shape[0], x.shape[2])
    hidden = hidden_spans(shape, config.mask_feature_prob, config.mask_feature_length, least=least)
    return x.masked_fill(torch.as_tensor(hidden, device=x.device)[:, None], 0.0)


def masked_spectrogram(x: Tensor, config: Any, mask: Tensor | None) -> Tensor:
    """Spectrograms with zeros in spans of frames and of filters, as a configuration asks for.

    Args:
        x: (batch, filters, frames).
        config: with the shares and lengths.
        mask: (batch, frames), 0 at padding.
    """
    batch, filters, frames = x.shape
    if config.mask_time_prob > 0:
        rooms, least = None if mask is None else mask.sum(1).tolist(), config.mask_time_min_masks
        hidden = hidden_spans((batch, frames), config.mask_time_prob, config.mask_time_length, rooms, least)
        x = x.masked_fill(torch.as_tensor(hidden, device=x.device)[:, None], 0.0)
    if config.mask_feature_prob > 0:
        least = config.mask_feature_min_masks
        hidden = hidden_spans((batch, filters), config.mask_feature_prob, config.mask_feature_length, least=least)
        x = x.masked_fill(torch.as_tensor(hidden, device=x.device)[..., None], 0.0)
    return x
