"""Convolutions that hear no further than a stream has come, and what they remember of it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.layers.convolution import mask_of_lengths


class ConvCache:
    """The last frames that each convolution has read of a stream, by the convolution's name."""

    def __init__(self) -> None:
        self.layers: dict[str, Tensor] = {}

    def update(self, x: Tensor, name: str, first: int, kept: int) -> Tensor:
        """Frames with those before them, along the third axis: at first `first` zeros, then the `kept` last ones."""
        before = self.layers.get(name)
        x = torch.cat([torch.zeros_like(x[:, :, :1]).repeat_interleave(first, 2) if before is None else before, x], 2)
        self.layers[name] = x[:, :, x.shape[2] - kept :]
        return x


class CausalConv1d(nn.Conv1d):
    """Reads a frame and those before it, each channel by itself."""

    def __init__(self, size: int, kernel: int, name: str, bias: bool):
        super().__init__(size, size, kernel, groups=size, bias=bias)
        self.name = name

    def forward(self, input: Tensor, cache: ConvCache | None = None) -> Tensor:  # type: ignore[override]
        before = self.kernel_size[0] - 1
        x = F.pad(input, (before, 0)) if cache is None else cache.update(input, self.name, before, before)
        return super().forward(x)


class CausalConv2d(nn.Conv2d):
    """Shortens time and pitch, and reads no frame after the last one of its stride."""

    def __init__(self, config: Any, channels: int, groups: int, name: str):
        kernel, stride = config.subsampling_conv_kernel_size, config.subsampling_conv_stride
        super().__init__(channels, config.subsampling_conv_channels, kernel, stride, groups=groups)
        self.name, self.around = name, (kernel - 1, stride - 1)

    def forward(self, input: Tensor, cache: ConvCache | None = None) -> Tensor:  # type: ignore[override]
        """(batch, channels, frames, bins); without a cache the sound ends here."""
        if cache is None:
            return super().forward(F.pad(input, self.around * 2))
        before, after = self.around
        return super().forward(cache.update(F.pad(input, self.around), self.name, before, before - after))

    def lengths(self, lengths: Tensor, streams: bool) -> Tensor:
        """How many frames are made of that many."""
        stride = self.stride[0]
        return (lengths - stride if streams else lengths + stride - 2) // stride + 1


class SeparableConv(nn.Module):
    """A convolution of each channel by itself, and a projection."""

    def __init__(self, config: Any, index: int):
        super().__init__()
        size = config.subsampling_conv_channels
        self.depthwise_conv = CausalConv2d(config, size, size, f"subsampling.{index}")
        self.pointwise_conv = nn.Conv2d(size, size, 1)


class Subsampling(nn.Module):
    """Convolutions with strides over time and pitch; what they make of padding is zero after each."""

    def __init__(self, config: Any):
        super().__init__()
        self.conv_in = CausalConv2d(config, 1, 1, "subsampling.0")
        count = config.subsampling_factor.bit_length() - 1
        self.layers = nn.ModuleList(SeparableConv(config, i) for i in range(1, count))
        self.linear = nn.Linear(config.subsampling_out_hidden_size, config.hidden_size)

    def forward(self, x: Tensor, lengths: Tensor | None, cache: ConvCache | None) -> Tensor:
        """(batch, frames, bins) to (batch, fewer frames, dim)."""
        x = x[:, None]
        stages: list[tuple[CausalConv2d, Any]] = [(self.conv_in, nn.Identity())]
        for layer in self.layers:
            stages.append((layer.depthwise_conv, layer.pointwise_conv))  # type: ignore[arg-type]
        for convolution, mix in stages:
            x = mix(convolution(x, cache))
            if lengths is not None:
                lengths = convolution.lengths(lengths, cache is not None)
                x = x * mask_of_lengths(lengths, x.shape[2])[:, None, :, None]
            x = F.relu(x)
        return self.linear(x.transpose(1, 2).flatten(2))
