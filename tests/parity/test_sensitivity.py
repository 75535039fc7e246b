"""The parity cases can see what they claim to see: each setting of a Spec, put back to its default, breaks parity."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from autoload import registry
from autoload.errors import AutoloadError
from tests.parity.cases import all_cases
from tests.parity.harness import Case, assert_close, encodes, inputs_for, reference_model


def tasks_of(case: Case) -> list[str]:
    """A head that scores words, where there is one, and the model without a head: together they see every setting."""
    everything = list(registry.tasks_of(case.model_type))
    tasks = [t for t in everything if not case.tasks or t in case.tasks] or everything
    found = [t for t in ("CausalLM", "MaskedLM", "Seq2SeqLM", "ImageTextToText", "Model") if t in tasks]
    return found or tasks[:1]


def settings() -> Iterator[tuple[str, str, list[Case]]]:
    """Each type and setting that some case of the type has at another value than the default."""
    found: dict[tuple[str, str], list[Case]] = {}
    for case in all_cases():
        variant = registry.resolve(case.model_type, tasks_of(case)[0]).variant  # type: ignore[attr-defined]
        spec = variant.spec(registry.config_class(case.model_type)(**case.config))
        if not dataclasses.is_dataclass(spec):
            continue
        for field in dataclasses.fields(spec):
            if (
                "dropout" in field.name or field.name == "packs"
            ):  # acts in training alone; acts on padding, test_packing
                continue
            if field.default is not dataclasses.MISSING and getattr(spec, field.name) != field.default:
                found.setdefault((case.model_type, field.name), []).append(case)
    yield from ((model_type, name, cases) for (model_type, name), cases in found.items())


SETTINGS = list(settings())


def with_setting_reset(cls: Any, name: str) -> Any:
    """The class, with one setting of its Spec at the default."""
    variant = cls.variant

    def spec(config: Any) -> Any:
        made = variant.spec(config)
        default = next(f.default for f in dataclasses.fields(made) if f.name == name)
        return dataclasses.replace(made, **{name: default})

    members: dict[str, Any] = {"variant": dataclasses.replace(variant, spec=spec)}
    if cls.base_class is not None:
        members["base_class"] = type(cls.base_class.__name__, (cls.base_class,), members)
    return type(cls.__name__, (cls,), members)


@pytest.mark.sweep
@pytest.mark.parametrize("model_type,name,cases", SETTINGS, ids=[f"{t}-{n}" for t, n, _ in SETTINGS])
def test_setting_matters(model_type: str, name: str, cases: list[Case], tmp_path: Path) -> None:
    tries = [(case, task) for case in cases for task in tasks_of(case)]
    seen = (breaks(case, task, name, tmp_path / str(i)) for i, (case, task) in enumerate(tries))
    assert any(seen), f"no case of {model_type} sees {name}"


def breaks(case: Case, task: str, name: str, directory: Path) -> bool:
    theirs = reference_model(case, task)
    theirs.save_pretrained(directory)
    right = registry.resolve(case.model_type, task)
    inputs = inputs_for(case, task, seq=16)
    try:
        wrong, info = with_setting_reset(right, name).from_pretrained(directory, output_loading_info=True)
        if any(info.values()) or wrong.state_dict().keys() != theirs.state_dict().keys():
            return True
        with torch.no_grad():
            expected, found = theirs(**inputs), wrong(**inputs)
            keys = [k for k, v in expected.items() if isinstance(v, torch.Tensor)]
            for key in keys:
                assert_close(found[key], expected[key], 10 * case.tolerance, key)
            if encodes(case):  # whether the table scales, or who reads it, shows in what the table gives
                given = (model.get_input_embeddings()(inputs["input_ids"]) for model in (wrong, theirs))
                assert_close(*given, case.tolerance, "embeddings")
    except (AutoloadError, AssertionError, RuntimeError, TypeError, AttributeError, KeyError):
        return True
    # Where a setting only says in which precision something is computed, half precision shows it.
    # Loaded in it, that is: the reference's `.to` would round its rotary frequencies too.
    half = {"dtype": torch.bfloat16, "attn_implementation": "eager"}

    def run(cls: Any) -> torch.Tensor | None:
        with torch.no_grad():
            try:
                return cls.from_pretrained(directory, **half)(**inputs)[keys[0]].float()
            except RuntimeError:
                return None

    target, found, other = (run(cls) for cls in (type(theirs), right, with_setting_reset(right, name)))
    if target is None:  # the reference does not run in half precision
        return False
    assert found is not None, "runs where the reference does"
    if other is None:
        return True
    exact = torch.equal(found, target) and not torch.equal(other, target)
    return exact or bool((other - target).abs().mean() > 1.2 * (found - target).abs().mean())
