"""TAPAS's chances: cells and operations drawn by Gumbel noise are the reference's under the same seed."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.parity.cases.tapas import TAPAS, WEAK, numbers
from tests.parity.harness import Case, assert_close, load_ours, reference_model

TASK = "TableQuestionAnswering"


def test_gumbel_noise(tmp_path: Path) -> None:
    drawn = dict(huber_loss_delta=0.8, use_gumbel_for_cells=True, use_gumbel_for_aggregation=True)
    case = Case("tapas", TAPAS | WEAK | drawn)
    ours, theirs = load_ours(case, TASK, tmp_path), reference_model(case, TASK)
    ids = torch.randint(3, 99, (3, 12), generator=torch.Generator().manual_seed(5))
    losses = []
    for model, seed in ((ours, 1), (theirs, 1), (ours, 2)):
        torch.manual_seed(seed)
        with torch.no_grad():
            losses.append(model(ids, **numbers(ids)).loss)
    assert_close(losses[0], losses[1], 1e-5, "loss")
    assert not torch.allclose(losses[0], losses[2])
