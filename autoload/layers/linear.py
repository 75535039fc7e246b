"""Linear layers that are stored, or act, otherwise than nn.Linear."""

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


class ClippedLinear(nn.Module):
    """A linear layer, without bias, between limits that the checkpoint has for what goes in and what comes out.

    Args:
        size: of a vector that goes in.
        out: of one that comes out.
        clips: False leaves the limits out.
    """

    input_min: Tensor
    input_max: Tensor
    output_min: Tensor
    output_max: Tensor

    def __init__(self, size: int, out: int, clips: bool):
        super().__init__()
        self.clips, self.linear = clips, nn.Linear(size, out, bias=False)
        if clips:
            for name in ("input", "output"):
                self.register_buffer(f"{name}_min", torch.tensor(-float("inf")))
                self.register_buffer(f"{name}_max", torch.tensor(float("inf")))

    def init_own(self, std: float) -> None:
        if self.clips:
            for limit in (self.input_min, self.output_min):
                limit.fill_(-float("inf"))
            for limit in (self.input_max, self.output_max):
                limit.fill_(float("inf"))

    def forward(self, x: Tensor) -> Tensor:
        if not self.clips:
            return self.linear(x)
        x = self.linear(x.clamp(self.input_min, self.input_max))
        return x.clamp(self.output_min, self.output_max)
