"""No work on padding: the real tokens of a ragged batch in one row, and attention within each sequence of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST = 0.1  # share of padding from which on moving tokens together pays


@dataclass
class Packing:
    """Where the tokens of a batch stand in a row without padding. `runs` are neighbours of equal length."""

    index: Tensor  # (tokens,), places in the flattened batch
    shape: tuple[int, int]  # batch, seq
    runs: list[tuple[int, int, int]]  # first token, sequences, length of each

    @classmethod
    def of(cls, mask: Tensor | None) -> Packing | None:
        """The packing of a padding mask (batch, seq), or None where there is too little padding for it to pay.

        Padding on the left stays: the first place of a row is what poolers read, and it must hold what it always held.
        """
        if mask is None or mask.dim() != 2 or torch.compiler.is_compiling():
            return None
        real = mask != 0
        lengths = real.sum(1).tolist()
        if sum(lengths) > (1 - LEAST) * mask.numel() or not bool(real[:, 0].all()):
            return None
        runs: list[tuple[int, int, int]] = []
        at = 0
        for length in lengths:
            if runs and runs[-1][2] == length:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1, length)
            elif length:
                runs.append((at, 1, length))
            at += length
        return cls(real.flatten().nonzero().squeeze(1), (mask.shape[0], mask.shape[1]), runs)

    def pack(self, x: Tensor) -> Tensor:
        """(batch, seq, dim) to (1, tokens, dim)."""
        return x.flatten(0, 1)[self.index][None]

    def unpack(self, x: Tensor) -> Tensor:
        """(1, tokens, dim) to (batch, seq, dim), zero at padding."""
        out = x.new_zeros(self.shape[0] * self.shape[1], x.shape[-1])
        return out.index_copy(0, self.index, x[0]).unflatten(0, self.shape)

    def each(self, attend: Callable[[Tensor, Tensor, Tensor], Tensor], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """`attend` on each sequence; all tensors are (1, heads, tokens, dim), as is the result."""
        out = []
        for start, count, length in self.runs:
            parts = (
                t[0, :, start : start + count * length].unflatten(1, (count, length)).transpose(0, 1) for t in (q, k, v)
            )  # (count, heads, length, dim)
            out.append(attend(*parts).transpose(0, 1).flatten(1, 2))  # (heads, count * length, dim)
        return torch.cat(out, 1)[None]
