"""What I-BERT's cases do not see: training, in which the ranges of activations are learned, and its gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity.cases.ibert import WHOLE
from tests.parity.harness import assert_close, reference_class
from tests.parity.test_parity import _gradients


@pytest.fixture
def residuals_get_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference hands the gradient of a residual to its scale, a place too late."""
    from transformers.models.ibert.quant_modules import FixedPointMul

    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        scaled = grad / ctx.z_scaling_factor
        return scaled, None, None, None, None if ctx.identity is None else scaled, None

    monkeypatch.setattr(FixedPointMul, "backward", staticmethod(backward))


@pytest.mark.parametrize("kind", ["none", "softmax"])
def test_training(tmp_path: Path, residuals_get_gradients: None, kind: str) -> None:
    from transformers import CONFIG_MAPPING

    still = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_hidden_layers=1)
    torch.manual_seed(0)
    config = CONFIG_MAPPING["ibert"](**(WHOLE | still | dict(force_dequant=kind)))
    theirs = reference_class("ibert", "MaskedLM")(config)
    theirs.save_pretrained(tmp_path)
    import autoload

    ours = autoload.AutoModelForMaskedLM.from_pretrained(tmp_path)
    ours.train(), theirs.train()
    for step in range(3):
        ids = torch.randint(3, 99, (3, 12), generator=torch.Generator().manual_seed(step))
        inputs = {"input_ids": ids, "labels": ids}
        expected, found = _gradients(theirs, inputs), _gradients(ours, inputs)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            assert_close(found[name], gradient, 1e-4, f"step {step}: {name}")
    buffers = dict(ours.named_buffers())
    for name, buffer in theirs.named_buffers():
        if "position_ids" not in name:
            assert_close(buffers[name], buffer, 1e-5, name)
