"""SqueezeBERT: BERT with grouped convolutions of width one in place of linear layers.

Iandola et al. 2020 (arXiv:2006.11316).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.layers.activations import Activation
from autoload.layers.attention import Context, attend
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import PooledModel, Spec


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (batch, channels, seq)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


class ConvNorm(nn.Module):
    """Convolution, dropout, residual, norm."""

    def __init__(self, config: Any, size: int, groups: int):
        super().__init__()
        self.conv1d = nn.Conv1d(size, config.hidden_size, 1, groups=groups)
        self.layernorm = ChannelNorm(config.hidden_size, eps=1e-12)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.layernorm(self.dropout(self.conv1d(x)) + residual)


class ConvActivation(nn.Module):
    """Convolution and activation."""

    def __init__(self, config: Any):
        super().__init__()
        self.conv1d = nn.Conv1d(config.hidden_size, config.intermediate_size, 1, groups=config.intermediate_groups)
        self.act = Activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv1d(x))


class SelfAttention(nn.Module):
    """Queries, keys and values from grouped convolutions. What it shows are scores, not weights."""

    def __init__(self, config: Any):
        super().__init__()
        size, self.heads = config.hidden_size, config.num_attention_heads
        self.dim = size // self.heads
        self.query = nn.Conv1d(size, size, 1, groups=config.q_groups)
        self.key = nn.Conv1d(size, size, 1, groups=config.k_groups)
        self.value = nn.Conv1d(size, size, 1, groups=config.v_groups)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.heads, self.dim)).transpose(2, 3)  # (batch, heads, seq, dim)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        mask, scale = context.masks["full"], self.dim**-0.5
        if context.attentions is not None:
            scores = q @ k.transpose(2, 3) * scale
            if mask.allowed is not None:
                scores = scores.masked_fill(~mask.allowed, torch.finfo(scores.dtype).min)
            context.attentions.append(scores)
        dropout = self.dropout.p if self.training else 0.0
        return attend(q, k, v, mask, context, scale=scale, dropout=dropout).transpose(1, 2)


class SqueezeBertModule(nn.Module):
    """Attention and a wide layer; norms after the residuals."""

    def __init__(self, config: Any):
        super().__init__()
        self.attention = SelfAttention(config)
        self.post_attention = ConvNorm(config, config.hidden_size, config.post_attention_groups)
        self.intermediate = ConvActivation(config)
        self.output = ConvNorm(config, config.intermediate_size, config.output_groups)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = x.transpose(1, 2)  # (batch, channels, seq)
        x = self.post_attention(self.attention(x, context), x)
        return self.output(self.intermediate(x), x).transpose(1, 2)


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        self.layers = nn.ModuleList(SqueezeBertModule(config) for _ in range(config.num_hidden_layers))

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        return x

    def stack(self) -> list[nn.Module]:
        """The layers in the order in which they run."""
        return list(self.layers)

    def end(self, x: Tensor) -> Tensor:
        return x


VARIANTS = {"squeezebert": Variant(lambda c: Spec(encoder=Encoder), members={"base_model_prefix": "transformer"})}
TASKS = bert_heads.TASKS | {"Model": PooledModel}
