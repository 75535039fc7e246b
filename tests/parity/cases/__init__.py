"""Tiny configurations, one file per family; `all_cases` gives them all."""

from __future__ import annotations

import importlib
import pkgutil

from tests.parity.harness import Case


def all_cases() -> list[Case]:
    """The cases of every family's file, in the order of the files."""
    modules = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
    return [case for module in modules for case in module.CASES]
