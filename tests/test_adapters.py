"""Adapters where the package peft is not installed; `tests/clients/test_adapters.py` has the rest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import autoload
from autoload.errors import AdapterError, MissingFile
from tests.checkpoints import saved


@pytest.fixture(autouse=True)
def without_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)


def test_a_directory_with_an_adapter_alone(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base", "peft_type": "LORA"}')
    with pytest.raises(MissingFile, match="no config.json .an adapter for org/base, .*pip install peft"):
        autoload.AutoModelForCausalLM.from_pretrained(tmp_path)


def test_methods(tmp_path: Path) -> None:
    model: Any = autoload.AutoModelForCausalLM.from_pretrained(saved(tmp_path, "llama", "CausalLM"))
    with pytest.raises(ImportError, match="pip install 'autoload.peft.'"):
        model.add_adapter(None)
    with pytest.raises(AdapterError, match="no adapter"):
        model.set_adapter("default")


def test_an_adapter_beside_a_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = saved(tmp_path, "llama", "CausalLM")
    Path(path, "adapter_config.json").write_text("{}")
    assert not autoload.AutoModelForCausalLM.from_pretrained(path)._hf_peft_config_loaded
    assert "its adapter is not put on the model" in caplog.text
