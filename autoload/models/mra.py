"""MRA: attention at two resolutions, exact for the blocks of tokens that matter, by means for the others.

The reference has it in CUDA alone, and leaves attention out where its kernels are missing. Here it is plain PyTorch.

Zeng et al. 2022 (arXiv:2207.10284).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from autoload.errors import ConfigError
from autoload.layers.attention import Context
from autoload.model import Variant
from autoload.models import nystromformer
from autoload.models.bert import Attention, Layer, Model, SelfAttention, Spec
from autoload.models.nystromformer import OFFSET, NystromEmbeddings

BLOCK = 32
TINY = 1e-6
NO_ROW = -1e5  # largest score of a row without exact blocks
HIDDEN = 1e4


class MraEmbeddings(NystromEmbeddings):
    """Positions start at two, and are kept among the weights."""

    position_ids: Tensor

    def make_positions(self, config: Any, spec: Spec, size: int) -> None:
        super().make_positions(config, spec, size)
        self.register_buffer("position_ids", torch.arange(config.max_position_embeddings)[None] + OFFSET)

    def init_own(self, std: float) -> None:
        torch.arange(OFFSET, self.position_ids.shape[1] + OFFSET, out=self.position_ids[0])

    def positions(self, input_ids: Tensor | None, shape: torch.Size, past: int, device: Any) -> Tensor:
        return self.position_ids[:, : shape[1]]


class TwoScaleSelfAttention(SelfAttention):
    """Exact scores in the best blocks, means in the others."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__(config, layer_idx, cross)
        if config.approx_mode not in ("full", "sparse"):
            raise ConfigError("approx_mode", config.approx_mode, "'full' or 'sparse'")
        blocks = config.max_position_embeddings // BLOCK
        self.exact = min(blocks * config.block_per_row, blocks**2)  # number of blocks
        self.means = config.approx_mode == "full"
        self.first, self.diagonal = config.initial_prior_first_n_blocks, config.initial_prior_diagonal_n_blocks
        self.scale = max(self.dim, BLOCK) ** -0.5  # small heads are filled up with zeros

    def forward(self, x: Tensor, context: Context) -> Tensor:
        seq, allowed = x.shape[1], context.masks["full"].allowed
        real = torch.ones(x.shape[:2], device=x.device) if allowed is None else allowed[:, 0, 0].float()
        short = -seq % BLOCK
        real = F.pad(real, (0, short)).unflatten(1, (-1, BLOCK)).repeat_interleave(self.heads, 0)
        q, k, v = (
            F.pad(t.float(), (0, 0, 0, short)).flatten(0, 1).unflatten(1, (-1, BLOCK)) * real[..., None]
            for t in self.project(x, context)
        )  # (batch * heads, blocks, block, dim)
        out = self.attend(q, k, v, real).flatten(1, 2)[:, :seq]
        return out.unflatten(0, (-1, self.heads)).transpose(1, 2).flatten(2).to(x.dtype)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, real: Tensor) -> Tensor:
        """(batch * heads, blocks, block, dim)."""
        counts = real.sum(-1)  # (batch * heads, blocks)
        with torch.set_grad_enabled(self.means and torch.is_grad_enabled()):
            coarse, top, v_mean = self.coarse(q, k, v, counts)
        chosen, exact = self.choose((coarse - top).detach())
        fine, largest = self.fine(q, k, v, real, chosen)
        if not self.means:
            return fine[..., :-1] / (fine[..., -1:] + TINY) * real[..., None]
        weights = torch.exp(coarse - top - HIDDEN * exact) * counts[:, None]
        rough = torch.cat([weights @ v_mean, weights.sum(-1, keepdim=True)], -1)[:, :, None]
        gap = (top - largest) * real  # (batch * heads, blocks, block)
        total = fine * torch.exp(-gap * (gap > 0))[..., None] + rough * torch.exp(gap * (gap <= 0))[..., None]
        return total[..., :-1] / (total[..., -1:] + TINY) * real[..., None]

    def coarse(self, q: Tensor, k: Tensor, v: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores between the means of blocks, the largest of each row, and mean values."""
        q, k, v = (t.sum(2) / (counts[..., None] + TINY) for t in (q, k, v))
        scores = q @ k.transpose(1, 2) * self.scale
        empty = counts[:, None] * counts[..., None] < 0.5
        return scores - HIDDEN * empty, scores.amax(-1, keepdim=True), v

    def choose(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers of the best blocks, (batch * heads, chosen), and 1.0 where a block is as good as these."""
        blocks = scores.shape[1]
        if self.diagonal > 0:
            places = torch.arange(blocks, device=scores.device)
            scores = scores + 5e3 * ((places[:, None] - places).abs() <= self.diagonal // 2)
        if self.first > 0:
            early = (torch.arange(blocks, device=scores.device) < self.first).float()
            scores = scores + 5e3 * early[:, None] + 5e3 * early
        best = scores.flatten(1).topk(min(self.exact, blocks**2))
        return best.indices, (scores >= best.values[:, -1, None, None]).float()

    def fine(self, q: Tensor, k: Tensor, v: Tensor, real: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted values with the sum of the weights behind them, (batch * heads, blocks, block, dim + 1); largest scores."""
        blocks = q.shape[1]
        row, column = chosen // blocks, chosen % blocks

        def blocks_of(t: Tensor, numbers: Tensor) -> Tensor:
            return t.take_along_dim(numbers.view(*numbers.shape, *[1] * (t.dim() - 2)), 1)

        scores = blocks_of(q, row) @ blocks_of(k, column).transpose(2, 3) * self.scale  # (.., chosen, block, block)
        largest = scores.new_full(q.shape[:3], NO_ROW)
        rows = row[..., None].expand(-1, -1, BLOCK)
        largest = largest.scatter_reduce(1, rows, scores.detach().amax(-1), "amax")
        scores = scores - blocks_of(largest, row)[..., None]
        weights = torch.exp(scores - HIDDEN * (1 - blocks_of(real, column))[:, :, None])
        seen = torch.cat([weights @ blocks_of(v, column), weights.sum(-1, keepdim=True)], -1)
        out = seen.new_zeros((*q.shape[:3], seen.shape[-1]))
        return out.scatter_add(1, rows[..., None].expand_as(seen), seen), largest


class TwoScaleAttention(Attention):
    """With MRA's attention."""

    self_class = TwoScaleSelfAttention


class TwoScaleLayer(Layer):
    """With MRA's attention."""

    attention_class = TwoScaleAttention


class MraModel(Model):
    """MRA without a head. It has no weights of attention to show."""

    may_lack = ("position_ids",)

    def forward(self, *args: Any, output_attentions: bool | None = None, **kwargs: Any) -> Any:
        return super().forward(*args, output_attentions=False, **kwargs)


VARIANTS = {
    "mra": Variant(
        lambda c: Spec(pooler=None, embeddings=MraEmbeddings, layer=TwoScaleLayer, packs=False),
        members={"base_model_prefix": "mra", "empty_cross_attentions": False},
    ),
}
TASKS = nystromformer.TASKS | {"Model": MraModel}
