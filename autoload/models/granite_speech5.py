"""Granite Speech 5: a conformer that attends within blocks, halves time in some layers, and reads its own first guess.

Saon et al. 2025 (arXiv:2505.08699); distances between frames are scored as in Shaw et al. 2018 (arXiv:1803.02155).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import glu, pad, silu

from autoload.layers.attention import Context, Mask, attend, biased, kernel_of
from autoload.layers.convolution import BatchNorm1d
from autoload.layers.relative import distances
from autoload.model import Variant
from autoload.models import parakeet


class Attention(nn.Module):
    """In both directions within blocks of frames, with a score for each distance."""

    def __init__(self, config: Any):
        super().__init__()
        size, self.dim, self.block = config.hidden_size, config.head_dim, config.context_size
        inner, self.dropout = config.num_attention_heads * self.dim, config.attention_dropout
        self.q_proj, self.k_proj = nn.Linear(size, inner, bias=False), nn.Linear(size, inner, bias=False)
        self.v_proj, self.o_proj = nn.Linear(size, inner, bias=False), nn.Linear(inner, size)
        self.rel_pos_emb = nn.Embedding(2 * config.max_position_embeddings + 1, self.dim)

    def split(self, x: Tensor) -> Tensor:
        """(batch, frames, inner) to (batch * blocks, heads, block, dim)."""
        return x.reshape(-1, self.block, x.shape[-1] // self.dim, self.dim).transpose(1, 2)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        (batch, frames), real = x.shape[:2], context.extra["real"]
        if missing := -frames % self.block:
            real = x.new_ones(batch, frames, dtype=torch.bool) if real is None else real
            x, real = pad(x, (0, 0, 0, missing)), pad(real, (0, missing))
        q, k, v = self.split(self.q_proj(x)), self.split(self.k_proj(x)), self.split(self.v_proj(x))
        scale = self.dim**-0.5
        table = self.rel_pos_emb(context.extra["places"]) * scale  # (block, block, dim)
        by_query = q.permute(2, 0, 1, 3).flatten(1, 2) @ table.transpose(1, 2)  # (block, batch * blocks * heads, block)
        bias = by_query.unflatten(1, q.shape[:2]).permute(1, 2, 0, 3).contiguous()
        mask = Mask() if real is None else Mask(real.reshape(-1, 1, 1, self.block))
        dropout = self.dropout if self.training else 0.0
        out = attend(q, k, v, biased(mask, bias, self.block), context, scale=scale, dropout=dropout)
        return self.o_proj(out.reshape(batch, frames + missing, -1)[:, :frames])


class Convolution(nn.Module):
    """A gate, a convolution of each channel by itself, and projections around them."""

    def __init__(self, config: Any, stride: int = 1):
        super().__init__()
        size, kernel = config.hidden_size, config.conv_kernel_size
        inner, around = size * config.conv_expansion_factor, (kernel - 1) // 2
        self.pointwise_lin1 = nn.Linear(size, 2 * inner)
        self.depthwise_conv = nn.Conv1d(inner, inner, kernel, stride, around, groups=inner, bias=False)
        self.norm = BatchNorm1d(inner)
        self.pointwise_lin2 = nn.Linear(inner, size)

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        x = glu(self.pointwise_lin1(x))
        x = x if real is None else x.masked_fill(~real[..., None], 0.0)
        x = silu(self.norm(self.depthwise_conv(x.transpose(1, 2))))
        return self.pointwise_lin2(x.transpose(1, 2))


class Block(parakeet.Block):
    """With attention within blocks of frames."""

    attention_class = Attention
    convolution_class = Convolution


class HalvingBlock(Block):
    """Leaves one frame for two, the mean of them in the stream; an odd last one is dropped."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.conv = Convolution(config, stride=2)

    def convolve(self, x: Tensor, real: Tensor | None) -> Tensor:
        half = x.unfold(1, 2, 2).mean(-1)  # (batch, frames / 2, dim)
        return half + self.conv(self.norm_conv(x), real)[:, : half.shape[1]]


class GraniteSpeech5(parakeet.Parakeet):
    """What Granite Speech's models know about lengths."""

    _no_split_modules = ["Block", "HalvingBlock"]
    keep_fp32 = ("norm",)  # of the convolutions

    def _get_subsampling_output_length(self, input_lengths: Tensor) -> Tensor:
        config = getattr(self.config, "encoder_config", self.config)
        return input_lengths // 2 ** len(config.subsample_layers)


class Model(GraniteSpeech5, parakeet.Encoder):
    """Granite Speech's encoder. Half way up it scores the vocabulary, and adds what it makes of that to the stream."""

    embeddings_path = "input_linear"

    def __init__(self, config: Any):
        super().__init__(config)
        size, count = config.hidden_size, config.vocab_size
        self.input_linear = nn.Linear(config.num_mel_bins * 4, size)  # a frame, its slope, and those of the next frame
        self.layers = nn.ModuleList(
            HalvingBlock(config) if i in config.subsample_layers else Block(config)
            for i in range(config.num_hidden_layers)
        )
        self.out, self.out_mid = nn.Linear(size, count), nn.Linear(count, size)

    def read(self, input_features: Tensor, attention_mask: Tensor | None) -> Tensor:
        x = self.input_linear(input_features.to(self.input_linear.weight.dtype))
        return x if attention_mask is None else x.masked_fill(attention_mask[..., None] == 0, 0.0)

    def make_context(self, x: Tensor, attention_mask: Tensor | None) -> Context:
        config, real = self.config, None if attention_mask is None else attention_mask.bool()
        places = config.max_position_embeddings - distances(config.context_size, config.context_size, x.device)
        return Context(kernel=kernel_of(config), extra={"real": real, "places": places})

    def run_layers(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        config, seen = self.config, [x]
        for i, layer in enumerate(self.layers):
            x = self.run(layer, x, context)
            seen.append(x)
            if i in config.subsample_layers and (real := context.extra["real"]) is not None:
                context.extra["real"] = real.unfold(1, 2, 2).all(-1)
            if i + 1 == config.num_hidden_layers // 2:
                x = x + self.out_mid(self.out(x).softmax(-1))
        return x, [*seen[:-1], x]


class CTC(GraniteSpeech5, parakeet.CTC):
    """Scores of the vocabulary for each vector, by the layer that scores it half way up."""

    embeddings_path = "encoder.input_linear"

    def make_head(self, size: int, count: int) -> nn.Module:
        return nn.Linear(size, count)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {f"ctc_head.{name}": f"encoder.out.{name}" for name in ("weight", "bias")}


VARIANTS = {"granite_speech5_ctc": Variant(), "granite_speech5_encoder": Variant()}
TASKS = {"Model": Model, "CTC": CTC}
