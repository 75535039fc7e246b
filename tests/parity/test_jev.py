"""A decision head on another model, against the reference: whole, and as files beside the weights of a Qwen2."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import autoload
from autoload.errors import ArgumentError, ConfigError, MissingFile
from tests.parity.cases.jev import CASES, TEXT
from tests.parity.harness import assert_close, inputs_for, load_ours, reference_model

CASE = CASES[0]
QUESTIONS = [
    SimpleNamespace(type="choice", options=["a", "b", "c"]),
    SimpleNamespace(type="noul", options=["false", "true"]),
    SimpleNamespace(type="score", options=["0", "1"]),
]
MARKS = torch.tensor([7, 9, 12])
CODES = {"codes": ["A", "B", "C", "D", "E"], "temperature": 0.6, "attention_mode": "noncausal_full_attention"}
JUDGE = {
    "slots": {
        "verbalizers": ["false", "true", "0", "1", "2", "A", "B", "C"],
        "ranges": {"noul": [0, 2], "score": [2, 5], "choice": [5, 8]},
        "num_slots": 8,
    },
    "softcap": 1.5,
}
CALIBRATION = {"per_kind": {"noul": 0.5, "score": 1.2, "choice": 2.0}}


def prompt() -> torch.Tensor:
    return inputs_for(CASE, "Decision", batch=1)["input_ids"]


def answers(model: Any, ids: torch.Tensor) -> list[torch.Tensor]:
    return model.decide(ids, MARKS, QUESTIONS)


def qwen2_with_head(folder: Path, kind: str) -> Path:
    """The files of a Qwen2 with a head beside its weights."""
    import transformers

    fields = {k: v for k, v in TEXT.items() if k != "model_type"}
    torch.manual_seed(5)
    transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**fields)).save_pretrained(folder)
    size = TEXT["hidden_size"]
    if kind == "readout":
        (folder / "decision_config.json").write_text(json.dumps(CODES))
        save_file({"weight": torch.randn(5, size)}, folder / "readout.safetensors")
    else:
        (folder / "judge_config.json").write_text(json.dumps(JUDGE))
        (folder / "calibration.json").write_text(json.dumps(CALIBRATION))
        save_file({"proj.weight": torch.randn(8, size), "proj.bias": torch.randn(8)}, folder / "head.safetensors")
    return folder


def test_scores(tmp_path: Path) -> None:
    """Saved by the reference; soft-capped scores of three kinds of questions."""
    ours, theirs = load_ours(CASE, "Decision", tmp_path), reference_model(CASE, "Decision")
    assert ours.config.to_dict() | {"_name_or_path": ""} == theirs.config.to_dict() | {"_name_or_path": ""}
    assert_close(answers(ours, prompt()), answers(theirs, prompt()), 1e-5, "scores")
    keys = {name: tuple(p.shape) for name, p in theirs.state_dict().items()}
    assert {name: tuple(p.shape) for name, p in ours.state_dict().items()} == keys


def test_gradients(tmp_path: Path) -> None:
    ours, theirs = load_ours(CASE, "Decision", tmp_path), reference_model(CASE, "Decision")
    inputs = dict(input_ids=prompt(), marks=MARKS[None], num_options=torch.tensor([[3, 2, 2]]))
    for model in (ours, theirs):
        model.zero_grad()
        model(**inputs, question_type_ids=torch.tensor([[1, 0, 2]])).square().sum().backward()
    expected = dict(theirs.named_parameters())
    for name, p in ours.named_parameters():
        other = expected[name].grad
        assert (p.grad is None) == (other is None), name
        if other is not None:
            assert_close(p.grad, other, 2e-4, name)


@pytest.mark.parametrize("kind", ["readout", "judge"])
def test_head_beside_weights(kind: str, tmp_path: Path) -> None:
    """The Auto class of a Qwen2's files finds the head; what is saved is a jev that both libraries read."""
    import transformers

    folder = qwen2_with_head(tmp_path / "qwen2", kind)
    ours, theirs = (lib.AutoModelForDecision.from_pretrained(folder) for lib in (autoload, transformers))
    assert isinstance(ours, autoload.JevForDecision) and not ours.loading_report.missing
    assert isinstance(ours.model, autoload.Qwen2Model)
    assert_close(answers(ours, prompt()), answers(theirs, prompt()), 1e-5, "scores")
    direct = autoload.JevForDecision.from_pretrained(folder)
    assert_close(answers(direct, prompt()), answers(ours, prompt()), 0, "scores by the class")

    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    for name in ("config.json", "decision.json"):
        mine, reference = (json.loads((tmp_path / who / name).read_text()) for who in ("ours", "theirs"))
        assert mine == reference, name
    for library in (autoload, transformers):
        again = library.AutoModelForDecision.from_pretrained(tmp_path / "ours")
        assert_close(answers(again, prompt()), answers(theirs, prompt()), 1e-5, "scores of the saved model")


STATES = [
    "Win a phone! ",
    "",
    {"text": "né", "n": 1},
    [{"type": "text", "text": " one"}, {"type": "text", "text": "2"}],
]
REQUEST = {
    "choice": {"type": "choice", "instructions": "What tone?", "criteria": {"calm": "polite ", "angry": None, "x": ""}},
    "noul": {"type": "noul", "instructions": {"ask": "Spam?"}, "criteria": {"true": "An advertisement"}},
    "plain": {"type": "noul"},
    "score": {"type": "score", "criteria": ["can wait", {"when": "today"}]},
}


@pytest.mark.parametrize("kind", ["readout", "d3", "judge"])
def test_prompts(kind: str, tmp_path: Path) -> None:
    """The templates write what the reference's write, of every kind of request."""
    from dataclasses import asdict

    import transformers
    from transformers.decision.template_utils import parse_questions
    from transformers.utils.chat_template_utils import _compile_jinja_template

    folder = qwen2_with_head(tmp_path, "readout" if kind == "d3" else kind)
    if kind == "d3":
        (folder / "decision_config.json").write_text(json.dumps(CODES | {"prompt": "d3"}))
    ours, theirs = (
        lib.AutoModelForDecision.from_pretrained(folder).decision_config for lib in (autoload, transformers)
    )
    assert {**vars(ours), "chat_template": ""} == {**asdict(theirs), "chat_template": ""}
    states = [
        *STATES,
        *([] if kind == "judge" else [None, [], [1], [{"type": "image"}, {"type": "text", "text": "a"}]]),
    ]
    for question in parse_questions(REQUEST, theirs):
        for state in [*states, ["a", {"b": 1}, {"type": "other"}]]:
            found, expected = (
                _compile_jinja_template(settings.chat_template).render(state=state, question=asdict(question))
                for settings in (ours, theirs)
            )
            assert found == expected


def test_settings(tmp_path: Path) -> None:
    """What a caller gives is used, and saved."""
    folder = qwen2_with_head(tmp_path / "qwen2", "judge")
    given = autoload.DecisionConfig(temperature={"noul": 0.25}, chat_template="{{ state }}")
    model = autoload.AutoModelForDecision.from_pretrained(folder, decision_config=given)
    plain = model.decide(prompt(), MARKS, QUESTIONS, autoload.DecisionConfig())
    found = answers(model, prompt())
    assert_close(found[0], plain[0], 0, "choice")
    assert_close(found[1], plain[1] * 4, 1e-6, "noul")
    model.save_pretrained(tmp_path / "saved")
    assert autoload.DecisionConfig.from_pretrained(tmp_path / "saved") == given
    given.save_pretrained(tmp_path / "alone")
    assert autoload.DecisionConfig.from_pretrained(tmp_path / "alone") == given
    assert autoload.DecisionConfig.from_pretrained(tmp_path / "qwen2") == autoload.DecisionConfig()


def test_errors(tmp_path: Path) -> None:
    folder = qwen2_with_head(tmp_path, "judge")
    model = autoload.AutoModelForDecision.from_pretrained(folder)
    with pytest.raises(ArgumentError, match="found 2 prompts"):
        model.decide(prompt().expand(2, -1), MARKS, QUESTIONS)
    with pytest.raises(ArgumentError, match="'essay'"):
        model.decide(prompt(), MARKS, [SimpleNamespace(type="essay", options=[])])
    with pytest.raises(ArgumentError, match="marks"):
        model(prompt())
    with pytest.raises(ArgumentError, match="found Qwen2Config"):
        autoload.AutoModelForDecision.from_config(model.config.text_config)
    with pytest.raises(ConfigError, match="temperature.noul"):
        autoload.DecisionConfig(temperature={"noul": 0})
    (folder / "judge_config.json").write_text('{"slots": {}}')
    with pytest.raises(ConfigError, match="judge_config.json"):
        autoload.AutoModelForDecision.from_pretrained(folder)
    (folder / "judge_config.json").unlink()
    with pytest.raises(MissingFile, match="decision head beside a qwen2 model"):
        autoload.AutoModelForDecision.from_pretrained(folder)
