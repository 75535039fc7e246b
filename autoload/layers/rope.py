"""Rotary position embeddings (arXiv:2104.09864) in all the kinds that configurations name.

`Rotary` makes the tables once per forward pass; attention layers only apply them with `rotate`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def inverse_frequencies(
    rope: Mapping[str, Any], head_dim: int, max_positions: int, seq_len: int | Tensor | None = None
) -> tuple[Tensor, float]:
    """Angles per position step, and the factor on cos and sin.

    Args:
        rope: `rope_parameters` of a configuration (one layer type's, where there are several).
        head_dim: size of one attention head.
        max_positions: `max_position_embeddings`, the length the model was configured for.
        seq_len: length of the sequence at hand; only "dynamic" and "longrope" look at it.

    Returns:
        Frequencies (half of the rotated dimensions,) in fp32 on the CPU, and a number.
    """
    kind, base = rope["rope_type"], rope["rope_theta"]
    dim = int(head_dim * rope.get("partial_rotary_factor", 1.0))
    if base == 0:
        return torch.zeros(dim // 2, device="cpu"), 1.0
    if kind == "proportional":  # some pairs turn, the rest stands still; the spectrum is that of the whole head
        turning = int(rope.get("partial_rotary_factor", 1.0) * head_dim // 2)
        return _pad(_powers(base, 2 * turning, head_dim), head_dim // 2) / rope.get("factor", 1.0), 1.0
    if kind == "dynamic":  # the base grows with the sequence (NTK-aware scaling)
        length = max_positions if seq_len is None else _at_least(seq_len, max_positions)
        growth = rope["factor"] * length / max_positions - (rope["factor"] - 1)
        return _powers(base * growth ** (dim / (dim - 2)), dim, dim), 1.0
    freqs = _powers(base, dim, dim)
    if kind == "linear":
        return freqs / rope["factor"], 1.0
    if kind == "llama3":
        return _llama3(freqs, rope), 1.0
    if kind == "yarn":
        return _yarn(rope, dim, max_positions)
    if kind == "longrope":
        return _longrope(rope, dim, max_positions, seq_len)
    return freqs, 1.0


def _powers(base: float | Tensor, count: int, dim: int) -> Tensor:
    return 1.0 / (base ** (torch.arange(0, count, 2, dtype=torch.int64, device="cpu").float() / dim))


def _pad(x: Tensor, size: int) -> Tensor:
    return torch.cat([x, x.new_zeros(size - len(x))])


def _at_least(n: int | Tensor, low: int) -> int | Tensor:
    return n.clamp(min=low) if isinstance(n, Tensor) else max(n, low)


def _llama3(freqs: Tensor, rope: Mapping[str, Any]) -> Tensor:
    """Long waves are stretched, short ones kept, those between blended (Llama 3.1)."""
    original, factor = rope["original_max_position_embeddings"], rope["factor"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    wavelength = 2 * math.pi / freqs
    blend = (original / wavelength - low) / (high - low)
    middle = (1 - blend) * freqs / factor + blend * freqs
    stretched = torch.where(wavelength > original / low, freqs / factor, freqs)
    between = (wavelength >= original / high) & (wavelength <= original / low)
    return torch.where(between, middle, stretched)


def _yarn(rope: Mapping[str, Any], dim: int, max_positions: int) -> tuple[Tensor, float]:
    """YaRN (arXiv:2309.00071): interpolate slow dimensions, keep fast ones, sharpen attention."""
    base, original = rope["rope_theta"], rope["original_max_position_embeddings"]
    factor = rope.get("factor") or max_positions / original

    def sharpen(weight: float = 1.0) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    scale = rope.get("attention_factor")
    if scale is None:
        mscale, mscale_all = rope.get("mscale"), rope.get("mscale_all_dim")
        scale = sharpen(mscale) / sharpen(mscale_all) if mscale and mscale_all else sharpen()

    def dimension(turns: float) -> float:  # which dimension makes that many turns over the original length
        return dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = dimension(rope.get("beta_fast") or 32), dimension(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    ramp = (torch.arange(dim // 2, dtype=torch.float32, device="cpu") - low) / ((high - low) or 0.001)
    keep = 1 - ramp.clamp(0, 1)
    waves = base ** (torch.arange(0, dim, 2, device="cpu").float() / dim)
    return (1.0 / (factor * waves)) * (1 - keep) + (1.0 / waves) * keep, float(scale)


def _longrope(
    rope: Mapping[str, Any], dim: int, max_positions: int, seq_len: int | Tensor | None
) -> tuple[Tensor, float]:
    """LongRoPE (arXiv:2402.13753): one factor per dimension, with a second set beyond the original length."""
    original = rope["original_max_position_embeddings"]
    factor = rope.get("factor") or max_positions / original
    scale = rope.get("attention_factor")
    if scale is None:
        scale = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    waves = rope["rope_theta"] ** (torch.arange(0, dim, 2, dtype=torch.int64, device="cpu").float() / dim)

    def freqs(name: str) -> Tensor:
        return 1.0 / (torch.tensor(rope[name], dtype=torch.float32, device="cpu") * waves)

    if isinstance(seq_len, Tensor):  # a choice that can be traced
        short, long = freqs("short_factor").to(seq_len.device), freqs("long_factor").to(seq_len.device)
        return torch.where(seq_len > original, long, short), float(scale)
    return freqs("long_factor" if seq_len and seq_len > original else "short_factor"), float(scale)


class Rotary(nn.Module):
    """Tables of cos and sin for positions.

    The frequencies stay fp32 when the model is cast, and keep their values when it is built on the meta device.
    """

    inv_freq: Tensor

    def __init__(self, rope: Mapping[str, Any], head_dim: int, max_positions: int, interleaved: bool = False):
        super().__init__()
        self.rope, self.head_dim, self.max_positions, self.interleaved = rope, head_dim, max_positions, interleaved
        inv_freq, self.scale = inverse_frequencies(rope, head_dim, max_positions)
        self.register_buffer("inv_freq", inv_freq, persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> Rotary:
        device = fn(torch.empty(0, device=self.inv_freq.device)).device  # follow moves, ignore casts
        self.inv_freq = self.inv_freq.to(device) if device.type != "meta" else self.inv_freq
        return self

    def forward(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """cos and sin of the angles.

        Args:
            positions: (batch, seq), whole numbers.
            dtype: of the result; angles are computed in fp32.

        Returns:
            Two tensors (batch, seq, rotated dims).
        """
        inv_freq, scale = self.inv_freq, self.scale
        if self.rope["rope_type"] in ("dynamic", "longrope"):
            inv_freq, scale = inverse_frequencies(self.rope, self.head_dim, self.max_positions, positions.max() + 1)
        angles = positions[..., None].float() * inv_freq.to(positions.device)  # (batch, seq, rotated dims / 2)
        angles = angles.repeat_interleave(2, -1) if self.interleaved else torch.cat([angles, angles], -1)
        return (angles.cos() * scale).to(dtype), (angles.sin() * scale).to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the first dimensions of each head; pairs are (i, i + half). The rest passes through.

    Args:
        x: (batch, heads, seq, dim).
        cos, sin: (batch, seq, rotated dims), in x's dtype, or fp32 to compute in fp32.
    """
    cos, sin = cos[:, None], sin[:, None]  # (batch, 1, seq, rotated dims)
    dims = cos.shape[-1]
    part, rest = (x, None) if dims == x.shape[-1] else (x[..., :dims], x[..., dims:])
    a, b = part.chunk(2, -1)
    out = (part * cos + torch.cat([-b, a], -1) * sin).to(x.dtype)
    return out if rest is None else torch.cat([out, rest], -1)


def rotate_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Like `rotate`, for pairs (2i, 2i + 1); needs tables made with `interleaved=True`."""
    cos, sin = cos[:, None], sin[:, None]
    dims = cos.shape[-1]
    part, rest = (x, None) if dims == x.shape[-1] else (x[..., :dims], x[..., dims:])
    turned = torch.stack([-part[..., 1::2], part[..., ::2]], -1).flatten(-2)
    out = (part * cos + turned * sin).to(x.dtype)
    return out if rest is None else torch.cat([out, rest], -1)
