"""What only some decoders take: positions with several axes, and visual features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.parity.cases.decoder_mrope import CASES
from tests.parity.harness import Case, assert_close, inputs_for, load_ours, reference_model

AXES = [case for case in CASES if case.model_type not in ("granite_docling_text",)]
DEEP = [case for case in CASES if case.model_type in ("qwen3_vl_text", "granite_docling_text", "cohere_compass_text")]


@pytest.mark.parametrize("case", AXES, ids=str)
def test_axes(case: Case, tmp_path: Path) -> None:
    """Positions (axes, batch, seq) turn the dimensions that the reference turns with them."""
    ours, theirs = load_ours(case, "Model", tmp_path), reference_model(case, "Model")
    ids = inputs_for(case, "Model")["input_ids"]
    count = 4 if case.label == "alpha" else 3
    positions = torch.randint(0, 30, (count, *ids.shape), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        found, expected = (model(ids, position_ids=positions)[0] for model in (ours, theirs))
    assert_close(found, expected, case.tolerance, "several axes")
    with torch.no_grad():
        assert not torch.allclose(ours(ids, position_ids=positions.flip(0))[0], found, atol=1e-3)


@pytest.mark.parametrize("case", DEEP, ids=str)
def test_deepstack(case: Case, tmp_path: Path) -> None:
    """Visual features reach the first layers, at the visual tokens only."""
    ours, theirs = load_ours(case, "Model", tmp_path), reference_model(case, "Model")
    ids = inputs_for(case, "Model")["input_ids"]
    generator = torch.Generator().manual_seed(6)
    where = torch.rand(ids.shape, generator=generator) < 0.4
    features = [torch.randn(int(where.sum()), case.config["hidden_size"], generator=generator) for _ in range(2)]
    with torch.no_grad():
        found, expected = (
            model(ids, visual_pos_masks=where, deepstack_visual_embeds=features)[0] for model in (ours, theirs)
        )
    assert_close(found, expected, case.tolerance, "with visual features")
