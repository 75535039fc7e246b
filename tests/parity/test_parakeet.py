"""Parakeet's transcripts."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.parity.cases.parakeet import CASES
from tests.parity.harness import assert_close, inputs_for, load_ours, reference_model


def test_transcript(tmp_path: Path) -> None:
    """The likeliest token of each vector, and padding where the recording has ended."""
    case = CASES[-1]
    ours, theirs, inputs = load_ours(case, "CTC", tmp_path), reference_model(case, "CTC"), inputs_for(case, "CTC")
    expected = theirs.generate(**inputs, return_dict_in_generate=True)
    found = ours.generate(**inputs, return_dict_in_generate=True)
    assert torch.equal(found.sequences, expected.sequences) and torch.equal(ours.generate(**inputs), found.sequences)
    assert (found.sequences[1, -3:] == case.config["pad_token_id"]).all()
    assert_close(found.logits, expected.logits, 1e-5, "logits")
    without = inputs["input_features"]
    assert torch.equal(ours.generate(without), theirs.generate(without))


def test_loss_without_a_mask(tmp_path: Path) -> None:
    """All frames count; the reference asks for a mask of ones."""
    case = CASES[-1]
    ours, inputs = load_ours(case, "CTC", tmp_path), inputs_for(case, "CTC")
    labels, sound = torch.tensor([[4, 5, -100]] * 3), inputs["input_features"]
    ones = torch.ones(sound.shape[:2], dtype=torch.long)
    with torch.no_grad():
        expected = ours(sound, attention_mask=ones, labels=labels).loss
        assert_close(ours(sound, labels=labels).loss, expected, 1e-6, "loss")
