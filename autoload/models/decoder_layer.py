"""A layer of a Llama-like decoder, in the parts that types exchange: what a `Spec` says, attention, MLP, the wiring.

No model type lives here; the families decoder, moe and mla, with all that branch off, build on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend
from autoload.layers.experts import Routed
from autoload.layers.norms import LayerNormFP32, RMSNorm
from autoload.layers.rope import rotate, rotate_pairs


@dataclass(frozen=True)
class Spec:
    """What tells one Llama-like decoder from another. Classes default to Llama's, numbers to "no change"."""

    norm: Callable[..., nn.Module] = RMSNorm
    layer: type | None = None  # None: norm before each part, one part after the other
    attention: type | None = None
    mlp: Callable[..., nn.Module] | None = None  # (config, spec, layer_idx)
    qk_norm: Literal["head", "full"] | None = None  # over each head, or over all of them at once
    qk_norm_class: Callable[..., nn.Module] | None = None  # where it is not `norm`
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    scale: float | None = None  # of the scores; None: head_dim ** -0.5
    softcap: float | None = None  # of the scores
    logits_softcap: float | None = None
    interleaved: bool = False  # rotary pairs are (2i, 2i + 1)
    rope_fp32: bool = False  # rotate in fp32
    turn_fp32: bool = False  # the same with tables that were rounded
    no_rope: frozenset[int] = frozenset()  # layers that do not rotate
    embedding_class: type = nn.Embedding
    embedding_scale: float | None = None
    embedding_dropout: float = 0.0
    residual_scale: float | None = None
    residual_dropout: float = 0.0
    mlp_dropout: float = 0.0  # in the MLP's branch alone
    logits_scale: float | None = None
    bidirectional: bool = False
    window: int | None = None  # where it is not the configuration's `sliding_window`


# How tensor parallelism cuts the matrices of a layer: by their outputs, or by their inputs.
TENSOR_PLAN = {
    **dict.fromkeys((f"layers.*.self_attn.{name}_proj" for name in "qkv"), "columns"),
    "layers.*.self_attn.o_proj": "rows",
    "layers.*.mlp.gate_proj": "columns",
    "layers.*.mlp.up_proj": "columns",
    "layers.*.mlp.down_proj": "rows",
}


def layer_kinds(config: Any) -> list[str]:
    """What each layer can see: the configuration's `layer_types`, or its window for all, or everything."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return kinds
    window = getattr(config, "sliding_window", None)
    return ["sliding_attention" if window else "full_attention"] * config.num_hidden_layers


def norm_eps(config: Any) -> float:
    """The constant of the norms, by whichever name the type has it."""
    for name in ("rms_norm_eps", "layer_norm_eps", "norm_eps", "norm_epsilon", "layernorm_epsilon"):
        if (eps := getattr(config, name, None)) is not None:
            return eps
    return 1e-5


def head_dim(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def next_token_layers(config: Any) -> str:
    """Names of the layers that some files have behind the model's, by which it learnt to guess tokens further ahead."""
    count = config.num_hidden_layers
    further = getattr(config, "num_nextn_predict_layers", None) or 1
    return rf"(?:^|\.)layers\.(?:{'|'.join(str(count + i) for i in range(further))})\."


class ScaledEmbedding(nn.Embedding):
    """Multiplies by the root of its width, rounded to the weight's dtype."""

    def width(self) -> int:
        return self.embedding_dim

    def forward(self, input: Tensor) -> Tensor:
        scale = torch.tensor(self.width() ** 0.5, dtype=self.weight.dtype, device=self.weight.device)
        return super().forward(input) * scale


class Attention(nn.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__()
        self.layer_idx, self.kind = layer_idx, layer_kinds(config)[layer_idx]
        self.rope_key: Any = self.kind
        self.heads, self.dim = config.num_attention_heads, head_dim(config)
        self.kv_heads = getattr(config, "num_key_value_heads", None) or self.heads
        self.scale = self.dim**-0.5 if spec.scale is None else spec.scale
        self.softcap, self.dropout = spec.softcap, getattr(config, "attention_dropout", 0.0)
        self.rotates = layer_idx not in spec.no_rope
        self.turn = rotate_pairs if spec.interleaved else rotate
        self.make_projections(config, spec)
        self.make_norms(config, spec)

    def make_projections(self, config: Any, spec: Spec) -> None:
        self.q_proj = nn.Linear(config.hidden_size, self.heads * self.dim, bias=spec.qkv_bias)
        self.k_proj = nn.Linear(config.hidden_size, self.kv_heads * self.dim, bias=spec.qkv_bias)
        self.v_proj = nn.Linear(config.hidden_size, self.kv_heads * self.dim, bias=spec.qkv_bias)
        self.o_proj = nn.Linear(self.heads * self.dim, config.hidden_size, bias=spec.o_bias)

    def make_norms(self, config: Any, spec: Spec) -> None:
        self.qk_norm = spec.qk_norm
        if spec.qk_norm is not None:
            norm, eps = spec.qk_norm_class or spec.norm, norm_eps(config)
            per_head = spec.qk_norm == "head"
            self.q_norm = norm(self.dim if per_head else self.heads * self.dim, eps)
            self.k_norm = norm(self.dim if per_head else self.kv_heads * self.dim, eps)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values before they are split into heads."""
        return self.q_proj(x), self.k_proj(x), self.v_proj(x)

    def normalise(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Norm over each head, of (batch, seq, heads, dim)."""
        return (self.q_norm(q), self.k_norm(k)) if self.qk_norm == "head" else (q, k)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.output(self.see(x, context), x)

    def see(self, x: Tensor, context: Context) -> Tensor:
        """What the heads gather; (batch, seq, heads * dim)."""
        q, k, v = self.project(x)
        if self.qk_norm == "full":
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = q.unflatten(-1, (-1, self.dim)), k.unflatten(-1, (-1, self.dim))  # (batch, seq, heads, dim)
        v = v.unflatten(-1, (self.kv_heads, -1))
        q, k = self.normalise(q, k)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (batch, heads, seq, dim)
        q, k = self.place(q, k, context)
        if context.cache is not None:
            k, v = context.cache.update(k, v, self.layer_idx)
        return self.look(q, k, v, context)

    def place(self, q: Tensor, k: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Queries and keys that know their positions."""
        if not self.rotates:
            return q, k
        cos, sin = context.rope[self.rope_key]
        if q.shape[2] > 1:
            return self.turn(q, cos, sin), self.turn(k, cos, sin)
        q, k = self.turn(torch.cat([q, k], 1), cos, sin).split([q.shape[1], k.shape[1]], 1)
        return q, k  # turned at once: in a decoding step the number of calls counts

    def output(self, seen: Tensor, x: Tensor) -> Tensor:
        """From what was seen back to the stream; `x` is what the layer read."""
        return self.o_proj(seen)

    def look(self, q: Tensor, k: Tensor, v: Tensor, context: Context, sinks: Tensor | None = None) -> Tensor:
        """Attention over the keys; (batch, seq, heads * dim)."""
        return attend(
            q,
            k,
            v,
            context.masks[self.kind],
            context,
            scale=self.scale,
            dropout=self.dropout if self.training else 0.0,
            softcap=self.softcap,
            sinks=sinks,
            weights_to=context.attentions,
        )


class FusedAttention(Attention):
    """Queries, keys and values in one matrix."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        self.sizes = [self.heads * self.dim, self.kv_heads * self.dim, self.kv_heads * self.dim]
        self.o_proj = nn.Linear(self.heads * self.dim, config.hidden_size, bias=spec.o_bias)
        self.qkv_proj = nn.Linear(config.hidden_size, sum(self.sizes), bias=spec.qkv_bias)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv_proj(x).split(self.sizes, -1)
        return q, k, v


class PerHeadNormAttention(Attention):
    """Layer norms with one weight for each head."""

    def make_norms(self, config: Any, spec: Spec) -> None:
        self.qk_norm = spec.qk_norm
        if spec.qk_norm is not None:
            self.q_norm = LayerNormFP32((self.heads, self.dim), norm_eps(config))
            self.k_norm = LayerNormFP32((self.kv_heads, self.dim), norm_eps(config))


class GatedMLP(nn.Module):
    """SwiGLU and its relatives (arXiv:2002.05202)."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0, size: int | None = None):
        super().__init__()
        wide: int = size or config.intermediate_size
        self.gate_proj = nn.Linear(config.hidden_size, wide, bias=spec.mlp_bias)
        self.up_proj = nn.Linear(config.hidden_size, wide, bias=spec.mlp_bias)
        self.down_proj = nn.Linear(wide, config.hidden_size, bias=spec.mlp_bias)
        self.act_fn = Activation(hidden_act(config))
        self.dropout = nn.Dropout(spec.mlp_dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
        return self.dropout(x) if self.training else x


class FusedGatedMLP(nn.Module):
    """Gate and value in one matrix."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int = 0):
        super().__init__()
        self.gate_up_proj = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=spec.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=spec.mlp_bias)
        self.activation_fn = Activation(hidden_act(config))

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.gate_up_proj(x).chunk(2, -1)
        return self.down_proj(value * self.activation_fn(gate))


def hidden_act(config: Any) -> str:
    """Name of the activation, by whichever name the type has it."""
    return getattr(config, "hidden_activation", None) or config.hidden_act


class Layer(nn.Module):
    """Attention and MLP, each after a norm and added to the stream."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__()
        self.scale = spec.residual_scale
        self.self_attn = (spec.attention or Attention)(config, spec, layer_idx)
        self.mlp = (spec.mlp or GatedMLP)(config, spec, layer_idx)
        self.routed = isinstance(self.mlp, Routed)
        self.dropout = nn.Dropout(spec.residual_dropout)
        self.make_norms(lambda: spec.norm(config.hidden_size, norm_eps(config)))

    def make_norms(self, norm: Callable[[], nn.Module]) -> None:
        self.input_layernorm = norm()
        self.post_attention_layernorm = norm()

    def add(self, x: Tensor, update: Tensor) -> Tensor:
        if self.training:
            update = self.dropout(update)
        return x + update if self.scale is None else x + update * self.scale

    def feed(self, x: Tensor, context: Context) -> Tensor:
        """The MLP, or the experts in its place."""
        return self.mlp(x, context) if self.routed else self.mlp(x)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.add(x, self.self_attn(self.input_layernorm(x), context))
        return self.add(x, self.feed(self.post_attention_layernorm(x), context))


class PostNormLayer(Layer):
    """Norms after attention and MLP, before they are added."""

    def make_norms(self, norm: Callable[[], nn.Module]) -> None:
        self.post_attention_layernorm = norm()
        self.post_feedforward_layernorm = norm()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.add(x, self.post_attention_layernorm(self.self_attn(x, context)))
        return self.add(x, self.post_feedforward_layernorm(self.feed(x, context)))


class SandwichLayer(Layer):
    """Norms before and after attention and MLP."""

    def make_norms(self, norm: Callable[[], nn.Module]) -> None:
        self.input_layernorm = norm()
        self.post_attention_layernorm = norm()
        self.pre_feedforward_layernorm = norm()
        self.post_feedforward_layernorm = norm()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.add(x, self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), context)))
        return self.add(x, self.post_feedforward_layernorm(self.feed(self.pre_feedforward_layernorm(x), context)))


class ParallelLayer(Layer):
    """Attention and MLP both read one norm of the stream."""

    def make_norms(self, norm: Callable[[], nn.Module]) -> None:
        self.input_layernorm = norm()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        h = self.input_layernorm(x)
        return self.add(self.add(x, self.self_attn(h, context)), self.feed(h, context))
