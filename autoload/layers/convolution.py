"""Convolutions over time: what turns a waveform into frames, and what tells frames where they stand."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.layers.activations import Activation


class SpeechConv1d(nn.Conv1d):
    """Begins with the values that encoders of speech take."""

    def init_own(self, std: float) -> None:
        nn.init.kaiming_normal_(self.weight)
        if self.bias is not None:
            bound = math.sqrt(self.groups / (self.in_channels * self.kernel_size[0]))
            self.bias.uniform_(-bound, bound)


class UniformLinear(nn.Linear):
    """Begins with values whose range follows from its width."""

    def init_own(self, std: float) -> None:
        self.reset_parameters()


class BatchNorm1d(nn.BatchNorm1d):
    """Begins with the statistics of a unit normal distribution."""

    def init_own(self, std: float) -> None:
        self.reset_parameters()


class ConvLayer(nn.Module):
    """Convolution, an optional norm, activation."""

    layer_norm: nn.Module | None

    def __init__(self, config: Any, index: int, norm: str | None):
        super().__init__()
        before, size = config.conv_dim[index - 1] if index else 1, config.conv_dim[index]
        self.conv = SpeechConv1d(
            before, size, config.conv_kernel[index], config.conv_stride[index], bias=config.conv_bias
        )
        self.over_channels = norm == "layer"
        self.layer_norm = nn.LayerNorm(size) if self.over_channels else nn.GroupNorm(size, size) if norm else None
        self.activation = Activation(config.feat_extract_activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)  # (batch, channels, frames)
        if self.over_channels:
            x = self.layer_norm(x.transpose(1, 2)).transpose(1, 2)  # type: ignore[misc]
        elif self.layer_norm is not None:
            x = self.layer_norm(x)
        return self.activation(x)


class FeatureEncoder(nn.Module):
    """Frames of a waveform, by a stack of convolutions.

    Args:
        config: with the sizes of the convolutions.
        norm: "group" normalises after the first one alone, over time; "layer" after each, over the channels.
    """

    def __init__(self, config: Any, norm: str):
        super().__init__()
        if norm not in ("group", "layer"):
            raise ConfigError("feat_extract_norm", norm, "'group' or 'layer'")
        sizes = {name: len(getattr(config, name)) for name in ("conv_dim", "conv_kernel", "conv_stride")}
        if len({*sizes.values()}) > 1:
            found = ", ".join(f"{name} has {count}" for name, count in sizes.items())
            raise ConfigError("conv_dim", found, "one entry for each convolution in all three")
        self.conv_layers = nn.ModuleList(
            ConvLayer(config, i, norm if norm == "layer" or i == 0 else None) for i in range(sizes["conv_dim"])
        )

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) to (batch, frames, channels)."""
        x = waveform[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x.transpose(1, 2)

    def _freeze_parameters(self) -> None:
        self.requires_grad_(False)


class WeightNormConv1d(nn.Module):
    """Convolution whose kernel is a direction and, for each tap, a length (arXiv:1602.07868)."""

    def __init__(self, size: int, kernel: int, groups: int, stride: int = 1):
        super().__init__()
        self.kernel, self.groups, self.stride = kernel, groups, stride
        self.bias = nn.Parameter(torch.zeros(size))
        pair = nn.Module()
        pair.original0 = nn.Parameter(torch.ones(1, 1, kernel))  # lengths
        pair.original1 = nn.Parameter(torch.ones(size, size // groups, kernel))  # directions
        self.parametrizations = nn.ModuleDict({"weight": pair})

    def init_own(self, std: float) -> None:
        lengths, directions = self.parametrizations["weight"].parameters()
        directions.normal_(0.0, 2 * math.sqrt(1 / (self.kernel * self.bias.numel())))
        lengths.copy_(directions.norm(dim=(0, 1), keepdim=True))
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        lengths, directions = self.parametrizations["weight"].parameters()
        weight = directions * (lengths / directions.norm(dim=(0, 1), keepdim=True))
        return F.conv1d(x, weight, self.bias, self.stride, self.kernel // 2, groups=self.groups)


def conv_lengths(lengths: Any, sizes: Iterable[tuple[int, int]]) -> Any:
    """How many frames convolutions make of a number of steps, or of a tensor of numbers.

    Args:
        lengths: the numbers of steps.
        sizes: kernel and stride of each convolution.
    """
    for kernel, stride in sizes:
        lengths = (lengths - kernel) // stride + 1
    return lengths


def mask_of_lengths(lengths: Tensor, frames: int) -> Tensor:
    """True at the first `lengths` of the frames; (batch, frames)."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]
