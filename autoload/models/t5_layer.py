"""A layer of T5 in its parts: norm, attention, the wide layer, and the block of them.

No model type lives here; t5 and the families that branch off it build on these.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.layers.norms import RMSNorm
from autoload.models import gpt_decoder
from autoload.models.seq2seq import finite


class Norm(RMSNorm):
    """Gives its weight's dtype: where a layer stays fp32 in a half precision model, the stream does too."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == self.weight.dtype == torch.float32:
            return super().forward(x)
        return self.weight * F.rms_norm(x.float(), self.weight.shape, eps=self.eps).to(self.weight.dtype)


class Linear(nn.Linear):
    """Fresh values deviate by `std`, without which scores that are not scaled would be too large."""

    def __init__(self, size: int, count: int, std: float, bias: bool = False):
        super().__init__(size, count, bias=bias)
        self.std = std

    def init_own(self, std: float) -> None:
        self.weight.normal_(0.0, self.std)
        if self.bias is not None:
            self.bias.zero_()


class Table(nn.Embedding):
    """Fresh values deviate by `std`."""

    def __init__(self, count: int, size: int, std: float):
        super().__init__(count, size)
        self.std = std

    def init_own(self, std: float) -> None:
        self.weight.normal_(0.0, self.std)


class Attention(gpt_decoder.Attention):
    """Scores are not scaled; a table of relative positions may stand beside the projections."""

    def __init__(self, config: Any, layer_idx: int, *, cross: bool = False, table: bool = False):
        super().__init__(
            config.d_model, config.num_heads, layer_idx, scale=1.0, dropout=config.dropout_rate, cross=cross
        )
        self.dim = config.d_kv
        size, inner, std = config.d_model, config.num_heads * config.d_kv, config.initializer_factor
        self.q = Linear(size, inner, std * (size * config.d_kv) ** -0.5)
        self.k, self.v = (Linear(size, inner, std * size**-0.5) for _ in range(2))
        self.o = Linear(inner, size, std * inner**-0.5)
        if table:
            self.relative_attention_bias = self.make_table(config)

    def make_table(self, config: Any) -> nn.Embedding:
        """A number for each distance and head."""
        std = config.initializer_factor * config.d_model**-0.5
        return Table(config.relative_attention_num_buckets, config.num_heads, std)

    def queries(self, x: Tensor) -> Tensor:
        return self.split(self.q(x))

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.k(x)), self.split(self.v(x))

    def output(self, x: Tensor) -> Tensor:
        return self.o(x)


class MLP(nn.Module):
    """The wide layer and back; the way back may be fp32 in a half precision model."""

    def __init__(self, config: Any):
        super().__init__()
        self.make_wide(config, config.initializer_factor * config.d_model**-0.5)
        self.wo = Linear(config.d_ff, config.d_model, config.initializer_factor * config.d_ff**-0.5)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.act = Activation(config.dense_act_fn)

    def make_wide(self, config: Any, std: float) -> None:
        self.wi = Linear(config.d_model, config.d_ff, std)

    def widen(self, x: Tensor) -> Tensor:
        return self.act(self.wi(x))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.wo(self.dropout(self.widen(x)).to(self.wo.weight.dtype))


class GatedMLP(MLP):
    """Two wide layers, one the gate of the other."""

    def make_wide(self, config: Any, std: float) -> None:
        self.wi_0, self.wi_1 = (Linear(config.d_model, config.d_ff, std) for _ in range(2))

    def widen(self, x: Tensor) -> Tensor:
        return self.act(self.wi_0(x)) * self.wi_1(x)


class Part(nn.Module):
    """Norm, one module under its own name, dropout, residual."""

    def __init__(self, config: Any, name: str, module: nn.Module):
        super().__init__()
        self.name = name
        self.add_module(name, module)
        self.layer_norm = Norm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)

    @property
    def inner(self) -> Any:
        return getattr(self, self.name)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return x + self.dropout(self.inner(self.layer_norm(x), context))


class Block(nn.Module):
    """Attention, in a decoder cross-attention, and a wide layer."""

    def __init__(self, config: Any, layer_idx: int, *, crosses: bool, table: bool):
        super().__init__()
        parts = [self.make_attention(config, layer_idx, table)]
        if crosses:
            parts.append(Part(config, "EncDecAttention", Attention(config, layer_idx, cross=True)))
        self.layer = nn.ModuleList([*parts, self.make_mlp(config, layer_idx, crosses)])

    def make_attention(self, config: Any, layer_idx: int, table: bool) -> Part:
        return Part(config, "SelfAttention", Attention(config, layer_idx, table=table))

    def make_mlp(self, config: Any, layer_idx: int, crosses: bool) -> Part:
        return Part(config, "DenseReluDense", GatedMLP(config) if config.is_gated_act else MLP(config))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        first, *cross, last = self.layer
        x = finite(first(x, context))
        for part in cross if context.encoder is not None else ():
            x = finite(part(x, context))
        return finite(last(x, context))
