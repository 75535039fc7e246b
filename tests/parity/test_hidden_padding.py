"""Padding that the reference does not hide, or hides for the wrong text of a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.parity.cases import mra, yoso
from tests.parity.harness import Case, assert_close, inputs_for, load_ours, reference_model


@pytest.mark.parametrize("case", [yoso.CASES[1]], ids=str)
def test_padding_changes_nothing(case: Case, tmp_path: Path) -> None:
    model = load_ours(case, "Model", tmp_path)
    ids = inputs_for(case, "Model")["input_ids"]
    mask = torch.ones_like(ids)
    mask[0, 7:] = 0
    with torch.no_grad():
        padded = model(ids, attention_mask=mask).last_hidden_state
        assert_close(padded[1:], model(ids[1:]).last_hidden_state, 1e-5, "full rows")
        assert_close(padded[:1, :7], model(ids[:1, :7]).last_hidden_state, 1e-5, "padded row")


@pytest.mark.parametrize("case", mra.CASES, ids=str)
def test_each_text_has_its_own_mask(case: Case, tmp_path: Path) -> None:
    """The reference is right for one text at a time."""
    ours, theirs = load_ours(case, "Model", tmp_path), reference_model(case, "Model")
    ids = inputs_for(case, "Model")["input_ids"]
    mask = torch.ones_like(ids)
    mask[1, 100:] = mask[2, 60:] = 0
    with torch.no_grad():
        found = ours(ids, attention_mask=mask).last_hidden_state
        for row in range(3):
            expected = theirs(ids[row : row + 1], attention_mask=mask[row : row + 1]).last_hidden_state
            real = mask[row] == 1
            assert_close(found[row][real], expected[0][real], 1e-5, f"row {row}")


def test_any_length(tmp_path: Path) -> None:
    """The reference asks for whole blocks, as many as the model has positions."""
    model = load_ours(mra.CASES[0], "Model", tmp_path)
    ids = inputs_for(mra.CASES[0], "Model")["input_ids"][:, :50]
    with torch.no_grad():
        assert model(ids).last_hidden_state.isfinite().all()
