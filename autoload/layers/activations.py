"""Activation functions by the name that config.json gives them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from autoload.config import ACTIVATIONS
from autoload.errors import ConfigError


def gelu_tanh(x: Tensor) -> Tensor:
    """Tanh approximation of gelu (arXiv:1606.08415); one kernel for all its spellings, which differ in rounding."""
    return F.gelu(x, approximate="tanh")


def quick_gelu(x: Tensor) -> Tensor:
    """The sigmoid approximation that CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


def laplace(x: Tensor) -> Tensor:
    """Laplace function of Mega (arXiv:2209.10655), with its mean and deviation."""
    return 0.5 * (1.0 + torch.erf((x - 0.707107) / (0.282095 * math.sqrt(2.0))))


def relu2(x: Tensor) -> Tensor:
    """Squared relu of Primer (arXiv:2109.08668)."""
    return torch.square(F.relu(x))


def gelu_10(x: Tensor) -> Tensor:
    """gelu cut off at 10, for integer models (arXiv:2004.09602)."""
    return torch.clip(F.gelu(x), -10, 10)


_BY_NAME: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_10": gelu_10,
    "gelu_accurate": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_new": gelu_tanh,
    "gelu_python": F.gelu,
    "gelu_python_tanh": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "hardswish": F.hardswish,
    "laplace": laplace,
    "leaky_relu": F.leaky_relu,
    "linear": lambda x: x,
    "mish": F.mish,
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "relu2": relu2,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "sqrtsoftplus": lambda x: F.softplus(x).sqrt(),
    "swish": F.silu,
    "tanh": torch.tanh,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function of that name.

    Raises:
        ConfigError: no function has that name, or it has weights of its own and belongs to one family only.
    """
    if name not in _BY_NAME:
        raise ConfigError("activation", name, f"one of {', '.join(sorted(ACTIVATIONS & _BY_NAME.keys()))}")
    return _BY_NAME[name]


class Activation(torch.nn.Module):
    """A named activation as a module: picklable, visible in a printed model, and a place for hooks."""

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        activation(name)

    def forward(self, x: Tensor) -> Tensor:
        return _BY_NAME[self.name](x)

    def extra_repr(self) -> str:
        return self.name
