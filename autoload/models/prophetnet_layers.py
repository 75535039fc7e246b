"""ProphetNet's layers: attention of a main stream, and of others that look ahead of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend
from autoload.models import gpt_decoder


class Attention(gpt_decoder.Attention):
    """Queries, keys and values under ProphetNet's names."""

    def __init__(self, config: Any, heads: int, layer_idx: int, **options: Any):
        size = config.hidden_size
        super().__init__(size, heads, layer_idx, dropout=config.attention_dropout, **options)
        self.key_proj = nn.Linear(size, size)
        self.value_proj = nn.Linear(size, size)
        self.query_proj = nn.Linear(size, size)
        self.out_proj = nn.Linear(size, size)
        self.dropout = nn.Dropout(config.dropout)

    def queries(self, x: Tensor) -> Tensor:
        return self.split(self.query_proj(x))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.key_proj(x)), self.split(self.value_proj(x))

    def output(self, x: Tensor) -> Tensor:
        return self.dropout(self.out_proj(x))


@dataclass
class Streams:
    """Where the tokens of the streams stand."""

    length: int  # of each
    near: Tensor  # (length, keys), numbers of the distances in the main stream
    far: (
        Tensor  # (length, keys + 1), those from the other streams, which are one place ahead; the last key is their own
    )
    allowed: Tensor  # (batch or 1, 1, ngram, length, keys + 1), what they may look at
    attentions: list[Tensor] | None  # a list asks for the weights


class NgramAttention(Attention):
    """Self-attention of all streams; the tokens themselves say how much a distance counts."""

    def __init__(self, config: Any, heads: int, layer_idx: int):
        super().__init__(config, heads, layer_idx)
        self.ngram = config.ngram
        self.relative_pos_embeddings = nn.Linear(self.size, config.num_buckets * heads)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(batch, (1 + ngram) * length, dim), the main stream first."""
        streams: Streams = context.extra["streams"]
        parts = (streams.length, x.shape[1] - streams.length)
        (q, q_ahead), (k, k_ahead), (v, v_ahead) = (t.split(parts, 2) for t in self.project(x))
        values = self.relative_pos_embeddings(x).unflatten(-1, (-1, self.heads))  # (batch, seq, buckets, heads)
        values, values_ahead = values.split(parts, 1)
        if context.cache is not None:
            k, v = context.cache.update(k, v, self.layer_idx)
        near = values.permute(0, 3, 1, 2)  # (batch, heads, length, buckets)
        near = near.gather(-1, streams.near.expand(*near.shape[:3], -1))
        dropout = self.attn_dropout.p if self.training else 0.0
        options: Any = dict(scale=self.scale, dropout=dropout, bias=near, weights_to=context.attentions)
        out = attend(q, k, v, context.masks["full"], context, **options)
        # The reference takes (length, ngram, heads) for (ngram, heads, length), so that where a target has several tokens
        # a stream's distances count as much as some other token, or stream, says. So it was trained, and so it is here.
        far = values_ahead.unflatten(1, (self.ngram, -1)).permute(0, 2, 1, 4, 3)
        far = far.reshape(len(x), self.ngram, self.heads, streams.length, -1).transpose(1, 2)
        far = far.gather(-1, streams.far.expand(*far.shape[:4], -1))  # (batch, heads, ngram, length, keys + 1)
        q, own_k, own_v = (t.unflatten(2, (self.ngram, -1)) for t in (q_ahead, k_ahead, v_ahead))
        return self.output(torch.cat([out, self.look_ahead(q, own_k, own_v, k, v, far, streams)], 1))

    def look_ahead(
        self, q: Tensor, own_k: Tensor, own_v: Tensor, k: Tensor, v: Tensor, bias: Tensor, streams: Streams
    ) -> Tensor:
        """The streams' tokens look at the main stream and each at itself.

        Args:
            q, own_k, own_v: of the streams, (batch, heads, ngram, length, dim).
            k, v: of the main one, (batch, heads, keys, dim).
            bias: added to the scores, (batch, heads, ngram, length, keys + 1).
            streams: what they may look at.

        Returns:
            (batch, ngram * length, heads * dim).
        """
        main = q @ k[:, :, None].transpose(-1, -2)  # (batch, heads, ngram, length, keys)
        scores = torch.cat([main, (q * own_k).sum(-1, keepdim=True)], -1) * self.scale + bias
        scores = scores.masked_fill(~streams.allowed, torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1, dtype=torch.float32).to(q.dtype)
        if streams.attentions is not None:  # as if the keys of a whole stream stood after the main one's
            shown = torch.cat([weights[..., :-1], weights[..., -1].diag_embed()], -1)
            streams.attentions.append(shown.transpose(1, 2))
        weights = self.attn_dropout(weights)
        out = weights[..., :-1] @ v[:, :, None] + weights[..., -1:] * own_v
        return out.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2)


class MLP(nn.Module):
    """The wide layer and back."""

    def __init__(self, config: Any, inner: int):
        super().__init__()
        self.activation_fn = Activation(config.activation_function)
        self.intermediate = nn.Linear(config.hidden_size, inner)
        self.output = nn.Linear(inner, config.hidden_size)
        self.activation_dropout, self.dropout = nn.Dropout(config.activation_dropout), nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.output(self.activation_dropout(self.activation_fn(self.intermediate(x)))))


class EncoderLayer(nn.Module):
    """Attention and a wide layer; norms after the residuals."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.self_attn = Attention(config, config.num_encoder_attention_heads, layer_idx)
        self.self_attn_layer_norm = nn.LayerNorm(config.hidden_size)
        self.feed_forward = MLP(config, config.encoder_ffn_dim)
        self.feed_forward_layer_norm = nn.LayerNorm(config.hidden_size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.self_attn_layer_norm(x + self.self_attn(x, context))
        return self.feed_forward_layer_norm(x + self.feed_forward(x))


class DecoderLayer(nn.Module):
    """Attention of all streams, cross-attention where the configuration adds it, and a wide layer."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        heads = config.num_decoder_attention_heads
        self.self_attn = NgramAttention(config, heads, layer_idx)
        self.self_attn_layer_norm = nn.LayerNorm(config.hidden_size)
        self.crosses = config.add_cross_attention
        if self.crosses:
            self.cross_attn = Attention(config, heads, layer_idx, cross=True)
            self.cross_attn_layer_norm = nn.LayerNorm(config.hidden_size)
        self.feed_forward = MLP(config, config.decoder_ffn_dim)
        self.feed_forward_layer_norm = nn.LayerNorm(config.hidden_size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.self_attn_layer_norm(x + self.self_attn(x, context))
        if self.crosses and context.encoder is not None:
            x = self.cross_attn_layer_norm(x + self.cross_attn(x, context))
        return self.feed_forward_layer_norm(x + self.feed_forward(x))
