"""Gemmas with an embedding for each layer, and last layers that borrow keys and values: gemma4_text, gemma4_unified_text."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.keys import Prefix
from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.layers.norms import RMSNormFP32, UnweightedRMSNorm
from autoload.layers.rope import Rotary
from autoload.model import Variant, resized
from autoload.models import decoder
from autoload.models.decoder import Spec, head_dim, hidden_act, norm_eps
from autoload.outputs import BaseModelOutputWithPast, CausalLMOutputWithPast


def kv_roles(config: Any) -> list[str]:
    """Whether each layer has keys and values of its "own", "lends" them too, or "borrows" an earlier layer's.

    Draft models borrow those of a large model, so some layers lend even where all have their own.
    """
    kinds, first = config.layer_types, config.num_hidden_layers - config.num_kv_shared_layers
    if first == 0:  # a draft model: the caller lends
        return ["borrows"] * config.num_hidden_layers
    lenders = {kind: i for i, kind in enumerate(kinds[: max(first, 0)])}  # the last of each kind
    if lenders.keys() != set(kinds):
        expected = "few enough that each kind of layer is also among the layers before them"
        raise ConfigError("num_kv_shared_layers", config.num_kv_shared_layers, expected)
    return ["borrows" if i >= first else "lends" if i == lenders[kind] else "own" for i, kind in enumerate(kinds)]


def borrowed(config: Any) -> str:
    """Names of the keys and values that the Hub's files have for layers which borrow those of others."""
    layers = "|".join(str(i) for i, role in enumerate(kv_roles(config)) if role == "borrows")
    return rf"(?:^|\.)layers\.(?:{layers})\.self_attn\.(?:k_proj|v_proj|k_norm|v_norm)\." if layers else "(?!)"


class SharedAttention(decoder.Attention):
    """Norms values too; the last layers look at the keys and values of an earlier layer of their kind."""

    def make_projections(self, config: Any, spec: Spec) -> None:
        self.role = kv_roles(config)[self.layer_idx]
        self.q_proj = nn.Linear(config.hidden_size, self.heads * self.dim, bias=spec.qkv_bias)
        self.o_proj = nn.Linear(self.heads * self.dim, config.hidden_size, bias=spec.o_bias)
        if self.role != "borrows":
            self.k_proj = nn.Linear(config.hidden_size, self.kv_heads * self.dim, bias=spec.qkv_bias)
            keys_are_values = getattr(config, "attention_k_eq_v", False) and self.kind != "sliding_attention"
            size = (config.hidden_size, self.kv_heads * self.dim)
            self.v_proj = None if keys_are_values else nn.Linear(*size, bias=spec.qkv_bias)

    def make_norms(self, config: Any, spec: Spec) -> None:
        eps = norm_eps(config)
        self.q_norm = RMSNormFP32(self.dim, eps)
        if self.role != "borrows":
            self.k_norm, self.v_norm = RMSNormFP32(self.dim, eps), UnweightedRMSNorm(self.dim, eps)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        cos, sin = context.rope[self.kind]
        q = self.q_norm(self.q_proj(x).unflatten(-1, (-1, self.dim))).transpose(1, 2)  # (batch, heads, seq, dim)
        if self.role == "borrows":
            k, v = (t.to(x.device) for t in context.extra["lent"][self.kind])
        else:
            k, v = self.keys_and_values(x, cos, sin)
            if context.cache is not None:
                k, v = context.cache.update(k, v, self.layer_idx)
        if self.role == "lends":  # all that was seen, though the cache of a window forgets
            context.extra["lent"][self.kind] = k, v
        return self.output(self.look(self.turn(q, cos, sin), k, v, context), x)

    def keys_and_values(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        k = self.k_proj(x).unflatten(-1, (-1, self.dim))  # (batch, seq, heads, dim)
        v = k if self.v_proj is None else self.v_proj(x).unflatten(-1, (-1, self.dim))
        return self.turn(self.k_norm(k).transpose(1, 2), cos, sin), self.v_norm(v).transpose(1, 2)


class NormedValueAttention(decoder.Attention):
    """Norms queries, keys and values of each head."""

    def make_norms(self, config: Any, spec: Spec) -> None:
        super().make_norms(config, spec)
        self.v_norm = UnweightedRMSNorm(self.dim, norm_eps(config))

    def look(self, q: Tensor, k: Tensor, v: Tensor, context: Context, sinks: Tensor | None = None) -> Tensor:
        return super().look(q, k, self.v_norm(v), context, sinks)


# -- an embedding for each layer


class PackedEmbedding(decoder.ScaledEmbedding):
    """The embeddings of all layers side by side, each multiplied by the root of its own width."""

    layers = 1

    def width(self) -> int:
        return self.embedding_dim // self.layers


class LayerInputModel(decoder.Model):
    """Each layer gets an embedding of the token, mixed with a projection of the main one.

    `forward` takes `per_layer_inputs` (batch, seq, layers, small dim) where there are no token numbers.
    """

    reads = ("shared_kv_states", "per_layer_inputs", "return_shared_kv_states")

    def __init__(self, config: Any):
        super().__init__(config)
        self.small = getattr(config, "hidden_size_per_layer_input", 0)
        if self.small:
            width = config.num_hidden_layers * self.small
            table = PackedEmbedding(config.vocab_size_per_layer_input, width, config.pad_token_id)
            self.embed_tokens_per_layer, table.layers = table, config.num_hidden_layers
            self.per_layer_model_projection = nn.Linear(config.hidden_size, width, bias=False)
            self.per_layer_projection_norm = RMSNormFP32(self.small, norm_eps(config))

    def set_input_embeddings(self, value: nn.Module) -> None:
        """A table with other tokens comes with as many embeddings for each layer."""
        count = value.num_embeddings
        if self.small and count != self.embed_tokens.num_embeddings:
            self.embed_tokens_per_layer = resized(self.embed_tokens_per_layer, int(count))  # type: ignore[arg-type]
            self.config.vocab_size_per_layer_input = count
        super().set_input_embeddings(value)

    def read(self, input_ids: Tensor | None, embeds: Tensor, **kwargs: Any) -> dict[str, Any]:
        extra: dict[str, Any] = {"lent": dict(kwargs.get("shared_kv_states") or {})}
        if getattr(self.config, "num_kv_shared_layers", 0) == self.config.num_hidden_layers and not extra["lent"]:
            text = "forward: all layers borrow keys and values. Pass shared_kv_states, those of the model that lends."
            raise ArgumentError(text, name="shared_kv_states")
        if self.small:
            extra["inputs"] = self.layer_inputs(input_ids, embeds, kwargs.get("per_layer_inputs"))
        return extra

    def layer_inputs(self, input_ids: Tensor | None, embeds: Tensor, given: Tensor | None) -> Tensor:
        """What each layer gets: (batch, seq, layers, small dim)."""
        if given is None:
            given = self.look_up(input_ids)
        projected = self.per_layer_model_projection(embeds) * self.config.hidden_size**-0.5
        projected = self.per_layer_projection_norm(projected.unflatten(-1, (-1, self.small)))
        return projected if given is None else (projected + given) * 2**-0.5

    def look_up(self, input_ids: Tensor | None) -> Tensor | None:
        """Embeddings for all layers from token numbers."""
        if input_ids is None:
            text = "forward: inputs_embeds alone do not say which tokens these are. Pass per_layer_inputs too."
            raise ArgumentError(text, name="per_layer_inputs")
        return self.embed_tokens_per_layer(input_ids).unflatten(-1, (-1, self.small))


# -- gemma4


def of_layer(config: Any, layer_idx: int) -> Any:
    """A layer's own view of the configuration."""
    own = copy.copy(config)
    overrides = getattr(config, "per_layer_config", None) or {}
    own.__dict__.update({k: v for key, fields in overrides.items() if int(key) == layer_idx for k, v in fields.items()})
    if getattr(config, "use_double_wide_mlp", False) and kv_roles(config)[layer_idx] == "borrows":
        own.intermediate_size = 2 * config.intermediate_size
    return own


class Gemma4Layer(decoder.SandwichLayer):
    """Adds its own embedding of the token, and scales the stream."""

    layer_scalar: Tensor

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        config = of_layer(config, layer_idx)
        super().__init__(config, spec, layer_idx)
        self.layer_idx, self.small = layer_idx, getattr(config, "hidden_size_per_layer_input", 0)
        self.register_buffer("layer_scalar", torch.ones(1))
        if self.small:
            self.act_fn = Activation(hidden_act(config))
            self.per_layer_input_gate = nn.Linear(config.hidden_size, self.small, bias=False)
            self.per_layer_projection = nn.Linear(self.small, config.hidden_size, bias=False)
            self.post_per_layer_input_norm = spec.norm(config.hidden_size, norm_eps(config))

    def init_own(self, std: float) -> None:
        self.layer_scalar.fill_(1.0)

    def feed(self, x: Tensor) -> Tensor:
        return self.mlp(self.pre_feedforward_layernorm(x))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x + self.post_attention_layernorm(self.self_attn(self.input_layernorm(x), context))
        x = x + self.post_feedforward_layernorm(self.feed(x))
        if self.small:
            own = self.act_fn(self.per_layer_input_gate(x)) * context.extra["inputs"][:, :, self.layer_idx]
            x = x + self.post_per_layer_input_norm(self.per_layer_projection(own))
        return x * self.layer_scalar


class Gemma4ExpertLayer(Gemma4Layer):
    """Adds a mixture of experts to the MLP."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__(config, spec, layer_idx)
        size, eps = config.hidden_size, norm_eps(config)
        self.router = Gemma4Router(config)
        self.experts = Gemma4Experts(config)
        self.post_feedforward_layernorm_1 = spec.norm(size, eps)
        self.post_feedforward_layernorm_2 = spec.norm(size, eps)
        self.pre_feedforward_layernorm_2 = spec.norm(size, eps)

    def feed(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)  # (tokens, dim)
        mixed = self.experts(self.pre_feedforward_layernorm_2(tokens), *self.router(tokens)).view_as(x)
        return self.post_feedforward_layernorm_1(super().feed(x)) + self.post_feedforward_layernorm_2(mixed)


class Gemma4Router(nn.Module):
    """Chooses by softmax of a normed, scaled input; each expert has a factor of its own."""

    def __init__(self, config: Any):
        super().__init__()
        self.picks, self.root = config.top_k_experts, config.hidden_size**-0.5
        self.norm = UnweightedRMSNorm(config.hidden_size, norm_eps(config))
        self.proj = nn.Linear(config.hidden_size, config.num_experts, bias=False)
        self.scale = nn.Parameter(torch.ones(config.hidden_size))
        self.per_expert_scale = nn.Parameter(torch.ones(config.num_experts))

    def init_own(self, std: float) -> None:
        self.scale.fill_(1.0)
        self.per_expert_scale.fill_(1.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers and weights of the experts of each token: two of (tokens, picks)."""
        scores = self.proj(self.norm(x) * self.scale * self.root).softmax(-1, dtype=torch.float32)
        weights, chosen = scores.topk(self.picks, -1)
        return chosen, weights / weights.sum(-1, keepdim=True) * self.per_expert_scale[chosen]


class Gemma4Experts(nn.Module):
    """Gated MLPs of which each token passes through a few."""

    def __init__(self, config: Any):
        super().__init__()
        count, wide, size = config.num_experts, config.moe_intermediate_size, config.hidden_size
        self.gate_up_proj = nn.Parameter(torch.empty(count, 2 * wide, size))
        self.down_proj = nn.Parameter(torch.empty(count, size, wide))
        self.act_fn = Activation(hidden_act(config))

    def init_own(self, std: float) -> None:
        self.gate_up_proj.normal_(0.0, std)
        self.down_proj.normal_(0.0, std)

    def forward(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(x)  # (tokens, dim)
        for expert in chosen.unique().tolist():
            token, place = (chosen == expert).nonzero(as_tuple=True)
            gate, value = nn.functional.linear(x[token], self.gate_up_proj[expert]).chunk(2, -1)
            y = nn.functional.linear(self.act_fn(gate) * value, self.down_proj[expert])
            out = out.index_add(0, token, (y * weights[token, place, None]).to(out.dtype))
        return out


def rotary_by_kind(config: Any, interleaved: bool = False) -> nn.ModuleDict:
    """Tables for each kind of layer, of the size of its heads."""
    tables = {}
    for kind in dict.fromkeys(config.layer_types):
        rope, own = config.rope_parameters.get(kind), of_layer(config, config.layer_types.index(kind))
        if rope is None:
            raise ConfigError(f"rope_parameters.{kind}", rope, "an object with rope_type and its settings")
        tables[kind] = Rotary(rope, head_dim(own), config.max_position_embeddings, interleaved)
    return nn.ModuleDict(tables)


@dataclass
class LendingOutput(BaseModelOutputWithPast):
    """`shared_kv_states`: keys and values by kind of layer, (batch, heads, keys, dim) each."""

    shared_kv_states: Any = None


@dataclass
class LendingCausalLMOutput(CausalLMOutputWithPast):
    """The same, beside scores."""

    shared_kv_states: Any = None


class Gemma4Model(LayerInputModel):
    """Heads may have another size in each kind of layer."""

    lends = True  # keys and values, to a draft model

    def make_rotary(self, config: Any, spec: Spec) -> nn.ModuleDict:
        return rotary_by_kind(config)

    def result(self, out: Any, context: Context, return_shared_kv_states: bool | None = None, **kwargs: Any) -> Any:
        if not return_shared_kv_states:
            return out
        parts = (out.last_hidden_state, out.past_key_values, out.hidden_states, out.attentions)
        return LendingOutput(*parts, context.extra["lent"])


class Gemma4CausalLM(decoder.CausalLM):
    """Hands on what is lent to a draft model: `return_shared_kv_states=True` asks for it."""

    def output(self, loss: Tensor | None, logits: Tensor, out: Any) -> Any:
        parts = (loss, logits, out.past_key_values, out.hidden_states, out.attentions)
        lent = out.get("shared_kv_states")
        return super().output(loss, logits, out) if lent is None else LendingCausalLMOutput(*parts, lent)


def gemma4(c: Any) -> Spec:
    everywhere = c.use_bidirectional_attention == "all"
    return Spec(
        norm=RMSNormFP32,
        layer=Gemma4ExpertLayer if getattr(c, "enable_moe_block", False) else Gemma4Layer,
        attention=SharedAttention,
        qkv_bias=c.attention_bias,
        o_bias=c.attention_bias,
        scale=1.0,
        logits_softcap=c.final_logit_softcapping,
        embedding_class=decoder.ScaledEmbedding,
        # The file's window counts both sides; ours is one side and the token itself. The reference sees one token
        # further here than in gemma3.
        window=c.sliding_window // 2 + 2 if everywhere else None,
    )


# The text part of a file that holds the whole model.
PART = (Prefix("model.language_model.", "model.", saved=False),)
HEADS = {"Model": Gemma4Model, "CausalLM": Gemma4CausalLM}
VARIANTS = {
    "gemma4_text": Variant(gemma4, heads=HEADS, keys=PART, ignores=borrowed),
    "gemma4_unified_text": Variant(gemma4, heads=HEADS, keys=PART, ignores=borrowed),
}
TASKS = decoder.TASKS
