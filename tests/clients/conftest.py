"""Programs of other packages, run with the reference's objects and with ours; both must give the same figures.

Every test here has the marker `clients`. A package that is not installed, or in another version than `pyproject.toml`
pins, is skipped; with CLIENTS_REQUIRED=1 in the environment, as in CI, it is an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false", WANDB_DISABLED="true")

import torch

from tests.clients import checkpoints
from tests.tools.make_clients import pins

Both = Callable[..., Any]


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.clients)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Each module names the distributions that it needs in CLIENTS."""
    from importlib.metadata import PackageNotFoundError, version

    for name in getattr(getattr(item, "module", None), "CLIENTS", ()):
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "nothing"
        if found.split("+")[0] != pins()[name]:
            message = f"needs {name} {pins()[name]}, found {found}: pip install '.[clients]'"
            if os.environ.get("CLIENTS_REQUIRED") == "1":
                pytest.fail(message)
            pytest.skip(message)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Directory of a tiny checkpoint that the reference wrote, by name."""
    root = tmp_path_factory.mktemp("checkpoints")

    def find(name: str) -> str:
        if not (root / name).is_dir():
            checkpoints.write(name, root / name)
        return str(root / name)

    return find


@pytest.fixture
def both() -> Both:
    """Runs a program with the reference and with this library; its figures must agree to 1e-4."""
    import transformers

    import autoload

    def run(program: Callable[..., Any], *arguments: Any) -> Any:
        figures = []
        for library in (transformers, autoload):
            torch.manual_seed(0)
            figures.append(program(library, *arguments))
        assert figures[1] == pytest.approx(figures[0], rel=1e-4, abs=1e-4)
        return figures[1]

    return run
