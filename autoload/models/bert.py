"""BERT and the encoders that share its wiring and its heads.

bert, bert-generation, ernie, megatron-bert, rembert, roc_bert, roformer, splinter, dpr. The families roberta, electra,
mpnet, albert, esm, deberta and layoutlm build on the same parts.

Devlin et al. 2018 (arXiv:1810.04805); Shoeybi et al. 2019 (arXiv:1909.08053); Chung et al. 2020 (arXiv:2010.12821).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask, attend, decoder_mask, encoder_mask, kernel_of
from autoload.layers.cache import DynamicCache, EncoderDecoderCache
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models import bert_heads as heads
from autoload.outputs import BaseModelOutputWithPastAndCrossAttentions, BaseModelOutputWithPoolingAndCrossAttentions


class Pooler(nn.Module):
    """Dense layer and tanh on the first token."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.dense(x[:, 0]))


@dataclass(frozen=True)
class Spec:
    """What tells one BERT-like encoder from another. Classes default to BERT's."""

    padded_from: int | None = None  # positions are counted from this number + 1 and leave this token out
    token_types: bool = True
    embedding_norm: bool = True
    embedding_size: int | None = None  # of the tables, when it is not the model's
    inputs: tuple[str, ...] = ()  # further arguments of `forward` that the embeddings take
    packs: bool = True  # padding may be left out: layers do not look at where in the batch a token stands
    pooler: Callable[[Any], nn.Module] | None = Pooler
    embeddings: type | None = None
    encoder: type | None = None
    layer: type | None = None


class Embeddings(nn.Module):
    """Sum of word, position and token type vectors, normalised."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        size = spec.embedding_size or config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, size, padding_idx=config.pad_token_id)
        self.make_positions(config, spec, size)
        types = spec.token_types
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, size) if types else None
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps) if spec.embedding_norm else nn.Identity()
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.padded_from = spec.padded_from

    def make_positions(self, config: Any, spec: Spec, size: int) -> None:
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size, padding_idx=spec.padded_from)

    def positions(self, input_ids: Tensor | None, shape: torch.Size, past: int, device: Any) -> Tensor:
        """Position numbers, (batch or 1, seq)."""
        if self.padded_from is None:
            return torch.arange(past, past + shape[1], device=device)[None]
        if input_ids is None:
            return torch.arange(self.padded_from + 1, self.padded_from + 1 + shape[1], device=device)[None]
        real = (input_ids != self.padded_from).int()
        return ((real.cumsum(1) + past) * real).long() + self.padded_from

    def forward(
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        past: int,
        **inputs: Tensor | None,
    ) -> Tensor:
        x = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds  # (batch, seq, size)
        if position_ids is None:
            position_ids = self.positions(input_ids, x.shape, past, x.device)
        return self.finish(self.place(self.add_types(x, token_type_ids), position_ids, **inputs))

    def finish(self, x: Tensor) -> Tensor:
        return self.dropout(self.LayerNorm(x))

    def add_types(self, x: Tensor, token_type_ids: Tensor | None) -> Tensor:
        if self.token_type_embeddings is None:
            return x
        if token_type_ids is None:
            token_type_ids = torch.zeros(1, 1, dtype=torch.int64, device=x.device)  # read by a call, as hooks expect
        return x + self.token_type_embeddings(token_type_ids)

    def place(self, x: Tensor, position_ids: Tensor, **inputs: Tensor | None) -> Tensor:
        """Add what says where a token stands, and the further inputs."""
        return x + self.position_embeddings(position_ids)


class SelfAttention(nn.Module):
    """Queries, keys and values; over an encoder's states where `cross` is set."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__()
        self.layer_idx, self.cross = layer_idx, cross
        self.heads = config.num_attention_heads
        self.dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.make_projections(config, self.heads * self.dim)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def make_projections(self, config: Any, size: int) -> None:
        self.query = nn.Linear(config.hidden_size, size)
        self.key = nn.Linear(config.hidden_size, size)
        self.value = nn.Linear(config.hidden_size, size)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.dim)).transpose(1, 2)  # (batch, heads, seq, dim)

    def project(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the sequence itself, (batch, heads, seq, dim) each."""
        return self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))

    def bias(self, q: Tensor, k: Tensor, context: Context) -> Tensor | None:
        """What is added to the scores; (batch or 1, heads, queries, keys)."""
        return None

    def forward(self, x: Tensor, context: Context) -> Tensor:
        if self.cross:
            q = self.split(self.query(x))
            k, v = self._source(context)
            mask, weights, bias = context.encoder_mask, context.cross_attentions, None
        else:
            q, k, v = self.project(x, context)
            mask, weights = context.masks["full"], context.attentions
            if context.cache is not None:
                k, v = context.cache.update(k, v, self.layer_idx)
            bias = self.bias(q, k, context)
        dropout = self.dropout.p if self.training else 0.0
        return attend(q, k, v, mask, context, scale=self.dim**-0.5, dropout=dropout, bias=bias, weights_to=weights)

    def _source(self, context: Context) -> tuple[Tensor, Tensor]:
        """Keys and values of the encoder's states, made once per generation."""
        cache = context.cache if isinstance(context.cache, EncoderDecoderCache) else None
        if cache is not None and cache.is_updated.get(self.layer_idx):
            return cache.cross_attention_cache[self.layer_idx]  # type: ignore[return-value]
        k, v = self.split(self.key(context.encoder)), self.split(self.value(context.encoder))
        if cache is not None:
            cache.cross_attention_cache.update(k, v, self.layer_idx)
            cache.is_updated[self.layer_idx] = True
        return k, v


class Output(nn.Module):
    """Projection, dropout, residual, norm."""

    def __init__(self, config: Any, size: int):
        super().__init__()
        self.dense = nn.Linear(size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        x = self.dense(x)
        return self.LayerNorm((self.dropout(x) if self.training else x) + residual)


class PlainOutput(nn.Module):
    """Projection, dropout, residual: for layers that normalise first."""

    def __init__(self, config: Any, size: int):
        super().__init__()
        self.dense = nn.Linear(size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.dropout(self.dense(x)) + residual


class Attention(nn.Module):
    """Attention and its output."""

    self_class: ClassVar[type] = SelfAttention
    output_class: ClassVar[type] = Output

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__()
        self.self = self.self_class(config, layer_idx, cross)
        self.output = self.output_class(config, config.hidden_size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.output(self.self(x, context), x)


class Intermediate(nn.Module):
    """The wide layer."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = Activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.intermediate_act_fn(self.dense(x))


class Layer(nn.Module):
    """Attention, cross-attention where the configuration adds it, and a wide layer; norms after the residuals."""

    attention_class: ClassVar[type] = Attention
    intermediate_class: ClassVar[type] = Intermediate
    output_class: ClassVar[type] = Output

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.attention = self.attention_class(config, layer_idx)
        self.crosses = getattr(config, "add_cross_attention", False)
        if self.crosses:
            self.crossattention = self.attention_class(config, layer_idx, cross=True)
        self.intermediate = self.intermediate_class(config)
        self.output = self.output_class(config, config.intermediate_size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.attention(x, context)
        if self.crosses and context.encoder is not None:
            x = self.crossattention(x, context)
        return self.feed_forward(x, context)

    def feed_forward(self, x: Tensor, context: Context) -> Tensor:
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    """The stack of layers, and what comes before and after it."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        self.layer = nn.ModuleList((spec.layer or Layer)(config, i) for i in range(config.num_hidden_layers))

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        """From the embeddings to the first layer's input; a place to put what all layers share into the context."""
        return x

    def stack(self) -> list[nn.Module]:
        """The layers in the order in which they run."""
        return list(self.layer)

    def end(self, x: Tensor) -> Tensor:
        return x


class Model(PreTrainedModel):
    """A BERT-like encoder without a head.

    Args:
        config: of the model.
        add_pooling_layer: also give `pooler_output`.
    """

    embeddings_path = "embeddings.word_embeddings"
    may_lack = ("pooler",)
    options: ClassVar[tuple[str, ...]] = ("add_pooling_layer",)
    empty_cross_attentions: ClassVar[bool] = True  # given, without entries, where no layer crosses

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        super().__init__(config)
        spec: Spec = self.variant.spec(config)
        self.decodes = getattr(config, "is_decoder", False)
        if getattr(config, "add_cross_attention", False) and not self.decodes:
            raise ConfigError("add_cross_attention", True, "false, or is_decoder=true beside it")
        self.embeddings = (spec.embeddings or Embeddings)(config, spec)
        self.make_layers(config, spec)
        self.pooler = spec.pooler(config) if spec.pooler and add_pooling_layer else None
        self.pools, self.inputs = spec.pooler is not None, spec.inputs
        self.packs = spec.packs and not self.decodes
        crosses = getattr(config, "add_cross_attention", None)  # None: the type knows no cross-attention
        self._no_split_modules = sorted({type(part).__name__ for part in (self.embeddings, *self.stack())})
        self.crosses = crosses is not None if self.empty_cross_attentions else bool(crosses)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, seq), 0 at padding; or a ready mask (batch, 1, queries, keys).
            token_type_ids: (batch, seq), 0 for the first text and 1 for the second.
            position_ids: (batch, seq).
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            encoder_hidden_states: (batch, source, dim), for cross-attention.
            encoder_attention_mask: (batch, source).
            past_key_values: cache of earlier steps, when `is_decoder`.
            use_cache: give a cache back, when `is_decoder`.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
            **kwargs: further inputs of the type.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        config = self.config
        caching = self.decodes and (config.use_cache if use_cache is None else use_cache)
        caching = caching and not (self.gradient_checkpointing and self.training)
        if caching and past_key_values is None:
            past_key_values = DynamicCache() if encoder_hidden_states is None else EncoderDecoderCache()
        past = past_key_values.get_seq_length() if past_key_values is not None else 0

        inputs = {name: attention_mask if name == "attention_mask" else kwargs.get(name) for name in self.inputs}
        x = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds, past, **inputs)
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context(
            masks={"full": self._mask(attention_mask, x, past, past_key_values)},
            rope=self.make_rope(x, position_ids, past),
            cache=past_key_values,
            kernel=kernel_of(config),
            attentions=[] if attentions else None,
            encoder=encoder_hidden_states,
            encoder_mask=encoder_mask(encoder_attention_mask),
            cross_attentions=[] if attentions and self.crosses else None,
            extra=inputs,
        )
        x = self.begin(x, context, past)
        packs = self.packs and not self.training  # dropout draws its random numbers for padding too
        packing = context.packing_of(attention_mask) if packs else None
        if packing is not None:
            x, context = packing.pack(x), context.packed(packing, {"full": Mask()})
        seen = []
        for layer in self.stack():
            if states:
                seen.append(x)
            x = self.run(layer, x, context)
        x = self.end(x)
        if packing is not None:
            x, seen = packing.unpack(x), [packing.unpack(s) for s in seen]
        kept: dict[str, Any] = dict(
            last_hidden_state=x,
            hidden_states=(*seen, x) if states else None,
            past_key_values=past_key_values if caching else None,
            attentions=tuple(context.attentions) if context.attentions is not None else None,
            cross_attentions=tuple(context.cross_attentions) if context.cross_attentions is not None else None,
        )
        pooled = None if self.pooler is None else self.pooler(x)
        return finish(self.make_output(kept, pooled, context), return_dict, config)

    def make_output(self, kept: dict[str, Any], pooled: Tensor | None, context: Context) -> Any:
        if not self.pools:
            return BaseModelOutputWithPastAndCrossAttentions(**kept)
        return BaseModelOutputWithPoolingAndCrossAttentions(pooler_output=pooled, **kept)

    @classmethod
    def named_inputs(cls) -> tuple[str, ...]:
        return cls.variant.spec(cls.config_class()).inputs

    def make_layers(self, config: Any, spec: Spec) -> None:
        self.encoder = (spec.encoder or Encoder)(config, spec)

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        """From the embeddings to the first layer's input."""
        return self.encoder.begin(x, context, past)

    def stack(self) -> list[nn.Module]:
        """The layers in the order in which they run."""
        return self.encoder.stack()

    def make_rope(self, x: Tensor, position_ids: Tensor | None, past: int) -> dict[Any, tuple[Tensor, Tensor]]:
        """cos and sin, for types that rotate."""
        return {}

    def end(self, x: Tensor) -> Tensor:
        return self.encoder.end(x)

    def _mask(self, attention_mask: Tensor | None, x: Tensor, past: int, cache: Any) -> Any:
        if not self.decodes:
            return encoder_mask(attention_mask)
        keys, start = cache.get_mask_sizes(x.shape[1], 0) if cache is not None else (x.shape[1], 0)
        return decoder_mask(attention_mask, x.shape[1], keys, past, start, x.device)


class PooledModel(Model):
    """Always has its pooler."""

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        super().__init__(config)


class ProjectedModel(Model):
    """Its tables may be smaller than the model."""

    def __init__(self, config: Any, **options: Any):
        super().__init__(config, **options)
        if config.embedding_size != config.hidden_size:
            self.embeddings_project = nn.Linear(config.embedding_size, config.hidden_size)

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        x = self.embeddings_project(x) if hasattr(self, "embeddings_project") else x
        return super().begin(x, context, past)


VARIANTS = {
    "bert": Variant(lambda c: Spec(), members={"base_model_prefix": "bert"}),
}
TASKS = heads.TASKS | {"Model": Model}
