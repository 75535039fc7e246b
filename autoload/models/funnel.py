"""Funnel Transformer: blocks of layers, each on half as many tokens as the one before; a small decoder spreads them again.

Dai et al. 2020 (arXiv:2006.03236).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ArgumentError, ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend, kernel_of
from autoload.losses import token_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.electra import ElectraPreTraining
from autoload.outputs import BaseModelOutput, MaskedLMOutput, MultipleChoiceModelOutput

CLS_TYPE = 2  # token type of the first token, which belongs to both texts
HIDDEN = -1e6  # score of padding


@dataclass
class Places:
    """Which tokens queries and keys stand for, and how often they were pooled."""

    queries: Tensor  # (queries,), number of the first token that each stands for
    keys: Tensor  # (keys,)
    pooled: int  # times that the keys were pooled
    mask: Tensor | None  # (batch, keys), 1.0 where there is no padding
    types: Tensor  # (batch, seq), of the tokens


class Embeddings(nn.Module):
    """Words, normalised."""

    def __init__(self, config: Any):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.d_model, padding_idx=config.pad_token_id)
        self.layer_norm = nn.LayerNorm(config.d_model, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        x = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        return self.dropout(self.layer_norm(x))


class RelativeAttention(nn.Module):
    """Contents, distances and whether two tokens are of one text add up to the scores."""

    def __init__(self, config: Any):
        super().__init__()
        size, self.heads, self.dim = config.d_model, config.n_head, config.d_head
        inner = self.heads * self.dim
        self.q_head = nn.Linear(size, inner, bias=False)
        self.k_head = nn.Linear(size, inner)
        self.v_head = nn.Linear(size, inner)
        self.r_w_bias = nn.Parameter(torch.zeros(self.heads, self.dim))
        self.r_r_bias = nn.Parameter(torch.zeros(self.heads, self.dim))
        self.r_kernel = nn.Parameter(torch.zeros(size, self.heads, self.dim))
        self.r_s_bias = nn.Parameter(torch.zeros(self.heads, self.dim))
        self.seg_embed = nn.Parameter(torch.zeros(2, self.heads, self.dim))
        self.post_proj = nn.Linear(inner, size)
        self.layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.hidden_dropout, self.attention_dropout = (nn.Dropout(config.hidden_dropout), config.attention_dropout)
        self.factorized, self.separate_cls = config.attention_type == "factorized", config.separate_cls

    def init_own(self, std: float) -> None:
        for table in (self.r_w_bias, self.r_r_bias, self.r_kernel, self.r_s_bias, self.seg_embed):
            table.uniform_(0.0, std)

    def forward(self, x: tuple[Tensor, Tensor], context: Context) -> Tensor:
        """x: what asks, (batch, queries, dim), and what is looked at, (batch, keys, dim)."""
        queries, keys = x
        q, k, v = (
            t.unflatten(-1, (self.heads, self.dim)).transpose(1, 2)  # (batch, heads, seq, dim)
            for t in (self.q_head(queries), self.k_head(keys), self.v_head(keys))
        )
        scale = self.dim**-0.5
        q = q * scale
        to_words, to_places, to_types = (
            q + (bias * scale)[:, None] for bias in (self.r_w_bias, self.r_r_bias, self.r_s_bias)
        )
        places: Places = context.extra["places"]
        bias = self.place_scores(to_places, places, context) + self.type_scores(to_types, places)
        if self.separate_cls:
            bias = bias * ((places.queries > 0)[:, None] & (places.keys > 0))
        if places.mask is not None:
            bias = bias + (max(HIDDEN, torch.finfo(bias.dtype).min) * (1 - places.mask))[:, None, None, :]
        dropout = self.attention_dropout if self.training else 0.0
        weights = context.attentions
        out = attend(to_words, k, v, None, context, scale=1.0, dropout=dropout, bias=bias, weights_to=weights)
        return self.layer_norm(queries + self.hidden_dropout(self.post_proj(out)))

    def place_scores(self, q: Tensor, places: Places, context: Context) -> Tensor:
        """Scores of how far apart two tokens are; (batch, heads, queries, keys)."""
        kernel = self.r_kernel.transpose(0, 1)  # (heads, d_model, dim)
        count, keys = len(places.queries), len(places.keys)
        if self.factorized:  # sin and cos of a difference, as products of those of both places
            q = q @ kernel.transpose(1, 2)  # (batch, heads, queries, d_model)
            sin, cos = self.waves(places.queries, context)
            key_sin, key_cos = self.waves(places.keys, None)
            return (q * torch.cat([sin, sin], -1).to(q.dtype)) @ torch.cat([key_cos, key_sin], -1).T.to(q.dtype) + (
                q * torch.cat([cos, cos], -1).to(q.dtype)
            ) @ torch.cat([-key_sin, key_cos], -1).T.to(q.dtype)
        step = 2 if count != keys else 1  # pooled queries are two keys apart
        stride = 2**places.pooled
        start = -stride if step == 2 and self.separate_cls else 0
        distances = start + stride * (step * count - torch.arange(keys + step * count, device=q.device))
        vectors = torch.cat(self.waves(distances, context), -1).to(q.dtype)  # (distances, d_model)
        scores = q @ (vectors @ kernel).transpose(1, 2)  # (batch, heads, queries, distances)
        i, j = torch.arange(count, device=q.device)[:, None], torch.arange(keys, device=q.device)
        return scores.gather(-1, (step * (count - i) + j).expand(*scores.shape[:2], -1, -1))

    def waves(self, places: Tensor, context: Context | None) -> tuple[Tensor, Tensor]:
        """Sines and cosines, (places, d_model / 2) each; with dropout where a context is given."""
        half = self.r_kernel.shape[0] // 2
        angles = places[:, None] / 10000 ** (torch.arange(half, device=places.device) / half)
        drop = self.hidden_dropout if context is not None else nn.Identity()
        return drop(angles.sin()), drop(angles.cos())

    def type_scores(self, q: Tensor, places: Places) -> Tensor:
        """Scores of whether two tokens are of one text; (batch, heads, queries, keys)."""
        scores = q @ self.seg_embed.permute(1, 2, 0)  # (batch, heads, queries, 2): of two texts, of one
        asking, asked = places.types[:, places.queries, None], places.types[:, None, places.keys]
        same = (asking == asked) | (asking == CLS_TYPE) | (asked == CLS_TYPE)
        return torch.where(same[:, None], scores[..., 1:], scores[..., :1])


class FeedForward(nn.Module):
    """A wide layer, residual, norm."""

    def __init__(self, config: Any):
        super().__init__()
        self.linear_1 = nn.Linear(config.d_model, config.d_inner)
        self.activation_function = Activation(config.hidden_act)
        self.activation_dropout = nn.Dropout(config.activation_dropout)
        self.linear_2 = nn.Linear(config.d_inner, config.d_model)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layer_norm = nn.LayerNorm(config.d_model, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.activation_dropout(self.activation_function(self.linear_1(x)))
        return self.layer_norm(x + self.dropout(self.linear_2(wide)))


class FunnelLayer(nn.Module):
    """Attention and a wide layer."""

    def __init__(self, config: Any):
        super().__init__()
        self.attention = RelativeAttention(config)
        self.ffn = FeedForward(config)

    def forward(self, x: tuple[Tensor, Tensor], context: Context) -> Tensor:
        return self.ffn(self.attention(x, context))


class Encoder(nn.Module):
    """The blocks, and how tokens are pooled between them."""

    def __init__(self, config: Any):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleList(FunnelLayer(config) for _ in range(size)) for size in config.block_sizes
        )
        self.repeats, self.how = config.block_repeats, config.pooling_type
        self.separate_cls, self.truncates = config.separate_cls, config.separate_cls and config.truncate_seq

    def pairs(self, x: Tensor) -> Tensor:
        """Twice the first token where it is kept separate, so that pairs begin after it; (batch or 1, seq, ...)."""
        if not self.separate_cls:
            return x
        return torch.cat([x[:, :1], x[:, :-1] if self.truncates else x], 1)

    def pool(self, x: Tensor, how: str) -> Tensor:
        """One vector for two tokens; (batch, seq, dim)."""
        x = self.pairs(x).transpose(1, 2)
        pooled = F.avg_pool1d(x, 2, ceil_mode=True) if how == "mean" else F.max_pool1d(x, 2, ceil_mode=True)
        return pooled.transpose(1, 2)

    def halve(self, places: Tensor) -> Tensor:
        """The places of pooled tokens: those of the first of each pair."""
        return self.pairs(places[None])[0, ::2]

    def halve_mask(self, mask: Tensor | None) -> Tensor | None:
        """A pair is real where both of its tokens are."""
        return None if mask is None else -self.pool(-mask[..., None], "max")[..., 0]


class Decoder(nn.Module):
    """Layers on all tokens."""

    def __init__(self, config: Any):
        super().__init__()
        self.layers = nn.ModuleList(FunnelLayer(config) for _ in range(config.num_decoder_layers))


class Model(PreTrainedModel):
    """Funnel without a head: one vector for each token, or with the base model's name one for each pooled token."""

    embeddings_path = "embeddings.word_embeddings"
    _no_split_modules = ["FunnelLayer", "Embeddings"]
    spreads: ClassVar[bool] = True  # pooled tokens over all tokens

    def __init__(self, config: Any, spreads: bool | None = None):
        super().__init__(config)
        for name, values in (("pooling_type", ("mean", "max")), ("attention_type", ("relative_shift", "factorized"))):
            if getattr(config, name) not in values:
                raise ConfigError(name, getattr(config, name), " or ".join(map(repr, values)))
        if len(config.block_sizes) != len(config.block_repeats):
            raise ConfigError("block_repeats", config.block_repeats, f"{len(config.block_sizes)} numbers")
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config) if (self.spreads if spreads is None else spreads) else None

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, seq), 0 at padding.
            token_type_ids: (batch, seq): 0 for the first text, 1 for the second, 2 for the first token.
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        config = self.config
        asked = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        x = self.embeddings(input_ids, inputs_embeds)
        if token_type_ids is None:
            token_type_ids = torch.zeros(x.shape[:2], dtype=torch.long, device=x.device)
        mask = None if attention_mask is None else attention_mask.to(x.dtype)
        context = Context(kernel=kernel_of(config), attentions=[] if asked else None)
        everywhere = torch.arange(x.shape[1], device=x.device)
        places = Places(everywhere, everywhere, 0, mask, token_type_ids)
        seen = self.encode(x, places, context)
        x = seen[-1]
        if self.decoder is not None:
            first = seen[config.block_sizes[0]]
            x = self.spread(x, first.shape[1]) + first
            seen.append(x)
            context = replace(context, extra={"places": places})
            for layer in self.decoder.layers:
                x = self.run(layer, (x, x), context)  # type: ignore[arg-type]
                seen.append(x)
        shown = None if context.attentions is None else tuple(context.attentions)
        return finish(BaseModelOutput(x, tuple(seen) if states else None, shown), return_dict, config)

    def encode(self, x: Tensor, places: Places, context: Context) -> list[Tensor]:
        """The embeddings and what each layer makes of them."""
        encoder, config, seen = self.encoder, self.config, [x]
        queries, keys, pooled, mask = places.queries, places.keys, 0, places.mask
        for number, block in enumerate(encoder.blocks):
            pooling = number > 0 and x.shape[1] > (2 if config.separate_cls else 1)
            for step, layer in enumerate([layer for layer in block for _ in range(encoder.repeats[number])]):  # type: ignore[union-attr]
                asking = x
                if pooling and step == 0:
                    asking, queries = encoder.pool(x, encoder.how), encoder.halve(queries)
                if pooling and step == (1 if config.pool_q_only else 0):
                    keys, pooled, mask = encoder.halve(keys), pooled + 1, encoder.halve_mask(mask)
                looked_at = x if config.pool_q_only else asking
                # A context of its own: gradient checkpointing comes back to it.
                context = replace(context, extra={"places": Places(queries, keys, pooled, mask, places.types)})
                x = self.run(layer, (asking, looked_at), context)  # type: ignore[arg-type]
                seen.append(x)
            if pooling and len(keys) > len(queries):  # a block of one layer
                keys, pooled, mask = encoder.halve(keys), pooled + 1, encoder.halve_mask(mask)
        return seen

    def spread(self, x: Tensor, length: int) -> Tensor:
        """Each pooled token over the tokens that it stands for; (batch, length, dim)."""
        config = self.config
        stride = 2 ** (len(config.block_sizes) - 1)
        if stride == 1:
            return x
        if not config.separate_cls:
            return x.repeat_interleave(stride, 1)[:, :length]
        rest = x[:, 1:].repeat_interleave(stride, 1)
        if config.truncate_seq:
            rest = F.pad(rest, (0, 0, 0, stride - 1))
        return torch.cat([x[:, :1], rest[:, : length - 1]], 1)


class BaseModel(Model):
    """Funnel without a head, one vector for each pooled token."""

    spreads = False


class Classifier(nn.Module):
    """Dense layer, tanh and projection."""

    def __init__(self, config: Any, labels: int):
        super().__init__()
        self.linear_hidden = nn.Linear(config.d_model, config.d_model)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.linear_out = nn.Linear(config.d_model, labels)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_out(self.dropout(torch.tanh(self.linear_hidden(x))))


class MaskedLM(heads.MaskedLMHead):
    """Hidden tokens."""

    base_options = {}
    output_class = MaskedLMOutput
    output_path = "lm_head"

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"lm_head.weight": "funnel.embeddings.word_embeddings.weight"}

    def scores(self, out: Any) -> Tensor:
        return self.lm_head(out.last_hidden_state)


class Classification(heads.EncoderHead):
    """Labels from the first token; pooled tokens are enough."""

    base_options = {"spreads": False}

    def __init__(self, config: Any):
        super().__init__(config)
        self.classifier = Classifier(config, config.num_labels)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(out.last_hidden_state[:, 0])


class Choice(heads.MultipleChoice):
    """The best of several continuations; pooled tokens are enough."""

    base_options = {"spreads": False}
    output_class = MultipleChoiceModelOutput

    def __init__(self, config: Any):
        super(heads.MultipleChoice, self).__init__(config)
        self.classifier = Classifier(config, 1)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(out.last_hidden_state[:, 0])


class TokenLabels(heads.EncoderHead):
    """A label for each token."""

    output_class = heads.TokenClassifierOutput

    def __init__(self, config: Any):
        super().__init__(config)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.classifier = nn.Linear(config.d_model, config.num_labels)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.dropout(out.last_hidden_state))

    def loss(self, logits: Tensor, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
        return token_loss(logits, labels)


class Answer(heads.QuestionAnswering):
    """Where an answer begins and ends."""

    base_options = {}


VARIANTS = {"funnel": Variant(members={"base_model_prefix": "funnel"})}
TASKS = {
    "Model": Model,
    "BaseModel": BaseModel,
    "PreTraining": ElectraPreTraining,
    "MaskedLM": MaskedLM,
    "SequenceClassification": Classification,
    "TokenClassification": TokenLabels,
    "QuestionAnswering": Answer,
    "MultipleChoice": Choice,
}
