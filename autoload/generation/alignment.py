"""When each token of a transcription was said, from where cross-attention looks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad


def median_filter(x: Tensor, width: int) -> Tensor:
    """Medians of `width` neighbours along the last axis, whose ends are mirrored."""
    side = width // 2
    if x.shape[-1] <= side:
        return x
    return pad(x, (side, side, 0, 0), mode="reflect").unfold(-1, width, 1).sort(-1).values[..., side]


def dynamic_time_warping(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest way from the first to the last corner of `costs`, (tokens, frames), by rows and columns.

    One diagonal is computed at a time, for its places do not depend on each other.
    """
    rows, columns = costs.shape
    total = np.full((rows + 1, columns + 1), np.inf, np.float32)
    step = np.full((rows + 1, columns + 1), -1, np.int8)  # 0: both, 1: a token on, 2: a frame on
    total[0, 0] = 0
    for diagonal in range(2, rows + columns + 1):
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        both, down, right = total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]
        kind = np.where((both < down) & (both < right), 0, np.where((down < both) & (down < right), 1, 2))
        total[i, j] = costs[i - 1, j - 1] + np.choose(kind, (both, down, right))
        step[i, j] = kind
    step[0, :], step[:, 0] = 2, 1
    i, j, path = rows, columns, []
    while i > 0 or j > 0:
        path.append((i - 1, j - 1))
        kind = step[i, j]
        i, j = i - (kind != 2), j - (kind != 1)
    places = np.array(path[::-1])
    return places[:, 0], places[:, 1]


def token_times(
    outputs: Any, heads: Any, width: int, given: int, frames: Tensor | None, precision: float = 0.02
) -> Tensor:
    """When each token was said, in seconds: (batch, tokens); the tokens that were given have 0.

    Args:
        outputs: of `generate`, with cross-attention weights.
        heads: pairs (layer, head) of the heads that look at what is said.
        width: of the median filter.
        given: number of tokens that generation began with.
        frames: (batch,) frames of the spectrogram that are real; None: all.
        precision: seconds of one place of the encoder.
    """
    layers = [
        torch.cat([step[i] for step in outputs.cross_attentions], 2) for i in range(len(outputs.cross_attentions[0]))
    ]
    weights = torch.stack([layers[layer][:, head] for layer, head in heads], 1)  # (rows, heads, tokens, places)
    if (beams := outputs.get("beam_indices")) is not None:
        weights = _followed(weights, beams, given)
    times = torch.zeros(len(outputs.sequences), weights.shape[2] + 1)
    if weights.shape[2] <= given:
        return times
    for index, look in enumerate(weights[:, :, given:]):
        if frames is not None:
            look = look[..., : int(frames[index]) // 2]
        look = (look - look.mean(-2, keepdim=True)) / look.std(-2, keepdim=True, unbiased=False)
        look = median_filter(look, width).mean(0)  # (tokens, places)
        tokens, places = dynamic_time_warping(-look.cpu().double().numpy())
        starts = places[np.diff(tokens, prepend=-1) > 0] * precision
        times[index, given:] = torch.from_numpy(np.append(starts, starts[-1]))
    return times


def _followed(weights: Tensor, beams: Tensor, given: int) -> Tensor:
    """The weights of each result's tokens, from the beams that these came from."""
    count = int((beams != -1).sum(-1).max())
    beams = beams[:, :count]
    if given > 1:
        beams = torch.cat([beams[:, :1].expand(-1, given - 1), beams], 1)
    beams = beams.clamp(min=0)
    return torch.stack([weights[beams[:, i], :, i] for i in range(beams.shape[1])], 2)
