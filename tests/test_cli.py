"""The command line: what it says of a checkpoint, and that it reads no more than it has to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import autoload
from autoload import cli, registry
from tests.fakehub import FakeHub

pytest_plugins = ["tests.fakehub"]

SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, vocab_size=50)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    config = autoload.AutoConfig.for_model("bert", **SIZES, max_position_embeddings=20)
    autoload.AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def run(capsys: pytest.CaptureFixture, *arguments: str) -> tuple[int, dict[str, str], str]:
    """Exit status, the labelled lines, and what went to stderr."""
    status = cli.main(arguments)
    out, err = capsys.readouterr()
    rows = dict(line.split("  ", 1) for line in out.splitlines() if "  " in line and not line.startswith(" "))
    return status, {key.strip(): value.strip() for key, value in rows.items()}, out + err


def test_complete(tiny: Path, capsys: pytest.CaptureFixture) -> None:
    status, rows, text = run(capsys, "inspect", str(tiny))
    model = autoload.AutoModelForMaskedLM.from_pretrained(tiny)
    assert status == 0
    assert rows["type"] == "bert"
    assert rows["loads as"] == "BertForMaskedLM (AutoModelForMaskedLM)"
    assert rows["parameters"] == f"{model.num_parameters():,}"
    assert rows["missing"] == rows["left over"] == rows["shape differs"] == "nothing"
    assert "AutoModelForSequenceClassification" in rows["tasks"]
    assert "model.safetensors  (weights)" in text and "config.json" in text


def test_says_what_a_load_says(tiny: Path, capsys: pytest.CaptureFixture) -> None:
    _, rows, _ = run(capsys, "inspect", str(tiny), "--task", "SequenceClassification", "--all")
    _, info = autoload.AutoModelForSequenceClassification.from_pretrained(tiny, output_loading_info=True)
    assert set(rows["missing"].split(", ")) == info["missing_keys"] != set()
    assert set(rows["left over"].split(", ")) == info["unexpected_keys"] != set()


def test_damage_is_told(tiny: Path, capsys: pytest.CaptureFixture) -> None:
    weights = load_file(tiny / "model.safetensors")
    name = "bert.embeddings.word_embeddings.weight"
    weights[name] = weights[name][:-1].clone()
    save_file(weights, tiny / "model.safetensors")
    status, rows, _ = run(capsys, "inspect", str(tiny))
    assert status == 1
    assert rows["shape differs"] == f"{name} [49, 16], expected [50, 16]"

    with open(tiny / "model.safetensors", "r+b") as f:
        f.truncate(5000)
    status, _, text = run(capsys, "inspect", str(tiny))
    assert status == 1 and "model.safetensors" in text and "5000" in text


def test_shards_and_pickles(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = autoload.AutoModelForMaskedLM.from_pretrained(tiny)
    model.save_pretrained(tmp_path / "shards", max_shard_size="5kB")
    status, rows, text = run(capsys, "inspect", str(tmp_path / "shards"))
    assert status == 0 and rows["missing"] == "nothing" and text.count("(weights)") > 1
    next((tmp_path / "shards").glob("model-*00001-of-*")).unlink()
    status, _, text = run(capsys, "inspect", str(tmp_path / "shards"))
    assert status == 1 and "00001-of-" in text

    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text((tiny / "config.json").read_text())
    torch.save(model.state_dict(), pickled / "pytorch_model.bin")
    status, rows, _ = run(capsys, "inspect", str(pickled))
    assert status == 0 and rows["missing"] == "nothing"


def test_repository_is_not_downloaded(tiny: Path, localhub: FakeHub, capsys: pytest.CaptureFixture) -> None:
    localhub.repo("org/tiny", {path.name: path.read_bytes() for path in tiny.iterdir()})
    status, rows, text = run(capsys, "inspect", "org/tiny")
    assert status == 0 and rows["missing"] == "nothing" and rows["parameters"] != "0"
    assert rows["model"].startswith("org/tiny at ")
    asked = localhub.requests("GET", "model.safetensors")
    assert asked and all("range" in {key.lower() for key in request.headers} for request in asked)
    assert "kB  model.safetensors" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inspect", "./nope"], "no such directory"),
        (["list", "--task", "CausalML"], "did you mean 'CausalLM'?"),
    ],
)
def test_errors(arguments: list[str], said: str, capsys: pytest.CaptureFixture) -> None:
    status, _, text = run(capsys, *arguments)
    assert status == 1 and said in text and "Traceback" not in text


@pytest.mark.parametrize("task", ["CausalLM", "ForCausalLM", "AutoModelForCausalLM"])
def test_list(task: str, capsys: pytest.CaptureFixture) -> None:
    _, rows, _ = run(capsys, "list", "--task", task)
    assert rows["gpt2"] == "GPT2LMHeadModel"
    assert set(rows) == {t for t in registry.MODELS if "CausalLM" in registry.tasks_of(t)}
    _, rows, _ = run(capsys, "list")
    assert {t: set(tasks.split()) for t, tasks in rows.items()} == {t: {*registry.tasks_of(t)} for t in registry.MODELS}


def test_as_a_program_without_torch() -> None:
    code = "import sys; sys.argv[1:] = ['list']; from autoload.cli import main; main(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    done = subprocess.run([sys.executable, "-m", "autoload", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == autoload.__version__
    assert done.stderr == ""
