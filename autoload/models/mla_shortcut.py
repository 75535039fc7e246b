"""Decoders whose experts work beside the next attention: longcat_flash.

Meituan 2025 (arXiv:2509.01322): a layer has two attentions and two MLPs; its experts read what the first MLP reads, and
add to what the second gives. Some of the experts do nothing.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.layers.attention import Context
from autoload.layers.experts import Experts, Groups, Routed, product
from autoload.model import Variant
from autoload.models import mla, moe
from autoload.models.decoder import Attention, GatedMLP, Spec, hidden_act, norm_eps


class ScaledLatentAttention(mla.LatentAttention):
    """What comes out of a narrow vector is as large as if it were as wide as the stream."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        super().make_projections(config, spec)
        self.query_scale = (config.hidden_size / config.q_lora_rank) ** 0.5
        self.latent_scale = (config.hidden_size / config.kv_lora_rank) ** 0.5

    def queries(self, x: Tensor) -> Tensor:
        return super().queries(x) * self.query_scale

    def norm_latent(self, latent: Tensor) -> Tensor:
        return super().norm_latent(latent) * self.latent_scale


class IdleRouter(nn.Module):
    """Probabilities in fp32, of the idle experts too; the bias only counts in the choice."""

    e_score_correction_bias: Tensor

    def __init__(self, config: Any, count: int):
        super().__init__()
        self.picks, self.scale = config.moe_topk, config.routed_scaling_factor
        self.register_buffer("e_score_correction_bias", torch.zeros(count))
        self.classifier = nn.Linear(config.hidden_size, count, bias=getattr(config, "router_bias", False))

    def init_own(self, std: float) -> None:
        self.e_score_correction_bias.zero_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x.float(), self.classifier.weight.float())
        scores = logits.softmax(-1)
        chosen = (scores + self.e_score_correction_bias).topk(self.picks, -1).indices
        return logits, scores.gather(-1, chosen) * self.scale, chosen


class IdleExperts(Experts):
    """Those with a number from `count` on give back what they get; they have rows of `gate_up_proj` all the same."""

    def make_weights(self, dim: int) -> None:
        total = self.count + (self.config.zero_expert_num or 0)
        self.gate_up_proj = nn.Parameter(torch.empty(total, 2 * self.wide, dim))
        self.down_proj = nn.Parameter(torch.empty(self.count, dim, self.wide))

    def forward(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        idle = chosen >= self.count  # (tokens, k)
        kept = (x * weights.masked_fill(~idle, 0).sum(-1, keepdim=True)).to(x.dtype)
        return super().forward(x, chosen.masked_fill(idle, 0), weights.masked_fill(idle, 0)) + kept

    def widen(self, x: Tensor, groups: Groups) -> Tensor:
        return product(x, self.gate_up_proj[: self.count].transpose(1, 2), groups)


class IdleMLP(Routed):
    """Experts, some of them idle."""

    def __init__(self, config: Any):
        super().__init__()
        count = config.n_routed_experts
        self.experts = IdleExperts(config, count, config.expert_ffn_hidden_size, hidden_act(config))
        self.router = IdleRouter(config, count + (config.zero_expert_num or 0))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.route(x.flatten(0, -2), self.router, self.experts, context).view_as(x)


class ShortcutLayer(nn.Module):
    """Two attentions and two MLPs in turn, and experts past the second attention."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__()
        norm, size, eps = spec.norm, config.hidden_size, norm_eps(config)
        self.mlp = IdleMLP(config)
        self.self_attn = nn.ModuleList((spec.attention or Attention)(config, spec, 2 * layer_idx + i) for i in (0, 1))
        self.mlps = nn.ModuleList(GatedMLP(config, spec) for _ in (0, 1))
        self.input_layernorm = nn.ModuleList(norm(size, eps) for _ in (0, 1))
        self.post_attention_layernorm = nn.ModuleList(norm(size, eps) for _ in (0, 1))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.self_attn[0](self.input_layernorm[0](x), context)
        h = self.post_attention_layernorm[0](x)
        found = self.mlp(h, context)
        x = x + self.mlps[0](h)
        x = x + self.self_attn[1](self.input_layernorm[1](x), context)
        return x + self.mlps[1](self.post_attention_layernorm[1](x)) + found


class ShortcutModel(moe.Model):
    """As many layers as `num_layers`; the cache counts attentions."""

    def make_layers(self, config: Any, spec: Spec) -> None:
        self.layers = nn.ModuleList(ShortcutLayer(config, spec, i) for i in range(config.num_layers))
        self._no_split_modules = ["ShortcutLayer"]


VARIANTS = {
    "longcat_flash": Variant(
        lambda c: mla.latent(c, attention=ScaledLatentAttention, interleaved=True),
        members={"keep_fp32": ("classifier",)},
        keys=moe.SEPARATE,
    ),
}
TASKS = moe.TASKS | {"Model": ShortcutModel}
