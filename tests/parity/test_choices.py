"""Tasks with several classes: a checkpoint's `architectures` say which of them an Auto class gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import autoload
from autoload import registry
from tests.parity.cases import all_cases
from tests.parity.harness import assert_close, inputs_for, perturb

FURTHER = [(*key, name) for key, names in registry.CHOICES.items() for name in names]


@pytest.mark.parametrize("model_type,task,name", FURTHER, ids=[f"{t}-{n}" for t, _, n in FURTHER])
def test_architectures_choose(model_type: str, task: str, name: str, tmp_path: Path) -> None:
    import transformers

    named = registry.class_name(model_type, name)
    cases = [case for case in all_cases() if case.model_type == model_type and task in (case.tasks or (task,))]
    case = next((case for case in cases if case.label == name), cases[0])
    config = transformers.CONFIG_MAPPING[model_type](**case.config)
    torch.manual_seed(1)
    theirs = getattr(transformers, named)(config).eval()
    perturb(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    auto = getattr(autoload, registry.auto_class_name(task))
    ours, info = auto.from_pretrained(tmp_path / "theirs", output_loading_info=True)
    assert type(ours) is getattr(autoload, named) and not any(info.values())
    inputs = inputs_for(case, task)
    with torch.no_grad():
        assert_close(ours(**inputs)[0], theirs(**inputs)[0], case.tolerance, named)
    ours.save_pretrained(tmp_path / "ours")
    again, info = type(theirs).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values())
    assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in again.state_dict().items())
