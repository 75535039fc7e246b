"""MPNet: BERT's wiring with a bias for the distance of two tokens, shared by all layers.

Song et al. 2020 (arXiv:2004.09297).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from autoload.layers.attention import Context
from autoload.layers.relative import distances, relative_buckets
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import Encoder, Layer, Model, SelfAttention, Spec

PADDING = 1  # positions count from here, whatever pad_token_id says
BUCKETS, MAX_DISTANCE = 32, 128


class MPNetSelfAttention(SelfAttention):
    """Adds the bias that the encoder made, and projects its output itself."""

    def make_projections(self, config: Any, size: int) -> None:
        self.q = nn.Linear(config.hidden_size, size)
        self.k = nn.Linear(config.hidden_size, size)
        self.v = nn.Linear(config.hidden_size, size)
        self.o = nn.Linear(config.hidden_size, config.hidden_size)

    def project(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        return self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))

    def bias(self, q: Tensor, k: Tensor, context: Context) -> Tensor:
        return context.extra["bias"]

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.o(super().forward(x, context))


class MPNetAttention(nn.Module):
    """Attention, dropout, residual, norm."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.attn = MPNetSelfAttention(config, layer_idx)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.LayerNorm(self.dropout(self.attn(x, context)) + x)


class MPNetLayer(Layer):
    """With MPNet's attention."""

    attention_class = MPNetAttention


class MPNetEncoder(Encoder):
    """Holds the table of biases."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.relative_attention_bias = nn.Embedding(config.relative_attention_num_buckets, config.num_attention_heads)

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        buckets = relative_buckets(distances(x.shape[1], x.shape[1], x.device), BUCKETS, MAX_DISTANCE)
        context.extra["bias"] = self.relative_attention_bias(buckets).permute(2, 0, 1)[None]  # (1, heads, seq, seq)
        return x


VARIANTS = {
    "mpnet": Variant(
        lambda c: Spec(padded_from=PADDING, token_types=False, layer=MPNetLayer, encoder=MPNetEncoder),
        members={"base_model_prefix": "mpnet"},
    ),
}
TASKS = bert_heads.ROBERTA_TASKS | {"Model": Model}
