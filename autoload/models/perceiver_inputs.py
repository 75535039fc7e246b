"""What Perceiver's inputs become before its latents look at them: words, or pixels with their places."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError

BANDS = 64  # of Fourier features
COLOURS = 3
CONV1X1_SIZE, CONV_SIZE = 256, 64


class TextInput(nn.Module):
    """Words and their positions."""

    def __init__(self, config: Any):
        super().__init__()
        self.dim = config.d_model
        self.embeddings = nn.Embedding(config.vocab_size, self.dim)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, self.dim)

    def forward(self, inputs: Tensor, interpolate: bool) -> Tensor:
        return self.embeddings(inputs) + self.position_embeddings.weight[: inputs.shape[1]]


class LearnedPositions(nn.Module):
    """A vector for each place."""

    def __init__(self, count: int, dim: int):
        super().__init__()
        self.position_embeddings = nn.Parameter(torch.zeros(count, dim))

    def init_own(self, std: float) -> None:
        self.position_embeddings.normal_(0.0, std)

    def forward(self) -> Tensor:
        return self.position_embeddings

    def resized(self, height: int, width: int) -> Tensor:
        """For an image of another size; (height * width, dim)."""
        count, dim = self.position_embeddings.shape
        side = math.isqrt(count)
        if (height, width) == (side, side):
            return self.position_embeddings
        table = self.position_embeddings.view(1, side, side, dim).permute(0, 3, 1, 2)
        return F.interpolate(table, (height, width), mode="bicubic", align_corners=False)[0].flatten(1).T


class FourierPositions(nn.Module):
    """Places on a scale from -1 to 1, and sines and cosines of these."""

    def __init__(self, resolution: int):
        super().__init__()
        self.highest = resolution / 2
        self.dim = 2 + 2 * 2 * BANDS

    def forward(self, height: int, width: int, device: Any) -> Tensor:
        """(height * width, dim)."""
        axes = (torch.linspace(-1.0, 1.0, size, device=device) for size in (height, width))
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 1)
        bands = torch.linspace(1.0, self.highest, BANDS, device=device)
        angles = math.pi * (places[..., None] * bands).flatten(1)
        return torch.cat([places, angles.sin(), angles.cos()], -1)


class ImageInput(nn.Module):
    """Pixels, each with its place beside its colours."""

    dim: int

    def features(self, pixels: Tensor) -> Tensor:
        """(batch, channels, height, width)."""
        return pixels

    def places(self, height: int, width: int, interpolate: bool, device: Any) -> Tensor:
        """(height * width, dim)."""
        raise NotImplementedError

    def forward(self, inputs: Tensor, interpolate: bool) -> Tensor:
        if inputs.dim() != 4:
            text = f"forward: images are {tuple(inputs.shape)}, expected (batch, {COLOURS}, height, width)."
            raise ArgumentError(text, name="inputs")
        x = self.features(inputs)
        height, width = x.shape[2:]
        places = self.places(height, width, interpolate, x.device).to(x.dtype)
        x = x.flatten(2).transpose(1, 2)  # (batch, pixels, channels)
        if places.shape[0] != x.shape[1]:
            text = f"forward: images have {x.shape[1]} pixels, the model has places for {places.shape[0]}."
            raise ArgumentError(text + " Resize them or pass interpolate_pos_encoding=True.", name="inputs")
        return torch.cat([x, places.expand(len(x), -1, -1)], -1)


class LearnedImageInput(ImageInput):
    """Learned places; colours go through a projection."""

    def __init__(self, config: Any):
        super().__init__()
        self.convnet_1x1 = nn.Conv2d(COLOURS, CONV1X1_SIZE, 1)
        self.position_embeddings = LearnedPositions(config.image_size**2, CONV1X1_SIZE)
        self.positions_projection = nn.Linear(CONV1X1_SIZE, CONV1X1_SIZE)
        self.dim = 2 * CONV1X1_SIZE

    def features(self, pixels: Tensor) -> Tensor:
        return self.convnet_1x1(pixels)

    def places(self, height: int, width: int, interpolate: bool, device: Any) -> Tensor:
        table = self.position_embeddings
        return self.positions_projection(table.resized(height, width) if interpolate else table())


class FourierImageInput(ImageInput):
    """Places as Fourier features, colours as they are."""

    resolution: ClassVar[int] = 224
    channels: ClassVar[int] = COLOURS

    def __init__(self, config: Any):
        super().__init__()
        self.position_embeddings = FourierPositions(self.resolution)
        self.dim = self.channels + self.position_embeddings.dim

    def places(self, height: int, width: int, interpolate: bool, device: Any) -> Tensor:
        return self.position_embeddings(height, width, device)


class BatchNorm(nn.BatchNorm2d):
    """Fresh statistics in a fresh model."""

    def init_own(self, std: float) -> None:
        self.reset_parameters()


class ConvNet(nn.Module):
    """A quarter of the height and width."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(COLOURS, CONV_SIZE, 7, stride=2, padding=3, bias=False)
        self.batchnorm = BatchNorm(CONV_SIZE)
        self.max_pool = nn.MaxPool2d(3, stride=2)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.max_pool(F.relu(self.batchnorm(self.conv(pixels))))


class ConvImageInput(FourierImageInput):
    """A convolution before the places."""

    resolution = 56
    channels = CONV_SIZE

    def __init__(self, config: Any):
        super().__init__(config)
        self.convnet = ConvNet()

    def features(self, pixels: Tensor) -> Tensor:
        return self.convnet(pixels)
