"""Decoders with experts and an attention of their own: beam, laguna, llama4_text, mimo_v2_flash."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.keys import Rename
from autoload.layers.attention import Context
from autoload.layers.experts import Experts, Routed, TransposedExperts
from autoload.layers.norms import RMSNormFP32, UnweightedRMSNorm
from autoload.model import Variant
from autoload.models import decoder, moe
from autoload.models.decoder import GatedMLP, Spec, hidden_act
from autoload.models.moe import SparseMLP, expert_count
from autoload.models.moe_sigmoid import FP32, GatedAttention, GroupRouter
from autoload.models.moe_windows import SharedSumMLP, is_sparse

# -- beam


class BeamAttention(GatedAttention):
    """Its gate has a bias for each head; where a layer does not rotate, queries grow with their position."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        super().make_projections(config, spec)
        self.gate_bias = nn.Parameter(torch.zeros(self.heads))

    def init_own(self, std: float) -> None:
        nn.init.zeros_(self.gate_bias)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        gate = self.gate_proj(x).unflatten(-1, (self.heads, -1)) + self.gate_bias[:, None]
        return self.o_proj(self.see(x, context) * gate.sigmoid().flatten(-2))

    def place(self, q: Tensor, k: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        if self.rotates:
            return super().place(q, k, context)
        return (q.float() * context.extra["query_scale"]).to(q.dtype), k


class BeamLayer(decoder.SandwichLayer):
    """Keeps the stream's variance: the n-th update counts as one of n."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.before = 2 * layer_idx + 1  # updates so far, and the embedding

    def forward(self, x: Tensor, context: Context) -> Tensor:
        update = self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), context))
        x = _average(x, update, self.before)
        update = self.post_feedforward_layernorm(self.feed(self.pre_feedforward_layernorm(x), context))
        return _average(x, update, self.before + 1)


def _average(x: Tensor, update: Tensor, before: int) -> Tensor:
    count = before + 1
    return update * (1.0 / math.sqrt(count)) + x * math.sqrt(before / count)


class FP32GateExperts(Experts):
    """The activation in fp32."""

    def gate(self, x: Tensor) -> Tensor:
        return super().gate(x.float()).to(x.dtype)


class FP32GateMLP(GatedMLP):
    """The activation in fp32."""

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.gate_proj(x), self.up_proj(x)
        return self.down_proj((self.act_fn(gate.float()) * value.float()).to(gate.dtype))


class UnscaledGroupRouter(GroupRouter):
    """Leaves the factor to the sum."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.scale = 1.0


class BeamMLP(Routed):
    """Scales the sum of the experts."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.experts = FP32GateExperts(config, expert_count(config), config.moe_intermediate_size, hidden_act(config))
        self.gate = UnscaledGroupRouter(config)
        self.scale = config.routed_scaling_factor

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.route(x.flatten(0, -2), self.gate, self.experts, context).view_as(x) * self.scale


def beam(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (BeamMLP if is_sparse(config, layer_idx) else FP32GateMLP)(config, spec, layer_idx)


class BeamModel(moe.Model):
    """Makes the factor for the queries of layers that do not rotate (scalable softmax, arXiv:2501.19399)."""

    def make_extra(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        scale = torch.exp(0.1 * torch.log1p((positions.float() + 1) / 2048))
        return super().make_extra(positions, x) | {"query_scale": scale[:, None, :, None]}  # (batch, 1, seq, 1)


class BeamCausalLM(moe.CausalLM):
    """Caps the scores in fp32."""

    def score(self, hidden: Tensor) -> Tensor:
        logits, cap = self.lm_head(hidden), self.config.final_logit_softcapping
        return logits if cap is None else torch.tanh(logits.float() / cap) * cap


# -- laguna


class CappedRouter(moe.Router):
    """Sigmoids of capped scores; the bias of the choice is a parameter that gradients leave alone."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.cap = config.moe_router_logit_softcapping
        self.e_score_correction_bias = nn.Parameter(torch.zeros(config.num_experts), requires_grad=False)

    def init_own(self, std: float) -> None:
        super().init_own(std)
        self.e_score_correction_bias.zero_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x, self.weight).float()
        if self.cap > 0:
            logits = torch.tanh(logits / self.cap) * self.cap
        scores = logits.sigmoid()
        chosen = (scores + self.e_score_correction_bias).topk(self.picks, -1).indices
        weights = scores.gather(-1, chosen)
        return logits, (weights / weights.sum(-1, keepdim=True)).to(x.dtype), chosen


class LagunaMLP(SharedSumMLP):
    """Laguna's experts."""

    router = CappedRouter


def laguna(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (LagunaMLP if is_sparse(config, layer_idx) else GatedMLP)(config, spec, layer_idx)


class LagunaAttention(decoder.Attention):
    """As many heads as its layer has; what was seen passes a gate, for each head or for each number."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        self.heads = config.num_attention_heads_per_layer[self.layer_idx]
        super().make_projections(config, spec)
        self.gates = self.heads if config.gating in (True, "per-head") else self.heads * self.dim
        self.g_proj = nn.Linear(config.hidden_size, self.gates, bias=False)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        out = self.see(x, context).unflatten(-1, (self.gates, -1))
        gate = F.softplus(self.g_proj(x).float()).to(out.dtype)
        return self.o_proj((out * gate[..., None]).flatten(-2))


# -- mimo_v2_flash


class MiMoAttention(decoder.Attention):
    """Narrower values, scaled; twice the key heads and a place to look away to where it sees a window."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        windowed, dim = self.kind == "sliding_attention", config.hidden_size
        self.kv_heads = config.num_key_value_heads * (2 if windowed else 1)
        self.value_scale = 1.0 if config.attention_value_scale is None else config.attention_value_scale
        self.q_proj = nn.Linear(dim, self.heads * self.dim, bias=spec.qkv_bias)
        self.k_proj = nn.Linear(dim, self.kv_heads * self.dim, bias=spec.qkv_bias)
        self.v_proj = nn.Linear(dim, self.kv_heads * config.v_head_dim, bias=spec.qkv_bias)
        self.o_proj = nn.Linear(self.heads * config.v_head_dim, dim, bias=spec.o_bias)
        self.sinks = nn.Parameter(torch.empty(self.heads)) if windowed else None

    def init_own(self, std: float) -> None:
        if self.sinks is not None:
            nn.init.normal_(self.sinks, std=std)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = super().project(x)
        return q, k, v * self.value_scale

    def look(self, q: Tensor, k: Tensor, v: Tensor, context: Context, sinks: Tensor | None = None) -> Tensor:
        return super().look(q, k, v, context, self.sinks)


class GroupMLP(SparseMLP):
    """Experts in groups."""

    router = GroupRouter


def mimo(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (GroupMLP if is_sparse(config, layer_idx) else GatedMLP)(config, spec, layer_idx)


# -- llama4_text


class ScaledInputExperts(TransposedExperts):
    """Weighs what goes in, not what comes out."""

    def forward(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        pairs = (x[:, None] * weights[..., None]).flatten(0, 1)  # (tokens * k, dim)
        one = weights.new_ones(len(pairs), 1)
        return super().forward(pairs, chosen.reshape(-1, 1), one).unflatten(0, chosen.shape).sum(1)


class LlamaRouter(moe.Router):
    """Sigmoids of the best scores."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = F.linear(x, self.weight)
        best, chosen = logits.topk(self.picks, -1)
        return logits, best.float().sigmoid().to(x.dtype), chosen


class LlamaMLP(Routed):
    """Llama 4's experts, and one for all tokens."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.experts = ScaledInputExperts(config, config.num_local_experts, config.intermediate_size, config.hidden_act)
        self.router = LlamaRouter(config)
        self.shared_expert = GatedMLP(config, spec)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.shared_expert(x) + self.route(x.flatten(0, -2), self.router, self.experts, context).view_as(x)


def llama(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    if layer_idx in config.moe_layers:
        return LlamaMLP(config, spec, layer_idx)
    return GatedMLP(config, spec, layer_idx, config.intermediate_size_mlp)


class LlamaLayer(decoder.Layer):
    """Calls its MLP `feed_forward`."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.feed_forward = self.mlp
        del self.mlp

    def feed(self, x: Tensor, context: Context) -> Tensor:
        return self.feed_forward(x, context) if self.routed else self.feed_forward(x)


class LlamaAttention(decoder.Attention):
    """Norms what it has rotated; where it does not rotate, queries grow with their place."""

    def make_norms(self, config: Any, spec: Spec) -> None:
        self.qk_norm = None
        self.norm = UnweightedRMSNorm(eps=config.rms_norm_eps) if config.use_qk_norm and self.rotates else None
        self.tunes = config.attn_temperature_tuning and not self.rotates
        self.floor_scale, self.attn_scale = config.floor_scale, config.attn_scale

    def place(self, q: Tensor, k: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        q, k = super().place(q, k, context)
        if self.norm is not None:
            q, k = self.norm(q), self.norm(k)
        if self.tunes:  # by the place in the row, padding included
            past = context.cache.get_seq_length(self.layer_idx) if context.cache is not None else 0
            places = (torch.arange(q.shape[2], device=q.device) + past).float()
            scale = torch.log1p(torch.floor((places + 1.0) / self.floor_scale)) * self.attn_scale + 1.0
            q = (q * scale[:, None]).to(q.dtype)
        return q, k


VARIANTS = {
    "llama4_text": Variant(
        lambda c: Spec(
            layer=LlamaLayer,
            attention=LlamaAttention,
            mlp=llama,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            interleaved=True,
            rope_fp32=True,
            no_rope=frozenset(i for i, turns in enumerate(c.no_rope_layers) if not turns),
        ),
        members={"balances": False},
    ),
    "beam": Variant(
        lambda c: Spec(
            norm=RMSNormFP32,
            layer=BeamLayer,
            attention=BeamAttention,
            mlp=beam,
            qk_norm="head",
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            rope_fp32=True,
            no_rope=frozenset(i for i, kind in enumerate(c.layer_types) if c.rope_parameters[kind] is None),
        ),
        heads={"Model": BeamModel, "CausalLM": BeamCausalLM},
        members={"keep_fp32": ("e_score_correction_bias", "gate")},
        keys=moe.SEPARATE,
    ),
    "laguna": Variant(
        lambda c: Spec(
            attention=LagunaAttention,
            mlp=laguna,
            qk_norm="head",
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
        ),
        keys=(
            *moe.SEPARATE,
            Rename("mlp.experts.e_score_correction_bias", "mlp.gate.e_score_correction_bias"),
            Rename("mlp.shared_expert", "mlp.shared_experts"),
        ),
    ),
    "mimo_v2_flash": Variant(
        lambda c: Spec(attention=MiMoAttention, mlp=mimo, qkv_bias=c.attention_bias),
        members=FP32,
        keys=(*moe.SEPARATE, Rename("self_attn.attention_sink_bias", "self_attn.sinks")),
    ),
}
TASKS = moe.TASKS
