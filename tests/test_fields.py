"""Every number of every configuration, set to what cannot be meant.

Of each model type a tiny model is saved; then one number of its config.json after the other becomes zero, negative,
enormous, a fraction, a text or null. The load ends with the tensors that the file has, or with one error of
`autoload.errors` that says what to do, within the time and the memory that the damaged models have.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autoload
from autoload import registry
from tests.damaged.worker import SECONDS, Watched, stored, tensors
from tests.parity.cases import all_cases
from tests.parity.harness import Case

NONSENSE: list[Any] = [0, -1, 9_973, 2**31, 10**12, 2**64, "8", 1.5, None]
NOT_SIZES = frozenset(("id2label", "label2id", "transformers_version", "model_type"))
PATIENCE = 60.0  # seconds of a busy machine
CASES = {case.model_type: case for case in reversed(all_cases())}  # of several the first
FEW = ("bert", "llama", "t5", "whisper", "mixtral", "wav2vec2", "reformer")  # tried in every run


@pytest.fixture(scope="module")
def worker() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.close()


def saved(case: Case, folder: Path) -> str:
    """A tiny model of a type in `folder`; the name of its Auto class."""
    tasks = registry.tasks_of(case.model_type)
    auto = registry.auto_class_name("Model" if "Model" in tasks else next(iter(tasks)))
    config = registry.config_class(case.model_type)(**case.config)
    getattr(autoload, auto).from_config(config).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    return auto


def numbers(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where numbers are, or could be, in a configuration; of a list the first."""
    if isinstance(value, dict):
        for key in value:
            if key not in NOT_SIZES:
                yield from numbers(value[key], (*place, key))
    elif isinstance(value, list):
        yield from numbers(value[0], (*place, 0)) if value else ()
    elif value is None or type(value) is int:
        yield place


def changed(config: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy with another value in one place."""
    config = copy.deepcopy(config)
    holder = config
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return config


def faults(worker: Watched, case: Case, folder: Path, values: list[Any]) -> list[str]:
    """What went wrong, one line for each number and value."""
    auto = saved(case, folder)
    config, right = json.loads((folder / "config.json").read_text()), tensors(stored(folder))
    wrong = []
    for place in numbers(config):
        for value in values:
            (folder / "config.json").write_text(json.dumps(changed(config, place, value)))
            result = worker.ask({"folder": str(folder), "base": auto, "load": "auto"}, PATIENCE)
            if reason := fault(result, right):
                wrong.append(f"{'.'.join(map(str, place))}={value!r}: {reason}")
    return wrong


def fault(result: dict[str, Any], right: dict[str, str]) -> str:
    """What is wrong with the end of a load; nothing if it is as it should be."""
    if result["outcome"] not in ("loads", "error"):
        return str(result)
    if result["worked"] > SECONDS:
        return f"takes {result['worked']:.1f} s"
    if result["outcome"] == "error":
        known = "autoload.errors.AutoloadError" in result["kinds"]
        return "" if known else f"{result['kinds'][0]}: {result['text'][:200]}"
    if result["stray"]:
        return f"leaves {result['stray']}"
    return ", ".join(name for name, found in result["value"].items() if right.get(name, found) != found)


@pytest.mark.sweep
@pytest.mark.parametrize("name", CASES)
def test_every_number_of_every_type(worker: Watched, name: str, tmp_path: Path) -> None:
    wrong = faults(worker, CASES[name], tmp_path / "model", NONSENSE)
    assert not wrong, f"{len(wrong)} of them:\n" + "\n".join(wrong)


@pytest.mark.parametrize("name", FEW)
def test_some_numbers(worker: Watched, name: str, tmp_path: Path) -> None:
    wrong = faults(worker, CASES[name], tmp_path / "model", [-1, 10**12])
    assert not wrong, f"{len(wrong)} of them:\n" + "\n".join(wrong)
