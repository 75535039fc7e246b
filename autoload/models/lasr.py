"""LASR: a conformer with rotary positions, whose parts weigh what they add to the stream.

Gulati et al. 2020 (arXiv:2005.08100); the weights are those of google/medasr.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.layers.attention import Context, encoder_mask, kernel_of
from autoload.layers.convolution import BatchNorm1d, conv_lengths
from autoload.layers.rope import Rotary
from autoload.model import Variant
from autoload.models import parakeet
from autoload.models.decoder_layer import head_dim
from autoload.models.gpt_decoder import GroupedAttention


class Subsampler(nn.Module):
    """A projection, two convolutions with strides over time, a projection."""

    def __init__(self, config: Any):
        super().__init__()
        size, inner = config.hidden_size, config.subsampling_conv_channels
        kernel, stride = config.subsampling_conv_kernel_size, config.subsampling_conv_stride
        self.dense_0 = nn.Linear(config.num_mel_bins, size)
        self.conv_0 = nn.Conv1d(size, size, kernel, stride)
        self.conv_1 = nn.Conv1d(size, inner, kernel, stride)
        self.dense_1 = nn.Linear(inner, size)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, bins) to (batch, fewer frames, dim)."""
        x = self.dense_0(x).relu().transpose(1, 2)
        x = self.conv_1(self.conv_0(x).relu()).relu()
        return self.dense_1(x.transpose(1, 2))


class Attention(GroupedAttention):
    """In both directions, with queries and keys turned by their positions."""

    def __init__(self, config: Any):
        heads, options = config.num_attention_heads, dict(bias=config.attention_bias, dropout=config.attention_dropout)
        super().__init__(config.hidden_size, heads, 0, kv_heads=heads, head_dim=head_dim(config), **options)


class Convolution(parakeet.Convolution):
    """With as many frames after it as before, for an even kernel too."""

    def __init__(self, config: Any):
        super().__init__(config)
        size, kernel, bias = config.hidden_size, config.conv_kernel_size, config.convolution_bias
        self.depthwise_conv = nn.Conv1d(size, size, kernel, padding="same", groups=size, bias=bias)
        self.norm = BatchNorm1d(size, momentum=config.batch_norm_momentum)


class Block(parakeet.Block):
    """Weighs the stream and what a wide layer or a convolution adds to it."""

    attention_class = Attention
    convolution_class = Convolution

    def __init__(self, config: Any):
        super().__init__(config)
        self.of_wide, self.of_convolution = config.feed_forward_residual_weights, config.conv_residual_weights

    def make_norm(self, config: Any) -> nn.Module:
        return nn.LayerNorm(config.hidden_size, config.layer_norm_eps, bias=False)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        kept, added = self.of_wide
        x = kept * x + added * self.feed_forward1(self.norm_feed_forward1(x))
        x = x + self.self_attn(self.norm_self_att(x), context)
        x = self.convolve(x, context.extra["real"])
        return self.norm_out(kept * x + added * self.feed_forward2(self.norm_feed_forward2(x)))

    def convolve(self, x: Tensor, real: Tensor | None) -> Tensor:
        kept, added = self.of_convolution
        return kept * x + added * self.conv(self.norm_conv(x), real)


class Lasr(parakeet.Parakeet):
    """What LASR's models know about lengths."""

    def _get_subsampling_output_length(self, input_lengths: Tensor) -> Tensor:
        config = getattr(self.config, "encoder_config", self.config)
        return conv_lengths(input_lengths, 2 * [(config.subsampling_conv_kernel_size, config.subsampling_conv_stride)])


class Model(Lasr, parakeet.Encoder):
    """LASR's encoder."""

    embeddings_path = "subsampler"
    gives_mask = False

    def __init__(self, config: Any):
        super().__init__(config)
        self.subsampler = Subsampler(config)
        self.rotary_emb = Rotary(config.rope_parameters, head_dim(config), config.max_position_embeddings)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.out_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps, bias=False)
        self.dropout, self.dropout_positions = nn.Dropout(config.dropout), nn.Dropout(config.dropout_positions)

    def read(self, input_features: Tensor, attention_mask: Tensor | None) -> Tensor:
        return self.subsampler(input_features)

    def make_context(self, x: Tensor, attention_mask: Tensor | None) -> Context:
        real = None if attention_mask is None else self._get_output_attention_mask(attention_mask, x.shape[1])
        cos, sin = self.rotary_emb(torch.arange(x.shape[1], device=x.device)[None], x.dtype)
        rope = {"full": (self.dropout_positions(cos), self.dropout_positions(sin))}
        return Context({"full": encoder_mask(real)}, rope, kernel=kernel_of(self.config), extra={"real": real})

    def run_layers(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        x, seen = super().run_layers(self.dropout(x), context)
        x = self.out_norm(x)
        return x, [*seen[:-1], x]


class CTC(Lasr, parakeet.CTC):
    """Scores of the vocabulary for each vector."""


VARIANTS = {"lasr_ctc": Variant(), "lasr_encoder": Variant()}
TASKS = {"Model": Model, "CTC": CTC}
