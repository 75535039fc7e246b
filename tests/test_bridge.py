"""Programs written for the reference recognise our objects, whichever was imported first, and nothing else changes."""

from __future__ import annotations

import subprocess
import sys

import pytest

TINY = "vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2"
MAKE = f"""
import copy, pickle, sys
import torch
import autoload
from autoload.layers.linear import Conv1D

model = autoload.AutoModelForCausalLM.from_config(autoload.LlamaConfig({TINY})).eval()
ids = torch.arange(6)[None]
out, conv = model(ids), Conv1D(2, 3)
classes = autoload.PreTrainedTokenizerFast, autoload.PreTrainedTokenizer, autoload.BertTokenizer
extractor = autoload.Wav2Vec2FeatureExtractor()
processor = autoload.Wav2Vec2Processor(extractor, None)
features = extractor([0.1, 0.2], sampling_rate=16000)


def names(thing):
    return {{name for name in dir(thing) if hasattr(thing, name)}} - {{"__weakref__"}}


def methods(thing):
    return {{name: getattr(getattr(thing, name), "__func__", None) for name in names(thing)}}


everything = model, out, out.past_key_values, conv, extractor, processor, features, *classes
"""
THEIRS = """
import transformers as reference
from transformers.pytorch_utils import Conv1D as TheirConv1D
reference.PreTrainedModel, reference.PreTrainedTokenizerFast, reference.PreTrainedTokenizer, reference.ProcessorMixin
reference.SequenceFeatureExtractor, reference.BatchFeature  # it imports on first use
"""
RECOGNISED = """
assert isinstance(extractor, reference.SequenceFeatureExtractor) and isinstance(processor, reference.ProcessorMixin)
assert isinstance(extractor, reference.FeatureExtractionMixin) and isinstance(features, reference.BatchFeature)
assert isinstance(model, reference.PreTrainedModel) and isinstance(model.model, reference.PreTrainedModel)
assert isinstance(out, reference.utils.ModelOutput) and isinstance(conv, TheirConv1D)
assert isinstance(out.past_key_values, reference.DynamicCache)
assert isinstance(autoload.EncoderDecoderCache(), reference.EncoderDecoderCache)
assert issubclass(classes[0], reference.PreTrainedTokenizerFast) and issubclass(classes[1], reference.PreTrainedTokenizer)
assert all(issubclass(cls, reference.PreTrainedTokenizerBase) for cls in classes)
assert issubclass(autoload.BertModel, reference.PreTrainedModel)
"""


def run(code: str, **environment: str) -> str:
    import os

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("order", ["reference first", "autoload first"])
def test_recognised(order: str) -> None:
    run(THEIRS + MAKE + RECOGNISED if order == "reference first" else MAKE + THEIRS + RECOGNISED)


def test_nothing_else_changes() -> None:
    run(
        MAKE + "before = [methods(thing) for thing in everything]\n" + THEIRS + RECOGNISED + "import sys\n"
        "for thing, found in zip(everything, before):\n"
        "    now = methods(thing)\n"
        "    changed = {name for name in {*now, *found} if now.get(name, 0) is not found.get(name, 0)}\n"
        "    assert not changed, (type(thing), changed)\n"
        "assert torch.equal(model(ids).logits, out.logits)\n"
        "for twin in copy.deepcopy(model), pickle.loads(pickle.dumps(model)):\n"
        "    assert type(twin) is type(model) and torch.equal(twin(ids).logits, out.logits)\n"
        "assert type(pickle.loads(pickle.dumps(out))) is type(out)\n"
        "assert len(out) == 2 and out.to_tuple()[0] is out.logits\n"
    )


def test_all_families() -> None:
    """Also those with classes of several bases, while they were imported before the reference, and back again."""
    run(
        "import importlib, pkgutil\nimport autoload.models\n"
        "for found in pkgutil.iter_modules(autoload.models.__path__):\n"
        "    importlib.import_module(f'autoload.models.{found.name}')\n"
        + MAKE
        + THEIRS
        + RECOGNISED
        + "import autoload\n"
        "from autoload import bridge, registry\n"
        "for model_type in registry.MODELS:\n"
        "    for task in registry.tasks_of(model_type):\n"
        "        assert issubclass(registry.resolve(model_type, task), reference.PreTrainedModel), (model_type, task)\n"
        "bridge.disable()\n"
        "assert not isinstance(model, reference.PreTrainedModel) and not isinstance(out, reference.utils.ModelOutput)\n"
        "assert not [finder for finder in sys.meta_path if type(finder) is bridge.Watcher]\n"
        "assert torch.equal(model(ids).logits, out.logits)\n"
        "bridge.enable()\n" + RECOGNISED
    )


def test_switched_off() -> None:
    code = (
        MAKE
        + THEIRS
        + "assert not isinstance(model, reference.PreTrainedModel)\nprint('transformers' in sys.modules)\n"
    )
    assert run(code, AUTOLOAD_BRIDGE="0").split() == ["True"]


def test_the_reference_is_never_imported() -> None:
    assert run(MAKE + "print('transformers' in sys.modules)").split() == ["False"]


def test_a_finder_that_only_looks() -> None:
    """Asking where a module is does not join anything, and the module's loader stays what it is."""
    run(
        MAKE + "import importlib.util\n"
        "spec = importlib.util.find_spec('transformers.modeling_utils')\n"
        "from importlib.machinery import SourceFileLoader\n"
        "assert type(spec.loader) is SourceFileLoader\n" + THEIRS + RECOGNISED
    )


def test_a_class_that_cannot_be_joined(caplog: pytest.LogCaptureFixture) -> None:
    """Another release may lay its classes out differently: then the answer stays no, and a line says so."""
    from types import ModuleType

    from autoload import bridge

    class Ours(bridge.Anchor):
        __slots__ = ("c",)

    module = ModuleType("not_there")
    module.Ours = type("Ours", (int,), {})  # type: ignore[attr-defined]
    sys.modules["not_there"] = module
    try:
        bridge.stands_for("not_there")(Ours)
        assert Ours.__mro__[1] is bridge.Anchor
        assert "cannot pass for" in caplog.text
    finally:
        del sys.modules["not_there"]
        bridge.PAIRS[:] = [pair for pair in bridge.PAIRS if pair.ours is not Ours]
