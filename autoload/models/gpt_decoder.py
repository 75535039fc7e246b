"""What GPT-2 and the decoders of its generation share: the steps of a forward pass, attention, heads.

No model type lives here; the families gpt, gpt_rotary, gpt_alibi and gpt_fairseq build on it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ArgumentError, ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask, attend, biased, decoder_mask, encoder_mask, kernel_of
from autoload.layers.cache import DynamicCache, EncoderDecoderCache
from autoload.layers.rope import rotate
from autoload.model import PreTrainedModel, finish
from autoload.outputs import (
    BaseModelOutputWithPast,
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
)


class Attention(nn.Module):
    """Causal attention; over an encoder's states where `cross` is set. Subclasses bring the projections.

    Args:
        size: width of the stream.
        heads: number of heads.
        layer_idx: place in the cache.
        scale: of the scores; None for the usual one.
        dropout: of the weights.
    """

    def __init__(
        self,
        size: int,
        heads: int,
        layer_idx: int,
        *,
        scale: float | None = None,
        dropout: float = 0.0,
        cross: bool = False,
    ):
        super().__init__()
        self.size, self.heads, self.dim, self.layer_idx, self.cross = size, heads, size // heads, layer_idx, cross
        self.scale = self.dim**-0.5 if scale is None else scale
        self.attn_dropout = nn.Dropout(dropout)
        self.kind, self.rotate = "full", rotate

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.dim)).transpose(1, 2)  # (batch, heads, seq, dim)

    def queries(self, x: Tensor) -> Tensor:
        """(batch, seq, size) to (batch, heads, seq, dim); only cross-attention asks for them alone."""
        raise NotImplementedError

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.queries(x), *self.keys_values(x)

    def turn(self, q: Tensor, k: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Rotary positions, where the model made tables for them."""
        if not context.rope:
            return q, k
        cos, sin = context.rope["full"]
        return self.rotate(q, cos, sin), self.rotate(k, cos, sin)

    def output(self, x: Tensor) -> Tensor:
        """The last projection."""
        raise NotImplementedError

    def forward(self, x: Tensor, context: Context) -> Tensor:
        if self.cross:
            q, (k, v) = self.queries(x), self.source(context)
            mask, weights = context.encoder_mask, context.cross_attentions
        else:
            q, k, v = self.project(x)
            q, k = self.turn(q, k, context)
            mask, weights = context.masks[self.kind], context.attentions
            if context.cache is not None:
                k, v = context.cache.update(k, v, self.layer_idx)
        dropout = self.attn_dropout.p if self.training else 0.0
        return self.output(attend(q, k, v, mask, context, scale=self.scale, dropout=dropout, weights_to=weights))

    def source(self, context: Context) -> tuple[Tensor, Tensor]:
        """Keys and values of the encoder's states, made once per generation."""
        cache = context.cache if isinstance(context.cache, EncoderDecoderCache) else None
        if cache is not None and cache.is_updated.get(self.layer_idx):
            return cache.cross_attention_cache[self.layer_idx]  # type: ignore[return-value]
        assert context.encoder is not None
        k, v = self.keys_values(context.encoder)
        if cache is not None:
            k, v = k.contiguous(), v.contiguous()  # they are read in every step
            cache.cross_attention_cache.update(k, v, self.layer_idx)
            cache.is_updated[self.layer_idx] = True
        return k, v


class SeparateAttention(Attention):
    """Queries, keys and values each from a matrix of their own."""

    def __init__(
        self, size: int, heads: int, layer_idx: int, *, bias: bool = True, out_bias: bool = True, **options: Any
    ):
        super().__init__(size, heads, layer_idx, **options)
        self.k_proj = nn.Linear(size, size, bias=bias)
        self.v_proj = nn.Linear(size, size, bias=bias)
        self.q_proj = nn.Linear(size, size, bias=bias)
        self.out_proj = nn.Linear(size, size, bias=out_bias)

    def queries(self, x: Tensor) -> Tensor:
        return self.split(self.q_proj(x))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.k_proj(x)), self.split(self.v_proj(x))

    def output(self, x: Tensor) -> Tensor:
        return self.out_proj(x)


class GroupedAttention(Attention):
    """As `SeparateAttention`, under the names of Llama; several heads may share a key, and have a width of their own."""

    def __init__(
        self,
        size: int,
        heads: int,
        layer_idx: int,
        *,
        kv_heads: int,
        head_dim: int,
        bias: bool,
        **options: Any,
    ):
        super().__init__(size, heads, layer_idx, scale=head_dim**-0.5, **options)
        self.dim = head_dim
        self.q_proj = nn.Linear(size, heads * head_dim, bias=bias)
        self.k_proj = nn.Linear(size, kv_heads * head_dim, bias=bias)
        self.v_proj = nn.Linear(size, kv_heads * head_dim, bias=bias)
        self.o_proj = nn.Linear(heads * head_dim, size, bias=bias)

    def queries(self, x: Tensor) -> Tensor:
        return self.split(self.q_proj(x))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.k_proj(x)), self.split(self.v_proj(x))

    def output(self, x: Tensor) -> Tensor:
        return self.o_proj(x)


def split_groups(x: Tensor, kv_heads: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values that lie together by key head: its queries, then its key, then its value.

    Args:
        x: (batch, seq, (heads + 2 * kv_heads) * dim).

    Returns:
        (batch, heads, seq, dim), and twice (batch, kv_heads, seq, dim).
    """
    x = x.unflatten(-1, (kv_heads, -1, dim))  # (batch, seq, kv_heads, queries per key + 2, dim)
    q, k, v = x[..., :-2, :].flatten(2, 3), x[..., -2, :], x[..., -1, :]
    return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)


class FusedAttention(Attention):
    """Queries, keys and values in one matrix, by key head, under the names of Megatron."""

    def __init__(
        self, size: int, heads: int, layer_idx: int, *, kv_heads: int | None = None, bias: bool = True, **options: Any
    ):
        super().__init__(size, heads, layer_idx, **options)
        self.kv_heads = heads if kv_heads is None else kv_heads
        self.query_key_value = nn.Linear(size, size + 2 * self.kv_heads * self.dim, bias=bias)
        self.dense = nn.Linear(size, size, bias=bias)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return split_groups(self.query_key_value(x), self.kv_heads, self.dim)

    def output(self, x: Tensor) -> Tensor:
        return self.dense(x)


class MLP(nn.Module):
    """The wide layer and back, under the names of Megatron."""

    def __init__(self, size: int, inner: int, activation: str, bias: bool = True):
        super().__init__()
        self.dense_h_to_4h = nn.Linear(size, inner, bias=bias)
        self.dense_4h_to_h = nn.Linear(inner, size, bias=bias)
        self.act = Activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense_4h_to_h(self.act(self.dense_h_to_4h(x)))


class Decoder(PreTrainedModel):
    """The steps of a forward pass. Subclasses name the parameters and say how positions come in."""

    base_model_prefix = "transformer"
    embeddings_path = "wte"
    layers_path: ClassVar[str] = "h"
    norm_path: ClassVar[str | None] = "ln_f"
    crosses: bool = False  # there may be layers that look at an encoder
    packs: ClassVar[bool] = True  # positions that start again part the sequences of a row

    def forward(
        self,
        input_ids: Tensor | None = None,
        past_key_values: Any = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states.

        Args:
            input_ids: (batch, seq).
            past_key_values: cache of earlier steps.
            attention_mask: (batch, all tokens so far), 0 at padding.
            token_type_ids: (batch, seq), tokens whose vectors are added, where the type has them.
            position_ids: (batch, seq).
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            encoder_hidden_states: (batch, source, dim), for cross-attention.
            encoder_attention_mask: (batch, source).
            use_cache: give a cache back.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        config, cache = self.config, past_key_values
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        if encoder_hidden_states is not None and not getattr(config, "add_cross_attention", False):
            raise ConfigError("add_cross_attention", False, "true, to look at encoder_hidden_states")
        x = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds  # (batch, seq, dim)
        caching = getattr(config, "use_cache", False) if use_cache is None else use_cache
        caching = caching and not (self.gradient_checkpointing and self.training)
        if caching and cache is None:
            cache = DynamicCache() if encoder_hidden_states is None else EncoderDecoderCache()
        past = cache.get_seq_length() if cache is not None else 0
        positions = self.make_positions(attention_mask, x, past) if position_ids is None else position_ids
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        keys, start = cache.get_mask_sizes(x.shape[1], 0) if cache is not None else (x.shape[1], 0)
        packed = position_ids if self.packs else None
        ahead = not getattr(config, "is_causal", True)  # what any file may say
        bias = self.make_bias(attention_mask, keys, positions, x)

        def mask(window: int | None = None) -> Mask:
            size = x.shape[1]
            made = decoder_mask(
                attention_mask,
                size,
                keys,
                past,
                start,
                x.device,
                window=window,
                bidirectional=ahead,
                position_ids=packed,
            )
            return made if bias is None else biased(made, bias, size)

        context = Context(
            masks=self.make_masks(mask),
            rope=self.make_rope(positions, x),
            cache=cache,
            kernel=kernel_of(config),
            attentions=[] if attentions else None,
            encoder=encoder_hidden_states,
            encoder_mask=encoder_mask(encoder_attention_mask),
            cross_attentions=[] if attentions and self.crosses else None,
            states=bool(states),
        )
        x, seen = self.run_layers(self.embed(x, positions, token_type_ids), context)
        fields: dict[str, Any] = dict(
            last_hidden_state=x,
            past_key_values=cache if caching else None,
            hidden_states=(*seen, x) if states else None,
            attentions=tuple(context.attentions) if context.attentions is not None else None,
        )
        if not self.crosses:
            return finish(BaseModelOutputWithPast(**fields), return_dict, config)
        looks = tuple(context.cross_attentions) if context.cross_attentions is not None else None
        out = BaseModelOutputWithPastAndCrossAttentions(**fields, cross_attentions=looks)
        return finish(out, return_dict, config)

    def run_layers(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        """The stream after the last norm, and what went into each layer."""
        seen = []
        skipped = getattr(self.config, "layerdrop", 0.0) if self.training else 0.0
        for layer in self.get_submodule(self.layers_path):  # type: ignore[union-attr]
            if skipped and torch.rand([]) < skipped:  # LayerDrop (arXiv:1909.11556)
                continue
            if context.states:
                seen.append(x)
            x = self.run(layer, x, context)
        return self.close(x), seen

    def close(self, x: Tensor) -> Tensor:
        """What follows the last layer."""
        return x if self.norm_path is None else self.get_submodule(self.norm_path)(x)

    def embed(self, x: Tensor, positions: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """From token vectors to what the first layer reads."""
        raise NotImplementedError

    def make_positions(self, attention_mask: Tensor | None, x: Tensor, past: Any) -> Tensor:
        return (torch.arange(x.shape[1], device=x.device) + past)[None]  # (1, seq)

    def make_masks(self, mask: Callable[..., Mask]) -> dict[str, Mask]:
        """A mask for each kind of layer; `mask(window)` makes one."""
        return {"full": mask()}

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        return {}

    def make_bias(self, attention_mask: Tensor | None, keys: int, positions: Tensor, x: Tensor) -> Tensor | None:
        """What is added to the scores of every layer, in the dtype of x; (batch or 1, heads, seq or 1, keys)."""
        return None


class CausalLM(heads.CausalLM):
    """Scores of the next token."""

    def output(self, loss: Tensor | None, logits: Tensor, out: Any) -> Any:
        return CausalLMOutputWithCrossAttentions(
            loss, logits, out.past_key_values, out.hidden_states, out.attentions, out.get("cross_attentions")
        )


class TokenClassification(heads.DecoderTokenClassification):
    """A label for each token, by a `classifier`."""

    def __init__(self, config: Any):
        heads.Head.__init__(self, config)
        found = (getattr(config, n, None) for n in ("classifier_dropout", "hidden_dropout", "hidden_dropout_prob"))
        self.dropout = nn.Dropout(next((rate for rate in found if rate is not None), 0.1))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def scores(self, hidden: Tensor) -> Tensor:
        return self.classifier(self.dropout(hidden))


HEADS = {
    "CausalLM": CausalLM,
    "SequenceClassification": heads.LastTokenClassification,
    "TokenClassification": TokenClassification,
    "QuestionAnswering": heads.DecoderQuestionAnswering,
}
# The order of the arguments after `input_ids`; "labels" stands for what only heads have.
GPT2_ORDER = (
    "past_key_values attention_mask token_type_ids position_ids inputs_embeds encoder_hidden_states "
    "encoder_attention_mask labels use_cache"
)
SPAN_ORDER = "attention_mask token_type_ids position_ids inputs_embeds start_positions end_positions"


def reorder(cls: type, order: str, **members: Any) -> type:
    """A class whose forward takes its arguments in another order, as callers that pass them by place expect.

    Args:
        cls: a model or a head.
        order: names of the arguments after `input_ids`.
        **members: attributes of the new class.
    """
    names = ["input_ids", *order.split(), "output_attentions", "output_hidden_states", "return_dict"]
    inner = cls.forward  # type: ignore[attr-defined]

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) > len(names):
            raise TypeError(f"forward takes at most {len(names)} arguments by place, {len(args)} were given.")
        return inner(self, **dict(zip(names, args, strict=False)), **kwargs)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = inspect.signature(inner).parameters
    extra = [n for n in own if n == "logits_to_keep"]
    shown = [own.get(n, inspect.Parameter(n, kind, default=None)) for n in names + extra]
    forward.__signature__ = inspect.Signature([own["self"], *shown, own["kwargs"]])  # type: ignore[attr-defined]
    forward.__doc__ = inner.__doc__
    members |= dict(forward=forward, reads=(*own,), __doc__=cls.__doc__, __module__=cls.__module__)
    return type(cls.__name__, (cls,), members)


def in_order(order: str, tasks: Mapping[str, type], spans: str = SPAN_ORDER) -> dict[str, type]:
    """Classes by task, all with one order of arguments but for question answering, and one prefix."""
    prefix = tasks["Model"].base_model_prefix  # type: ignore[attr-defined]
    of_task = {"Model": order.replace("labels ", ""), "CausalLM": order, "QuestionAnswering": spans}
    plain = order.replace("encoder_hidden_states encoder_attention_mask ", "")
    return {task: reorder(cls, of_task.get(task, plain), base_model_prefix=prefix) for task, cls in tasks.items()}
