"""WavLM: wav2vec 2.0's encoder with gated biases for the distance between frames.

Chen et al. 2021 (arXiv:2110.13900).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from autoload.layers.attention import Context
from autoload.layers.relative import distances, relative_buckets
from autoload.model import Variant
from autoload.models import wav2vec2_heads as heads
from autoload.models.wav2vec2 import Attention, Model, Spec, speech


class GatedAttention(Attention):
    """Adds the first layer's bias, scaled by two gates of the query's state."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__(config, layer_idx)
        self.gru_rel_pos_const = nn.Parameter(torch.ones(1, self.heads, 1, 1))
        self.gru_rel_pos_linear = nn.Linear(self.dim, 8)
        if layer_idx == 0:
            self.buckets, self.furthest = config.num_buckets, config.max_bucket_distance
            self.rel_attn_embed = nn.Embedding(config.num_buckets, self.heads)

    def init_own(self, std: float) -> None:
        self.gru_rel_pos_const.fill_(1.0)

    def table(self, frames: int) -> Tensor:
        """What the first layer says of each distance, for all layers; (heads, queries, keys)."""
        away = distances(frames, frames, self.rel_attn_embed.weight.device)
        return self.rel_attn_embed(relative_buckets(away, self.buckets, self.furthest)).permute(2, 0, 1)

    def bias(self, x: Tensor, context: Context) -> Tensor | None:
        if self.layer_idx == 0:
            context.extra["distances"] = self.table(x.shape[1])
        gates = self.gru_rel_pos_linear(self.split(x)).unflatten(-1, (2, 4)).sum(-1).sigmoid()
        update, reset = gates.chunk(2, -1)  # (batch, heads, queries, 1)
        return (update * (reset * self.gru_rel_pos_const - 1.0) + 2.0) * context.extra["distances"]

    def forward(self, x: Tensor, context: Context) -> Tensor:
        if context.attentions is None:
            return super().forward(x, context)
        own = replace(context, attentions=[])
        out = super().forward(x, own)
        weights = own.attentions[0]  # type: ignore[index]
        context.attentions.append(weights.mean(1, keepdim=True).expand_as(weights))  # shown as the mean of all heads
        return out


class WavLMModel(Model):
    """WavLM without a head."""

    def drops(self, layer_idx: int) -> bool:
        return layer_idx > 0 and super().drops(layer_idx)  # all layers need the first one's table


def wavlm(config: Any) -> Spec:
    return replace(speech(config), attention=GatedAttention)


VARIANTS = {"wavlm": Variant(wavlm, members={"base_model_prefix": "wavlm"})}
TASKS = heads.TASKS | {"Model": WavLMModel}
