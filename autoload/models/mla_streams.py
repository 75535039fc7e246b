"""Decoders with several streams beside each other: hy_v4; deepseek_v4 builds on it.

Hyper-connections: Zhu et al. 2024 (arXiv:2409.19606). Each part reads a mixture of the streams and adds to all of them,
with weights that the streams themselves give. Xie et al. 2025 (arXiv:2512.24880) also mix the streams, by matrices whose
rows and columns sum to one.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.keys import Rename
from autoload.layers.attention import Context
from autoload.layers.experts import Experts
from autoload.layers.rope import rotate
from autoload.model import Variant
from autoload.models import decoder, mla, moe
from autoload.models.decoder import GatedMLP, Spec, hidden_act, norm_eps
from autoload.models.mla_indexed import IndexedAttention, IndexedModel, Indexer
from autoload.models.moe import expert_count
from autoload.models.moe_sigmoid import SharedMLP


def scores_of(streams: Tensor, weight: Tensor, eps: float) -> Tensor:
    """What a matrix makes of all streams together, once these are normed; fp32.

    Args:
        streams: (batch, seq, streams, dim).
        weight: (scores, streams * dim).
        eps: constant of the norm.
    """
    flat = streams.flatten(2).float()
    return F.linear(flat, weight.float()) * torch.rsqrt(flat.square().mean(-1, keepdim=True) + eps)


class HyperConnection(nn.Module):
    """The weights with which a part reads the streams, and those with which it adds to them."""

    def __init__(self, config: Any):
        super().__init__()
        self.count, self.magnitude, self.least = config.hc_mult, config.hc_magnitude, config.hc_eps
        self.eps = norm_eps(config)
        self.fn = nn.Parameter(torch.empty(2 * self.count, self.count * config.hidden_size))
        self.base = nn.Parameter(torch.empty(2 * self.count))
        self.scale = nn.Parameter(torch.empty(2))

    def init_own(self, std: float) -> None:
        nn.init.normal_(self.fn, std=std)
        nn.init.constant_(self.scale, 0.01)
        nn.init.zeros_(self.base)
        self.base[: self.count] = -math.log(max(self.count - 1, 1))  # as if each stream counted as one of all

    def forward(self, streams: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the part reads, (batch, seq, dim), the weights of what it gives, (batch, seq, streams), and the streams."""
        reading, writing = scores_of(streams, self.fn, self.eps).chunk(2, -1)
        bias, later_bias = self.base.chunk(2)
        weights = torch.sigmoid(reading * self.scale[0] + bias) + self.least
        later = self.magnitude * torch.sigmoid(writing * self.scale[1] + later_bias) + self.least
        return (weights[..., None] * streams).sum(2).to(streams.dtype), later, streams


class HyperHead(nn.Module):
    """One stream of several."""

    def __init__(self, config: Any):
        super().__init__()
        self.count, self.least, self.eps = config.hc_mult, config.hc_eps, norm_eps(config)
        self.hc_fn = nn.Parameter(torch.empty(self.count, self.count * config.hidden_size))
        self.hc_base = nn.Parameter(torch.empty(self.count))
        self.hc_scale = nn.Parameter(torch.empty(1))

    def init_own(self, std: float) -> None:
        nn.init.normal_(self.hc_fn, std=std)
        nn.init.constant_(self.hc_scale, 0.01)
        nn.init.constant_(self.hc_base, -math.log(max(self.count - 1, 1)))

    def forward(self, streams: Tensor) -> Tensor:
        scores = scores_of(streams, self.hc_fn, self.eps) * self.hc_scale.float() + self.hc_base.float()
        weights = torch.sigmoid(scores) + self.least
        return (weights[..., None] * streams).sum(2).to(streams.dtype)


class StreamLayer(decoder.Layer):
    """Attention and MLP read and write several streams."""

    connection: type[nn.Module] = HyperConnection

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        self.attn_hc, self.ffn_hc = self.connection(config), self.connection(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:  # (batch, seq, streams, dim)
        h, weights, x = self.attn_hc(x)
        x = spread(x, self.self_attn(self.input_layernorm(h), context), weights)
        h, weights, x = self.ffn_hc(x)
        return spread(x, self.feed(self.post_attention_layernorm(h), context), weights)


def spread(streams: Tensor, update: Tensor, weights: Tensor) -> Tensor:
    """The streams, and on each its share of an update."""
    added = weights.float()[..., None] * update.float()[..., None, :]
    return (added + streams.float()).to(streams.dtype)


class SinkhornConnection(nn.Module):
    """The weights of reading and of adding, and a matrix that mixes the streams; its rows and columns sum to one."""

    def __init__(self, config: Any):
        super().__init__()
        self.count, self.rounds, self.least = config.hc_mult, config.hc_sinkhorn_iters, config.hc_eps
        self.eps = norm_eps(config)
        scores = (2 + self.count) * self.count
        self.fn = nn.Parameter(torch.empty(scores, self.count * config.hidden_size))
        self.base = nn.Parameter(torch.zeros(scores))
        self.scale = nn.Parameter(torch.ones(3))

    def init_own(self, std: float) -> None:
        nn.init.normal_(self.fn, std=std)
        nn.init.zeros_(self.base)
        nn.init.ones_(self.scale)

    def forward(self, streams: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sizes = [self.count, self.count, self.count**2]
        scores = scores_of(streams, self.fn, self.eps).split(sizes, -1)
        biases = self.base.split(sizes)
        reading, writing, mixing = (s * scale + b for s, scale, b in zip(scores, self.scale, biases, strict=True))
        weights = torch.sigmoid(reading) + self.least
        read = (weights[..., None] * streams).sum(2).to(streams.dtype)
        mix = self.balance(mixing.unflatten(-1, (self.count, -1)))  # (batch, seq, streams, streams)
        return read, 2 * torch.sigmoid(writing), mix.to(streams.dtype).transpose(2, 3) @ streams

    def balance(self, scores: Tensor) -> Tensor:
        """Sinkhorn and Knopp 1967: rows and columns are made to sum to one by turns."""
        matrix = scores.softmax(-1) + self.least
        matrix = matrix / (matrix.sum(-2, keepdim=True) + self.least)
        for _ in range(self.rounds - 1):
            matrix = matrix / (matrix.sum(-1, keepdim=True) + self.least)
            matrix = matrix / (matrix.sum(-2, keepdim=True) + self.least)
        return matrix


class MixingLayer(StreamLayer):
    """Mixes the streams before it adds to them."""

    connection = SinkhornConnection


class MeanHead(HyperHead):
    """Begins as a mean."""

    def init_own(self, std: float) -> None:
        nn.init.normal_(self.hc_fn, std=std)
        nn.init.zeros_(self.hc_base)
        nn.init.ones_(self.hc_scale)


class TailIndexer(Indexer):
    """The last dimensions of a head turn; keys are normed in fp32."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__(config, layer_idx)
        self.k_norm = nn.LayerNorm(self.dim, eps=norm_eps(config))

    def turn(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        plain, turning = x.split([self.dim - cos.shape[-1], cos.shape[-1]], -1)
        return torch.cat([plain, rotate(turning, cos, sin)], -1)

    def keys(self, x: Tensor) -> Tensor:
        return self.k_norm(self.wk(x).to(self.k_norm.weight.dtype)).to(x.dtype)


class GatedSinkAttention(IndexedAttention):
    """Each head may look at nothing; what was seen passes a gate."""

    indexer_class = TailIndexer

    def make_projections(self, config: Any, spec: Spec) -> None:
        super().make_projections(config, spec)
        self.first = config.learnable_sink_init
        self.gate_proj = nn.Linear(config.hidden_size, self.heads * self.value, bias=False)
        self.sinks = nn.Parameter(torch.empty(self.heads))

    def init_own(self, std: float) -> None:
        nn.init.constant_(self.sinks, self.first)

    def look(self, q: Tensor, k: Tensor, v: Tensor, context: Context, sinks: Tensor | None = None) -> Tensor:
        return super().look(q, k, v, context, self.sinks)

    def output(self, seen: Tensor, x: Tensor) -> Tensor:
        return self.o_proj(seen * torch.sigmoid(self.gate_proj(x)))


class ClampedExperts(Experts):
    """Gate and value are clamped."""

    def gate(self, x: Tensor) -> Tensor:
        limit = self.config.swiglu_limit
        gate, value = x.chunk(2, -1)
        return self.act_fn(gate.clamp(max=limit)) * value.clamp(-limit, limit)


class ClampedMLP(SharedMLP):
    """Hunyuan's experts."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__(config, spec, layer_idx)
        self.experts = ClampedExperts(config, expert_count(config), config.moe_intermediate_size, hidden_act(config))


def hunyuan(config: Any, spec: Spec, layer_idx: int) -> nn.Module:
    return (ClampedMLP if config.mlp_layer_types[layer_idx] == "sparse" else GatedMLP)(config, spec, layer_idx)


class StreamModel(IndexedModel):
    """The embeddings begin as many streams, and a head joins these in the end."""

    head_class = HyperHead

    def __init__(self, config: Any):
        super().__init__(config)
        self.hc_head = self.head_class(config)

    def enter(self, x: Tensor) -> Tensor:
        return super().enter(x)[:, :, None].expand(-1, -1, self.config.hc_mult, -1)

    def final_norm(self, x: Tensor) -> Tensor:
        return self.norm(self.hc_head(x))


class FP32ScoreCausalLM(moe.CausalLM):
    """Scores in the dtype of its matrix, which stays fp32."""

    def score(self, hidden: Tensor) -> Tensor:
        return self.lm_head(hidden.to(self.lm_head.weight.dtype))


# The parameters of hyper-connections are said to belong to a module `hc_pre`, inside the part that they serve or around
# it. Files are written with it around, but for the head of a model without scores.
PARTS = (("hc_attn_layer", "hc", "attn_hc."), ("hc_mlp_layer", "hc", "ffn_hc."), ("hc_head", "hc_head", "hc_head.hc_"))
NAMES = ("fn", "base", "scale")
STREAM_KEYS = (
    *(Rename(f"{part}.hc_pre.{leaf}_{name}", f"{ours}{name}") for part, leaf, ours in PARTS for name in NAMES),
    *(Rename(f"hc_pre.{part}.{leaf}_{name}", f"{ours}{name}") for part, leaf, ours in PARTS[:2] for name in NAMES),
    *(Rename(f"model.hc_pre.hc_head.hc_head_{name}", f"model.hc_head.hc_{name}") for name in NAMES),
)
VARIANTS = {
    "hy_v4": Variant(
        lambda c: mla.latent(c, layer=StreamLayer, attention=GatedSinkAttention, mlp=hunyuan),
        members={
            "keep_fp32": (
                *("e_score_correction_bias", "weights_proj", "k_norm", "sinks", "lm_head"),
                *("fn", "base", "scale", "hc_fn", "hc_base", "hc_scale"),
            )
        },
        keys=(*STREAM_KEYS, Rename("learnable_sink_param", "sinks"), Rename("linear_gate", "gate_proj")),
    ),
}
TASKS = moe.TASKS | {"Model": StreamModel, "CausalLM": FP32ScoreCausalLM}
