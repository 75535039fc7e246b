"""Decoders with experts: the routers' scores and their loss are the reference's; all implementations agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from tests.parity.cases import all_cases
from tests.parity.harness import Case, assert_close, inputs_for, load_ours, reference_model

CASES = [
    case for case in all_cases() if "output_router_logits" in autoload.AutoConfig.for_model(case.model_type).to_dict()
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_router_scores(case: Case, tmp_path: Path) -> None:
    ours, theirs = load_ours(case, "CausalLM", tmp_path), reference_model(case, "CausalLM")
    inputs = inputs_for(case, "CausalLM")
    mask = torch.ones_like(inputs["input_ids"])
    mask[0, -3:] = 0
    inputs |= {"attention_mask": mask, "labels": inputs["input_ids"]}
    for wanted in ({"output_router_logits": True}, {}):
        with torch.no_grad():
            expected, found = theirs(**inputs, **wanted), ours(**inputs, **wanted)
        assert [k for k in found if k != "past_key_values"] == [k for k in expected if k != "past_key_values"]
        for key in ("loss", "aux_loss", "router_logits"):
            if key in expected:
                assert_close(found[key], expected[key], case.tolerance, key)
    assert "router_logits" in ours(**inputs, output_router_logits=True)


@pytest.mark.parametrize("case", CASES[:1], ids=str)
def test_implementations(case: Case, tmp_path: Path) -> None:
    """The loop, grouped and batched products give the same outputs and gradients; a wrong name is refused."""
    model: Any = load_ours(case, "CausalLM", tmp_path)
    inputs = inputs_for(case, "CausalLM")
    results = {}
    for name in (None, "eager", "grouped_mm", "batched_mm"):
        model.config._experts_implementation = name
        model.zero_grad()
        out = model(**inputs, labels=inputs["input_ids"])
        out.loss.backward()
        results[name] = (out.logits, *(p.grad.clone() for p in model.parameters()))
    for name, tensors in results.items():
        for found, expected in zip(tensors, results["eager"], strict=True):
            assert_close(found, expected, 1e-5, str(name))
    model.config._experts_implementation = "grouped"
    with pytest.raises(autoload.errors.ArgumentError, match="grouped_mm"):
        model(**inputs)
