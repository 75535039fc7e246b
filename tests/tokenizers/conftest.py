"""Tests of tokenizers keep no conversions outside their own directories."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def conversions(tmp_path_factory: pytest.TempPathFactory):
    """A cache folder of this run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOLOAD_CACHE", str(tmp_path_factory.mktemp("conversions")))
        yield
