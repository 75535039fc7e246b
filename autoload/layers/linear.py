"""Matrices that are stored otherwise than nn.Linear's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autoload.bridge import stands_for


@stands_for("transformers.pytorch_utils")
class Conv1D(nn.Module):
    """A linear layer whose weight is (in, out), as GPT-2's checkpoints have it."""

    def __init__(self, nf: int, nx: int):
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.empty(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.reshape(-1, self.nx), self.weight).view(*x.shape[:-1], self.nf)

    def extra_repr(self) -> str:
        return f"nf={self.nf}, nx={self.nx}"
