"""What the parity cases leave at its usual value: the kinds of labels, and token types."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

from autoload import registry
from tests.parity.cases import all_cases
from tests.parity.harness import LABELS, Case, assert_close, inputs_for, load_ours, reference_model


def case_of(model_type: str, task: str) -> Case:
    """Its case for a task; one with several token types where there is one."""
    own = [case for case in all_cases() if case.model_type == model_type and (not case.tasks or task in case.tasks)]
    return max(own, key=lambda case: case.config.get("type_vocab_size") or 0)


LABELLED = [
    (case_of(model_type, task), task)
    for model_type in registry.MODELS
    for task in ("SequenceClassification", "ImageClassification")  # of recordings there are classes alone
    if task in registry.tasks_of(model_type)
]


def losses(pair: tuple[Any, Any], inputs: dict[str, Any], problem: str | None, labels: torch.Tensor) -> list[Any]:
    """Of both models, and the kind of problem that each notes."""
    found = []
    for model in pair:
        model.config.problem_type = problem
        with torch.no_grad():
            found += [model(**inputs, labels=labels).loss, model.config.problem_type]
    return found


@pytest.mark.parametrize("case,task", LABELLED, ids=[f"{case}-{task}" for case, task in LABELLED])
def test_kinds_of_labels(case: Case, task: str, tmp_path: Path) -> None:
    """The loss of each `problem_type`; where none is set, the labels say which is meant, and that is noted."""
    inputs = inputs_for(case, task)
    batch, generator = len(next(iter(inputs.values()))), torch.Generator().manual_seed(6)
    classes = torch.randint(0, LABELS, (batch,), generator=generator)
    several = torch.randint(0, 2, (batch, LABELS), generator=generator).float()
    amounts = torch.randn(batch, LABELS, generator=generator)
    kinds = [("single_label_classification", classes), ("multi_label_classification", several)]
    kinds += [("regression", amounts)]
    pair = load_ours(case, task, tmp_path / "five"), copy.deepcopy(reference_model(case, task))
    for kind, labels in kinds:
        for problem in (kind, None) if kind != "regression" else (kind,):
            found, noted, expected, theirs = losses(pair, inputs, problem, labels)
            assert_close(found, expected, case.tolerance, f"{kind}, named: {problem is not None}")
            assert noted == theirs
    single = dataclasses.replace(case, config={**case.config, "num_labels": 1})
    pair = load_ours(single, task, tmp_path / "one"), reference_model(single, task)
    found, noted, expected, theirs = losses(pair, inputs, None, amounts[:, 0])
    assert_close(found, expected, case.tolerance, "one number")
    assert noted == theirs


def takes_token_types(case: Case, task: str) -> bool:
    """Whether the type has them, and its case gives none."""
    forward: Any = registry.resolve(case.model_type, task).forward  # type: ignore[attr-defined]
    if "token_type_ids" not in inspect.signature(forward).parameters:
        return False
    return "token_type_ids" not in inputs_for(case, task)


FIRST = [
    (case_of(model_type, task), task)
    for model_type in registry.MODELS
    for task in [*registry.tasks_of(model_type)][:1]
    if task != "Decision"  # has no case: test_jev.py
]
TYPED = [(case, task) for case, task in FIRST if takes_token_types(case, task)]


@torch.no_grad()
@pytest.mark.parametrize("case,task", TYPED, ids=[str(case) for case, _ in TYPED])
def test_token_types(case: Case, task: str, tmp_path: Path) -> None:
    """Each token may have its own."""
    ours, theirs = load_ours(case, task, tmp_path), reference_model(case, task)
    inputs = inputs_for(case, task)
    ids, count = inputs["input_ids"], getattr(theirs.config, "type_vocab_size", 2)
    inputs["token_type_ids"] = torch.arange(ids.numel()).view_as(ids) % max(count, 1)
    found, expected = ours(**inputs), theirs(**inputs)
    for key, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert_close(found[key], value, case.tolerance, key)
