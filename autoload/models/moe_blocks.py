"""Decoders with experts that look at few blocks of keys: minimax_m3_vl_text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.layers.attention import Context
from autoload.layers.experts import Experts, Routed
from autoload.layers.norms import ZeroCentredRMSNorm
from autoload.layers.rope import rotate
from autoload.layers.selection import additive, explicit, index_keys, narrowed
from autoload.model import Variant
from autoload.models import decoder, moe
from autoload.models.decoder import Spec
from autoload.models.moe import expert_count
from autoload.models.moe_sigmoid import FP32
from autoload.models.moe_windows import is_sparse


class BlockIndex(nn.Module):
    """For each group of heads, the blocks of keys whose best key scores highest, and those just before the query."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.layer_idx, self.layers = layer_idx, config.num_hidden_layers
        self.heads, self.dim = config.index_n_heads, config.index_head_dim
        self.size, self.picks, self.near = config.index_block_size, config.index_topk_blocks, config.index_local_blocks
        self.q_proj = nn.Linear(config.hidden_size, self.heads * self.dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, self.dim, bias=False)
        self.q_norm = ZeroCentredRMSNorm(self.dim, config.rms_norm_eps)
        self.k_norm = ZeroCentredRMSNorm(self.dim, config.rms_norm_eps)

    @torch.no_grad()
    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, context: Context) -> Tensor:
        """True at the keys of the chosen blocks: (batch, index heads, queries, keys)."""
        q = self.q_norm(self.q_proj(x).unflatten(-1, (self.heads, -1))).transpose(1, 2)  # (batch, heads, seq, dim)
        k = self.k_norm(self.k_proj(x)[:, None])  # (batch, 1, seq, dim)
        cos, sin = cos[..., : self.dim], sin[..., : self.dim]
        k = index_keys(rotate(k, cos, sin), self.layer_idx, self.layers, context)
        positions, count = context.extra["positions"], k.shape[2]  # (batch or 1, queries)
        later = torch.arange(count, device=x.device) > positions[:, None, :, None]  # (batch or 1, 1, queries, keys)
        scores = (rotate(q, cos, sin).float() @ k.float().transpose(2, 3)).masked_fill(later, float("-inf"))
        scores = F.pad(scores, (0, -count % self.size), value=float("-inf")).unflatten(-1, (-1, self.size)).amax(-1)
        near = positions[..., None] // self.size - torch.arange(
            self.near, device=x.device
        )  # (batch or 1, queries, near)
        near = near.clamp(min=0)[:, None].expand(*scores.shape[:3], -1)
        scores = scores.scatter(-1, near, float("inf"))  # (batch, heads, queries, blocks)
        best = scores.topk(min(self.picks, scores.shape[-1]), -1).indices
        kept = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, best, True) & (scores > float("-inf"))
        return kept.repeat_interleave(self.size, -1)[..., :count]


class BlockAttention(decoder.Attention):
    """Where its layer has an index, it looks at the blocks that this chooses."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.indexer = BlockIndex(config, layer_idx) if self.kind == "minimax_m3_sparse" else None

    def see(self, x: Tensor, context: Context) -> Tensor:
        if self.indexer is not None:
            chosen = self.indexer(x, *context.rope[self.kind], context)
            chosen = chosen.repeat_interleave(self.heads // chosen.shape[1], 1)
            allowed = narrowed(explicit(context.masks[self.kind], x.shape[1], chosen.shape[3], x.device), chosen)
            context = replace(context, masks={**context.masks, self.kind: additive(allowed, x.dtype)})
        return super().see(x, context)


def clamped(x: Tensor, config: Any) -> Tensor:
    """GPT-OSS's activation of gate and value, which follow each other."""
    gate, value = x.chunk(2, -1)
    gate, value = gate.clamp(max=config.swiglu_limit), value.clamp(-config.swiglu_limit, config.swiglu_limit)
    return (value + 1) * (gate * torch.sigmoid(gate * config.swiglu_alpha))


class ClampedMLP(nn.Module):
    """Gate and value in one matrix, both clamped."""

    def __init__(self, config: Any, size: int):
        super().__init__()
        self.config = config
        self.gate_up_proj = nn.Linear(config.hidden_size, 2 * size, bias=False)
        self.down_proj = nn.Linear(size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(clamped(self.gate_up_proj(x), self.config))


class ClampedExperts(Experts):
    """The same for each expert."""

    def gate(self, x: Tensor) -> Tensor:
        return clamped(x, self.config)


class MiniMaxRouter(moe.Router):
    """Sigmoids; a bias that only the choice sees."""

    e_score_correction_bias: Tensor

    def __init__(self, config: Any):
        super().__init__(config)
        self.register_buffer("e_score_correction_bias", torch.zeros(expert_count(config)))

    def init_own(self, std: float) -> None:
        super().init_own(std)
        self.e_score_correction_bias.zero_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x.to(self.weight.dtype), self.weight)
        scores = logits.float().sigmoid()
        chosen = (scores + self.e_score_correction_bias).topk(self.picks, -1).indices
        weights = scores.gather(-1, chosen)
        return logits, weights / weights.sum(-1, keepdim=True), chosen


class MiniMaxMLP(Routed):
    """Scales the sum of the experts, and adds one that all tokens pass through."""

    def __init__(self, config: Any):
        super().__init__()
        self.gate = MiniMaxRouter(config)
        self.experts = ClampedExperts(config, expert_count(config), config.intermediate_size, config.hidden_act)
        self.shared_experts = ClampedMLP(config, config.shared_intermediate_size)
        self.scale = config.routed_scaling_factor

    def forward(self, x: Tensor, context: Context) -> Tensor:
        out = self.route(x.flatten(0, -2), self.gate, self.experts, context).view_as(x)
        return out * self.scale + self.shared_experts(x)


def minimax(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return MiniMaxMLP(config) if is_sparse(config, layer_idx) else ClampedMLP(config, config.dense_intermediate_size)


class PositionedModel(moe.Model):
    """Its index asks where a query stands."""

    def make_extra(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        return super().make_extra(positions, x) | {"positions": positions}


VARIANTS = {
    "minimax_m3_vl_text": Variant(
        lambda c: Spec(norm=ZeroCentredRMSNorm, attention=BlockAttention, mlp=minimax, qk_norm="head"),
        heads={"Model": PositionedModel},
        members=FP32,
    ),
}
TASKS = moe.TASKS
