"""LayoutLMv2's image tower: a ResNeXt and a pyramid of its feature maps, of which the finest is read.

Xie et al. 2017 (arXiv:1611.05431); Lin et al. 2017 (arXiv:1612.03144). Names and settings are detectron2's, with which the
models were trained; the package itself is not needed.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # blocks of each stage
# What the library assumes where the configuration is silent.
USUAL = {
    "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
    "MODEL.BACKBONE.FREEZE_AT": 2,
    "MODEL.PIXEL_MEAN": [103.530, 116.280, 123.675],
    "MODEL.PIXEL_STD": [1.0, 1.0, 1.0],
    "MODEL.FPN.OUT_CHANNELS": 256,
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.NUM_GROUPS": 1,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 64,
    "MODEL.RESNETS.STRIDE_IN_1X1": True,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 64,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 256,
}
COARSEST = 32  # pixels to a step of the last stage


class FrozenNorm(nn.Module):
    """Batch norm whose statistics and weights are never trained."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.eps = 1e-5
        self.register_buffer("weight", torch.ones(size))
        self.register_buffer("bias", torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_var", torch.ones(size) - self.eps)

    def init_own(self, std: float) -> None:
        for buffer, value in ((self.weight, 1.0), (self.bias, 0.0), (self.running_mean, 0.0)):
            buffer.fill_(value)
        self.running_var.fill_(1.0 - self.eps)

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class Convolution(nn.Conv2d):
    """A convolution of odd size and the norm after it."""

    def __init__(self, inner: int, outer: int, size: int, stride: int = 1, groups: int = 1):
        super().__init__(inner, outer, size, stride, padding=size // 2, groups=groups, bias=False)
        self.norm = FrozenNorm(outer)

    def forward(self, input: Tensor) -> Tensor:
        return self.norm(super().forward(input))


class Stem(nn.Module):
    """From pixels to maps of a quarter of the size."""

    def __init__(self, channels: int, size: int):
        super().__init__()
        self.conv1 = Convolution(channels, size, 7, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.relu(self.conv1(x)), 3, stride=2, padding=1)


class Block(nn.Module):
    """Narrow, look around, widen; and what came in is added."""

    def __init__(self, inner: int, narrow: int, outer: int, stride: int, settings: dict[str, Any]):
        super().__init__()
        first, second = (stride, 1) if settings["MODEL.RESNETS.STRIDE_IN_1X1"] else (1, stride)
        self.shortcut = Convolution(inner, outer, 1, stride) if inner != outer else None
        self.conv1 = Convolution(inner, narrow, 1, first)
        self.conv2 = Convolution(narrow, narrow, 3, second, groups=settings["MODEL.RESNETS.NUM_GROUPS"])
        self.conv3 = Convolution(narrow, outer, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))
        return F.relu(out + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nn.Module):
    """Four stages, each twice as coarse and wide as the one before."""

    def __init__(self, settings: dict[str, Any]):
        super().__init__()
        inner = settings["MODEL.RESNETS.STEM_OUT_CHANNELS"]
        self.stem = Stem(len(settings["MODEL.PIXEL_MEAN"]), inner)
        outer = settings["MODEL.RESNETS.RES2_OUT_CHANNELS"]
        narrow = settings["MODEL.RESNETS.NUM_GROUPS"] * settings["MODEL.RESNETS.WIDTH_PER_GROUP"]
        stages, self.sizes = [], []
        for number, count in enumerate(DEPTHS[settings["MODEL.RESNETS.DEPTH"]]):
            stride = 1 if number == 0 else 2
            first = Block(inner, narrow, outer, stride, settings)
            rest = (Block(outer, narrow, outer, 1, settings) for _ in range(count - 1))
            stages.append(nn.Sequential(first, *rest))
            self.sizes.append(outer)
            inner, narrow, outer = outer, 2 * narrow, 2 * outer
        self.res2, self.res3, self.res4, self.res5 = stages
        for part in (self.stem, *stages)[: settings["MODEL.BACKBONE.FREEZE_AT"]]:
            part.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps of all stages, the finest first."""
        finest = self.res2(self.stem(x))
        finer = self.res3(finest)
        coarser = self.res4(finer)
        return finest, finer, coarser, self.res5(coarser)


class Pyramid(nn.Module):
    """Adds to the finest map what the coarser ones say. Files have outputs of all of them; one is read."""

    def __init__(self, settings: dict[str, Any]):
        super().__init__()
        size = settings["MODEL.FPN.OUT_CHANNELS"]
        self.bottom_up = ResNet(settings)
        laterals = (nn.Conv2d(inner, size, 1) for inner in self.bottom_up.sizes)
        self.fpn_lateral2, self.fpn_lateral3, self.fpn_lateral4, self.fpn_lateral5 = laterals
        outputs = (nn.Conv2d(size, size, 3, padding=1) for _ in range(4))
        self.fpn_output2, self.fpn_output3, self.fpn_output4, self.fpn_output5 = outputs

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height / 4, width / 4)."""
        finest, finer, coarser, coarsest = self.bottom_up(x)
        x = self.fpn_lateral5(coarsest)
        x = self.fpn_lateral4(coarser) + F.interpolate(x, scale_factor=2)
        x = self.fpn_lateral3(finer) + F.interpolate(x, scale_factor=2)
        return self.fpn_output2(self.fpn_lateral2(finest) + F.interpolate(x, scale_factor=2))


class Tower(nn.Module):
    """The pyramid on pixels from 0 to 255, and the mean of its map over each field of a grid."""

    def __init__(self, config: Any):
        super().__init__()
        settings = USUAL | config.detectron2_config_args
        for name, known in (("MODEL.BACKBONE.NAME", [USUAL["MODEL.BACKBONE.NAME"]]), ("MODEL.RESNETS.DEPTH", DEPTHS)):
            if settings[name] not in known:
                field, expected = f"detectron2_config_args[{name!r}]", ", ".join(map(str, known))
                raise ConfigError(field, settings[name], f"one of {expected}")
        *grid, channels = *config.image_feature_pool_shape, settings["MODEL.FPN.OUT_CHANNELS"]
        if len(grid) not in (2, 3) or grid[2:] not in ([], [channels]):
            expected = f"rows, columns, and perhaps {channels} (MODEL.FPN.OUT_CHANNELS)"
            raise ConfigError("image_feature_pool_shape", config.image_feature_pool_shape, expected)
        self.grid, self.channels = (grid[0], grid[1]), channels
        self.backbone = Pyramid(settings)
        self.mean, self.std = settings["MODEL.PIXEL_MEAN"], settings["MODEL.PIXEL_STD"]

    def forward(self, image: Tensor) -> Tensor:
        """(batch, fields, channels)."""
        if image.dim() != 4 or image.shape[1] != len(self.mean) or any(side % COARSEST for side in image.shape[2:]):
            expected = f"(batch, {len(self.mean)}, height, width), multiples of {COARSEST}"
            raise ArgumentError(f"forward: image is {tuple(image.shape)}, expected {expected}.", name="image")
        weight = self.backbone.fpn_output2.weight
        mean, std = (weight.new_tensor(numbers)[:, None, None] for numbers in (self.mean, self.std))
        features = self.backbone(((image - mean) / std).to(weight.dtype))
        return F.adaptive_avg_pool2d(features, self.grid).flatten(2).transpose(1, 2)
