"""The generated stub: up to date, true of the package, and good for what an editor is to say."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import autoload
from autoload import auto, registry
from tests.tools.make_stubs import STUB, stub

ROOT = Path(__file__).parent.parent
SAMPLE = """\
from typing import Any
from autoload import (
    AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSequenceClassification,
    AutoTokenizer, BertConfig, BertForMaskedLM, BertTokenizerFast, LlamaForCausalLM, AutoFeatureExtractor,
    AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoProcessor, Wav2Vec2ForCTC, WhisperFeatureExtractor, WhisperProcessor,
)

model = AutoModelForCausalLM.from_pretrained("x", dtype="bfloat16")
reveal_type(model(input_ids=None))
reveal_type(model.generate)
pair = AutoModel.from_pretrained("x", output_loading_info=True)
reveal_type(pair)
reveal_type(AutoModelForSequenceClassification.from_config(BertConfig())())
bert = BertForMaskedLM.from_pretrained("x")
reveal_type(bert)
reveal_type(bert.config.hidden_size)
reveal_type(bert.forward)
reveal_type(LlamaForCausalLM.from_pretrained("x").config)
reveal_type(AutoConfig.from_pretrained("x"))
reveal_type(AutoTokenizer.from_pretrained("x"))
reveal_type(AutoTokenizer.from_pretrained("x")("text"))
reveal_type(BertTokenizerFast)
reveal_type(AutoModelForCTC.from_pretrained("x", adapter_name=None)(input_values=None))
reveal_type(AutoModelForSpeechSeq2Seq.from_pretrained("x").generate)
reveal_type(Wav2Vec2ForCTC.from_pretrained("x").config.conv_stride)
reveal_type(AutoFeatureExtractor.from_pretrained("x"))
reveal_type(AutoProcessor.from_pretrained("x"))
reveal_type(WhisperFeatureExtractor.from_pretrained("x"))
reveal_type(WhisperProcessor.from_pretrained("x"))
bert.load_adapter("x", is_trainable=True)
reveal_type(bert.active_adapters())
AutoModelForMaskedLM.from_pretrained("x", revision=3)
from autoload import NoSuchModel
"""
REVEALED = [
    "CausalLMOutputWithPast",
    "generation_config",
    "tuple[_Model, dict[str, Any]]",
    "SequenceClassifierOutput",
    "BertForMaskedLM",
    "int",
    "token_type_ids: Tensor | None",
    "LlamaConfig",
    "PreTrainedConfig",
    "PreTrainedTokenizerBase",
    "BatchEncoding",
    "BertTokenizer",
    "CausalLMOutput",
    "generation_config",
    "Any",  # a configuration's list, as the file has it
    "SequenceFeatureExtractor",
    "Any",  # of a text model it is the tokenizer
    "WhisperFeatureExtractor",
    "WhisperProcessor",
    "list[str]",
]


def stub_names() -> set[str]:
    names: set[str] = set()
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("autoload"):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def test_up_to_date() -> None:
    assert STUB.read_text(encoding="utf-8") == stub(), "run: python -m tests.tools"


def test_every_name_is_there() -> None:
    names = stub_names()
    assert not [name for name in names if not hasattr(autoload, name)]
    assert names >= {*autoload._HOME, *auto.AUTO_CLASSES, *(name for name, *_ in registry.concrete_names())}


def test_types(tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    (tmp_path / "sample.py").write_text(SAMPLE)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)], "typeCheckingMode": "basic"}))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = json.loads(done.stdout)["generalDiagnostics"]
    revealed = [row["message"] for row in found if row["severity"] == "information"]
    assert len(revealed) == len(REVEALED)
    for message, expected in zip(revealed, REVEALED, strict=True):
        assert expected in message.partition(" is ")[2]
    errors = [(row["range"]["start"]["line"] + 1, row["rule"]) for row in found if row["severity"] == "error"]
    last = len(SAMPLE.splitlines())
    assert [line for line, _ in errors] == [last - 1, last]
    assert errors[-1][1] == "reportAttributeAccessIssue"
