"""A stand-in for the parts of detectron2 that the reference's LayoutLMv2 is made of: settings, norm, backbone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

BLOCKS = {50: [3, 4, 6, 3], 101: [3, 4, 23, 3]}


class Settings(SimpleNamespace):
    """Nested settings; a group that nobody named before comes to be."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, Settings())
        return vars(self)[name]


def get_cfg() -> Settings:
    resnets = Settings(STEM_OUT_CHANNELS=64, RES2_OUT_CHANNELS=256, NUM_GROUPS=1, WIDTH_PER_GROUP=64, DEPTH=50)
    model = Settings(META_ARCHITECTURE="GeneralizedRCNN", PIXEL_MEAN=[103.53, 116.28, 123.675], RESNETS=resnets)
    model.FPN = Settings(OUT_CHANNELS=256)
    return Settings(MODEL=model)


class FrozenBatchNorm2d(nn.Module):
    eps = 1e-5

    def __init__(self, num_features: int):
        super().__init__()
        for name, start in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0 - self.eps)):
            self.register_buffer(name, torch.full((num_features,), start))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return x * scale.view(1, -1, 1, 1) + (self.bias - self.running_mean * scale).view(1, -1, 1, 1)


def convolution(inner: int, outer: int, size: int, **more: Any) -> nn.Conv2d:
    layer = nn.Conv2d(inner, outer, size, bias=False, **more)
    layer.norm = FrozenBatchNorm2d(outer)
    layer.register_forward_hook(lambda module, args, out: module.norm(out))
    return layer


class Bottleneck(nn.Module):
    def __init__(self, inner: int, outer: int, narrow: int, stride: int, cfg: Settings):
        super().__init__()
        assert not cfg.STRIDE_IN_1X1
        if inner != outer:
            self.shortcut = convolution(inner, outer, 1, stride=stride)
        self.conv1 = convolution(inner, narrow, 1)
        self.conv2 = convolution(narrow, narrow, 3, stride=stride, padding=1, groups=cfg.NUM_GROUPS)
        self.conv3 = convolution(narrow, outer, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv3(self.conv2(self.conv1(x).relu()).relu())
        return (out + (self.shortcut(x) if hasattr(self, "shortcut") else x)).relu()


class FPN(nn.Module):
    def __init__(self, cfg: Settings):
        super().__init__()
        resnets, size = cfg.MODEL.RESNETS, cfg.MODEL.FPN.OUT_CHANNELS
        self.size, self.bottom_up = size, nn.Module()
        self.bottom_up.stem = nn.Module()
        inner, outer = resnets.STEM_OUT_CHANNELS, resnets.RES2_OUT_CHANNELS
        narrow = resnets.NUM_GROUPS * resnets.WIDTH_PER_GROUP
        self.bottom_up.stem.conv1 = convolution(3, inner, 7, stride=2, padding=3)
        for stage, count in enumerate(BLOCKS[resnets.DEPTH], 2):
            blocks = []
            for i in range(count):
                blocks.append(Bottleneck(inner, outer, narrow, 2 if i == 0 and stage > 2 else 1, resnets))
                inner = outer
            self.bottom_up.add_module(f"res{stage}", nn.Sequential(*blocks))
            self.add_module(f"fpn_lateral{stage}", nn.Conv2d(outer, size, 1))
            self.add_module(f"fpn_output{stage}", nn.Conv2d(size, size, 3, padding=1))
            outer, narrow = outer * 2, narrow * 2
        for frozen in (self.bottom_up.stem, self.bottom_up.res2):  # MODEL.BACKBONE.FREEZE_AT = 2
            frozen.requires_grad_(False)

    def output_shape(self) -> dict[str, SimpleNamespace]:
        return {"p2": SimpleNamespace(channels=self.size, stride=4)}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = nn.functional.max_pool2d(self.bottom_up.stem.conv1(x).relu(), 3, 2, 1)
        maps = {}
        for stage in (2, 3, 4, 5):
            x = maps[stage] = self.bottom_up.get_submodule(f"res{stage}")(x)
        out, above = {}, None
        for stage in (5, 4, 3, 2):
            lateral = self.get_submodule(f"fpn_lateral{stage}")(maps[stage])
            above = lateral if above is None else lateral + above.repeat_interleave(2, 2).repeat_interleave(2, 3)
            out[f"p{stage}"] = self.get_submodule(f"fpn_output{stage}")(above)
        return out


REGISTRY = {"GeneralizedRCNN": lambda cfg: SimpleNamespace(backbone=FPN(cfg))}
LIBRARY = SimpleNamespace(
    config=SimpleNamespace(get_cfg=get_cfg),
    layers=SimpleNamespace(FrozenBatchNorm2d=FrozenBatchNorm2d),
    modeling=SimpleNamespace(backbone=SimpleNamespace(FPN=FPN)),
)


def install() -> None:
    """Let the reference's LayoutLMv2 find this in place of the library."""
    from transformers.models.layoutlmv2 import configuration_layoutlmv2, modeling_layoutlmv2

    configuration_layoutlmv2.detectron2 = LIBRARY  # type: ignore[attr-defined]
    modeling_layoutlmv2.detectron2 = LIBRARY  # type: ignore[attr-defined]
    modeling_layoutlmv2.META_ARCH_REGISTRY = REGISTRY  # type: ignore[attr-defined]
    modeling_layoutlmv2.requires_backends = lambda *unused: None
