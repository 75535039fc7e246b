"""DeBERTa: attention that looks at contents and at distances apart.

deberta, deberta-v2 (its second and third versions).

He et al. 2020 (arXiv:2006.03654), 2021 (arXiv:2111.09543).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.heads import EncoderHead, MaskedLMHead, MultipleChoice
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask, all_true, attend, encoder_mask
from autoload.layers.relative import distances
from autoload.losses import classification_loss
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import Attention, Embeddings, Encoder, Layer, Model, Spec
from autoload.models.bert_heads import ClsHeads, SizedPredictions, TiedHead, resized
from autoload.outputs import MaskedLMOutput


class DebertaEmbeddings(Embeddings):
    """Positions and token types only where the configuration has them; nothing at padding."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        size = spec.embedding_size or config.hidden_size
        self.embed_proj = nn.Linear(size, config.hidden_size, bias=False) if size != config.hidden_size else None
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def make_positions(self, config: Any, spec: Spec, size: int) -> None:
        placed = config.position_biased_input
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size) if placed else None

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        past: int,
        attention_mask: Tensor | None,
    ) -> Tensor:
        x = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if self.position_embeddings is not None:
            if position_ids is None:
                position_ids = self.positions(input_ids, x.shape, past, x.device)
            x = x + self.position_embeddings(position_ids)
        x = self.add_types(x, token_type_ids)
        x = self.LayerNorm(x if self.embed_proj is None else self.embed_proj(x))
        if attention_mask is not None and attention_mask.dim() == 2:
            x = x * attention_mask[..., None].to(x.dtype)
        return self.dropout(x)


def pairs_mask(attention_mask: Tensor | None, dtype: torch.dtype) -> Mask:
    """Mask in which padding neither looks nor is looked at: it spreads its weights evenly, and heads may read it."""
    if attention_mask is None or attention_mask.dim() != 2 or all_true(attention_mask):
        return encoder_mask(attention_mask)
    real = attention_mask != 0
    pairs = (real[:, :, None] & real[:, None, :])[:, None]  # (batch, 1, queries, keys)
    return Mask(torch.zeros(pairs.shape, dtype=dtype, device=pairs.device).masked_fill(~pairs, torch.finfo(dtype).min))


def span_of(config: Any) -> int:
    """How far distances are told apart, each way."""
    furthest = config.max_relative_positions
    return config.max_position_embeddings if furthest < 1 else furthest


def log_buckets(distance: Tensor, buckets: int, span: int) -> Tensor:
    """Distances up to half the buckets as they are, further ones on a logarithmic scale up to `span`."""
    middle = buckets // 2
    far = torch.where(distance.abs() < middle, middle - 1, distance.abs())
    scale = torch.log(torch.tensor((span - 1) / middle, device=distance.device))
    logarithmic = torch.ceil(torch.log(far / middle) / scale * (middle - 1)) + middle
    return torch.where(far <= middle, distance, (logarithmic * distance.sign()).long())


class DisentangledAttention(nn.Module):
    """Scores of content on content, of content on distance (c2p) and of distance on content (p2c)."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__()
        self.heads = config.num_attention_heads
        self.dim = getattr(config, "attention_head_size", config.hidden_size // self.heads)
        kinds = config.pos_att_type or []
        self.c2p, self.p2c = "c2p" in kinds, "p2c" in kinds
        self.relative = config.relative_attention
        self.scale = (self.dim * (1 + self.c2p + self.p2c)) ** -0.5
        self.make_projections(config, self.heads * self.dim)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.pos_dropout = nn.Dropout(config.hidden_dropout_prob)

    def make_projections(self, config: Any, size: int) -> None:
        """DeBERTa-v2's; distances may share those of contents."""
        self.query_proj = nn.Linear(config.hidden_size, size)
        self.key_proj = nn.Linear(config.hidden_size, size)
        self.value_proj = nn.Linear(config.hidden_size, size)
        self.shares = getattr(config, "share_att_key", False)
        if self.relative and not self.shares and self.c2p:
            self.pos_key_proj = nn.Linear(config.hidden_size, size)
        if self.relative and not self.shares and self.p2c:
            self.pos_query_proj = nn.Linear(config.hidden_size, size)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)  # (..., heads, seq, dim)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.split(self.query_proj(x)), self.split(self.key_proj(x)), self.split(self.value_proj(x))

    def distance_key(self, table: Tensor) -> Tensor:
        return self.key_proj(table) if self.shares else self.pos_key_proj(table)

    def distance_query(self, table: Tensor) -> Tensor:
        return self.query_proj(table) if self.shares else self.pos_query_proj(table)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = self.project(x)
        bias = self.bias(q, k, context) if self.relative else None
        dropout = self.dropout.p if self.training else 0.0
        mask, weights = context.masks["full"], context.attentions
        return attend(q, k, v, mask, context, scale=self.scale, dropout=dropout, bias=bias, weights_to=weights)

    def bias(self, q: Tensor, k: Tensor, context: Context) -> Tensor | None:
        """Scores in which distances take part; (batch, heads, queries, keys)."""
        table, index = self.pos_dropout(context.extra["table"]), context.extra["index"]  # (2 span, dim), (seq, seq)
        index = index.expand(*q.shape[:2], -1, -1)
        out = None
        if self.c2p:
            scores = q @ self.split(self.distance_key(table)).transpose(-1, -2)  # (batch, heads, queries, 2 span)
            out = scores.gather(-1, index) * self.scale
        if self.p2c:
            scores = k @ self.split(self.distance_query(table)).transpose(-1, -2)  # (batch, heads, keys, 2 span)
            # Row and column change places: what stands at (key, query) belongs to (query, key).
            p2c = scores.gather(-1, index.transpose(-1, -2)).transpose(-1, -2) * self.scale
            out = p2c if out is None else out + p2c
        return out


class FirstDisentangledAttention(DisentangledAttention):
    """DeBERTa's first: one matrix for queries, keys and values of a head, biases apart."""

    def make_projections(self, config: Any, size: int) -> None:
        if getattr(config, "talking_head", False):
            raise ConfigError("talking_head", True, "false: heads that talk to each other are not implemented")
        self.in_proj = nn.Linear(config.hidden_size, 3 * size, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(size))
        self.v_bias = nn.Parameter(torch.zeros(size))
        if self.relative and self.c2p:
            self.pos_proj = nn.Linear(config.hidden_size, size, bias=False)
        if self.relative and self.p2c:
            self.pos_q_proj = nn.Linear(config.hidden_size, size)

    def init_own(self, std: float) -> None:
        self.q_bias.zero_()
        self.v_bias.zero_()

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.split(self.in_proj(x)).chunk(3, -1)
        return q + self.split(self.q_bias[None]), k, v + self.split(self.v_bias[None])

    def distance_key(self, table: Tensor) -> Tensor:
        return self.pos_proj(table)

    def distance_query(self, table: Tensor) -> Tensor:
        return self.pos_q_proj(table)


class DebertaAttention(Attention):
    """With DeBERTa-v2's scores."""

    self_class = DisentangledAttention


class FirstAttention(Attention):
    """With the first DeBERTa's scores."""

    self_class = FirstDisentangledAttention


class DebertaLayer(Layer):
    """DeBERTa-v2's; beside the first layer runs a convolution, where the configuration has one."""

    attention_class = DebertaAttention

    def __init__(self, config: Any, layer_idx: int):
        super().__init__(config, layer_idx)
        self.convolves = layer_idx == 0 and getattr(config, "conv_kernel_size", 0) > 0

    def forward(self, x: Tensor, context: Context) -> Tensor:
        out = super().forward(x, context)
        return context.extra["conv"](x, out, context.extra["attention_mask"]) if self.convolves else out


class FirstLayer(Layer):
    """The first DeBERTa's."""

    attention_class = FirstAttention


class ConvLayer(nn.Module):
    """What neighbouring tokens say, added to the first layer's output."""

    def __init__(self, config: Any):
        super().__init__()
        size = getattr(config, "conv_kernel_size", 3)
        groups = getattr(config, "conv_groups", 1)
        self.conv = nn.Conv1d(config.hidden_size, config.hidden_size, size, padding=(size - 1) // 2, groups=groups)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.activation = Activation(getattr(config, "conv_act", "tanh"))

    def forward(self, x: Tensor, residual: Tensor, attention_mask: Tensor | None) -> Tensor:
        out = self.conv(x.transpose(1, 2)).transpose(1, 2)
        if attention_mask is None or attention_mask.dim() != 2:
            return self.LayerNorm(residual + self.activation(self.dropout(out)))
        real = (attention_mask != 0)[..., None]
        out = self.activation(self.dropout(out.masked_fill(~real, 0)))
        return self.LayerNorm(residual + out) * real.to(out.dtype)


class DebertaEncoder(Encoder):
    """Holds the table of distances that all layers share."""

    buckets = 0  # on a logarithmic scale; 0: one entry for each distance

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.relative, self.span = config.relative_attention, span_of(config)
        if self.relative:
            self.rel_embeddings = nn.Embedding(2 * (self.buckets or self.span), config.hidden_size)

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        context.masks["full"] = pairs_mask(context.extra["attention_mask"], x.dtype)
        if self.relative:
            context.extra |= self.relate(x)
        return x

    def relate(self, x: Tensor) -> dict[str, Tensor]:
        """The vectors of distances, and which of them belongs to a query and a key."""
        seq, span = x.shape[1], min(x.shape[1], self.span)
        index = (-distances(seq, seq, x.device) + span).clamp(0, 2 * span - 1)
        return {"table": self.rel_embeddings.weight[self.span - span : self.span + span], "index": index}


class DebertaV2Encoder(DebertaEncoder):
    """Distances on a logarithmic scale; a convolution."""

    def __init__(self, config: Any, spec: Spec):
        self.buckets = max(getattr(config, "position_buckets", -1), 0)
        super().__init__(config, spec)
        norms = [part.strip() for part in getattr(config, "norm_rel_ebd", "none").lower().split("|")]
        self.norms = "layer_norm" in norms
        if self.norms:
            self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.conv = ConvLayer(config) if getattr(config, "conv_kernel_size", 0) > 0 else None

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        context.extra["conv"] = self.conv
        return super().begin(x, context, past)

    def relate(self, x: Tensor) -> dict[str, Tensor]:
        table, half = self.rel_embeddings.weight, self.buckets or self.span
        distance = -distances(x.shape[1], x.shape[1], x.device)
        if self.buckets > 0:
            distance = log_buckets(distance, self.buckets, self.span)
        index = (distance + half).clamp(0, 2 * half - 1)
        return {"table": self.LayerNorm(table) if self.norms else table, "index": index}


class NewPredictions(nn.Module):
    """Scores of the vocabulary, straight from the table of words."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.transform_act_fn = Activation(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def init_own(self, std: float) -> None:
        self.bias.zero_()

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        return F.linear(self.LayerNorm(self.transform_act_fn(self.dense(x))), words, self.bias)


class NewHeads(nn.Module):
    """The heads that come with `legacy` off."""

    def __init__(self, config: Any):
        super().__init__()
        self.lm_head = NewPredictions(config)


class MaskedLM(TiedHead, MaskedLMHead):
    """DeBERTa's hidden tokens."""

    output_class = MaskedLMOutput

    def __init__(self, config: Any):
        super().__init__(config)
        self.legacy = config.legacy
        if self.legacy:
            self.cls = ClsHeads(config, SizedPredictions)
        else:
            self.lm_predictions = NewHeads(config)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return super()._tied_weights_keys if self.legacy else {}

    def get_output_embeddings(self) -> nn.Module | None:
        return super().get_output_embeddings() if self.legacy else None

    def after_resize(self, count: int) -> None:
        if self.legacy:
            return super().after_resize(count)
        self.lm_predictions.lm_head.bias = resized(self.lm_predictions.lm_head.bias, count)

    def scores(self, out: Any) -> Tensor:
        if self.legacy:
            return self.cls.predictions(out.last_hidden_state)
        return self.lm_predictions.lm_head(out.last_hidden_state, self.get_input_embeddings().weight)


class ContextPooler(nn.Module):
    """Dense layer and activation on the first token."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.pooler_hidden_size, config.pooler_hidden_size)
        self.dropout = nn.Dropout(config.pooler_dropout)
        self.activation = Activation(config.pooler_hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.dense(self.dropout(x[:, 0])))


def head_dropout(config: Any) -> nn.Dropout:
    rate = getattr(config, "cls_dropout", None)
    return nn.Dropout(config.hidden_dropout_prob if rate is None else rate)


class SequenceClassification(EncoderHead):
    """DeBERTa's labels. Without a `problem_type`, labels may be shares of the classes."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.pooler = ContextPooler(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.dropout = head_dropout(config)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.dropout(self.pooler(out.last_hidden_state)))

    def loss(self, logits: Tensor, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
        if self.config.problem_type is not None:
            return classification_loss(logits, labels, self.config)
        if self.config.num_labels == 1:
            return F.mse_loss(logits.view(-1).to(labels.dtype), labels.view(-1))
        if labels.dim() == 1 or labels.shape[-1] == 1:  # class numbers; negative ones do not count
            labels = labels.view(-1).long()
            known = labels >= 0
            return F.cross_entropy(logits[known].float(), labels[known]) if known.any() else logits.new_zeros(())
        return F.cross_entropy(logits, labels.to(logits.dtype))


class DebertaMultipleChoice(MultipleChoice):
    """DeBERTa-v2's choice."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.pooler = ContextPooler(config)
        self.dropout = head_dropout(config)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.dropout(self.pooler(out.last_hidden_state)))


def spec(config: Any, encoder: type, layer: type) -> Spec:
    return Spec(
        pooler=None,
        token_types=config.type_vocab_size > 0,
        embedding_size=getattr(config, "embedding_size", None),
        inputs=("attention_mask",),
        packs=False,
        embeddings=DebertaEmbeddings,
        encoder=encoder,
        layer=layer,
    )


VARIANTS = {
    "deberta": Variant(lambda c: spec(c, DebertaEncoder, FirstLayer), members={"base_model_prefix": "deberta"}),
    "deberta-v2": Variant(lambda c: spec(c, DebertaV2Encoder, DebertaLayer), members={"base_model_prefix": "deberta"}),
}
TASKS = bert_heads.TASKS | {
    "Model": Model,
    "MaskedLM": MaskedLM,
    "SequenceClassification": SequenceClassification,
    "MultipleChoice": DebertaMultipleChoice,
}
