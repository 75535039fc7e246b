"""Normalisations that differ from nn.LayerNorm. The order of casts is part of each: checkpoints were trained with it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Root mean square norm (arXiv:1910.07467): normalise in fp32, cast back, then scale."""

    def __init__(self, size: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32:  # nothing to cast: one kernel
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return self.weight * _rms(x.float(), self.eps).to(x.dtype)

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, eps={self.eps}"


class RMSNormFP32(RMSNorm):
    """Scales before it casts back."""

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight * _rms(x.float(), self.eps)).to(x.dtype)


class ZeroCentredRMSNorm(RMSNorm):
    """Its weight is an offset from one, applied before the cast."""

    def __init__(self, size: int, eps: float = 1e-6):
        super().__init__(size, eps)
        nn.init.zeros_(self.weight)

    def init_own(self, std: float) -> None:
        self.weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return (_rms(x.float(), self.eps) * (1.0 + self.weight.float())).to(x.dtype)


class UnweightedRMSNorm(nn.Module):
    """Has no weight."""

    def __init__(self, size: int = 0, eps: float = 1e-6):
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return _rms(x.float(), self.eps).to(x.dtype)


class UnweightedLayerNorm(nn.Module):
    """Layer norm without weight and bias, computed in fp32."""

    def __init__(self, size: int, eps: float = 1e-5):
        super().__init__()
        self.shape, self.eps = (size,), eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.float(), self.shape, eps=self.eps).to(x.dtype)


class ZeroCentredLayerNorm(nn.LayerNorm):
    """Its weight is an offset from one."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight + 1.0, self.bias, self.eps)


class LayerNormFP32(nn.Module):
    """Layer norm without bias, computed and scaled in fp32. `size` may be (heads, dim): one weight per head."""

    def __init__(self, size: int | tuple[int, ...], eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        y = x.float()
        y = y - y.mean(-1, keepdim=True)
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return (self.weight.float() * y).to(x.dtype)


def _rms(x: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
