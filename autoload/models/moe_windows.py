"""Decoders with experts and several kinds of layers: cohere2_moe, flint, granitemoe_swa, kolibri1, mellum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.keys import Rename
from autoload.layers.attention import Context
from autoload.layers.experts import Experts, Routed
from autoload.layers.norms import LayerNormFP32, RMSNorm, RMSNormFP32
from autoload.model import Variant
from autoload.models import decoder, decoder_gated, decoder_windows, moe
from autoload.models.decoder import GatedMLP, Spec
from autoload.models.decoder_windows import without_rope
from autoload.models.moe import SparseMLP, expert_count, make_experts
from autoload.models.moe_sigmoid import FP32


def is_sparse(config: Any, layer_idx: int) -> bool:
    return config.mlp_layer_types[layer_idx] == "sparse"


class SharedSumMLP(Routed):
    """Experts, and an MLP of a width of its own that all tokens pass through."""

    router: type[nn.Module]

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.experts = make_experts(config)
        self.gate = self.router(config)
        self.shared_experts = GatedMLP(config, spec, size=config.shared_expert_intermediate_size)
        self.scale = getattr(config, "moe_routed_scaling_factor", 1.0)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        out = self.route(x.flatten(0, -2), self.gate, self.experts, context).view_as(x)
        return out * self.scale + self.shared_experts(x)


def mellum(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (SparseMLP if is_sparse(config, layer_idx) else GatedMLP)(config, spec, layer_idx)


# -- flint


class SigmoidRouter(moe.Router):
    """Sigmoids in fp32, without a bias."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x.float(), self.weight.float())
        weights, chosen = logits.sigmoid().topk(self.picks, -1)
        return logits, weights / weights.sum(-1, keepdim=True) if self.normalise else weights, chosen


class FlintMLP(SparseMLP):
    """One more expert for all tokens, in full."""

    router = SigmoidRouter

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__(config, spec, layer_idx)
        self.shared_expert = GatedMLP(config, spec, size=config.shared_expert_intermediate_size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return super().forward(x, context) + self.shared_expert(x)


def flint(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (FlintMLP if moe.is_sparse(config, layer_idx) else GatedMLP)(config, spec, layer_idx)


class FlintAttention(moe.SinkAttention):
    """Scores in fp32: its normed heads make large ones."""

    def look(self, q: Tensor, k: Tensor, v: Tensor, context: Context, sinks: Tensor | None = None) -> Tensor:
        return super().look(q.float(), k.float(), v.float(), context).to(v.dtype)


# -- kolibri1


class LogitRouter(moe.Router):
    """Chooses by score plus bias, weighs by the score's sigmoid."""

    e_score_correction_bias: Tensor

    def __init__(self, config: Any):
        super().__init__(config)
        self.register_buffer("e_score_correction_bias", torch.zeros(expert_count(config)))

    def init_own(self, std: float) -> None:
        super().init_own(std)
        self.e_score_correction_bias.zero_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x.float(), self.weight.float())
        chosen = (logits + self.e_score_correction_bias).topk(self.picks, -1).indices
        weights = logits.gather(-1, chosen).sigmoid()
        return logits, weights / weights.sum(-1, keepdim=True) if self.normalise else weights, chosen


class KolibriMLP(SharedSumMLP):
    """Kolibri's experts."""

    router = LogitRouter


# -- cohere2_moe


class CohereRouter(moe.Router):
    """Softmax among the chosen experts, or a sigmoid of each."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.sigmoid = config.expert_selection_fn == "sigmoid"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x, self.weight)
        best, chosen = logits.topk(self.picks, -1)
        if not self.sigmoid:
            return logits, best.softmax(-1, dtype=torch.float32).to(x.dtype), chosen
        weights = best.sigmoid()
        return logits, weights / weights.sum(-1, keepdim=True) if self.normalise else weights, chosen


class CohereMLP(Routed):
    """Adds shared experts, or takes the mean with them."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.gate = CohereRouter(config)
        self.experts = Experts(config, config.num_experts, config.intermediate_size, config.hidden_act)
        self.share = 1.0
        if config.num_shared_experts > 0:
            self.shared_experts = GatedMLP(config, spec, size=config.intermediate_size * config.num_shared_experts)
            self.share = 0.5 if config.shared_expert_combination_strategy == "average" else 1.0
        self.shared = config.num_shared_experts > 0

    def forward(self, x: Tensor, context: Context) -> Tensor:
        out = self.route(x.flatten(0, -2), self.gate, self.experts, context).view_as(x)
        return (out + self.shared_experts(x)) * self.share if self.shared else out


def cohere(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    if is_sparse(config, layer_idx):
        return CohereMLP(config, spec, layer_idx)
    return GatedMLP(config, spec, layer_idx, config.prefix_dense_intermediate_size)


def cohere_norm(config: Any) -> Callable[..., nn.Module]:
    """The norm that has its constant set."""
    return LayerNormFP32 if config.rms_norm_eps is None else RMSNorm


def cohere_no_rope(config: Any) -> frozenset[int]:
    """Layers that see everything, but for the dense ones in front where these all do."""
    kept = "dense" if config.prefix_dense_sliding_window_pattern == 1 else None
    kinds = enumerate(zip(config.layer_types, config.mlp_layer_types, strict=True))
    return frozenset(i for i, (kind, mlp) in kinds if kind == "full_attention" and mlp != kept)


# -- granitemoe_swa


class GraniteModel(decoder_windows.ThetaModel, moe.Model):
    """Experts, and a rotary table for each base."""


VARIANTS = {
    "mellum": Variant(
        lambda c: Spec(mlp=mellum, qk_norm="head", qkv_bias=c.attention_bias, o_bias=c.attention_bias),
        keys=moe.SEPARATE,
    ),
    "flint": Variant(
        lambda c: Spec(
            norm=RMSNormFP32,
            attention=FlintAttention,
            mlp=flint,
            qk_norm="head",
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            no_rope=without_rope(c.layer_types, "full_attention"),
        ),
        members={"keep_fp32": ("gate", "sinks")},
        keys=(*moe.SEPARATE, Rename("self_attn.softmax_offset", "self_attn.sinks")),
    ),
    "kolibri1": Variant(
        lambda c: Spec(
            layer=decoder_gated.Glm4Layer,
            mlp=KolibriMLP,
            qk_norm="head",
            no_rope=without_rope(c.layer_types, "full_attention") if c.sliding_window else frozenset(),
        ),
        members=FP32,
        keys=(
            *moe.SEPARATE,
            Rename("moe.router.expert_bias", "mlp.gate.e_score_correction_bias"),
            Rename("post_attn_norm", "post_self_attn_layernorm"),
            Rename("post_ffn_norm", "post_mlp_layernorm"),
        ),
    ),
    "cohere2_moe": Variant(
        lambda c: Spec(
            norm=cohere_norm(c),
            layer=decoder.ParallelLayer,
            mlp=cohere,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            interleaved=True,
            turn_fp32=True,
            no_rope=cohere_no_rope(c),
            logits_scale=c.logit_scale,
        ),
        keys=moe.SEPARATE,
    ),
    "granitemoe_swa": Variant(
        lambda c: Spec(
            layer=moe.GraniteLayer,
            attention=decoder_windows.SinkAttention,
            mlp=moe.GraniteMLP,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            scale=c.attention_multiplier,
            embedding_scale=c.embedding_multiplier,
            residual_scale=c.residual_multiplier,
        ),
        heads={"Model": GraniteModel, "CausalLM": moe.GraniteCausalLM},
    ),
}
TASKS = moe.TASKS
