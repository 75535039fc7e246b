"""MobileBERT: a deep, thin BERT whose layers work between bottlenecks.

Sun et al. 2020 (arXiv:2004.02984).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import Embeddings, Model, Spec
from autoload.models.bert_heads import Predictions


class NoNorm(nn.Module):
    """Only scales and shifts."""

    def __init__(self, size: int, eps: float | None = None):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(size))
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight + self.bias


def make_norm(config: Any, size: int, eps: float = 1e-5) -> nn.Module:
    norms = {"no_norm": NoNorm, "layer_norm": nn.LayerNorm}
    if config.normalization_type not in norms:
        raise ConfigError("normalization_type", config.normalization_type, "'no_norm' or 'layer_norm'")
    return norms[config.normalization_type](size, eps=eps)


class MobileBertEmbeddings(Embeddings):
    """Word vectors with their neighbours', brought to the model's size before positions are added."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        size = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        self.trigram = config.trigram_input
        self.transforms = self.trigram or config.embedding_size != size
        self.embedding_transformation = nn.Linear(config.embedding_size * (3 if self.trigram else 1), size)
        self.LayerNorm = make_norm(config, size)

    def add_types(self, x: Tensor, token_type_ids: Tensor | None) -> Tensor:
        if self.trigram:
            after, before = F.pad(x[:, 1:], (0, 0, 0, 1)), F.pad(x[:, :-1], (0, 0, 1, 0))
            x = torch.cat([after, x, before], -1)
        return super().add_types(self.embedding_transformation(x) if self.transforms else x, token_type_ids)


class DenseNorm(nn.Module):
    """Dense layer, residual where one is given, norm."""

    def __init__(self, config: Any, size_in: int, size: int, dropout: float = 0.0):
        super().__init__()
        self.dense = nn.Linear(size_in, size)
        self.LayerNorm = make_norm(config, size, config.layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        x = self.dropout(self.dense(x))
        return self.LayerNorm(x if residual is None else x + residual)


class SelfAttention(nn.Module):
    """Queries and keys from one width, values perhaps from another."""

    def __init__(self, config: Any):
        super().__init__()
        size, self.heads = config.true_hidden_size, config.num_attention_heads
        self.dim = size // self.heads
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size if config.use_bottleneck_attention else config.hidden_size, size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(self, asked: Tensor, shown: Tensor, context: Context) -> Tensor:
        projected = (self.query(asked), self.key(asked), self.value(shown))
        q, k, v = (x.unflatten(-1, (self.heads, self.dim)).transpose(1, 2) for x in projected)
        dropout, mask = self.dropout.p if self.training else 0.0, context.masks["full"]
        return attend(q, k, v, mask, context, scale=self.dim**-0.5, dropout=dropout, weights_to=context.attentions)


class Attention(nn.Module):
    """Attention and its output."""

    def __init__(self, config: Any):
        super().__init__()
        self.self = SelfAttention(config)
        dropout = 0.0 if config.use_bottleneck else config.hidden_dropout_prob
        self.output = DenseNorm(config, config.true_hidden_size, config.true_hidden_size, dropout)

    def forward(self, asked: Tensor, shown: Tensor, residual: Tensor, context: Context) -> Tensor:
        return self.output(self.self(asked, shown, context), residual)


class Intermediate(nn.Module):
    """The wide layer."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.true_hidden_size, config.intermediate_size)
        self.intermediate_act_fn = Activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.intermediate_act_fn(self.dense(x))


class Output(nn.Module):
    """Back from the wide layer, and out of the bottleneck."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.true_hidden_size
        self.dense = nn.Linear(config.intermediate_size, size)
        self.LayerNorm = make_norm(config, size)
        self.dropout = nn.Dropout(0.0 if config.use_bottleneck else config.hidden_dropout_prob)
        if config.use_bottleneck:
            self.bottleneck = DenseNorm(config, size, config.hidden_size, config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor, layer_input: Tensor) -> Tensor:
        x = self.LayerNorm(self.dropout(self.dense(x)) + residual)
        return self.bottleneck(x, layer_input) if hasattr(self, "bottleneck") else x


class FFN(nn.Module):
    """One more wide layer."""

    def __init__(self, config: Any):
        super().__init__()
        self.intermediate = Intermediate(config)
        self.output = DenseNorm(config, config.intermediate_size, config.true_hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.intermediate(x), x)


class Bottleneck(nn.Module):
    """What attention asks with, what it is shown, and what its output is added to."""

    def __init__(self, config: Any):
        super().__init__()
        self.narrow, self.shared = config.use_bottleneck_attention, config.key_query_shared_bottleneck
        self.input = DenseNorm(config, config.hidden_size, config.intra_bottleneck_size)
        if self.shared:
            self.attention = DenseNorm(config, config.hidden_size, config.intra_bottleneck_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        thin = self.input(x)
        if self.narrow:
            return thin, thin, thin
        return self.attention(x) if self.shared else x, x, thin


class MobileBertLayer(nn.Module):
    """Into the bottleneck, attention, several wide layers, and out."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Output(config)
        if config.use_bottleneck:
            self.bottleneck = Bottleneck(config)
        self.ffn = nn.ModuleList(FFN(config) for _ in range(config.num_feedforward_networks - 1))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        asked, shown, thin = self.bottleneck(x) if hasattr(self, "bottleneck") else (x, x, x)
        y = self.attention(asked, shown, thin, context)
        for ffn in self.ffn:
            y = ffn(y)
        return self.output(self.intermediate(y), y, x)


class Pooler(nn.Module):
    """The first token, through a dense layer and tanh where the configuration says so."""

    def __init__(self, config: Any):
        super().__init__()
        self.activates = config.classifier_activation
        if self.activates:
            self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.dense(x[:, 0])) if self.activates else x[:, 0]


class MobilePredictions(Predictions):
    """Scores of the vocabulary: the tied table of words serves the first features, a matrix of its own the others."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.dense = nn.Linear(config.vocab_size, config.hidden_size - config.embedding_size, bias=False)
        self.decoder = nn.Linear(config.embedding_size, config.vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        words = torch.cat([self.decoder.weight.T, self.dense.weight])  # (dim, vocabulary)
        return self.transform(x) @ words + self.decoder.bias


class _Resized(bert_heads.TiedHead):
    """The further matrix follows the vocabulary."""

    def after_resize(self, count: int) -> None:
        super().after_resize(count)
        predictions: Any = self.get_submodule("cls.predictions")
        old = predictions.dense.weight
        new = nn.Linear(count, len(old), bias=False, device=old.device, dtype=old.dtype)
        with torch.no_grad():
            kept = min(count, old.shape[1])
            new.weight[:, :kept] = old[:, :kept]
            new.weight[:, kept:] = old.float().mean(1, keepdim=True).to(old.dtype)
        predictions.dense = new


class MaskedLM(_Resized, bert_heads.MaskedLM):
    """MobileBERT's hidden tokens."""

    predictions_class = MobilePredictions


class PreTraining(_Resized, bert_heads.PreTraining):
    """Hidden tokens and next sentence."""

    predictions_class = MobilePredictions


VARIANTS = {
    "mobilebert": Variant(
        lambda c: Spec(embeddings=MobileBertEmbeddings, layer=MobileBertLayer, pooler=Pooler),
        members={"base_model_prefix": "mobilebert"},
    ),
}
TASKS = bert_heads.TASKS | {"Model": Model, "MaskedLM": MaskedLM, "PreTraining": PreTraining}
