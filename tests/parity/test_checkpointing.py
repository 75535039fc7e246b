"""Gradient checkpointing where layers take more than one tensor, or their context changes on the way."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from autoload import registry
from tests.parity.cases import funnel, lxmert, perceiver, reformer
from tests.parity.harness import Case, inputs_for

STILL = dict.fromkeys(
    ("hidden_dropout", "attention_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0
) | dict.fromkeys(("local_attention_probs_dropout_prob", "lsh_attention_probs_dropout_prob"), 0.0)
CASES = [
    (funnel.CASES[0], "Model"),
    (lxmert.CASES[0], "Model"),
    (perceiver.CASES[0], "Model"),
    (next(case for case in perceiver.CASES if case.label == "text"), "MaskedLM"),
    (reformer.CASES[0], "Model"),
]


@pytest.mark.parametrize("case,task", CASES, ids=[f"{case}-{task}" for case, task in CASES])
def test_same_gradients(case: Case, task: str) -> None:
    config = registry.config_class(case.model_type)(**(dict(case.config) | STILL))
    torch.manual_seed(0)
    model: Any = registry.resolve(case.model_type, task)._from_config(config).train()  # type: ignore[attr-defined]
    inputs, found = inputs_for(case, task), []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        model(**inputs)[0].square().mean().backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        assert torch.allclose(found[1][name], gradient, rtol=1e-4, atol=1e-8), name
