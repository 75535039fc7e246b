"""What the reference needs to run without a GPU, and without packages that are hard to install."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.parity import detectron


class MraKernel:
    """MRA's three CUDA functions. A block of scores is (keys, queries); `indices` count blocks row by row."""

    @staticmethod
    def mm_to_sparse(query: Tensor, key: Tensor, indices: Tensor) -> Tensor:
        """query, key: (batch, blocks, dim, 32)."""
        batch, blocks = torch.arange(len(query))[:, None], key.shape[1]
        return key[batch, indices % blocks].transpose(2, 3) @ query[batch, indices // blocks]

    @staticmethod
    def sparse_dense_mm(scores: Tensor, indices: Tensor, dense: Tensor, rows: int) -> Tensor:
        out = dense.new_zeros(len(dense), rows, *dense.shape[2:])
        for number, row in enumerate(indices):
            for block, place in enumerate(row.tolist()):
                out[number, place // dense.shape[1]] += dense[number, place % dense.shape[1]] @ scores[number, block]
        return out

    @staticmethod
    def index_max(values: Tensor, indices: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """values: (batch, 32, chosen)."""
        largest = torch.full((len(values), rows, 32), -1e5)
        for number, row in enumerate(indices):
            for block, place in enumerate(row.tolist()):
                here = largest[number, place // columns]
                here.copy_(torch.maximum(here, values[number, :, block].detach()))
        batch = torch.arange(len(values))[:, None]
        return largest.flatten(1), largest[batch, indices.long() // columns].transpose(1, 2)


@pytest.fixture(scope="session", autouse=True)
def mra_without_cuda() -> None:
    from transformers.models.mra import modeling_mra

    modeling_mra.mra_cuda_kernel = MraKernel()


@pytest.fixture(scope="session", autouse=True)
def nllb_moe_with_its_experts() -> Any:
    """The reference takes a mask of zeros and ones for numbers of experts, so that the first two always run.

    Returns:
        What it does by itself.
    """
    from transformers.models.nllb_moe import modeling_nllb_moe

    def forward(self: Any, x: Tensor, router_mask: Tensor, router_probs: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        for number in range(self.num_experts):
            mine = router_probs[:, number] > 0
            if mine.any():
                made = self[f"expert_{number}"](x[mine]) * router_probs[mine, number, None]
                out[mine] += made * (1 - self.moe_token_dropout)
        return out

    alone = modeling_nllb_moe.NllbMoeExperts.forward
    modeling_nllb_moe.NllbMoeExperts.forward = forward  # type: ignore[method-assign, assignment]
    return alone


@pytest.fixture(scope="session", autouse=True)
def layoutlmv2_without_detectron2() -> None:
    detectron.install()
