"""Longformer: each token sees a window, a few see everything and are seen by all.

Beltagy et al. 2020 (arXiv:2004.05150).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ArgumentError, ConfigError
from autoload.layers.attention import Context
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import Attention, Encoder, Layer, Model, SelfAttention, Spec
from autoload.outputs import ALWAYS, ModelOutput, States


@dataclass
class LongformerBaseModelOutputWithPooling(ModelOutput):
    """Longformer's hidden states; `global_attentions` are the weights of the tokens that see everything."""

    last_hidden_state: Tensor = ALWAYS
    pooler_output: Tensor | None = None
    hidden_states: States = None
    attentions: States = None
    global_attentions: States = None


@dataclass
class LongformerMaskedLMOutput(ModelOutput):
    """`logits` (batch, seq, vocabulary) of Longformer."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    global_attentions: States = None


@dataclass
class LongformerSequenceClassifierOutput(ModelOutput):
    """`logits` (batch, labels) of Longformer."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    global_attentions: States = None


@dataclass
class LongformerTokenClassifierOutput(ModelOutput):
    """`logits` (batch, seq, labels) of Longformer."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    global_attentions: States = None


@dataclass
class LongformerMultipleChoiceModelOutput(ModelOutput):
    """`logits` (batch, choices) of Longformer."""

    loss: Any = None
    logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    global_attentions: States = None


@dataclass
class LongformerQuestionAnsweringModelOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, seq) of Longformer."""

    loss: Any = None
    start_logits: Tensor = ALWAYS
    end_logits: Tensor = ALWAYS
    hidden_states: States = None
    attentions: States = None
    global_attentions: States = None


@dataclass
class Scope:
    """Who sees what, made once per forward pass."""

    real: Tensor  # (batch, seq), True where there is no padding
    local: Tensor  # (batch, seq), True where only the window sees
    seeing: Tensor  # (batch, seq), True at tokens that see everything
    places: Tensor  # (batch, slots), where these stand; slots: the most that a text has
    filled: Tensor  # (batch, slots), False in slots that a text does not need
    period: int  # weights are shown for a length that is a multiple of this
    weights: list[Tensor] | None  # of the tokens that see everything, when they are asked for


def make_scope(mask: Tensor | None, wide: Tensor | None, x: Tensor, period: int, shows: bool) -> Scope:
    """Who sees what, from the masks of padding and of tokens that see everything, (batch, seq) each.

    Args:
        mask: 0 at padding.
        wide: 1 at tokens that see everything.
        x: (batch, seq, dim).
        period: see `Scope`.
        shows: whether the weights are asked for.
    """
    everything = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    real = everything if mask is None else mask > 0
    seeing = (~everything if wide is None else wide > 0) & real
    if mask is not None:
        seeing = seeing | (mask > 1)  # both masks in one, as the first release had them
    counts = seeing.sum(1)
    slots = int(counts.max())
    places = (~seeing).int().argsort(dim=1, stable=True)[:, :slots]
    filled = torch.arange(slots, device=x.device) < counts[:, None]
    return Scope(real, real & ~seeing, seeing, places, filled, period, [] if shows else None)


def spread_windows(config: Any) -> None:
    """One window for each layer, in place.

    Raises:
        ConfigError: they do not fit the layers, or are odd.
    """
    if isinstance(config.attention_window, int):
        config.attention_window = [config.attention_window] * config.num_hidden_layers
    windows = config.attention_window
    if len(windows) != config.num_hidden_layers or any(window % 2 or window < 2 for window in windows):
        expected = f"even numbers, one for each of the {config.num_hidden_layers} layers"
        raise ConfigError("attention_window", windows, expected)


class LongSelfAttention(SelfAttention):
    """Windowed attention, with projections of their own for the tokens that see everything."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__(config, layer_idx, cross)
        size = config.hidden_size
        self.query_global = nn.Linear(size, size)
        self.key_global = nn.Linear(size, size)
        self.value_global = nn.Linear(size, size)
        self.reach = config.attention_window[layer_idx] // 2  # to either side

    def forward(self, x: Tensor, context: Context) -> Tensor:
        scope: Scope = context.extra["scope"]
        q, k, v = self.project(x, context)
        seen_by_all = scope.places[:, None, :, None].expand(-1, self.heads, -1, self.dim)
        known = k.gather(2, seen_by_all), v.gather(2, seen_by_all)  # (batch, heads, slots, dim)
        look = self.in_blocks if context.attentions is None else self.dense
        out = look(q, k, v, known, scope, context).transpose(1, 2).flatten(2)
        out = out.masked_fill(~scope.real[..., None], 0.0)
        return out if scope.places.shape[1] == 0 else self.see_everything(x, out, scope)

    def band(self, length: int, blocks: int, device: torch.device) -> Tensor:
        """Which of a block's keys, from one block before to one after, are in a query's window; (1, block, keys)."""
        i, j = torch.arange(length, device=device)[:, None], torch.arange(3 * length, device=device)
        return ((j - length - i).abs() <= self.reach)[None]

    def in_blocks(self, q: Tensor, k: Tensor, v: Tensor, known: Any, scope: Scope, context: Context) -> Tensor:
        """Blocks of queries look at their own and the neighbouring blocks; (batch, heads, seq, dim)."""
        seq, size = q.shape[2], self.reach
        short = -seq % size
        blocks = (seq + short) // size
        q = F.pad(q, (0, 0, 0, short)).unflatten(2, (blocks, size))  # (batch, heads, blocks, block, dim)
        k, v = (F.pad(t, (0, 0, size, short + size)).unfold(2, 3 * size, size).transpose(3, 4) for t in (k, v))
        local = F.pad(scope.local, (size, short + size)).unfold(1, 3 * size, size)[
            :, :, None
        ]  # (batch, blocks, 1, keys)
        allowed = local & self.band(size, blocks, q.device)
        # A padded query looks at itself, so that no row is empty; what it sees is thrown away.
        alone = torch.eye(size, dtype=torch.bool, device=q.device)
        allowed = allowed | (F.pad(alone, (size, size)) & ~allowed.any(-1, keepdim=True))
        if (slots := known[0].shape[2]) > 0:
            k, v = (
                torch.cat([t[:, :, None].expand(-1, -1, blocks, -1, -1), own], 3)
                for t, own in zip(known, (k, v), strict=True)
            )
            filled = scope.filled[:, None, None, :].expand(-1, blocks, size, slots)
            allowed = torch.cat([filled, allowed], -1)
        dropout = self.dropout.p if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, allowed[:, None], dropout, scale=self.dim**-0.5)
        return out.flatten(2, 3)[:, :, :seq]

    def dense(self, q: Tensor, k: Tensor, v: Tensor, known: Any, scope: Scope, context: Context) -> Tensor:
        """All scores at once, which gives the weights: of the tokens seen by all, then of the window."""
        seq, reach, slots = q.shape[2], self.reach, known[0].shape[2]
        places = torch.arange(seq, device=q.device)
        near = (places[:, None] - places).abs() <= reach
        allowed = (near & scope.local[:, None, :])[:, None]  # (batch, 1, queries, keys)
        allowed = torch.cat([scope.filled[:, None, None, :].expand(-1, 1, seq, -1), allowed], -1)
        scores = q @ torch.cat([known[0], k], 2).transpose(2, 3) * self.dim**-0.5
        weights = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(-1, dtype=torch.float32)
        weights = weights.masked_fill(~scope.real[:, None, :, None], 0.0).to(q.dtype)
        window = F.pad(weights[..., slots:], (reach, reach))
        columns = (places[:, None] + torch.arange(2 * reach + 1, device=q.device)).expand(*window.shape[:2], -1, -1)
        shown = torch.cat([weights[..., :slots], window.gather(-1, columns)], -1)
        context.attentions.append(shown.masked_fill(scope.seeing[:, None, :, None], 0.0))  # type: ignore[union-attr]
        weights = F.dropout(weights, self.dropout.p, self.training)
        return weights @ torch.cat([known[1], v], 2)

    def see_everything(self, x: Tensor, out: Tensor, scope: Scope) -> Tensor:
        """Put what the tokens that see everything see in place of what their windows gave."""
        chosen = x.gather(1, scope.places[..., None].expand(-1, -1, x.shape[-1]))  # (batch, slots, dim)
        q, k, v = (
            self.split(self.query_global(chosen)),
            self.split(self.key_global(x)),
            self.split(self.value_global(x)),
        )
        scores = q @ k.transpose(2, 3) * self.dim**-0.5
        scores = scores.masked_fill(~scope.real[:, None, None, :], torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1, dtype=torch.float32).to(x.dtype)  # (batch, heads, slots, seq)
        if scope.weights is not None:
            shown = F.pad(weights, (0, -x.shape[1] % scope.period))
            unused = ~scope.filled[:, None, :, None]
            scope.weights.append(shown.masked_fill(unused, 1 / shown.shape[-1]).transpose(2, 3))
        seen = (F.dropout(weights, self.dropout.p, self.training) @ v).transpose(1, 2).flatten(2)
        return out.masked_scatter(scope.seeing[..., None], seen[scope.filled])


class LongAttention(Attention):
    """With Longformer's attention."""

    self_class = LongSelfAttention


class LongLayer(Layer):
    """With Longformer's attention."""

    attention_class = LongAttention


class LongEncoder(Encoder):
    """Works out who sees what."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.period = max(config.attention_window)

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        masks = context.extra["attention_mask"], context.extra["global_attention_mask"]
        context.extra["scope"] = make_scope(*masks, x, self.period, context.attentions is not None)
        return x


class LongModel(Model):
    """Longformer without a head; `global_attention_mask` (batch, seq) is 1 at tokens that see everything."""

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        spread_windows(config)
        super().__init__(config, add_pooling_layer)

    def make_output(self, kept: dict[str, Any], pooled: Tensor | None, context: Context) -> Any:
        weights = context.extra["scope"].weights
        return LongformerBaseModelOutputWithPooling(
            kept["last_hidden_state"],
            pooled,
            kept["hidden_states"],
            kept["attentions"],
            tuple(weights) if weights else None,
        )


def separators(input_ids: Tensor, config: Any) -> Tensor:
    """Where the first of three separators stands in each text; (batch,)."""
    found = input_ids == config.sep_token_id
    if not bool((found.sum(-1) == 3).all()):
        text = (
            f"forward: every text needs three separators (sep_token_id {config.sep_token_id}) to tell which tokens see "
            "everything. Or pass global_attention_mask."
        )
        raise ArgumentError(text, name="global_attention_mask")
    return found.int().argmax(-1)


class MaskedLM(bert_heads.RobertaMaskedLM):
    """Longformer's hidden tokens."""

    output_class = LongformerMaskedLMOutput
    further_outputs = ("global_attentions",)


class Classification(heads.FirstTokenClassification):
    """Longformer's labels. The first token sees everything unless a mask says otherwise."""

    output_class = LongformerSequenceClassifierOutput
    further_outputs = ("global_attentions",)

    def forward(
        self, input_ids: Any = None, *args: Any, global_attention_mask: Tensor | None = None, **kwargs: Any
    ) -> Any:
        given = input_ids if input_ids is not None else kwargs.get("inputs_embeds")
        if global_attention_mask is None and given is not None:
            global_attention_mask = torch.zeros(given.shape[:2], dtype=torch.long, device=given.device)
            global_attention_mask[:, 0] = 1
        return super().forward(input_ids, *args, global_attention_mask=global_attention_mask, **kwargs)


class TokenLabels(heads.TokenClassification):
    """Longformer's label for each token."""

    output_class = LongformerTokenClassifierOutput
    further_outputs = ("global_attentions",)


class Answer(heads.QuestionAnswering):
    """Longformer's answer. The question sees everything unless a mask says otherwise."""

    output_class = LongformerQuestionAnsweringModelOutput
    further_outputs = ("global_attentions",)

    def forward(
        self, input_ids: Any = None, *args: Any, global_attention_mask: Tensor | None = None, **kwargs: Any
    ) -> Any:
        if global_attention_mask is None and input_ids is not None:
            places = torch.arange(input_ids.shape[-1], device=input_ids.device)
            global_attention_mask = (places < separators(input_ids, self.config)[:, None]).long()
        return super().forward(input_ids, *args, global_attention_mask=global_attention_mask, **kwargs)


class Choice(heads.MultipleChoice):
    """Longformer's choice. What follows the question sees everything unless a mask says otherwise."""

    output_class = LongformerMultipleChoiceModelOutput
    further_outputs = ("global_attentions",)

    def forward(
        self, input_ids: Any = None, *args: Any, global_attention_mask: Tensor | None = None, **kwargs: Any
    ) -> Any:
        if global_attention_mask is not None:
            global_attention_mask = global_attention_mask.flatten(0, 1)
        elif input_ids is not None:
            flat = input_ids.flatten(0, 1)
            places = torch.arange(flat.shape[-1], device=flat.device)
            global_attention_mask = (places > separators(flat, self.config)[:, None] + 1).long()
        return super().forward(input_ids, *args, global_attention_mask=global_attention_mask, **kwargs)


VARIANTS = {
    "longformer": Variant(
        lambda c: Spec(
            padded_from=c.pad_token_id,
            inputs=("attention_mask", "global_attention_mask"),
            encoder=LongEncoder,
            layer=LongLayer,
            packs=False,
        ),
        members={"base_model_prefix": "longformer"},
    ),
}
TASKS = {
    "Model": LongModel,
    "MaskedLM": MaskedLM,
    "SequenceClassification": Classification,
    "TokenClassification": TokenLabels,
    "QuestionAnswering": Answer,
    "MultipleChoice": Choice,
}
