"""Llama-like decoders: llama, mistral, qwen2, qwen3, gemma, gemma2, phi3, olmo2, granite, cohere.

Touvron et al. 2023 (arXiv:2302.13971) and what grew from it: one stack of layers, with other norms, biases, windows,
factors and wirings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ArgumentError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask, attend, decoder_mask, kernel_of
from autoload.layers.cache import DynamicCache
from autoload.layers.experts import Routed
from autoload.layers.norms import LayerNormFP32, RMSNorm, RMSNormFP32, ZeroCentredRMSNorm
from autoload.layers.rope import Rotary, rotate, rotate_pairs
from autoload.model import PreTrainedModel, Variant, finish
from autoload.outputs import BaseModelOutputWithPast


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
        return self.turn(q, cos, sin), self.turn(k, cos, sin)

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
        return self.dropout(self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x)))


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


class Model(PreTrainedModel):
    """A Llama-like decoder without a head."""

    base_model_prefix = "model"
    _no_split_modules = ["Layer"]
    last_is_normed = True  # the last of the hidden states

    def __init__(self, config: Any):
        super().__init__(config)
        spec: Spec = self.variant.spec(config)
        self.spec, self.kinds = spec, layer_kinds(config)
        self.embed_tokens = self.make_embedding(config, spec)
        self.make_layers(config, spec)
        self.make_final_norm(spec.norm(config.hidden_size, norm_eps(config)))
        self.rotary_emb = self.make_rotary(config, spec)

    def tensor_plan(self) -> dict[str, str]:
        """How the layers can be cut over several processes; nothing where heads look at each other or parts are others'."""
        layers: Any = self.layers
        plain = all(type(layer.self_attn) is Attention and type(layer.mlp) is GatedMLP for layer in layers)
        return TENSOR_PLAN if plain and self.spec.qk_norm != "full" else {}

    def make_layers(self, config: Any, spec: Spec) -> None:
        layer = spec.layer or Layer
        self.layers = nn.ModuleList(layer(config, spec, i) for i in range(config.num_hidden_layers))
        self._no_split_modules = [layer.__name__]

    def make_embedding(self, config: Any, spec: Spec) -> nn.Embedding:
        return spec.embedding_class(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)

    def make_final_norm(self, norm: nn.Module) -> None:
        self.norm = norm

    def final_norm(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def make_rotary(self, config: Any, spec: Spec) -> nn.ModuleDict:
        """Rotary tables by kind of layer; one for all kinds unless the configuration has several."""
        rope, kinds = config.rope_parameters, dict.fromkeys(self.kinds)
        by_kind = {kind: rope[kind] for kind in kinds if kind in rope} or {"": rope}
        size, length = head_dim(config), config.max_position_embeddings
        return nn.ModuleDict(
            {kind or "all": Rotary(r, size, length, spec.interleaved) for kind, r in by_kind.items() if r is not None}
        )

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, all tokens so far), 0 at padding; or a ready mask (batch, 1, queries, keys).
            position_ids: (batch, seq).
            past_key_values: cache of earlier steps.
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            use_cache: give a cache back.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        config = self.config
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        embeds = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds  # (batch, seq, dim)
        caching = config.use_cache if use_cache is None else use_cache
        caching = caching and not (self.gradient_checkpointing and self.training)
        if caching and past_key_values is None:
            past_key_values = DynamicCache(config=config)
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        positions = position_ids
        if positions is None:
            positions = (torch.arange(embeds.shape[1], device=embeds.device) + past)[None]
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context(
            masks=self.make_masks(attention_mask, embeds, past, past_key_values, position_ids),
            rope=self.make_rope(positions, embeds),
            cache=past_key_values,
            kernel=kernel_of(config),
            attentions=[] if attentions else None,
            states=bool(states),
            extra=self.make_extra(positions, embeds)
            | self.read(input_ids, embeds, attention_mask=attention_mask, **kwargs),
        )
        last, seen = self.climb(self.enter(embeds), context)
        x = self.final_norm(last)
        out = BaseModelOutputWithPast(
            x,
            past_key_values if caching else None,
            (*seen, x if self.last_is_normed else last) if states else None,
            tuple(context.attentions) if context.attentions is not None else None,
        )
        return finish(self.result(out, context, **kwargs), return_dict, config)

    def climb(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        """The stream after the last layer, and before each."""
        seen = []
        for layer in self.layers:
            if context.states:
                seen.append(x)
            x = self.run(layer, x, context)
        return x, seen

    def result(self, out: Any, context: Context, **kwargs: Any) -> Any:
        """The output, to which a family may add what its layers left in the context."""
        return out

    def enter(self, x: Tensor) -> Tensor:
        """Embeddings as the first layer gets them."""
        if self.spec.embedding_scale is not None:
            x = x * self.spec.embedding_scale
        return nn.functional.dropout(x, self.spec.embedding_dropout, self.training)

    def make_extra(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        """What the layers of a single type look up in the context."""
        return {}

    def read(self, input_ids: Tensor | None, embeds: Tensor, **kwargs: Any) -> dict[str, Any]:
        """The same, from inputs that only a single type takes."""
        return {}

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        """cos and sin for each kind of layer."""
        dtype = torch.float32 if self.spec.rope_fp32 else x.dtype
        tables = {kind: rotary(positions, dtype) for kind, rotary in self.rotary_emb.items()}
        if self.spec.turn_fp32:
            tables = {kind: (cos.float(), sin.float()) for kind, (cos, sin) in tables.items()}
        by_kind = {kind: tables.get(kind, tables.get("all")) for kind in dict.fromkeys(self.kinds)}
        return {kind: table for kind, table in by_kind.items() if table is not None}

    def make_masks(
        self, attention_mask: Any, x: Tensor, past: Any, cache: Any, position_ids: Tensor | None
    ) -> dict[str, Mask]:
        """One mask for each kind of layer."""
        config, kinds = self.config, self.kinds
        masks = {}
        for kind in dict.fromkeys(kinds):
            if isinstance(attention_mask, dict):  # made by the caller, by kind
                masks[kind] = Mask(attention_mask[kind])
                continue
            queries = x.shape[1]
            keys, start = cache.get_mask_sizes(queries, kinds.index(kind)) if cache is not None else (queries, 0)
            masks[kind] = decoder_mask(
                attention_mask,
                queries,
                keys,
                past,
                start,
                x.device,
                window=(self.spec.window or config.sliding_window) if kind == "sliding_attention" else None,
                chunk=config.attention_chunk_size if kind == "chunked_attention" else None,
                bidirectional=self.spec.bidirectional,
                position_ids=position_ids,
            )
        return masks


class CausalLM(heads.CausalLM):
    """Scores of the next token, with the variant's factor and cap."""

    def score(self, hidden: Tensor) -> Tensor:
        spec = self.base_model.spec
        logits = self.lm_head(hidden)
        if spec.logits_scale is not None:
            logits = logits * spec.logits_scale
        if spec.logits_softcap is not None:
            logits = torch.tanh(logits / spec.logits_softcap) * spec.logits_softcap
        return logits


class GraniteCausalLM(CausalLM):
    """Divides the scores."""

    def score(self, hidden: Tensor) -> Tensor:
        return self.lm_head(hidden) / self.config.logits_scaling


class TransformerQuestionAnswering(heads.DecoderQuestionAnswering):
    """Holds its base model as `transformer`."""

    base_model_prefix = "transformer"


VARIANTS = {
    "llama": Variant(
        lambda c: Spec(qkv_bias=c.attention_bias, o_bias=c.attention_bias, mlp_bias=c.mlp_bias),
    ),
    "mistral": Variant(lambda c: Spec(), heads={"QuestionAnswering": heads.DecoderQuestionAnswering}),
    "qwen2": Variant(lambda c: Spec(qkv_bias=True)),
    "qwen3": Variant(lambda c: Spec(qk_norm="head", qkv_bias=c.attention_bias, o_bias=c.attention_bias)),
    "gemma": Variant(
        lambda c: Spec(
            norm=ZeroCentredRMSNorm,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            embedding_class=ScaledEmbedding,
            bidirectional=bool(c.use_bidirectional_attention),
        )
    ),
    "gemma2": Variant(
        lambda c: Spec(
            norm=ZeroCentredRMSNorm,
            layer=SandwichLayer,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            scale=c.query_pre_attn_scalar**-0.5,
            softcap=c.attn_logit_softcapping,
            logits_softcap=c.final_logit_softcapping,
            embedding_class=ScaledEmbedding,
            bidirectional=bool(c.use_bidirectional_attention),
        )
    ),
    "phi3": Variant(
        lambda c: Spec(attention=FusedAttention, mlp=FusedGatedMLP, residual_dropout=c.resid_pdrop),
    ),
    "olmo2": Variant(
        lambda c: Spec(
            norm=RMSNormFP32,
            layer=PostNormLayer,
            qk_norm="full",
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            rope_fp32=True,
        )
    ),
    "granite": Variant(
        lambda c: Spec(
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            mlp_bias=c.mlp_bias,
            scale=c.attention_multiplier,
            embedding_scale=c.embedding_multiplier,
            residual_scale=c.residual_multiplier,
        ),
        heads={"CausalLM": GraniteCausalLM},
    ),
    "cohere": Variant(
        lambda c: Spec(
            norm=LayerNormFP32,
            layer=ParallelLayer,
            attention=PerHeadNormAttention,
            qk_norm="head" if c.use_qk_norm else None,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            interleaved=True,
            turn_fp32=True,
            logits_scale=c.logit_scale,
        )
    ),
}
TASKS = {
    "Model": Model,
    "CausalLM": CausalLM,
    "SequenceClassification": heads.LastTokenClassification,
    "TokenClassification": heads.DecoderTokenClassification,
    "QuestionAnswering": TransformerQuestionAnswering,
}
