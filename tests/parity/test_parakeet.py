"""Transcripts of conformers with a head of CTC."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.parity.cases import granite_speech5, lasr, parakeet
from tests.parity.harness import Case, assert_close, inputs_for, load_ours, reference_model

CASES = [module.CASES[-1] for module in (granite_speech5, lasr, parakeet)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_transcript(case: Case, tmp_path: Path) -> None:
    """The likeliest token of each vector, and padding where the recording has ended."""
    ours, theirs, inputs = load_ours(case, "CTC", tmp_path), reference_model(case, "CTC"), inputs_for(case, "CTC")
    expected = theirs.generate(**inputs, return_dict_in_generate=True)
    found = ours.generate(**inputs, return_dict_in_generate=True)
    assert torch.equal(found.sequences, expected.sequences) and torch.equal(ours.generate(**inputs), found.sequences)
    assert (found.sequences[1, -3:] == case.config["pad_token_id"]).all()
    assert_close(found.logits, expected.logits, 1e-5, "logits")
    without = inputs["input_features"]
    assert torch.equal(ours.generate(without), theirs.generate(without))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loss_without_a_mask(case: Case, tmp_path: Path) -> None:
    """All frames count; the reference asks for a mask of ones."""
    ours, inputs = load_ours(case, "CTC", tmp_path), inputs_for(case, "CTC")
    labels, sound = torch.tensor([[4, 5, -100]] * 3), inputs["input_features"]
    ones = torch.ones(sound.shape[:2], dtype=torch.long)
    with torch.no_grad():
        expected = ours(sound, attention_mask=ones, labels=labels).loss
        assert_close(ours(sound, labels=labels).loss, expected, 1e-6, "loss")
