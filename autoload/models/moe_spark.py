"""The text part of a model that hears and sees, with experts in a narrower stream: muse_spark_text."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.layers.attention import Context
from autoload.layers.experts import Experts, Groups, Routed
from autoload.layers.norms import UnweightedRMSNorm, ZeroCentredRMSNorm
from autoload.model import Variant
from autoload.models import moe
from autoload.models.decoder import GatedMLP, SandwichLayer, Spec, hidden_act, norm_eps
from autoload.models.decoder_attention_gate import MuseModel, ScaledQueryAttention
from autoload.models.moe import expert_count
from autoload.models.moe_windows import is_sparse


class RoundedCentredRMSNorm(ZeroCentredRMSNorm):
    """Adds the one before the cast to fp32."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps) * (1.0 + self.weight).float()).to(x.dtype)


class ScaleFirstRMSNorm(ZeroCentredRMSNorm):
    """Scales, then normalises."""

    def forward(self, x: Tensor) -> Tensor:
        y = (x.float() * (1.0 + self.weight).float()).to(x.dtype).float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


class SparkAttention(ScaledQueryAttention):
    """Norms what each head saw before it is gated."""

    def output(self, seen: Tensor, x: Tensor) -> Tensor:
        return super().output(self.normed(seen.unflatten(-1, (self.heads, -1))).flatten(-2), x)


class ResidualGate(nn.Module):
    """Mixes stream and update, for each dimension by a share of its own that keeps the variance."""

    least = 1e-3  # share of the stream, squared

    def __init__(self, config: Any):
        super().__init__()
        self.gate = nn.Parameter(torch.empty(config.hidden_size))
        self.temperature = config.residual_gate_temperature

    def init_own(self, std: float) -> None:
        nn.init.normal_(self.gate, std=std)

    def forward(self, x: Tensor, update: Tensor) -> Tensor:
        openness = self.gate / self.temperature
        share = openness.sigmoid()
        kept = ((-openness).sigmoid() * (1.0 + share)).clamp(min=self.least).sqrt()
        return (kept * x + share * update).to(x.dtype)


class SparkRouter(moe.Router):
    """Sigmoids of scaled scores; a bias that only the choice sees."""

    e_score_correction_bias: Tensor

    def __init__(self, config: Any):
        super().__init__(config)
        self.sharpness, self.scale = config.output_multiplier, config.routed_scaling_factor
        self.register_buffer("e_score_correction_bias", torch.zeros(expert_count(config)))

    def init_own(self, std: float) -> None:
        super().init_own(std)
        self.e_score_correction_bias.zero_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x.float(), self.weight.float()) * self.sharpness
        scores = logits.sigmoid()
        chosen = (scores + self.e_score_correction_bias).topk(self.picks, -1).indices
        weights = scores.gather(-1, chosen)
        return logits, weights / (weights.sum(-1, keepdim=True) + 1e-15) * self.scale, chosen


class NormedExperts(Experts):
    """Works at a width of its own; norms what each expert gives."""

    def make_weights(self, dim: int) -> None:
        dim = self.config.moe_hidden_size
        super().make_weights(dim)
        self.post_expert_norm = ScaleFirstRMSNorm(dim, self.config.post_norm_eps)

    def narrow(self, x: Tensor, groups: Groups) -> Tensor:
        return self.post_expert_norm(super().narrow(x, groups))


class SparkMLP(Routed):
    """Experts between a projection to their width and one back; the choice reads the whole stream."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        size, small = config.hidden_size, config.moe_hidden_size
        self.gate = SparkRouter(config)
        self.pre_expert_proj = nn.Linear(size, small, bias=False)
        self.pre_expert_norm = RoundedCentredRMSNorm(small, norm_eps(config))
        self.experts = NormedExperts(config, expert_count(config), config.moe_intermediate_size, hidden_act(config))
        self.post_expert_proj = nn.Linear(small, size, bias=False)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        flat = x.flatten(0, -2)  # (tokens, dim)
        logits, weights, chosen = self.gate(flat)
        context.extra["router_logits"].append(logits)
        out = self.experts(self.pre_expert_norm(self.pre_expert_proj(flat)), chosen, weights)
        return self.post_expert_proj(out).view_as(x)


def spark(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (SparkMLP if is_sparse(config, layer_idx) else GatedMLP)(config, spec, layer_idx)


class SparkLayer(SandwichLayer):
    """Mixes updates into the stream by gates."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.post_attention_layernorm = UnweightedRMSNorm(eps=config.post_norm_eps)
        self.post_attention_residual_gate = ResidualGate(config)
        self.post_feedforward_layernorm = ScaleFirstRMSNorm(config.hidden_size, config.post_norm_eps)
        self.post_feedforward_residual_gate = ResidualGate(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        update = self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), context))
        x = self.post_attention_residual_gate(x, update)
        update = self.post_feedforward_layernorm(self.feed(self.pre_feedforward_layernorm(x), context))
        return self.post_feedforward_residual_gate(x, update)


class SparkModel(MuseModel, moe.Model):
    """Muse's embeddings and last norm, and experts."""


VARIANTS = {
    "muse_spark_text": Variant(
        lambda c: Spec(
            norm=RoundedCentredRMSNorm,
            layer=SparkLayer,
            attention=SparkAttention,
            mlp=spark,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            no_rope=frozenset(i for i, theta in enumerate(c.layer_rope_theta) if not theta),
        ),
        heads={"Model": SparkModel},
        members={"keep_fp32": ("gate", "e_score_correction_bias")},
    ),
}
TASKS = moe.TASKS
