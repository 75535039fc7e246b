"""What people see: representations in a terminal and in a notebook, progress, the logger, `help`."""

from __future__ import annotations

import io
import pydoc
from pathlib import Path

import pytest

import autoload
from tests.checkpoints import saved


def test_model(tmp_path: Path) -> None:
    model = autoload.AutoModelForSequenceClassification.from_pretrained(saved(tmp_path, "bert"), num_labels=3)
    html = model._repr_html_()
    assert "BertForSequenceClassification" in html and f"{model.num_parameters():,}" in html
    assert "classifier.weight" in html and str(tmp_path) in html and "evaluation" in html
    assert html.count("<table>") == 1 and "&lt;" not in html.partition("<details>")[0]


def test_report(tmp_path: Path) -> None:
    report = autoload.AutoModelForSequenceClassification.from_pretrained(saved(tmp_path, "bert")).loading_report
    text = repr(report)
    assert len(text) < 400 and "\n" not in text
    assert "model.safetensors: " in text and "missing classifier.weight, classifier.bias" in text
    assert "classifier.weight" in report._repr_html_()


def test_tied_weights_are_counted(tmp_path: Path) -> None:
    path = saved(tmp_path, "gpt2", "CausalLM")
    assert "tied: 1" in repr(autoload.AutoModelForCausalLM.from_pretrained(path).loading_report)


def test_config() -> None:
    config = autoload.LlamaConfig(architectures=["<b>"])
    html = config._repr_html_()
    assert "hidden_size" in html and "4096" in html and "&lt;b&gt;" in html and "<b><b>" not in html
    assert repr(config).startswith("LlamaConfig {")


def test_tokenizer() -> None:
    from tokenizers import Tokenizer, models

    tokenizer = autoload.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")), unk_token="[UNK]"
    )
    html = tokenizer._repr_html_()
    assert "2 and 0 added" in html and "unk_token" in html and "no limit" in html
    assert len(repr(tokenizer).splitlines()) == 1
    extractor = autoload.WhisperFeatureExtractor()
    assert repr(extractor).startswith("WhisperFeatureExtractor {") and "mel_filters" not in repr(extractor)
    assert "16000" in extractor._repr_html_() and "input_features" in extractor._repr_html_()
    processor = autoload.WhisperProcessor(extractor, tokenizer)
    assert len(repr(processor).splitlines()) < 50
    assert processor._repr_html_().count("<table>") == 3 and "unk_token" in processor._repr_html_()


@pytest.mark.parametrize("function", [autoload.AutoModel.from_pretrained, autoload.AutoTokenizer.from_pretrained])
def test_help_fits_two_screens(function) -> None:
    lines = pydoc.render_doc(function, renderer=pydoc.plaintext).splitlines()
    rows = sum(1 + len(line) // 100 for line in lines)
    assert rows <= 80
    assert "Args:" in "\n".join(lines)


def test_no_progress_bar_off_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = io.StringIO()
    monkeypatch.setattr("sys.stderr", error)
    model = autoload.AutoModelForCausalLM.from_pretrained(saved(tmp_path, "llama", "CausalLM"))
    model.save_pretrained(tmp_path / "again")
    assert error.getvalue() == ""


def test_loggers_are_below_one() -> None:
    import re

    package = Path(autoload.__file__).parent
    named = {
        name
        for path in package.rglob("*.py")
        for name in re.findall(r"getLogger\((.*?)\)", path.read_text(encoding="utf-8"))
    }
    assert named <= {'"autoload"', '"autoload.text"', "__name__", 'name or "autoload"'}
