"""No work on padding: the real tokens of a ragged batch in one row, and attention within each sequence of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST = 0.1  # share of padding from which on moving tokens together pays


@dataclass
class Packing:
    """Where the tokens of a batch stand in a row without padding. Sequences of one length are neighbours: a run."""

    index: Tensor  # (tokens,), places in the flattened batch
    shape: tuple[int, int]  # batch, seq
    runs: list[tuple[int, int]]  # sequences, length of each

    @classmethod
    def of(cls, mask: Tensor | None) -> Packing | None:
        """The packing of a padding mask (batch, seq), or None where it would not pay.

        Padding must follow the tokens. On the left it stays: the first place of a row is what poolers read, and it must
        hold what it always held. On an accelerator it stays too: one launch for each length costs more than it does.
        """
        if mask is None or mask.dim() != 2 or mask.device.type != "cpu" or torch.compiler.is_compiling():
            return None
        real, (batch, seq) = mask != 0, mask.shape
        if int(real.sum()) > (1 - LEAST) * mask.numel():
            return None
        lengths, order = real.sum(1).sort(stable=True)
        real, places = real[order], torch.arange(seq)
        if not int(lengths[0]) or not torch.equal(real, places < lengths[:, None]):
            return None
        index = (order[:, None] * seq + places)[real]
        sizes, counts = lengths.unique_consecutive(return_counts=True)
        return cls(index, (batch, seq), list(zip(counts.tolist(), sizes.tolist(), strict=True)))

    def pack(self, x: Tensor) -> Tensor:
        """(batch or 1, seq, dim) to (1, tokens, dim)."""
        return x.expand(self.shape[0], -1, -1).flatten(0, 1)[self.index][None]

    def unpack(self, x: Tensor) -> Tensor:
        """(1, tokens, dim) to (batch, seq, dim), zero at padding."""
        out = x.new_zeros(self.shape[0] * self.shape[1], x.shape[-1])
        return out.index_copy(0, self.index.to(x.device), x[0]).unflatten(0, self.shape)

    def each(self, attend: Callable[[Tensor, Tensor, Tensor], Tensor], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """`attend` on the sequences of each run.

        Args:
            attend: (count, heads, length, dim) each to (count, length, heads * dim).
            q, k, v: (1, heads, tokens, dim).

        Returns:
            (1, tokens, heads * dim).
        """
        sizes = [count * length for count, length in self.runs]
        parts = zip(self.runs, *(t[0].split(sizes, 1) for t in (q, k, v)), strict=True)
        return torch.cat(
            [attend(*(t.unflatten(1, run).transpose(0, 1) for t in qkv)).flatten(0, 1) for run, *qkv in parts]
        )[None]
