"""Decoders with experts that are scored by a sigmoid and balanced by a bias that only the choice sees.

afmoe, dots1, exaone_moe, glm4_moe, hy_v3, minimax_m2, solar_open; ernie4_5_moe does the same with a softmax.

DeepSeek-AI 2024 (arXiv:2412.19437): experts form groups, and a token first chooses among these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.keys import Rename
from autoload.layers.attention import Context
from autoload.layers.experts import Routed, top_of_groups
from autoload.layers.norms import RMSNormFP32
from autoload.model import Variant
from autoload.models import decoder, moe
from autoload.models.decoder import GatedMLP, Spec
from autoload.models.decoder_windows import without_rope
from autoload.models.moe import expert_count, make_experts

FP32 = {"keep_fp32": ("e_score_correction_bias",)}


class GroupRouter(moe.Router):
    """Sigmoids in fp32; the best experts of the best groups, by score plus bias."""

    e_score_correction_bias: Tensor

    def __init__(self, config: Any):
        super().__init__(config)
        self.groups, self.kept = config.n_group, config.topk_group
        self.scale = config.routed_scaling_factor
        self.register_buffer("e_score_correction_bias", torch.zeros(expert_count(config)))

    def init_own(self, std: float) -> None:
        super().init_own(std)
        self.e_score_correction_bias.zero_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x.float(), self.weight.float())
        scores = logits.sigmoid()
        chosen = top_of_groups(scores + self.e_score_correction_bias, self.picks, self.groups, self.kept)
        weights = scores.gather(-1, chosen)
        if self.normalise:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return logits, weights * self.scale, chosen


class SharedMLP(Routed):
    """Experts, and one MLP that all tokens pass through."""

    router: type[nn.Module] = GroupRouter
    shared_count = "n_shared_experts"  # the field that says how many experts wide it is

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.experts = make_experts(config)
        self.gate = self.router(config)
        count = getattr(config, self.shared_count)
        self.shared_experts = GatedMLP(config, spec, size=config.moe_intermediate_size * count) if count else None

    def forward(self, x: Tensor, context: Context) -> Tensor:
        out = self.route(x.flatten(0, -2), self.gate, self.experts, context).view_as(x)
        return out if self.shared_experts is None else out + self.shared_experts(x)


class NumSharedMLP(SharedMLP):
    """Names its count otherwise."""

    shared_count = "num_shared_experts"


def after_first(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    """Experts in all layers but the first few."""
    return (SharedMLP if layer_idx >= config.first_k_dense_replace else GatedMLP)(config, spec, layer_idx)


def by_kind(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (NumSharedMLP if config.mlp_layer_types[layer_idx] == "sparse" else GatedMLP)(config, spec, layer_idx)


class OuterBiasRouter(moe.Router):
    """Sigmoids; the bias of the choice is the caller's. `scale` and `eps` differ by type."""

    def forward(self, x: Tensor, bias: Tensor, scale: float = 1.0, eps: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.score(x)
        scores = logits.float().sigmoid()
        chosen = (scores + bias).topk(self.picks, -1).indices
        weights = scores.gather(-1, chosen)
        return logits, weights / (weights.sum(-1, keepdim=True) + eps) * scale, chosen

    def score(self, x: Tensor) -> Tensor:
        return F.linear(x.to(self.weight.dtype), self.weight)


class OuterBiasMLP(Routed):
    """Holds the bias of the choice itself."""

    e_score_correction_bias: Tensor
    router: type[nn.Module] = OuterBiasRouter
    scale, eps = 1.0, 0.0

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.gate = self.router(config)
        self.experts = make_experts(config)
        self.register_buffer("e_score_correction_bias", torch.zeros(expert_count(config)))

    def init_own(self, std: float) -> None:
        self.e_score_correction_bias.zero_()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        flat = x.flatten(0, -2)
        logits, weights, chosen = self.gate(flat, self.e_score_correction_bias, self.scale, self.eps)
        context.extra["router_logits"].append(logits)
        return self.experts(flat, chosen, weights).view_as(x)


class MiniMaxMLP(OuterBiasMLP):
    """Shakes its inputs in training."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__(config, spec, layer_idx)
        self.jitter = config.router_jitter_noise

    def forward(self, x: Tensor, context: Context) -> Tensor:
        if self.training and self.jitter > 0:
            x = x * torch.empty_like(x).uniform_(1.0 - self.jitter, 1.0 + self.jitter)
        return super().forward(x, context)


class HunyuanRouter(OuterBiasRouter):
    """Scores in fp32."""

    def score(self, x: Tensor) -> Tensor:
        return F.linear(x.float(), self.weight.float())


class HunyuanMLP(OuterBiasMLP):
    """Adds what all tokens pass through, in fp32 where the configuration says so."""

    router, eps = HunyuanRouter, 1e-20

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__(config, spec, layer_idx)
        self.scale = config.router_scaling_factor
        self.fp32 = config.enable_moe_fp32_combine
        self.shared_experts = GatedMLP(config, spec, size=config.moe_intermediate_size * config.num_shared_experts)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        out, shared = super().forward(x, context), self.shared_experts(x)
        return (out.float() + shared.float()).to(x.dtype) if self.fp32 else out + shared


def hunyuan(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (HunyuanMLP if config.mlp_layer_types[layer_idx] == "sparse" else GatedMLP)(config, spec, layer_idx)


class AfmoeRouter(nn.Module):
    """Holds its matrix as `gate`."""

    def __init__(self, config: Any):
        super().__init__()
        self.picks, self.scale = config.num_experts_per_tok, config.route_scale
        self.gate = nn.Linear(config.hidden_size, config.num_experts, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.gate(x).float()
        scores = logits.sigmoid()
        chosen = (scores + bias).topk(self.picks, -1).indices
        weights = scores.gather(-1, chosen)
        return logits, weights / (weights.sum(-1, keepdim=True) + 1e-20) * self.scale, chosen


class AfmoeMLP(Routed):
    """The bias of the choice is a parameter that gradients leave alone."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.router = AfmoeRouter(config)
        self.shared_experts = GatedMLP(config, spec, size=config.moe_intermediate_size * config.num_shared_experts)
        self.experts = make_experts(config)
        self.expert_bias = nn.Parameter(torch.zeros(config.num_experts), requires_grad=False)

    def init_own(self, std: float) -> None:
        self.expert_bias.zero_()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        flat = x.flatten(0, -2)
        logits, weights, chosen = self.router(flat, self.expert_bias)
        context.extra["router_logits"].append(logits)
        return self.shared_experts(x) + self.experts(flat, chosen, weights).view_as(x)


def afmoe_mlp(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (AfmoeMLP if layer_idx >= config.num_dense_layers else GatedMLP)(config, spec, layer_idx)


class GatedAttention(decoder.Attention):
    """What was seen passes a gate that the input opens."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        super().make_projections(config, spec)
        self.gate_proj = nn.Linear(config.hidden_size, self.heads * self.dim, bias=False)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.o_proj(self.see(x, context) * self.gate_proj(x).sigmoid())


class AfmoeLayer(decoder.Layer):
    """Norms before and after attention and MLP, under names of its own."""

    def make_norms(self, norm: Callable[[], nn.Module]) -> None:
        self.input_layernorm = norm()
        self.post_attention_layernorm = norm()
        self.pre_mlp_layernorm = norm()
        self.post_mlp_layernorm = norm()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.add(x, self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), context)))
        return self.add(x, self.post_mlp_layernorm(self.feed(self.pre_mlp_layernorm(x), context)))


class Statics(nn.Module):
    """The bias of the choice, where Ernie keeps it."""

    def __init__(self, count: int):
        super().__init__()
        self.e_score_correction_bias = nn.Parameter(torch.zeros(1, count, dtype=torch.float32), requires_grad=False)

    def init_own(self, std: float) -> None:
        self.e_score_correction_bias.zero_()


class ErnieRouter(moe.Router):
    """Probabilities in fp32; the bias only counts in the choice."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.least = config.moe_norm_min
        self.moe_statics = Statics(expert_count(config))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x.float(), self.weight.float())
        scores = logits.softmax(-1)
        chosen = (scores + self.moe_statics.e_score_correction_bias[0]).topk(self.picks, -1).indices
        weights = scores.gather(-1, chosen)
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=self.least)
        return logits, weights.to(x.dtype), chosen


class ErnieMLP(SharedMLP):
    """Ernie's experts."""

    router, shared_count = ErnieRouter, "moe_num_shared_experts"


def ernie(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    inside = config.moe_layer_start_index <= layer_idx <= config.moe_layer_end_index
    routed = inside and (layer_idx + 1) % config.moe_layer_interval == 0
    return (ErnieMLP if routed else GatedMLP)(config, spec, layer_idx)


class ErnieCausalLM(moe.CausalLM):
    """Its head may have a bias."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=config.use_bias)


def afmoe(c: Any) -> Spec:
    return Spec(
        norm=RMSNormFP32,
        layer=AfmoeLayer,
        attention=GatedAttention,
        mlp=afmoe_mlp,
        qk_norm="head",
        qkv_bias=c.attention_bias,
        o_bias=c.attention_bias,
        no_rope=without_rope(c.layer_types, "full_attention"),
        embedding_scale=c.hidden_size**0.5 if c.mup_enabled else None,
    )


VARIANTS = {
    "glm4_moe": Variant(
        lambda c: Spec(mlp=after_first, qk_norm="head" if c.use_qk_norm else None, qkv_bias=c.attention_bias),
        members=FP32,
        keys=moe.SEPARATE,
        ignores=decoder.next_token_layers,
    ),
    "dots1": Variant(
        lambda c: Spec(mlp=after_first, qk_norm="head", qkv_bias=c.attention_bias, o_bias=c.attention_bias),
        members=FP32,
        keys=moe.SEPARATE,
    ),
    "solar_open": Variant(lambda c: Spec(mlp=SharedMLP, qkv_bias=c.attention_bias), members=FP32, keys=moe.SEPARATE),
    "exaone_moe": Variant(
        lambda c: Spec(
            mlp=by_kind,
            qk_norm="head",
            no_rope=without_rope(c.layer_types, "full_attention") if c.sliding_window else frozenset(),
        ),
        members=FP32,
        keys=(*moe.SEPARATE, Rename("mlp.e_score_correction_bias", "mlp.gate.e_score_correction_bias")),
    ),
    "minimax_m2": Variant(lambda c: Spec(mlp=MiniMaxMLP, qk_norm="full"), keys=moe.MIXTRAL_KEYS),
    "hy_v3": Variant(
        lambda c: Spec(mlp=hunyuan, qk_norm="head", qkv_bias=c.attention_bias, o_bias=c.attention_bias),
        members=FP32,
        keys=(
            *moe.SEPARATE,
            Rename("mlp.router.gate.weight", "mlp.gate.weight"),
            Rename("mlp.expert_bias", "mlp.e_score_correction_bias"),
            Rename("mlp.shared_mlp", "mlp.shared_experts"),
        ),
        ignores=decoder.next_token_layers,
    ),
    "afmoe": Variant(
        afmoe,
        members={
            "keep_fp32": (
                *("input_layernorm", "post_attention_layernorm", "pre_mlp_layernorm", "post_mlp_layernorm"),
                *("q_norm", "k_norm", "norm", "expert_bias"),
            )
        },
        keys=moe.SEPARATE,
    ),
    "ernie4_5_moe": Variant(
        lambda c: Spec(
            mlp=ernie,
            qkv_bias=c.use_bias,
            o_bias=c.use_bias,
            mlp_bias=c.use_bias,
            interleaved=True,
            rope_fp32=True,
        ),
        heads={"CausalLM": ErnieCausalLM},
        members={"keep_fp32": ("gate", "moe_statics")},
        keys=(
            *moe.SEPARATE,
            Rename("mlp.moe_statics.e_score_correction_bias", "mlp.gate.moe_statics.e_score_correction_bias"),
        ),
    ),
}
TASKS = moe.TASKS
