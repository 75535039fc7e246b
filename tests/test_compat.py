"""`autoload.compat`: a module named `transformers`, where asked for, and what it says of names that it lacks."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator

import pytest

import autoload
from autoload import compat


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-in; the reference, if another test imported it, is put back afterwards."""
    theirs = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "transformers"}
    for name in theirs:
        del sys.modules[name]
    compat.install()
    yield
    compat.uninstall()
    sys.modules.update(theirs)


def test_nothing_is_installed_unless_asked() -> None:
    assert not [finder for finder in sys.meta_path if isinstance(finder, compat.Finder)]


def test_our_objects(served: None) -> None:
    import transformers

    assert transformers.AutoModel is autoload.AutoModel and transformers.PretrainedConfig is autoload.PreTrainedConfig
    assert transformers.__version__ == autoload.REFERENCE_VERSION
    outputs = importlib.import_module("transformers.modeling_outputs")
    assert issubclass(outputs.CausalLMOutputWithPast, importlib.import_module("transformers.utils").ModelOutput)
    assert transformers.AutoModel is transformers.AutoModel


def test_everything_that_is_named_is_there(served: None) -> None:
    for below in sorted(compat.MODULES):
        module = importlib.import_module(f"transformers.{below}".rstrip("."))
        named = [*compat.OURS.get(below, ()), *compat.SMALL.get(below, ()), *compat.PLACEHOLDERS.get(below, "").split()]
        for name in named:
            assert getattr(module, name) is not None


def test_what_is_not_there(served: None) -> None:
    with pytest.raises(ImportError, match="transformers.GPT5Model is not there: autoload stands in"):
        exec("from transformers import GPT5Model")
    with pytest.raises(ImportError, match="transformers.models is not there: autoload stands in"):
        importlib.import_module("transformers.models.bert")
    import transformers

    assert not hasattr(transformers, "GPT5Model") and getattr(transformers, "GPT5Model", 1) == 1
    with pytest.raises(ImportError, match="Trainer is not there"):
        transformers.Trainer()
    with pytest.raises(ImportError, match="make_markdown_table.* is not there"):
        importlib.import_module("transformers.modelcard").make_markdown_table([])


def test_uninstall(served: None) -> None:
    import transformers

    assert isinstance(transformers, compat.Served)
    compat.install()  # a second time changes nothing
    compat.uninstall()
    assert not [name for name in sys.modules if name.partition(".")[0] == "transformers"]
    assert not [finder for finder in sys.meta_path if isinstance(finder, compat.Finder)]


def test_too_late(served: None, monkeypatch: pytest.MonkeyPatch) -> None:
    compat.uninstall()
    monkeypatch.setitem(sys.modules, "transformers", pkgutil)
    with pytest.raises(RuntimeError, match="imported already"):
        compat.install()


def test_loggers_and_files(served: None, tmp_path, caplog: pytest.LogCaptureFixture) -> None:
    utils = importlib.import_module("transformers.utils")
    logger = utils.logging.get_logger("a.client")
    for _ in range(2):
        logger.warning_once("said %s", "once")
    assert caplog.messages == ["said once"]
    (tmp_path / "adapter_config.json").write_text("{}")
    find = importlib.import_module("transformers.utils.peft_utils").find_adapter_config_file
    assert find(tmp_path) == str(tmp_path / "adapter_config.json") and utils.cached_file(tmp_path, "x.json") is None
    assert find(tmp_path / "nowhere") is None
    import torch

    act = importlib.import_module("transformers.activations").ACT2FN["relu"]
    assert act(torch.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]
